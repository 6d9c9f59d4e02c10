use std::collections::BTreeMap;

use super::*;
use crate::facts::Facts;
use crate::plan::tests::{hosts, wish};

fn wanted() -> Wanted {
    Wanted {
        client: "ville-lyon".into(),
        stack: "geoclic".into(),
        http_status: Some(200),
        tls: true,
        dumps: true,
        pulled: None,
        sentry_path: Some("sentry".into()),
        own: vec![("portail".into(), 200), ("worker".into(), 0)],
        limits: Limits::default(),
    }
}

/// The well host of the fixtures, with these changes of its answer.
fn facts(changes: &[(&str, &str)]) -> Facts {
    let more = "own_check\tportail 200\nown_check\tworker 0\nend\tok";
    let mut text = hosts::text("current", &wish::desired()).replace("end\tok", more);
    for (from, to) in changes {
        assert!(text.contains(from), "{from}");
        text = text.replace(from, to);
    }
    Facts::parse(text.as_bytes()).unwrap()
}

fn failing(facts: &Facts, clock: Option<Clock>) -> Vec<(String, String)> {
    let findings = judge(&wanted(), facts, clock);
    let bad = findings.into_iter().filter(|finding| finding.state == State::Failing);
    bad.map(|finding| (finding.check, finding.text)).collect()
}

const CLOCK: Clock = Clock { asked: 1_793_959_999, answered: 1_793_960_001 };

#[test]
fn each_fault_is_found_as_itself_and_nothing_else() {
    assert_eq!(failing(&facts(&[]), Some(CLOCK)), []);
    let end = ("end\tok", "disk_percent\t97\nend\tok");
    type Case<'c> = (&'c [(&'c str, &'c str)], &'c str, &'c str);
    let cases: &[Case<'_>] = &[
        (&[end], "disk", "disk 97% full"),
        (&[("MemAvailable\t1207400", "MemAvailable\t20000")], "memory", "memory 100% used"),
        (
            &[("load\t0.20 0.10 0.05", "load\t0.20 0.10 8.00")],
            "load",
            "load 8.0 over 15 minutes on 2 processors",
        ),
        (
            &[("unit\tcron.service enabled active", "unit\tcron.service enabled inactive")],
            "cron",
            "cron is inactive",
        ),
        (&[("check\t1793959800 ok", "check\t1793950000 ok")], "cron", "its own watch is silent for 166 min"),
        (&[("backup\t1793930400 ok", "backup\t1793830400 ok")], "backup", "last dump 36 h ago"),
        (
            &[
                ("18432", "18432"),
                (
                    "backup\t1793930400 ok nightly-20261120-020000 18432",
                    "backup\t1793930400 failed no space left",
                ),
            ],
            "backup",
            "nightly dump failed: no space left",
        ),
        (&[("c0ffee02 api running healthy", "c0ffee02 api exited healthy")], "containers", "api exited"),
        (&[("http\t200", "http\t503")], "http", "health answers HTTP 503"),
        (&[("served_serial\t05F1", "served_serial\t06")], "certificate", "certificate on disk is not served"),
        (
            &[("disk_not_after\tFeb 18 10:00:00 2027", "disk_not_after\tNov 11 10:00:00 2026")],
            "certificate",
            "certificate has 23% of its lifetime left (4 d): it was not renewed",
        ),
        (
            &[("end\tok", "drift\tdocker-compose.yml\nend\tok")],
            "files",
            "edited on the host: docker-compose.yml",
        ),
        (&[("own_check\tworker 0", "own_check\tworker 1")], "stack.worker", "check worker answers 1, not 0"),
        (
            &[("own_check\tportail 200", "own_check\tportail 404")],
            "stack.portail",
            "check portail answers 404, not 200",
        ),
        (
            &[("end\tok", "reboot_required\tyes\nreboot_since\t1792000000\nend\tok")],
            "reboot",
            "reboot required for 22 d",
        ),
    ];
    for (changes, check, text) in cases {
        let found = failing(&facts(changes), Some(CLOCK));
        assert_eq!(found, [((*check).to_owned(), (*text).to_owned())], "{changes:?}");
    }
}

#[test]
fn a_clock_is_judged_by_the_time_in_which_the_host_answered() {
    let clock = |asked, answered| failing(&facts(&[]), Some(Clock { asked, answered }));
    assert_eq!(clock(1_793_959_900, 1_793_960_100), [], "a slow host is not one with a wrong clock");
    let ahead = clock(1_793_956_000, 1_793_956_400);
    assert_eq!(ahead, [("clock".to_owned(), "its clock is 3600 s ahead".to_owned())]);
    assert_eq!(clock(1_793_960_100, 1_793_960_110)[0].1, "its clock is 100 s behind");
}

#[test]
fn a_host_that_is_down_is_one_thing_that_is_wrong() {
    let found = unreachable(&wanted(), "no answer within 10 s", None);
    let states: BTreeMap<_, _> = found.iter().map(|one| (one.check.as_str(), one.state)).collect();
    assert_eq!((found[0].check.as_str(), found[0].text.as_str()), ("host", "no answer within 10 s"));
    assert_eq!(found[0].remedy, "fleet test-ssh ville-lyon");
    assert!(found[1..].iter().all(|one| one.state == State::Unknown), "{found:?}");
    assert!(
        states.contains_key("certificate")
            && states.contains_key("backup")
            && states.contains_key("stack.worker")
    );
}

#[test]
fn docker_that_is_down_hides_what_depends_on_it_and_not_the_disk() {
    let text = hosts::text("current", &wish::desired());
    let gone = |line: &&str| {
        !line.starts_with("engine") && !line.starts_with("container") && !line.starts_with("http")
    };
    let text: String = text.lines().filter(gone).map(|line| format!("{line}\n")).collect();
    let text = text.replace("end\tok", "disk_percent\t97\nend\tok");
    let found = failing(&Facts::parse(text.as_bytes()).unwrap(), None);
    let checks: Vec<&str> = found.iter().map(|(check, _)| check.as_str()).collect();
    assert_eq!(checks, ["docker", "disk"]);
}

#[test]
fn a_check_that_is_off_is_not_made() {
    let mut wanted = wanted();
    wanted.limits.off = ["http".to_owned()].into();
    let found = judge(&wanted, &facts(&[("http\t200", "http\t503")]), None);
    assert!(found.iter().all(|one| one.check != "http" && one.state != State::Failing), "{found:?}");
}

#[test]
fn a_new_host_has_not_seen_its_first_night() {
    let gone = |text: &str| {
        let line = "backup\t1793930400 ok nightly-20261120-020000 18432\n";
        text.replace(line, "")
    };
    let text = gone(&hosts::text("current", &wish::desired()));
    let old = Facts::parse(text.as_bytes()).unwrap();
    let at = old.state.as_ref().unwrap().at.parse::<jiff::Timestamp>().unwrap().as_second();
    let clock = |hours: i64| text.replace("clock\t1793960000", &format!("clock\t{}", at + hours * 3600));
    let backup = |hours| {
        let found = failing(&Facts::parse(clock(hours).as_bytes()).unwrap(), None);
        found.into_iter().find(|(check, _)| check == "backup").map(|(_, text)| text)
    };
    assert_eq!((backup(2), backup(30)), (None, Some("no dump yet".to_owned())));
}

/// A week of checks every 5 minutes. What is told is what changed, and nothing else.
#[test]
fn a_simulated_week_tells_of_changes_only() {
    const STEP: i64 = 300;
    let well = facts(&[]);
    let full = facts(&[("end\tok", "disk_percent\t97\nend\tok")]);
    let dead = facts(&[("c0ffee02 api running healthy", "c0ffee02 api exited healthy")]);
    let (wanted, mut memory) = (wanted(), Memory::default());
    let mut told: Vec<(i64, String)> = Vec::new();
    let mut runs = 0;
    for minute in (0..7 * 1440).step_by(5) {
        let now = 1_793_960_000 + minute * 60;
        let found = match minute {
            // One bad answer on Monday: nobody is woken.
            500 => judge(&wanted, &dead, None),
            // The disk is full for two days; in the middle of it the host is away for an hour.
            2000..=2055 => unreachable(&wanted, "no route to host", None),
            1000..=3880 => judge(&wanted, &full, None),
            // The api dies for 25 minutes.
            6000..=6020 => judge(&wanted, &dead, None),
            // A single lost answer.
            7000 => unreachable(&wanted, "connection reset", None),
            _ => judge(&wanted, &well, None),
        };
        runs += 1;
        // Kept as a file between two runs.
        let text = serde_json::to_string(&memory).unwrap();
        memory = serde_json::from_str(&text).unwrap();
        for change in memory.fold("ville-lyon", &found, 2, now) {
            let word = change.text.unwrap_or_else(|| format!("well after {} min", change.seconds / 60));
            told.push((minute, format!("{}: {word}", change.check)));
        }
        assert!(memory.failing.len() <= 1);
    }
    assert_eq!(runs * STEP, 7 * 86_400);
    let told: Vec<(i64, &str)> = told.iter().map(|(minute, text)| (*minute, text.as_str())).collect();
    assert_eq!(
        told,
        [
            (1005, "disk: disk 97% full"),
            (2005, "host: no route to host"),
            (2060, "host: well after 60 min"),
            (3885, "disk: well after 2885 min"),
            (6005, "containers: api exited"),
            (6025, "containers: well after 25 min"),
        ]
    );
    assert_eq!(memory, Memory::default());
}

#[test]
fn a_client_that_is_gone_is_forgotten_and_others_are_not() {
    let mut memory = Memory::default();
    let found = unreachable(&wanted(), "x", None);
    memory.fold("a", &found, 1, 10);
    memory.fold("b", &found, 1, 10);
    memory.keep(&["b"].into());
    assert_eq!(memory.failing.keys().collect::<Vec<_>>(), ["b"]);
    assert_eq!(memory.since("b", "host"), Some(10));
}
