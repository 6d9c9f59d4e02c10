//! `backups list`.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use serde_json::json;

use super::super::App;
use super::super::context::Fleet;
use super::super::repositories::{self, explained};
use super::super::targets::Targets;
use crate::backup::{Repository, Snapshot, State};
use crate::event::ExitKind;
use crate::registry::Client;
use crate::ui::{self, Cell, Column, Role, Table};
use crate::vault::Vault;

/// Repositories that are opened at once: each takes 32 MiB of memory for its key.
const AT_ONCE: usize = 8;

/// List the snapshots of clients, the newest first
///
/// Without a client: one line for each, with its last snapshot. A snapshot that is not whole is no
/// backup: it is listed as such and never restored.
#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:
  fleet backups list
  fleet backups list ville-lyon
  fleet backups list --json | jq -r 'select(.snapshots == 0) | .client'")]
pub struct Args {
    #[command(flatten)]
    pub targets: Targets,
}

pub fn run(app: &App, args: &Args) -> anyhow::Result<ExitKind> {
    let fleet = Fleet::open(&app.global)?;
    let clients = args.targets.or_all(&fleet)?;
    let vault = fleet.vault()?;
    if args.targets.is_empty() {
        overview(app, &fleet, &vault, &clients)
    } else {
        all(app, &fleet, &vault, &clients)
    }
}

/// The snapshots of one client; none where nothing was backed up yet.
fn snapshots(fleet: &Fleet, vault: &Vault, client: &Client) -> anyhow::Result<Vec<Snapshot>> {
    let name = client.name.as_str();
    if !repositories::found(&repositories::store(fleet, name)?, name)? {
        return Ok(Vec::new());
    }
    let place = repositories::place(fleet, vault, client)?;
    let opened = || Repository::open(&place)?.snapshots();
    opened().map_err(|error| explained(error, client.name.as_str()))
}

/// The snapshots of every client, in their order. To open a repository takes a processor some time by
/// design, and a storage that is far away takes some of its own: a few are opened at once.
fn opened(fleet: &Fleet, vault: &Vault, clients: &[&Client]) -> Vec<anyhow::Result<Vec<Snapshot>>> {
    let next = AtomicUsize::new(0);
    let found = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..AT_ONCE.min(clients.len()) {
            scope.spawn(|| {
                while let Some((index, client)) = Some(next.fetch_add(1, Ordering::Relaxed))
                    .and_then(|index| Some((index, clients.get(index)?)))
                {
                    let one = snapshots(fleet, vault, client);
                    found.lock().unwrap_or_else(PoisonError::into_inner).push((index, one));
                }
            });
        }
    });
    let mut found = found.into_inner().unwrap_or_else(PoisonError::into_inner);
    found.sort_by_key(|(index, _)| *index);
    found.into_iter().map(|(_, one)| one).collect()
}

fn overview(app: &App, fleet: &Fleet, vault: &Vault, clients: &[&Client]) -> anyhow::Result<ExitKind> {
    let mut table = Table::new([
        Column::new("client").at_least(8),
        Column::new("snapshots").right(),
        Column::new("last"),
        Column::new("id").at_least(8),
        Column::new("size").right(),
        Column::new("proved").droppable(1),
        Column::new("problem").at_least(10),
    ]);
    let mut exit = ExitKind::Ok;
    for (client, found) in clients.iter().zip(opened(fleet, vault, clients)) {
        let name = client.name.as_str();
        let state = State::read(&fleet.state_dir(), name);
        // One that cannot be read hides no other.
        let (found, problem) = match found {
            Ok(found) => {
                let failed =
                    state.failure.as_ref().map(|failure| format!("last run failed: {}", failure.message));
                let disproof = state.disproof.as_ref();
                let disproof = disproof.map(|disproof| format!("does not restore: {}", disproof.message));
                (found, failed.or(disproof))
            }
            Err(error) => {
                exit = ExitKind::ClientFailed;
                (Vec::new(), Some(error.to_string()))
            }
        };
        let whole: Vec<&Snapshot> = found.iter().filter(|snapshot| snapshot.complete).collect();
        let last = whole.first();
        let proved = state.proof.as_ref().filter(|proof| proof.ok);
        if app.global.json {
            let record = json!({ "schema": "fleet.backups/1", "client": name, "snapshots": whole.len(),
                "last": last.map(|last| record(name, last)),
                "proved": proved.map(|proof| json!({ "snapshot": proof.snapshot, "at": proof.at })),
                "problem": problem });
            app.out(&record.to_string())?;
            continue;
        }
        let problem =
            problem.unwrap_or_else(|| if last.is_none() { "no backup yet".into() } else { String::new() });
        table.row([
            Cell::new(Role::Strong, name),
            whole.len().to_string().into(),
            last.map_or(String::new(), |last| super::minute(last.at)).into(),
            last.map_or(String::new(), |last| last.short().to_owned()).into(),
            last.and_then(|last| last.number("bytes")).map_or(String::new(), ui::bytes).into(),
            proved
                .map_or("never".to_owned(), |proof| proof.at.get(..10).unwrap_or_default().to_owned())
                .into(),
            Cell::new(Role::Bad, &problem),
        ]);
    }
    if !app.global.json {
        app.table(&table)?;
    }
    Ok(exit)
}

fn all(app: &App, fleet: &Fleet, vault: &Vault, clients: &[&Client]) -> anyhow::Result<ExitKind> {
    let mut table = Table::new([
        Column::new("client").at_least(8),
        Column::new("id").at_least(8),
        Column::new("at"),
        Column::new("release").droppable(2),
        Column::new("migration").droppable(3),
        Column::new("database").right(),
        Column::new("files").right().droppable(1),
        Column::new("added").right().droppable(1),
        Column::new("").at_least(0),
    ]);
    for (client, found) in clients.iter().zip(opened(fleet, vault, clients)) {
        let name = client.name.as_str();
        for snapshot in found? {
            if app.global.json {
                app.out(&record(name, &snapshot).to_string())?;
                continue;
            }
            let tag = |key: &str| snapshot.tag(key).unwrap_or_default().to_owned();
            let size = |key: &str| snapshot.number(key).map_or(String::new(), ui::bytes);
            table.row([
                Cell::new(Role::Strong, name),
                snapshot.short().into(),
                super::minute(snapshot.at).into(),
                tag("release").into(),
                tag("migration").into(),
                size("dump").into(),
                tag("files").into(),
                ui::bytes(snapshot.added).into(),
                Cell::new(Role::Bad, if snapshot.complete { "" } else { "not whole" }),
            ]);
        }
    }
    if !app.global.json {
        app.table(&table)?;
    }
    Ok(ExitKind::Ok)
}

/// Schema `fleet.snapshot/1`.
pub fn record(client: &str, snapshot: &Snapshot) -> serde_json::Value {
    json!({ "schema": "fleet.snapshot/1", "client": client, "id": snapshot.id, "at": snapshot.at.to_string(),
        "complete": snapshot.complete, "release": snapshot.tag("release"), "migration": snapshot.tag("migration"),
        "run": snapshot.tag("run"), "database": snapshot.tag("database"), "dump_bytes": snapshot.number("dump"),
        "files": snapshot.number("files"), "bytes": snapshot.number("bytes"), "added_bytes": snapshot.added })
}
