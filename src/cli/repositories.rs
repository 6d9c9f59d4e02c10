//! From a client of the registry to its backup repository: where it is, what opens it, what is saved.

use std::sync::{Arc, Mutex};

use anyhow::Context as _;
use jiff::Timestamp;

use super::assemble::RunInfo;
use super::context::Fleet;
use super::exit::{CliError, refused};
use crate::backup::manifest::{Manifest, SCHEMA};
use crate::backup::{BackupError, Bucket, ClientBackup, Dumped, Place, Rest, Store, Throttle, What};
use crate::event::ExitKind;
use crate::fs_atomic::LockError;
use crate::hint::HintExt as _;
use crate::ops::Layout;
use crate::ops::backup::Folder;
use crate::ops::migration::Server;
use crate::plan::hooks::Hooks;
use crate::registry::edit::only_client;
use crate::registry::{Client, Storage};
use crate::secret::{Generator, Secret};
use crate::stack::Stack;
use crate::vault::{BACKUP_KEY, Vault};

/// Length of a new repository's key: 256 bits.
const KEY: Generator = Generator::Alnum(43);

/// The repository of a client that has one.
///
/// # Errors
/// A client without a key: nothing was backed up yet, or its secrets are not here.
pub fn place(fleet: &Fleet, vault: &Vault, client: &Client) -> anyhow::Result<Place> {
    let name = client.name.as_str();
    opened_by(fleet, name, store(fleet, name)?, key(vault, name)?)
}

/// The same for writing: a client's first backup makes its key.
///
/// # Errors
/// Secrets that are lost: a new key would only hide that.
pub fn place_to_write(fleet: &Fleet, vault: &Vault, client: &Client, stack: &Stack) -> anyhow::Result<Place> {
    let name = client.name.as_str();
    let store = store(fleet, name)?;
    let mut known = key(vault, name)?;
    if known.is_none() && !found(&store, name)? {
        // A client that must have secrets and has none here lost them: a file with this key alone would
        // look like a beginning.
        let lost = stack.env.vault_names().next().is_some() || vault.index(name)?.is_some();
        let wanted = [(BACKUP_KEY.to_owned(), KEY)];
        vault.ensure(name, &wanted, lost, &mut rand::rng(), Timestamp::now())?;
        known = key(vault, name)?;
    }
    opened_by(fleet, name, store, known)
}

/// What opens the repository of a client.
fn key(vault: &Vault, client: &str) -> anyhow::Result<Option<Secret<String>>> {
    let secrets = vault.read_optional(client)?;
    Ok(secrets.and_then(|secrets| secrets.get(BACKUP_KEY).cloned()))
}

/// The repository of a client whose key is known.
///
/// # Errors
/// As [`store`].
pub fn place_with(fleet: &Fleet, client: &str, key: Secret<String>) -> anyhow::Result<Place> {
    opened_by(fleet, client, store(fleet, client)?, Some(key))
}

fn opened_by(
    fleet: &Fleet,
    client: &str,
    store: Store,
    key: Option<Secret<String>>,
) -> anyhow::Result<Place> {
    match key {
        Some(key) => Ok(Place::new(client, store, key, lock(fleet, client))),
        None if found(&store, client)? => Err(refused(format!(
            "there is a repository of {client} at {}, and its key is not in the secrets",
            store.name()
        ))
        .hint(format!(
            "bring back secrets/{client}.age (git has it), or `fleet backups recovery-key --import FILE`"
        ))),
        None => Err(refused(format!("{client} has no backup yet")).hint(format!("fleet backup {client}"))),
    }
}

/// Where the repository of a client is, whether or not it is there yet.
///
/// # Errors
/// A storage whose key is not among the fleet's secrets.
pub fn store(fleet: &Fleet, client: &str) -> anyhow::Result<Store> {
    match &fleet.registry.fleet.backup.repository {
        Storage::Folder(path) => Ok(Store::Folder(fleet.path(path.as_str()).join(client))),
        Storage::S3(s3) => Ok(Store::Bucket(Bucket {
            endpoint: s3.endpoint.to_string(),
            region: s3.region.clone(),
            name: s3.bucket.clone(),
            prefix: [s3.prefix.as_str(), client].join("/").trim_start_matches('/').to_owned(),
            key_id: fleet.secret(&s3.key_id, "s3.key_id of [fleet.backup]")?,
            key: fleet.secret(&s3.key, "s3.key of [fleet.backup]")?,
        })),
        Storage::Rest(rest) => {
            let login = rest.login.as_ref().map(|login| {
                let password = fleet.secret(&login.password, "rest.password of [fleet.backup]")?;
                anyhow::Ok((login.user.clone(), password))
            });
            let url = format!("{}/{client}/", rest.url.as_str().trim_end_matches('/'));
            Ok(Store::Server(Rest { url, login: login.transpose()? }))
        }
    }
}

/// Whether there is one, as far as can be said: what does not answer is told by whoever opens it.
#[must_use]
pub fn may_be(fleet: &Fleet, client: &Client) -> bool {
    let store = store(fleet, client.name.as_str());
    store.map_or(true, |store| store.exists().unwrap_or(true))
}

/// Whether there is a repository.
///
/// # Errors
/// A storage that does not answer.
pub fn found(store: &Store, client: &str) -> anyhow::Result<bool> {
    store.exists().map_err(|error| explained(error, client))
}

fn lock(fleet: &Fleet, client: &str) -> std::path::PathBuf {
    fleet.state_dir().join("backups").join(format!("{client}.lock"))
}

/// What a backup of this client saves.
///
/// # Errors
/// A database whose address is not known.
pub fn what(
    fleet: &Fleet,
    vault: &Vault,
    client: &Client,
    stack: &Stack,
    info: &RunInfo,
) -> anyhow::Result<What> {
    let name = client.name.as_str();
    let layout = Layout::new(&stack.name);
    let mut folders = vec![Folder::Release];
    folders.extend(data_folders(client, stack));
    let registry = only_client(&fleet.text, name)
        .with_context(|| format!("{} cannot be kept with the backup", fleet.file.display()))?;
    let mut own = vec![("client/clients.toml".to_owned(), registry.into_bytes())];
    own.extend(vault.sealed(name)?.map(|sealed| ("client/secrets.age".to_owned(), sealed)));
    Ok(What {
        database: database(fleet, vault, client, stack)?,
        layout,
        folders,
        own,
        manifest: Manifest {
            schema: SCHEMA.to_owned(),
            client: name.to_owned(),
            domain: client.domain.to_string(),
            run: info.run.clone(),
            at: info.at.clone(),
            by: info.who.clone(),
            fleet: env!("CARGO_PKG_VERSION").to_owned(),
            stack: stack.name.clone(),
            ..Manifest::default()
        },
    })
}

/// What limits how fast all backups of one run together may read; `limit` wins over the registry's.
#[must_use]
pub fn throttle(fleet: &Fleet, limit: Option<u64>) -> Arc<Throttle> {
    Arc::new(Throttle::new(limit.or(fleet.registry.fleet.backup.bandwidth)))
}

/// A backup of this client; all of one run share a throttle.
///
/// # Errors
/// As [`place_to_write`] and [`what`].
pub fn backup_of(
    fleet: &Fleet,
    vault: &Vault,
    client: &Client,
    stack: &Stack,
    info: &RunInfo,
    throttle: &Arc<Throttle>,
) -> anyhow::Result<ClientBackup> {
    Ok(ClientBackup {
        place: place_to_write(fleet, vault, client, stack)?,
        what: what(fleet, vault, client, stack, info)?,
        keep: client.backup.keep,
        throttle: Arc::clone(throttle),
        limit: fleet.registry.fleet.backup.max_size,
        state: fleet.state_dir(),
        hooks: Hooks::of(&stack.hooks, "backup", fleet.dir.clone()),
        redactor: Arc::new(vault.read(client.name.as_str())?.redactor()),
        written: Arc::new(Mutex::new(None)),
    })
}

/// Volumes and folders with a client's own files.
#[must_use]
pub fn data_folders(client: &Client, stack: &Stack) -> Vec<Folder> {
    let volumes = stack.backup.volumes.iter().cloned().map(Folder::Volume);
    let folders = stack.backup.folders.iter().cloned().map(Folder::Path);
    let own = client.backup.folders.iter().map(|folder| Folder::Path(folder.to_string()));
    volumes.chain(folders).chain(own).collect()
}

fn database(fleet: &Fleet, vault: &Vault, client: &Client, stack: &Stack) -> anyhow::Result<Option<Dumped>> {
    if !stack.backup.database {
        return Ok(None);
    }
    Ok(super::database::read(fleet, vault, client, stack)?.map(|server| match server {
        Server::Inside(database) => Dumped::Inside(database),
        Server::Outside(from) => {
            let (name, user) = (from.part("PGDATABASE").to_owned(), from.part("PGUSER").to_owned());
            Dumped::Outside { name, user, from }
        }
    }))
}

/// An error of a repository as one of the command line.
#[must_use]
pub fn explained(error: BackupError, client: &str) -> anyhow::Error {
    let exit = match &error {
        BackupError::Lock(LockError::Held { .. }) => ExitKind::Locked,
        BackupError::NoRepository { .. }
        | BackupError::NoSnapshot { .. }
        | BackupError::Ambiguous { .. }
        | BackupError::NoPath { .. }
        | BackupError::WrongKey { .. } => ExitKind::Refused,
        _ => ExitKind::ClientFailed,
    };
    let hint = error.hint(client);
    let wrapped = anyhow::Error::new(CliError { exit, message: error.to_string() });
    match hint {
        Some(hint) => wrapped.hint(hint),
        None => wrapped,
    }
}

/// Keeps a folder of repositories out of git, which need not carry them.
///
/// # Errors
/// When the folder cannot be made.
pub fn prepare(fleet: &Fleet) -> anyhow::Result<()> {
    let Storage::Folder(path) = &fleet.registry.fleet.backup.repository else { return Ok(()) };
    let folder = fleet.path(path.as_str());
    crate::fs_atomic::create_folder(&folder, 0o700)?;
    let ignore = folder.join(".gitignore");
    if !ignore.exists() {
        crate::fs_atomic::replace(
            &ignore,
            b"# Backups of the clients: encrypted, large, and not for git.\n*\n",
            0o644,
        )?;
    }
    Ok(())
}
