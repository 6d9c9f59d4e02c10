//! Updates of several clients under load: not one request is dropped, and a bad release stops where it is met.

use std::collections::BTreeMap;

use serde_json::Value;

use super::kit::{Load, Met, figure, street};

const UPDATES: usize = 10;

#[test]
fn ten_updates_under_load_drop_no_request() {
    let street = street();
    street.settle();
    let (fleet, host) = (&street.fleet, &street.shops[0]);
    let (web, mut before) = (host.containers("shop")["web"].clone(), host.containers("shop")["api"].clone());
    let load = Load::start(host, 8);
    for number in 1..=UPDATES {
        street.release(&format!("update-{number}"));
        let ran = fleet.run(&["update", &host.name, "--yes", "--json"]).expect(0);
        ran.outcome(&host.name, "changed");
        let after = host.containers("shop")["api"].clone();
        assert_ne!(before, after, "update {number} replaced the API");
        before = after;
    }
    let met = load.stop();
    figure(&format!(
        "load: {UPDATES} updates, {} requests over HTTPS, {} failed, p99 {:.0} ms, worst {:.0} ms",
        met.requests,
        met.failed,
        met.p99 * 1000.0,
        met.worst * 1000.0
    ));
    met.well(1000);
    for number in 1..=UPDATES {
        assert!(met.releases[format!("update-{number}")].is_u64(), "release {number} answered: {met:#?}");
    }
    assert_eq!(host.containers("shop")["web"], web, "the proxy was never touched");
    // Releases and their images are kept in bounds on both sides.
    let kept = host.sh("ls /opt/shop/releases | wc -l; docker image ls -q shop/api | wc -l").ok();
    let kept: Vec<usize> = kept.lines().map(|line| line.trim().parse().expect("a number")).collect();
    assert!(kept.iter().all(|count| (2..=6).contains(count)), "releases and images there: {kept:?}");
    let here = std::fs::read_dir(fleet.path(".fleet/images/linux-amd64")).map(Iterator::count);
    assert!(here.is_ok_and(|count| count <= 5), "builds here");
    street.settle();
}

#[test]
fn a_service_that_is_stopped_first_says_how_long_it_was_away() {
    let street = street();
    street.settle();
    let (fleet, host) = (&street.fleet, &street.shops[3]);
    street.release("while the worker is away");
    let plain = fleet.run(&["update", &host.name, "--yes"]).expect(0);
    assert!(plain.stderr.contains("worker was away for"), "the table says it: {}", plain.stderr);
    assert!(!plain.stderr.contains("api was away"), "start-first services never are: {}", plain.stderr);
    let events = fleet.run(&["runs", "show", "latest", "--json"]).expect(0).records();
    let away: Vec<&Value> = events.iter().filter(|event| event["type"] == "service-away").collect();
    assert_eq!(away.len(), 1, "{away:#?}");
    let seconds = away[0]["seconds"].as_f64().expect("a number");
    assert!(away[0]["service"] == "worker" && (0.2..60.0).contains(&seconds), "{away:#?}");
    figure(&format!("stop-first: the worker was away for {seconds:.1} s"));
    street.settle();
}

/// The releases that answered, by name.
fn answered(met: &Met) -> Vec<&String> {
    let mut names: Vec<&String> = met.releases.as_object().expect("an object").keys().collect();
    names.sort();
    names
}

#[test]
fn a_release_that_fails_its_gate_stops_the_rest_and_was_never_seen() {
    let street = street();
    street.release("well");
    street.settle();
    let (fleet, names) = (&street.fleet, street.names());
    let current = |index: usize| street.shops[index].sh("readlink /opt/shop/current").ok();
    let before: Vec<String> = (0..5).map(current).collect();
    let loads = [Load::start(&street.shops[0], 4), Load::start(&street.shops[1], 4)];

    // It starts everywhere but on the second client.
    street.release("bad");
    let good = fleet.read("app/api/main.py");
    let planted = format!(
        "if os.environ[\"CLIENT\"] == {:?}:\n    raise RuntimeError(\"planted: no such luck\")\n",
        names[1]
    );
    fleet.write("app/api/main.py", &good.replace("RELEASE = ", &format!("{planted}RELEASE = ")));
    let ran = fleet.run(&["update", "--all", "--canary", names[0], "--batch", "1", "--yes", "--json"]);
    let events = fleet.run(&["runs", "show", "latest", "--json"]).expect(0);
    let shown = fleet.run(&["runs", "show", "latest"]).expect(0);
    let replayed = fleet.run(&["runs", "replay", "latest", "--instant"]).expect(0);
    let history = fleet.run(&["runs", "--json"]).expect(0).records();
    let met = loads.map(Load::stop);
    fleet.write("app/api/main.py", &good);

    let ran = ran.expect(1);
    ran.outcome(names[0], "changed");
    let back = ran.outcome(names[1], "rolled-back");
    assert!(
        back["fault"]["message"].as_str().is_some_and(|said| said.starts_with("the new container ")),
        "{back:#}"
    );
    assert!(back["fault"]["lines"].to_string().contains("planted: no such luck"), "{back:#}");
    for name in &names[2..] {
        let left = ran.outcome(name, "skipped");
        assert!(left["reason"].as_str().is_some_and(|reason| reason.contains("--retry")), "{left:#}");
    }
    // Nobody on the second client met an error or the bad release; nobody on the first an error.
    met.iter().for_each(|met| met.well(100));
    assert_eq!(answered(&met[1]), ["well"]);
    assert_eq!(answered(&met[0]), ["bad", "well"]);
    assert_ne!(current(0), before[0]);
    for index in 1..5 {
        assert_eq!(current(index), before[index], "{} is on its old release", names[index]);
    }

    // JSON, journal, table and history tell the same story.
    let ends = |ran: &super::kit::Ran| -> BTreeMap<String, String> {
        let ended = ran.records().into_iter().filter(|event| event["type"] == "host-finished");
        ended.map(|event| (event["client"].to_string(), event["outcome"].to_string())).collect()
    };
    assert_eq!(ends(&ran), ends(&events), "the journal has what was printed");
    assert_eq!(ran.records().last().expect("an end")["exit"], 1);
    for text in [&shown.stdout, &replayed.stderr] {
        let row = text.lines().any(|line| line.contains(names[0]) && line.contains("changed"));
        assert!(row, "{text}");
        assert!(
            text.contains(names[1]) && text.contains("rolled back") && text.contains("planted"),
            "{text}"
        );
        assert!(
            text.contains("1 changed") && text.contains("1 rolled back") && text.contains("3 skipped"),
            "{text}"
        );
    }
    let last =
        history.iter().find(|run| run["run"] == ran.records()[0]["run"]).expect("it is in the history");
    assert_eq!(
        last["outcomes"],
        serde_json::json!({ "changed": 1, "rolled back": 1, "skipped": 3 }),
        "{last:#}"
    );
    assert_eq!((&last["exit"], &last["state"]), (&1.into(), &"finished".into()));

    street.release("mended");
    let retried = fleet.run(&["update", "--retry", "--batch", "100%", "--yes", "--json"]).expect(0);
    for name in &names[1..] {
        retried.outcome(name, "changed");
    }
    assert!(
        retried.records().iter().all(|event| event["client"] != names[0]),
        "what was done is not done again"
    );
    street.settle();
}
