//! Killed, interrupted, cut off: what served still serves, and the next run finishes.

use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};

use super::kit::{Fleet, Host, Load, Ran, figure, get, town};

/// Right after a kill: whoever cannot know that the run is dead is told who holds the host. Its own
/// machine knows, which the caller's next run shows.
pub fn after_the_kill(fleet: &Fleet, host: &Host, words: &[&str]) {
    let other = fleet.copy(&format!("elsewhere-{}", host.name));
    std::fs::remove_dir_all(other.path(".fleet/runs")).expect("the journals of the copy");
    let ran = other.run(words);
    // Where the last command went on to its end there is nothing to do any more, and nothing to be held from.
    let (code, word) = if ran.code == Some(0) { (0, "unchanged") } else { (6, "locked") };
    let ran = ran.expect(code);
    let ended = ran.outcome(&host.name, word);
    assert!(ran.steps().is_empty(), "{ended:#}");
}

/// What the run after a kill says of it.
fn tells_of_the_cut(ran: &Ran, client: &str, step: &str) {
    let said: Vec<String> = ran
        .records()
        .iter()
        .filter(|event| event["type"] == "warning")
        .map(|event| event["message"].as_str().unwrap_or_default().to_owned())
        .collect();
    let cut = said.iter().find(|message| message.contains("was cut")).unwrap_or_else(|| panic!("{said:?}"));
    assert!(cut.contains(client) && cut.contains(&format!("in \"{step}")), "{cut}");
    // Where the kill came after all that counts, there is nothing to do and no lease to take.
    if ran.ended(client)["outcome"] == "unchanged" {
        assert_eq!(step, "commit");
    } else {
        ran.outcome(client, "changed");
        assert!(said.iter().any(|message| message.contains("without giving its lease back")), "{said:?}");
    }
}

#[test]
fn a_killed_update_is_finished_by_the_next_run() {
    let town = town();
    let (fleet, host) = (&town.fleet, &town.two);
    let client = host.name.as_str();
    let words = ["update", client, "--yes", "--json"];
    fleet.run(&words).expect(0);
    for (round, step) in ["push source", "replace portail", "commit"].iter().enumerate() {
        let mark = format!("killed at {step}");
        town.touch("portail", &mark);
        let (mut child, _lines) = fleet.until_step(&words, step);
        child.kill().expect("SIGKILL");
        child.wait().expect("it is gone");
        let answer = get(host, "/api/health");
        assert_eq!(answer.status, 200, "something serves after a kill at {step:?}: {answer:?}");
        after_the_kill(fleet, host, &words);
        let next = fleet.run(&words).expect(0);
        tells_of_the_cut(&next, client, step);
        let page = get(host, "/");
        assert!(page.body.contains(&mark), "round {round}: the new release serves: {page:?}");
        fleet.run(&words).expect(0).outcome(client, "unchanged");
    }
    fleet.run(&["status", client]).expect(0);
}

/// Killed at any instant, time and again, while people use the client. `FLEET_TEST_KILLS` says how often,
/// `FLEET_TEST_SEED` when.
#[test]
fn killed_at_random_nobody_is_turned_away_and_the_next_run_finishes() {
    let setting = |name: &str, default: u64| {
        std::env::var(name).map_or(default, |text| text.parse().unwrap_or_else(|_| panic!("{name}={text:?}")))
    };
    let (rounds, seed) = (setting("FLEET_TEST_KILLS", 2), setting("FLEET_TEST_SEED", 4));
    let mut rng = StdRng::seed_from_u64(seed);
    let town = town();
    let (fleet, host) = (&town.fleet, &town.one);
    let client = host.name.as_str();
    let words = ["update", client, "--yes", "--json"];
    town.touch("portail", "as long as nobody kills it");
    let started = std::time::Instant::now();
    fleet.run(&words).expect(0);
    let mut whole = started.elapsed();
    let load = Load::getting(host, 4, "/");
    let (mut cut, mut round) = (0, 0);
    // On a machine that is less busy by now than at first, a round may be over before its kill comes.
    while round < rounds || (cut == 0 && round < rounds + 5) {
        let mark = format!("killed at random {seed}.{round}");
        town.touch("portail", &mark);
        // Also the run that mends may be killed.
        loop {
            let mut command = fleet.command(&words);
            command.stdout(std::process::Stdio::null()).stderr(std::process::Stdio::null());
            let mut child = command.spawn().expect("fleet runs");
            std::thread::sleep(whole.mul_f64(rng.random_range(0.0..1.1)));
            let over = child.try_wait().expect("it can be asked").is_some();
            child.kill().expect("SIGKILL, or it is over");
            child.wait().expect("it is gone");
            if over {
                whole /= 2;
            }
            cut += u64::from(!over);
            if over || rng.random_bool(0.7) {
                break;
            }
        }
        fleet.run(&words).expect(0);
        let page = get(host, "/");
        assert!(page.body.contains(&mark), "seed {seed}, round {round}: the new release serves: {page:?}");
        fleet.run(&words).expect(0).outcome(client, "unchanged");
        round += 1;
    }
    let met = load.stop();
    met.well(round * 10);
    assert!(cut > 0, "no kill came before the end: choose another FLEET_TEST_SEED");
    figure(&format!(
        "{cut} updates killed at random (seed {seed}): {} requests, {} failed, p99 {:.2} s, worst {:.2} s",
        met.requests, met.failed, met.p99, met.worst
    ));
}

#[test]
fn an_interrupt_ends_after_the_running_step() {
    let town = town();
    let (fleet, host) = (&town.fleet, &town.two);
    let client = host.name.as_str();
    let words = ["update", client, "--yes", "--json"];
    fleet.run(&words).expect(0);
    town.touch("demandes", "interrupted");
    let (mut child, mut lines) = fleet.until_step(&words, "build demandes");
    let pid = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(pid, rustix::process::Signal::INT).expect("SIGINT");
    let mut rest = String::new();
    std::io::Read::read_to_string(&mut lines, &mut rest).expect("the rest");
    assert_eq!(child.wait().expect("it ends").code(), Some(130), "{rest}");
    let events: Vec<serde_json::Value> =
        rest.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    let finished =
        events.iter().position(|event| event["type"] == "step-finished").expect("the step is finished");
    assert_eq!(events[finished]["result"], "done", "{rest}");
    assert!(events.iter().all(|event| event["type"] != "step-started"), "no other step begins: {rest}");
    let ended =
        events.iter().find(|event| event["type"] == "host-finished").expect("the host has an outcome");
    assert_eq!(ended["outcome"], "skipped", "{ended:#}");
    assert_eq!(get(host, "/api/health").status, 200);
    // No lease is in the way: an interrupted run gives it back.
    fleet.run(&words).expect(0).outcome(client, "changed");
    fleet.run(&words).expect(0).outcome(client, "unchanged");
}

#[test]
fn a_link_that_breaks_in_the_middle_is_finished_by_the_next_run() {
    let town = town();
    let (fleet, host) = (&town.fleet, &town.two);
    let client = host.name.as_str();
    let words = ["update", client, "--yes", "--json"];
    fleet.run(&words).expect(0);
    town.touch("carto", "the link broke");
    let (mut child, mut lines) = fleet.until_step(&words, "build carto");
    super::kit::lab().script(&["fault", client, "cut"]);
    let started = std::time::Instant::now();
    let mut rest = String::new();
    std::io::Read::read_to_string(&mut lines, &mut rest).expect("the rest");
    let code = child.wait().expect("it ends").code();
    super::kit::lab().script(&["heal", client]);
    assert!(
        started.elapsed() < Duration::from_secs(180),
        "a dead link is noticed in time: {:?}",
        started.elapsed()
    );
    assert_eq!(code, Some(1), "{rest}");
    let ended = rest.lines().find(|line| line.contains("host-finished")).expect("the host has an outcome");
    assert!(ended.contains("\"outcome\":\"unknown\""), "what was done there is not known: {ended}");
    assert_eq!(get(host, "/api/health").status, 200, "the release before serves on");
    // The run ended, so its machine knows that the lease is nobody's; the build may go on meanwhile.
    fleet.run(&words).expect(0).outcome(client, "changed");
    fleet.run(&words).expect(0).outcome(client, "unchanged");
}
