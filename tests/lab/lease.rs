//! One at a time: a host that somebody else changes is left to them, until their lease runs out.

use super::kit::{Host, town};

/// The lease as another operator's fleet would have taken it, until some seconds from now.
fn held_elsewhere(host: &Host, seconds: i64) {
    host.sh(&format!(
        "printf '{{\"holder\":\"alice@laptop\",\"run\":\"20990101-000000-beef\",\"verb\":\"update\",\"expires\":%s}}\\n' \
         \"$(($(date +%s) + {seconds}))\" >/run/lock/fleet-geoclic.lease"
    ))
    .ok();
}

#[test]
fn a_held_host_is_refused_and_an_expired_lease_is_taken_over() {
    let town = town();
    let (fleet, host) = (&town.fleet, &town.one);
    fleet.run(&["update", "--all", "--yes"]).expect(0);
    town.touch("admin", "while somebody holds the host");
    let before = host.containers("geoclic");

    held_elsewhere(host, 600);
    let client = host.name.as_str();
    let ran = fleet.run(&["update", client, "--yes", "--json"]).expect(6);
    let ended = ran.outcome(client, "locked");
    assert!(ended.to_string().contains("alice@laptop"), "the holder is named: {ended:#}");
    assert!(ran.steps().is_empty(), "no step is taken: {:?}", ran.steps());
    let plain = fleet.run(&["update", client, "--yes"]).expect(6);
    assert!(plain.stderr.contains("alice@laptop"), "the holder is named: {}", plain.stderr);
    assert_eq!(host.containers("geoclic"), before);
    // The other client is nobody's, so it is done; the exit code says that one was locked.
    let both = fleet.run(&["update", "--all", "--yes", "--json"]).expect(6);
    both.outcome(client, "locked");
    both.outcome(&town.two.name, "changed");

    held_elsewhere(host, -1);
    fleet.run(&["update", client, "--yes", "--json"]).expect(0).outcome(client, "changed");
    let left = host.sh("ls /run/fleet/geoclic.lease /run/lock/fleet-geoclic.lease 2>&1");
    assert!(left.stdout.matches("No such file").count() == 2, "the lease is given back: {left:?}");
}

#[test]
fn of_two_operators_at_once_one_works_and_one_is_told() {
    let town = town();
    let (fleet, host) = (&town.fleet, &town.one);
    let client = host.name.as_str();
    fleet.run(&["update", client, "--yes"]).expect(0);
    town.touch("terrain", "two at once");
    let words = ["update", client, "--yes", "--json"];
    let (mut first, mut rest) = fleet.until_step(&words, "build terrain");
    let second = fleet.run(&words);
    let mut said = String::new();
    std::io::Read::read_to_string(&mut rest, &mut said).expect("the first run's events");
    let code = first.wait().expect("the first run ends").code();
    assert_eq!(code, Some(0), "the first run is not disturbed: {said}");
    second.expect(6).outcome(client, "locked");
    fleet.run(&words).expect(0).outcome(client, "unchanged");
}
