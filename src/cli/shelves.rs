//! Backups that other work begins with: before a restore, before a client leaves, before migrations.

use std::sync::Arc;

use super::assemble::RunInfo;
use super::context::Fleet;
use super::repositories;
use crate::backup::{Shelf, State, Throttle};
use crate::engine::Surveyed;
use crate::event::{Fault, Outcome, PLANNING};
use crate::hint;
use crate::plan::hooks::Hooks;
use crate::plan::{Stage, may_migrate};
use crate::registry::Client;
use crate::stack::Stack;
use crate::vault::Vault;

/// The commands around the backup that pending migrations of a client wait for; none where they wait for none.
pub fn first(fleet: &Fleet, client: &Client, stack: &Stack) -> Option<Hooks> {
    let backed_up = || State::read(&fleet.state_dir(), client.name.as_str()).last.is_some();
    let wanted = stack.migrations.is_some() && client.backup.before_migrations.unwrap_or_else(backed_up);
    wanted.then(|| Hooks::of(&stack.hooks, "backup", fleet.dir.clone()))
}

/// Makes backups of clients for one run: all of them share a throttle.
pub struct Shelves<'f> {
    fleet: &'f Fleet,
    vault: Vault,
    throttle: Arc<Throttle>,
    info: &'f RunInfo,
}

impl<'f> Shelves<'f> {
    /// # Errors
    /// A vault that cannot be opened, or a folder of repositories that cannot be made.
    pub fn new(fleet: &'f Fleet, info: &'f RunInfo) -> anyhow::Result<Self> {
        repositories::prepare(fleet)?;
        Ok(Shelves { fleet, vault: fleet.vault()?, throttle: repositories::throttle(fleet, None), info })
    }

    /// What saves a client as it is when its turn comes.
    ///
    /// # Errors
    /// As [`repositories::backup_of`].
    pub fn save(&self, client: &Client) -> anyhow::Result<Shelf> {
        let stack = self.fleet.stack(client)?;
        let (vault, throttle) = (&self.vault, &self.throttle);
        let save = repositories::backup_of(self.fleet, vault, client, &stack, self.info, throttle)?;
        Ok(Shelf { save: Some(save), ..Shelf::default() })
    }
}

/// Gives each host that may migrate what saves it first; those that cannot be saved are taken out, with the reason.
pub fn stock(
    fleet: &Fleet,
    clients: &[&Client],
    info: &RunInfo,
    hosts: &mut Vec<Surveyed>,
) -> Vec<(Surveyed, Outcome)> {
    let waits = |host: &Surveyed| {
        let desired = &host.job.desired;
        desired.backup_first.is_some()
            && host.job.stages.iter().any(|stage| matches!(stage, Stage::Rollout | Stage::Migrate))
            && may_migrate(desired, &host.facts)
    };
    let (waiting, ready) = std::mem::take(hosts).into_iter().partition(waits);
    *hosts = ready;
    let waiting: Vec<Surveyed> = waiting;
    if waiting.is_empty() {
        return Vec::new();
    }
    let shelves = Shelves::new(fleet, info);
    let mut without = Vec::new();
    for mut host in waiting {
        let named = |client: &&&Client| client.name.as_str() == host.job.target.name;
        let made = match (&shelves, clients.iter().find(named)) {
            (Err(error), _) => Err(refused(error)),
            (Ok(shelves), Some(client)) => shelves.save(client).map_err(|error| refused(&error)),
            (Ok(_), None) => Ok(Shelf::default()),
        };
        match made {
            Ok(shelf) => {
                host.job.stock = Some(Arc::new(shelf));
                hosts.push(host);
            }
            Err(outcome) => without.push((host, outcome)),
        }
    }
    without
}

fn refused(error: &anyhow::Error) -> Outcome {
    let hint = hint::hints(error).first().map(|hint| (*hint).to_owned());
    let message = format!("it cannot be backed up before its migrations: {error:#}");
    Outcome::Failed { fault: Fault { step: PLANNING.into(), message, lines: Vec::new(), hint } }
}
