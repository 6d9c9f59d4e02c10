//! `fleet remove`: a client leaves the registry; with --purge its stack leaves the server too.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use serde_json::json;

use super::App;
use super::ask::Yes;
use super::change::{self, Options, Wish};
use super::context::Fleet;
use super::crons;
use super::exit::refused;
use super::global::Limits;
use super::repositories;
use super::shelves::Shelves;
use super::targets::Targets;
use crate::engine::Stock;
use crate::event::{ExitKind, Outcome};
use crate::fs_atomic;
use crate::plan::{Purge, Stage};
use crate::registry::{Client, Registry, edit};

/// How long one edit waits for another.
const LOCK_TIMEOUT: Duration = Duration::from_secs(30);

/// Take clients out of clients.toml
///
/// Nothing is done to their servers: they go on serving. Their secrets stay in secrets/, so that a
/// client that is added again has the same ones.
///
/// With --purge the stack is taken off each server first: after a final backup containers, volumes,
/// images, schedules, certificate and the folder with its dumps go. Docker, the firewall and the login stay.
/// Only a client whose server was cleared leaves clients.toml; its backups and secrets stay here.
#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:
  fleet remove ville-lyon
  fleet remove 'test-*' --yes
  fleet remove ville-lyon --purge --dry-run
  fleet remove ville-lyon --purge")]
pub struct Args {
    #[command(flatten)]
    pub targets: Targets,

    #[command(flatten)]
    pub yes: Yes,

    /// Take the stack off the servers too, after a final backup; asks for the name to be typed
    #[arg(long)]
    pub purge: bool,

    /// Do not back up first: what is on the servers is lost
    #[arg(long, requires = "purge")]
    pub no_final_backup: bool,

    /// Say what would be removed and write nothing
    #[arg(long)]
    pub dry_run: bool,

    #[command(flatten)]
    pub limits: Limits,
}

pub fn run(app: &App, args: &Args) -> anyhow::Result<ExitKind> {
    let fleet = Fleet::open(&app.global)?;
    let clients = args.targets.required(&fleet)?;
    if args.purge {
        return purge(app, &fleet, &clients, args);
    }
    let names: Vec<&str> = clients.iter().map(|client| client.name.as_str()).collect();
    let file = fleet.file.display().to_string();
    if args.dry_run {
        app.tell(&format!("would remove {} from {file}\n", names.join(", ")));
        return Ok(ExitKind::Ok);
    }
    let what = match names.as_slice() {
        [one] => (*one).to_owned(),
        many if many.len() <= 5 => many.join(", "),
        many => format!("{} clients ({}, ...)", many.len(), many[..3].join(", ")),
    };
    args.yes.sure(app, "remove takes clients out of the registry", &format!("remove {what} from {file}?"))?;
    take_out(&fleet, &names)?;
    crons::removed(app, &fleet, &names);
    let vault = fleet.vault()?;
    for client in &clients {
        let name = client.name.as_str();
        let secrets = vault.exists(name)?.then(|| fleet.dir.join(format!("secrets/{name}.age")));
        if app.global.json {
            let record = json!({ "schema": "fleet.remove/1", "client": name, "secrets": secrets,
                "purged": false, "backups": null });
            app.out(&record.to_string())?;
            continue;
        }
        let kept = match secrets {
            Some(path) => format!("; its secrets stay in {}", path.display()),
            None => String::new(),
        };
        app.tell(&format!("removed {name}; its server {} goes on running as it is{kept}\n", client.address));
    }
    Ok(ExitKind::Ok)
}

/// Takes clients out of the registry.
fn take_out(fleet: &Fleet, names: &[&str]) -> anyhow::Result<()> {
    let file = fleet.file.display().to_string();
    fs_atomic::edit(&fleet.file, &super::add::lock(&fleet.dir), LOCK_TIMEOUT, |text| {
        // The text may have changed since it was first read: names are looked up again.
        let mut text = text.to_owned();
        for name in names {
            text = edit::remove_client(&text, name).map_err(|error| refused(format!("{file}: {error}")))?;
        }
        Registry::parse(&text, &file)?;
        anyhow::Ok(text)
    })?;
    Ok(())
}

fn purge(app: &App, fleet: &Fleet, clients: &[&Client], args: &Args) -> anyhow::Result<ExitKind> {
    let options = Options {
        dry_run: args.dry_run,
        yes: args.yes.yes,
        limits: args.limits.clone(),
        ..Options::default()
    };
    options.confirmable(app, "remove --purge", args.dry_run)?;
    let typed = match clients {
        [one] => one.name.to_string(),
        many => format!("purge {} clients", many.len()),
    };
    let mut wish = Wish {
        needs_provision: false,
        purge: Some(Purge { backup: !args.no_final_backup }),
        typed: Some(typed),
        ..Wish::of("remove", &[Stage::Purge])
    };
    if !args.no_final_backup && !args.dry_run {
        let makes = Shelves::new(fleet, &wish.info)?;
        let mut shelves: BTreeMap<String, Arc<dyn Stock>> = BTreeMap::new();
        for client in clients {
            shelves.insert(client.name.to_string(), Arc::new(makes.save(client)?));
        }
        wish.shelves = shelves;
    }
    let (exit, report) = change::ended(app, fleet, clients, &options, &wish)?;
    let cleared = |outcome: &Outcome| matches!(outcome, Outcome::Changed { .. } | Outcome::Unchanged);
    let gone = report.hosts.iter().filter(|host| cleared(&host.outcome));
    let gone: Vec<&str> = gone.map(|host| host.client.as_str()).collect();
    if args.dry_run || gone.is_empty() {
        return Ok(exit);
    }
    take_out(fleet, &gone)?;
    crons::removed(app, fleet, &gone);
    for name in gone {
        let secrets = fleet.dir.join(format!("secrets/{name}.age"));
        let secrets = secrets.exists().then_some(secrets);
        // The client is gone by now: a storage that does not answer is no reason to say that it failed.
        let store = repositories::store(fleet, name).ok();
        let backups = store.filter(|store| store.exists().unwrap_or(true)).map(|store| store.name());
        if app.global.json {
            let record = json!({ "schema": "fleet.remove/1", "client": name, "secrets": secrets,
                "purged": true, "backups": backups });
            app.out(&record.to_string())?;
            continue;
        }
        let backups = backups.map_or(String::new(), |place| format!("; its backups stay in {place}"));
        let secrets =
            secrets.map_or(String::new(), |path| format!("; its secrets stay in {}", path.display()));
        app.tell(&format!("removed {name}, and its stack from the server{backups}{secrets}\n"));
    }
    Ok(exit)
}
