//! What stack.toml says, as typed values. Every key is documented here and in
//! `templates/geoclic/stack.toml`; reading is in [`super::read`], which fills nothing in by itself
//! but the defaults named below.

use std::collections::BTreeMap;
use std::time::Duration;

use regex::Regex;
use serde::{Deserialize, Serialize};

use crate::secret::Generator;

/// One application: how it is configured, rendered, built, proved healthy and backed up.
#[derive(Clone, Debug)]
pub struct Stack {
    /// The stack's folder as the operator knows it, for messages.
    pub folder: String,
    /// DNS label; also the Compose project and the folder under `/opt` on a host.
    pub name: String,
    pub description: Option<String>,
    /// Smallest memory of a host in MiB, a hint that `doctor` and `provision` compare.
    pub memory_mb: Option<u64>,
    /// Destination of the Compose file among [`Stack::files`]; default `docker-compose.yml`.
    pub compose: String,
    /// Destination of the environment file among [`Stack::files`]; default `.env`, where there is such a
    /// file.
    pub dotenv: Option<String>,
    /// Absent for a stack of ready images.
    pub source: Option<Source>,
    /// In the file's order; destinations are unique.
    pub files: Vec<FileSpec>,
    pub env: EnvSchema,
    /// In the file's order, which is only the order of display: Compose knows the dependencies.
    pub services: Vec<Service>,
    pub database: Option<Database>,
    pub migrations: Option<Migrations>,
    pub backup: BackupSpec,
    pub tls: Option<Tls>,
    /// The whole client through its front door.
    pub health: Option<FrontHealth>,
    pub sentry: Option<SentrySpec>,
    pub hooks: Vec<Hook>,
    pub checks: Vec<Check>,
    /// Every other file of the stack's folder by its path there: templates, what they include,
    /// migrations. Bytes, since a migration need not be UTF-8.
    pub contents: BTreeMap<String, Vec<u8>>,
}

impl Stack {
    #[must_use]
    pub fn service(&self, name: &str) -> Option<&Service> {
        self.services.iter().find(|service| service.name == name)
    }

    /// Service, user and name of the database that runs in the stack.
    #[must_use]
    pub fn database_inside(&self) -> Option<(String, String, String)> {
        match &self.database {
            Some(Database::Service { service, name, user, .. }) => {
                Some((service.clone(), user.clone(), name.clone()))
            }
            Some(Database::Outside { .. }) | None => None,
        }
    }

    /// Variable that holds the password of that database's role.
    #[must_use]
    pub fn password_env(&self) -> Option<&str> {
        match &self.database {
            Some(Database::Service { password_env, .. }) => password_env.as_deref(),
            Some(Database::Outside { .. }) | None => None,
        }
    }

    /// Address of a client's front door, where the stack has one.
    #[must_use]
    pub fn health_url(&self, domain: &str) -> Option<String> {
        let scheme = if self.tls.is_some() { "https" } else { "http" };
        self.health.as_ref().map(|front| format!("{scheme}://{domain}{}", front.path))
    }

    /// The services whose image is built from the source.
    pub fn built_services(&self) -> impl Iterator<Item = (&Service, &str)> {
        self.services.iter().filter_map(|service| Some((service, service.build.as_deref()?)))
    }
}

/// Where the code that images are built from comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    /// rsync patterns, in order.
    pub exclude: Vec<String>,
    pub build: BuildPlace,
}

/// Who builds the images.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum BuildPlace {
    /// Each host, from the source pushed to it.
    #[default]
    Host,
    /// The operator's machine, once for all; images are then sent.
    Operator,
    /// Nobody: the source is only files.
    None,
}

/// One rendered file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileSpec {
    /// Path in the stack's folder.
    pub template: String,
    /// Relative path in the release on the host.
    pub destination: String,
    /// Permission bits, at most `0o7777`.
    pub mode: u32,
    /// Never shown or compared unmasked, never mounted by its content's digest.
    pub secret: bool,
}

/// The environment variables that the stack knows.
#[derive(Clone, Debug, Default)]
pub struct EnvSchema {
    pub variables: BTreeMap<String, Variable>,
    /// Whether a client may set variables that are not declared.
    pub extra: bool,
    /// Variables that fleet fills in from the client's `[sentry]`; empty without `[sentry]`.
    pub sentry: SentryNames,
}

/// One environment variable.
#[derive(Clone, Debug, Default)]
pub struct Variable {
    /// A client without a value is refused.
    pub required: bool,
    pub default: Option<String>,
    /// Made once per client, kept in the vault until rotated.
    pub generate: Option<Generator>,
    /// The whole value must match.
    pub pattern: Option<Pattern>,
    /// Kept in the vault, masked everywhere; refused in clients.toml.
    pub secret: bool,
    pub help: Option<String>,
    pub example: Option<String>,
    /// Path into the context, such as `client.domain`, that gives the value when nothing else does.
    pub from: Option<String>,
}

/// A regular expression that the whole value must match, kept with its text.
#[derive(Clone, Debug)]
pub struct Pattern {
    pub text: String,
    pub regex: Regex,
}

impl Pattern {
    /// # Errors
    /// What is wrong with the expression, without a position.
    pub fn new(text: &str) -> Result<Self, regex::Error> {
        // `\z`, not `$`: neither may let a final newline through.
        let regex = Regex::new(&format!(r"\A(?:{text})\z"))?;
        Ok(Pattern { text: text.to_owned(), regex })
    }
}

impl PartialEq for Pattern {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

/// One service of the Compose file, as far as fleet must know it.
#[derive(Clone, Debug)]
pub struct Service {
    pub name: String,
    /// Folder of the source that is the Docker build context; absent for a ready image.
    pub build: Option<String>,
    /// The service whose built image this one also runs.
    pub image_from: Option<String>,
    pub health: Option<Health>,
    pub rollout: Rollout,
}

/// How a new container takes over.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Rollout {
    /// The new one is healthy before the old one stops: no request is dropped.
    StartFirst,
    #[default]
    StopFirst,
}

/// When a service counts as healthy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Health {
    pub probe: Probe,
    /// Between two probes; default 2 s.
    pub interval: Duration,
    /// Given up after; default 120 s.
    pub deadline: Duration,
    /// Text that the container must have logged since it started.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub log: Option<String>,
}

impl Health {
    /// With the usual times.
    #[must_use]
    pub fn of(probe: Probe) -> Self {
        Health { probe, interval: Duration::from_secs(2), deadline: Duration::from_secs(120), log: None }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Probe {
    Http(HttpProbe),
    /// The port accepts a connection.
    Tcp {
        port: u16,
    },
    /// A command inside the container that exits 0.
    Command(Vec<String>),
    /// The health check of the Compose file or image itself.
    Compose,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HttpProbe {
    pub port: u16,
    pub path: String,
    pub status: u16,
    /// Dotted paths into the JSON answer and what must be there.
    pub json: BTreeMap<String, serde_json::Value>,
    /// The `Host` header, where the service insists.
    pub host: Option<String>,
}

/// The PostgreSQL database of a client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Database {
    /// A service of this stack.
    Service { service: String, name: String, user: String, password_env: Option<String> },
    /// Outside: the named environment variable holds its URL.
    Outside {
        url_env: String,
        /// Whose pg_dump is used, such as `postgres:17`; the host's own without it.
        image: Option<String>,
    },
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Migrations {
    /// Folder of the source, or of the stack's folder where there is no source.
    pub dir: String,
    /// Which files of it, a glob; default `*.sql`.
    pub pattern: String,
}

/// What a backup of one client holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BackupSpec {
    pub database: bool,
    /// Named volumes of the Compose file, without the project's prefix.
    pub volumes: Vec<String>,
    /// Folders under `/opt/<stack>` on the host.
    pub folders: Vec<String>,
}

/// Who serves TLS with the certificate that fleet keeps on the host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tls {
    pub service: String,
    /// Run inside the service's container after a renewal.
    pub reload: Vec<String>,
    /// File names in `release.tls_dir`; default `fullchain.pem` and `privkey.pem`.
    pub certificate: String,
    pub key: String,
}

/// `https://<domain><path>` must answer so.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FrontHealth {
    pub path: String,
    pub status: u16,
    pub json: BTreeMap<String, serde_json::Value>,
}

/// Names of the variables that carry a client's Sentry settings; `None` where the stack has none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SentryNames {
    pub dsn: Option<String>,
    pub environment: Option<String>,
    pub traces_rate: Option<String>,
    pub release: Option<String>,
}

impl SentryNames {
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        [&self.dsn, &self.environment, &self.traces_rate, &self.release]
            .into_iter()
            .flatten()
            .map(String::as_str)
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SentrySpec {
    pub names: SentryNames,
    /// The service that reports.
    pub service: Option<String>,
    /// Dotted path in the front door's health answer where its state stands.
    pub health: Option<String>,
    /// Text in that service's log that proves it is on.
    pub log: Option<String>,
    /// A request that provokes an error, for `fleet sentry test`.
    pub test_path: Option<String>,
}

/// When a hook runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum HookPoint {
    PreProvision,
    PostProvision,
    PreUpdate,
    PostUpdate,
    /// An update or provisioning that had begun failed on the client.
    OnFailure,
    PreBackup,
    PostBackup,
}

impl HookPoint {
    /// As stack.toml has it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            HookPoint::PreProvision => "pre_provision",
            HookPoint::PostProvision => "post_provision",
            HookPoint::PreUpdate => "pre_update",
            HookPoint::PostUpdate => "post_update",
            HookPoint::OnFailure => "on_failure",
            HookPoint::PreBackup => "pre_backup",
            HookPoint::PostBackup => "post_backup",
        }
    }
}

/// Where a hook runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HookPlace {
    /// The operator's machine, in the fleet directory.
    Local,
    /// The client's host, in the current release.
    Host,
    /// Inside a container of that service.
    Service(String),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hook {
    pub point: HookPoint,
    pub place: HookPlace,
    pub command: Vec<String>,
    pub timeout: Duration,
}

/// A condition that monitoring watches beyond health.
#[derive(Clone, Debug, PartialEq)]
pub struct Check {
    pub name: String,
    /// Over the front door.
    pub path: Option<String>,
    pub status: u16,
    /// Inside this service instead.
    pub service: Option<String>,
    pub command: Vec<String>,
}
