//! Which clients a command is about: the same options everywhere.

use super::context::Fleet;
use super::exit::{refused, usage};
use crate::diagnostic::shown;
use crate::hint::HintExt as _;
use crate::registry::{Client, SelectError, Selection};

#[derive(clap::Args, Clone, Debug, Default)]
#[command(next_help_heading = "Targets")]
pub struct Targets {
    /// Clients by name or glob, such as ville-lyon or 'ville-*'
    #[arg(value_name = "CLIENT")]
    pub clients: Vec<String>,

    /// The same, as an option; may be repeated
    #[arg(long = "client", value_name = "NAME")]
    pub client: Vec<String>,

    /// Clients with this tag, such as canary; may be repeated
    #[arg(long = "tag", value_name = "TAG")]
    pub tag: Vec<String>,

    /// Leave these out, by name or glob; may be repeated
    #[arg(long = "exclude", value_name = "NAME")]
    pub exclude: Vec<String>,

    /// Every client that is not disabled
    #[arg(long)]
    pub all: bool,
}

impl Targets {
    fn selection(&self) -> Selection {
        Selection {
            names: self.clients.iter().chain(&self.client).cloned().collect(),
            tags: self.tag.clone(),
            exclude: self.exclude.clone(),
            all: self.all,
        }
    }

    /// Clients that were asked for by their own names.
    pub fn named(&self) -> std::collections::BTreeSet<String> {
        let all = self.clients.iter().chain(&self.client);
        all.filter(|name| !name.contains(['*', '?', '[', '{'])).cloned().collect()
    }

    pub fn is_empty(&self) -> bool {
        self.clients.is_empty() && self.client.is_empty() && self.tag.is_empty() && !self.all
    }

    /// For commands that change hosts: no target is an error, nothing is guessed.
    ///
    /// # Errors
    /// No target (usage), or a target that matches nothing (refused).
    pub fn required<'f>(&self, fleet: &'f Fleet) -> anyhow::Result<Vec<&'f Client>> {
        self.select(fleet, self.selection())
    }

    /// For commands that only read: no target means every client that is not disabled.
    ///
    /// # Errors
    /// A target that matches nothing.
    pub fn or_all<'f>(&self, fleet: &'f Fleet) -> anyhow::Result<Vec<&'f Client>> {
        let mut selection = self.selection();
        selection.all |= self.is_empty();
        if selection.all && fleet.registry.clients.is_empty() {
            return Ok(Vec::new());
        }
        self.select(fleet, selection)
    }

    /// For commands about one client, which takes its name.
    ///
    /// # Errors
    /// A name that matches nothing, or a pattern that matches several.
    pub fn one<'f>(fleet: &'f Fleet, name: &str) -> anyhow::Result<&'f Client> {
        let targets = Targets { clients: vec![name.to_owned()], ..Targets::default() };
        match targets.required(fleet)?.as_slice() {
            [client] => Ok(client),
            many => {
                Err(refused(format!("{} means {} clients, and this is about one", shown(name), many.len()))
                    .hint("name it exactly"))
            }
        }
    }

    fn select<'f>(&self, fleet: &'f Fleet, selection: Selection) -> anyhow::Result<Vec<&'f Client>> {
        fleet.registry.select(&selection).map_err(|error| {
            let message = error.to_string();
            let wrapped = match error {
                SelectError::NoTarget => usage(message),
                _ => refused(message),
            };
            match error.hint() {
                Some(text) => wrapped.hint(text),
                None => wrapped,
            }
        })
    }
}
