//! The one versioned stream of what happens in a run, and the report folded from it.
//!
//! The engine only emits events; every renderer (bars, lines, JSON, journal) only reads them.
//! Each host that a run takes up ends in exactly one [`EventKind::HostFinished`], and each run in
//! exactly one [`EventKind::RunFinished`], whatever goes wrong.

use serde::{Deserialize, Serialize};

use crate::plan::waves::Tally;

/// Name and version of the JSON form. A field may be added within a version, never renamed.
pub const SCHEMA: &str = "fleet.event/1";

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Event {
    pub schema: String,
    /// RFC 3339, UTC, milliseconds.
    pub at: String,
    pub run: String,
    /// `None` for what concerns the whole run.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub client: Option<String>,
    #[serde(flatten)]
    pub kind: EventKind,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "kebab-case")]
pub enum EventKind {
    RunStarted {
        verb: String,
        /// `user@host` of the operator.
        who: String,
        clients: Vec<String>,
        /// Stands for the operator's machine since it was last started.
        #[serde(skip_serializing_if = "Option::is_none", default)]
        machine: Option<String>,
    },
    /// Taken up: connecting begins.
    HostStarted,
    /// Logged in; `recorded` when the host key was met for the first time.
    HostConnected {
        host_key: String,
        recorded: bool,
        seconds: f64,
    },
    /// A stage of a host is planned: `steps` of them are about to run.
    StagePlanned {
        stage: String,
        steps: usize,
        /// Release that it works towards.
        #[serde(skip_serializing_if = "Option::is_none", default)]
        release: Option<String>,
    },
    StepStarted {
        stage: String,
        step: String,
        /// From 1 within the stage.
        index: usize,
        total: usize,
    },
    /// Something measurable within the running step, such as bytes sent.
    StepProgress {
        done: u64,
        total: Option<u64>,
    },
    /// One line that the host printed, cleaned of control characters and secrets.
    Output {
        stream: OutputStream,
        line: String,
    },
    StepFinished {
        step: String,
        seconds: f64,
        result: StepResult,
    },
    /// An image is being built on the operator's machine, for all clients that need it.
    ImageBuilding {
        image: String,
        platform: String,
    },
    ImageBuilt {
        image: String,
        platform: String,
        seconds: f64,
        layers: usize,
        /// Of all layers, compressed.
        bytes: u64,
    },
    /// A service that is stopped first was replaced: from the end of the old container until the new one
    /// was healthy.
    ServiceAway {
        service: String,
        seconds: f64,
    },
    /// Worth saying, fatal to nothing.
    Warning {
        message: String,
        #[serde(skip_serializing_if = "Option::is_none", default)]
        hint: Option<String>,
    },
    HostFinished {
        #[serde(flatten)]
        outcome: Outcome,
        seconds: f64,
    },
    RunFinished {
        exit: u8,
        seconds: f64,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OutputStream {
    Stdout,
    Stderr,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum StepResult {
    Done,
    Failed,
    /// Its time passed here; the host may have finished it.
    Unknown,
    /// Not started: an earlier step failed or the run was interrupted.
    Skipped,
}

/// The step of a [`Fault`] that was found before the host was touched.
pub const PLANNING: &str = "plan";

/// What went wrong, where, why, and what to do next.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fault {
    /// Title of the step, or "connect".
    pub step: String,
    pub message: String,
    /// Last lines that the host printed, cleaned.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub lines: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub hint: Option<String>,
}

/// How one client ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "outcome", rename_all = "kebab-case")]
pub enum Outcome {
    Unchanged,
    Changed {
        /// One line: what is there now.
        summary: String,
    },
    Failed {
        fault: Fault,
    },
    RolledBack {
        fault: Fault,
        /// Release that serves again.
        release: String,
    },
    Unreachable {
        fault: Fault,
    },
    Unknown {
        fault: Fault,
    },
    Skipped {
        reason: String,
        /// By the operator's own rule, such as an update window: nothing is wrong.
        #[serde(default)]
        expected: bool,
    },
    /// Someone else's lease is on the host.
    Locked {
        holder: String,
        expires: String,
    },
}

impl Outcome {
    /// Left out against the operator's wish.
    pub fn skipped(reason: impl Into<String>) -> Outcome {
        Outcome::Skipped { reason: reason.into(), expected: false }
    }

    /// The word that tables, history and JSON use.
    #[must_use]
    pub fn word(&self) -> &'static str {
        match self {
            Outcome::Unchanged => "unchanged",
            Outcome::Changed { .. } => "changed",
            Outcome::Failed { .. } => "failed",
            Outcome::RolledBack { .. } => "rolled back",
            Outcome::Unreachable { .. } => "unreachable",
            Outcome::Unknown { .. } => "unknown",
            Outcome::Skipped { .. } => "skipped",
            Outcome::Locked { .. } => "locked",
        }
    }

    #[must_use]
    pub fn fault(&self) -> Option<&Fault> {
        match self {
            Outcome::Failed { fault }
            | Outcome::RolledBack { fault, .. }
            | Outcome::Unreachable { fault }
            | Outcome::Unknown { fault } => Some(fault),
            Outcome::Unchanged
            | Outcome::Changed { .. }
            | Outcome::Skipped { .. }
            | Outcome::Locked { .. } => None,
        }
    }
}

/// Exit codes of the program, the same for every command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum ExitKind {
    Ok = 0,
    ClientFailed = 1,
    Usage = 2,
    Refused = 3,
    NoneReachable = 4,
    PendingChanges = 5,
    Locked = 6,
    Interrupted = 130,
}

/// Everything that a finished run came to, folded from its events.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Report {
    pub run: String,
    pub verb: String,
    pub hosts: Vec<HostReport>,
    /// Message and hint of what concerns the whole run.
    pub warnings: Vec<(String, Option<String>)>,
    /// Of the whole run.
    pub seconds: f64,
    pub interrupted: bool,
}

#[derive(Clone, Debug, PartialEq)]
pub struct HostReport {
    pub client: String,
    pub outcome: Outcome,
    pub seconds: f64,
    pub recorded_host_key: Option<String>,
    pub warnings: Vec<(String, Option<String>)>,
    /// Services that were stopped first, and the seconds that each was away.
    pub away: Vec<(String, f64)>,
}

impl Report {
    /// Takes one more event in. Order between hosts does not matter.
    pub fn fold(&mut self, event: &Event) {
        match (&event.kind, &event.client) {
            (EventKind::RunStarted { verb, clients, .. }, _) => {
                self.run.clone_from(&event.run);
                self.verb.clone_from(verb);
                self.hosts = clients.iter().map(|name| HostReport::pending(name)).collect();
            }
            (EventKind::RunFinished { exit, seconds }, _) => {
                self.seconds = *seconds;
                self.interrupted = *exit == ExitKind::Interrupted as u8;
            }
            (kind, Some(client)) => {
                if let Some(host) = self.hosts.iter_mut().find(|host| host.client == *client) {
                    host.fold(kind);
                }
            }
            (EventKind::Warning { message, hint }, None) => {
                self.warnings.push((message.clone(), hint.clone()));
            }
            (_, None) => {}
        }
    }

    /// Clients that ended badly so far.
    #[must_use]
    pub fn tally(&self) -> Tally {
        let mut tally = Tally::default();
        for host in &self.hosts {
            match &host.outcome {
                Outcome::Failed { .. } | Outcome::RolledBack { .. } | Outcome::Unknown { .. } => {
                    tally.failed += 1
                }
                Outcome::Unreachable { .. } => tally.unreachable += 1,
                Outcome::Unchanged
                | Outcome::Changed { .. }
                | Outcome::Skipped { .. }
                | Outcome::Locked { .. } => {}
            }
        }
        tally
    }

    #[must_use]
    pub fn exit(&self) -> ExitKind {
        exit_of(self.hosts.iter().map(|host| &host.outcome), self.interrupted)
    }
}

impl HostReport {
    fn pending(client: &str) -> Self {
        HostReport {
            client: client.to_owned(),
            outcome: Outcome::skipped("not reached before the end of the run"),
            seconds: 0.0,
            recorded_host_key: None,
            warnings: Vec::new(),
            away: Vec::new(),
        }
    }

    fn fold(&mut self, kind: &EventKind) {
        match kind {
            EventKind::HostFinished { outcome, seconds } => {
                self.outcome.clone_from(outcome);
                self.seconds = *seconds;
            }
            EventKind::HostConnected { host_key, recorded: true, .. } => {
                self.recorded_host_key = Some(host_key.clone());
            }
            EventKind::Warning { message, hint } => self.warnings.push((message.clone(), hint.clone())),
            EventKind::ServiceAway { service, seconds } => {
                // Twice where a release was taken back: it was away for both.
                match self.away.iter_mut().find(|(known, _)| known == service) {
                    Some((_, sum)) => *sum += seconds,
                    None => self.away.push((service.clone(), *seconds)),
                }
            }
            _ => {}
        }
    }
}

/// The exit code of a run from the outcomes of its clients.
pub fn exit_of<'a>(outcomes: impl Iterator<Item = &'a Outcome>, interrupted: bool) -> ExitKind {
    if interrupted {
        return ExitKind::Interrupted;
    }
    let (mut total, mut failed, mut unreachable, mut locked, mut refused) = (0, 0, 0, 0, 0);
    for outcome in outcomes {
        total += 1;
        match outcome {
            Outcome::Unchanged | Outcome::Changed { .. } | Outcome::Skipped { expected: true, .. } => {}
            Outcome::Failed { fault } if fault.step == PLANNING => refused += 1,
            Outcome::Failed { .. }
            | Outcome::RolledBack { .. }
            | Outcome::Unknown { .. }
            | Outcome::Skipped { .. } => failed += 1,
            Outcome::Unreachable { .. } => unreachable += 1,
            Outcome::Locked { .. } => locked += 1,
        }
    }
    match (failed, unreachable, locked, refused) {
        (0, 0, 0, 0) => ExitKind::Ok,
        (0, n, 0, 0) if n == total => ExitKind::NoneReachable,
        (0, 0, _, 0) => ExitKind::Locked,
        (0, 0, 0, n) if n == total => ExitKind::Refused,
        _ => ExitKind::ClientFailed,
    }
}

#[cfg(test)]
pub(crate) mod json_tests;

#[cfg(test)]
mod tests;
