//! The health gate: what is asked of the services, and what their answers come to.

use std::collections::BTreeMap;
use std::time::Duration;

use base64::Engine as _;
use serde_json::Value;

use crate::facts::{Container, Facts};
use crate::ops::compose::{Asks, look};
use crate::shell::Cmd;
use crate::stack::{FrontHealth, Health, Probe};

/// A container restarted so often since it was made is in a loop, whatever its state is just now.
const RESTART_LOOP: u32 = 3;

/// Waits until every service is healthy.
#[derive(Clone, Debug)]
pub struct Gate {
    pub stack: String,
    pub services: Vec<(String, Health)>,
    /// Domain, URL and what it must answer.
    pub front: Option<(String, String, FrontHealth)>,
    pub interval: Duration,
    pub deadline: Duration,
    /// How long without a break the answer must be good: at least two looks.
    pub steady: Duration,
}

/// What one look came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    Healthy,
    /// Not yet; each fragment names a service and what it waits for.
    Waiting(Vec<String>),
    /// It will not become healthy by waiting.
    Broken {
        service: String,
        reason: String,
    },
}

impl Gate {
    #[must_use]
    pub fn look(&self) -> Cmd {
        let mut asks = Asks::default();
        for (service, health) in &self.services {
            match &health.probe {
                Probe::Http(http) => {
                    asks.http.push((service.clone(), http.port, http.path.clone(), http.host.clone()));
                }
                Probe::Tcp { port } => asks.tcp.push((service.clone(), *port)),
                Probe::Command(words) => asks.command.push((service.clone(), words.clone())),
                Probe::Compose => {}
            }
            asks.log.extend(health.log.iter().map(|text| (service.clone(), text.clone())));
        }
        asks.front = self.front.as_ref().map(|(domain, url, _)| (domain.clone(), url.clone()));
        look(&self.stack, &asks)
    }

    /// Restarts of each container so far: what happened before the gate is not held against it.
    #[must_use]
    pub fn restarts(answer: &[u8]) -> BTreeMap<String, u32> {
        let containers = Facts::parse(answer).map(|facts| facts.containers).unwrap_or_default();
        containers.into_iter().map(|container| (container.id, container.restarts)).collect()
    }

    /// What an answer comes to; `before` are the restarts at the first look.
    #[must_use]
    pub fn judge(&self, answer: &[u8], before: &BTreeMap<String, u32>) -> Verdict {
        let Ok(facts) = Facts::parse(answer) else {
            return Verdict::Waiting(vec!["the host's answer was cut short".into()]);
        };
        if let Some(broken) = facts.containers.iter().find_map(|container| broken(container, before)) {
            return broken;
        }
        let mut waiting: Vec<String> = facts
            .containers
            .iter()
            .filter(|container| !container.well())
            .map(|container| format!("{} is {}", container.service, state(container)))
            .collect();
        if facts.containers.is_empty() {
            waiting.push("no container is there".into());
        }
        let answers = Answers::parse(answer);
        for (service, health) in &self.services {
            if let Some(reason) = answers.reason(service, health) {
                waiting.push(format!("{service} {reason}"));
            }
        }
        if let Some((_, url, wanted)) = &self.front
            && let Some(reason) = expect("front", &answers.front, wanted.status, &wanted.json)
        {
            waiting.push(format!("{url} {reason}"));
        }
        if waiting.is_empty() { Verdict::Healthy } else { Verdict::Waiting(waiting) }
    }
}

fn state(container: &Container) -> &str {
    if container.status == "running" { &container.health } else { &container.status }
}

fn broken(container: &Container, before: &BTreeMap<String, u32>) -> Option<Verdict> {
    let restarts = container.restarts.saturating_sub(before.get(&container.id).copied().unwrap_or(0));
    let reason = if restarts >= RESTART_LOOP {
        format!("restarted {restarts} times")
    } else if container.status == "dead" {
        "is dead".to_owned()
    } else {
        return None;
    };
    Some(Verdict::Broken { service: container.service.clone(), reason })
}

#[derive(Default)]
struct Answers {
    http: BTreeMap<String, (u16, Vec<u8>)>,
    front: BTreeMap<String, (u16, Vec<u8>)>,
    tcp: BTreeMap<String, bool>,
    command: BTreeMap<String, i32>,
    log: BTreeMap<String, bool>,
}

impl Answers {
    fn parse(answer: &[u8]) -> Self {
        let mut answers = Answers::default();
        for line in String::from_utf8_lossy(answer).lines() {
            let Some((kind, rest)) = line.split_once('\t') else { continue };
            let mut words = rest.split(' ');
            let service = words.next().unwrap_or_default().to_owned();
            let second = words.next().unwrap_or_default();
            let body = || {
                let text = rest.rsplit(' ').next().unwrap_or_default();
                base64::engine::general_purpose::STANDARD.decode(text).unwrap_or_default()
            };
            match kind {
                "http" => drop(answers.http.insert(service, (second.parse().unwrap_or(0), body()))),
                "front" => drop(answers.front.insert(service, (second.parse().unwrap_or(0), body()))),
                "tcp" => drop(answers.tcp.insert(service, second == "open")),
                "log" => drop(answers.log.insert(service, second == "found")),
                "command" => drop(answers.command.insert(service, second.parse().unwrap_or(-1))),
                _ => {}
            }
        }
        answers
    }

    /// Why a service is not healthy; `None` when it is.
    fn reason(&self, service: &str, health: &Health) -> Option<String> {
        let probed = match &health.probe {
            Probe::Http(http) => expect(service, &self.http, http.status, &http.json),
            Probe::Tcp { port } => {
                (self.tcp.get(service) != Some(&true)).then(|| format!("does not listen on port {port}"))
            }
            Probe::Command(words) => match self.command.get(service) {
                Some(0) => None,
                Some(code) => Some(format!("answers exit code {code} to `{}`", words.join(" "))),
                None => Some("is not there".into()),
            },
            Probe::Compose => None,
        };
        let unlogged = |text: &String| {
            (self.log.get(service) != Some(&true))
                .then(|| format!("has not logged {text:?} since it started"))
        };
        probed.or_else(|| health.log.as_ref().and_then(unlogged))
    }
}

fn expect(
    service: &str,
    answers: &BTreeMap<String, (u16, Vec<u8>)>,
    status: u16,
    json: &BTreeMap<String, Value>,
) -> Option<String> {
    let Some((code, body)) = answers.get(service) else { return Some("is not there".into()) };
    if *code == 0 {
        return Some("does not answer".into());
    }
    if *code != status {
        return Some(format!("answers HTTP {code}, not {status}"));
    }
    if json.is_empty() {
        return None;
    }
    let Ok(value) = serde_json::from_slice::<Value>(body) else {
        return Some("answers something that is not JSON".into());
    };
    json.iter().find_map(|(path, wanted)| {
        let found = path.split('.').try_fold(&value, |value, key| value.get(key));
        (found != Some(wanted)).then(|| {
            let shown = found.map_or_else(|| "nothing".to_owned(), ToString::to_string);
            format!("answers {path} = {}, not {wanted}", shown.chars().take(60).collect::<String>())
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stack::HttpProbe;

    fn gate() -> Gate {
        let json = BTreeMap::from([("database.status".to_owned(), Value::from("ok"))]);
        let http = HttpProbe { port: 8000, path: "/health".into(), status: 200, json, host: None };
        let health = Health { deadline: Duration::from_secs(60), ..Health::of(Probe::Http(http)) };
        Gate {
            stack: "demo".into(),
            services: vec![("api".into(), health)],
            front: None,
            interval: Duration::from_secs(2),
            deadline: Duration::from_secs(60),
            steady: Duration::ZERO,
        }
    }

    fn judge(container: &str, body: &str) -> Verdict {
        let body = base64::engine::general_purpose::STANDARD.encode(body);
        gate().judge(
            format!("container\tid api {container} 0 t image\nhttp\tapi 200 {body}\nend\tok\n").as_bytes(),
            &BTreeMap::new(),
        )
    }

    #[test]
    fn healthy_needs_container_status_and_body() {
        assert_eq!(judge("running healthy", r#"{"database":{"status":"ok"}}"#), Verdict::Healthy);
        assert_eq!(
            judge("running healthy", r#"{"database":{"status":"down"}}"#),
            Verdict::Waiting(vec![r#"api answers database.status = "down", not "ok""#.into()])
        );
        assert_eq!(
            judge("running starting", r#"{"database":{"status":"ok"}}"#),
            Verdict::Waiting(vec!["api is starting".into()])
        );
    }

    #[test]
    fn a_start_is_proved_by_a_line_of_the_log() {
        let mut gate = gate();
        gate.services[0].1 = Health { log: Some("began".into()), ..Health::of(Probe::Compose) };
        assert!(String::from_utf8_lossy(gate.look().input().bytes()).contains("\nlogged api began\n"));
        let judge = |line: &str| {
            let answer = format!("container\tid api running none 0 t image\n{line}end\tok\n");
            gate.judge(answer.as_bytes(), &BTreeMap::new())
        };
        assert_eq!(judge("log\tapi found\n"), Verdict::Healthy);
        let waits = Verdict::Waiting(vec![r#"api has not logged "began" since it started"#.into()]);
        assert_eq!((judge("log\tapi missing\n"), judge("")), (waits.clone(), waits));
    }

    #[test]
    fn a_restart_loop_is_not_waited_for() {
        let verdict = gate().judge(b"container\tid api running none 3 t image\nend\tok\n", &BTreeMap::new());
        assert_eq!(verdict, Verdict::Broken { service: "api".into(), reason: "restarted 3 times".into() });
    }

    #[test]
    fn silence_is_never_health() {
        assert!(matches!(gate().judge(b"", &BTreeMap::new()), Verdict::Waiting(_)));
        assert!(matches!(gate().judge(b"end\tok\n", &BTreeMap::new()), Verdict::Waiting(_)));
    }

    #[test]
    fn restarts_from_before_the_gate_are_not_held_against_a_container() {
        let answer = b"container\tid api running healthy 7 t image\nhttp\tapi 200 eyJkYXRhYmFzZSI6eyJzdGF0dXMiOiJvayJ9fQ==\nend\tok\n";
        let before = Gate::restarts(answer);
        assert_eq!(gate().judge(answer, &before), Verdict::Healthy);
        assert!(matches!(gate().judge(answer, &BTreeMap::new()), Verdict::Broken { .. }));
    }
}
