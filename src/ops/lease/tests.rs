//! The scripts under a real shell. The folder of leases is replaced by one of the test's own.

use std::io::Write as _;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};

use super::*;

fn start(dir: &Path, cmd: &Cmd) -> Child {
    let text = String::from_utf8(cmd.input().bytes().to_vec()).unwrap();
    assert!(text.contains("/run/lock/"), "{text}");
    let text = text.replace("/run/lock/", &format!("{}/", dir.display()));
    let mut child = Command::new("sh")
        .args(["-s", "--"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    child
}

fn run(dir: &Path, cmd: &Cmd) -> Output {
    let output = start(dir, cmd).wait_with_output().unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
    output
}

fn lease(dir: &Path) -> Option<Lease> {
    let text = std::fs::read(dir.join("fleet-demo.lease")).ok()?;
    Some(serde_json::from_slice(&text).expect("what the host keeps is what the probe reads"))
}

fn now() -> u64 {
    let text = Command::new("date").arg("+%s").output().unwrap().stdout;
    String::from_utf8(text).unwrap().trim().parse().unwrap()
}

fn expire(dir: &Path) {
    let path = dir.join("fleet-demo.lease");
    let mut lease = lease(dir).unwrap();
    lease.expires = now() - 1;
    std::fs::write(path, serde_json::to_string(&lease).unwrap()).unwrap();
}

#[test]
fn taken_renewed_given_back() {
    let dir = tempfile::tempdir().unwrap();
    let mine = take("demo", "marie@atelier", "run-1", "update");
    assert!(run(dir.path(), &mine).status.success());
    let first = lease(dir.path()).unwrap();
    assert_eq!(
        (first.holder.as_str(), first.run.as_str(), first.verb.as_str()),
        ("marie@atelier", "run-1", "update")
    );
    assert!((now() + 170..=now() + 181).contains(&first.expires), "{first:?}");
    std::fs::write(
        dir.path().join("fleet-demo.lease"),
        serde_json::to_string(&Lease { expires: now() + 5, ..first }).unwrap(),
    )
    .unwrap();
    assert!(run(dir.path(), &mine).status.success(), "the same run renews its own");
    assert!(lease(dir.path()).unwrap().expires > now() + 100);
    assert!(run(dir.path(), &release("demo", "run-1")).status.success());
    assert_eq!(lease(dir.path()), None);
    assert!(run(dir.path(), &release("demo", "run-1")).status.success(), "once more is no fault");
}

#[test]
fn somebody_elses_is_named_and_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    assert!(
        run(dir.path(), &take("demo", "o'neil \"x\" $(id) \\ *@host", "run-1", "update")).status.success()
    );
    let output = run(dir.path(), &take("demo", "bob@desk", "run-2", "provision"));
    assert_eq!(output.status.code(), Some(HELD as i32));
    let held = held_by(&output.stdout).unwrap();
    assert_eq!((held.holder.as_str(), held.run.as_str()), ("o'neil \"x\" $(id) \\ *@host", "run-1"));
    assert!(run(dir.path(), &release("demo", "run-2")).status.success());
    assert_eq!(lease(dir.path()).unwrap().run, "run-1", "only its holder gives it back");
}

#[test]
fn a_lease_that_ran_out_is_anybodys() {
    let dir = tempfile::tempdir().unwrap();
    assert!(run(dir.path(), &take("demo", "marie@atelier", "run-1", "update")).status.success());
    expire(dir.path());
    assert!(run(dir.path(), &take("demo", "bob@desk", "run-2", "update")).status.success());
    assert_eq!(lease(dir.path()).unwrap().run, "run-2");
    let late = run(dir.path(), &take("demo", "marie@atelier", "run-1", "update"));
    assert_eq!(late.status.code(), Some(HELD as i32), "the renewal of one who slept is refused");
    assert!(run(dir.path(), &release("demo", "run-1")).status.success());
    assert_eq!(lease(dir.path()).unwrap().run, "run-2");
}

#[test]
fn a_torn_or_empty_lease_holds_nobody_up() {
    let dir = tempfile::tempdir().unwrap();
    for torn in ["", "{\"holder\":\"x\",\"ru", "\0\0\0", "{\"run\":\"run-9\",\"expires\":abc}"] {
        std::fs::write(dir.path().join("fleet-demo.lease"), torn).unwrap();
        assert!(run(dir.path(), &take("demo", "bob@desk", "run-2", "update")).status.success(), "{torn:?}");
        assert_eq!(lease(dir.path()).unwrap().run, "run-2");
        std::fs::remove_file(dir.path().join("fleet-demo.lease")).unwrap();
    }
}

#[test]
fn of_many_at_once_one_gets_it() {
    let dir = tempfile::tempdir().unwrap();
    let children: Vec<Child> =
        (0..12).map(|n| start(dir.path(), &take("demo", "a@b", &format!("run-{n}"), "update"))).collect();
    let codes: Vec<i32> =
        children.into_iter().map(|child| child.wait_with_output().unwrap().status.code().unwrap()).collect();
    assert_eq!(codes.iter().filter(|code| **code == 0).count(), 1, "{codes:?}");
    assert_eq!(codes.iter().filter(|code| **code == HELD as i32).count(), 11, "{codes:?}");
    let winner = codes.iter().position(|code| *code == 0).unwrap();
    assert_eq!(lease(dir.path()).unwrap().run, format!("run-{winner}"));
}

#[test]
fn two_stacks_on_one_host_have_a_lease_each() {
    let dir = tempfile::tempdir().unwrap();
    assert!(run(dir.path(), &take("demo", "a@b", "run-1", "update")).status.success());
    assert!(run(dir.path(), &take("other", "c@d", "run-2", "update")).status.success());
}

#[test]
fn only_a_lease_that_holds_is_seen() {
    let lease = r#"{"holder":"marie@atelier","run":"r","verb":"update","since":100,"expires":280}"#;
    let held = seen(format!("200\n{lease}\n").as_bytes()).unwrap();
    assert_eq!((held.now, held.lease.unwrap().since), (200, Some(100)));
    for (answer, free) in [(format!("280\n{lease}\n"), 280), ("7\n".into(), 7), ("7\nrubbish".into(), 7)] {
        assert_eq!(seen(answer.as_bytes()), Some(Seen { now: free, lease: None }), "{answer}");
    }
    assert_eq!(seen(b"sudo: a password is required"), None);
    // Of a version that did not tell since when.
    let old = br#"1
{"holder":"a","run":"r","verb":"update","expires":5}"#;
    assert_eq!(seen(old).unwrap().lease.unwrap().since, None);
}
