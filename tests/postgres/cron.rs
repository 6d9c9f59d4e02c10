//! `fleet backup --due` as cron runs it, with channels that are really there and hosts that are really reached.

use std::time::Duration;

use fleet::fs_atomic::FileLock;
use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

use crate::receivers::{Answer, Recorder, unused_port};
use crate::town::Town;

const CHANNELS: &str = r#"
[notify.hook]
kind = "webhook"
url = { secret = "HOOK_URL" }
on = ["backup"]

[notify.cron]
kind = "ping"
url = { secret = "PING_URL" }
on = ["backup"]

[notify.others]
kind = "webhook"
url = { secret = "HOOK_URL" }
on = ["update"]
"#;

struct Cron {
    town: Town,
    hook: Recorder,
    ping: Recorder,
}

/// What one run of cron came to.
struct Ran {
    code: i32,
    said: String,
    /// What the dead man's switch heard, such as `start` and `0`.
    pings: Vec<String>,
    /// Level, client and text of every entry of every message.
    told: Vec<(String, String, String)>,
}

impl Cron {
    fn new() -> Cron {
        let cron = Cron {
            town: Town::new(&["ville-lyon", "brest"], CHANNELS),
            hook: Recorder::start(Answer::Status(204, "")),
            ping: Recorder::start(Answer::Status(200, "OK")),
        };
        for (name, url) in [("HOOK_URL", cron.hook.url()), ("PING_URL", format!("{}/abc", cron.ping.url()))] {
            cron.town.fleet.with_input(["secrets", "set", "--fleet", name], url.as_bytes()).ok();
        }
        cron
    }

    fn run(&self) -> Ran {
        let (heard, told) = (self.ping.requests().len(), self.hook.requests().len());
        let done = self.town.fleet.say("backup --due --quiet");
        assert_eq!(done.out, "", "cron mails what is on standard output");
        let pings = self.ping.requests().split_off(heard);
        let path = |line: &str| line.split(' ').nth(1).unwrap().trim_start_matches("/abc/").to_owned();
        let mut entries = Vec::new();
        for request in self.hook.requests().split_off(told) {
            let body: Value = serde_json::from_str(&request.body).unwrap();
            assert_eq!((body["topic"].as_str(), body["fleet"].as_str()), (Some("backup"), Some("tests")));
            for entry in body["entries"].as_array().unwrap() {
                let text = |key: &str| entry[key].as_str().unwrap().to_owned();
                entries.push((text("level"), text("client"), text("text")));
            }
        }
        Ran {
            code: done.code,
            said: done.err,
            pings: pings.iter().map(|request| path(&request.line)).collect(),
            told: entries,
        }
    }

    /// As if the last failure were an hour old.
    fn an_hour_later(&self, client: &str) {
        let then = Timestamp::now() - SignedDuration::from_hours(1);
        self.town.change(client, |state| {
            state.failure.as_mut().expect("it failed").at = then.to_string();
        });
    }

    fn moved(&self, client: &str, by: SignedDuration) {
        let at = (Timestamp::now() + by).to_string();
        self.town.change(client, |state| state.last.as_mut().expect("it has a backup").at = at);
    }
}

#[test]
fn cron_saves_what_is_due_tells_what_begins_to_fail_and_pings_each_time() {
    let cron = Cron::new();
    let town = &cron.town;
    let port = format!("port = {}\n", town.hosts[1].sshd.port);
    let nobody = format!("port = {}\n", unused_port());
    town.fleet.edit(&port, &nobody);
    let due = town.fleet.say("backup --due --dry-run --json").ok().json();
    assert!(due.len() == 2 && due.iter().all(|record| record["due"] == true), "{due:?}");

    // One is saved and the other cannot be reached: told once, and the switch hears of it.
    let ran = cron.run();
    assert_eq!(ran.code, 1, "{}", ran.said);
    assert!(ran.said.contains("brest"), "{}", ran.said);
    assert_eq!(ran.pings, ["start", "1"]);
    let [(level, client, text)] = &ran.told[..] else { panic!("{:?}", ran.told) };
    assert_eq!((level.as_str(), client.as_str()), ("problem", "brest"));
    assert!(text.starts_with("backup unreachable: ") && text.ends_with("fleet backup brest"), "{text}");
    assert_eq!((town.snapshots("ville-lyon").len(), town.snapshots("brest").len()), (1, 0));

    // Within its half hour it is not tried again, and the switch goes on hearing that not all is well.
    let ran = cron.run();
    assert_eq!((ran.code, ran.said.as_str(), ran.told.len()), (0, "", 0));
    assert_eq!(ran.pings, ["start", "1"]);
    // Tried again, failed again: nobody is told twice.
    cron.an_hour_later("brest");
    let ran = cron.run();
    assert_eq!((ran.code, ran.told.len()), (4, 0), "{}", ran.said);
    assert_eq!(ran.pings, ["start", "4"]);

    // Mended: saved, told, and quiet from then on.
    town.fleet.edit(&nobody, &port);
    cron.an_hour_later("brest");
    let ran = cron.run();
    assert_eq!((ran.code, ran.said.as_str()), (0, ""));
    assert_eq!(ran.pings, ["start", "0"]);
    let [(level, client, text)] = &ran.told[..] else { panic!("{:?}", ran.told) };
    assert_eq!((level.as_str(), client.as_str()), ("recovered", "brest"));
    assert!(text.starts_with("backed up again"), "{text}");
    let ran = cron.run();
    assert_eq!((ran.code, ran.told.len()), (0, 0));
    assert_eq!(ran.pings, ["start", "0"]);
    assert_eq!((town.snapshots("ville-lyon").len(), town.snapshots("brest").len()), (1, 1));

    // What was missed is made up for once, however many turns; a clock that was ahead holds nothing up.
    for by in [SignedDuration::from_hours(-5 * 24), SignedDuration::from_hours(3 * 24)] {
        let before = town.snapshots("ville-lyon").len();
        cron.moved("ville-lyon", by);
        for _ in 0..2 {
            let ran = cron.run();
            assert_eq!((ran.code, ran.pings), (0, vec!["start".to_owned(), "0".to_owned()]), "{}", ran.said);
        }
        assert_eq!(town.snapshots("ville-lyon").len(), before + 1, "{by}");
    }

    // While one runs, another leaves everything to it: nothing is saved and nobody hears of it.
    cron.moved("ville-lyon", SignedDuration::from_hours(-48));
    let held = FileLock::acquire(&town.fleet.path(".fleet/locks/backup-due.lock"), Duration::ZERO).unwrap();
    let ran = cron.run();
    assert_eq!((ran.code, ran.said.as_str(), ran.pings.len(), ran.told.len()), (0, "", 0, 0));
    drop(held);
    assert_eq!(cron.run().pings, ["start", "0"]);
}
