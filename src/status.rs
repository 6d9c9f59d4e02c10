//! One client's state as a record and as a row, from what one probe found.
//!
//! Pure: the record is what `status --json` prints and what the table is made from, so they agree.

use serde::Serialize;

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
    pub backup: Option<Backup>,
    /// The operator's own last backup, as this fleet directory remembers it.
    pub pulled: Option<Pulled>,
    pub sentry: Option<Sentry>,
    /// Files of the release that were edited on the host.
    pub drift: Vec<String>,
    /// What is wrong, worst first; empty when all is well.
    pub problems: Vec<String>,
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
    pub serial: String,
    /// The certificate on disk is the one that is served.
    pub current: bool,
    /// A placeholder of our own, before the first certificate.
    pub placeholder: bool,
    /// Whole days until it expires, by the host's own clock; negative once it has.
    pub days_left: Option<i64>,
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
}

#[derive(Clone, Debug, Serialize)]
pub struct Sentry {
    pub status: String,
    pub environment: Option<String>,
}

/// What the status of a client is judged by.
#[derive(Clone, Debug)]
pub struct Expected {
    pub client: String,
    pub domain: String,
    pub http_status: Option<u16>,
    pub tls: bool,
    /// Dotted path of Sentry's state in the health answer.
    pub sentry_path: Option<String>,
}

const DISK_FULL: u64 = 90;

impl Status {
    /// A client that was not reached.
    #[must_use]
    pub fn unreachable(expected: &Expected, error: String, hint: Option<String>, seconds: f64) -> Self {
        Status { error: Some(error), hint, ..Status::empty(expected, seconds) }
    }

    fn empty(expected: &Expected, seconds: f64) -> Self {
        Status {
            schema: SCHEMA,
            client: expected.client.clone(),
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
            backup: None,
            pulled: None,
            sentry: None,
            drift: Vec::new(),
            problems: Vec::new(),
        }
    }

    #[must_use]
    pub fn of(expected: &Expected, facts: &Facts, seconds: f64) -> Self {
        let clean = |text: &str| crate::secret::clean(text).into_owned();
        let mut status = Status {
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
            memory_percent: percent(facts.number("MemTotal"), facts.number("MemAvailable")),
            load: facts.value("load").map(clean),
            reboot_required: facts.value("reboot_required").is_some(),
            backup: backup(facts),
            sentry: expected.sentry_path.as_deref().and_then(|path| sentry(facts, path)),
            drift: facts.drift.iter().map(|path| clean(path)).collect(),
            ..Status::empty(expected, seconds)
        };
        status.problems = problems(expected, &status);
        status
    }

    /// The same with what is remembered of the operator's backups.
    #[must_use]
    pub fn with_pulled(mut self, pulled: Option<Pulled>) -> Self {
        if let Some(failure) = pulled.as_ref().and_then(|pulled| pulled.failure.as_ref()) {
            self.problems.push(format!("backup failed: {failure}"));
        }
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
        current: facts.value("served_serial") == facts.value("disk_serial"),
        placeholder: facts.value("disk_issuer").is_some_and(|issuer| issuer.contains("fleet placeholder")),
        days_left: facts.certificate_left("disk").map(|seconds| seconds.div_euclid(86_400)),
    })
}

fn percent(total: Option<u64>, free: Option<u64>) -> Option<u64> {
    let (total, free) = (total?, free?);
    // Numbers of a host may be of any size.
    let used = 100 - u128::from(free.min(total)) * 100 / u128::from(total.max(1));
    (total > 0).then(|| u64::try_from(used).unwrap_or(100))
}

fn backup(facts: &Facts) -> Option<Backup> {
    let mut words = facts.value("backup")?.split(' ');
    let at = words.next()?.parse::<u64>().ok()?;
    let ok = words.next() == Some("ok");
    let detail = crate::secret::clean(&words.collect::<Vec<_>>().join(" ")).into_owned();
    let age_hours = facts.number("clock").unwrap_or(at).saturating_sub(at) / 3600;
    Some(Backup { at, age_hours, ok, detail })
}

fn sentry(facts: &Facts, path: &str) -> Option<Sentry> {
    let body = facts.http_json()?;
    let found = path.split('.').try_fold(&body, |value, key| value.get(key))?;
    let text = |key: &str| {
        found.get(key).and_then(|value| value.as_str()).map(|text| crate::secret::clean(text).into_owned())
    };
    let status =
        text("status").or_else(|| found.as_str().map(|text| crate::secret::clean(text).into_owned()))?;
    Some(Sentry { status, environment: text("environment") })
}

fn problems(expected: &Expected, status: &Status) -> Vec<String> {
    let mut list = Vec::new();
    if !status.provisioned {
        list.push("not provisioned".to_owned());
        return list;
    }
    if let Some(wanted) = expected.http_status {
        match &status.http {
            Some(http) if http.status == wanted => {}
            Some(http) if http.status > 0 => list.push(format!("health answers HTTP {}", http.status)),
            Some(_) | None => list.push("health does not answer".to_owned()),
        }
    }
    list.extend(status.containers.not_well.iter().cloned());
    if status.containers.total == 0 {
        list.push("no containers".to_owned());
    }
    if expected.tls {
        match &status.tls {
            None => list.push("no certificate".to_owned()),
            Some(tls) if tls.placeholder => list.push("placeholder certificate".to_owned()),
            Some(tls) if tls.days_left.is_some_and(|days| days < 0) => {
                list.push("certificate expired".to_owned());
            }
            Some(tls) if !tls.current => list.push("certificate on disk is not served".to_owned()),
            Some(_) => {}
        }
    }
    list.extend(status.drift.iter().map(|path| format!("edited on the host: {path}")));
    if let Some(percent) = status.disk_percent.filter(|percent| *percent >= DISK_FULL) {
        list.push(format!("disk {percent}% full"));
    }
    if let Some(backup) = &status.backup
        && !backup.ok
    {
        list.push(format!("nightly dump failed: {}", backup.detail));
    }
    if status.reboot_required {
        list.push("reboot required".to_owned());
    }
    list
}

#[cfg(test)]
mod tests;
