//! Where a client's repository is, and what opens it.

use std::fmt;
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use rustic_core::repofile::MasterKey;
use rustic_core::{Credentials, RepositoryBackends, RusticError};

use super::bucket::Bucket;
use super::error::BackupError;
use super::folder::Folder;
use super::gate::{Gate, Gated};
use super::server::Rest;
use crate::fs_atomic::FileLock;
use crate::secret::Secret;

/// How long another backup of the same client is waited for.
const PATIENCE: Duration = Duration::from_secs(3);

/// Where a client's repository is, and what opens it.
#[derive(Clone, Debug)]
pub struct Place {
    pub client: String,
    store: Store,
    key: Secret<String>,
    /// `.fleet/backups/CLIENT.lock`.
    pub lock: PathBuf,
    master: Master,
}

/// What the key opened, once it did: that takes a third of a second of a processor, by design (scrypt).
#[derive(Clone, Default)]
struct Master(Arc<OnceLock<MasterKey>>);

impl fmt::Debug for Master {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Master(...)")
    }
}

/// What holds a repository.
#[derive(Clone, Debug)]
pub enum Store {
    Folder(PathBuf),
    Bucket(Bucket),
    Server(Rest),
}

impl Store {
    /// As people and messages name it.
    #[must_use]
    pub fn name(&self) -> String {
        match self {
            Store::Folder(path) => path.display().to_string(),
            Store::Bucket(bucket) => bucket.address(),
            Store::Server(rest) => rest.address(),
        }
    }

    /// Whether there is a repository.
    ///
    /// # Errors
    /// A storage that does not answer.
    pub fn exists(&self) -> Result<bool, BackupError> {
        match self {
            Store::Folder(path) => Ok(path.join("config").exists()),
            Store::Bucket(bucket) => bucket.exists(),
            Store::Server(rest) => rest.exists(),
        }
    }
}

impl Place {
    #[must_use]
    pub fn new(client: &str, store: Store, key: Secret<String>, lock: PathBuf) -> Self {
        Place { client: client.to_owned(), store, key, lock, master: Master::default() }
    }

    #[must_use]
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// What opens it, for restic too.
    #[must_use]
    pub fn key(&self) -> &Secret<String> {
        &self.key
    }

    pub(super) fn remember_master(&self, key: impl FnOnce() -> MasterKey) {
        self.master.0.get_or_init(key);
    }

    pub(super) fn credentials(&self) -> Credentials {
        let known = self.master.0.get().cloned().map(Credentials::Masterkey);
        known.unwrap_or_else(|| Credentials::password(self.key.reveal()))
    }

    /// Keeps other backups and prunes of this client out for as long as it lives.
    ///
    /// # Errors
    /// When another process has it.
    pub fn lock(&self) -> Result<FileLock, BackupError> {
        Ok(FileLock::acquire(&self.lock, PATIENCE)?)
    }

    pub(super) fn backends(&self, gate: &Gate) -> Result<RepositoryBackends, BackupError> {
        let gate = gate.clone();
        Ok(match &self.store {
            Store::Folder(path) => {
                RepositoryBackends::new(Arc::new(Gated { inner: Folder::new(path), gate }), None)
            }
            Store::Bucket(bucket) => {
                RepositoryBackends::new(Arc::new(Gated { inner: bucket.open()?, gate }), None)
            }
            Store::Server(rest) => {
                RepositoryBackends::new(Arc::new(Gated { inner: rest.open(), gate }), None)
            }
        })
    }

    pub(super) fn error(&self, error: &RusticError) -> BackupError {
        if error.is_incorrect_password() {
            return BackupError::WrongKey { client: self.client.clone(), place: self.store.name() };
        }
        BackupError::storage(error)
    }
}
