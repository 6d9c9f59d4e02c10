//! A made-up run, to judge the screen by eye and to test the renderers with.
//!
//! Rule of this file: always the same run for the same number of clients; nothing is contacted.

use std::time::Duration;

use crate::event::{Event, EventKind, ExitKind, Fault, Outcome, OutputStream, Report, SCHEMA, StepResult};

use super::Renderer;

/// An event and the moment of the run at which it comes.
pub struct Beat {
    pub at: Duration,
    pub event: Event,
}

const RUN: &str = "20261120-101500-demo";

const STEPS: [(&str, &str, f64); 12] = [
    ("base", "wait for cloud-init", 0.4),
    ("base", "install packages", 3.2),
    ("base", "open the firewall", 0.5),
    ("docker", "install docker", 4.1),
    ("docker", "start docker", 0.9),
    ("release", "push the source", 2.4),
    ("release", "write the rendered files", 0.3),
    ("release", "build the images", 5.3),
    ("release", "dump the database", 0.8),
    ("release", "apply the migrations", 0.6),
    ("release", "roll out api", 1.9),
    ("release", "wait until healthy", 2.2),
];

/// Plays the made-up run of eight clients as it would be.
pub fn demo(renderer: &mut dyn Renderer) {
    demo_with(renderer, 8, 1.0);
}

/// The same for so many clients. `pace` stretches the time: 0 is all at once.
pub fn demo_with(renderer: &mut dyn Renderer, clients: usize, pace: f64) {
    let mut report = Report::default();
    let mut now = Duration::ZERO;
    for beat in script(clients) {
        std::thread::sleep(beat.at.saturating_sub(now).mul_f64(pace.clamp(0.0, 100.0)));
        now = beat.at;
        report.fold(&beat.event);
        renderer.event(&beat.event);
    }
    renderer.finish(&report);
}

/// The events of the made-up run, in order.
pub fn script(clients: usize) -> Vec<Beat> {
    let names: Vec<String> = (1..=clients).map(|at| format!("client-{at}")).collect();
    let mut beats = Vec::new();
    let mut last = 0.0_f64;
    for (at, name) in names.iter().enumerate() {
        last = last.max(host(&mut beats, at, name));
    }
    beats.sort_by(|one, next| one.0.total_cmp(&next.0));
    let who = "marie@atelier".to_owned();
    let started = EventKind::RunStarted { verb: "provision".to_owned(), who, clients: names, machine: None };
    let mut report = Report::default();
    let mut all = vec![beat(0.0, None, started)];
    all.extend(beats.into_iter().map(|(at, client, kind)| beat(at, Some(client), kind)));
    all.iter().for_each(|beat| report.fold(&beat.event));
    let exit = report.exit() as u8;
    debug_assert!(exit == ExitKind::Ok as u8 || clients > 1);
    all.push(beat(last, None, EventKind::RunFinished { exit, seconds: to_millis(last) }));
    all
}

fn beat(at: f64, client: Option<String>, kind: EventKind) -> Beat {
    let at = Duration::from_secs_f64(at);
    let (minutes, seconds, millis) = (15 + at.as_secs() / 60, at.as_secs() % 60, at.subsec_millis());
    let event = Event {
        schema: SCHEMA.to_owned(),
        at: format!("2026-11-20T10:{minutes:02}:{seconds:02}.{millis:03}Z"),
        run: RUN.to_owned(),
        client,
        kind,
    };
    Beat { at, event }
}

/// One client from its start to its end, which is given back in seconds.
fn host(beats: &mut Vec<(f64, String, EventKind)>, at: usize, name: &str) -> f64 {
    let mut now = 0.1 + (at as f64 * 0.07) % 9.0;
    let begin = now;
    let mut say = |now: f64, kind: EventKind| beats.push((now, name.to_owned(), kind));
    let took = |from: f64, to: f64| to_millis(to - from);
    say(now, EventKind::HostStarted);
    // Of each eight: one is not reached, one fails, one is rolled back, one has nothing to do.
    let fate = at % 8;
    if fate == 5 {
        now += 6.0;
        say(now, EventKind::HostFinished { outcome: unreachable(), seconds: took(begin, now) });
        return now;
    }
    now += 0.4 + (at % 3) as f64 * 0.2;
    let host_key = format!("SHA256:{}", "vJ4w".repeat(10));
    say(now, EventKind::HostConnected { host_key, recorded: at == 0, seconds: took(begin, now) });
    if fate == 3 {
        now += 0.8;
        say(now, EventKind::HostFinished { outcome: Outcome::Unchanged, seconds: took(begin, now) });
        return now;
    }
    let mut stage = "";
    for (index, (of, title, seconds)) in STEPS.iter().enumerate() {
        let total = STEPS.iter().filter(|step| step.0 == *of).count();
        if stage != *of {
            stage = of;
            say(now, EventKind::StagePlanned { stage: (*of).to_owned(), steps: total, release: None });
        }
        let before = STEPS[..index].iter().filter(|step| step.0 == *of).count();
        let (stage, step) = ((*of).to_owned(), (*title).to_owned());
        say(now, EventKind::StepStarted { stage, step: step.clone(), index: before + 1, total });
        let seconds = seconds * (0.7 + (at * 7 + index * 3) as f64 % 10.0 / 15.0);
        during(title, now, seconds, &mut say);
        now += seconds;
        let ends = match (fate, *title) {
            (2, "install docker") => Some(failed()),
            (6, "wait until healthy") => Some(rolled_back()),
            _ => None,
        };
        let result = if ends.is_some() { StepResult::Failed } else { StepResult::Done };
        say(now, EventKind::StepFinished { step, seconds: to_millis(seconds), result });
        if let Some(outcome) = ends {
            say(now + 0.5, EventKind::HostFinished { outcome, seconds: took(begin, now + 0.5) });
            return now + 0.5;
        }
    }
    if fate == 1 {
        let message = "the disk is 91 % full".to_owned();
        let hint = Some(format!("free some space: `fleet ssh {name} -- docker system df`"));
        say(now, EventKind::Warning { message, hint });
    }
    let summary = "release 20261120-101500 serves".to_owned();
    say(now, EventKind::HostFinished { outcome: Outcome::Changed { summary }, seconds: took(begin, now) });
    now
}

/// Seconds as the engine gives them.
fn to_millis(seconds: f64) -> f64 {
    (seconds * 1000.0).round() / 1000.0
}

/// What happens within a step.
fn during(title: &str, now: f64, seconds: f64, say: &mut impl FnMut(f64, EventKind)) {
    for tenth in 0..10_u8 {
        let moment = now + seconds * f64::from(tenth) / 10.0;
        match title {
            "install packages" | "install docker" => {
                let line = format!("Get:{} http://deb.debian.org/debian trixie/main amd64", tenth + 1);
                say(moment, EventKind::Output { stream: OutputStream::Stdout, line });
            }
            "push the source" => {
                let done = u64::from(tenth) * 4_100_000;
                say(moment, EventKind::StepProgress { done, total: Some(41_000_000) });
            }
            _ => {}
        }
    }
}

fn unreachable() -> Outcome {
    Outcome::Unreachable {
        fault: Fault {
            step: "connect".to_owned(),
            message: "no answer on port 22 within 10 s".to_owned(),
            lines: Vec::new(),
            hint: Some("is the server on, and does its firewall let you in? `fleet test-ssh`".to_owned()),
        },
    }
}

fn failed() -> Outcome {
    Outcome::Failed {
        fault: Fault {
            step: "install docker".to_owned(),
            message: "apt-get ended with status 100".to_owned(),
            lines: vec![
                "Reading package lists...".to_owned(),
                "E: Could not get lock /var/lib/dpkg/lock-frontend. It is held by process 812".to_owned(),
                "E: Unable to acquire the dpkg frontend lock".to_owned(),
            ],
            hint: Some(
                "wait for the other package manager to end, then run the same command again".to_owned(),
            ),
        },
    }
}

fn rolled_back() -> Outcome {
    Outcome::RolledBack {
        fault: Fault {
            step: "wait until healthy".to_owned(),
            message: "api: GET /api/health answered 503 for 60 s, expected 200".to_owned(),
            lines: vec!["sqlalchemy.exc.OperationalError: connection refused".to_owned()],
            hint: Some("see what it says: `fleet logs --service api --since 5m`".to_owned()),
        },
        release: "20261113-090000".to_owned(),
    }
}
