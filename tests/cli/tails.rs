//! `logs` against real SSH servers of this machine, with a docker of the test's own.

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use super::hosts::{Town, tool};
use super::support::Done;

/// Two containers; what they said is in the files `web` and `worker` beside the program.
const DOCKER: &str = r#"#!/bin/sh
here=${0%/*}
case $1 in
ps) case $2 in -q) exit ;; esac; printf 'c0ffee000001 web\nc0ffee000002 worker\n' ;;
inspect) echo true ;;
logs)
    follow=no
    for word; do [ "$word" != --follow ] || follow=yes; done
    case $word in *1) file=$here/web ;; *) file=$here/worker ;; esac
    if [ $follow = yes ]; then exec tail -n +1 -f "$file"; else cat "$file"; fi ;;
esac
"#;

fn town(clients: usize) -> Town {
    let town = Town::new(clients);
    for (at, dir) in town.tools.iter().enumerate() {
        tool(dir.path(), "docker", DOCKER);
        let said = |service: &str, seconds: &[usize]| {
            let line =
                |second: &usize| format!("2026-11-20T10:00:{second:02}.5Z {service} {at} at {second}\n");
            let text: String = seconds.iter().map(line).collect();
            fs::write(dir.path().join(service), text).unwrap();
        };
        said("web", &[10 + at, 20 + at, 30 + at]);
        said("worker", &[15 + at]);
    }
    town
}

fn logs(town: &Town, words: &[&str]) -> Done {
    town.fleet.run(["logs"].into_iter().chain(words.iter().copied()))
}

#[test]
fn lines_of_all_are_in_the_order_of_time() {
    let town = town(2);
    let done = logs(&town, &["--all"]).ok();
    insta::assert_snapshot!(done.out, @"
    ville-lyon web    | web 0 at 10
    brest      web    | web 1 at 11
    ville-lyon worker | worker 0 at 15
    brest      worker | worker 1 at 16
    ville-lyon web    | web 0 at 20
    brest      web    | web 1 at 21
    ville-lyon web    | web 0 at 30
    brest      web    | web 1 at 31
    ");
    assert_eq!(done.err, "");
    let one = logs(&town, &["brest", "--service", "web", "--timestamps", "--grep", "at [13]1"]).ok();
    assert_eq!(
        one.out,
        "web | 2026-11-20T10:00:11.500Z web 1 at 11\nweb | 2026-11-20T10:00:31.500Z web 1 at 31\n"
    );
    let plain = logs(&town, &["brest", "--service", "worker", "--plain"]).ok();
    assert_eq!(plain.out, "worker: worker 1 at 16\n");
    let record = logs(&town, &["brest", "--service", "worker", "--json"]).ok().json().remove(0);
    assert_eq!(
        record,
        serde_json::json!({ "schema": "fleet.log/1", "client": "brest", "service": "worker",
            "container": "c0ffee000002", "at": "2026-11-20T10:00:16.500Z", "line": "worker 1 at 16" })
    );
    for host in &town.hosts {
        assert!(host.connections() <= 4, "one connection for each command");
    }
}

#[test]
fn lines_are_coloured_harmless_and_without_known_secrets() {
    let town = town(2);
    town.fleet
        .with_input(["secrets", "set", "brest", "SMTP_PASSWORD", "--from-file", "-"], b"Poison7Q2xK9\n")
        .ok();
    let text = "2026-11-20T10:00:40Z a\u{1b}[2J b\tPoison7Q2xK9 \u{1b}]0;title\u{7}c\r\n";
    fs::write(town.tools[1].path().join("worker"), text).unwrap();
    let done = logs(&town, &["--all", "--service", "worker", "--color", "always"]).ok();
    let lines: Vec<&str> = done.out.lines().collect();
    assert!(lines[0].starts_with("\u{1b}[36mville-lyon\u{1b}[0m"), "{lines:?}");
    assert!(lines[1].starts_with("\u{1b}[35mbrest     \u{1b}[0m"), "{lines:?}");
    assert!(lines[1].ends_with(" | a b\t[secret SMTP_PASSWORD] c"), "{lines:?}");
}

#[test]
fn what_is_followed_ends_by_an_interrupt_or_a_reader_that_leaves() {
    let town = town(2);
    for leave in [false, true] {
        let mut child = town
            .fleet
            .command(["logs", "--all", "--follow", "--service", "web"])
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut out = BufReader::new(child.stdout.take().unwrap());
        let mut lines = Vec::new();
        while lines.len() < 6 {
            let mut line = String::new();
            assert!(out.read_line(&mut line).unwrap() > 0, "{lines:?}");
            lines.push(line);
        }
        let mut file = fs::File::options().append(true).open(town.tools[0].path().join("web")).unwrap();
        writeln!(file, "2026-11-20T10:00:50Z new {leave}").unwrap();
        let begun = Instant::now();
        if leave {
            drop(out);
        } else {
            let mut line = String::new();
            out.read_line(&mut line).unwrap();
            assert_eq!(line, "ville-lyon web | new false\n");
            Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap();
        }
        let mut said = String::new();
        child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
        let code = child.wait().unwrap().code();
        assert!(begun.elapsed() < Duration::from_secs(20), "{:?}", begun.elapsed());
        match leave {
            true => assert_eq!((code, said.as_str()), (Some(0), "")),
            false => {
                assert_eq!((code, said.as_str()), (Some(130), "interrupted (press again to end at once)\n"))
            }
        }
    }
}

#[test]
fn a_host_that_is_away_is_told_and_the_others_are_shown() {
    let mut town = town(2);
    drop(town.hosts.pop());
    let done = logs(&town, &["--all", "--service", "worker"]);
    assert_eq!(done.code, 1, "{}", done.all());
    assert_eq!(done.out, "ville-lyon worker | worker 0 at 15\n");
    assert!(done.err.starts_with("brest: ") && done.err.contains("hint: "), "{}", done.err);
    assert_eq!(logs(&town, &["brest", "--follow"]).code, 4);
}
