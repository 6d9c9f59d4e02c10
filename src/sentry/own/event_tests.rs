use std::time::SystemTime;

use uuid::Uuid;

use super::*;
use crate::event::Fault;

fn fault(step: &str) -> Fault {
    Fault {
        step: step.to_owned(),
        message: "api is not healthy".to_owned(),
        lines: vec!["one".to_owned(), "two".to_owned()],
        hint: Some("fleet logs lyon".to_owned()),
    }
}

fn host(client: &str, outcome: Outcome) -> HostReport {
    HostReport {
        client: client.to_owned(),
        outcome,
        seconds: 1.0,
        recorded_host_key: None,
        warnings: Vec::new(),
        away: Vec::new(),
    }
}

fn report(hosts: Vec<HostReport>) -> Report {
    Report { run: "20261120-141048-1ebfff".to_owned(), verb: "update".to_owned(), hosts, ..Report::default() }
}

#[test]
fn a_client_that_failed_is_one_event_with_its_tags() {
    let outcome = Outcome::RolledBack { fault: fault("start services"), release: "abc".to_owned() };
    let mut events = clients(&report(vec![host("lyon", outcome)]));
    complete(&mut events[0], Some("tests"), None);
    (events[0].event_id, events[0].timestamp) = (Uuid::nil(), SystemTime::UNIX_EPOCH);
    insta::assert_snapshot!(serde_json::to_string_pretty(&events).unwrap());
}

#[test]
fn what_is_no_error_of_the_command_is_no_event() {
    let outcomes = [
        Outcome::Unchanged,
        Outcome::Changed { summary: "x".to_owned() },
        Outcome::skipped("another client cannot"),
        Outcome::Unreachable { fault: fault("connect") },
        Outcome::Failed { fault: fault(PLANNING) },
        Outcome::Locked { holder: "jean".to_owned(), expires: "soon".to_owned() },
    ];
    assert_eq!(clients(&report(outcomes.map(|outcome| host("lyon", outcome)).to_vec())), []);
    let failed = host("lyon", Outcome::Failed { fault: fault("migrate") });
    let interrupted = Report { interrupted: true, ..report(vec![failed]) };
    assert_eq!(clients(&interrupted), []);
}

#[test]
fn a_fleet_that_fails_as_a_whole_spends_no_quota() {
    let hosts = (0..1000).map(|n| host(&format!("c{n}"), Outcome::Unknown { fault: fault("migrate") }));
    let events = clients(&report(hosts.collect()));
    assert_eq!(events.len(), MOST);
    assert_eq!(events[99].exception[0].value.as_deref(), Some("901 more clients failed in this run"));
    assert_eq!((&*events[98].tags["client"], &events[0].fingerprint), ("c98", &events[98].fingerprint));
}

#[test]
fn an_error_shows_its_cause_first_and_a_panic_its_place() {
    let event = error("backups prove", &["cannot write".to_owned(), "disk full".to_owned()]);
    let values: Vec<_> = event.exception.iter().filter_map(|one| one.value.as_deref()).collect();
    assert_eq!(values, ["disk full", "cannot write"]);
    let event = panic("list", "index out of bounds", Some(("src/cli/mod.rs", 7, 9)));
    let exception = &event.exception[0];
    assert_eq!(exception.mechanism.as_ref().and_then(|how| how.handled), Some(false));
    let frames = &exception.stacktrace.as_ref().unwrap().frames;
    assert_eq!(frames[0].filename.as_deref(), Some("src/cli/mod.rs"));
}

#[test]
fn a_tag_is_one_short_line() {
    assert_eq!(tag("a\nb\u{1b}c"), "a b c");
    assert_eq!(tag(&"x".repeat(500)).len(), TAG);
}
