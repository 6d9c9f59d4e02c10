//! Is a client well? One judgement for `status`, `check` and what is told of them.
//!
//! Pure: [`judge`] makes findings from one probe's facts and a client's limits; [`Memory`] folds the findings of
//! run after run into what has to be told. The clock comes in as a number.

mod judge;
mod memory;
mod pulled;

pub use judge::{Clock, Wanted, judge, sentry_is_on, unreachable};
pub use memory::{Change, Memory, SCHEMA as MEMORY_SCHEMA};
pub use pulled::Pulled;

use std::collections::BTreeSet;

use serde::Serialize;

use crate::registry::Checks;

/// Name and version of the JSON form of one client's checks.
pub const SCHEMA: &str = "fleet.check/1";

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    pub check: String,
    pub state: State,
    /// What is wrong; empty when nothing is.
    pub text: String,
    /// What to do about it; empty when nothing is wrong.
    pub remedy: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    Well,
    Failing,
    /// Something else that is wrong hides it.
    Unknown,
}

/// What a check warns at: the client's own word, or the usual.
#[derive(Clone, Debug, PartialEq)]
pub struct Limits {
    /// Percent used of the file system below `/opt`.
    pub disk_percent: u8,
    /// Percent of memory that is not available.
    pub memory_percent: u8,
    /// Load of the last 15 minutes for each processor.
    pub load: f64,
    /// Share of the certificate's lifetime that must be left. certbot renews at a third.
    pub certificate_fraction: f64,
    /// Age of the host's newest nightly dump.
    pub backup_age_hours: u32,
    /// Age of the operator's own last backup.
    pub pulled_age_hours: u32,
    /// Age of the last proof by a restore, in days.
    pub proof_age_days: u32,
    /// Difference between the host's clock and this machine's, in seconds.
    pub clock_skew: u32,
    /// How long a reboot may wait, in days.
    pub reboot_days: u32,
    /// Checks in a row that must fail before it is told.
    pub after: u32,
    /// Checks that are not made.
    pub off: BTreeSet<String>,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            disk_percent: 90,
            memory_percent: 95,
            load: 4.0,
            certificate_fraction: 0.25,
            backup_age_hours: 26,
            pulled_age_hours: 30,
            proof_age_days: 35,
            clock_skew: 30,
            reboot_days: 7,
            after: 2,
            off: BTreeSet::new(),
        }
    }
}

impl Limits {
    #[must_use]
    pub fn of(checks: &Checks) -> Limits {
        let usual = Limits::default();
        Limits {
            disk_percent: checks.disk_percent.unwrap_or(usual.disk_percent),
            memory_percent: checks.memory_percent.unwrap_or(usual.memory_percent),
            load: checks.load.unwrap_or(usual.load),
            certificate_fraction: checks.certificate_fraction.unwrap_or(usual.certificate_fraction),
            backup_age_hours: checks.backup_age_hours.unwrap_or(usual.backup_age_hours),
            pulled_age_hours: checks.pulled_age_hours.unwrap_or(usual.pulled_age_hours),
            proof_age_days: checks.proof_age_days.unwrap_or(usual.proof_age_days),
            clock_skew: checks.clock_skew.unwrap_or(usual.clock_skew),
            reboot_days: checks.reboot_days.unwrap_or(usual.reboot_days),
            after: checks.after.unwrap_or(usual.after),
            off: checks.off.iter().flatten().cloned().collect(),
        }
    }
}

#[cfg(test)]
mod tests;
