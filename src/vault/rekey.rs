//! Re-encrypting every file to the present recipients: all or nothing in effect.
//!
//! First everything is decrypted, which finds what would stop it; then a journal in `.fleet/` names the
//! files; then each is replaced; then the journal goes. After a cut in the middle the next writer finds the
//! journal and does the rest.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::document::ClientSecrets;
use super::error::VaultError;
use super::index::{Index, Reader};
use super::recipients::Recipient;
use super::{Vault, is_client, people, seal, whole_seconds};
use crate::fs_atomic::{self, FileLock, FsError};

/// A rekeying that was cut.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PendingRekey {
    pub started: Timestamp,
    pub by: String,
    /// File names below `secrets/`.
    pub files: Vec<String>,
}

/// What a rekeying did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rekeyed {
    /// Clients whose file is now encrypted to the present recipients.
    pub clients: Vec<String>,
    /// Who could read none or not all of them before.
    pub gained: Vec<Reader>,
    /// Who can no longer read what is written from now on.
    pub lost: Vec<Reader>,
    /// Client and names of the values that those who lost access knew: to be rotated, since an old copy of the
    /// file stays readable to them.
    pub known_to_lost: BTreeMap<String, Vec<String>>,
    /// Files of removed clients that could not be read and were left as they are.
    pub skipped: Vec<PathBuf>,
}

impl Vault {
    /// Re-encrypts everything, removed clients' files too. If one present client's file cannot be read,
    /// nothing is touched.
    pub fn rekey(&self, now: Timestamp) -> Result<Rekeyed, VaultError> {
        let lock = self.lock()?;
        let recipients = self.writable_recipients()?;
        let (mut found, mut failed, mut report) = (Vec::new(), Vec::new(), Rekeyed::default());
        for path in age_files(&self.secrets_dir())? {
            match self.unsealed(&path) {
                Ok(plain) => found.push((path, plain)),
                Err(error) => failed.push(error),
            }
        }
        if !failed.is_empty() {
            return Err(VaultError::RekeyRefused { count: failed.len(), failed });
        }
        for path in age_files(&self.removed_dir())? {
            match self.unsealed(&path) {
                Ok(plain) => found.push((path, plain)),
                Err(_) => report.skipped.push(path),
            }
        }
        for (path, _) in &found {
            if let Some(client) = self.client_of(path) {
                self.compare(client, &recipients, &mut report)?;
                report.clients.push(client.to_owned());
            }
        }
        let name = |(path, _): &(PathBuf, _)| {
            let below = path.strip_prefix(self.secrets_dir()).ok().and_then(Path::to_str);
            below.map(str::to_owned)
        };
        let files = found.iter().filter_map(name).collect();
        let journal = PendingRekey { started: whole_seconds(now), by: self.by.clone(), files };
        let text = toml::to_string(&journal)
            .map_err(|error| VaultError::Seal { path: self.journal_path(), why: error.to_string() })?;
        fs_atomic::replace(&self.journal_path(), text.as_bytes(), 0o600)?;
        for (path, plain) in &found {
            self.reseal(path, plain, &recipients, now, &lock)?;
        }
        fs_atomic::remove(&self.journal_path())?;
        Ok(report)
    }

    /// A rekeying that was cut and waits to be finished by the next change.
    pub fn pending_rekey(&self) -> Result<Option<PendingRekey>, VaultError> {
        let path = self.journal_path();
        let Some(bytes) = fs_atomic::read_optional(&path)? else { return Ok(None) };
        let journal = std::str::from_utf8(&bytes).ok().and_then(|text| toml::from_str(text).ok());
        journal.map(Some).ok_or_else(|| VaultError::Corrupt {
            path,
            why: "is not a journal of `fleet secrets rekey`; run that again".to_owned(),
        })
    }

    /// Does the rest of a rekeying that was cut.
    pub(super) fn finish_rekey(&self, lock: &FileLock) -> Result<(), VaultError> {
        let Some(journal) = self.pending_rekey()? else { return Ok(()) };
        let recipients = self.writable_recipients()?;
        let mut failed = None;
        for name in &journal.files {
            let path = self.secrets_dir().join(name);
            // A journal is not a licence to write elsewhere.
            let inside =
                [self.secrets_dir(), self.removed_dir()].iter().any(|dir| path.parent() == Some(dir));
            if !inside || !path.exists() {
                continue;
            }
            let one = self.unsealed(&path);
            if let Err(error) =
                one.and_then(|plain| self.reseal(&path, &plain, &recipients, journal.started, lock))
            {
                failed.get_or_insert(error);
            }
        }
        match failed {
            Some(error) => Err(error),
            None => Ok(fs_atomic::remove(&self.journal_path())?),
        }
    }

    fn journal_path(&self) -> PathBuf {
        people::journal_path(&self.root)
    }

    /// The client whose file this is; none for a removed client's.
    fn client_of<'p>(&self, path: &'p Path) -> Option<&'p str> {
        let name = path.file_stem()?.to_str().filter(|name| is_client(name))?;
        (path.parent() == Some(&self.secrets_dir())).then_some(name)
    }

    fn unsealed(&self, path: &Path) -> Result<Zeroizing<Vec<u8>>, VaultError> {
        let sealed = std::fs::read(path).map_err(FsError::at("read", path))?;
        let Some(client) = self.client_of(path) else {
            return seal::unseal(&sealed, self.identity()?, path);
        };
        let plain = self.unseal(client, &sealed, path)?;
        self.check_not_older(&ClientSecrets::from_toml(&plain, client, path)?, &[])?;
        Ok(plain)
    }

    fn reseal(
        &self,
        path: &Path,
        plain: &[u8],
        recipients: &[Recipient],
        now: Timestamp,
        lock: &FileLock,
    ) -> Result<(), VaultError> {
        if let Some(client) = self.client_of(path) {
            return self.write(&ClientSecrets::from_toml(plain, client, path)?, now, lock);
        }
        let sealed = seal::seal(plain, recipients, path)?;
        seal::unseal(&sealed, self.identity()?, path)?;
        fs_atomic::remove_leftovers(path, lock);
        Ok(fs_atomic::replace(path, &sealed, 0o600)?)
    }

    /// Who gains and who loses by re-encrypting one client's file.
    fn compare(
        &self,
        client: &str,
        recipients: &[Recipient],
        report: &mut Rekeyed,
    ) -> Result<(), VaultError> {
        let Some(index) = self.index(client)? else { return Ok(()) };
        let note = |list: &mut Vec<Reader>, reader: Reader| {
            if list.iter().all(|known| known.key != reader.key) {
                list.push(reader);
            }
        };
        for recipient in recipients.iter().filter(|new| index.readers.iter().all(|old| old.key != new.key)) {
            note(&mut report.gained, Reader::from(recipient));
        }
        let Index { readers, names, .. } = index;
        for reader in readers.into_iter().filter(|old| recipients.iter().all(|new| old.key != new.key)) {
            report.known_to_lost.entry(client.to_owned()).or_insert_with(|| names.keys().cloned().collect());
            note(&mut report.lost, reader);
        }
        Ok(())
    }
}

/// Files ending in `.age`, in order of their names; none when the folder does not exist.
pub(super) fn age_files(folder: &Path) -> Result<Vec<PathBuf>, VaultError> {
    let entries = match std::fs::read_dir(folder) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.map_err(FsError::at("list", folder))?,
    };
    let mut files = Vec::new();
    for entry in entries {
        let path = entry.map_err(FsError::at("list", folder))?.path();
        let hidden = path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."));
        if !hidden && path.extension().is_some_and(|extension| extension == "age") {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}
