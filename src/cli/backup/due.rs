//! `backup --due`: what cron runs every few minutes.

use std::path::Path;
use std::time::Duration;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde_json::json;

use super::super::App;
use super::super::context::Fleet;
use crate::backup::State;
use crate::due::{Due, Known, Place, Slots, due};
use crate::event::ExitKind;
use crate::fs_atomic::{FileLock, LockError};
use crate::registry::Client;
use crate::ui::{Cell, Column, Role, Table};

/// The only run that looks for what is due; none while another does.
///
/// # Errors
/// When the lock cannot be written.
pub fn alone(fleet: &Fleet) -> anyhow::Result<Option<FileLock>> {
    match FileLock::acquire(&fleet.state_dir().join("locks/backup-due.lock"), Duration::ZERO) {
        Ok(held) => Ok(Some(held)),
        Err(LockError::Held { .. }) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// When each client's turn is, by this machine's time zone.
pub fn of(fleet: &Fleet, client: &Client, state: &State, now: Timestamp) -> Due {
    let time = |text: &str| text.parse().ok();
    let known = Known {
        last: state.last.as_ref().and_then(|last| time(&last.at)),
        failed: state.failure.as_ref().and_then(|failure| time(&failure.at)),
    };
    let settings = &fleet.registry.fleet;
    let place = Place::of(settings.name.as_str(), client.name.as_str(), settings.backup.spread);
    due(&Slots::of(&client.backup.schedule), &place, &TimeZone::system(), known, now)
}

/// Shows when each client's turn is.
///
/// # Errors
/// When standard output cannot be written.
pub fn show(app: &App, fleet: &Fleet, clients: &[&Client]) -> anyhow::Result<ExitKind> {
    let (now, zone) = (Timestamp::now(), TimeZone::system());
    let mut table = Table::new([
        Column::new("client").at_least(8),
        Column::new("schedule"),
        Column::new("last backup"),
        Column::new("due").at_least(10),
    ]);
    for client in clients {
        let name = client.name.as_str();
        let state = State::read(&fleet.state_dir(), name);
        let due = of(fleet, client, &state, now);
        let last = state.last.map(|last| last.at);
        if app.global.json {
            let (is_due, at) = match due {
                Due::Now { since } => (true, Some(since.to_string())),
                Due::At(at) => (false, Some(at.to_string())),
                Due::Never => (false, None),
            };
            let record = json!({ "schema": "fleet.backup-due/1", "client": name,
                "schedule": client.backup.schedule, "last": last, "due": is_due, "at": at });
            app.out(&record.to_string())?;
            continue;
        }
        let local = |at: Timestamp| at.to_zoned(zone.clone()).strftime("%Y-%m-%d %H:%M").to_string();
        let (role, text) = match due {
            Due::Now { since } => (Role::Warn, format!("now, since {}", local(since))),
            Due::At(at) => (Role::Text, local(at)),
            Due::Never => (Role::Bad, "never".to_owned()),
        };
        table.row([
            Cell::new(Role::Strong, name),
            client.backup.schedule.as_str().into(),
            last.and_then(|at| at.parse().ok()).map_or("none yet".to_owned(), local).into(),
            Cell::new(role, &text),
        ]);
    }
    if !app.global.json {
        app.table(&table)?;
    }
    Ok(ExitKind::Ok)
}

/// Lines for the operator's crontab.
///
/// # Errors
/// When the program or the folder has no name that cron could use.
pub fn print_cron(app: &App, fleet: &Fleet) -> anyhow::Result<ExitKind> {
    let program = std::env::current_exe()?;
    let dir = std::fs::canonicalize(&fleet.dir)?;
    let word = |path: &Path| crate::shell::quote(&path.display().to_string()).replace('%', "\\%");
    let registry = match fleet.file.file_name().is_some_and(|name| name == "clients.toml") {
        true => String::new(),
        false => format!(" --config {}", word(&std::fs::canonicalize(&fleet.file)?)),
    };
    let line =
        |when: &str, words: &str| format!("{when} {} -C {}{registry} {words}", word(&program), word(&dir));
    app.out("# Backups that are due, each client at its own time; what was missed is made up for.")?;
    app.out(&line("*/5 * * * *", "backup --due --quiet"))?;
    app.out("# Each night the backups whose last proof is longest ago are restored and counted.")?;
    app.out(&line("30 4 * * *", "backups prove --oldest 3 --quiet"))?;
    app.out("# Each Sunday a part of the stored data is read again.")?;
    // A percent sign is a line end to cron.
    app.out(&line("0 6 * * 0", "backups verify --read-data-subset 5\\%"))?;
    Ok(ExitKind::Ok)
}
