//! From one client of the registry to what its host shall be: stack, secrets, source and rendered
//! files come together here, and nowhere else.

mod release;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Context as _;

use super::context::Fleet;
use super::{database, images, shelves};
use crate::hint::HintExt as _;
use crate::ops::schedule::Schedule;
use crate::ops::{Layout, certbot};
use crate::plan::hooks::Hooks;
use crate::plan::{Desired, Repository, RepositoryKey};
use crate::registry::Client;
use crate::secret::{Redactor, Secret, generate};
use crate::source::Snapshot;
use crate::stack::{self, EnvInput, Rendered, ResolvedEnv, Stack};
use crate::vault::{BACKUP_KEY, ClientSecrets, Vault};

const DOCKER_KEY: &str = "https://download.docker.com/linux/{os}/gpg";
/// Dumps that a host keeps when the registry names no number of days.
const NIGHTLY_DUMPS: u32 = 7;
/// Login that provisioning makes for the fleet.
const DEPLOY_USER: &str = "fleet";

/// Whether secrets that a client does not have yet are made and kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NewSecrets {
    /// Generated, stored, used.
    Keep,
    /// Stand-ins of the same form, forgotten at once: nothing is written for a preview.
    Pretend,
}

/// Who is doing this, for journals, leases and state files.
#[derive(Clone, Debug)]
pub struct RunInfo {
    pub run: String,
    pub who: String,
    pub at: String,
}

/// One client, ready for the planner.
pub struct Assembled {
    pub desired: Desired,
    pub redactor: Redactor,
    /// The client had no secrets before this run.
    pub first_secrets: bool,
    /// Names of secrets whose former values are kept until the host runs with the new ones.
    pub replaced: Vec<String>,
    /// What the application tells Sentry that it is.
    pub sentry_release: String,
}

/// A client's rendered files and what they were made from.
pub struct Made {
    pub stack: Arc<Stack>,
    pub env: ResolvedEnv,
    pub rendered: Rendered,
    pub release: stack::ReleaseContext,
    pub images: BTreeMap<String, String>,
    pub digest: String,
    pub first_secrets: bool,
    /// Names of values that do not exist yet.
    pub pretended: Vec<String>,
    /// Values that were replaced and that some host may still have, oldest first.
    former: BTreeMap<String, Vec<Secret<String>>>,
    source: Option<Arc<Snapshot>>,
}

pub struct Assembler<'f> {
    fleet: &'f Fleet,
    vault: Vault,
    info: RunInfo,
    new_secrets: NewSecrets,
    sources: BTreeMap<PathBuf, Arc<Snapshot>>,
    /// A tree that stands for the registry's source: that of a snapshot.
    pub source_at: Option<PathBuf>,
    acme_ca: Option<Vec<u8>>,
    docker_key: RepositoryKey,
}

impl<'f> Assembler<'f> {
    /// # Errors
    /// A file that the registry names and that is not there.
    pub fn new(fleet: &'f Fleet, info: RunInfo, new_secrets: NewSecrets) -> anyhow::Result<Self> {
        let settings = &fleet.registry.fleet;
        let read = |key: &str, path: &str| {
            let path = fleet.path(path);
            std::fs::read(&path).with_context(|| format!("{key}: {} cannot be read", path.display()))
        };
        let acme_ca =
            settings.acme.ca.as_ref().map(|path| read("fleet.acme.ca", path.as_str())).transpose()?;
        let docker_key = match &settings.docker.key {
            Some(path) => RepositoryKey::Content(read("fleet.docker.key", path.as_str())?),
            None => RepositoryKey::Url(DOCKER_KEY.to_owned()),
        };
        Ok(Assembler {
            fleet,
            vault: fleet.vault()?,
            info,
            new_secrets,
            sources: BTreeMap::new(),
            source_at: None,
            acme_ca,
            docker_key,
        })
    }

    /// The source trees that were read, to be looked at again after a push.
    pub fn sources(&self) -> impl Iterator<Item = &Arc<Snapshot>> {
        self.sources.values()
    }

    /// Renders one client.
    ///
    /// # Errors
    /// Everything that is wrong with the client's values, named before any host is contacted.
    pub fn make(&mut self, client: &Client) -> anyhow::Result<Made> {
        let stack = self.fleet.stack(client)?;
        let source = self.source(&stack)?;
        let Values { now: secrets, former, first: first_secrets, pretended } =
            self.secrets(client, &stack)?;
        let env = stack.env.resolve(EnvInput {
            client,
            fleet: self.fleet.registry.fleet.name.as_str(),
            registry: &self.fleet.file.display().to_string(),
            secrets: &secrets,
        })?;
        let images = images::tags(&stack, source.as_deref())?;
        let version = images::version(source.as_deref());
        let source_digest = source.as_ref().map(|source| source.digest(""));
        let named = |id: &str| stack::ReleaseContext::new(&stack.name, id, version.as_str());
        let input = stack::RenderInput {
            client,
            fleet: self.fleet.registry.fleet.name.as_str(),
            env: &env,
            release: &named("draft"),
            images: &images,
            source_digest: source_digest.as_deref(),
        };
        let (rendered, release) = stack.render_as(&input, |digest| named(&digest[..12]))?;
        let digest = rendered.digest.clone();
        Ok(Made { stack, env, rendered, release, images, digest, first_secrets, pretended, former, source })
    }

    /// Everything about one client that a planner needs.
    ///
    /// # Errors
    /// As [`Assembler::make`].
    pub fn assemble(&mut self, client: &Client, services: &[String]) -> anyhow::Result<Assembled> {
        let made = self.make(client)?;
        let settings = &self.fleet.registry.fleet;
        let layout = Layout::new(&made.stack.name);
        let ping = self.fleet.ping_of(client)?;
        let former = made
            .former
            .iter()
            .flat_map(|(name, values)| values.iter().map(move |value| (name.as_str(), value)));
        let redactor = Redactor::new(
            made.env.secrets().chain(former).chain(ping.iter().map(|url| ("checks.ping", url))),
        );
        let health_url = made.stack.health_url(client.domain.as_str());
        let database = database::server(client, &made.stack, &made.env)?;
        let schedule = Schedule {
            layout: layout.clone(),
            client: client.name.to_string(),
            domain: client.domain.to_string(),
            backup_cron: client.backup.schedule.to_string(),
            keep: client.backup.keep.daily.unwrap_or(NIGHTLY_DUMPS).max(1),
            database: database.clone().filter(|_| made.stack.backup.database),
            volumes: made.stack.backup.volumes.clone(),
            health_url,
            tls: made.stack.tls.is_some(),
            compose_file: made.stack.compose.clone(),
            dotenv: made.stack.dotenv.clone(),
            disk_percent: crate::check::Limits::of(&client.checks).disk_percent,
            ping,
        };
        let tls = made.stack.tls.as_ref().map(|tls| certbot::Wanted {
            layout: layout.clone(),
            domain: client.domain.to_string(),
            aliases: client.aliases.iter().map(ToString::to_string).collect(),
            email: client.email.as_ref().map(ToString::to_string),
            server: settings.acme.server.to_string(),
            ca: self.acme_ca.clone(),
            service: tls.service.clone(),
            reload: tls.reload.clone(),
            certificate: tls.certificate.clone(),
            key: tls.key.clone(),
        });
        let mut release = release::release(&made, &layout, database, services)?;
        release.built_here = super::builds::built_here(&made.stack, &release.builds, self.fleet);
        let desired = Desired {
            client: client.name.to_string(),
            domain: client.domain.to_string(),
            docker: settings.docker.source,
            repository: Repository {
                url: settings.docker.repository.as_ref().map(ToString::to_string),
                key: self.docker_key.clone(),
            },
            registry_mirrors: settings.docker.registry_mirrors.iter().map(ToString::to_string).collect(),
            firewall: settings.firewall,
            ssh_port: client.port,
            swap: client.swap,
            memory_mb: made.stack.memory_mb,
            deploy_user: Some(DEPLOY_USER.to_owned()),
            public_key: self.fleet.public_key()?,
            tls,
            schedule,
            release,
            overwrite_drift: false,
            rollback_to: None,
            restore: None,
            purge: None,
            hooks: Hooks::default(),
            backup_first: shelves::before_migrations(self.fleet, client, &made.stack),
            plain: plain(&made),
            layout,
            who: self.info.who.clone(),
            run: self.info.run.clone(),
            at: self.info.at.clone(),
        };
        let replaced = made.former.keys().cloned().collect();
        let sentry_release = made.stack.sentry_release(&made.images, &made.release.version);
        Ok(Assembled { desired, redactor, first_secrets: made.first_secrets, replaced, sentry_release })
    }

    fn source(&mut self, stack: &Stack) -> anyhow::Result<Option<Arc<Snapshot>>> {
        let Some(spec) = &stack.source else { return Ok(None) };
        if let Some(path) = self.source_at.clone() {
            return self.tree(path, spec).map(Some);
        }
        let Some(configured) = &self.fleet.registry.fleet.source else {
            return Err(super::exit::refused(format!(
                "stack {} is built from source, and clients.toml names none",
                stack.name
            ))
            .hint("set `source = \"../folder\"` under [fleet]"));
        };
        let hint = format!("`source` under [fleet] is {:?}", configured.as_str());
        self.tree(self.fleet.path(configured.as_str()), spec).map(Some).hint(hint)
    }

    fn tree(&mut self, path: PathBuf, spec: &stack::Source) -> anyhow::Result<Arc<Snapshot>> {
        if let Some(known) = self.sources.get(&path) {
            return Ok(Arc::clone(known));
        }
        let snapshot = Arc::new(Snapshot::take(&path, &spec.exclude)?);
        self.sources.insert(path, Arc::clone(&snapshot));
        Ok(snapshot)
    }

    fn secrets(&self, client: &Client, stack: &Stack) -> anyhow::Result<Values> {
        let name = client.name.as_str();
        let known = self.vault.read_optional(name)?;
        if known.is_none() && self.vault.index(name)?.is_some() {
            // There once were some: that is a loss, which a preview tells too.
            self.vault.read(name)?;
        }
        let first = known.is_none();
        let present: BTreeSet<String> =
            known.iter().flat_map(|secrets| secrets.names()).map(str::to_owned).collect();
        let wanted = stack.env.to_generate(|name| present.contains(name));
        let mut values = Values { first: first && !wanted.is_empty(), ..Values::default() };
        let mut rng = rand::rng();
        let kept = if self.new_secrets == NewSecrets::Keep && !wanted.is_empty() {
            Some(self.vault.ensure(name, &wanted, false, &mut rng, jiff::Timestamp::now())?.0)
        } else {
            for (name, generator) in &wanted {
                values.now.insert(name.clone(), generate(generator, &mut rng));
                values.pretended.push(name.clone());
            }
            known
        };
        if let Some(secrets) = &kept {
            values.now.extend(for_the_host(secrets));
            let replaced = secrets.unconfirmed();
            values.former = replaced.map(|name| (name.to_owned(), secrets.previous(name).to_vec())).collect();
        }
        Ok(values)
    }
}

/// A client's secrets without what is the operator's alone.
fn for_the_host(secrets: &ClientSecrets) -> impl Iterator<Item = (String, Secret<String>)> {
    secrets
        .iter()
        .filter(|(name, _)| *name != BACKUP_KEY)
        .map(|(name, value)| (name.to_owned(), value.clone()))
}

/// What the vault has for one client, read once.
#[derive(Default)]
struct Values {
    now: BTreeMap<String, Secret<String>>,
    /// Values that were replaced and that some host may still have, oldest first.
    former: BTreeMap<String, Vec<Secret<String>>>,
    /// The client had none before this run.
    first: bool,
    /// Names of values that do not exist yet.
    pretended: Vec<String>,
}

/// Variables that may be shown: those that the stack declares and that are no secrets.
fn plain(made: &Made) -> BTreeMap<String, String> {
    let declared = made.stack.env.variables.iter().filter(|(_, variable)| !variable.secret);
    let values = made.env.values.iter().filter(|(_, value)| !value.secret);
    let values = values.map(|(name, value)| (name.clone(), value.value.reveal().clone()));
    declared.map(|(name, _)| (name.clone(), String::new())).chain(values).collect()
}
