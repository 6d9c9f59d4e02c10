//! One client's state as a record and as a row, from what one probe found.
//!
//! Pure: the record is what `status --json` prints and what the table is made from, so they agree.

pub mod prometheus;
pub mod sentry;

use serde::Serialize;

use crate::check::{self, Clock, Finding, State, Wanted, judge};
use crate::facts::{Container, Facts};

/// Name and version of the JSON form.
pub const SCHEMA: &str = "fleet.status/1";

#[derive(Clone, Debug, Serialize)]
pub struct Status {
    pub schema: &'static str,
    pub client: String,
    pub domain: String,
    pub reachable: bool,
    /// Why not, when it is not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
    /// Seconds until the host had answered everything.
    pub seconds: f64,
    pub provisioned: bool,
    pub os: Option<String>,
    pub release: Option<Release>,
    pub containers: Containers,
    pub http: Option<Http>,
    pub tls: Option<Tls>,
    /// Percent used of the file system below `/opt`.
    pub disk_percent: Option<u64>,
    /// Percent of memory that is not available.
    pub memory_percent: Option<u64>,
    pub load: Option<String>,
    pub reboot_required: bool,
    /// Security updates that wait, as the host last counted them.
    pub security_updates: Option<u64>,
    /// Whether cron runs, and minutes since the host's own watch last looked.
    pub cron: Option<Cron>,
    /// Seconds that its clock is ahead of this machine's, negative when behind.
    pub clock_skew: Option<i64>,
    pub backup: Option<Backup>,
    /// The operator's own last backup, as this fleet directory remembers it.
    pub pulled: Option<Pulled>,
    pub sentry: Option<Sentry>,
    /// Files of the release that were edited on the host.
    pub drift: Vec<String>,
    /// What is wrong, worst first; empty when all is well.
    pub problems: Vec<String>,
    /// Every check, for `check`.
    #[serde(skip)]
    pub findings: Vec<Finding>,
}

#[derive(Clone, Debug, Serialize)]
pub struct Release {
    pub id: String,
    pub version: String,
    /// RFC 3339, when it was committed.
    pub at: String,
    pub who: String,
}

#[derive(Clone, Debug, Default, Serialize)]
pub struct Containers {
    pub total: usize,
    pub well: usize,
    /// The ones that are not well, with what is the matter.
    pub not_well: Vec<String>,
}

#[derive(Clone, Debug, Serialize)]
pub struct Http {
    /// Status of the health address, asked on the host; 0 when nothing answered.
    pub status: u16,
    pub seconds: f64,
}

#[derive(Clone, Debug, Serialize)]
pub struct Tls {
    pub issuer: String,
    /// As openssl prints it.
    pub not_after: String,
    /// Of the one on disk.
    pub serial: String,
    /// Of the one that is served; empty when none is.
    pub served_serial: String,
    /// The certificate on disk is the one that is served.
    pub current: bool,
    /// A placeholder of our own, before the first certificate.
    pub placeholder: bool,
    /// Whole days until it expires, by the host's own clock; negative once it has.
    pub days_left: Option<i64>,
    /// Share of its lifetime that is left, 0 to 1.
    pub fraction_left: Option<f64>,
}

#[derive(Clone, Debug, Serialize)]
pub struct Cron {
    pub active: bool,
    pub watch_minutes: Option<u64>,
}

#[derive(Clone, Debug, Serialize)]
pub struct Backup {
    /// Seconds since the epoch, by the host's clock.
    pub at: u64,
    pub age_hours: u64,
    pub ok: bool,
    pub detail: String,
}

#[derive(Clone, Debug, Serialize)]
pub struct Pulled {
    /// RFC 3339.
    pub at: String,
    pub age_hours: u64,
    pub snapshot: String,
    /// When a restore proved one last.
    pub proved: Option<String>,
    /// Why the last run failed, when it did since.
    pub failure: Option<String>,
    /// Why the last proof failed, when it did since.
    pub disproof: Option<String>,
}

#[derive(Clone, Debug, Serialize)]
pub struct Sentry {
    pub status: String,
    pub environment: Option<String>,
}

/// What the status of a client is judged by.
#[derive(Clone, Debug)]
pub struct Expected {
    pub domain: String,
    pub judged: Wanted,
    /// Dotted path of Sentry's state in the health answer, whether or not the client has a DSN.
    pub sentry_path: Option<String>,
}

impl Status {
    /// A client that was not reached.
    #[must_use]
    pub fn unreachable(expected: &Expected, error: String, hint: Option<String>, seconds: f64) -> Self {
        let findings = check::unreachable(&expected.judged, &error, hint.as_deref());
        Status { error: Some(error), hint, findings, ..Status::empty(expected, seconds) }
    }

    fn empty(expected: &Expected, seconds: f64) -> Self {
        Status {
            schema: SCHEMA,
            client: expected.judged.client.clone(),
            domain: expected.domain.clone(),
            reachable: false,
            error: None,
            hint: None,
            seconds,
            provisioned: false,
            os: None,
            release: None,
            containers: Containers::default(),
            http: None,
            tls: None,
            disk_percent: None,
            memory_percent: None,
            load: None,
            reboot_required: false,
            security_updates: None,
            cron: None,
            clock_skew: None,
            backup: None,
            pulled: None,
            sentry: None,
            drift: Vec::new(),
            problems: Vec::new(),
            findings: Vec::new(),
        }
    }

    #[must_use]
    pub fn of(expected: &Expected, facts: &Facts, seconds: f64, clock: Option<Clock>) -> Self {
        let findings = judge(&expected.judged, facts, clock);
        let clean = |text: &str| crate::secret::clean(text).into_owned();
        Status {
            reachable: true,
            provisioned: facts.state.is_some(),
            os: facts.value("os_name").map(clean),
            release: facts.state.as_ref().map(|state| Release {
                id: clean(&state.release),
                version: clean(&state.version),
                at: clean(&state.at),
                who: clean(&state.who),
            }),
            containers: containers(&facts.containers),
            http: facts.http().map(|(status, seconds)| Http { status, seconds }),
            tls: tls(facts),
            // As df counts, which leaves out what is reserved for root.
            disk_percent: facts.number("disk_percent").filter(|percent| *percent <= 100),
            memory_percent: facts.memory_percent(),
            load: facts.value("load").map(clean),
            reboot_required: facts.value("reboot_required").is_some(),
            security_updates: facts.number("security_updates"),
            cron: facts.units.get("cron.service").map(|unit| Cron {
                active: unit.active == "active",
                watch_minutes: facts.watch_silent().map(|seconds| seconds / 60),
            }),
            clock_skew: clock.and_then(|clock| clock.skew(facts)),
            backup: facts.dump().map(Backup::from),
            sentry: expected
                .sentry_path
                .as_deref()
                .and_then(|path| facts.sentry(path))
                .map(|(status, environment)| Sentry { status, environment }),
            drift: facts.drift.iter().map(|path| clean(path)).collect(),
            problems: findings
                .iter()
                .filter(|finding| finding.state == State::Failing)
                .map(|finding| finding.text.clone())
                .collect(),
            findings,
            ..Status::empty(expected, seconds)
        }
    }

    /// The same with what is remembered of the operator's backups.
    #[must_use]
    pub fn with_pulled(mut self, pulled: Option<Pulled>) -> Self {
        self.pulled = pulled;
        self
    }

    /// Whether anything is wrong.
    #[must_use]
    pub fn well(&self) -> bool {
        self.reachable && self.problems.is_empty()
    }
}

fn containers(found: &[Container]) -> Containers {
    let not_well: Vec<String> = found
        .iter()
        .filter(|container| !container.well())
        .map(|container| {
            let state = if container.status == "running" { &container.health } else { &container.status };
            crate::secret::clean(&format!("{} {state}", container.service)).into_owned()
        })
        .collect();
    Containers { total: found.len(), well: found.len() - not_well.len(), not_well }
}

fn tls(facts: &Facts) -> Option<Tls> {
    let value = |key: &str| crate::secret::clean(facts.value(key).unwrap_or_default()).into_owned();
    facts.value("disk_serial")?;
    Some(Tls {
        issuer: value("disk_issuer"),
        not_after: value("disk_not_after"),
        serial: value("disk_serial"),
        served_serial: value("served_serial"),
        current: facts.value("served_serial") == facts.value("disk_serial"),
        placeholder: facts.value("disk_issuer").is_some_and(|issuer| issuer.contains("fleet placeholder")),
        days_left: facts.certificate_left("disk").map(|seconds| seconds.div_euclid(86_400)),
        fraction_left: facts
            .certificate_fraction("disk")
            .map(|fraction| (fraction * 1000.0).round() / 1000.0),
    })
}

impl From<crate::facts::Dump> for Backup {
    fn from(dump: crate::facts::Dump) -> Self {
        Backup { at: dump.at, age_hours: dump.age_hours, ok: dump.ok, detail: dump.detail }
    }
}

#[cfg(test)]
mod tests;
