//! One client, complete: what its table says, laid over `[defaults]`.

use std::collections::{BTreeMap, BTreeSet};

use super::notify::SecretRef;
use super::settings::Transport;
use super::values::{
    Address, CronLine, Domain, Dsn, Email, Environment, FilePath, HostFolder, Jump, Name, Slug, Swap, Tag,
    UpdateWindow, User,
};

/// One tenant with a server of its own.
#[derive(Clone, Debug, PartialEq)]
pub struct Client {
    pub name: Name,
    pub domain: Domain,
    /// Further names that the certificate covers.
    pub aliases: Vec<Domain>,
    pub address: Address,
    pub port: u16,
    pub user: User,
    pub jump: Option<Jump>,
    pub email: Option<Email>,
    pub tags: BTreeSet<Tag>,
    /// Another stack than the fleet's.
    pub stack: Option<FilePath>,
    pub sentry: Sentry,
    pub backup: Backup,
    /// Variables for the stack's templates; numbers and booleans as their text.
    pub env: BTreeMap<String, String>,
    pub checks: Checks,
    pub update_window: Option<UpdateWindow>,
    pub swap: Swap,
    pub transport: Transport,
    /// Left alone unless it is named.
    pub disabled: bool,
}

/// Where the client's errors go.
#[derive(Clone, Debug, PartialEq)]
pub struct Sentry {
    /// The project of `[sentry.NAME]` that it names.
    pub uses: Option<Name>,
    /// `enabled = false` sends nothing, and keeps what is written for later.
    pub enabled: bool,
    /// None where nothing is sent.
    pub dsn: Option<Dsn>,
    pub environment: Environment,
    /// Share of requests that are traced, 0 to 1.
    pub traces_rate: f64,
    pub project: Option<Slug>,
    pub org: Option<Slug>,
}

/// The host's own nightly dump, and how many of the operator's backups are kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Backup {
    pub schedule: CronLine,
    pub keep: Keep,
    /// Folders of the host that the operator's backup also takes, beside those of the stack.
    pub folders: Vec<HostFolder>,
    /// Whether pending migrations wait for a backup by the operator; where nothing is written, for clients that
    /// have one already.
    pub before_migrations: Option<bool>,
}

/// How many backups of each kind are kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Keep {
    pub last: Option<u32>,
    pub hourly: Option<u32>,
    pub daily: Option<u32>,
    pub weekly: Option<u32>,
    pub monthly: Option<u32>,
    pub yearly: Option<u32>,
}

impl Keep {
    /// Kept where nothing is written. The last few stay whatever else is said: the newest of a day alone
    /// would be the one that was made after the damage.
    pub const USUAL: Keep = Keep {
        last: Some(3),
        hourly: None,
        daily: Some(7),
        weekly: Some(4),
        monthly: Some(12),
        yearly: None,
    };
}

/// Limits that `check` and `status` judge by; the usual ones where none is set.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Checks {
    pub disk_percent: Option<u8>,
    pub memory_percent: Option<u8>,
    /// Share of the certificate's lifetime that must be left, 0 to 1.
    pub certificate_fraction: Option<f64>,
    pub backup_age_hours: Option<u32>,
    /// Of the operator's own last backup.
    pub pulled_age_hours: Option<u32>,
    /// Of the last proof of one.
    pub proof_age_days: Option<u32>,
    /// Load of 15 minutes for each processor.
    pub load: Option<f64>,
    /// Seconds.
    pub clock_skew: Option<u32>,
    pub reboot_days: Option<u32>,
    /// Checks in a row that must fail before it is told.
    pub after: Option<u32>,
    /// Checks that are not made.
    pub off: Option<Vec<String>>,
    /// Address that the host's own watch pings.
    pub ping: Option<SecretRef>,
}
