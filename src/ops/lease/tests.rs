//! The scripts under a real shell. The folder of leases is replaced by one of the test's own.

use std::io::Write as _;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};

use super::*;

fn start(dir: &Path, cmd: &Cmd) -> Child {
    let text = String::from_utf8(cmd.input().bytes().to_vec()).unwrap();
    assert!(text.contains("/run/lock/") && text.contains(DIR), "{text}");
    std::fs::create_dir_all(dir.join("old")).unwrap();
    let text = text.replace("/run/lock/", &format!("{}/old/", dir.display()));
    let text = text.replace(DIR, &dir.join("new").display().to_string());
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
    let text = std::fs::read(dir.join("new/demo.lease")).ok()?;
    Some(serde_json::from_slice(&text).expect("what the host keeps is what the probe reads"))
}

fn now() -> u64 {
    let text = Command::new("date").arg("+%s").output().unwrap().stdout;
    String::from_utf8(text).unwrap().trim().parse().unwrap()
}

/// Brings the end near in both places, as time does.
fn expire(dir: &Path) {
    let mut lease = lease(dir).unwrap();
    lease.expires = now() - 1;
    write(dir, &serde_json::to_string(&lease).unwrap());
}

fn write(dir: &Path, text: &str) {
    for path in ["new/demo.lease", "old/fleet-demo.lease"] {
        std::fs::write(dir.join(path), text).unwrap();
    }
}

#[test]
fn taken_renewed_given_back() {
    let dir = tempfile::tempdir().unwrap();
    let mine = take("demo", "marie@atelier", "run-1", "update", &[]);
    assert!(run(dir.path(), &mine).status.success());
    let first = lease(dir.path()).unwrap();
    assert_eq!(
        (first.holder.as_str(), first.run.as_str(), first.verb.as_str()),
        ("marie@atelier", "run-1", "update")
    );
    assert!((now() + 170..=now() + 181).contains(&first.expires), "{first:?}");
    write(dir.path(), &serde_json::to_string(&Lease { expires: now() + 5, ..first }).unwrap());
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
        run(dir.path(), &take("demo", "o'neil \"x\" $(id) \\ *@host", "run-1", "update", &[]))
            .status
            .success()
    );
    let output = run(dir.path(), &take("demo", "bob@desk", "run-2", "provision", &[]));
    assert_eq!(output.status.code(), Some(HELD as i32));
    let held = told(&output.stdout).unwrap();
    assert_eq!((held.holder.as_str(), held.run.as_str()), ("o'neil \"x\" $(id) \\ *@host", "run-1"));
    assert!(run(dir.path(), &release("demo", "run-2")).status.success());
    assert_eq!(lease(dir.path()).unwrap().run, "run-1", "only its holder gives it back");
}

#[test]
fn a_lease_that_ran_out_is_anybodys() {
    let dir = tempfile::tempdir().unwrap();
    assert!(run(dir.path(), &take("demo", "marie@atelier", "run-1", "update", &[])).status.success());
    expire(dir.path());
    assert!(run(dir.path(), &take("demo", "bob@desk", "run-2", "update", &[])).status.success());
    assert_eq!(lease(dir.path()).unwrap().run, "run-2");
    let late = run(dir.path(), &take("demo", "marie@atelier", "run-1", "update", &[]));
    assert_eq!(late.status.code(), Some(HELD as i32), "the renewal of one who slept is refused");
    assert!(run(dir.path(), &release("demo", "run-1")).status.success());
    assert_eq!(lease(dir.path()).unwrap().run, "run-2");
}

#[test]
fn a_torn_or_empty_lease_holds_nobody_up() {
    let dir = tempfile::tempdir().unwrap();
    for torn in ["", "{\"holder\":\"x\",\"ru", "\0\0\0", "{\"run\":\"run-9\",\"expires\":abc}"] {
        std::fs::create_dir_all(dir.path().join("new")).unwrap();
        std::fs::create_dir_all(dir.path().join("old")).unwrap();
        write(dir.path(), torn);
        assert!(
            run(dir.path(), &take("demo", "bob@desk", "run-2", "update", &[])).status.success(),
            "{torn:?}"
        );
        assert_eq!(lease(dir.path()).unwrap().run, "run-2");
        run(dir.path(), &release("demo", "run-2"));
        assert_eq!(std::fs::read_dir(dir.path().join("old")).unwrap().count(), 0, "nothing is left there");
    }
}

#[test]
fn of_many_at_once_one_gets_it() {
    let dir = tempfile::tempdir().unwrap();
    let children: Vec<Child> = (0..12)
        .map(|n| start(dir.path(), &take("demo", "a@b", &format!("run-{n}"), "update", &[])))
        .collect();
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
    assert!(run(dir.path(), &take("demo", "a@b", "run-1", "update", &[])).status.success());
    assert!(run(dir.path(), &take("other", "c@d", "run-2", "update", &[])).status.success());
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

/// A run that died on the operator's machine: its lease is nobody's, and what it started is waited for.
#[test]
fn the_lease_of_a_dead_run_is_taken_over_once_its_commands_ended() {
    let dir = tempfile::tempdir().unwrap();
    assert!(run(dir.path(), &take("demo", "marie@atelier", "run-1", "update", &[])).status.success());
    let other = take("demo", "marie@atelier", "run-2", "update", &["run-0".into(), "run-10".into()]);
    assert_eq!(run(dir.path(), &other).status.code(), Some(HELD as i32), "another one is dead, not this");
    let work = dir.path().join("new/demo.work");
    let mut left = Command::new("flock").arg("-s").arg(&work).args(["sleep", "1.5"]).spawn().unwrap();
    while !work.exists() {
        std::thread::yield_now();
    }
    // The lock is there before the command: `flock` opens, locks, then starts it.
    while Command::new("flock").args(["-n", "-x"]).arg(&work).arg("true").status().unwrap().success() {
        std::thread::yield_now();
    }
    let started = std::time::Instant::now();
    let dead = ["run-9".to_owned(), "run-1".to_owned(), "$(reboot)".to_owned()];
    let output = run(dir.path(), &take("demo", "marie@atelier", "run-2", "update", &dead));
    assert!(output.status.success());
    assert!(started.elapsed().as_millis() > 500, "{:?}", started.elapsed());
    assert_eq!(told(&output.stdout).unwrap().run, "run-1", "what was taken over is told");
    assert_eq!(lease(dir.path()).unwrap().run, "run-2");
    assert!(left.wait().unwrap().success());
    let again = run(dir.path(), &take("demo", "marie@atelier", "run-2", "update", &dead));
    assert_eq!(again.stdout, b"", "a renewal takes nothing over");
}

#[test]
fn a_command_that_does_not_end_keeps_the_host_to_itself() {
    let dir = tempfile::tempdir().unwrap();
    assert!(run(dir.path(), &take("demo", "marie@atelier", "run-1", "update", &[])).status.success());
    let work = std::fs::File::create(dir.path().join("new/demo.work")).unwrap();
    work.lock_shared().unwrap();
    let cmd = take("demo", "bob@desk", "run-2", "update", &["run-1".into()]);
    let text = String::from_utf8(cmd.input().bytes().to_vec()).unwrap();
    let impatient = Cmd::script(text.replace("flock -w 150 8", "flock -w 0 8"), Vec::<String>::new());
    let output = run(dir.path(), &impatient);
    assert_eq!(output.status.code(), Some(BUSY as i32));
    assert_eq!(told(&output.stdout).unwrap().holder, "marie@atelier");
    assert_eq!(lease(dir.path()), None, "nobody holds it meanwhile");
}

/// Versions before this one know the other folder only.
#[test]
fn an_older_version_and_this_one_see_each_other() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir_all(dir.path().join("old")).unwrap();
    let old = dir.path().join("old/fleet-demo.lease");
    let theirs = format!(
        "{{\"holder\":\"bob@desk\",\"run\":\"run-1\",\"verb\":\"update\",\"expires\":{}}}\n",
        now() + 60
    );
    std::fs::write(&old, theirs).unwrap();
    let output = run(dir.path(), &take("demo", "marie@atelier", "run-2", "update", &[]));
    assert_eq!(output.status.code(), Some(HELD as i32), "theirs is respected");
    assert_eq!(told(&output.stdout).unwrap().holder, "bob@desk");
    let shown = seen(&run(dir.path(), &show("demo")).stdout).unwrap().lease.unwrap();
    assert_eq!(shown.holder, "bob@desk", "and shown");
    assert!(run(dir.path(), &release("demo", "run-1")).status.success());
    assert!(!old.exists(), "and can be broken");
    assert!(run(dir.path(), &take("demo", "marie@atelier", "run-2", "update", &[])).status.success());
    let copy: Lease = serde_json::from_slice(&std::fs::read(&old).unwrap()).unwrap();
    assert_eq!(copy.run, "run-2", "ours is where they look");
    // What somebody else than root put there is no lease.
    assert!(run(dir.path(), &release("demo", "run-2")).status.success());
    std::os::unix::fs::symlink("/etc/hostname", &old).unwrap();
    assert!(run(dir.path(), &take("demo", "marie@atelier", "run-3", "update", &[])).status.success());
    assert!(!old.is_symlink() && old.exists(), "a link is replaced and never followed");
}
