//! `[fleet]`: what holds for the fleet as a whole.

use std::time::Duration;

use super::sentry::SentryServer;
use super::storage::Storage;
use super::values::{FilePath, Name, Ours, Recipient, WebUrl, byte_count};
use crate::diagnostic::{Fault, shown};
use crate::toml_reader::{Table, boolean, duration, integer, list, one_of, parsed, table};

/// Let's Encrypt's production directory.
const LETS_ENCRYPT: &str = "https://acme-v02.api.letsencrypt.org/directory";

/// The keys of `[fleet]`, for hints where one of them stands elsewhere.
pub(super) const KEYS: &[&str] = &[
    "name",
    "stack",
    "source",
    "ssh_key",
    "recipients",
    "acme",
    "docker",
    "parallel",
    "connect_timeout",
    "step_timeout",
    "keep_runs",
    "transport",
    "firewall",
    "backup",
    "sentry",
];

/// The `[fleet]` table.
#[derive(Clone, Debug, PartialEq)]
pub struct FleetSettings {
    pub name: Name,
    /// A built-in stack's name, or a folder.
    pub stack: FilePath,
    /// The code tree that is pushed to the hosts; none for a stack of ready images.
    pub source: Option<FilePath>,
    /// The fleet's own private key.
    pub ssh_key: FilePath,
    /// Who may read the secrets, beside the identity of this fleet directory.
    pub recipients: Vec<Recipient>,
    pub acme: Acme,
    pub docker: Docker,
    /// Most hosts worked on at once.
    pub parallel: Option<usize>,
    /// Longest time for connect, handshake and login together.
    pub connect_timeout: Duration,
    /// Longest time for one step on a host that names no time of its own.
    pub step_timeout: Duration,
    /// Journals of runs that are kept.
    pub keep_runs: usize,
    pub transport: Transport,
    /// Whether `provision` closes every port but those of ssh and the web.
    pub firewall: bool,
    pub backup: Backups,
    pub sentry: SentryServer,
}

/// Where the operator's backups go, and how much they may take.
#[derive(Clone, Debug, PartialEq)]
pub struct Backups {
    /// Where there is one repository a client.
    pub repository: Storage,
    /// Most bytes a second from all hosts together.
    pub bandwidth: Option<u64>,
    /// Most bytes of one dump, or of the files of one client: more is taken for a fault.
    pub max_size: u64,
    /// Scheduled backups begin within so long behind their time, each client at its own place.
    pub spread: Duration,
    pub prove_with: ProveWith,
    /// Image of PostgreSQL that a proof may use: without its tag, or with `{major}` in it.
    pub prove_image: String,
}

/// What a backup is restored into to prove it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ProveWith {
    /// PostgreSQL's programs where this machine has those of the right version, else Docker.
    #[default]
    Auto,
    /// PostgreSQL's own programs on this machine.
    Local,
    /// A container.
    Docker,
}

/// Who signs the certificates.
#[derive(Clone, Debug, PartialEq)]
pub struct Acme {
    /// Directory of the ACME server.
    pub server: WebUrl,
    /// Roots that the server itself is verified with, where the system's do not do (PEM file).
    pub ca: Option<FilePath>,
}

/// Where hosts get Docker and images from.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Docker {
    pub source: DockerSource,
    /// Mirror of Docker's own package repository.
    pub repository: Option<WebUrl>,
    /// The key that signs it (armored file).
    pub key: Option<FilePath>,
    pub registry_mirrors: Vec<WebUrl>,
}

/// Whose Docker packages are installed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DockerSource {
    /// The distribution's where they are new enough, else Docker's.
    #[default]
    Auto,
    Distribution,
    Docker,
}

/// How hosts are reached.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Transport {
    /// Built in: one connection per host.
    #[default]
    Native,
    /// The `ssh` program with its own configuration.
    OpenSsh,
}

pub(super) const TRANSPORTS: &[(&str, Transport)] =
    &[("native", Transport::Native), ("openssh", Transport::OpenSsh)];
const PROVE_WITH: &[(&str, ProveWith)] =
    &[("auto", ProveWith::Auto), ("local", ProveWith::Local), ("docker", ProveWith::Docker)];
const SOURCES: &[(&str, DockerSource)] = &[
    ("auto", DockerSource::Auto),
    ("distribution", DockerSource::Distribution),
    ("docker", DockerSource::Docker),
];

impl Transport {
    /// The word for it in the file.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Transport::Native => "native",
            Transport::OpenSsh => "openssh",
        }
    }
}

impl DockerSource {
    /// The word for it in the file.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            DockerSource::Auto => "auto",
            DockerSource::Distribution => "distribution",
            DockerSource::Docker => "docker",
        }
    }
}

impl FleetSettings {
    pub(super) fn read(fleet: &mut Table<'_>) -> Option<Self> {
        fleet.elsewhere(super::draft::KEYS, "[defaults], or in a client's own table");
        let path = || parsed(FilePath::parse);
        let within = |least, most| duration(Duration::from_secs(least)..=Duration::from_secs(most));

        let name = fleet.required("name", parsed(Name::parse));
        let stack = fleet.required("stack", path());
        let source = fleet.optional("source", path());
        let ssh_key = fleet.optional("ssh_key", path());
        let recipients = fleet.optional("recipients", list(parsed(Recipient::parse)));
        let acme = fleet.optional("acme", table(Acme::read));
        let docker = fleet.optional("docker", table(Docker::read));
        let parallel = fleet.optional("parallel", integer(1..=1000_i64));
        let connect_timeout = fleet.optional("connect_timeout", within(1, 600));
        let step_timeout = fleet.optional("step_timeout", within(10, 86400));
        let keep_runs = fleet.optional("keep_runs", integer(1..=100_000_i64));
        let transport = fleet.optional("transport", one_of(TRANSPORTS));
        let firewall = fleet.optional("firewall", boolean);
        let backup = fleet.optional("backup", table(Backups::read));
        let sentry = fleet.optional("sentry", table(SentryServer::read));

        Some(FleetSettings {
            name: name?,
            stack: stack?,
            source,
            ssh_key: ssh_key.unwrap_or_else(|| FilePath::from(Ours("keys/fleet_ed25519"))),
            recipients: recipients.unwrap_or_default(),
            acme: acme.unwrap_or_default(),
            docker: docker.unwrap_or_default(),
            parallel: parallel.and_then(|count| usize::try_from(count).ok()),
            connect_timeout: connect_timeout.unwrap_or(Duration::from_secs(10)),
            step_timeout: step_timeout.unwrap_or(Duration::from_secs(1800)),
            keep_runs: keep_runs.and_then(|count| usize::try_from(count).ok()).unwrap_or(500),
            transport: transport.unwrap_or_default(),
            firewall: firewall.unwrap_or(true),
            backup: backup.unwrap_or_default(),
            sentry: sentry.unwrap_or_default(),
        })
    }
}

impl Backups {
    fn read(backup: &mut Table<'_>) -> Option<Self> {
        backup.elsewhere(
            &["schedule", "keep", "folders"],
            "[defaults], as backup = { ... }, or in a client's own table",
        );
        let usual = Backups::default();
        let repository = Storage::read(backup);
        // Everything is read before anything is given up, so that all mistakes are found at once.
        let rest = Backups {
            bandwidth: backup.optional("bandwidth", parsed(byte_count)),
            max_size: backup.optional("max_size", parsed(byte_count)).unwrap_or(usual.max_size),
            spread: backup
                .optional("spread", duration(Duration::ZERO..=Duration::from_secs(86_400)))
                .unwrap_or(usual.spread),
            prove_with: backup.optional("prove_with", one_of(PROVE_WITH)).unwrap_or_default(),
            prove_image: backup.optional("prove_image", parsed(image)).unwrap_or(usual.prove_image),
            repository: usual.repository,
        };
        Some(Backups { repository: repository?.unwrap_or_else(|| rest.repository.clone()), ..rest })
    }
}

/// The name of an image, which goes into a command line.
fn image(text: &str) -> Result<String, Fault> {
    let plain = text.replace("{major}", "1");
    let inner = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-' | b'/' | b':' | b'@');
    if plain.bytes().next().is_some_and(|b| b.is_ascii_alphanumeric()) && plain.bytes().all(inner) {
        return Ok(text.to_owned());
    }
    Err(Fault::new(format!("{} is no image", shown(text)))
        .expected("a name such as postgres, or postgis/postgis:{major}-3.5"))
}

impl ProveWith {
    /// From its word.
    ///
    /// # Errors
    /// What was expected.
    pub fn parse(text: &str) -> Result<Self, String> {
        let known = PROVE_WITH.iter().find(|(word, _)| *word == text);
        known.map(|(_, with)| *with).ok_or_else(|| "expected auto, local or docker".to_owned())
    }

    /// The word for it in the file.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            ProveWith::Auto => "auto",
            ProveWith::Local => "local",
            ProveWith::Docker => "docker",
        }
    }
}

impl Default for Backups {
    fn default() -> Self {
        Backups {
            repository: Storage::Folder(FilePath::from(Ours("backups"))),
            bandwidth: None,
            max_size: 1 << 40,
            spread: Duration::from_secs(7200),
            prove_with: ProveWith::default(),
            prove_image: "postgres".to_owned(),
        }
    }
}

impl Acme {
    fn read(acme: &mut Table<'_>) -> Option<Self> {
        let server = acme.optional("server", parsed(WebUrl::parse_https));
        let ca = acme.optional("ca", parsed(FilePath::parse));
        Some(Acme { server: server.unwrap_or_else(|| WebUrl::from(Ours(LETS_ENCRYPT))), ca })
    }
}

impl Default for Acme {
    fn default() -> Self {
        Acme { server: WebUrl::from(Ours(LETS_ENCRYPT)), ca: None }
    }
}

impl Docker {
    fn read(docker: &mut Table<'_>) -> Option<Self> {
        Some(Docker {
            source: docker.optional("source", one_of(SOURCES)).unwrap_or_default(),
            repository: docker.optional("repository", parsed(WebUrl::parse)),
            key: docker.optional("key", parsed(FilePath::parse)),
            registry_mirrors: docker
                .optional("registry_mirrors", list(parsed(WebUrl::parse)))
                .unwrap_or_default(),
        })
    }
}
