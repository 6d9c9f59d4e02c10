//! `fleet status`: one table of all clients, what is wrong first.

use std::time::Duration;

use super::App;
use super::context::Fleet;
use super::global::Limits;
use super::targets::Targets;
use crate::backup::State;
use crate::event::{ExitKind, Outcome};
use crate::facts::Facts;
use crate::ops::probe::{Question, probe};
use crate::registry::Client;
use crate::shell::Cmd;
use crate::status::{Expected, Pulled, Status};
use crate::ui::{Cell, Column, Role, Table};

/// Show the state of clients: release, containers, health, certificate, disk, backup, Sentry
///
/// Each host is asked everything in one round trip. What is wrong comes first and says so. The
/// exit code is 0 when every client is well, 1 when one is not, 4 when none could be reached.
#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:
  fleet status
  fleet status 'ville-*' --json | jq -r 'select(.problems != []) | .client'")]
pub struct Args {
    #[command(flatten)]
    pub targets: Targets,

    #[command(flatten)]
    pub limits: Limits,
}

pub fn run(app: &App, args: &Args) -> anyhow::Result<ExitKind> {
    let fleet = Fleet::open(&app.global)?;
    let clients = args.targets.or_all(&fleet)?;
    let mut questions = Vec::new();
    let mut expected = Vec::new();
    for client in clients {
        let (wanted, cmd) = question(&fleet, client)?;
        expected.push(wanted);
        questions.push((fleet.target(client), cmd));
    }
    let answers = app.ask(&fleet, "status", questions, &args.limits)?;
    let mut list: Vec<Status> = expected
        .iter()
        .zip(answers.answers)
        .map(|(wanted, answer)| match answer.result {
            Ok(output) => match Facts::parse(&output.stdout) {
                Ok(facts) => Status::of(wanted, &facts, answer.seconds),
                Err(error) => {
                    let said = crate::secret::clean_bytes(&output.stderr);
                    let detail = said.lines().next().unwrap_or_default().to_owned();
                    let hint = format!("fleet test-ssh {}", wanted.client);
                    Status::unreachable(wanted, format!("{error} {detail}"), Some(hint), answer.seconds)
                }
            },
            Err(outcome) => {
                let fault = outcome.fault().cloned();
                let message = fault.as_ref().map_or_else(|| reason(&outcome), |fault| fault.message.clone());
                Status::unreachable(wanted, message, fault.and_then(|fault| fault.hint), answer.seconds)
            }
        })
        .map(|status| {
            let pulled = pulled(&State::read(&fleet.state_dir(), &status.client), jiff::Timestamp::now());
            status.with_pulled(pulled)
        })
        .collect();
    let exit = if answers.interrupted {
        ExitKind::Interrupted
    } else if !list.is_empty() && list.iter().all(|status| !status.reachable) {
        ExitKind::NoneReachable
    } else if list.iter().all(Status::well) {
        ExitKind::Ok
    } else {
        ExitKind::ClientFailed
    };
    if app.global.json {
        for status in &list {
            app.out(&serde_json::to_string(status)?)?;
        }
        return Ok(exit);
    }
    list.sort_by_key(|status| (status.well(), status.reachable));
    app.table(&table(&list))?;
    let well = list.iter().filter(|status| status.well()).count();
    app.tell(&format!("{well} of {} well\n", list.len()));
    for status in list.iter().filter(|status| status.hint.is_some()) {
        app.tell(&format!(
            "{}: {}\n  hint: {}\n",
            status.client,
            status.error.as_deref().unwrap_or_default(),
            status.hint.as_deref().unwrap_or_default()
        ));
    }
    Ok(exit)
}

/// What is remembered of a client's backups; nothing where none was ever tried.
fn pulled(state: &State, now: jiff::Timestamp) -> Option<Pulled> {
    let last = state.last.clone().unwrap_or_default();
    if state.last.is_none() && state.failure.is_none() {
        return None;
    }
    let at = last.at.parse::<jiff::Timestamp>().unwrap_or(now);
    Some(Pulled {
        age_hours: u64::try_from((now.as_second() - at.as_second()) / 3600).unwrap_or(0),
        at: last.at,
        snapshot: last.snapshot,
        proved: state.proof.as_ref().filter(|proof| proof.ok).map(|proof| proof.at.clone()),
        failure: state.failure.as_ref().map(|failure| failure.message.clone()),
    })
}

fn reason(outcome: &Outcome) -> String {
    match outcome {
        Outcome::Skipped { reason, .. } => reason.clone(),
        other => other.word().to_owned(),
    }
}

/// What to ask a client's host, and what its answer is judged by.
fn question(fleet: &Fleet, client: &Client) -> anyhow::Result<(Expected, Cmd)> {
    let stack = fleet.stack(client)?;
    let cmd = probe(&Question {
        stack: stack.name.clone(),
        domain: client.domain.to_string(),
        units: vec!["docker.service".into(), "cron.service".into()],
        database: stack.database_inside(),
        tls: stack.tls.is_some(),
        health_url: stack.health_url(client.domain.as_str()),
        ..Question::default()
    })
    .timeout(Duration::from_secs(60));
    let expected = Expected {
        client: client.name.to_string(),
        domain: client.domain.to_string(),
        http_status: stack.health.as_ref().map(|front| front.status),
        tls: stack.tls.is_some(),
        sentry_path: stack.sentry.as_ref().and_then(|sentry| sentry.health.clone()),
    };
    Ok((expected, cmd))
}

fn table(list: &[Status]) -> Table {
    let mut table = Table::new([
        Column::new("client").at_least(8),
        Column::new("state").at_least(6),
        Column::new("release").at_least(12),
        Column::new("up").right(),
        Column::new("http").right(),
        Column::new("tls").droppable(3),
        Column::new("disk").right().droppable(2),
        Column::new("mem").right().droppable(4),
        Column::new("backup").droppable(1),
        Column::new("pulled").droppable(1),
        Column::new("sentry").droppable(5),
        Column::new("problems").at_least(10),
    ]);
    for status in list {
        let (word, role) = match (status.reachable, status.well()) {
            (false, _) => ("unreachable", Role::Bad),
            (true, true) => ("well", Role::Good),
            (true, false) if status.provisioned => ("not well", Role::Bad),
            (true, false) => ("bare", Role::Warn),
        };
        let percent = |value: Option<u64>| value.map_or(String::new(), |value| format!("{value}%"));
        let problems = status.error.clone().unwrap_or_else(|| status.problems.join("; "));
        table.row([
            Cell::new(Role::Strong, &status.client),
            Cell::new(role, word),
            status.release.as_ref().map_or(String::new(), |release| release.id.clone()).into(),
            if status.containers.total == 0 {
                Cell::from("")
            } else {
                format!("{}/{}", status.containers.well, status.containers.total).into()
            },
            status
                .http
                .as_ref()
                .map_or(String::new(), |http| format!("{} {:.0} ms", http.status, http.seconds * 1000.0))
                .into(),
            status.tls.as_ref().map_or("", |tls| if tls.current { "served" } else { "stale" }).into(),
            percent(status.disk_percent).into(),
            percent(status.memory_percent).into(),
            status
                .backup
                .as_ref()
                .map_or_else(
                    || "none yet".to_owned(),
                    |backup| format!("{} h ago{}", backup.age_hours, if backup.ok { "" } else { ", failed" }),
                )
                .into(),
            status
                .pulled
                .as_ref()
                .filter(|pulled| !pulled.at.is_empty())
                .map_or_else(|| "never".to_owned(), |pulled| format!("{} h ago", pulled.age_hours))
                .into(),
            status
                .sentry
                .as_ref()
                .map_or(String::new(), |sentry| match &sentry.environment {
                    Some(environment) if sentry.status == "ok" => environment.clone(),
                    _ => sentry.status.clone(),
                })
                .into(),
            Cell::new(if status.well() { Role::Text } else { Role::Bad }, &problems),
        ]);
    }
    table
}
