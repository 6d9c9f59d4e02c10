//! What facts say when they are read together.

use base64::Engine as _;

use super::Facts;

/// The newest nightly dump of a host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dump {
    /// Seconds since the epoch, by the host's clock.
    pub at: u64,
    pub age_hours: u64,
    pub ok: bool,
    /// Its name and size, or why it failed.
    pub detail: String,
}

/// The service that reports to Sentry, as it runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reporter {
    /// Of its DSN; of nothing where it has none.
    pub dsn_sha256: String,
    pub release: Option<String>,
    /// The newest line of its log that says that it reports.
    pub log: Option<String>,
}

impl Facts {
    #[must_use]
    pub fn dump(&self) -> Option<Dump> {
        let mut words = self.value("backup")?.split(' ');
        let at = words.next()?.parse::<u64>().ok()?;
        let ok = words.next() == Some("ok");
        let detail = crate::secret::clean(&words.collect::<Vec<_>>().join(" ")).into_owned();
        let age_hours = self.number("clock").unwrap_or(at).saturating_sub(at) / 3600;
        Some(Dump { at, age_hours, ok, detail })
    }

    /// Percent of memory that is not available.
    #[must_use]
    pub fn memory_percent(&self) -> Option<u64> {
        let (total, free) = (self.number("MemTotal")?, self.number("MemAvailable")?);
        // Numbers of a host may be of any size.
        let used = 100 - u128::from(free.min(total)) * 100 / u128::from(total.max(1));
        (total > 0).then(|| u64::try_from(used).unwrap_or(100))
    }

    /// Seconds since the host's own watch last looked; `None` when it never did.
    #[must_use]
    pub fn watch_silent(&self) -> Option<u64> {
        let at = self.value("check")?.split(' ').next()?.parse::<u64>().ok()?;
        Some(self.number("clock")?.saturating_sub(at))
    }

    /// Hours since the current release was committed, by the host's clock.
    #[must_use]
    pub fn state_age_hours(&self) -> Option<u64> {
        let at = self.state.as_ref()?.at.parse::<jiff::Timestamp>().ok()?.as_second();
        let now = i64::try_from(self.number("clock")?).ok()?;
        u64::try_from(now.saturating_sub(at)).ok().map(|seconds| seconds / 3600)
    }

    /// Whether the certificate of a prefix (`live`, `disk`, `served`) is past its last day, by the
    /// host's own clock. One without a date that can be read is not.
    #[must_use]
    pub fn expired(&self, prefix: &str) -> bool {
        self.certificate_left(prefix).is_some_and(|left| left <= 0)
    }

    /// Seconds that a certificate has left, by the host's own clock; negative when it is expired.
    #[must_use]
    pub fn certificate_left(&self, prefix: &str) -> Option<i64> {
        let at = self.date(&format!("{prefix}_not_after"))?;
        Some(at.saturating_sub(i64::try_from(self.number("clock")?).ok()?))
    }

    /// A date as openssl prints it: `Feb  8 10:00:00 2027 GMT`.
    fn date(&self, key: &str) -> Option<i64> {
        let at = jiff::civil::DateTime::strptime("%b %d %H:%M:%S %Y GMT", self.value(key)?).ok()?;
        Some(at.to_zoned(jiff::tz::TimeZone::UTC).ok()?.timestamp().as_second())
    }

    /// Share of a certificate's lifetime that is left, 0 to 1, by the host's clock. `None` without both dates.
    #[must_use]
    pub fn certificate_fraction(&self, prefix: &str) -> Option<f64> {
        let left = self.certificate_left(prefix)?;
        let life = self.date(&format!("{prefix}_not_after"))? - self.date(&format!("{prefix}_not_before"))?;
        (life > 0).then(|| (left as f64 / life as f64).clamp(0.0, 1.0))
    }

    /// What the service that reports to Sentry runs with; `None` where it was not asked or does not run.
    #[must_use]
    pub fn reporter(&self) -> Option<Reporter> {
        let dsn = self.value("sentry_dsn")?.to_owned();
        let log = self
            .value("sentry_log")
            .and_then(|text| base64::engine::general_purpose::STANDARD.decode(text).ok());
        Some(Reporter {
            dsn_sha256: dsn,
            release: self.value("sentry_release").map(|text| crate::secret::clean(text).into_owned()),
            log: log.map(|line| crate::secret::clean_bytes(&line).trim().to_owned()),
        })
    }

    /// State and environment that the application tells of its Sentry, at a dotted path of the health answer.
    #[must_use]
    pub fn sentry(&self, path: &str) -> Option<(String, Option<String>)> {
        let body = self.http_json()?;
        let found = path.split('.').try_fold(&body, |value, key| value.get(key))?;
        let plain = |text: &str| crate::secret::clean(text).into_owned();
        let text = |key: &str| found.get(key).and_then(|value| value.as_str()).map(plain);
        let status = text("status").or_else(|| found.as_str().map(plain))?;
        Some((status, text("environment")))
    }
}
