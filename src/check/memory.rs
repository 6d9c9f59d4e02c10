//! What is known of failing checks from run to run, and what a run has to tell.
//!
//! A check that is well has no entry. A check that is unknown keeps the entry it has: a host that does not answer
//! neither adds to a fault nor mends it.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::{Finding, State};

/// Name and version of the file's form.
pub const SCHEMA: &str = "fleet.check-state/1";

/// `.fleet/checks.json`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Memory {
    pub schema: String,
    /// By client, then by check.
    pub failing: BTreeMap<String, BTreeMap<String, Failing>>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failing {
    /// First run that found it, in seconds since the epoch.
    pub since: i64,
    /// Runs in a row.
    pub count: u32,
    /// Somebody was told.
    pub told: bool,
    pub text: String,
}

/// Something to tell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    pub client: String,
    pub check: String,
    /// What is wrong; `None` when it is well again.
    pub text: Option<String>,
    pub remedy: String,
    /// Seconds that it lasted, or lasts.
    pub seconds: i64,
}

impl Memory {
    /// Takes one client's findings in; `after` is how many runs in a row must fail before it is told.
    pub fn fold(&mut self, client: &str, findings: &[Finding], after: u32, now: i64) -> Vec<Change> {
        let mut known = self.failing.remove(client).unwrap_or_default();
        let mut left = BTreeMap::new();
        let mut changes = Vec::new();
        for finding in findings {
            let before = known.remove(&finding.check);
            match (finding.state, before) {
                (State::Unknown, Some(entry)) => drop(left.insert(finding.check.clone(), entry)),
                (State::Unknown | State::Well, None) => {}
                (State::Well, Some(entry)) if entry.told => changes.push(Change {
                    client: client.to_owned(),
                    check: finding.check.clone(),
                    text: None,
                    remedy: String::new(),
                    seconds: now.saturating_sub(entry.since).max(0),
                }),
                (State::Well, Some(_)) => {}
                (State::Failing, before) => {
                    let first = || Failing { since: now, count: 0, told: false, text: String::new() };
                    let mut entry = before.unwrap_or_else(first);
                    entry.count = entry.count.saturating_add(1);
                    entry.text.clone_from(&finding.text);
                    if !entry.told && entry.count >= after {
                        entry.told = true;
                        changes.push(Change {
                            client: client.to_owned(),
                            check: finding.check.clone(),
                            text: Some(finding.text.clone()),
                            remedy: finding.remedy.clone(),
                            seconds: now.saturating_sub(entry.since).max(0),
                        });
                    }
                    left.insert(finding.check.clone(), entry);
                }
            }
        }
        // What is left in `known` is not checked any more: it ends without a word.
        if !left.is_empty() {
            self.failing.insert(client.to_owned(), left);
        }
        changes
    }

    /// Forgets clients that the registry does not have.
    pub fn keep(&mut self, clients: &BTreeSet<&str>) {
        self.failing.retain(|client, _| clients.contains(client.as_str()));
    }

    /// When a check that fails began to.
    #[must_use]
    pub fn since(&self, client: &str, check: &str) -> Option<i64> {
        Some(self.failing.get(client)?.get(check)?.since)
    }
}
