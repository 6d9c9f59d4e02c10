//! The same records as metrics, in the text form of Prometheus, for a textfile collector.
//!
//! Names and units are as its naming conventions have them: base units, ratios from 0 to 1, times in seconds since the
//! epoch. A value that is not known has no sample. docs/monitoring.md lists them.

use std::fmt::Write as _;

use jiff::Timestamp;

use super::Status;
use crate::check::State;

/// Name, help, and what a client's samples are: labels beside the client's own, and a value.
type Family = (&'static str, &'static str, fn(&Status) -> Vec<Sample>);
type Sample = (Vec<(&'static str, String)>, f64);

fn one(value: impl Into<Option<f64>>) -> Vec<Sample> {
    value.into().map(|value| (Vec::new(), value)).into_iter().collect()
}

fn yes(value: bool) -> f64 {
    f64::from(u8::from(value))
}

/// A share of a hundred as one of one.
fn ratio(percent: Option<u64>) -> Vec<Sample> {
    one(percent.map(|percent| percent as f64 / 100.0))
}

fn time(text: &str) -> Option<f64> {
    Some(text.parse::<Timestamp>().ok()?.as_second() as f64)
}

/// A date as openssl prints it.
fn date(text: &str) -> Option<f64> {
    let at = jiff::civil::DateTime::strptime("%b %d %H:%M:%S %Y GMT", text).ok()?;
    Some(at.to_zoned(jiff::tz::TimeZone::UTC).ok()?.timestamp().as_second() as f64)
}

const FAMILIES: &[Family] = &[
    ("fleet_client_reachable", "Whether the client answered.", |s| one(yes(s.reachable))),
    ("fleet_client_well", "Whether nothing is wrong with the client.", |s| one(yes(s.well()))),
    ("fleet_client_provisioned", "Whether a release was ever committed.", |s| {
        one(s.reachable.then(|| yes(s.provisioned)))
    }),
    ("fleet_client_answer_seconds", "Time until the client had answered everything.", |s| one(s.seconds)),
    ("fleet_check_failing", "Whether a check fails; one that something else hides has no sample.", |s| {
        let known = s.findings.iter().filter(|finding| finding.state != State::Unknown);
        known
            .map(|finding| (vec![("check", finding.check.clone())], yes(finding.state == State::Failing)))
            .collect()
    }),
    ("fleet_release_info", "The release that serves.", |s| {
        let labels = |release: &super::Release| {
            vec![("release", release.id.clone()), ("version", release.version.clone())]
        };
        s.release.iter().map(|release| (labels(release), 1.0)).collect()
    }),
    ("fleet_release_timestamp_seconds", "When the release was committed.", |s| {
        one(s.release.as_ref().and_then(|release| time(&release.at)))
    }),
    ("fleet_containers", "Containers of the stack, by whether they are well.", |s| {
        if !s.reachable {
            return Vec::new();
        }
        let (well, total) = (s.containers.well, s.containers.total);
        [("well", well), ("not_well", total - well)]
            .map(|(state, count)| (vec![("state", state.to_owned())], count as f64))
            .into()
    }),
    ("fleet_http_status", "Status of the health address, asked on the host; 0 without an answer.", |s| {
        one(s.http.as_ref().map(|http| f64::from(http.status)))
    }),
    ("fleet_http_seconds", "Time that the health address took.", |s| {
        one(s.http.as_ref().map(|http| http.seconds))
    }),
    ("fleet_certificate_expiry_timestamp_seconds", "When the certificate on disk expires.", |s| {
        one(s.tls.as_ref().and_then(|tls| date(&tls.not_after)))
    }),
    ("fleet_certificate_left_ratio", "Share of the certificate's lifetime that is left.", |s| {
        one(s.tls.as_ref().and_then(|tls| tls.fraction_left))
    }),
    ("fleet_certificate_served", "Whether the certificate on disk is the one that is served.", |s| {
        one(s.tls.as_ref().map(|tls| yes(tls.current)))
    }),
    ("fleet_disk_used_ratio", "Share of the file system of /opt that is used.", |s| ratio(s.disk_percent)),
    ("fleet_memory_used_ratio", "Share of the memory that is not available.", |s| ratio(s.memory_percent)),
    ("fleet_load15", "Load of the last 15 minutes.", |s| {
        one(s.load15().and_then(|load| load.parse::<f64>().ok()).filter(|load| load.is_finite()))
    }),
    ("fleet_reboot_required", "Whether an update waits for a reboot.", |s| {
        one(s.reachable.then(|| yes(s.reboot_required)))
    }),
    ("fleet_security_updates", "Security updates that wait.", |s| {
        one(s.security_updates.map(|count| count as f64))
    }),
    ("fleet_cron_active", "Whether cron runs.", |s| one(s.cron.as_ref().map(|cron| yes(cron.active)))),
    ("fleet_watch_silent_seconds", "Time since the host's own watch last looked.", |s| {
        one(s.cron.as_ref().and_then(|cron| cron.watch_minutes).map(|minutes| (minutes * 60) as f64))
    }),
    ("fleet_clock_skew_seconds", "How far the host's clock is ahead of the operator's.", |s| {
        one(s.clock_skew.map(|skew| skew as f64))
    }),
    ("fleet_dump_timestamp_seconds", "When the newest nightly dump was made, or failed.", |s| {
        one(s.backup.as_ref().map(|dump| dump.at as f64))
    }),
    ("fleet_dump_ok", "Whether the newest nightly dump was made.", |s| {
        one(s.backup.as_ref().map(|dump| yes(dump.ok)))
    }),
    ("fleet_backup_timestamp_seconds", "When the operator last pulled a backup.", |s| {
        one(s.pulled.as_ref().and_then(|pulled| time(&pulled.at)))
    }),
    ("fleet_backup_failed", "Whether the operator's last backup failed.", |s| {
        one(s.pulled.as_ref().map(|pulled| yes(pulled.failure.is_some())))
    }),
    ("fleet_backup_proved_timestamp_seconds", "When a backup was last proved by restoring it.", |s| {
        one(s.pulled.as_ref().and_then(|pulled| time(pulled.proved.as_ref()?)))
    }),
    ("fleet_sentry_info", "What the application says of its Sentry.", |s| {
        let labels = |sentry: &super::Sentry| {
            let environment = sentry.environment.clone().unwrap_or_default();
            vec![("status", sentry.status.clone()), ("environment", environment)]
        };
        s.sentry.iter().map(|sentry| (labels(sentry), 1.0)).collect()
    }),
    ("fleet_edited_files", "Files of the release that were edited on the host.", |s| {
        one(s.provisioned.then_some(s.drift.len() as f64))
    }),
];

/// All metrics of these clients, looked at just now.
#[must_use]
pub fn render(list: &[Status], now: Timestamp) -> String {
    let mut out = String::new();
    let head = |out: &mut String, name: &str, help: &str| {
        let _ = write!(out, "# HELP {name} {help}\n# TYPE {name} gauge\n");
    };
    for (name, help, samples) in FAMILIES {
        let mut lines = String::new();
        for status in list {
            for (labels, value) in samples(status) {
                let mut all = format!("client=\"{}\"", escape(&status.client));
                for (label, text) in labels {
                    let _ = write!(all, ",{label}=\"{}\"", escape(&text));
                }
                let _ = writeln!(lines, "{name}{{{all}}} {value}");
            }
        }
        if !lines.is_empty() {
            head(&mut out, name, help);
            out.push_str(&lines);
        }
    }
    head(&mut out, "fleet_look_timestamp_seconds", "When all of this was found.");
    let _ = writeln!(out, "fleet_look_timestamp_seconds {}", now.as_second());
    out
}

/// A label's value: backslash, quote and line end are written as two characters.
fn escape(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

#[cfg(test)]
mod tests;
