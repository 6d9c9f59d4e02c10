//! `fleet check` as cron meets it: exit codes, what is remembered, what is told, two at once.

use std::time::{Duration, Instant};

use super::sshd::{self, Sshd};
use super::support::Fleet;

/// Two clients at addresses where nobody answers, and a channel that appends what it hears to `heard`.
fn silent(more: &str) -> Fleet {
    let fleet = Fleet::with_clients();
    let text =
        fleet.read("clients.toml").replace("name = \"tests\"", "name = \"tests\"\nconnect_timeout = \"1s\"");
    fleet.write(
        "clients.toml",
        format!(
            "{text}{more}\n[notify.file]\nkind = \"command\"\ncommand = [\"sh\", \"-c\", \"cat >> heard\"]\n"
        ),
    );
    fleet
}

fn heard(fleet: &Fleet) -> String {
    std::fs::read_to_string(fleet.path("heard")).unwrap_or_default()
}

#[test]
fn what_is_wrong_is_told_once_and_shown_each_time() {
    let fleet = silent("");
    let first = fleet.say("check");
    assert_eq!(first.code, 4, "{}", first.all());
    assert!(first.err.contains("what to do:") && first.err.contains("brest host: "), "{}", first.all());
    assert_eq!(heard(&fleet), "", "one failure is none");
    let second = fleet.say("check --quiet");
    assert_eq!((second.code, second.all().as_str()), (4, "exit 4\n"));
    let told = heard(&fleet);
    assert_eq!(
        told.lines().next(),
        Some("[tests] none of 2 clients reachable: is it this machine's own network?"),
        "{told}"
    );
    assert_eq!(told.matches("PROBLEM").count(), 2, "one message about both: {told}");
    for _ in 0..2 {
        assert_eq!(fleet.say("check --quiet").code, 4);
    }
    assert_eq!(heard(&fleet), told, "nothing changed, nothing is told");
    let mode = std::os::unix::fs::PermissionsExt::mode(
        &std::fs::metadata(fleet.path(".fleet/checks.json")).unwrap().permissions(),
    );
    assert_eq!(mode & 0o777, 0o600);
}

#[test]
fn only_looking_leaves_no_trace() {
    let fleet = silent("");
    for _ in 0..3 {
        assert_eq!(fleet.say("check --no-notify --quiet").code, 4);
    }
    assert_eq!(heard(&fleet), "");
    assert!(!fleet.path(".fleet/checks.json").exists());
    let records = fleet.say("check --no-notify --json");
    let record = &records.json()[0];
    assert_eq!((record["schema"].as_str(), record["well"].as_bool()), (Some("fleet.check/1"), Some(false)));
    assert_eq!(
        (record["checks"][0]["check"].as_str(), record["checks"][0]["state"].as_str()),
        (Some("host"), Some("failing"))
    );
    assert_eq!(record["checks"][1]["state"], "unknown", "{record}");
}

#[test]
fn a_spoiled_memory_begins_anew_and_says_so() {
    let fleet = silent("");
    fleet.write(".fleet/checks.json", "{ \"schema\": \"fleet.check-state/1\", \"failing\": 7 }");
    let done = fleet.say("check --quiet");
    assert_eq!(done.code, 4);
    assert!(done.err.contains("checks.json cannot be read and begins anew"), "{}", done.all());
    assert_eq!(fleet.say("check --quiet").all(), "exit 4\n");
}

/// Each of the runs counts once: their number is in the file, whichever came first.
#[test]
fn checks_at_the_same_time_wait_for_each_other() {
    let fleet = silent("");
    let runs: Vec<_> = (0..4).map(|_| fleet.command(["check", "--quiet"]).spawn().unwrap()).collect();
    for mut run in runs {
        assert_eq!(run.wait().unwrap().code(), Some(4));
    }
    let memory: serde_json::Value = serde_json::from_str(&fleet.read(".fleet/checks.json")).unwrap();
    assert_eq!(memory["failing"]["brest"]["host"]["count"], 4, "{memory}");
    assert_eq!(heard(&fleet).matches("[tests]").count(), 1, "{}", heard(&fleet));
}

#[test]
fn a_check_that_cannot_begin_says_who_runs() {
    let fleet = silent("");
    let lock = fleet.path(".fleet/locks/check.lock");
    std::fs::create_dir_all(lock.parent().unwrap()).unwrap();
    let held = fleet::fs_atomic::FileLock::acquire(&lock, Duration::from_secs(1)).unwrap();
    let started = Instant::now();
    let done = fleet.say("check --quiet");
    assert_eq!(done.code, 6, "{}", done.all());
    assert!(done.err.contains("is held by"), "{}", done.all());
    assert!(started.elapsed() > Duration::from_secs(8));
    drop(held);
}

#[test]
fn a_host_that_comes_back_is_told_with_how_long_it_was_away() {
    let host = Sshd::with("");
    let fleet = silent("");
    std::fs::copy(fleet.path("keys/fleet_ed25519.pub"), host.path("authorized_keys")).unwrap();
    let there = format!("ip = \"{}\"\nport = {}\nuser = \"{}\"", host.host, host.port, sshd::user());
    for _ in 0..2 {
        assert_eq!(fleet.say("check brest --quiet").code, 4);
    }
    assert!(heard(&fleet).contains("PROBLEM brest: "), "{}", heard(&fleet));
    // The same client, at an address where somebody answers: reachable, though bare.
    fleet.edit("ip = \"192.0.2.2\"", &there);
    let done = fleet.say("check brest");
    assert_eq!(done.code, 1, "{}", done.all());
    assert!(
        done.out.contains("not provisioned") && done.err.contains("fleet provision brest"),
        "{}",
        done.all()
    );
    let told = heard(&fleet);
    assert!(told.contains("RECOVERED brest: host is well again after"), "{told}");
    assert!(!told.contains("not provisioned"), "that is one failure yet: {told}");
}
