//! Every change of one client's secrets: under the lock, read, changed, written whole.

use std::path::PathBuf;

use jiff::Timestamp;
use rand::CryptoRng;

use super::document::{ClientSecrets, Stamp};
use super::error::VaultError;
use super::index::Index;
use super::{BACKUP_KEY, Vault, seal, whole_seconds};
use crate::fs_atomic::{self, FileLock};
use crate::secret::{Generator, Secret, generate};

impl Vault {
    /// Generates the wanted values that the client does not have, and only those. Returns all secrets and the
    /// names made now. For a client that is `provisioned`, a missing file is an error.
    pub fn ensure<R: CryptoRng + ?Sized>(
        &self,
        client: &str,
        wanted: &[(String, Generator)],
        provisioned: bool,
        rng: &mut R,
        now: Timestamp,
    ) -> Result<(ClientSecrets, Vec<String>), VaultError> {
        check_names(wanted.iter().map(|(name, _)| name.as_str()))?;
        let complete = |secrets: &ClientSecrets| wanted.iter().all(|(name, _)| secrets.get(name).is_some());
        // Most runs find everything there; they need no lock.
        if let Some(secrets) = self.read_optional(client)?.filter(complete) {
            return Ok((secrets, Vec::new()));
        }
        let lock = self.writer()?;
        let mut secrets = self.to_change(client, provisioned, &[])?;
        let mut created = Vec::new();
        for (name, generator) in wanted {
            if secrets.get(name).is_none() {
                secrets.insert(name, generate(generator, rng), Some(generator.to_string()), self.stamp(now));
                created.push(name.clone());
            }
        }
        if !created.is_empty() {
            self.write(&secrets, now, &lock)?;
        }
        Ok((secrets, created))
    }

    /// Gives a name the value that a person chose. A former value is kept as `previous`. Returns whether anything
    /// changed.
    pub fn set(
        &self,
        client: &str,
        name: &str,
        value: Secret<String>,
        provisioned: bool,
        now: Timestamp,
    ) -> Result<bool, VaultError> {
        check_names([name])?;
        check_value(name, &value)?;
        let lock = self.writer()?;
        let mut secrets = self.to_change(client, provisioned, &[name])?;
        if secrets.get(name) == Some(&value) {
            return Ok(false);
        }
        secrets.insert(name, value, None, self.stamp(now));
        self.write(&secrets, now, &lock)?;
        Ok(true)
    }

    /// Generates new values for names that have one. The former ones are kept as `previous` until
    /// [`Vault::confirm`], since a host may still run with them.
    pub fn rotate<R: CryptoRng + ?Sized>(
        &self,
        client: &str,
        names: &[(String, Generator)],
        rng: &mut R,
        now: Timestamp,
    ) -> Result<ClientSecrets, VaultError> {
        self.change(client, now, |secrets, stamp| {
            for (name, generator) in names {
                known(secrets, name)?;
                secrets.insert(name, generate(generator, rng), Some(generator.to_string()), stamp);
            }
            Ok(())
        })
    }

    /// Lets go of the previous values of these names: every host has the present ones.
    pub fn confirm(
        &self,
        client: &str,
        names: &[String],
        now: Timestamp,
    ) -> Result<ClientSecrets, VaultError> {
        self.change(client, now, |secrets, _| {
            names.iter().for_each(|name| secrets.confirm(name));
            Ok(())
        })
    }

    /// Takes the last previous value of a name again. The present one becomes the previous.
    pub fn revert(&self, client: &str, name: &str, now: Timestamp) -> Result<ClientSecrets, VaultError> {
        self.change(client, now, |secrets, stamp| {
            let (client, name) = (client.to_owned(), name.to_owned());
            secrets.revert(&name, stamp).ok_or(VaultError::NoPrevious { client, name })
        })
    }

    /// Takes a name away; its value stays as `previous` until confirmed.
    pub fn unset(&self, client: &str, name: &str, now: Timestamp) -> Result<ClientSecrets, VaultError> {
        let lock = self.writer()?;
        let mut secrets = self.existing(client, &[name])?;
        let in_index = self.index(client)?.is_some_and(|index| index.names.contains_key(name));
        if secrets.unset(name).is_none() && !in_index {
            return Err(no_such(&secrets, name));
        }
        self.write(&secrets, now, &lock)?;
        Ok(secrets)
    }

    /// Gives a value another name, with its history.
    pub fn rename(
        &self,
        client: &str,
        from: &str,
        to: &str,
        now: Timestamp,
    ) -> Result<ClientSecrets, VaultError> {
        check_names([to])?;
        self.change(client, now, |secrets, _| {
            known(secrets, from)?;
            if secrets.get(to).is_some() {
                return Err(VaultError::NameTaken { client: client.to_owned(), name: to.to_owned() });
            }
            secrets.rename(from, to).ok_or_else(|| no_such(secrets, from))
        })
    }

    /// Writes values that were found elsewhere, such as in a host's own `.env`, for a client whose file is lost.
    /// A file that is there, readable or not, is an error.
    pub fn recover(
        &self,
        client: &str,
        values: Vec<(String, Secret<String>)>,
        now: Timestamp,
    ) -> Result<ClientSecrets, VaultError> {
        check_names(values.iter().map(|(name, _)| name.as_str()))?;
        let lock = self.writer()?;
        let path = self.sealed_path(client)?;
        if self.exists(client)? {
            return Err(VaultError::ClientTaken { path });
        }
        let mut secrets = ClientSecrets::new(client);
        for (name, value) in values {
            check_value(&name, &value)?;
            secrets.insert(&name, value, None, self.stamp(now));
        }
        self.write(&secrets, now, &lock)?;
        Ok(secrets)
    }

    /// Takes values whose names are not here from a file of the same client that was kept elsewhere, such as in
    /// its backup; `from` is only for messages. Returns the names.
    pub fn take_missing(
        &self,
        client: &str,
        sealed: &[u8],
        from: &std::path::Path,
        now: Timestamp,
    ) -> Result<Vec<String>, VaultError> {
        let plain = seal::unseal(sealed, self.identity()?, from)?;
        let kept = ClientSecrets::from_toml(&plain, client, from)?;
        let lock = self.writer()?;
        let names: Vec<&str> = kept.names().collect();
        let mut secrets = self.to_change(client, false, &names)?;
        let mut taken = Vec::new();
        for (name, value) in kept.iter().filter(|(name, _)| *name != BACKUP_KEY) {
            if secrets.get(name).is_none() {
                let generator = kept.meta(name).and_then(|meta| meta.generator.clone());
                secrets.insert(name, value.clone(), generator, self.stamp(now));
                taken.push(name.to_owned());
            }
        }
        if !taken.is_empty() {
            self.write(&secrets, now, &lock)?;
        }
        Ok(taken)
    }

    /// Puts the secrets of a client back whose file is lost, whatever its index says: from a copy of it, with the
    /// key of its backups.
    ///
    /// # Errors
    /// A file that is there after all, and what writing may come to.
    pub fn put_back(
        &self,
        mut secrets: ClientSecrets,
        key: Secret<String>,
        now: Timestamp,
    ) -> Result<(), VaultError> {
        let lock = self.writer()?;
        let client = secrets.client().to_owned();
        if self.read_optional(&client)?.is_some() {
            return Err(VaultError::ClientTaken { path: self.sealed_path(&client)? });
        }
        if secrets.get(BACKUP_KEY) != Some(&key) {
            secrets.insert(BACKUP_KEY, key, None, self.stamp(now));
        }
        self.write(&secrets, now, &lock)
    }

    /// Moves a client's secrets to another client name. A cut in the middle leaves both; the next call
    /// finishes.
    pub fn rename_client(&self, from: &str, to: &str, now: Timestamp) -> Result<(), VaultError> {
        let lock = self.writer()?;
        let secrets = self.existing(from, &[])?.renamed_client(to);
        match self.read_optional(to)? {
            Some(there) if there != secrets => {
                return Err(VaultError::ClientTaken { path: self.sealed_path(to)? });
            }
            _ => self.write(&secrets, now, &lock)?,
        }
        fs_atomic::remove(&self.index_path(from)?)?;
        Ok(fs_atomic::remove(&self.sealed_path(from)?)?)
    }

    /// Moves a client's file to `secrets/removed/`, where it stays readable; returns its new place. `None` when
    /// there was none.
    pub fn remove(&self, client: &str, now: Timestamp) -> Result<Option<PathBuf>, VaultError> {
        let _lock = self.writer()?;
        let (sealed, index) = (self.sealed_path(client)?, self.index_path(client)?);
        if !self.exists(client)? {
            fs_atomic::remove(&index)?;
            return Ok(None);
        }
        fs_atomic::create_folder(&self.removed_dir(), 0o700)?;
        let day = whole_seconds(now).strftime("%Y%m%dT%H%M%SZ").to_string();
        let place = |count: u32| {
            let again = if count == 0 { String::new() } else { format!("-{count}") };
            self.removed_dir().join(format!("{client}-{day}{again}.age"))
        };
        let to = (0..).map(place).find(|path| !path.exists()).unwrap_or_else(|| place(0));
        // The index goes first: it is the witness that there are secrets, and a file without one is whole.
        fs_atomic::remove(&index)?;
        fs_atomic::move_new(&sealed, &to)?;
        Ok(Some(to))
    }

    /// The lock, with a rekeying that was cut finished first.
    fn writer(&self) -> Result<FileLock, VaultError> {
        let lock = self.lock()?;
        // If it cannot be finished, its journal stays and `pending_rekey` tells; that must not keep this
        // client's values from being written.
        let _ = self.finish_rekey(&lock);
        Ok(lock)
    }

    fn stamp(&self, now: Timestamp) -> Stamp<'_> {
        Stamp { now: whole_seconds(now), by: &self.by }
    }

    fn change(
        &self,
        client: &str,
        now: Timestamp,
        change: impl FnOnce(&mut ClientSecrets, Stamp<'_>) -> Result<(), VaultError>,
    ) -> Result<ClientSecrets, VaultError> {
        let lock = self.writer()?;
        let mut secrets = self.existing(client, &[])?;
        let before = secrets.clone();
        change(&mut secrets, self.stamp(now))?;
        if secrets != before {
            self.write(&secrets, now, &lock)?;
        }
        Ok(secrets)
    }

    /// The present secrets, or none for a client that never had any.
    fn to_change(
        &self,
        client: &str,
        provisioned: bool,
        accept: &[&str],
    ) -> Result<ClientSecrets, VaultError> {
        match self.existing(client, accept) {
            Err(VaultError::NoSecrets { .. }) if provisioned => Err(self.missing(client, true)?),
            Err(VaultError::NoSecrets { .. }) => Ok(ClientSecrets::new(client)),
            other => other,
        }
    }

    fn existing(&self, client: &str, accept: &[&str]) -> Result<ClientSecrets, VaultError> {
        let secrets = self.read(client)?;
        self.check_not_older(&secrets, accept)?;
        Ok(secrets)
    }

    /// Refuses an older file under a newer index, except for the names accepted: a value that is in use
    /// somewhere must not be made anew because a file was put back.
    pub(super) fn check_not_older(&self, secrets: &ClientSecrets, accept: &[&str]) -> Result<(), VaultError> {
        let client = secrets.client();
        let Some(index) = self.index(client)?.filter(|index| index.client == client) else { return Ok(()) };
        let lost = |name: &String| secrets.get(name).is_none() && !accept.contains(&name.as_str());
        let names: Vec<String> = index.names.into_keys().filter(lost).collect();
        if names.is_empty() {
            return Ok(());
        }
        Err(VaultError::LostNames { client: client.to_owned(), path: self.sealed_path(client)?, names })
    }

    /// Encrypts, proves that it can be read back, replaces.
    pub(super) fn write(
        &self,
        secrets: &ClientSecrets,
        now: Timestamp,
        lock: &FileLock,
    ) -> Result<(), VaultError> {
        let (path, index_path) = (self.sealed_path(secrets.client())?, self.index_path(secrets.client())?);
        let recipients = self.writable_recipients()?;
        let plain = secrets.to_toml(&path)?;
        let sealed = seal::seal(plain.as_bytes(), &recipients, &path)?;
        let back = seal::unseal(&sealed, self.identity()?, &path)?;
        if ClientSecrets::from_toml(&back, secrets.client(), &path)? != *secrets {
            let why = "what was encrypted does not decrypt to the same".to_owned();
            return Err(VaultError::Seal { path, why });
        }
        fs_atomic::create_folder(&self.secrets_dir(), 0o700)?;
        fs_atomic::remove_leftovers(&path, lock);
        fs_atomic::remove_leftovers(&index_path, lock);
        let index = Index::of(secrets, &sealed, &recipients, whole_seconds(now));
        let before = Index::read(&index_path);
        let shrinks = before.is_some_and(|old| old.names.keys().any(|name| !index.names.contains_key(name)));
        // The index never names what the file does not hold, whenever the power goes.
        if shrinks {
            index.write(&index_path)?;
        }
        fs_atomic::replace(&path, &sealed, 0o600)?;
        if !shrinks {
            index.write(&index_path)?;
        }
        Ok(())
    }
}

fn known(secrets: &ClientSecrets, name: &str) -> Result<(), VaultError> {
    if secrets.get(name).is_some() { Ok(()) } else { Err(no_such(secrets, name)) }
}

fn no_such(secrets: &ClientSecrets, name: &str) -> VaultError {
    let near = |known: &&str| strsim::jaro_winkler(known, name) > 0.8;
    let similar = secrets
        .names()
        .filter(near)
        .max_by(|a, b| strsim::jaro_winkler(a, name).total_cmp(&strsim::jaro_winkler(b, name)));
    let similar = similar.map(str::to_owned);
    VaultError::NoSuchSecret { client: secrets.client().to_owned(), name: shown(name), similar }
}

fn shown(text: &str) -> String {
    crate::secret::clean(text).into_owned()
}

/// Names become environment variables (POSIX.1-2024, Base Definitions, 3.216).
fn check_names<'a>(names: impl IntoIterator<Item = &'a str>) -> Result<(), VaultError> {
    let fine = |name: &str| {
        let letters = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
        letters && (1..=128).contains(&name.len()) && !name.starts_with(|char: char| char.is_ascii_digit())
    };
    match names.into_iter().find(|name| !fine(name)) {
        Some(name) => Err(VaultError::BadName(shown(name))),
        None => Ok(()),
    }
}

fn check_value(name: &str, value: &Secret<String>) -> Result<(), VaultError> {
    let why = match value.reveal() {
        text if text.is_empty() => "is empty; to take it away, unset it",
        text if text.contains('\0') => "holds a NUL character, which no environment variable can",
        _ => return Ok(()),
    };
    Err(VaultError::BadValue { name: name.to_owned(), why })
}
