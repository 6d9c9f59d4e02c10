//! `fleet logs` against what the containers really said: numbered lines, restarts, a cut, and one that never stops talking.

use std::io::{BufRead as _, BufReader, Read as _};
use std::process::{Child, ChildStdout, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::kit::{Fleet, Host, eventually, figure, lab, street, town};

/// A container of the stack that says what the test wants; its count outlives it.
struct Talker<'h>(&'h Host);

impl<'h> Talker<'h> {
    fn start(host: &'h Host, script: &str) -> Talker<'h> {
        let quoted = script.replace('\'', "'\\''");
        host.sh(&format!(
            "mkdir -p /root/ticks; rm -f /root/ticks/n; docker rm -f talker >/dev/null 2>&1
             stack=$(docker ps --format '{{{{.Label \"com.docker.compose.project\"}}}}' | head -n 1)
             docker run -d --name talker --user 0 --network none --log-opt max-size=20m --log-opt max-file=3 \
             --label com.docker.compose.project=$stack --label com.docker.compose.service=worker -v /root/ticks:/ticks \
             --entrypoint sh \"$(docker ps --format '{{{{.Image}}}}' --filter label=com.docker.compose.project=$stack | head -n 1)\" \
             -c '{quoted}' >/dev/null"
        ))
        .ok();
        Talker(host)
    }

    /// Every line, as Docker has it.
    fn truth(&self) -> Vec<String> {
        self.0.sh("docker logs talker 2>&1").ok().lines().map(str::to_owned).collect()
    }
}

impl Drop for Talker<'_> {
    fn drop(&mut self) {
        self.0.sh("docker rm -f talker >/dev/null 2>&1; rm -rf /root/ticks");
    }
}

/// Numbers without an end, some twenty a second; every fortieth line is longer than a pipe takes at once and than Docker
/// keeps in one part.
const TICKS: &str = "n=$(cat /ticks/n 2>/dev/null || echo 0); while :; do n=$((n+1)); echo \"tick $n\"; \
    if [ $((n % 40)) -eq 0 ]; then echo \"long $n $(head -c 20000 /dev/zero | tr '\\0' x)\"; fi; echo $n >/ticks/n; sleep 0.05; done";

/// `fleet logs --follow --json`, listened to.
struct Followed {
    child: Child,
    lines: Arc<Mutex<Vec<(Instant, Value)>>>,
    reader: JoinHandle<()>,
    said: JoinHandle<String>,
}

impl Followed {
    fn start(fleet: &Fleet, words: &[&str]) -> Followed {
        let mut child = fleet.command(words).spawn().expect("fleet runs");
        let lines: Arc<Mutex<Vec<(Instant, Value)>>> = Arc::default();
        let (into, out) = (Arc::clone(&lines), child.stdout.take().expect("a pipe"));
        let reader = std::thread::spawn(move || {
            for line in BufReader::new(out).lines() {
                let line = line.expect("stdout is text");
                let record = serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line}"));
                into.lock().expect("no panic").push((Instant::now(), record));
            }
        });
        let mut err = child.stderr.take().expect("a pipe");
        let said = std::thread::spawn(move || {
            let mut text = String::new();
            err.read_to_string(&mut text).expect("stderr is text");
            text
        });
        Followed { child, lines, reader, said }
    }

    fn of(&self, client: &str) -> Vec<String> {
        let lines = self.lines.lock().expect("no panic");
        let of = lines.iter().filter(|(_, line)| line["client"] == client && line["service"] == "worker");
        of.map(|(_, line)| line["line"].as_str().expect("a line").to_owned()).collect()
    }

    /// Ctrl-C; how long it took to end, its exit code, and what it said.
    fn stop(mut self) -> (Duration, Option<i32>, String) {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, rustix::process::Signal::INT).expect("SIGINT");
        let begun = Instant::now();
        let code = self.child.wait().expect("it ends").code();
        let took = begun.elapsed();
        self.reader.join().expect("the reader ends");
        (took, code, self.said.join().expect("stderr ends"))
    }
}

/// The lines of the talker among those of the service.
fn ticks(lines: &[String]) -> Vec<String> {
    lines.iter().filter(|line| line.starts_with("tick ") || line.starts_with("long ")).cloned().collect()
}

fn same(found: &[String], truth: &[String], whose: &str) {
    let short = |line: Option<&String>| line.map(|line| line.chars().take(40).collect::<String>());
    let first = (0..found.len().max(truth.len())).find(|at| found.get(*at) != truth.get(*at));
    if let Some(at) = first {
        panic!(
            "{whose}: {} lines shown, {} said; at {at} {:?} instead of {:?}",
            found.len(),
            truth.len(),
            short(found.get(at)),
            short(truth.get(at))
        );
    }
}

#[test]
fn no_line_of_five_clients_is_lost_or_shown_twice_over_restarts_and_cuts() {
    let street = street();
    let (fleet, shops) = (&street.fleet, &street.shops);
    let [restarted, cut, .., late] = &shops[..] else { panic!("five shops") };
    let talkers: Vec<Talker<'_>> = shops.iter().map(|host| Talker::start(host, TICKS)).collect();
    lab().script(&["fault", &late.name, "cut"]);
    let followed = Followed::start(
        fleet,
        &["logs", "--all", "--service", "worker", "--follow", "--tail", "all", "--json"],
    );
    let heard = |host: &Host, least: usize| {
        eventually(&format!("{} is followed", host.name), Duration::from_secs(120), || {
            let count = followed.of(&host.name).len();
            if count > least { Ok(()) } else { Err(format!("{count} lines of more than {least}")) }
        });
    };
    // Longer than one attempt to connect.
    std::thread::sleep(Duration::from_secs(20));
    for host in &shops[..4] {
        heard(host, 50);
    }
    assert_eq!(followed.of(&late.name), Vec::<String>::new());
    lab().script(&["heal", &late.name]);
    for _ in 0..3 {
        restarted.sh("docker restart -t 0 talker >/dev/null").ok();
        std::thread::sleep(Duration::from_secs(3));
    }
    heard(late, 50);
    lab().script(&["fault", &cut.name, "cut"]);
    std::thread::sleep(Duration::from_secs(30));
    lab().script(&["heal", &cut.name]);
    heard(cut, followed.of(&cut.name).len() + 300);
    for host in shops {
        host.sh("docker stop -t 0 talker >/dev/null").ok();
    }
    std::thread::sleep(Duration::from_secs(4));
    let truth: Vec<Vec<String>> = talkers.iter().map(Talker::truth).collect();
    let found: Vec<Vec<String>> = shops.iter().map(|host| ticks(&followed.of(&host.name))).collect();
    let (took, code, said) = followed.stop();
    drop(talkers);
    for ((found, truth), host) in found.iter().zip(&truth).zip(shops) {
        assert!(truth.len() > 300, "{}: {}", host.name, truth.len());
        same(found, truth, &host.name);
    }
    assert!(said.contains("trying again"), "what is not there is told: {said}");
    assert!(said.contains(&format!("{}: connected again after", cut.name)), "the cut is told: {said}");
    assert!(said.contains(&format!("{}: connected after", late.name)), "who comes late is told: {said}");
    assert!(!said.contains(&format!("{}: conn", restarted.name)), "{said}");
    assert_eq!(code, Some(130), "{said}");
    assert!(took < Duration::from_secs(5), "Ctrl-C ends it at once: {took:?}");
    figure(&format!(
        "logs: {} numbered lines of five clients over 3 restarts, a late start and a cut of 30 s: none lost, none twice",
        truth.iter().map(Vec::len).sum::<usize>()
    ));
    // Nothing of it goes on on the host.
    eventually("nobody listens any more", Duration::from_secs(60), || {
        let left = restarted.sh("pgrep -fc '^docker logs --timestamps' || true").ok();
        if left.trim() == "0" { Ok(()) } else { Err(left) }
    });
}

#[test]
fn a_client_that_never_stops_talking_starves_nobody_and_fills_no_memory() {
    let town = town();
    let (fleet, hosts) = (&town.fleet, town.hosts());
    let chatty = Talker::start(hosts[0], "while :; do echo \"chatter chatter chatter chatter\"; done");
    let quiet = Talker::start(hosts[1], "n=0; while :; do n=$((n+1)); echo \"tick $n\"; sleep 0.5; done");
    let followed = Followed::start(
        fleet,
        &["logs", "--all", "--service", "worker", "--follow", "--tail", "0", "--json"],
    );
    std::thread::sleep(Duration::from_secs(20));
    let status = std::fs::read_to_string(format!("/proc/{}/status", followed.child.id())).expect("it runs");
    let peak = status.lines().find(|line| line.starts_with("VmHWM")).expect("its peak of memory");
    let peak: u64 = peak.split_whitespace().nth(1).expect("kilobytes").parse().expect("a number");
    let lines = followed.lines.lock().expect("no panic").clone();
    let (took, code, said) = followed.stop();
    drop((chatty, quiet));
    assert_eq!(code, Some(130), "{said}");
    assert!(took < Duration::from_secs(5), "{took:?}");
    let of = |client: &str| lines.iter().filter(|(_, line)| line["client"] == client).count();
    let ticks: Vec<&(Instant, Value)> = lines
        .iter()
        .filter(|(_, line)| line["line"].as_str().is_some_and(|text| text.starts_with("tick ")))
        .collect();
    // Half a second apart when they were said: as far apart when they are shown.
    let gaps = ticks.windows(2).map(|pair| pair[1].0.duration_since(pair[0].0));
    let worst = gaps.max().expect("several");
    figure(&format!(
        "logs: beside {} lines of one client in 20 s, another's came at most {:.1} s apart (said every 0.5 s); peak of memory {} MB",
        of(&hosts[0].name),
        worst.as_secs_f64(),
        peak / 1024
    ));
    assert!(of(&hosts[0].name) > 2000, "{} lines of the chatty one", of(&hosts[0].name));
    assert!(ticks.len() > 20, "{} lines of the quiet one", ticks.len());
    assert!(worst < Duration::from_secs(8), "{worst:?}");
    assert!(peak < 120 * 1024, "{peak} kB");
}

#[test]
fn lines_of_many_are_in_the_order_of_time_and_a_reader_may_leave() {
    let town = town();
    let (fleet, host) = (&town.fleet, &town.one);
    let lines = fleet.run(&["logs", "--all", "--tail", "50", "--json"]).expect(0).records();
    let times: Vec<&str> = lines.iter().map(|line| line["at"].as_str().expect("a time")).collect();
    assert!(times.len() > 50 && times.is_sorted(), "{times:?}");
    for key in ["client", "service", "container", "line"] {
        assert!(lines.iter().all(|line| line[key].is_string()), "{key}");
    }
    let talker = Talker::start(
        host,
        "for n in 1 2 3; do echo \"tick $n\"; printf '\\033[2J\\033]0;owned\\007evil %s\\r\\n' $n; sleep 1; done; sleep 600",
    );
    std::thread::sleep(Duration::from_secs(4));
    let words = ["logs", host.name.as_str(), "--service", "worker", "--since", "5m"];
    let grep = fleet.run(&[&words[..], &["--grep", "^(tick [23]|evil 1)$"]].concat()).expect(0).stdout;
    let shown: Vec<&str> = grep.lines().filter_map(|line| line.split(" | ").nth(1)).collect();
    assert_eq!(shown, ["evil 1", "tick 2", "tick 3"], "{grep:?}");
    let none = fleet.run(&[&words[..4], &["--until", "2020-01-01"]].concat()).expect(0);
    assert_eq!(none.stdout, "", "nothing is that old");
    // As `| head` does.
    let mut child = fleet
        .command(&["logs", &host.name, "--follow", "--tail", "all"])
        .stderr(Stdio::piped())
        .spawn()
        .expect("fleet runs");
    let mut out: BufReader<ChildStdout> = BufReader::new(child.stdout.take().expect("a pipe"));
    let mut line = String::new();
    out.read_line(&mut line).expect("a line");
    drop(out);
    host.sh("docker restart -t 0 talker >/dev/null").ok();
    let begun = Instant::now();
    let mut said = String::new();
    child.stderr.take().expect("a pipe").read_to_string(&mut said).expect("text");
    let code = child.wait().expect("it ends").code();
    drop(talker);
    assert_eq!((code, said.as_str()), (Some(0), ""), "a reader that leaves is a quiet end");
    assert!(begun.elapsed() < Duration::from_secs(60), "{:?}", begun.elapsed());
}
