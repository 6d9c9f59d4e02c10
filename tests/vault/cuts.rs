//! Cuts and crowds: this binary starts itself with [`DIR`] set, and only then do the `worker_` tests do
//! anything.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use fleet::secret::Secret;
use fleet::vault::{ClientSecrets, init_identity};
use rand::RngExt;

use super::{CLIENT, Vault, ensure, fresh, now, open, value, wanted};

/// Tells a child of this test binary which vault to work on.
const DIR: &str = "FLEET_TEST_VAULT_DIR";

fn start(worker: &str, dir: &Path) -> std::process::Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", &format!("cuts::{worker}"), "--nocapture", "--quiet"])
        .env(DIR, dir)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

/// One line in one write: what a reader of the pipe gets is whole, or its last line has no end.
fn say(line: &str) {
    let mut out = std::io::stdout().lock();
    out.write_all(format!("\n@{line}\n").as_bytes()).unwrap();
    out.flush().unwrap();
}

/// Changes secrets until it is killed, saying each value before it is used and each change after it is done.
#[test]
fn worker_until_killed() {
    let Some(dir) = std::env::var_os(DIR).map(PathBuf::from) else { return };
    let vault = open(&dir);
    let mut rng = rand::rng();
    for round in 0u32.. {
        let created = format!("NAME_{}", rng.random_range(0..1_000_000u32));
        let (secrets, made) = vault.ensure(CLIENT, &wanted(&[&created]), true, &mut rng, now()).unwrap();
        if made == [created.as_str()] {
            say(&format!("has {created} {}", secrets.get(&created).unwrap().reveal()));
        }
        let given = format!("given-{round}-{}", rng.random::<u64>());
        say(&format!("try GIVEN {given}"));
        vault.set(CLIENT, "GIVEN", given.as_str().into(), true, now()).unwrap();
        say(&format!("has GIVEN {given}"));
        let rotated = vault.rotate(CLIENT, &wanted(&["ROTATED"]), &mut rng, now()).unwrap();
        say(&format!("has ROTATED {}", rotated.get("ROTATED").unwrap().reveal()));
        if round % 2 == 0 {
            vault.rekey(now()).unwrap();
        }
        // Keeps the file small without letting go of what the parent looks for.
        vault.unset(CLIENT, "OLD", now()).unwrap();
        vault.set(CLIENT, "OLD", "an old value".into(), true, now()).unwrap();
        vault.confirm(CLIENT, &["OLD".to_owned(), "GIVEN".to_owned()], now()).unwrap();
    }
}

#[test]
fn killed_at_any_moment_nothing_acknowledged_is_lost() {
    let (dir, vault) = fresh();
    ensure(&vault, CLIENT, &["ROTATED", "KEPT"]);
    vault.set(CLIENT, "GIVEN", "given-first".into(), false, now()).unwrap();
    vault.set(CLIENT, "OLD", "an old value".into(), false, now()).unwrap();
    let mut has: BTreeMap<String, String> = BTreeMap::new();
    has.insert("KEPT".to_owned(), value(&vault, CLIENT, "KEPT"));
    has.insert("GIVEN".to_owned(), "given-first".to_owned());
    let (mut acknowledged, mut cut_rekeys, mut leftovers) = (0, 0, 0);
    for _ in 0..40 {
        let mut child = start("worker_until_killed", dir.path());
        let mut out = BufReader::new(child.stdout.take().unwrap());
        // Once it is at work, anywhere within one of the next few changes, however slow this machine is.
        let (mut said, changes) = (String::new(), rand::rng().random_range(1..10));
        while said.matches('@').count() < changes {
            assert_ne!(out.read_line(&mut said).unwrap(), 0, "the worker ended: {}", errors(child));
        }
        std::thread::sleep(Duration::from_micros(rand::rng().random_range(0..20_000)));
        child.kill().unwrap();
        std::io::Read::read_to_string(&mut out, &mut said).unwrap();
        let errors = errors(child);
        assert!(!errors.contains("panicked"), "{errors}");

        let tried = take_acknowledged(&said, &mut has);
        acknowledged += said.matches("@has ").count();
        // Read as it was left, by one that repairs nothing.
        let left = open(dir.path()).read(CLIENT).unwrap();
        still_there(&left, &has, tried.as_ref(), "killed");
        let given = left.get("GIVEN").unwrap().reveal().clone();
        has.insert("GIVEN".to_owned(), given);
        cut_rekeys += usize::from(vault.pending_rekey().unwrap().is_some());
        leftovers += temporary_files(dir.path());
        // OLD is unset for a moment; the next worker expects it.
        vault.set(CLIENT, "OLD", "an old value".into(), true, now()).unwrap();
        vault.rotate(CLIENT, &wanted(&["KEPT"]), &mut rand::rng(), now()).unwrap();
        vault.revert(CLIENT, "KEPT", now()).unwrap();
        vault.confirm(CLIENT, &["KEPT".to_owned(), "ROTATED".to_owned()], now()).unwrap();
        has.insert("ROTATED".to_owned(), value(&vault, CLIENT, "ROTATED"));
        assert!(vault.pending_rekey().unwrap().is_none(), "a cut rekeying is finished");
        assert!(vault.who_can_read(CLIENT).unwrap().certain, "the index is true again");
        assert_eq!(temporary_files(dir.path()), 0, "what the cut left is swept");
    }
    eprintln!("{acknowledged} changes, {cut_rekeys} rekeyings cut, {leftovers} temporary files left by cuts");
    assert!(acknowledged > 40 && leftovers > 0, "{acknowledged} changes, {leftovers} cut within a write");
}

fn errors(child: std::process::Child) -> String {
    String::from_utf8_lossy(&child.wait_with_output().unwrap().stderr).into_owned()
}

fn temporary_files(dir: &Path) -> usize {
    let files = walkdir::WalkDir::new(dir).into_iter().map(Result::unwrap);
    files.filter(|entry| entry.file_name().to_string_lossy().ends_with(".tmp")).count()
}

/// One change of each kind, then the end.
#[test]
fn worker_that_changes_everything_once() {
    let Some(dir) = std::env::var_os(DIR).map(PathBuf::from) else { return };
    let (vault, rng) = (open(&dir), &mut rand::rng());
    let (secrets, made) = vault.ensure(CLIENT, &wanted(&["MADE"]), true, rng, now()).unwrap();
    assert_eq!(made, ["MADE"]);
    say(&format!("has MADE {}", secrets.get("MADE").unwrap().reveal()));
    let given = format!("given-{}", rng.random::<u64>());
    say(&format!("try GIVEN {given}"));
    vault.set(CLIENT, "GIVEN", given.as_str().into(), true, now()).unwrap();
    say(&format!("has GIVEN {given}"));
    let rotated = vault.rotate(CLIENT, &wanted(&["ROTATED"]), rng, now()).unwrap();
    say(&format!("has ROTATED {}", rotated.get("ROTATED").unwrap().reveal()));
    vault.unset(CLIENT, "MADE", now()).unwrap();
    vault.rekey(now()).unwrap();
    vault.rename_client("ville-here", "ville-there", now()).unwrap();
    let removed = vault.remove("ville-gone", now()).unwrap().unwrap();
    assert!(removed.exists());
    init_identity(&dir.join("second"), "bob", now()).unwrap();
    fleet::keys::generate(&dir.join("second/key"), "second", rng).unwrap();
}

/// The same fleet directory for every cut: what the worker above begins with.
fn before_the_worker(dir: &Path) -> (Vault, BTreeMap<String, String>) {
    init_identity(dir, "alice@laptop", now()).unwrap();
    let vault = open(dir);
    ensure(&vault, CLIENT, &["ROTATED", "KEPT"]);
    vault.set(CLIENT, "GIVEN", "given-first".into(), false, now()).unwrap();
    ensure(&vault, "ville-here", &["KEPT"]);
    ensure(&vault, "ville-gone", &["KEPT"]);
    let has = ["ROTATED", "KEPT", "GIVEN"].map(|name| (name.to_owned(), value(&vault, CLIENT, name)));
    (vault, has.into())
}

/// Power that goes at the very instruction: the kernel's calls that change a disk are counted, and the
/// worker is killed at the first, at the second, and so on until it lives to its end.
#[test]
fn killed_at_each_call_to_the_kernel_nothing_acknowledged_is_lost() {
    // Killed on the way in, so what stands is all that the calls before have done. A created file is caught
    // at the `fchmod` or `ftruncate` that follows.
    let calls = ["write", "pwrite64", "ftruncate", "fchmod", "rename", "renameat2", "unlink"];
    let next = std::sync::atomic::AtomicUsize::new(0);
    let cuts: Vec<(&str, usize)> = std::thread::scope(|scope| {
        let sweep = || {
            let mut done = Vec::new();
            while let Some(call) = calls.get(next.fetch_add(1, std::sync::atomic::Ordering::SeqCst)) {
                done.push((*call, (1..).take_while(|count| cut_at(call, *count)).count()));
            }
            done
        };
        let threads: Vec<_> = (0..2).map(|_| scope.spawn(sweep)).collect();
        threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
    });
    eprintln!("cut at {cuts:?}");
    for (call, count) in cuts {
        assert!(count >= 2, "{call} is made {count} times: the sweep looks at the wrong calls");
    }
}

/// Whether the worker was killed at that call; what it left is checked either way.
fn cut_at(call: &str, count: usize) -> bool {
    let dir = tempfile::tempdir().unwrap();
    let (vault, mut has) = before_the_worker(dir.path());
    let here = value(&vault, "ville-here", "KEPT");
    let output =
        strace(dir.path(), &format!("--inject={call}:signal=KILL:when={count}"), Path::new("/dev/null"));
    let what = format!("cut at {call} number {count}");
    let (said, errors) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    let killed = std::os::unix::process::ExitStatusExt::signal(&output.status) == Some(9);
    assert!(killed || output.status.success(), "{what}: {said}{errors}");

    let left = open(dir.path()).read(CLIENT).unwrap_or_else(|error| panic!("{what}: {error}"));
    let tried = take_acknowledged(&said, &mut has);
    still_there(&left, &has, tried.as_ref(), &what);
    // A client on its way from one name to another is under one of them, or under both.
    let names = ["ville-here", "ville-there"];
    let found: Vec<_> = names.iter().filter_map(|name| vault.read_optional(name).unwrap()).collect();
    assert!(
        !found.is_empty() && found.iter().all(|found| found.get("KEPT").unwrap().reveal() == &here),
        "{what}"
    );
    let gone = usize::from(vault.exists("ville-gone").unwrap())
        + fs::read_dir(dir.path().join("secrets/removed")).map_or(0, Iterator::count);
    assert_eq!(gone, 1, "{what}: a removed client is in one place");

    // And the next run goes on, sweeps, and ends where this one would have.
    vault
        .set(CLIENT, "AFTER", "all is well".into(), true, now())
        .unwrap_or_else(|error| panic!("{what}: {error}"));
    vault.set("ville-gone", "AFTER", "all is well".into(), false, now()).unwrap();
    if vault.exists("ville-here").unwrap() {
        vault.rename_client("ville-here", "ville-there", now()).unwrap();
    }
    assert_eq!(value(&vault, "ville-there", "KEPT"), here, "{what}");
    assert!(vault.pending_rekey().unwrap().is_none(), "{what}: a cut rekeying is finished");
    assert!(vault.who_can_read(CLIENT).unwrap().certain, "{what}: the index is true again");
    let second = dir.path().join("second");
    init_identity(&second, "bob", now()).unwrap();
    ensure(&open(&second), CLIENT, &["A"]);
    if !second.join("key").exists() {
        fleet::keys::generate(&second.join("key"), "second", &mut rand::rng()).unwrap();
    }
    fleet::keys::show(&second.join("key")).unwrap();
    let in_secrets =
        temporary_files(&dir.path().join("secrets")) + temporary_files(&dir.path().join(".fleet"));
    assert_eq!(in_secrets, 0, "{what}: what the cut left is swept");
    killed
}

/// A kill cannot show what a loss of power would: whether content was on the disk before its name was, and
/// the name before the change was acknowledged. The order of the calls can.
#[test]
fn content_is_flushed_before_its_name_and_the_name_before_the_answer() {
    let dir = tempfile::tempdir().unwrap();
    before_the_worker(dir.path());
    let trace = dir.path().join("trace");
    let output = strace(dir.path(), "--trace=write,fsync,rename,renameat2", &trace);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = fs::read_to_string(&trace).unwrap();
    // `PID call(...) = result`, and there is one thread.
    let calls: Vec<&str> = text.lines().filter_map(|line| line.split_whitespace().nth(1)).collect();
    let mut renames = 0;
    for (index, call) in calls.iter().enumerate().filter(|(_, call)| call.starts_with("rename")) {
        let around = (calls[index - 1], calls[index + 1]);
        assert!(
            around.0.starts_with("fsync(") && around.1.starts_with("fsync("),
            "{call} between {around:?}"
        );
        renames += 1;
    }
    assert!(renames > 10, "{renames} renames in {text}");
}

/// The worker that ends by itself, under `strace` with one option.
fn strace(dir: &Path, option: &str, log: &Path) -> std::process::Output {
    Command::new("strace")
        .args(["-f", "-qq", option, "-o"])
        .arg(log)
        .arg(std::env::current_exe().unwrap())
        .args([
            "--exact",
            "cuts::worker_that_changes_everything_once",
            "--nocapture",
            "--quiet",
            "--test-threads=1",
        ])
        .env(DIR, dir)
        .output()
        .unwrap_or_else(|error| panic!("this test needs `strace` (Debian: apt-get install strace): {error}"))
}

/// What the worker said is done, and the value it was about to set.
fn take_acknowledged(said: &str, has: &mut BTreeMap<String, String>) -> Option<String> {
    let mut tried = None;
    for line in said.split_inclusive('\n').filter_map(|line| line.strip_prefix('@')?.strip_suffix('\n')) {
        let mut words = line.splitn(3, ' ');
        let (verb, name, value) = (words.next().unwrap(), words.next().unwrap(), words.next().unwrap());
        if verb == "try" {
            tried = Some(value.to_owned());
        } else {
            has.insert(name.to_owned(), value.to_owned());
        }
    }
    tried
}

fn still_there(left: &ClientSecrets, has: &BTreeMap<String, String>, tried: Option<&String>, what: &str) {
    for (name, value) in has {
        let now = left.get(name).map(Secret::reveal);
        let before = left.previous(name).iter().any(|old| old.reveal() == value);
        let in_flight = name == "GIVEN" && tried.is_some() && tried == now;
        assert!(now == Some(value) || before || in_flight, "{what}: {name} was {value} and is lost");
    }
}

#[test]
fn worker_in_a_crowd() {
    let Some(dir) = std::env::var_os(DIR).map(PathBuf::from) else { return };
    say(&crowd_member(&dir, std::process::id()));
}

/// Ensures what all want and sets what only it has.
fn crowd_member(dir: &Path, id: u32) -> String {
    let vault = open(dir);
    let (secrets, _) =
        vault.ensure(CLIENT, &wanted(&["SHARED_A", "SHARED_B"]), false, &mut rand::rng(), now()).unwrap();
    for count in 0..3 {
        vault.set(CLIENT, &format!("OWN_{id}_{count}"), "a value".into(), false, now()).unwrap();
    }
    shared(&secrets)
}

fn shared(secrets: &ClientSecrets) -> String {
    ["SHARED_A", "SHARED_B"].map(|name| secrets.get(name).unwrap().reveal().as_str()).join(" ")
}

#[test]
fn a_crowd_of_processes_and_threads_agrees_and_loses_nothing() {
    let (dir, vault) = fresh();
    let children: Vec<_> = (0..8).map(|_| start("worker_in_a_crowd", dir.path())).collect();
    let mut ids: Vec<u32> = children.iter().map(std::process::Child::id).collect();
    let dir = dir.path();
    let mut seen: Vec<String> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..8).map(|id| scope.spawn(move || crowd_member(dir, id))).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    ids.extend(0..8);
    for child in children {
        let output = child.wait_with_output().unwrap();
        let (out, errors) =
            (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(output.status.success(), "{errors}");
        seen.extend(out.lines().find_map(|line| line.strip_prefix('@')).map(str::to_owned));
    }
    let secrets = vault.read(CLIENT).unwrap();
    assert_eq!(seen, vec![shared(&secrets); 16]);
    for id in ids {
        for count in 0..3 {
            assert!(secrets.get(&format!("OWN_{id}_{count}")).is_some(), "OWN_{id}_{count} is lost");
        }
    }
    assert_eq!(secrets.names().count(), 2 + 16 * 3);
}
