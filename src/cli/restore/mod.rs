//! `fleet restore`: what a backup holds serves again.

mod fresh;
mod pick;

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use super::App;
use super::change::{self, Options, Wish};
use super::context::Fleet;
use super::exit::{refused, usage};
use super::repositories;
use super::shelves::Shelves;
use super::targets::Targets;
use crate::backup::{BackupError, Opened, Repository, Shelf};
use crate::engine::Stock;
use crate::event::ExitKind;
use crate::hint::HintExt as _;
use crate::plan::{Restore, Stage};
use crate::registry::Client;
use crate::vault::Vault;

/// Snapshots that are named where the wanted one is not there.
const NAMED: usize = 5;

/// Bring a client's data back from a backup: database and files, or the whole client on a new server
///
/// First the client is saved as it is now. Then everything is brought beside what serves: the dump into
/// a new database, whose rows are compared with what the snapshot counted, the files beside their
/// folders. Only then the services stop for a moment, both change places, and the services start again.
/// When they do not become healthy, what was before is put back. The release stays as it is, and files
/// that the snapshot does not have stay too.
///
/// A SNAPSHOT is `latest`, the beginning of an id, or a time such as 2026-11-20 or 2026-11-20T02:00Z,
/// which means the last one up to then.
#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:
  fleet restore ville-lyon --dry-run
  fleet restore ville-lyon --snapshot 2026-11-20
  fleet restore ville-lyon --database --snapshot 1a2b3c4d
  fleet restore ville-lyon --files photos/2026/a.jpg photos/2025
  fleet restore ville-lyon --to-new-host --ip 51.210.42.101
  fleet restore ville-essai --from ville-lyon --force      data of one client under another's name")]
pub struct Args {
    /// The client
    #[arg(value_name = "CLIENT")]
    pub client: String,

    /// What of its backups
    #[arg(long, value_name = "SNAPSHOT", default_value = "latest")]
    pub snapshot: String,

    /// The database and nothing else
    #[arg(long, conflicts_with = "files")]
    pub database: bool,

    /// Files and nothing else: all of them, or these files and folders, such as photos/2026/a.jpg for one of
    /// the volume photos, or /srv/maps
    #[arg(long, value_name = "PATH", num_args = 0..)]
    pub files: Option<Vec<String>>,

    /// Another client's data instead, such as ville-lyon; needs --force, and nothing but database and files
    /// is taken
    #[arg(long, value_name = "CLIENT")]
    pub from: Option<String>,

    /// Really give this client what belongs to the one that --from names
    #[arg(long, requires = "from")]
    pub force: bool,

    /// Do not save the client first, and say why, such as "its database is damaged"
    #[arg(long, value_name = "WHY")]
    pub no_safety_snapshot: Option<String>,

    /// The server is gone: take a bare one to the snapshot's release, then its data, then healthy
    #[arg(long, conflicts_with_all = ["database", "files", "from", "no_safety_snapshot"])]
    pub to_new_host: bool,

    /// Address of the new server, such as 51.210.42.101; written to clients.toml once the client serves
    /// there
    #[arg(long, value_name = "IP", requires = "to_new_host")]
    pub ip: Option<IpAddr>,

    /// The new server has the old one's address: forget the host key that is on record for it
    #[arg(long, requires = "to_new_host", conflicts_with = "dry_run")]
    pub new_host_key: bool,

    #[command(flatten)]
    pub options: Options,
}

pub fn run(app: &App, args: &Args) -> anyhow::Result<ExitKind> {
    let fleet = Fleet::open(&app.global)?;
    let client = Targets::one(&fleet, &args.client)?;
    if args.no_safety_snapshot.as_ref().is_some_and(|why| why.trim().is_empty()) {
        return Err(usage("--no-safety-snapshot must say why")
            .hint("such as --no-safety-snapshot \"its database is damaged\""));
    }
    args.options.confirmable(app, "restore", args.options.dry_run)?;
    if args.to_new_host {
        return fresh::run(app, &fleet, client, args);
    }
    let source = match &args.from {
        Some(other) if !args.force => {
            return Err(refused(format!("{other} is another client than {}: its data is not given away", client.name))
                .hint("--force does, where that is really meant; secrets, roles and release of the other one stay with it"));
        }
        Some(other) => other_client(&fleet, client, other)?,
        None => client,
    };
    let vault = fleet.vault()?;
    let stack = fleet.stack(client)?;
    let opened = open(&fleet, &vault, source, &args.snapshot)?;
    let mut restore = pick::restore(client, source, &stack, &opened, args)?;
    let wish = Wish { all_or_none: true, ..Wish::of("restore", &[Stage::Restore]) };
    restore.backed_up = backed_up(&fleet, &vault, client);
    let mut shelf = Shelf::default();
    if !args.options.dry_run && args.no_safety_snapshot.is_none() {
        shelf = Shelves::new(&fleet, &wish.info)?.save(client)?;
    }
    shelf.opened = Some(opened);
    go(app, &fleet, client, args, wish, (restore, shelf))
}

fn go(
    app: &App,
    fleet: &Fleet,
    client: &Client,
    args: &Args,
    wish: Wish<'_>,
    (restore, shelf): (Restore, Shelf),
) -> anyhow::Result<ExitKind> {
    let shelves = BTreeMap::from([(client.name.to_string(), Arc::new(shelf) as Arc<dyn Stock>)]);
    let wish = Wish { restore: Some(restore), shelves, ..wish };
    change::run(app, fleet, &[client], &args.options, &wish)
}

/// The client whose data another one is given.
fn other_client<'f>(fleet: &'f Fleet, client: &Client, other: &str) -> anyhow::Result<&'f Client> {
    let other = Targets::one(fleet, other)?;
    if other.name == client.name {
        return Err(usage("--from names another client than the one that is restored"));
    }
    let (mine, theirs) = (fleet.stack(client)?, fleet.stack(other)?);
    if mine.name != theirs.name {
        return Err(refused(format!(
            "{} runs the stack {}, and {} runs {}",
            client.name, mine.name, other.name, theirs.name
        ))
        .hint("data of one application is nothing to another"));
    }
    Ok(other)
}

/// A snapshot of a client, opened.
fn open(fleet: &Fleet, vault: &Vault, client: &Client, wanted: &str) -> anyhow::Result<Opened> {
    let place = repositories::place(fleet, vault, client)?;
    let name = client.name.as_str();
    let failed = |error| repositories::explained(error, name);
    let repository = Repository::open(&place).map_err(failed)?;
    let snapshot = match repository.find(wanted) {
        Ok(snapshot) => snapshot,
        Err(error @ (BackupError::NoSnapshot { wanted: Some(_), .. } | BackupError::Ambiguous { .. })) => {
            let there = list(&repository).map_err(failed)?;
            return Err(refused(error.to_string()).hint(there));
        }
        Err(error) => return Err(failed(error)),
    };
    let browser = repository.browse().map_err(failed)?;
    let manifest = browser.manifest(&snapshot).map_err(failed)?;
    Ok(Opened { browser, snapshot, manifest, client: name.to_owned() })
}

/// What there is, in one line.
fn list(repository: &Repository) -> Result<String, BackupError> {
    let mut whole = repository.snapshots()?;
    whole.retain(|snapshot| snapshot.complete);
    let said = |snapshot: &crate::backup::Snapshot| {
        format!("{} of {}", snapshot.short(), snapshot.at.strftime("%Y-%m-%d %H:%M"))
    };
    let named: Vec<String> = whole.iter().take(NAMED).map(said).collect();
    let more = whole.len().saturating_sub(NAMED);
    Ok(match (named.is_empty(), more) {
        (true, _) => "it has no whole snapshot".to_owned(),
        (false, 0) => format!("it has {}", named.join(", ")),
        (false, more) => format!("it has {} and {more} older ones", named.join(", ")),
    })
}

/// Runs whose backups the client's repository has. Without one there are none.
fn backed_up(fleet: &Fleet, vault: &Vault, client: &Client) -> Vec<String> {
    let Ok(place) = repositories::place(fleet, vault, client) else { return Vec::new() };
    let snapshots = Repository::open(&place).and_then(|repository| repository.snapshots());
    let whole = snapshots.unwrap_or_default().into_iter().filter(|snapshot| snapshot.complete);
    whole.filter_map(|snapshot| snapshot.tag("run").map(str::to_owned)).collect()
}
