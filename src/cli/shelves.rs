//! Backups that other work begins with: before a restore, before a client leaves, before migrations.

use std::sync::Arc;

use tokio::sync::Semaphore;

use super::assemble::RunInfo;
use super::context::Fleet;
use super::repositories;
use crate::backup::{Shelf, State, Throttle};
use crate::engine::{Job, Stock, Surveyed};
use crate::event::{Fault, Outcome, PLANNING};
use crate::hint;
use crate::plan::hooks::Hooks;
use crate::plan::{Stage, saved_first};
use crate::registry::{Client, Storage};
use crate::stack::Stack;
use crate::vault::Vault;

/// What a plan knows of the backup that pending migrations of a client wait for; nothing where they wait for none.
pub fn before_migrations(fleet: &Fleet, client: &Client, stack: &Stack) -> Option<Hooks> {
    let wanted = stack.migrations.is_some()
        && stack.backup.database
        && client.backup.before_migrations.unwrap_or_else(|| backed_up(fleet, client));
    wanted.then(|| Hooks::of(&stack.hooks, "backup", fleet.dir.clone()))
}

/// Whether this machine makes backups of a client, as far as can be said without asking anybody.
fn backed_up(fleet: &Fleet, client: &Client) -> bool {
    State::read(&fleet.state_dir(), client.name.as_str()).last.is_some()
        || (matches!(fleet.registry.fleet.backup.repository, Storage::Folder(_))
            && repositories::may_be(fleet, client))
}

/// Makes backups of clients for one run: all of them share a throttle.
pub struct Shelves<'f> {
    fleet: &'f Fleet,
    vault: Vault,
    throttle: Arc<Throttle>,
    turns: Arc<Semaphore>,
    info: &'f RunInfo,
}

impl<'f> Shelves<'f> {
    /// # Errors
    /// A vault that cannot be opened, or a folder of repositories that cannot be made.
    pub fn new(fleet: &'f Fleet, info: &'f RunInfo) -> anyhow::Result<Self> {
        repositories::prepare(fleet)?;
        let turns = Arc::new(Semaphore::new(super::backup::width(fleet)));
        let throttle = repositories::throttle(fleet, None);
        Ok(Shelves { fleet, vault: fleet.vault()?, throttle, turns, info })
    }

    /// What saves a client as it is when its turn comes.
    ///
    /// # Errors
    /// As [`repositories::backup_of`].
    pub fn save(&self, client: &Client) -> anyhow::Result<Shelf> {
        let stack = self.fleet.stack(client)?;
        let (vault, throttle) = (&self.vault, &self.throttle);
        let save = repositories::backup_of(self.fleet, vault, client, &stack, self.info, throttle)?;
        Ok(Shelf { save: Some((save, Arc::clone(&self.turns))), ..Shelf::default() })
    }
}

/// Gives each host that may migrate what saves it first; those that cannot be saved are taken out, with the reason.
pub fn provide(
    fleet: &Fleet,
    clients: &[&Client],
    info: &RunInfo,
    hosts: &mut Vec<Surveyed>,
) -> Vec<(Surveyed, Outcome)> {
    let waits = |host: &Surveyed| {
        let Job { desired, stages, stock, .. } = &host.job;
        desired.backup_first.is_some()
            && stock.is_none()
            && stages.iter().any(|stage| matches!(stage, Stage::Rollout | Stage::Migrate))
            && saved_first(desired, &host.facts)
    };
    let (mut shelves, mut without) = (None, Vec::new());
    // Their order is that of the plan and its waves.
    for mut host in std::mem::take(hosts) {
        if waits(&host) {
            let client = clients.iter().find(|client| client.name.as_str() == host.job.target.name);
            let made = match shelves.get_or_insert_with(|| Shelves::new(fleet, info)) {
                Ok(shelves) => {
                    client.map(|client| shelves.save(client)).transpose().map_err(|error| refused(&error))
                }
                Err(error) => Err(refused(error)),
            };
            match made {
                Ok(shelf) => host.job.stock = shelf.map(|shelf| Arc::new(shelf) as Arc<dyn Stock>),
                Err(outcome) => {
                    without.push((host, outcome));
                    continue;
                }
            }
        }
        hosts.push(host);
    }
    without
}

fn refused(error: &anyhow::Error) -> Outcome {
    let hint = hint::hints(error).first().map(|hint| (*hint).to_owned());
    let message = format!("it cannot be backed up before its migrations: {error:#}");
    Outcome::Failed { fault: Fault { step: PLANNING.into(), message, lines: Vec::new(), hint } }
}
