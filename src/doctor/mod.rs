//! What may go wrong before it does: findings of `fleet doctor`, each with its remedy.
//!
//! Pure: what was looked at comes in as values, here and from hosts.

mod budget;
mod host;
mod local;
mod outside;

pub use budget::{budget, registered};
pub use host::{Asked, Port, Reach, host};
pub use local::{Exposed, clock, exposed, resolved, settings};
pub use outside::{Outside, outside, unreached};

use serde::Serialize;

use crate::event::ExitKind;

/// Name and version of the JSON form.
pub const SCHEMA: &str = "fleet.doctor/1";

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Severity {
    /// Something does not work, or will not.
    Error,
    /// It works, and something about it may cost you later.
    Warning,
}

/// What part of the fleet a finding is about; the exit code is made from it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Area {
    /// The registry, a stack, a client's values.
    Registry,
    Secrets,
    /// Programs and files of this machine.
    Here,
    /// Names and addresses.
    Dns,
    /// The way from here to a host.
    Reach,
    Host,
    Certificate,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    pub severity: Severity,
    pub area: Area,
    /// None for the fleet as a whole.
    pub client: Option<String>,
    /// What is wrong, and where.
    pub what: String,
    /// What it leads to; may be empty.
    pub why: String,
    pub remedy: String,
}

impl Finding {
    #[must_use]
    pub fn error(area: Area, what: impl Into<String>) -> Finding {
        let (what, why, remedy) = (what.into(), String::new(), String::new());
        Finding { severity: Severity::Error, area, client: None, what, why, remedy }
    }

    #[must_use]
    pub fn warning(area: Area, what: impl Into<String>) -> Finding {
        Finding { severity: Severity::Warning, ..Finding::error(area, what) }
    }

    #[must_use]
    pub fn of(mut self, client: &str) -> Finding {
        self.client = Some(client.to_owned());
        self
    }

    #[must_use]
    pub fn why(mut self, why: impl Into<String>) -> Finding {
        self.why = why.into();
        self
    }

    #[must_use]
    pub fn remedy(mut self, remedy: impl Into<String>) -> Finding {
        self.remedy = remedy.into();
        self
    }
}

/// The exit code: what keeps every command from beginning is worth 3; `asked` and `reached` count hosts.
#[must_use]
pub fn exit(findings: &[Finding], asked: usize, reached: usize) -> ExitKind {
    let errors = || findings.iter().filter(|finding| finding.severity == Severity::Error);
    if errors().any(|finding| matches!(finding.area, Area::Registry | Area::Secrets)) {
        ExitKind::Refused
    } else if asked > 0 && reached == 0 {
        ExitKind::NoneReachable
    } else if errors().next().is_some() {
        ExitKind::ClientFailed
    } else {
        ExitKind::Ok
    }
}

/// Errors first, then by client; the fleet as a whole before its clients.
pub fn sort(findings: &mut [Finding]) {
    findings.sort_by(|a, b| (a.severity, &a.client, a.area).cmp(&(b.severity, &b.client, b.area)));
}

#[cfg(test)]
mod tests;
