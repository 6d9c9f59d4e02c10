//! Who may read: the operator's own identity and the list of recipients.

use std::path::{Path, PathBuf};
use std::time::Duration;

use jiff::Timestamp;

use super::error::VaultError;
use super::identity::{self, Identity};
use super::recipients::{self, Recipient};
use super::{LOCK_TIMEOUT, Vault};
use crate::fs_atomic::{self, FileLock};

const HEADER: &str = "# Public keys of those who can read every client's secrets, one a line; a comment above a key\n\
                      # names its owner. After a change: `fleet secrets rekey`.\n\n";

pub(super) fn identity_path(fleet_dir: &Path) -> PathBuf {
    fleet_dir.join(".fleet/identity.txt")
}

pub(super) fn journal_path(fleet_dir: &Path) -> PathBuf {
    fleet_dir.join(".fleet/rekey.toml")
}

/// The one lock of all writers, with what a cut left of their small files swept away.
pub(super) fn lock(fleet_dir: &Path, timeout: Duration) -> Result<FileLock, VaultError> {
    let lock = FileLock::acquire(&fleet_dir.join(".fleet/locks/vault.lock"), timeout)?;
    for path in [identity_path(fleet_dir), journal_path(fleet_dir), recipients_path(fleet_dir)] {
        fs_atomic::remove_leftovers(&path, &lock);
    }
    Ok(lock)
}

fn recipients_path(fleet_dir: &Path) -> PathBuf {
    fleet_dir.join("secrets/recipients.txt")
}

/// Makes `.fleet/identity.txt` (0600) unless there is one, and its public key a recipient unless it is.
/// `comment` names the person. Returns the public key.
pub fn init_identity(fleet_dir: &Path, comment: &str, now: Timestamp) -> Result<Recipient, VaultError> {
    let path = identity_path(fleet_dir);
    let _lock = lock(fleet_dir, LOCK_TIMEOUT)?;
    let identity = match Identity::load(&path) {
        Err(VaultError::NoIdentity { .. }) => {
            identity::create(&path, super::whole_seconds(now))?;
            Identity::load(&path)?
        }
        other => other?,
    };
    let no_key = || VaultError::BadIdentity { path, why: "it holds no key".to_owned() };
    let mut own = identity.public.into_iter().next().ok_or_else(no_key)?;
    own.comment = crate::secret::clean(comment).lines().next().unwrap_or_default().trim().to_owned();
    let text = read_list(fleet_dir)?;
    let known = parse_list(fleet_dir, text.as_deref().unwrap_or_default())?;
    match known.into_iter().find(|recipient| recipient.key == own.key) {
        Some(recipient) => Ok(recipient),
        None => {
            write_list(fleet_dir, &recipients::with(text.as_deref().unwrap_or(HEADER), &own))?;
            Ok(own)
        }
    }
}

impl Vault {
    /// Everyone that the next write encrypts to: `secrets/recipients.txt` and the registry's.
    pub fn recipients(&self) -> Result<Vec<Recipient>, VaultError> {
        let text = read_list(&self.root)?.unwrap_or_default();
        let mut all = parse_list(&self.root, &text)?;
        for recipient in &self.extra {
            recipients::add(&mut all, recipient.clone());
        }
        Ok(all)
    }

    /// Adds a line to `secrets/recipients.txt`; returns whether it was new. `rekey` gives them access.
    pub fn add_recipient(&self, recipient: &Recipient) -> Result<bool, VaultError> {
        let _lock = self.lock()?;
        let text = read_list(&self.root)?;
        let text = text.as_deref().unwrap_or(HEADER);
        if parse_list(&self.root, text)?.iter().any(|known| known.key == recipient.key) {
            return Ok(false);
        }
        write_list(&self.root, &recipients::with(text, recipient))?;
        Ok(true)
    }

    /// Takes a key out of `secrets/recipients.txt`; returns whether it was there. Never the last one, nor the
    /// operator's own. `rekey` then takes their access away.
    pub fn remove_recipient(&self, key: &str) -> Result<bool, VaultError> {
        let _lock = self.lock()?;
        let text = read_list(&self.root)?.unwrap_or_default();
        let known = parse_list(&self.root, &text)?;
        if known.iter().all(|recipient| recipient.key != key) {
            return Ok(false);
        }
        let left: Vec<_> = known.iter().chain(&self.extra).filter(|recipient| recipient.key != key).collect();
        let path = recipients_path(&self.root);
        if left.is_empty() {
            return Err(VaultError::NoRecipients { path });
        }
        let identity = self.identity()?;
        if !identity.public.iter().any(|own| left.iter().any(|recipient| recipient.key == own.key)) {
            return Err(VaultError::WouldLockOut { own: identity.own(), path });
        }
        write_list(&self.root, &recipients::without(&text, key))?;
        Ok(true)
    }

    /// The public half of the operator's own identity.
    pub fn own_key(&self) -> Result<String, VaultError> {
        Ok(self.identity()?.own())
    }

    /// Recipients to encrypt to, among them the one who writes.
    pub(super) fn writable_recipients(&self) -> Result<Vec<Recipient>, VaultError> {
        let (all, path) = (self.recipients()?, recipients_path(&self.root));
        if all.is_empty() {
            return Err(VaultError::NoRecipients { path });
        }
        let identity = self.identity()?;
        if !identity.public.iter().any(|own| all.iter().any(|recipient| recipient.key == own.key)) {
            return Err(VaultError::WouldLockOut { own: identity.own(), path });
        }
        Ok(all)
    }
}

fn read_list(fleet_dir: &Path) -> Result<Option<String>, VaultError> {
    // Bytes that are no UTF-8 can only be in a comment or a broken key, which is then named.
    let bytes = fs_atomic::read_optional(&recipients_path(fleet_dir))?;
    Ok(bytes.map(|bytes| String::from_utf8_lossy(&bytes).into_owned()))
}

fn parse_list(fleet_dir: &Path, text: &str) -> Result<Vec<Recipient>, VaultError> {
    let file = recipients_path(fleet_dir).display().to_string();
    recipients::parse_file(text, &file).map_err(VaultError::BadRecipients)
}

fn write_list(fleet_dir: &Path, text: &str) -> Result<(), VaultError> {
    let path = recipients_path(fleet_dir);
    if let Some(folder) = path.parent() {
        fs_atomic::create_folder(folder, 0o700)?;
    }
    Ok(fs_atomic::replace(&path, text.as_bytes(), 0o644)?)
}
