//! Hosts that do not answer, and logins that fail: named, given up in time, and nobody else's problem.

use std::time::Duration;

use super::kit::{Fleet, Town, eventually, get, lab, town};

fn healed(town: &Town) {
    lab().script(&["heal", &town.two.name]);
    eventually("the healed host serves", Duration::from_secs(120), || {
        let ran = town.fleet.run(&["status", &town.two.name, "--json"]);
        if ran.code == Some(0) { Ok(()) } else { Err(ran.stdout) }
    });
}

#[test]
fn a_host_that_is_gone_or_silent_stops_no_other() {
    let town = town();
    let (good, bad) = (town.one.name.as_str(), town.two.name.as_str());
    town.fleet.run(&["update", "--all", "--yes"]).expect(0);
    for fault in ["down", "silent"] {
        town.touch("portail", &format!("the other is {fault}"));
        lab().script(&["fault", bad, fault]);
        let both = town.fleet.run(&["update", "--all", "--yes", "--json"]);
        let alone = town.fleet.run(&["update", bad, "--yes", "--json"]);
        let status = town.fleet.run(&["status", "--json"]);
        let none = town.fleet.run(&["status", bad]);
        healed(&town);

        let both = both.expect(1);
        both.outcome(good, "changed");
        let ended = both.outcome(bad, "unreachable");
        let seconds = ended["seconds"].as_f64().expect("a time");
        assert!(seconds < 40.0, "given up soon after connect_timeout = 15s: {seconds} s, {fault}");
        assert!(ended["fault"]["hint"].is_string(), "with a remedy: {ended:#}");
        assert!(get(&town.one, "/").body.contains(&format!("the other is {fault}")), "the good one was done");
        let alone = alone.expect(4);
        alone.outcome(bad, "unreachable");
        assert!(alone.took < Duration::from_secs(45), "{:?}", alone.took);
        let records = status.expect(1).records();
        let reachable = |name: &str| {
            records.iter().find(|record| record["client"] == name).expect("a record")["reachable"].clone()
        };
        assert_eq!((reachable(good), reachable(bad)), (true.into(), false.into()), "{fault}");
        let none = none.expect(4);
        assert!(none.stderr.contains("what to do:"), "{}", none.stderr);
    }
    town.fleet.run(&["update", "--all", "--yes"]).expect(0);
}

#[test]
fn each_failure_to_log_in_is_named_with_its_remedy() {
    let town = town();
    let (fleet, host) = (&town.fleet, &town.one);
    let client = host.name.as_str();
    let fine = fleet.run(&["test-ssh", "--all"]).expect(0);
    assert!(
        fine.stdout.contains("Debian GNU/Linux 13") && fine.stdout.contains("Debian GNU/Linux 12"),
        "{}",
        fine.stdout
    );
    let told = |fleet: &Fleet, code: i32, what: &str, remedy: &str| {
        let ran = fleet.run(&["test-ssh", client]).expect(code);
        let text = (ran.stdout + &ran.stderr).split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(text.contains(what) && text.contains(remedy), "not both {what:?} and {remedy:?} in:\n{text}");
    };

    let other = fleet.copy("wrong-key");
    for name in ["keys/fleet_ed25519", "keys/fleet_ed25519.pub"] {
        std::fs::remove_file(other.path(name)).expect("the key");
    }
    other.run(&["init"]).expect(0);
    told(&other, 4, "refuses the fleet key for user debian", "authorized_keys");

    // Another host's key under this one's address, as after a reinstallation or somebody in between.
    let changed = fleet.copy("changed-host-key");
    let known = changed.read("known_hosts");
    let line =
        |address: &str| known.lines().find(|line| line.starts_with(address)).expect("a line").to_owned();
    let (mine, theirs) = (line(&host.address), line(&town.two.address));
    let swapped = theirs.replacen(&town.two.address, &host.address, 1);
    changed.write("known_hosts", &known.replace(&mine, &swapped));
    told(&changed, 4, "changed", "ssh-keygen -R");
    changed.run(&["update", client, "--yes", "--json"]).expect(4).outcome(client, "unreachable");

    let stranger = fleet.copy("no-sudo");
    host.sh(
        "id plain >/dev/null 2>&1 || useradd -m -s /bin/sh plain
         install -d -m 0700 -o plain -g plain /home/plain/.ssh
         install -m 0600 -o plain -g plain /home/debian/.ssh/authorized_keys /home/plain/.ssh/authorized_keys",
    )
    .ok();
    stranger.edit("clients.toml", "user = \"debian\"", "user = \"plain\"");
    told(&stranger, 1, "plain, who has no sudo without a password", "NOPASSWD");
    let refused = stranger.run(&["provision", client, "--yes", "--json"]).expect(1);
    let ended = refused.outcome(client, "failed");
    assert!(ended.to_string().contains("NOPASSWD"), "provision says it too: {ended:#}");
    host.sh("userdel -r plain 2>/dev/null; true").ok();

    let nobody = fleet.copy("wrong-user");
    nobody.edit("clients.toml", "user = \"debian\"", "user = \"nobody-there\"");
    told(&nobody, 4, "refuses the fleet key for user nobody-there", "check that user");
    let closed = fleet.copy("wrong-port");
    closed.edit(
        "clients.toml",
        &format!("ip = \"{}\"", host.address),
        &format!("ip = \"{}\"\nport = 443", host.address),
    );
    told(&closed, 4, "443", "port");
}
