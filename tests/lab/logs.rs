//! `fleet logs` against what the containers really said: numbered lines, restarts, a cut, and one that never stops talking.

use std::io::{BufRead as _, BufReader, Read as _};
use std::process::{Child, ChildStdout, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::kit::{Fleet, Host, eventually, figure, lab, town};

/// A container of the stack that says what the test wants; its count outlives it.
struct Talker<'h>(&'h Host);

impl<'h> Talker<'h> {
    fn start(host: &'h Host, script: &str) -> Talker<'h> {
        let quoted = script.replace('\'', "'\\''");
        host.sh(&format!(
            "mkdir -p /root/ticks; rm -f /root/ticks/n; docker rm -f talker >/dev/null 2>&1
             docker run -d --name talker --user 0 --network none --log-opt max-size=20m --log-opt max-file=3 \
             --label com.docker.compose.project=geoclic --label com.docker.compose.service=worker -v /root/ticks:/ticks \
             --entrypoint sh \"$(docker inspect -f '{{{{.Config.Image}}}}' geoclic-nginx-1)\" -c '{quoted}' >/dev/null"
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

/// Numbers without an end, fifty a second; every fortieth line is longer than a pipe takes at once.
const TICKS: &str = "n=$(cat /ticks/n 2>/dev/null || echo 0); while :; do n=$((n+1)); echo \"tick $n\"; \
    if [ $((n % 40)) -eq 0 ]; then echo \"long $n $(head -c 9000 /dev/zero | tr '\\0' x)\"; fi; echo $n >/ticks/n; sleep 0.02; done";

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
fn no_line_is_lost_or_shown_twice_over_a_restart_and_a_cut() {
    let town = town();
    let (fleet, hosts) = (&town.fleet, town.hosts());
    let talkers = hosts.map(|host| Talker::start(host, TICKS));
    let followed = Followed::start(
        fleet,
        &["logs", "--all", "--service", "worker", "--follow", "--tail", "all", "--json"],
    );
    for host in hosts {
        eventually("both are followed", Duration::from_secs(90), || {
            let count = ticks(&followed.of(&host.name)).len();
            if count > 100 { Ok(()) } else { Err(format!("{count} lines")) }
        });
    }
    for _ in 0..3 {
        hosts[0].sh("docker restart -t 0 talker >/dev/null").ok();
        std::thread::sleep(Duration::from_secs(3));
    }
    lab().script(&["fault", &hosts[1].name, "cut"]);
    std::thread::sleep(Duration::from_secs(30));
    lab().script(&["heal", &hosts[1].name]);
    let before = followed.of(&hosts[1].name).len();
    eventually("the one that was cut goes on", Duration::from_secs(120), || {
        let count = followed.of(&hosts[1].name).len();
        if count > before + 500 { Ok(()) } else { Err(format!("{count} lines")) }
    });
    for host in hosts {
        host.sh("docker stop -t 0 talker >/dev/null").ok();
    }
    std::thread::sleep(Duration::from_secs(4));
    let truth: Vec<Vec<String>> = talkers.iter().map(Talker::truth).collect();
    let found = hosts.map(|host| ticks(&followed.of(&host.name)));
    let (took, code, said) = followed.stop();
    drop(talkers);
    for ((found, truth), host) in found.iter().zip(&truth).zip(hosts) {
        assert!(truth.len() > 500, "{}: {}", host.name, truth.len());
        same(found, truth, &host.name);
    }
    let again = format!("{}: connected again after", hosts[1].name);
    assert!(said.contains(&again) && said.contains("trying again"), "the cut is told: {said}");
    assert!(!said.contains(&format!("{}: conn", hosts[0].name)), "{said}");
    assert_eq!(code, Some(130), "{said}");
    assert!(took < Duration::from_secs(5), "Ctrl-C ends it at once: {took:?}");
    figure(&format!(
        "logs: {} and {} numbered lines over 3 restarts and a cut of 30 s: none lost, none twice",
        truth[0].len(),
        truth[1].len()
    ));
    // Nothing of it goes on on the host.
    eventually("nobody listens any more", Duration::from_secs(60), || {
        let left = hosts[0].sh("pgrep -fc '^docker logs --timestamps' || true").ok();
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
