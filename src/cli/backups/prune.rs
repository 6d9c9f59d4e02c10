//! `backups prune`.

use serde_json::json;

use super::super::App;
use super::super::context::Fleet;
use super::super::repositories::{self, explained};
use super::super::targets::Targets;
use crate::backup::{BackupError, Repository, State, retention};
use crate::event::ExitKind;
use crate::registry::Client;
use crate::vault::Vault;

/// Forget old snapshots by the rule `keep` and give their space back
///
/// `fleet backup` does the same after each backup. The newest snapshot and the one that was proved last
/// always stay. What nothing needs any more is marked first, and deleted by a prune a day later or more.
#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:
  fleet backups prune --all --dry-run
  fleet backups prune ville-lyon")]
pub struct Args {
    #[command(flatten)]
    pub targets: Targets,

    /// Only show what would be forgotten
    #[arg(short = 'n', long)]
    pub dry_run: bool,
}

pub fn run(app: &App, args: &Args) -> anyhow::Result<ExitKind> {
    let fleet = Fleet::open(&app.global)?;
    let clients = args.targets.required(&fleet)?;
    let vault = fleet.vault()?;
    let mut exit = ExitKind::Ok;
    for client in clients {
        let name = client.name.as_str();
        match one(&fleet, &vault, client, args.dry_run) {
            Ok(pruned) if app.global.json => {
                let record = json!({ "schema": "fleet.prune/1", "client": name, "forgotten": pruned.forgotten,
                    "kept": pruned.kept, "dry_run": args.dry_run });
                app.out(&record.to_string())?;
            }
            Ok(pruned) => {
                let word = if args.dry_run { "would forget" } else { "forgot" };
                app.out(&format!("{name}: {word} {}, {} stay", pruned.forgotten.len(), pruned.kept))?;
            }
            // One that cannot be pruned keeps no other from it.
            Err(error) => {
                exit = ExitKind::ClientFailed;
                app.error(&error.context(name.to_owned()));
            }
        }
    }
    Ok(exit)
}

fn one(fleet: &Fleet, vault: &Vault, client: &Client, dry_run: bool) -> anyhow::Result<retention::Pruned> {
    let name = client.name.as_str();
    let place = repositories::place(fleet, vault, client)?;
    let work = || -> Result<retention::Pruned, BackupError> {
        let _held = if dry_run { None } else { Some(place.lock()?) };
        let repository = Repository::open(&place)?;
        let state = State::known(&fleet.state_dir(), name)?;
        let plan = retention::plan(&repository, &client.backup.keep, state.proved(), jiff::Timestamp::now())?;
        if !dry_run {
            retention::carry_out(&repository, &plan)?;
        }
        Ok(plan)
    };
    work().map_err(|error| explained(error, name))
}
