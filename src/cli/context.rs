//! The fleet directory, opened: registry, stacks, vault, and how to reach a client.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::Context as _;

use super::exit::refused;
use super::global::Global;
use crate::hint::HintExt as _;
use crate::notify::{self, Notifier};
use crate::registry::{self, Channel, Client, Registry, SecretRef};
use crate::secret::Secret;
use crate::ssh::{Target, Transport};
use crate::stack::Stack;
use crate::stack_source::load_stack;
use crate::vault::Vault;

pub struct Fleet {
    pub dir: PathBuf,
    pub file: PathBuf,
    /// The registry's text as it was read.
    pub text: String,
    pub registry: Registry,
    pub identity: Option<PathBuf>,
    stacks: Mutex<BTreeMap<String, Arc<Stack>>>,
}

impl Fleet {
    /// Reads and checks the registry.
    ///
    /// # Errors
    /// No registry, or everything that is wrong in it.
    pub fn open(global: &Global) -> anyhow::Result<Fleet> {
        let (dir, file) =
            global.locate().hint("run `fleet init` to make a fleet directory, or name one with -C DIR")?;
        let bytes = std::fs::read(&file).with_context(|| format!("{} cannot be read", file.display()))?;
        let text = String::from_utf8(bytes).map_err(|error| {
            anyhow::anyhow!("{} is not UTF-8 (byte {})", file.display(), error.utf8_error().valid_up_to())
        })?;
        Fleet::of(global, dir, file, text)
    }

    /// The same from a text that is not written (yet).
    ///
    /// # Errors
    /// Everything that is wrong in it.
    pub fn of(global: &Global, dir: PathBuf, file: PathBuf, text: String) -> anyhow::Result<Fleet> {
        let registry = Registry::parse(&text, &file.display().to_string())?;
        let identity = global.identity.clone();
        let fleet = Fleet { dir, file, text, registry, identity, stacks: Mutex::default() };
        super::own::opened(&fleet);
        Ok(fleet)
    }

    /// The stack that a client runs; each is read once.
    ///
    /// # Errors
    /// A stack that is not there, or everything that is wrong in it.
    pub fn stack(&self, client: &Client) -> anyhow::Result<Arc<Stack>> {
        let name = client.stack.as_ref().unwrap_or(&self.registry.fleet.stack).as_str();
        let mut stacks = self.stacks.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(stack) = stacks.get(name) {
            return Ok(Arc::clone(stack));
        }
        let stack = Arc::new(load_stack(&self.dir, name)?);
        stacks.insert(name.to_owned(), Arc::clone(&stack));
        Ok(stack)
    }

    /// The same, where the named service is one of it.
    ///
    /// # Errors
    /// As [`Fleet::stack`], and a service that the stack does not have.
    pub fn stack_with(&self, client: &Client, service: &str) -> anyhow::Result<Arc<Stack>> {
        let stack = self.stack(client)?;
        if stack.service(service).is_none() {
            let list: Vec<&str> = stack.services.iter().map(|service| service.name.as_str()).collect();
            return Err(refused(format!("stack {} has no service {service:?}", stack.name))
                .hint(format!("its services are {}", list.join(", "))));
        }
        Ok(stack)
    }

    /// # Errors
    /// Recipients that are no keys.
    pub fn vault(&self) -> anyhow::Result<Vault> {
        let extra: Vec<String> =
            self.registry.fleet.recipients.iter().map(|recipient| recipient.to_string()).collect();
        Ok(Vault::open(&self.dir, &extra, self.identity.clone())?)
    }

    /// The fleet's channels for messages, and a warning for each that cannot be used.
    #[must_use]
    pub fn notifier(&self) -> (Notifier, Vec<String>) {
        let (opened, refused) = self.channels(|_| true);
        let warnings = refused
            .into_iter()
            .map(|(name, why)| format!("notify.{name} cannot be used: {why} ({})", why.hint()))
            .collect();
        (Notifier::new(opened, &self.state_dir(), jiff::Timestamp::now), warnings)
    }

    /// The chosen channels with their secrets, and those that lack something.
    pub fn channels(
        &self,
        chosen: impl Fn(&Channel) -> bool,
    ) -> (Vec<notify::Opened>, Vec<(String, notify::Refusal)>) {
        let mut vars = notify::Vars::new();
        let mut unreadable = None;
        let channels: Vec<&Channel> = self.registry.notify.iter().filter(|one| chosen(one)).collect();
        for reference in channels.iter().flat_map(|channel| channel.secrets()) {
            match self.look_up(reference) {
                Ok(value) => vars.extend(value.map(|value| (reference.clone(), value))),
                Err(error) => unreadable = unreadable.or_else(|| Some(format!("{error:#}"))),
            }
        }
        let (mut opened, mut refused) = (Vec::new(), Vec::new());
        for channel in channels {
            match (notify::Opened::new(channel, &vars, &self.dir), &unreadable) {
                (Ok(channel), _) => opened.push(channel),
                (Err(notify::Refusal::NoSecret(_)), Some(why)) => {
                    refused.push((channel.name.to_string(), notify::Refusal::NoVault(why.clone())));
                }
                (Err(why), _) => refused.push((channel.name.to_string(), why)),
            }
        }
        (opened, refused)
    }

    /// The address that a client's own watch pings, its name filled in.
    ///
    /// # Errors
    /// A secret that is named and not there, or that is no address.
    pub fn ping_of(&self, client: &Client) -> anyhow::Result<Option<Secret<String>>> {
        let Some(reference) = &client.checks.ping else { return Ok(None) };
        let plain = |url: &String| {
            url.starts_with("http") && url.bytes().all(|b| b.is_ascii_graphic() && b != b'"' && b != b'\\')
        };
        match self.look_up(reference)?.map(|value| value.reveal().clone()).filter(plain) {
            Some(url) => {
                let url = url.replace("{client}", &client.name);
                Ok(Some(Secret::new(url.trim_end_matches('/').to_owned())))
            }
            None => Err(super::exit::refused(format!(
                "checks.ping of {}: {} holds no address",
                client.name,
                reference.name()
            ))
            .hint(how_to_set(reference))),
        }
    }

    /// A secret of the fleet, or a variable of the environment; `what` is for messages.
    ///
    /// # Errors
    /// When it is not set.
    pub fn secret(&self, reference: &SecretRef, what: &str) -> anyhow::Result<Secret<String>> {
        self.look_up(reference)?.ok_or_else(|| {
            super::exit::refused(format!("{what}: {} is not set", reference.name()))
                .hint(how_to_set(reference))
        })
    }

    /// What a reference names; nothing where it is not set or empty.
    ///
    /// # Errors
    /// Secrets that cannot be read.
    fn look_up(&self, reference: &SecretRef) -> anyhow::Result<Option<Secret<String>>> {
        let value = match reference {
            SecretRef::Env(name) => std::env::var(name).ok().map(Secret::new),
            SecretRef::Vault(name) => {
                let secrets = self.vault()?.read_optional(crate::vault::FLEET)?;
                secrets.and_then(|secrets| secrets.get(name).cloned())
            }
        };
        Ok(value.filter(|value| !value.reveal().is_empty()))
    }

    /// The same with the identity that `fleet init` made, whatever --identity says.
    ///
    /// # Errors
    /// As [`Fleet::vault`].
    pub fn own_vault(&self) -> anyhow::Result<Vault> {
        let extra: Vec<String> =
            self.registry.fleet.recipients.iter().map(|recipient| recipient.to_string()).collect();
        Ok(Vault::open(&self.dir, &extra, None)?)
    }

    #[must_use]
    pub fn ssh_key(&self) -> PathBuf {
        self.dir.join(self.registry.fleet.ssh_key.as_str())
    }

    /// The fleet's public key as one line of `authorized_keys`.
    ///
    /// # Errors
    /// When there is none yet.
    pub fn public_key(&self) -> anyhow::Result<String> {
        let path = crate::keys::public_path(&self.ssh_key());
        let text = std::fs::read_to_string(&path)
            .with_context(|| format!("the fleet's public key {} cannot be read", path.display()))
            .hint("run `fleet ssh-key generate` to make the fleet's own key")?;
        Ok(text.trim().to_owned())
    }

    #[must_use]
    pub fn target(&self, client: &Client) -> Target {
        Target {
            name: client.name.to_string(),
            host: client.address.to_string(),
            port: client.port,
            user: client.user.to_string(),
            key: self.ssh_key(),
            known_hosts: self.dir.join("known_hosts"),
            jump: client.jump.as_ref().map(ToString::to_string),
            agent: std::env::var_os("SSH_AUTH_SOCK").map(PathBuf::from),
            connect_timeout: self.registry.fleet.connect_timeout,
            transport: match client.transport {
                registry::Transport::Native => Transport::Native,
                registry::Transport::OpenSsh => Transport::OpenSsh,
            },
        }
    }

    /// Local state, never committed.
    #[must_use]
    pub fn state_dir(&self) -> PathBuf {
        self.dir.join(".fleet")
    }

    /// Images that are built here for all hosts.
    #[must_use]
    pub fn images_dir(&self) -> PathBuf {
        self.state_dir().join("images")
    }

    /// A path of the registry, relative to the fleet directory.
    #[must_use]
    pub fn path(&self, relative: &str) -> PathBuf {
        let path = Path::new(relative);
        if path.is_absolute() { path.to_owned() } else { self.dir.join(path) }
    }
}

fn how_to_set(reference: &SecretRef) -> String {
    match reference {
        SecretRef::Env(name) => format!("set {name} where fleet runs, in cron's file too"),
        SecretRef::Vault(name) => format!("fleet secrets set --fleet {name}"),
    }
}
