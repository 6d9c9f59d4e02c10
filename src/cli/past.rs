//! What the journals of this fleet directory say to a run that is about to begin.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use anyhow::Context as _;

use super::change::Wish;
use super::context::Fleet;
use crate::engine::journal::{self, Cut, Repeated};
use crate::registry::Client;
use crate::ui;

/// Clients of a cut run that are named.
const NAMED: usize = 5;

#[derive(Default)]
pub struct Past {
    /// Runs whose leases are nobody's.
    pub dead: Arc<Vec<String>>,
    cuts: Vec<Cut>,
    repeated: BTreeMap<String, Repeated>,
}

impl Past {
    /// # Errors
    /// When the journals cannot be read.
    pub fn read(
        fleet: &Fleet,
        clients: &[&Client],
        wish: &Wish<'_>,
        previewing: bool,
    ) -> anyhow::Result<Past> {
        let dir = fleet.state_dir().join("runs");
        let unreadable = || format!("the runs in {} cannot be read", dir.display());
        let names: BTreeSet<String> = clients.iter().map(|client| client.name.to_string()).collect();
        let mut past = Past::default();
        if let Some(named) = &wish.wary {
            let asked = names.difference(named).cloned().collect();
            past.repeated = journal::repeated(&dir, wish.verb, &asked).with_context(unreadable)?;
        }
        if !previewing {
            past.cuts = journal::cuts(&dir, &names).with_context(unreadable)?;
            past.dead = Arc::new(journal::dead(&dir).with_context(unreadable)?);
        }
        Ok(past)
    }

    /// Why a client is not tried again with this release; `None` when it is.
    pub fn tired(&self, client: &Client, release: &str) -> Option<String> {
        let Repeated { step, runs: [last, first], .. } =
            self.repeated.get(client.name.as_str()).filter(|known| known.release == release)?;
        Some(format!(
            "failed twice in a row at \"{step}\" with this same release (runs {first} and {last}); \
             to try it once more, name it: fleet update {}",
            client.name
        ))
    }

    /// Message and hint for each run that was cut.
    pub fn cuts(&self) -> impl Iterator<Item = (String, String)> {
        self.cuts.iter().map(|cut| {
            let said = cut.clients.iter().take(NAMED);
            let mut said: Vec<String> =
                said.map(|(client, step)| format!("{client} in \"{step}\"")).collect();
            if cut.clients.len() > NAMED {
                said.push(format!("{} more", cut.clients.len() - NAMED));
            }
            let message = format!(
                "run {} ({} by {}, begun {}) was cut: {}; what it left is looked at, then finished or taken back",
                cut.run,
                cut.verb,
                cut.who,
                cut.started,
                said.join(", ")
            );
            (ui::flat(&message), format!("`fleet runs show {}` tells what it did", cut.run))
        })
    }
}
