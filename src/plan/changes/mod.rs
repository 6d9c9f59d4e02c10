//! What a new release changes on one host, for whoever reads the plan: files as differences with
//! every secret masked, services and why each is replaced, migrations that are pending.
//!
//! What the host has comes from the host: it is data, bounded, cleaned and masked before it is
//! compared line by line.

mod compose;
mod services;
mod text;

use std::collections::{BTreeMap, BTreeSet};

use super::Desired;
use crate::facts::Facts;
use crate::secret::Redactor;

pub use services::{Action, Image, ServiceChange};

/// Everything that a new release changes on one host.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Changes {
    /// Files that are not as they were, in the order of stack.toml; those that go away last.
    pub files: Vec<FileChange>,
    /// Every service of the release, in the order of the Compose file.
    pub services: Vec<ServiceChange>,
    /// Names of the pending migrations, in order.
    pub migrations: Vec<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    New,
    Changed,
    Removed,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileChange {
    /// Within the release.
    pub path: String,
    pub kind: Kind,
    /// It carries secrets: their values are never shown, not even by a digest.
    pub secret: bool,
    pub diff: Diff,
}

/// A difference in lines, masked and bounded.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Diff {
    /// Unified, without a header; each begins with ` `, `+`, `-` or `@`.
    pub lines: Vec<String>,
    pub added: usize,
    pub removed: usize,
    /// Why there are no more lines, or none at all.
    pub note: Option<String>,
}

/// Compares the release that a host has with the wanted one. Nothing to say when it has that one
/// already, or none.
#[must_use]
pub fn of(desired: &Desired, facts: &Facts, redactor: &Redactor) -> Changes {
    let masks = text::Masks { redactor, plain: &desired.plain };
    let first = facts.state.is_none();
    let mut files = Vec::new();
    let mut names = BTreeSet::new();
    for (path, file) in desired.rendered() {
        names.insert(path);
        let (kind, diff) = match facts.old.get(path) {
            Some(old) => (Kind::Changed, text::diff(&masks, old, file)),
            None if !first && facts.written.contains(path) => continue,
            None => (Kind::New, text::new(&masks, file)),
        };
        // A client's first release is new as a whole; `fleet render` shows it.
        let diff = if first { Diff { lines: Vec::new(), ..diff } } else { diff };
        files.push(FileChange { path: path.to_owned(), kind, secret: file.secret, diff });
    }
    for path in facts.written.iter().filter(|path| !names.contains(path.as_str())) {
        let path = crate::secret::clean(path).into_owned();
        // Whether it carried secrets is not known any more, so nothing of it is shown.
        files.push(FileChange { path, kind: Kind::Removed, secret: true, diff: Diff::default() });
    }
    Changes { files, services: services::of(desired, facts), migrations: pending(desired, facts) }
}

/// Whether a service is replaced by what the host would have now; `None` when that cannot be told
/// from the files.
pub(super) fn replaces(desired: &Desired, facts: &Facts, service: &str) -> Option<bool> {
    services::replaces(desired, facts, service)
}

fn pending(desired: &Desired, facts: &Facts) -> Vec<String> {
    let none = BTreeMap::new();
    let applied = facts.migrations.as_ref().unwrap_or(&none);
    let list = desired.release.migrations.iter().filter(|one| !applied.contains_key(&one.name));
    list.filter(|_| desired.release.database.is_some()).map(|one| one.name.clone()).collect()
}

#[cfg(test)]
mod tests;
