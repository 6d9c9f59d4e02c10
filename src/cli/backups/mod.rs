//! `fleet backups`: what is in the repositories.

mod diff;
mod dump;
mod export;
mod key;
mod list;
mod prove;
mod prune;
mod show;
mod verify;

use super::App;
use super::context::Fleet;
use super::repositories;
use super::targets::Targets;
use crate::backup::{Browser, Repository, Snapshot};
use crate::event::ExitKind;

/// Look into the backups: list, show, verify, prove, prune, take files out
///
/// A SNAPSHOT is `latest`, the beginning of an id, or a time such as 2026-11-20 or
/// 2026-11-20T02:00Z, which means the last one up to then.
#[derive(clap::Args, Debug)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(clap::Subcommand, Debug)]
enum Command {
    List(list::Args),
    Show(show::Args),
    Diff(diff::Args),
    Dump(dump::Args),
    Export(export::Args),
    Verify(verify::Args),
    Prove(prove::Args),
    Prune(prune::Args),
    #[command(name = "recovery-key")]
    RecoveryKey(key::Args),
}

pub fn run(app: &App, args: &Args) -> anyhow::Result<ExitKind> {
    match &args.command {
        Command::List(args) => list::run(app, args),
        Command::Show(args) => show::run(app, args),
        Command::Diff(args) => diff::run(app, args),
        Command::Dump(args) => dump::run(app, args),
        Command::Export(args) => export::run(app, args),
        Command::Verify(args) => verify::run(app, args),
        Command::Prove(args) => prove::run(app, args),
        Command::Prune(args) => prune::run(app, args),
        Command::RecoveryKey(args) => key::run(app, args),
    }
}

/// One client's repository, opened for reading, and one whole snapshot of it.
fn one(fleet: &Fleet, client: &str, wanted: &str) -> anyhow::Result<(Browser, Snapshot)> {
    let client = Targets::one(fleet, client)?;
    let name = client.name.as_str();
    let place = repositories::place(fleet, &fleet.vault()?, client)?;
    let opened = || {
        let repository = Repository::open(&place)?;
        let snapshot = repository.find(wanted)?;
        Ok((repository.browse()?, snapshot))
    };
    opened().map_err(|error| repositories::explained(error, name))
}

/// `2026-11-20 02:00`, in UTC as everywhere.
fn minute(at: jiff::Timestamp) -> String {
    at.strftime("%Y-%m-%d %H:%M").to_string()
}
