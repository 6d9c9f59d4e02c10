//! Faults that other tools were measured with, each with what becomes of it here. `docs/faults.md` is the
//! table; the rows that another scenario proves name it there.

use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use super::kit::{Host, Load, eventually, get, lab, street};

fn events(text: &str) -> Vec<Value> {
    text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
}

fn lease(host: &Host) -> String {
    host.sh("cat /run/lock/fleet-shop.lease 2>/dev/null; true").ok()
}

#[test]
fn one_host_down_and_a_budget_that_counts_it() {
    let street = street();
    street.settle();
    let (fleet, names) = (&street.fleet, street.names());
    let down = names[4];
    street.release("one is down");
    lab().script(&["fault", down, "down"]);
    let words = ["update", "--all", "--yes", "--json", "--batch", "1,100%"];
    let tight = fleet.run(&[&words[..], &["--max-failures", "20%"]].concat());
    let ran = fleet.run(&words);
    lab().script(&["heal", down]);
    eventually("the healed host serves", Duration::from_secs(120), || {
        let ran = fleet.run(&["status", down, "--json"]);
        if ran.code == Some(0) { Ok(()) } else { Err(ran.stdout) }
    });

    // One of five is 20%: inclusive, over the whole run, and the unreachable count.
    let tight = tight.expect(1);
    tight.outcome(names[0], "changed");
    tight.outcome(down, "unreachable");
    for name in &names[1..4] {
        let left = tight.outcome(name, "skipped");
        assert!(left["reason"].to_string().contains("1 of 5 clients failed or were unreachable"), "{left:#}");
    }
    // Without a budget of its own one dead server stops nobody.
    let ran = ran.expect(1);
    ran.outcome(names[0], "unchanged");
    for name in &names[1..4] {
        ran.outcome(name, "changed");
    }
    let gone = ran.outcome(down, "unreachable");
    assert!(gone["fault"]["hint"].is_string(), "with the remedy: {gone:#}");
    let retried = fleet.run(&["update", "--retry", "--yes", "--json"]).expect(0);
    retried.outcome(down, "changed");
    assert!(retried.records().iter().all(|event| event["client"].is_null() || event["client"] == down));
}

#[test]
fn sigterm_lets_the_step_end_and_gives_the_lease_back() {
    let street = street();
    street.settle();
    let (fleet, host) = (&street.fleet, &street.shops[0]);
    let words = ["update", host.name.as_str(), "--yes", "--json"];
    street.release("interrupted");
    let (mut child, mut lines) = fleet.until_step(&words, "push source");
    kill_process(Pid::from_child(&child), Signal::TERM).expect("SIGTERM");
    let mut rest = String::new();
    std::io::Read::read_to_string(&mut lines, &mut rest).expect("the rest");
    assert_eq!(child.wait().expect("it ends").code(), Some(130), "{rest}");
    let events = events(&rest);
    assert!(events.iter().all(|event| event["type"] != "step-started"), "no new step: {rest}");
    let finished = events.iter().find(|event| event["type"] == "step-finished").expect("the step ends");
    assert_eq!(finished["result"], "done", "{rest}");
    assert!(!rest.contains("panicked") && rest.contains("run-finished"), "{rest}");
    assert_eq!(lease(host), "", "the lease is given back");
    assert_eq!(get(host, "/health").status, 200);
    fleet.run(&words).expect(0).outcome(&host.name, "changed");
}

#[test]
fn two_operators_with_different_hosts_meet_on_one() {
    let street = street();
    street.settle();
    let (fleet, names) = (&street.fleet, street.names());
    street.release("two operators");
    let (mut first, mut rest) =
        fleet.until_step(&["update", names[0], names[1], "--yes", "--json"], "ship images");
    let second = fleet.run(&["update", names[1], names[2], "--yes", "--json"]);
    let mut said = String::new();
    std::io::Read::read_to_string(&mut rest, &mut said).expect("the first run's events");
    assert_eq!(first.wait().expect("it ends").code(), Some(0), "the first is not disturbed: {said}");
    let second = second.expect(6);
    let held = second.outcome(names[1], "locked");
    let here = fleet.run(&["runs", "--json"]).expect(0).records()[0]["who"].clone();
    assert_eq!(held["holder"], here, "the holder is named: {held:#}");
    second.outcome(names[2], "changed");
    street.settle();
}

#[test]
fn rollback_to_a_release_that_is_not_there() {
    let street = street();
    street.settle();
    let (fleet, host) = (&street.fleet, &street.shops[1]);
    // So that there is one to go back to.
    street.release("one more");
    fleet.run(&["update", &host.name, "--yes"]).expect(0);
    let before = (host.containers("shop"), host.sh("cat /opt/shop/state.json; ls /opt/shop/releases").ok());
    let ran = fleet.run(&["rollback", &host.name, "--to", "000000000000", "--yes"]).expect(3);
    // What an earlier test made fail, or cut, cannot be gone back to.
    let kept = "cd /opt/shop/releases && for id in *; do [ -e $id/.complete ] && [ -e $id/.state.json ] && [ ! -e $id/.failed ] && echo $id; done; true";
    let kept = host.sh(kept).ok();
    let current = host.sh("basename $(readlink /opt/shop/current)").ok();
    assert!(kept.lines().count() > 1, "{kept}");
    for id in kept.lines().filter(|id| *id != current.trim()) {
        assert!(ran.stderr.contains(id), "{id} is there and is listed: {}", ran.stderr);
    }
    assert!(ran.stderr.contains("000000000000"), "{}", ran.stderr);
    let after = (host.containers("shop"), host.sh("cat /opt/shop/state.json; ls /opt/shop/releases").ok());
    assert_eq!(before, after, "nothing was touched");
    assert_eq!(lease(host), "");
}

#[test]
fn a_rollback_brings_the_releases_own_environment_back() {
    let street = street();
    street.settle();
    let (fleet, host) = (&street.fleet, &street.shops[2]);
    let said = || get(host, "/").json()["greeting"].clone();
    let registry = fleet.read("clients.toml");
    let (was, token) = (said(), host.exec("shop", "api", "printenv TOKEN").ok());
    let line = format!("ip = \"{}\"", host.address);
    fleet.edit("clients.toml", &line, &format!("{line}\nenv = {{ GREETING = \"of today\" }}"));
    fleet.run(&["secrets", "rotate", &host.name, "TOKEN", "--yes"]).expect(0);
    let ran = fleet.run(&["update", &host.name, "--yes", "--json"]);
    fleet.write("clients.toml", &registry);
    ran.expect(0).outcome(&host.name, "changed");
    assert_eq!(said(), "of today");
    assert_ne!(host.exec("shop", "api", "printenv TOKEN").ok(), token);

    // Whatever the registry and the vault say today, the release has its own.
    let images = host.sh("docker image ls -q | sort").ok();
    let load = Load::start(host, 4);
    let ran = fleet.run(&["rollback", &host.name, "--yes", "--json"]).expect(0);
    let ended = ran.outcome(&host.name, "changed");
    load.stop().well(20);
    let state: Value = serde_json::from_str(&host.sh("cat /opt/shop/state.json").ok()).expect("JSON");
    assert_eq!(ended["summary"], format!("release {}", state["release"].as_str().expect("an id")));
    assert_eq!(said(), was);
    assert_eq!(host.exec("shop", "api", "printenv TOKEN").ok(), token);
    assert_eq!(host.sh("docker image ls -q | sort").ok(), images, "nothing was built or pulled");
    street.settle();
}

#[test]
fn a_batch_gives_every_client_its_own_values() {
    let street = street();
    street.release("all at once");
    street.settle();
    let mut seen = std::collections::BTreeSet::new();
    for host in &street.shops {
        assert_eq!(get(host, "/").json()["client"], host.name.as_str());
        let token = host.exec("shop", "api", "printenv TOKEN").ok().trim().to_owned();
        assert_eq!(token, street.fleet.secret(&host.name, "TOKEN"), "{}", host.name);
        assert!(seen.insert(token), "{} has a token that another has", host.name);
    }
}

#[test]
fn checks_every_minute_take_one_connection_each_and_leave_none() {
    const CHECKS: usize = 10;
    let street = street();
    street.settle();
    let (fleet, host) = (&street.fleet, &street.shops[3]);
    let (before, open) = host.logins();
    assert!(before > 0, "logins are counted");
    for _ in 0..CHECKS {
        fleet.run(&["status", &host.name]).expect(0);
    }
    let (after, still) = host.logins();
    // The look itself is one more.
    assert_eq!(after - before, CHECKS + 1, "one login for each check");
    assert_eq!(still, open, "and none of them is left open");
    // An update with rsync, builds and a dozen commands is one connection too.
    street.release("one connection");
    let started = Instant::now();
    fleet.run(&["update", &host.name, "--yes"]).expect(0);
    assert_eq!(host.logins().0 - after, 2, "one login for the update, {:?}", started.elapsed());
}
