//! `[notify.NAME]`: where messages go. What gives access (a webhook's URL, a password, a key) is never
//! written here, only the name of the fleet's secret or of the environment variable that holds it.

use std::collections::BTreeSet;

use serde_json::{Value as Json, json};

use super::values::{Email, FilePath, Name, UpdateWindow, variable};
use crate::diagnostic::{Fault, shown};
use crate::toml_reader::{Table, Value, integer, list, one_of, parsed, string, table};

/// One way out of the fleet directory for messages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Channel {
    pub name: Name,
    pub kind: ChannelKind,
    /// What it wants to hear of.
    pub topics: BTreeSet<Topic>,
    /// When messages are held back until it is over.
    pub quiet: Option<UpdateWindow>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ChannelKind {
    /// An incoming webhook of Slack, or of what speaks like it.
    Slack {
        url: SecretRef,
    },
    Email(Mail),
    /// A POST of JSON, signed as Standard Webhooks has it where there is a key.
    Webhook {
        url: SecretRef,
        key: Option<SecretRef>,
    },
    /// A dead man's switch such as healthchecks.io: hears of every run, and alarms when it hears nothing.
    Ping {
        url: SecretRef,
    },
    /// A program of this machine that reads the message on standard input.
    Command {
        command: Vec<String>,
    },
}

/// How mail leaves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mail {
    pub server: String,
    pub port: u16,
    pub tls: MailTls,
    /// Roots that the server is verified with, where the system's do not do (PEM file).
    pub ca: Option<FilePath>,
    pub user: Option<String>,
    pub password: Option<SecretRef>,
    pub from: Email,
    pub to: Vec<Email>,
}

/// How the connection to a mail server is encrypted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum MailTls {
    /// Begins in the clear and must change over before anything is said (port 587).
    #[default]
    StartTls,
    /// From the first byte (port 465).
    Implicit,
    /// Not at all: for a server on this machine only.
    None,
}

/// Where a secret is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum SecretRef {
    /// A secret of the fleet: `fleet secrets set --fleet NAME`.
    Vault(String),
    /// A variable of the environment that `fleet` runs in.
    Env(String),
}

/// What a message is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Topic {
    Check,
    Update,
    Backup,
}

const TOPICS: &[(&str, Topic)] =
    &[("check", Topic::Check), ("update", Topic::Update), ("backup", Topic::Backup)];
const KINDS: &[(&str, Word)] = &[
    ("slack", Word::Slack),
    ("email", Word::Email),
    ("webhook", Word::Webhook),
    ("ping", Word::Ping),
    ("command", Word::Command),
];
const TLS: &[(&str, MailTls)] =
    &[("starttls", MailTls::StartTls), ("implicit", MailTls::Implicit), ("none", MailTls::None)];

#[derive(Clone, Copy)]
enum Word {
    Slack,
    Email,
    Webhook,
    Ping,
    Command,
}

impl Topic {
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Topic::Check => "check",
            Topic::Update => "update",
            Topic::Backup => "backup",
        }
    }
}

impl SecretRef {
    /// The name in the vault or the environment.
    #[must_use]
    pub fn name(&self) -> &str {
        match self {
            SecretRef::Vault(name) | SecretRef::Env(name) => name,
        }
    }

    pub(super) fn to_json(&self) -> Json {
        match self {
            SecretRef::Vault(name) => json!({ "secret": name }),
            SecretRef::Env(name) => json!({ "env": name }),
        }
    }
}

impl ChannelKind {
    #[must_use]
    pub fn word(&self) -> &'static str {
        match self {
            ChannelKind::Slack { .. } => "slack",
            ChannelKind::Email(_) => "email",
            ChannelKind::Webhook { .. } => "webhook",
            ChannelKind::Ping { .. } => "ping",
            ChannelKind::Command { .. } => "command",
        }
    }
}

impl Channel {
    /// Every secret that it needs.
    pub fn secrets(&self) -> impl Iterator<Item = &SecretRef> {
        let (first, second) = match &self.kind {
            ChannelKind::Slack { url } | ChannelKind::Ping { url } => (Some(url), None),
            ChannelKind::Webhook { url, key } => (Some(url), key.as_ref()),
            ChannelKind::Email(mail) => (mail.password.as_ref(), None),
            ChannelKind::Command { .. } => (None, None),
        };
        first.into_iter().chain(second)
    }

    /// One channel, schema `fleet.channel/1`. No value of a secret is known here.
    #[must_use]
    pub fn to_json(&self) -> Json {
        let mut channel = json!({
            "schema": "fleet.channel/1",
            "name": self.name,
            "kind": self.kind.word(),
            "on": self.topics.iter().map(|topic| topic.word()).collect::<Vec<_>>(),
            "quiet": self.quiet,
            "secrets": self.secrets().map(SecretRef::to_json).collect::<Vec<_>>(),
        });
        match &self.kind {
            ChannelKind::Email(mail) => {
                channel["server"] = json!(format!("{}:{}", mail.server, mail.port));
                channel["to"] = json!(mail.to);
            }
            ChannelKind::Command { command } => channel["command"] = json!(command),
            ChannelKind::Slack { .. } | ChannelKind::Webhook { .. } | ChannelKind::Ping { .. } => {}
        }
        channel
    }

    fn read(channel: &mut Table<'_>, name: Option<Name>) -> Option<Self> {
        let kind = channel.required("kind", one_of(KINDS));
        let topics = channel.optional("on", list(one_of(TOPICS)));
        let quiet = channel.optional("quiet", parsed(quiet_hours));
        // A secret that is written here all the same is not shown, whatever else is wrong.
        for key in ["url", "key", "password"] {
            channel.conceal_text(key);
        }
        let Some(kind) = kind else {
            // Which keys belong there is not known.
            channel.take_all();
            return None;
        };
        let kind = match kind {
            Word::Slack => ChannelKind::Slack { url: channel.required("url", reference)? },
            Word::Ping => ChannelKind::Ping { url: channel.required("url", reference)? },
            Word::Webhook => {
                let url = channel.required("url", reference);
                let key = channel.optional("key", reference);
                ChannelKind::Webhook { url: url?, key }
            }
            Word::Email => ChannelKind::Email(Mail::read(channel)?),
            Word::Command => {
                let command = channel.required("command", list(string))?;
                if command.first().is_none_or(String::is_empty) {
                    let fault = Fault::new("names no program").expected("a program and its arguments");
                    return channel.missing("command", fault);
                }
                ChannelKind::Command { command }
            }
        };
        let all = || TOPICS.iter().map(|(_, topic)| *topic).collect();
        let topics = topics.map_or_else(all, |topics| topics.into_iter().collect());
        Some(Channel { name: name?, kind, topics, quiet })
    }
}

impl Mail {
    fn read(mail: &mut Table<'_>) -> Option<Self> {
        let server = mail.required("server", parsed(server));
        let port = mail.optional("port", integer(1..=u16::MAX));
        let tls = mail.optional("tls", one_of(TLS)).unwrap_or_default();
        let ca = mail.optional("ca", parsed(FilePath::parse));
        let user = mail.optional("user", string);
        let password = mail.optional("password", reference);
        let from = mail.required("from", parsed(Email::parse));
        let to = mail.required("to", list(parsed(Email::parse)));
        let server = server?;
        if tls == MailTls::None && !matches!(server.as_str(), "localhost" | "127.0.0.1" | "::1") {
            let fault = Fault::new("mail would leave this machine in the clear")
                .expected("\"starttls\" or \"implicit\"; \"none\" is for localhost alone");
            return mail.missing("tls", fault);
        }
        if user.is_some() != password.is_some() {
            let fault = Fault::new("one of `user` and `password` is there without the other");
            return mail.missing("user", fault.expected("both, or none"));
        }
        let to = to?;
        if to.is_empty() {
            return mail.missing("to", Fault::new("names nobody").expected("at least one address"));
        }
        let usual = match tls {
            MailTls::StartTls => 587,
            MailTls::Implicit => 465,
            MailTls::None => 25,
        };
        Some(Mail { server, port: port.unwrap_or(usual), tls, ca, user, password, from: from?, to })
    }
}

fn quiet_hours(text: &str) -> Result<UpdateWindow, Fault> {
    if text == "always" {
        return Err(Fault::new("a channel that is always quiet tells nothing")
            .expected("two times and a zone, such as \"22:00-07:00 Europe/Paris\""));
    }
    UpdateWindow::parse(text)
}

fn server(text: &str) -> Result<String, Fault> {
    let inner = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b':');
    if !text.is_empty() && text.bytes().all(inner) && !text.starts_with(['-', '.']) {
        return Ok(text.to_owned());
    }
    Err(Fault::new(format!("{} is no server", shown(text)))
        .expected("a name such as smtp.example.fr; its port is a key of its own"))
}

/// `{ secret = "NAME" }` or `{ env = "NAME" }`. A value written here instead is not shown again.
pub(super) fn reference(value: Value<'_>) -> Option<SecretRef> {
    const FORM: &str = "{ secret = \"NAME\" } or { env = \"NAME\" }";
    if !matches!(value.item(), toml::de::DeValue::Table(_)) {
        value.conceal();
        let fault = Fault::new("is a secret, and this file may be committed").expected(FORM);
        return value.fault(fault.hint("give it with `fleet secrets set --fleet NAME`, and name it here"));
    }
    let place = value.place().clone();
    let (secret, env) = table(|of: &mut Table<'_>| {
        let secret = of.optional("secret", parsed(variable));
        Some((secret, of.optional("env", parsed(variable))))
    })(value)?;
    match (secret, env) {
        (Some(name), None) => Some(SecretRef::Vault(name)),
        (None, Some(name)) => Some(SecretRef::Env(name)),
        (Some(_), Some(_)) => place.fault(Fault::new("names two places").expected(FORM)),
        (None, None) => place.fault(Fault::new("names no place").expected(FORM)),
    }
}

/// `[notify]`: every table in it is a channel.
pub(super) fn read(value: Value<'_>) -> Option<Vec<Channel>> {
    let mut channels = Vec::new();
    for value in value.into_table()?.take_all() {
        let name = match Name::parse(value.key()) {
            Ok(name) => Some(name),
            Err(fault) => value.label().fault(fault),
        };
        channels.extend(table(|channel: &mut Table<'_>| Channel::read(channel, name.clone()))(value));
    }
    Some(channels)
}
