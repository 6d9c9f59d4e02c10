//! `backups diff`.

use std::collections::BTreeMap;
use std::path::PathBuf;

use rustic_core::repofile::Node;
use serde_json::json;

use super::super::App;
use super::super::context::Fleet;
use super::super::repositories::{self, explained};
use super::super::targets::Targets;
use crate::backup::{Browser, Repository, Snapshot, shown};
use crate::event::ExitKind;
use crate::hint::HintExt as _;
use crate::ui::Role;

/// Show what changed between two snapshots: files, and rows of the largest tables
#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:
  fleet backups diff ville-lyon
  fleet backups diff ville-lyon 2026-11-19 2026-11-20 --json")]
pub struct Args {
    /// The client
    #[arg(value_name = "CLIENT")]
    pub client: String,

    /// The older one [default: the one before the newer]
    #[arg(value_name = "SNAPSHOT")]
    pub from: Option<String>,

    /// The newer one
    #[arg(value_name = "SNAPSHOT", default_value = "latest")]
    pub to: String,
}

pub fn run(app: &App, args: &Args) -> anyhow::Result<ExitKind> {
    let fleet = Fleet::open(&app.global)?;
    let client = Targets::one(&fleet, &args.client)?;
    let place = repositories::place(&fleet, &fleet.vault()?, client)?;
    let failed = |error| explained(error, client.name.as_str());
    let repository = Repository::open(&place).map_err(failed)?;
    let to = repository.find(&args.to).map_err(failed)?;
    let from = match &args.from {
        Some(wanted) => repository.find(wanted).map_err(failed)?,
        None => {
            let mut before = repository.snapshots().map_err(failed)?;
            before.retain(|snapshot| snapshot.complete && snapshot.at < to.at);
            before.into_iter().next().ok_or_else(|| {
                super::super::exit::refused(format!("there is no snapshot before {}", to.short()))
                    .hint(format!("fleet backups list {}", client.name))
            })?
        }
    };
    let browser = repository.browse().map_err(failed)?;
    let (old, new) = (files(&browser, &from).map_err(failed)?, files(&browser, &to).map_err(failed)?);
    let (before, after) = (browser.manifest(&from).map_err(failed)?, browser.manifest(&to).map_err(failed)?);
    let mut changes: Vec<(&str, &PathBuf)> = Vec::new();
    for path in old.keys().chain(new.keys().filter(|path| !old.contains_key(*path))) {
        match (old.get(path), new.get(path)) {
            (Some(_), None) => changes.push(("removed", path)),
            (None, Some(_)) => changes.push(("added", path)),
            (Some(a), Some(b)) if differ(a, b) => changes.push(("changed", path)),
            _ => {}
        }
    }
    changes.sort_by_key(|(_, path)| *path);
    let rows = |manifest: &crate::backup::Manifest| -> BTreeMap<String, u64> {
        let rows = manifest.database.iter().flat_map(|database| &database.rows);
        rows.map(|rows| (rows.table.clone(), rows.rows)).collect()
    };
    let (before, after) = (rows(&before), rows(&after));
    let tables: Vec<(&String, u64, u64)> = before
        .iter()
        .filter_map(|(table, old)| Some((table, *old, *after.get(table)?)))
        .filter(|(_, old, new)| old != new)
        .collect();
    if app.global.json {
        let files: Vec<_> = changes
            .iter()
            .map(|(change, path)| json!({ "change": change, "path": path.to_string_lossy() }))
            .collect();
        let tables: Vec<_> = tables
            .iter()
            .map(|(table, old, new)| json!({ "table": table, "from": old, "to": new }))
            .collect();
        let record = json!({ "schema": "fleet.backup-diff/1", "client": client.name, "from": from.id, "to": to.id,
            "files": files, "tables": tables });
        app.out(&record.to_string())?;
        return Ok(ExitKind::Ok);
    }
    for (table, old, new) in tables {
        app.out(&format!("rows     {}: {old} -> {new}", crate::secret::clean(table)))?;
    }
    for (change, path) in &changes {
        let role = match *change {
            "added" => Role::Good,
            "removed" => Role::Bad,
            _ => Role::Warn,
        };
        app.out(&format!("{} {}", app.stdout.paint(role, &format!("{change:<8}")), shown(path)))?;
    }
    app.tell(&format!("{} to {}: {} files differ\n", from.short(), to.short(), changes.len()));
    Ok(ExitKind::Ok)
}

/// Everything but what is new in every snapshot.
fn files(
    browser: &Browser,
    snapshot: &Snapshot,
) -> Result<BTreeMap<PathBuf, Node>, crate::backup::BackupError> {
    let node = browser.node(snapshot, "files")?;
    let list = browser.list(&node)?;
    Ok(list.into_iter().filter(|(_, node)| !node.is_dir()).collect())
}

fn differ(a: &Node, b: &Node) -> bool {
    a.node_type != b.node_type
        || a.content != b.content
        || a.meta.mode != b.meta.mode
        || a.meta.uid != b.meta.uid
}
