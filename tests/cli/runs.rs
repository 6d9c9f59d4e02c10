//! `fleet runs`: journals of earlier runs, listed, shown and played again.

use fleet::engine::journal::Journal;
use fleet::event::{Event, EventKind, Fault, Outcome, SCHEMA};

use super::support::Fleet;

fn event(run: &str, second: usize, client: Option<&str>, kind: EventKind) -> Event {
    Event {
        schema: SCHEMA.to_owned(),
        at: format!("2026-11-20T10:15:{second:02}.500Z"),
        run: run.to_owned(),
        client: client.map(str::to_owned),
        kind,
    }
}

/// A run of two clients in which one fails.
fn run(id: &str) -> Vec<Event> {
    let clients = vec!["ville-lyon".to_owned(), "brest".to_owned()];
    let started = EventKind::RunStarted {
        verb: "update".to_owned(),
        who: "marie@atelier".to_owned(),
        clients,
        machine: None,
    };
    let fault = Fault {
        step: "start api".to_owned(),
        message: "compose ended with status 1".to_owned(),
        lines: vec!["no such image \u{1b}[2J".to_owned()],
        hint: Some("fleet logs brest".to_owned()),
    };
    let changed = Outcome::Changed { summary: "release 20261120-101500".to_owned() };
    let step = EventKind::StepStarted {
        stage: "rollout".to_owned(),
        step: "start api".to_owned(),
        index: 1,
        total: 1,
    };
    vec![
        event(id, 0, None, started),
        event(id, 1, Some("brest"), step),
        event(id, 3, Some("ville-lyon"), EventKind::HostFinished { outcome: changed, seconds: 3.0 }),
        event(
            id,
            4,
            Some("brest"),
            EventKind::HostFinished { outcome: Outcome::Failed { fault }, seconds: 4.0 },
        ),
        event(id, 4, None, EventKind::RunFinished { exit: 1, seconds: 4.25 }),
    ]
}

fn keep(fleet: &Fleet, id: &str, events: &[Event]) -> Journal {
    let mut journal = Journal::create(&fleet.path(".fleet/runs"), id).unwrap();
    events.iter().for_each(|event| journal.append(event).unwrap());
    journal
}

/// Three runs: an old one that was cut, one that failed, one of another client.
fn fleet() -> Fleet {
    let fleet = Fleet::with_clients();
    keep(&fleet, "20261119-080000-aaaa", &run("20261119-080000-aaaa")[..3]);
    keep(&fleet, "20261120-101500-bbbb", &run("20261120-101500-bbbb"));
    let alone = EventKind::RunStarted {
        verb: "provision".to_owned(),
        who: "jean@atelier".to_owned(),
        clients: vec!["brest".to_owned()],
        machine: None,
    };
    let id = "20261120-111500-cccc";
    let end = EventKind::HostFinished { outcome: Outcome::Unchanged, seconds: 1.0 };
    let over = EventKind::RunFinished { exit: 0, seconds: 65.0 };
    keep(
        &fleet,
        id,
        &[event(id, 0, None, alone), event(id, 1, Some("brest"), end), event(id, 59, None, over)],
    );
    fleet
}

fn listed(fleet: &Fleet, line: &str) -> Vec<String> {
    fleet.say(line).ok().json().iter().map(|run| run["run"].as_str().unwrap()[16..].to_owned()).collect()
}

#[test]
fn runs_are_listed_the_newest_first() {
    let fleet = fleet();
    let mut command = fleet.command(["runs"]);
    let output = command.env("TZ", "Europe/Paris").output().unwrap();
    insta::assert_snapshot!(String::from_utf8(output.stdout).unwrap(), @"
    run                   when              who            verb       outcome                    took
    20261120-111500-cccc  2026-11-20 11:15  jean@atelier   provision  1 unchanged          1 min 05 s
    20261120-101500-bbbb  2026-11-20 11:15  marie@atelier  update     1 changed, 1 failed       4.2 s
    20261119-080000-aaaa  2026-11-20 11:15  marie@atelier  update     1 changed                   cut
    ");
    assert_eq!(listed(&fleet, "runs --json"), ["cccc", "bbbb", "aaaa"]);
    assert_eq!(listed(&fleet, "runs --json --limit 1"), ["cccc"]);
    assert_eq!(listed(&fleet, "runs --json --client ville-lyon"), ["bbbb", "aaaa"]);
    assert!(fleet.say("runs --limit 2").ok().err.contains("--limit 10"));
    let record = fleet.say("runs --json --limit 2").ok().json().remove(1);
    assert_eq!(
        (&record["schema"], &record["state"], &record["exit"]),
        (&"fleet.run/1".into(), &"finished".into(), &1.into())
    );
    assert_eq!((&record["outcomes"]["failed"], &record["clients"][1]), (&1.into(), &"brest".into()));
}

#[test]
fn old_runs_are_left_out_and_a_broken_registry_hides_none() {
    let fleet = fleet();
    // The journals are of a fixed day: how long ago that is changes.
    let made: jiff::Timestamp = "2026-11-20T10:15:00Z".parse().unwrap();
    let away = jiff::Timestamp::now().duration_since(made).as_secs();
    assert_eq!(
        listed(&fleet, &format!("runs --json --since {}s", away.max(0) + 3600)),
        ["cccc", "bbbb", "aaaa"]
    );
    if away > 60 {
        assert!(listed(&fleet, "runs --json --since 1s").is_empty());
    }
    fleet.write("clients.toml", "nonsense");
    assert_eq!(fleet.run(["list"]).code, 3);
    assert_eq!(listed(&fleet, "runs --json").len(), 3);
}

#[test]
fn a_run_that_goes_on_is_not_called_cut() {
    let fleet = fleet();
    let id = "20261121-000000-dddd";
    let journal = keep(&fleet, id, &run(id)[..2]);
    let state = || fleet.say("runs --json --limit 1").ok().json()[0]["state"].clone();
    assert_eq!(state(), "running");
    drop(journal);
    assert_eq!(state(), "cut");
}

#[test]
fn a_run_is_shown_whole() {
    let fleet = fleet();
    let output = fleet.command(["runs", "show", "20261120-10"]).env("TZ", "UTC").output().unwrap();
    insta::assert_snapshot!(String::from_utf8(output.stdout).unwrap(), @r#"
    update by marie@atelier, 2026-11-20 10:15

    client      outcome   took  detail
    ville-lyon  changed  3.0 s  release 20261120-101500
    brest       failed   4.0 s  start api: compose ended with status 1

    x brest failed at "start api" after 4.0 s
        compose ended with status 1
        | no such image
        next: fleet logs brest

    2 clients: 1 changed, 1 failed in 4.2 s (fleet runs show 20261120-101500-bbbb)
    "#);
    let cut = fleet.say("runs show 20261119").ok();
    assert!(cut.out.contains("it was cut") && cut.out.contains("not reached"), "{}", cut.out);
    let events = fleet.say("runs show 20261120-101500-bbbb --json").ok().json();
    let kept: Vec<_> =
        run("20261120-101500-bbbb").iter().map(|event| serde_json::to_value(event).unwrap()).collect();
    assert_eq!(events, kept);
    assert_eq!(fleet.say("runs show latest --json").ok().json()[0]["run"], "20261120-111500-cccc");
}

#[test]
fn a_run_that_is_not_there_is_refused_with_the_nearest() {
    let fleet = fleet();
    insta::assert_snapshot!(fleet.say("runs show 20261120-2").all(), @r#"
    exit 3
    --- stderr
    error: no run "20261120-2"
      hint: the nearest are 20261120-111500-cccc, 20261120-101500-bbbb, 20261119-080000-aaaa
    "#);
    insta::assert_snapshot!(fleet.say("runs replay 20261120").all(), @r#"
    exit 3
    --- stderr
    error: 2 runs begin with "20261120"
      hint: give more of its id, such as 20261120-111500-cccc, 20261120-101500-bbbb
    "#);
    assert_eq!(fleet.say("runs show ../../clients").code, 3);
    let empty = Fleet::with_clients();
    assert_eq!(empty.say("runs show latest").code, 3);
    assert_eq!(empty.run(["runs"]).ok().out, "");
}

#[test]
fn a_run_is_played_again() {
    let fleet = fleet();
    let played = fleet.say("runs replay 20261120-10 --instant").ok();
    assert_eq!(played.out, "");
    insta::assert_snapshot!(played.err, @r#"
    update: 2 clients, run 20261120-101500-bbbb
    brest      | rollout 1/1 start api ...
    ville-lyon | + changed in 3.0 s: release 20261120-101500 [1/2]
    brest      | x failed after 4.0 s: start api: compose ended with status 1 [2/2]

    x brest failed at "start api" after 4.0 s
        compose ended with status 1
        | no such image
        next: fleet logs brest

    + ville-lyon  changed          3.0 s  release 20261120-101500

    2 clients: 1 changed, 1 failed in 4.2 s (fleet runs show 20261120-101500-bbbb)
    "#);
    let before = std::time::Instant::now();
    let again = fleet.say("runs replay 20261120-10 --speed 20 --json").ok();
    assert!(before.elapsed().as_millis() >= 200, "four seconds at twenty times the speed");
    assert_eq!(again.out, fleet.say("runs show 20261120-10 --json").out);
    assert_eq!(fleet.say("runs replay latest --speed 0").code, 2);
    assert_eq!(fleet.say("runs replay latest --speed 2 --instant").code, 2);
}
