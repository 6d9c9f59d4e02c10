//! `fleet status`: one table of all clients, what is wrong first.

use super::App;
use super::context::Fleet;
use super::global::Limits;
use super::looking::{self, Looked};
use super::targets::Targets;
use crate::backup::State;
use crate::event::ExitKind;
use crate::status::{Pulled, Status, Tls};
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
    let Looked { list, interrupted } = looking::look(app, &fleet, "status", &clients, &args.limits, false)?;
    let (now, state) = (jiff::Timestamp::now(), fleet.state_dir());
    let remembered = |status: Status| {
        let pulled = pulled(&State::read(&state, &status.client), now);
        status.with_pulled(pulled)
    };
    let mut list: Vec<Status> = list.into_iter().map(remembered).collect();
    let exit = if interrupted {
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
        disproof: state.disproof.as_ref().map(|disproof| disproof.message.clone()),
    })
}

/// How much of a certificate's life is left, or that another one is served.
fn certificate(tls: &Tls) -> String {
    match (tls.current, tls.fraction_left) {
        (false, _) => "stale".to_owned(),
        (true, None) => "served".to_owned(),
        (true, Some(fraction)) => format!("{:.0}% left", fraction * 100.0),
    }
}

fn updates(status: &Status) -> String {
    let waiting = status.security_updates.filter(|count| *count > 0).map(|count| format!("{count} security"));
    let reboot = status.reboot_required.then(|| "reboot".to_owned());
    waiting.into_iter().chain(reboot).collect::<Vec<_>>().join(", ")
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
        Column::new("proved").droppable(4),
        Column::new("sentry").droppable(5),
        Column::new("updates").droppable(6),
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
            status.tls.as_ref().map_or(String::new(), certificate).into(),
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
                .pulled
                .as_ref()
                .and_then(|pulled| pulled.proved.as_deref())
                .map_or("never", |at| at.get(..10).unwrap_or(at))
                .into(),
            status
                .sentry
                .as_ref()
                .map_or(String::new(), |sentry| match &sentry.environment {
                    Some(environment) if sentry.status == "ok" => environment.clone(),
                    _ => sentry.status.clone(),
                })
                .into(),
            updates(status).into(),
            Cell::new(if status.well() { Role::Text } else { Role::Bad }, &problems),
        ]);
    }
    table
}
