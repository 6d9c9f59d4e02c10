//! SIGKILL at random points of a backup and of a prune, again and again, on one repository: nothing good is
//! lost, nothing bad is listed as good, and the stock restic finds no fault. `FLEET_KILLS=200` for more of it
//! (scripts/kills.sh).

use std::collections::BTreeMap;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use fleet::backup::retention::{Pruned, carry_out_after, plan};
use fleet::backup::{Depth, Place, Repository, Store, verify};
use fleet::registry::Keep;
use rand::RngExt as _;
use serde_json::json;
use sha2::{Digest as _, Sha256};

use crate::rig::{Rig, pull};

/// Tells the process that is killed what to do.
const JOB: &str = "FLEET_TEST_JOB";

fn kills(usual: u64) -> u64 {
    std::env::var("FLEET_KILLS").ok().and_then(|text| text.parse().ok()).unwrap_or(usual)
}

/// What a kill is aimed at: the same code as in `fleet backup` and `fleet backups prune`, in a process of its own.
/// The tests here start it with a job; without one it starts itself, and shows that it does what it is told.
#[test]
fn a_process_of_its_own_backs_up_and_prunes() {
    let Ok(job) = std::env::var(JOB) else {
        let rig = Rig::new(100);
        for count in 1..=3 {
            change(&rig, count);
            whole(&rig, "backup");
        }
        assert_eq!(good(&rig).len(), 3);
        whole(&rig, "prune");
        assert_eq!(good(&rig).len(), 2);
        return;
    };
    let job: serde_json::Value = serde_json::from_str(&job).unwrap();
    let text = |key: &str| job[key].as_str().unwrap().to_owned();
    let place = Place::new(
        "ville-lyon",
        Store::Folder(text("repository").into()),
        text("key").into(),
        text("lock").into(),
    );
    if text("verb") == "prune" {
        let _held = place.lock().unwrap();
        let repository = Repository::open(&place).unwrap();
        let planned = planned(&repository);
        // What was marked by the prune before goes now, and not 23 hours later.
        carry_out_after(&repository, &planned, Duration::ZERO).unwrap();
        return;
    }
    let target = fleet::ssh::Target {
        name: "test".into(),
        host: text("host"),
        port: job["port"].as_u64().unwrap().try_into().unwrap(),
        user: text("user"),
        key: text("ssh_key").into(),
        known_hosts: text("known_hosts").into(),
        jump: None,
        agent: None,
        connect_timeout: Duration::from_secs(20),
        transport: fleet::ssh::Transport::Native,
    };
    let database = fleet::ops::postgres::Database {
        stack: "geoclic".into(),
        service: "database".into(),
        user: text("database_user"),
        name: text("database"),
    };
    let what = Rig::what_of(&database, &text("files"));
    pull(target, place, what, 1 << 40, |_| {}, |source| std::sync::Arc::new(source)).unwrap();
}

fn planned(repository: &Repository) -> Pruned {
    let keep = Keep { last: Some(2), ..Keep::default() };
    plan(repository, &keep, None, jiff::Timestamp::now()).unwrap()
}

fn child(rig: &Rig, verb: &str) -> Command {
    let (target, place) = (rig.sshd.target(), rig.place());
    let job = json!({
        "verb": verb, "repository": rig.repository(), "key": place.key().reveal(), "lock": place.lock,
        "host": target.host, "port": target.port, "user": target.user, "ssh_key": target.key,
        "known_hosts": target.known_hosts, "database": rig.database.name, "database_user": rig.database.user,
        "files": rig.files.path(),
    });
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["kills::a_process_of_its_own_backs_up_and_prunes", "--exact"]).env(JOB, job.to_string());
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command
}

/// Runs it to its end; says how long that took.
fn whole(rig: &Rig, verb: &str) -> Duration {
    let started = Instant::now();
    assert!(child(rig, verb).status().unwrap().success(), "{verb}");
    started.elapsed()
}

/// Kills it somewhere before `within`; says whether it had ended before.
fn killed(rig: &Rig, verb: &str, within: Duration) -> bool {
    let mut child = child(rig, verb).spawn().unwrap();
    std::thread::sleep(within.mul_f64(rand::rng().random_range(0.02..1.0)));
    let ended = child.try_wait().unwrap().is_some();
    child.kill().unwrap();
    child.wait().unwrap();
    ended
}

/// Id and hash of the dump of every snapshot that is listed as whole; each is read to its end.
fn good(rig: &Rig) -> BTreeMap<String, String> {
    read(rig, &BTreeMap::new())
}

/// The same, where the hash of those that were read before is taken as known.
fn read(rig: &Rig, known: &BTreeMap<String, String>) -> BTreeMap<String, String> {
    let repository = Repository::open(&rig.place()).unwrap();
    let snapshots = repository.snapshots().unwrap();
    assert!(snapshots.iter().all(|snapshot| snapshot.complete), "{snapshots:#?}");
    let browser = repository.browse().unwrap();
    let mut found = BTreeMap::new();
    for snapshot in &snapshots {
        if let Some(digest) = known.get(&snapshot.id) {
            found.insert(snapshot.id.clone(), digest.clone());
            continue;
        }
        let manifest = browser.manifest(snapshot).unwrap();
        let path = &manifest.database.as_ref().unwrap().path;
        let mut dump = Vec::new();
        browser.dump(&browser.node(snapshot, path).unwrap(), &mut dump).unwrap();
        let digest = fleet::shell::hex(&Sha256::digest(&dump));
        assert_eq!(digest, manifest.part(path).unwrap().sha256);
        found.insert(snapshot.id.clone(), digest);
    }
    found
}

fn restic(rig: &Rig, words: &[&str]) {
    let output = Command::new("restic")
        .args(["--no-cache", "-r"])
        .arg(rig.repository())
        .args(words)
        .env("RESTIC_PASSWORD", rig.place().key().reveal())
        .output()
        .expect("restic is missing: apt-get install restic");
    assert!(output.status.success(), "{words:?}: {}", String::from_utf8_lossy(&output.stderr));
}

/// Changes what a backup would find.
fn change(rig: &Rig, turn: u64) {
    rig.server.ask(&format!(
        "insert into demandes (text) select md5(random()::text) || md5(i::text) from generate_series(1, 400) i; delete from petite; insert into petite values ({turn})"
    ));
    std::fs::write(
        rig.files.path().join(format!("2026/{}.txt", turn % 50)),
        format!("turn {turn}\n").repeat(900),
    )
    .unwrap();
}

#[test]
fn a_backup_that_is_killed_anywhere_loses_nothing_and_lists_nothing_bad() {
    let rig = Rig::new(60_000);
    let first = whole(&rig, "backup");
    let (mut ended, mut known) = (0, good(&rig));
    for turn in 0..kills(5) {
        change(&rig, turn);
        ended += u32::from(killed(&rig, "backup", first));
        // All of them are read again and again, but in a long run not in each turn: that would be most of it.
        let seen = if turn % 20 == 0 { BTreeMap::new() } else { known.clone() };
        let now = read(&rig, &seen);
        assert!(known.iter().all(|(id, digest)| now.get(id) == Some(digest)), "turn {turn}: one is lost");
        assert!(now.len() <= known.len() + 1, "turn {turn}: {} and then {}", known.len(), now.len());
        known = now;
        restic(&rig, &["check"]);
    }
    assert!(u64::from(ended) < kills(5), "none was killed in its middle");
    whole(&rig, "backup");
    let last = good(&rig);
    assert!(known.iter().all(|(id, digest)| last.get(id) == Some(digest)), "one is lost");
    assert_eq!(last.len(), known.len() + 1);
    restic(&rig, &["check", "--read-data"]);
    let verified = verify(Repository::open(&rig.place()).unwrap(), Depth::All).unwrap();
    assert_eq!(verified.damage, Vec::<String>::new());
}

#[test]
fn a_prune_that_is_killed_anywhere_loses_nothing_that_stays() {
    let rig = Rig::new(20_000);
    let mut took = Duration::from_millis(300);
    for turn in 0..kills(4) {
        // One more than stays, and an old one's data to give back.
        for more in 0..2 {
            change(&rig, turn * 10 + more);
            rig.backup().unwrap();
        }
        let before = good(&rig);
        let gone = planned(&Repository::open(&rig.place()).unwrap()).forgotten;
        killed(&rig, "prune", took);
        let now = good(&rig);
        for (id, digest) in before.iter().filter(|(id, _)| !gone.contains(id)) {
            assert_eq!(now.get(id), Some(digest), "turn {turn}");
        }
        restic(&rig, &["check", "--read-data"]);
        if turn % 2 == 1 {
            took = whole(&rig, "prune");
        }
    }
    whole(&rig, "prune");
    let packs = packs(&rig);
    // The second one deletes what the first one marked.
    whole(&rig, "prune");
    assert!(self::packs(&rig) <= packs && good(&rig).len() == 2);
    restic(&rig, &["check", "--read-data"]);
}

fn packs(rig: &Rig) -> usize {
    let packs = walkdir::WalkDir::new(rig.repository().join("data")).into_iter().flatten();
    packs.filter(|entry| entry.file_type().is_file()).count()
}
