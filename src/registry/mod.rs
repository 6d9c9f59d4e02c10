//! `clients.toml`: who the clients are, checked in full before anything is contacted.
//!
//! `settings` is `[fleet]`, `client` one tenant, `draft` how a tenant's table and `[defaults]` make
//! one, `values` the types that hold only what was checked. `selection` picks clients for a
//! command, `edit` changes the text without touching a byte that it need not, `json` shows it.
//! This room is pure: text goes in, values or findings come out.

mod checks;
mod client;
mod draft;
pub mod edit;
mod json;
mod notify;
mod selection;
mod sentry;
mod settings;
mod storage;
pub mod values;

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::hash::Hash;

use crate::diagnostic::{Diagnostics, Fault, shown};
use crate::toml_reader::{Document, Place, Table, Value, table};
use draft::{Draft, Read};
use values::{FilePath, Name, Ours};

pub use client::{Backup, Checks, Client, Keep, Sentry};
pub use notify::{Channel, ChannelKind, Mail, MailTls, SecretRef, Topic};
pub use selection::{SelectError, Selection};
pub use sentry::{SentryProject, SentryServer};
pub use settings::{Acme, Backups, Docker, DockerSource, FleetSettings, ProveWith, Transport};
pub use storage::{Login, Rest, S3, Storage};

/// A whole `clients.toml`.
#[derive(Clone, Debug, PartialEq)]
pub struct Registry {
    pub fleet: FleetSettings,
    /// Where messages go, in the order of the file.
    pub notify: Vec<Channel>,
    /// Projects of Sentry that clients name, in the order of the file.
    pub sentry: Vec<SentryProject>,
    /// In the order of the file.
    pub clients: Vec<Client>,
}

impl Registry {
    /// Reads and checks a registry; `file` is its name as the operator knows it.
    ///
    /// # Errors
    /// Everything that is wrong with it, in the order of the file.
    pub fn parse(text: &str, file: &str) -> Result<Registry, Diagnostics> {
        Document::parse(text, file)?.read(|root| {
            root.elsewhere(draft::KEYS, "[defaults] or a client's table, [clients.NAME]");
            root.elsewhere(settings::KEYS, "[fleet]");
            if !root.has("fleet") {
                let fault = Fault::new("is missing").expected("a table [fleet] with name and stack");
                root.missing::<()>("fleet", fault.hint("`fleet init` writes a first clients.toml"));
            }
            let fleet = root.optional("fleet", table(FleetSettings::read));
            let sentry = root.optional("sentry", sentry::read).unwrap_or_default();
            let defaults = root.optional("defaults", table(|defaults| Some(Draft::read(defaults, &sentry))));
            let transport = fleet.as_ref().map(|fleet| fleet.transport).unwrap_or_default();
            let notify = root.optional("notify", notify::read).unwrap_or_default();
            let clients = root.optional("clients", |clients| {
                read_clients(clients, &defaults.unwrap_or_default(), &sentry, transport)
            });
            Some(Registry { fleet: fleet?, notify, sentry, clients: clients.unwrap_or_default() })
        })
    }

    /// Secrets of the fleet and variables that are named, each with the key that names it.
    #[must_use]
    pub fn secrets(&self) -> Vec<(&SecretRef, String)> {
        let mut all = Vec::new();
        for channel in &self.notify {
            all.extend(channel.secrets().map(|reference| (reference, format!("notify.{}", channel.name))));
        }
        match &self.fleet.backup.repository {
            Storage::S3(s3) => {
                all.push((&s3.key_id, "fleet.backup.s3.key_id".to_owned()));
                all.push((&s3.key, "fleet.backup.s3.key".to_owned()));
            }
            Storage::Rest(rest) => {
                let login = rest.login.as_ref();
                all.extend(login.map(|login| (&login.password, "fleet.backup.rest.password".to_owned())));
            }
            Storage::Folder(_) => {}
        }
        let sentry = &self.fleet.sentry;
        all.extend(sentry.token.as_ref().map(|token| (token, "fleet.sentry.token".to_owned())));
        all.extend(sentry.dsn.as_ref().map(|dsn| (dsn, "fleet.sentry.dsn".to_owned())));
        for client in &self.clients {
            let ping = client.checks.ping.as_ref();
            all.extend(ping.map(|ping| (ping, format!("checks.ping of {}", client.name))));
        }
        all
    }

    /// The client of exactly this name.
    #[must_use]
    pub fn client(&self, name: &str) -> Option<&Client> {
        self.clients.iter().find(|client| client.name == *name)
    }

    /// The stack that a client runs: its own, or the fleet's.
    #[must_use]
    pub fn stack_of<'r>(&'r self, client: &'r Client) -> &'r FilePath {
        client.stack.as_ref().unwrap_or(&self.fleet.stack)
    }
}

/// `[clients]`: every table in it is a client. A bad one is reported and left out, so that the
/// others are checked all the same.
fn read_clients<'d>(
    clients: Value<'d>,
    base: &Draft<'d>,
    sentry: &[SentryProject],
    transport: Transport,
) -> Option<Vec<Client>> {
    let mut clients = clients.into_table()?;
    let all = clients.take_all();
    let mut read = Vec::with_capacity(all.len());
    for value in &all {
        let name = client_name(value, &all);
        let client = |client: &mut Table<'d>| {
            // A client with a bad name has its values checked too.
            let name = name.clone().unwrap_or_else(|| Name::from(Ours("unnamed")));
            Draft::read(client, sentry).finish(name, base, client, transport)
        };
        read.extend(table(client)(value.clone()).filter(|_| name.is_some()));
    }
    refuse_shared(&read);
    Some(read.into_iter().map(|read| read.client).collect())
}

fn client_name(value: &Value<'_>, all: &[Value<'_>]) -> Option<Name> {
    let key = value.key();
    let fault = match Name::parse(key) {
        Ok(name) => return Some(name),
        Err(fault) => fault,
    };
    let twin = all.iter().find(|other| other.key() != key && other.key().eq_ignore_ascii_case(key));
    value.label().fault(match twin {
        Some(twin) => {
            let (other, line) = (shown(twin.key()), twin.label().line());
            Fault::new(format!("differs only in capitals from {other} on line {line}"))
                .expected("a name of its own, in lower case")
        }
        None => fault,
    })
}

/// No two clients have one domain or one address: a value of one would cross to the other.
fn refuse_shared(read: &[Read<'_>]) {
    let mut domains = Owners::for_clients(read.len());
    let mut hosts = Owners::for_clients(read.len());
    for Read { client, domain, aliases, address } in read {
        let names = std::iter::once((&client.domain, domain)).chain(client.aliases.iter().zip(aliases));
        for (name, place) in names {
            domains.claim(name.as_str(), client, place, || format!("the domain {name}"));
        }
        // Behind different jump hosts, one private address is two machines.
        let host = (&client.address, client.port, &client.jump);
        hosts.claim(host, client, address, || format!("the address {} port {}", client.address, client.port));
    }
}

/// Who was first to have something, and where.
struct Owners<'r, 'd, K>(HashMap<K, (&'r Name, &'r Place<'d>)>);

impl<'r, 'd, K: Hash + Eq> Owners<'r, 'd, K> {
    fn for_clients(count: usize) -> Self {
        Owners(HashMap::with_capacity(count))
    }

    fn claim(&mut self, what: K, client: &'r Client, place: &'r Place<'d>, words: impl Fn() -> String) {
        match self.0.entry(what) {
            Entry::Vacant(free) => drop(free.insert((&client.name, place))),
            Entry::Occupied(taken) => {
                let (owner, first) = taken.get();
                let owner = if *owner == &client.name { "this client" } else { owner.as_str() };
                let fault =
                    Fault::new(format!("{} is already that of {owner}, line {}", words(), first.line()));
                place.fault(fault.hint("no two clients share a domain or a server")).unwrap_or_default()
            }
        }
    }
}
