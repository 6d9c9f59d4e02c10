//! The registry as JSON, for `list --json` and `show --json`. The schema is versioned: fields are
//! added freely, never renamed or removed under the same version.

use serde_json::{Value, json};

use super::{Channel, Client, FleetSettings, Registry, SecretRef};

impl Client {
    /// One client, schema `fleet.client/1`. The DSN is masked unless `reveal`.
    #[must_use]
    pub fn to_json(&self, reveal: bool) -> Value {
        let dsn = self.sentry.dsn.as_ref().map(|dsn| dsn.shown(reveal));
        let keep = &self.backup.keep;
        json!({
            "schema": "fleet.client/1",
            "name": self.name,
            "domain": self.domain,
            "aliases": self.aliases,
            "address": self.address.to_string(),
            "port": self.port,
            "user": self.user,
            "jump": self.jump.as_ref().map(ToString::to_string),
            "email": self.email,
            "tags": self.tags,
            "stack": self.stack,
            "sentry": {
                "dsn": dsn,
                "environment": self.sentry.environment,
                "traces_rate": self.sentry.traces_rate,
                "project": self.sentry.project,
                "org": self.sentry.org,
                "use": self.sentry.uses,
                "enabled": self.sentry.enabled,
            },
            "backup": {
                "schedule": self.backup.schedule,
                "keep": {
                    "last": keep.last,
                    "hourly": keep.hourly,
                    "daily": keep.daily,
                    "weekly": keep.weekly,
                    "monthly": keep.monthly,
                    "yearly": keep.yearly,
                },
                "folders": self.backup.folders,
                "before_migrations": self.backup.before_migrations,
            },
            "env": self.env,
            "checks": {
                "disk_percent": self.checks.disk_percent,
                "memory_percent": self.checks.memory_percent,
                "certificate_fraction": self.checks.certificate_fraction,
                "backup_age_hours": self.checks.backup_age_hours,
                "pulled_age_hours": self.checks.pulled_age_hours,
                "proof_age_days": self.checks.proof_age_days,
                "load": self.checks.load,
                "clock_skew": self.checks.clock_skew,
                "reboot_days": self.checks.reboot_days,
                "after": self.checks.after,
                "off": self.checks.off,
                "ping": self.checks.ping.as_ref().map(SecretRef::to_json),
            },
            "update_window": self.update_window,
            "swap": self.swap.to_string(),
            "transport": self.transport.word(),
            "disabled": self.disabled,
        })
    }
}

impl FleetSettings {
    /// The fleet's settings, schema `fleet.settings/1`. Times are in seconds.
    #[must_use]
    pub fn to_json(&self) -> Value {
        json!({
            "schema": "fleet.settings/1",
            "name": self.name,
            "stack": self.stack,
            "source": self.source,
            "ssh_key": self.ssh_key,
            "recipients": self.recipients,
            "acme": { "server": self.acme.server, "ca": self.acme.ca },
            "docker": {
                "source": self.docker.source.word(),
                "repository": self.docker.repository,
                "key": self.docker.key,
                "registry_mirrors": self.docker.registry_mirrors,
            },
            "parallel": self.parallel,
            "connect_timeout": self.connect_timeout.as_secs(),
            "step_timeout": self.step_timeout.as_secs(),
            "keep_runs": self.keep_runs,
            "transport": self.transport.word(),
            "firewall": self.firewall,
            "backup": {
                "repository": self.backup.repository.to_json(),
                "bandwidth": self.backup.bandwidth,
                "max_size": self.backup.max_size,
                "spread": self.backup.spread.as_secs(),
                "prove_with": self.backup.prove_with.word(),
                "prove_image": self.backup.prove_image,
            },
            "sentry": self.sentry.to_json(),
        })
    }
}

impl Registry {
    /// Everything, schema `fleet.registry/1`.
    #[must_use]
    pub fn to_json(&self, reveal: bool) -> Value {
        let clients: Vec<_> = self.clients.iter().map(|client| client.to_json(reveal)).collect();
        let notify: Vec<_> = self.notify.iter().map(Channel::to_json).collect();
        json!({
            "schema": "fleet.registry/1",
            "fleet": self.fleet.to_json(),
            "notify": notify,
            "sentry": self.sentry.iter().map(|project| project.to_json(reveal)).collect::<Vec<_>>(),
            "clients": clients,
        })
    }
}
