//! A channel with its secrets at hand.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::mail::{self, Access};
use super::{Message, Signal, ping, program, webhook};
use crate::registry::{Channel, ChannelKind, SecretRef, Topic};
use crate::secret::Secret;

/// Where a channel finds its secrets: values by the reference that names them.
pub type Vars = BTreeMap<SecretRef, Secret<String>>;

/// Ready to be used. It shows no secret.
#[derive(Clone)]
pub struct Opened {
    channel: Channel,
    secrets: Vars,
    roots: Option<Vec<u8>>,
    dir: PathBuf,
}

/// Why a channel cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    #[error("its secret {0} is not set")]
    NoSecret(String),
    #[error("the fleet's secrets cannot be read: {0}")]
    NoVault(String),
    #[error("its environment variable {0} is not set")]
    NoVariable(String),
    #[error("{0} cannot be read: {1}")]
    NoRoots(String, String),
    #[error("the secret {0} is no address that begins with https:// or http://")]
    NoUrl(String),
}

impl Refusal {
    #[must_use]
    pub fn hint(&self) -> String {
        match self {
            Refusal::NoSecret(name) => format!("fleet secrets set --fleet {name}"),
            Refusal::NoVault(_) => "`fleet secrets list --fleet` says more".to_owned(),
            Refusal::NoVariable(name) => format!("set {name} where fleet runs, in cron's file too"),
            Refusal::NoRoots(path, _) => format!("put the roots into {path}, or take `ca` out"),
            Refusal::NoUrl(name) => format!("set {name} again, the whole address as the service shows it"),
        }
    }
}

impl Opened {
    /// Takes from `vars` what the channel needs.
    ///
    /// # Errors
    /// The first thing that it lacks.
    pub fn new(channel: &Channel, vars: &Vars, dir: &Path) -> Result<Opened, Refusal> {
        let mut secrets = Vars::new();
        for reference in channel.secrets() {
            let value = vars.get(reference).filter(|value| !value.reveal().is_empty());
            let value = value.ok_or_else(|| match reference {
                SecretRef::Vault(name) => Refusal::NoSecret(name.clone()),
                SecretRef::Env(name) => Refusal::NoVariable(name.clone()),
            })?;
            secrets.insert(reference.clone(), value.clone());
        }
        if let ChannelKind::Slack { url } | ChannelKind::Ping { url } | ChannelKind::Webhook { url, .. } =
            &channel.kind
        {
            let fine = |value: &Secret<String>| {
                value.reveal().starts_with("https://") || value.reveal().starts_with("http://")
            };
            if !secrets.get(url).is_some_and(fine) {
                return Err(Refusal::NoUrl(url.name().to_owned()));
            }
        }
        let roots = match &channel.kind {
            ChannelKind::Email(mail) => mail.ca.as_ref().map(|path| {
                std::fs::read(dir.join(path.as_str()))
                    .map_err(|error| Refusal::NoRoots(path.to_string(), error.to_string()))
            }),
            _ => None,
        };
        Ok(Opened { channel: channel.clone(), secrets, roots: roots.transpose()?, dir: dir.to_owned() })
    }

    #[must_use]
    pub fn name(&self) -> &str {
        &self.channel.name
    }

    /// Hears of runs, not of messages.
    #[must_use]
    pub fn counts_runs(&self) -> bool {
        matches!(self.channel.kind, ChannelKind::Ping { .. })
    }

    #[must_use]
    pub fn wants(&self, topic: Topic) -> bool {
        self.channel.topics.contains(&topic)
    }

    /// Names and values, for masking.
    pub fn secrets(&self) -> impl Iterator<Item = (&str, &Secret<String>)> {
        self.secrets.iter().map(|(reference, value)| (reference.name(), value))
    }

    /// Whether messages wait now. A zone that this machine does not know holds nothing back.
    #[must_use]
    pub fn is_quiet(&self, now: Timestamp) -> bool {
        let Some(window) = &self.channel.quiet else { return false };
        let Ok(zone) = TimeZone::get(window.zone()) else { return false };
        let local = now.to_zoned(zone);
        let time = |value: i8| u8::try_from(value).unwrap_or_default();
        window.contains(time(local.hour()), time(local.minute()))
    }

    /// Sends one message; blocks.
    pub(super) fn send(&self, message: &Message, now: Timestamp) -> Result<(), String> {
        match &self.channel.kind {
            ChannelKind::Slack { url } => webhook::slack(self.value(url), message),
            ChannelKind::Webhook { url, key } => {
                let key = key.as_ref().map(|key| self.value(key));
                webhook::signed(self.value(url), key, message, now)
            }
            ChannelKind::Email(mail) => {
                let password = mail.password.as_ref().and_then(|name| self.secrets.get(name)).cloned();
                mail::send(mail, &Access { password, roots: self.roots.clone() }, message)
            }
            ChannelKind::Command { command } => program::run(command, &self.dir, message),
            ChannelKind::Ping { url } => ping::signal(self.value(url), Signal::Finished(0), &message.text()),
        }
    }

    /// Says that a run begins or ends; blocks. Only channels that count runs have an answer to it.
    pub(super) fn signal(&self, signal: Signal, summary: &str) -> Result<(), String> {
        match &self.channel.kind {
            ChannelKind::Ping { url } => ping::signal(self.value(url), signal, summary),
            _ => Ok(()),
        }
    }

    fn value(&self, reference: &SecretRef) -> &str {
        self.secrets.get(reference).map_or("", |value| value.reveal())
    }
}
