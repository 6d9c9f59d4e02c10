//! One look at clients for `status` and `check`: the same question, judged in the same way.

use std::time::Duration;

use jiff::Timestamp;

use super::App;
use super::context::Fleet;
use super::database;
use super::global::Limits;
use crate::backup::State;
use crate::check::{self, Clock};
use crate::engine::Answer;
use crate::event::{ExitKind, Outcome};
use crate::facts::Facts;
use crate::ops::probe::{Own, Question, probe};
use crate::registry::Client;
use crate::shell::Cmd;
use crate::stack::{Check, Stack};
use crate::status::{self, Expected, Status};
use crate::ui;

pub struct Looked {
    /// In the order of the clients.
    pub list: Vec<Status>,
    pub interrupted: bool,
}

/// Asks each client everything in one round trip; with `own` also the stack's own checks, which may take a
/// while on the host.
///
/// # Errors
/// A stack that cannot be read.
pub fn look(
    app: &App,
    fleet: &Fleet,
    verb: &str,
    clients: &[&Client],
    limits: &Limits,
    own: bool,
) -> anyhow::Result<Looked> {
    let mut questions = Vec::new();
    let mut expected = Vec::new();
    for client in clients {
        let stack = fleet.stack(client)?;
        let own = if own { stack.checks.as_slice() } else { &[] };
        let remembered = State::read(&fleet.state_dir(), client.name.as_str());
        expected.push((wanted(&stack, client, own, &remembered), told(&remembered, Timestamp::now())));
        questions.push((fleet.target(client), Look(question(&stack, client, own))));
    }
    let answers = app.ask(fleet, verb, questions, limits)?;
    let answered = expected.into_iter().zip(answers.answers);
    let list = answered.map(|((wanted, told), answer)| judged(&wanted, &answer).with_pulled(told));
    Ok(Looked { list: list.collect(), interrupted: answers.interrupted })
}

fn judged(wanted: &Expected, answer: &Answer) -> Status {
    match facts(answer) {
        Ok(facts) => {
            // The host was asked at some time within its turn.
            let asked = answer.ended.saturating_sub(answer.seconds.ceil() as i64);
            let clock = Clock { asked, answered: answer.ended };
            Status::of(wanted, &facts, answer.seconds, Some(clock))
        }
        Err((message, hint)) => Status::unreachable(wanted, message, hint, answer.seconds),
    }
}

/// What a host answered to a probe, or why not and what to do.
///
/// # Errors
/// When it was not reached, or its answer was cut.
pub fn facts(answer: &Answer) -> Result<Facts, (String, Option<String>)> {
    match &answer.result {
        Ok(output) => Facts::parse(&output.stdout).map_err(|error| {
            let said = crate::secret::clean_bytes(&output.stderr);
            let detail = said.lines().next().unwrap_or_default().to_owned();
            (format!("{error} {detail}"), Some(format!("fleet test-ssh {}", answer.client)))
        }),
        Err(outcome) => Err(trouble(outcome)),
    }
}

/// The exit code of a look: 0 when every client is well.
#[must_use]
pub fn exit(list: &[Status], interrupted: bool) -> ExitKind {
    if interrupted {
        ExitKind::Interrupted
    } else if !list.is_empty() && list.iter().all(|status| !status.reachable) {
        ExitKind::NoneReachable
    } else if list.iter().all(Status::well) {
        ExitKind::Ok
    } else {
        ExitKind::ClientFailed
    }
}

/// One thing to do, for one client or for all with whom the same is wrong.
#[derive(Debug, PartialEq, Eq)]
pub struct Remedy {
    clients: Vec<String>,
    check: String,
    text: String,
    /// With the word CLIENT where it is about several.
    remedy: String,
}

/// What to do about everything that is wrong; unreachable clients first.
#[must_use]
pub fn remedies(list: &[Status]) -> Vec<Remedy> {
    let mut sorted: Vec<&Status> = list.iter().filter(|status| !status.well()).collect();
    sorted.sort_by_key(|status| status.reachable);
    let mut all: Vec<(Remedy, String)> = Vec::new();
    for status in sorted {
        for finding in status.findings.iter().filter(|finding| finding.state == check::State::Failing) {
            let words = finding.remedy.split(' ');
            let general: Vec<&str> =
                words.map(|word| if word == status.client { "CLIENT" } else { word }).collect();
            let general = general.join(" ");
            let same = all.iter_mut().find(|(known, of)| {
                (&known.check, &known.text, of) == (&finding.check, &finding.text, &general)
            });
            match same {
                Some((known, of)) => {
                    known.clients.push(status.client.clone());
                    known.remedy.clone_from(of);
                }
                None => {
                    let (check, text) = (finding.check.clone(), finding.text.clone());
                    let clients = vec![status.client.clone()];
                    all.push((Remedy { clients, check, text, remedy: finding.remedy.clone() }, general));
                }
            }
        }
    }
    all.into_iter().map(|(remedy, _)| remedy).collect()
}

/// The same as text of at most so many lines, two for each; nothing where nothing is to be done.
#[must_use]
pub fn what_to_do(remedies: &[Remedy], most: usize) -> String {
    let mut text = String::new();
    if !remedies.is_empty() {
        text.push_str("what to do:\n");
    }
    let shown = remedies.len().min((most.saturating_sub(1) / 2).max(1));
    for one in &remedies[..shown] {
        let names: Vec<&str> = one.clients.iter().map(String::as_str).collect();
        let and = if names.len() == 1 { "" } else { "," };
        text.push_str(&format!("  {}{and} {}: {}\n", ui::names(&names, 40), one.check, ui::flat(&one.text)));
        text.push_str(&format!("    {}\n", ui::flat(&one.remedy)));
    }
    if shown < remedies.len() {
        text.push_str(&format!("  and {} more; fleet check --json has them all\n", remedies.len() - shown));
    }
    text
}

/// Why a host has no answer, and what to do about it.
#[must_use]
pub fn trouble(outcome: &Outcome) -> (String, Option<String>) {
    match outcome.fault() {
        Some(fault) => (fault.message.clone(), fault.hint.clone()),
        None => (reason(outcome), None),
    }
}

fn reason(outcome: &Outcome) -> String {
    match outcome {
        Outcome::Skipped { reason, .. } => reason.clone(),
        other => other.word().to_owned(),
    }
}

/// A question that becomes the command that asks it when its turn comes: scripts for a thousand hosts are long.
pub struct Look(pub Question);

impl From<Look> for Cmd {
    fn from(Look(question): Look) -> Cmd {
        probe(&question).timeout(Duration::from_secs(60))
    }
}

/// What to ask a client's host.
#[must_use]
pub fn question(stack: &Stack, client: &Client, own: &[Check]) -> Question {
    Question {
        stack: stack.name.clone(),
        domain: client.domain.to_string(),
        units: vec!["docker.service".into(), "cron.service".into()],
        database: database::inside(stack),
        tls: stack.tls.is_some(),
        health_url: stack.health_url(client.domain.as_str()),
        own: own
            .iter()
            .map(|check| match (&check.path, &check.service) {
                (Some(path), _) => {
                    let scheme = if stack.tls.is_some() { "https" } else { "http" };
                    Own::Page { name: check.name.clone(), url: format!("{scheme}://{}{path}", client.domain) }
                }
                (None, service) => Own::Inside {
                    name: check.name.clone(),
                    service: service.clone().unwrap_or_default(),
                    command: check.command.clone(),
                },
            })
            .collect(),
        ..Question::default()
    }
}

/// What its answer is judged by.
fn wanted(stack: &Stack, client: &Client, own: &[Check], remembered: &State) -> Expected {
    let sentry = stack.sentry.as_ref().and_then(|sentry| sentry.health.clone());
    Expected {
        domain: client.domain.to_string(),
        judged: check::Wanted {
            client: client.name.to_string(),
            stack: stack.name.clone(),
            http_status: stack.health.as_ref().map(|front| front.status),
            tls: stack.tls.is_some(),
            dumps: stack.backup.database || !stack.backup.volumes.is_empty(),
            pulled: pulled(remembered),
            sentry_path: sentry.clone().filter(|_| client.sentry.dsn.is_some()),
            own: own
                .iter()
                .map(|check| (check.name.clone(), if check.path.is_some() { check.status } else { 0 }))
                .collect(),
            limits: check::Limits::of(&client.checks),
        },
        sentry_path: sentry,
    }
}

/// What is remembered of the operator's own backups of a client.
fn pulled(state: &State) -> Option<check::Pulled> {
    if state.last.is_none() && state.failure.is_none() {
        return None;
    }
    let seconds = |text: &str| text.parse::<Timestamp>().ok().map(Timestamp::as_second);
    let last = state.last.as_ref().and_then(|last| seconds(&last.at));
    Some(check::Pulled {
        now: Timestamp::now().as_second(),
        first: state.first.as_deref().and_then(seconds).or(last),
        last,
        proved: state.proof.as_ref().filter(|proof| proof.ok).and_then(|proof| seconds(&proof.at)),
        failure: state.failure.as_ref().map(|failure| failure.message.clone()),
        disproof: state.disproof.as_ref().map(|disproof| disproof.message.clone()),
    })
}

/// The same as it is told; nothing where none was ever tried.
fn told(state: &State, now: Timestamp) -> Option<status::Pulled> {
    let last = state.last.clone().unwrap_or_default();
    if state.last.is_none() && state.failure.is_none() {
        return None;
    }
    let at = last.at.parse::<Timestamp>().unwrap_or(now);
    Some(status::Pulled {
        age_hours: u64::try_from((now.as_second() - at.as_second()) / 3600).unwrap_or(0),
        at: last.at,
        snapshot: last.snapshot,
        proved: state.proof.as_ref().filter(|proof| proof.ok).map(|proof| proof.at.clone()),
        failure: state.failure.as_ref().map(|failure| failure.message.clone()),
        disproof: state.disproof.as_ref().map(|disproof| disproof.message.clone()),
    })
}
