//! How an update goes through a fleet: canaries, batches, when to stop, when not to begin, and what
//! a retry takes.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use anyhow::Context as _;

use super::context::Fleet;
use super::exit::refused;
use super::global::parse_duration;
use crate::engine::journal;
use crate::event::Outcome;
use crate::hint::HintExt as _;
use crate::plan::waves::{self, Budget, Share};
use crate::registry::Client;

#[derive(clap::Args, Clone, Debug, Default)]
#[command(next_help_heading = "Waves")]
pub struct PolicyArgs {
    /// Update these first, by name or tag, such as ville-test or tag:canary; a fault there stops the
    /// rest. May be repeated [default: clients tagged canary, when several waves are needed]
    #[arg(long, value_name = "NAME")]
    pub canary: Vec<String>,

    /// Sizes of the waves after the canaries, the last one repeated, such as 1,10%,25%
    /// [default: all at once up to 3 clients, 1,100% up to 10, 1,10%,25% beyond]
    #[arg(long, value_name = "SIZES", value_delimiter = ',')]
    pub batch: Vec<Share>,

    /// Services must stay healthy for so long before a release is committed, such as 30s
    #[arg(long, value_name = "TIME", value_parser = parse_duration)]
    pub bake: Option<Duration>,

    /// Begin no further wave once so many clients failed or were unreachable, such as 2 or 10%
    /// [default: one failed client in ten, and any in the first wave]
    #[arg(long, value_name = "N", env = "FLEET_MAX_FAILURES")]
    pub max_failures: Option<Share>,

    /// Only the clients that the last update did not bring to its end
    #[arg(long, conflicts_with_all = ["all", "clients", "client", "tag"])]
    pub retry: bool,

    /// Also outside of the clients' update windows
    #[arg(long)]
    pub ignore_window: bool,
}

/// The rules of one run.
#[derive(Clone, Debug)]
pub struct Policy {
    pub canary: BTreeSet<String>,
    pub batches: Vec<Share>,
    pub bake: Duration,
    pub budget: Budget,
}

impl Policy {
    /// One wave, as wide as `--parallel` lets it be.
    #[must_use]
    pub fn all_at_once() -> Self {
        Policy {
            canary: BTreeSet::new(),
            batches: vec![Share::Percent(100)],
            bake: Duration::ZERO,
            budget: Budget::Usual,
        }
    }

    /// Indices of the hosts of each wave.
    pub fn waves<T>(&self, hosts: &[T], is_canary: impl Fn(&T) -> bool) -> Vec<Vec<usize>> {
        let canary: Vec<bool> = hosts.iter().map(is_canary).collect();
        let rest = canary.iter().filter(|canary| !**canary).count();
        let usual = waves::usual_batches(rest);
        waves::waves(&canary, if self.batches.is_empty() { &usual } else { &self.batches })
    }
}

impl PolicyArgs {
    /// # Errors
    /// A canary that is not among the clients.
    pub fn policy(&self, clients: &[&Client]) -> anyhow::Result<Policy> {
        let mut canary = BTreeSet::new();
        for wanted in &self.canary {
            let found: Vec<_> = match wanted.strip_prefix("tag:") {
                Some(tag) => tagged(clients, tag),
                None => clients.iter().filter(|client| client.name.as_str() == wanted).copied().collect(),
            };
            if found.is_empty() {
                return Err(refused(format!("canary {wanted:?} is none of the clients to be updated"))
                    .hint("name one of them, or a tag that one of them has as tag:NAME"));
            }
            canary.extend(found.iter().map(|client| client.name.to_string()));
        }
        if self.canary.is_empty() && waves::usual_batches(clients.len()).len() > 1 {
            canary.extend(tagged(clients, "canary").iter().map(|client| client.name.to_string()));
        }
        Ok(Policy {
            canary,
            batches: self.batch.clone(),
            bake: self.bake.unwrap_or_default(),
            budget: self.max_failures.map_or(Budget::Usual, Budget::Given),
        })
    }

    /// Clients that must wait for their window.
    ///
    /// # Errors
    /// A time zone that this machine does not know.
    pub fn outside_window(&self, clients: &[&Client]) -> anyhow::Result<BTreeMap<String, String>> {
        let mut outside = BTreeMap::new();
        if self.ignore_window {
            return Ok(outside);
        }
        let now = jiff::Timestamp::now();
        for client in clients {
            let Some(window) = &client.update_window else { continue };
            let there = now.in_tz(window.zone()).with_context(|| {
                format!("update_window of {}: time zone {} is not known here", client.name, window.zone())
            })?;
            if !window.contains(there.hour().unsigned_abs(), there.minute().unsigned_abs()) {
                let reason =
                    format!("outside its update window {window}; --ignore-window updates it all the same");
                outside.insert(client.name.to_string(), reason);
            }
        }
        Ok(outside)
    }
}

fn tagged<'c>(clients: &[&'c Client], tag: &str) -> Vec<&'c Client> {
    clients.iter().filter(|client| client.tags.iter().any(|it| it.as_str() == tag)).copied().collect()
}

/// The clients that the last run of a verb did not bring to its end.
///
/// # Errors
/// No such run, or none that left anything.
pub fn left_by_last(fleet: &Fleet, verb: &str) -> anyhow::Result<Vec<String>> {
    let dir = fleet.state_dir().join("runs");
    let nothing =
        || refused(format!("no {verb} was run from this fleet directory, so there is nothing to retry"));
    let last = journal::list(&dir)
        .with_context(|| format!("the runs in {} cannot be read", dir.display()))?
        .find(|run| run.as_ref().map_or(true, |run| run.verb == verb))
        .ok_or_else(nothing)?
        .context("the last run cannot be read")?;
    let report = journal::report(&last.path).with_context(|| format!("run {}", last.run))?;
    let left: Vec<String> = report
        .hosts
        .iter()
        .filter(|host| !matches!(host.outcome, Outcome::Unchanged | Outcome::Changed { .. }))
        .map(|host| host.client.clone())
        .filter(|name| fleet.registry.client(name).is_some())
        .collect();
    if left.is_empty() {
        return Err(refused(format!("the last {verb} ({}) left no client behind", last.run)));
    }
    Ok(left)
}
