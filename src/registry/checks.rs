//! `checks = { ... }` of a client: what `check` and `status` judge by.

use std::time::Duration;

use super::Checks;
use super::notify::reference;
use crate::diagnostic::{Fault, shown};
use crate::toml_reader::{Table, duration, integer, list, number, parsed};

/// The checks there are, beside the stack's own, which are `stack.NAME`.
const NAMES: &[&str] = &[
    "docker",
    "containers",
    "http",
    "certificate",
    "files",
    "disk",
    "memory",
    "load",
    "backup",
    "pulled",
    "proof",
    "cron",
    "clock",
    "reboot",
    "sentry",
];

impl Checks {
    pub(super) fn read(checks: &mut Table<'_>) -> Option<Self> {
        let skew = duration(Duration::from_secs(1)..=Duration::from_secs(86_400));
        Some(Checks {
            disk_percent: checks.optional("disk_percent", integer(1..=100_u8)),
            memory_percent: checks.optional("memory_percent", integer(1..=100_u8)),
            certificate_fraction: checks.optional("certificate_fraction", number(0.0..=1.0)),
            backup_age_hours: checks.optional("backup_age_hours", integer(1..=8760_u32)),
            pulled_age_hours: checks.optional("pulled_age_hours", integer(1..=8760_u32)),
            proof_age_days: checks.optional("proof_age_days", integer(1..=3650_u32)),
            load: checks.optional("load", number(0.1..=1000.0)),
            clock_skew: checks
                .optional("clock_skew", skew)
                .and_then(|skew| u32::try_from(skew.as_secs()).ok()),
            reboot_days: checks.optional("reboot_days", integer(0..=365_u32)),
            after: checks.optional("after", integer(1..=100_u32)),
            off: checks.optional("off", list(parsed(name))),
            ping: checks.optional("ping", reference),
        })
    }

    pub(super) fn over(self, base: &Checks) -> Checks {
        Checks {
            disk_percent: self.disk_percent.or(base.disk_percent),
            memory_percent: self.memory_percent.or(base.memory_percent),
            certificate_fraction: self.certificate_fraction.or(base.certificate_fraction),
            backup_age_hours: self.backup_age_hours.or(base.backup_age_hours),
            pulled_age_hours: self.pulled_age_hours.or(base.pulled_age_hours),
            proof_age_days: self.proof_age_days.or(base.proof_age_days),
            load: self.load.or(base.load),
            clock_skew: self.clock_skew.or(base.clock_skew),
            reboot_days: self.reboot_days.or(base.reboot_days),
            after: self.after.or(base.after),
            off: self.off.or_else(|| base.off.clone()),
            ping: self.ping.or_else(|| base.ping.clone()),
        }
    }
}

fn name(text: &str) -> Result<String, Fault> {
    let own = text.strip_prefix("stack.").is_some_and(|name| !name.is_empty());
    if own || NAMES.contains(&text) {
        return Ok(text.to_owned());
    }
    let expected = format!("one of {}, or stack.NAME for a check of the stack", NAMES.join(", "));
    Err(Fault::new(format!("{} is no check", shown(text)))
        .expected(expected)
        .suggest(text, NAMES.iter().copied()))
}
