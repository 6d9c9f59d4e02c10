//! `sentry` of a client, the projects of `[sentry.NAME]` that clients name, and `[fleet.sentry]`: the server
//! that the operator asks.

use serde_json::{Value as Json, json};

use super::client::Sentry;
use super::notify::{SecretRef, reference};
use super::values::{CronLine, Dsn, Environment, Name, Ours, Slug, WebUrl};
use crate::diagnostic::{Fault, shown};
use crate::toml_reader::{Placed, Table, Value, boolean, number, parsed, placed, secret, table};

/// Sentry's own service.
const SENTRY_IO: &str = "https://sentry.io";
/// Share of requests that are traced where nothing is said.
const TRACES: f64 = 0.1;

/// A project of Sentry that has a name here, such as `staging`.
#[derive(Clone, Debug, PartialEq)]
pub struct SentryProject {
    pub name: Name,
    /// None until the project is there: `fleet sentry setup` writes it.
    pub dsn: Option<Dsn>,
    pub traces_rate: Option<f64>,
    pub org: Option<Slug>,
    pub project: Option<Slug>,
}

/// The server, and what the fleet itself tells it.
#[derive(Clone, Debug, PartialEq)]
pub struct SentryServer {
    /// Where its API begins, without a slash at its end.
    pub url: WebUrl,
    /// Opens the API: last events, projects and keys, releases.
    pub token: Option<SecretRef>,
    /// Where the fleet's own messages go: its errors and its check-ins.
    pub dsn: Option<SecretRef>,
    /// Errors of this program are reported.
    pub errors: bool,
    /// Backups, checks and proofs check in.
    pub crons: bool,
    /// When cron on this machine runs `check` and `backups prove`.
    pub check_schedule: CronLine,
    pub prove_schedule: CronLine,
    /// Updates make releases and deploys; not said means wherever a token and an organisation are known.
    pub releases: Option<bool>,
}

impl Default for SentryServer {
    fn default() -> Self {
        SentryServer {
            url: WebUrl::from(Ours(SENTRY_IO)),
            token: None,
            dsn: None,
            errors: false,
            crons: false,
            check_schedule: CronLine::from(Ours("*/5 * * * *")),
            prove_schedule: CronLine::from(Ours("30 4 * * *")),
            releases: None,
        }
    }
}

impl SentryServer {
    pub(super) fn read(server: &mut Table<'_>) -> Option<Self> {
        server.elsewhere(
            &["use", "enabled", "environment", "traces_rate", "org", "project"],
            "[defaults], as sentry = { ... }, or in a client's own table",
        );
        // A secret that is written here all the same is not shown, whatever else is wrong.
        for key in ["token", "dsn"] {
            server.conceal_text(key);
        }
        let usual = SentryServer::default();
        let url = server.optional("url", parsed(root));
        let written = server.has("dsn");
        let token = server.optional("token", reference);
        let dsn = server.optional("dsn", reference);
        let errors = server.optional("errors", boolean).unwrap_or_default();
        let crons = server.optional("crons", boolean).unwrap_or_default();
        let check_schedule = server.optional("check_schedule", parsed(CronLine::parse));
        let prove_schedule = server.optional("prove_schedule", parsed(CronLine::parse));
        let releases = server.optional("releases", boolean);
        if (errors || crons) && !written {
            let fault = Fault::new("is missing, and `errors` or `crons` need it");
            return server.missing("dsn", fault.expected("{ secret = \"NAME\" } or { env = \"NAME\" }"));
        }
        if releases == Some(true) && token.is_none() {
            let fault = Fault::new("is missing, and `releases` needs it");
            return server.missing("token", fault.expected("{ secret = \"NAME\" } or { env = \"NAME\" }"));
        }
        Some(SentryServer {
            url: url.unwrap_or(usual.url),
            token,
            dsn,
            errors,
            crons,
            check_schedule: check_schedule.unwrap_or(usual.check_schedule),
            prove_schedule: prove_schedule.unwrap_or(usual.prove_schedule),
            releases,
        })
    }

    #[must_use]
    pub fn to_json(&self) -> Json {
        json!({
            "url": self.url,
            "token": self.token.as_ref().map(SecretRef::to_json),
            "dsn": self.dsn.as_ref().map(SecretRef::to_json),
            "errors": self.errors,
            "crons": self.crons,
            "check_schedule": self.check_schedule,
            "prove_schedule": self.prove_schedule,
            "releases": self.releases,
        })
    }
}

/// An address that a token is sent to: encrypted, but for this very machine.
fn root(text: &str) -> Result<WebUrl, Fault> {
    let url = WebUrl::parse(text.trim_end_matches('/'))?;
    let parsed = url::Url::parse(&url).ok();
    let own = |host: &str| matches!(host, "localhost" | "127.0.0.1" | "[::1]");
    if !url.starts_with("https://") && !parsed.as_ref().and_then(url::Url::host_str).is_some_and(own) {
        return Err(Fault::new("the token would be sent in the clear")
            .expected("an address that starts with https://; http:// is for this machine alone"));
    }
    if parsed.is_some_and(|url| url.query().is_some() || url.fragment().is_some()) {
        return Err(Fault::new(format!("{} is no root of an API", shown(text)))
            .expected("an address such as https://sentry.example.fr"));
    }
    Ok(url)
}

impl SentryProject {
    fn read(project: &mut Table<'_>, name: Name) -> Option<Self> {
        project.elsewhere(&["environment"], "a client's own table: it tells clients of one project apart");
        Some(SentryProject {
            name,
            dsn: project.optional("dsn", secret(parsed(Dsn::parse))),
            traces_rate: project.optional("traces_rate", number(0.0..=1.0)),
            org: project.optional("org", parsed(Slug::parse)),
            project: project.optional("project", parsed(Slug::parse)),
        })
    }

    #[must_use]
    pub fn to_json(&self, reveal: bool) -> Json {
        json!({
            "name": self.name,
            "dsn": self.dsn.as_ref().map(|dsn| dsn.shown(reveal)),
            "traces_rate": self.traces_rate,
            "org": self.org,
            "project": self.project,
        })
    }
}

/// `[sentry]`: every table in it is a project.
pub(super) fn read(value: Value<'_>) -> Option<Vec<SentryProject>> {
    let mut projects = Vec::new();
    for value in value.into_table()?.take_all() {
        if !matches!(value.item(), toml::de::DeValue::Table(_)) {
            // Most likely what belongs to a client, its DSN among it.
            value.conceal();
            let fault = Fault::new("is no project").expected("a table [sentry.NAME] with a DSN");
            value
                .fault::<()>(fault.hint("what clients have goes into [defaults], as sentry = { ... }"))
                .unwrap_or_default();
            continue;
        }
        let name = match Name::parse(value.key()) {
            Ok(name) => name,
            Err(fault) => {
                value.label().fault::<()>(fault).unwrap_or_default();
                Name::from(Ours("unnamed"))
            }
        };
        projects.extend(table(|project: &mut Table<'_>| SentryProject::read(project, name.clone()))(value));
    }
    Some(projects)
}

/// `sentry` of a table as it was written, over the project that it names.
#[derive(Clone, Default)]
pub(super) struct SentryDraft {
    uses: Option<Name>,
    enabled: Option<bool>,
    /// An empty DSN takes an inherited one away, and so does a project that has none yet.
    dsn: Option<Option<Dsn>>,
    environment: Option<Environment>,
    traces_rate: Option<f64>,
    org: Option<Slug>,
    project: Option<Option<Slug>>,
}

impl SentryDraft {
    pub(super) fn read(sentry: &mut Table<'_>, projects: &[SentryProject]) -> Option<Self> {
        let uses = sentry.optional("use", placed(parsed(Name::parse)));
        let own = SentryDraft {
            uses: uses.as_ref().map(|uses| uses.value.clone()),
            enabled: sentry.optional("enabled", boolean),
            dsn: sentry.optional("dsn", secret(parsed(super::draft::unless("", Dsn::parse)))),
            environment: sentry.optional("environment", parsed(Environment::parse)),
            traces_rate: sentry.optional("traces_rate", number(0.0..=1.0)),
            org: sentry.optional("org", parsed(Slug::parse)),
            project: sentry.optional("project", parsed(Slug::parse)).map(Some),
        };
        let Some(Placed { value: name, place }) = uses else { return Some(own) };
        let Some(named) = projects.iter().find(|project| project.name == name) else {
            let known = || projects.iter().map(|project| project.name.as_str());
            let fault = Fault::new(format!("there is no [sentry.{name}]"));
            let fault = if projects.is_empty() {
                fault.expected("the name of a table [sentry.NAME] with its DSN")
            } else {
                let all: Vec<&str> = known().collect();
                fault.expected(format!("one of {}", all.join(", "))).suggest(&name, known())
            };
            return place.fault(fault);
        };
        // Another project is another address: nothing of an inherited one may stay with it.
        Some(SentryDraft {
            dsn: Some(own.dsn.unwrap_or_else(|| named.dsn.clone())),
            project: Some(own.project.unwrap_or_else(|| named.project.clone())),
            traces_rate: own.traces_rate.or(named.traces_rate),
            org: own.org.or_else(|| named.org.clone()),
            ..own
        })
    }

    pub(super) fn over(self, base: &Self) -> Self {
        SentryDraft {
            uses: self.uses.or_else(|| base.uses.clone()),
            enabled: self.enabled.or(base.enabled),
            dsn: self.dsn.or_else(|| base.dsn.clone()),
            environment: self.environment.or_else(|| base.environment.clone()),
            traces_rate: self.traces_rate.or(base.traces_rate),
            org: self.org.or_else(|| base.org.clone()),
            project: self.project.or_else(|| base.project.clone()),
        }
    }

    pub(super) fn finish(self, name: &Name) -> Sentry {
        let enabled = self.enabled.unwrap_or(true);
        Sentry {
            uses: self.uses,
            enabled,
            dsn: self.dsn.flatten().filter(|_| enabled),
            environment: self.environment.unwrap_or_else(|| Environment::from(name)),
            traces_rate: self.traces_rate.unwrap_or(TRACES),
            project: self.project.flatten(),
            org: self.org,
        }
    }
}
