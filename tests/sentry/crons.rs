//! Check-ins of backups, checks and proofs, as Kent hears them.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use serde_json::Value as Json;

use super::kent::{KEY, Kent};
use super::stub::{Stub, TOKEN};
use super::support::Fleet;

/// Two clients at addresses where nobody answers; check-ins go to this DSN.
fn fleet(dsn: &str, more: &str) -> Fleet {
    let fleet = Fleet::with_clients();
    let text = fleet.read("clients.toml").replace(
        "name = \"tests\"",
        &format!("name = \"tests\"\nconnect_timeout = \"1s\"\nsentry = {{ dsn = {{ secret = \"OPS_DSN\" }}, crons = true{more} }}"),
    );
    fleet.write("clients.toml", text);
    fleet.with_input(["secrets", "set", "--fleet", "OPS_DSN"], dsn.as_bytes()).ok();
    for client in ["ville-lyon", "brest"] {
        fleet.with_input(["secrets", "set", client, "SMTP_PASSWORD"], b"aB3-xY9-kL2").ok();
    }
    fleet
}

/// Of each monitor its check-ins, in order.
fn monitors(kent: &Kent) -> BTreeMap<String, Vec<Json>> {
    let mut all: BTreeMap<String, Vec<Json>> = BTreeMap::new();
    for body in kent.bodies("check_in") {
        all.entry(body["monitor_slug"].as_str().unwrap().to_owned()).or_default().push(body);
    }
    all
}

/// A beginning with the configuration and an end of the same run.
fn pair<'a>(all: &'a BTreeMap<String, Vec<Json>>, slug: &str, status: &str) -> &'a Json {
    let found = all.get(slug).unwrap_or_else(|| panic!("{slug}: {all:?}"));
    let [begins, ends] = found.as_slice() else { panic!("{slug}: {found:?}") };
    assert_eq!((&begins["status"], &ends["status"]), (&"in_progress".into(), &status.into()), "{slug}");
    assert_eq!(begins["check_in_id"], ends["check_in_id"], "{slug}");
    assert_eq!(begins["check_in_id"].as_str().unwrap().len(), 32);
    assert!(ends["duration"].as_f64().unwrap() >= 0.0 && ends.get("monitor_config").is_none(), "{ends}");
    &begins["monitor_config"]
}

#[test]
fn a_backup_is_expected_by_the_schedule_of_each_client() {
    let kent = Kent::start();
    let fleet = fleet(&kent.dsn(), "");
    fleet.edit("tags = [\"prod\"]", "tags = [\"prod\"]\nbackup = { schedule = \"30 3 * * 1-5\" }");
    let done = |line: &str, code: i32| {
        let output = fleet.command(line.split(' ')).env("TZ", "Europe/Paris").output().unwrap();
        assert_eq!(output.status.code(), Some(code), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stderr).unwrap()
    };
    let said = done("backup --all", 4);
    assert!(!said.contains("Sentry"), "{said}");
    let all = monitors(&kent);
    assert_eq!(all.keys().collect::<Vec<_>>(), ["tests-backup-brest", "tests-backup-ville-lyon"]);
    let config = pair(&all, "tests-backup-brest", "error");
    assert_eq!(config["schedule"], serde_json::json!({ "type": "crontab", "value": "30 3 * * 1-5" }));
    assert_eq!((&config["timezone"], &config["checkin_margin"]), (&"Europe/Paris".into(), &150.into()));
    assert_eq!(pair(&all, "tests-backup-ville-lyon", "error")["schedule"]["value"], "0 2 * * *");
    // What is not due says nothing: it was just tried.
    kent.forget();
    done("backup --due", 0);
    assert_eq!(monitors(&kent), BTreeMap::new());
    // Another schedule is told with the next run.
    fleet.edit("30 3 * * 1-5", "15 4 * * *");
    done("backup brest", 4);
    assert_eq!(pair(&monitors(&kent), "tests-backup-brest", "error")["schedule"]["value"], "15 4 * * *");
}

#[test]
fn checks_and_proofs_check_in_too_and_looking_alone_does_not() {
    let kent = Kent::start();
    let fleet = fleet(&kent.dsn(), ", check_schedule = \"*/10 * * * *\"");
    assert_eq!(fleet.say("check --quiet").code, 4);
    let all = monitors(&kent);
    assert_eq!(pair(&all, "tests-check", "error")["schedule"]["value"], "*/10 * * * *");
    kent.forget();
    assert_eq!(fleet.say("check --no-notify").code, 4);
    assert_eq!(fleet.say("backup --all --dry-run").code, 0);
    assert_eq!(monitors(&kent), BTreeMap::new());
    // There is no backup to prove yet: nothing is wrong with that.
    assert_eq!(fleet.say("backups prove --oldest 3 --quiet").code, 0);
    assert_eq!(pair(&monitors(&kent), "tests-prove", "ok")["schedule"]["value"], "30 4 * * *");
    kent.forget();
    assert_eq!(fleet.say("backups prove brest --quiet").code, 3);
    pair(&monitors(&kent), "tests-prove", "error");
    let sent = serde_json::to_string(&kent.items()).unwrap();
    for secret in [KEY, "poisonkey7Q2x", "aB3-xY9-kL2"] {
        assert!(!sent.contains(secret), "{secret}: {sent}");
    }
}

#[test]
fn a_server_that_is_gone_or_silent_fails_no_run() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let silent = listener.local_addr().unwrap();
    let gone = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    for (place, words) in [(silent, "no answer in time"), (gone, "the connection is refused")] {
        let fleet = fleet(&format!("http://{KEY}@{place}/42"), "");
        let began = Instant::now();
        let done = fleet.say("backup --all");
        assert_eq!(done.code, 4, "{}", done.all());
        let warning = format!("warning: 2 check-ins did not reach Sentry's monitors: {place}: {words}");
        assert_eq!(done.err.matches(&warning).count(), 2, "{}", done.err);
        assert!(began.elapsed() < Duration::from_secs(25), "{:?}", began.elapsed());
        assert!(!done.all().contains(KEY), "{}", done.all());
    }
    let fleet = fleet("no DSN at all", "");
    let done = fleet.say("check --quiet");
    assert_eq!(done.code, 4, "{}", done.all());
    assert!(done.err.contains("warning: Sentry's monitors are not told: "), "{}", done.err);
}

#[test]
fn a_client_that_is_gone_is_expected_no_more() {
    let (kent, stub) = (Kent::start(), Stub::start());
    let fleet = fleet(&kent.dsn(), &format!(", url = \"{}\", token = {{ secret = \"API\" }}", stub.url));
    fleet.with_input(["secrets", "set", "--fleet", "API"], TOKEN.as_bytes()).ok();
    fleet.edit("/42\" }", "/42\", org = \"acme\" }");
    assert_eq!(fleet.say("backup --all").code, 4);
    for slug in ["tests-backup-brest", "tests-backup-ville-lyon"] {
        stub.state().monitors.insert(slug.to_owned(), "active".to_owned());
    }
    let status = |slug: &str| stub.state().monitors[slug].clone();
    let removed = fleet.say("remove brest --yes").ok();
    assert!(!removed.err.contains("warning"), "{}", removed.err);
    assert_eq!(
        (status("tests-backup-brest").as_str(), status("tests-backup-ville-lyon").as_str()),
        ("disabled", "active")
    );
    // One that comes back is expected again.
    fleet.say("add brest --domain brest.example.fr --ip 192.0.2.2").ok();
    assert_eq!(fleet.say("backup brest").code, 4);
    assert_eq!(status("tests-backup-brest"), "active");
    // One that was taken out of the file by hand is noticed by the next run that checks in.
    let text = fleet.read("clients.toml");
    let (before, _) = text.split_once("[clients.brest]").unwrap();
    fleet.write("clients.toml", before);
    assert_eq!(fleet.say("check --quiet").code, 4);
    assert_eq!(status("tests-backup-brest"), "disabled");
    assert_eq!(stub.count("PUT"), 3);
    assert_eq!(fleet.say("check --quiet").code, 4);
    assert_eq!(stub.count("PUT"), 3, "told once");
}

#[test]
fn without_a_token_the_operator_is_told_once() {
    let kent = Kent::start();
    let fleet = fleet(&kent.dsn(), "");
    assert_eq!(fleet.say("backup --all").code, 4);
    let removed = fleet.say("remove brest --yes").ok();
    let words = "warning: Sentry still expects backups of brest: [fleet.sentry] has no token; disable or delete its monitor tests-backup-brest there by hand\n";
    assert!(removed.err.contains(words), "{}", removed.err);
    assert_eq!(fleet.say("check --quiet").err, "");
}
