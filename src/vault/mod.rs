//! The secrets of every client on disk: encrypted with age, generated once, never lost.
//!
//! Rules of this room:
//! 1. `secrets/<client>.age` is the only source of values. Its plaintext names the client, so a file
//!    under another client's name is refused.
//! 2. A value is generated only where there never was one. A missing or damaged file is an error.
//! 3. Writers hold one lock and replace whole files; readers need no lock. What was acknowledged
//!    survives a cut at any instruction.
//! 4. Nothing is written that this operator could not read back: each file is decrypted again before it
//!    takes its place.
//! 5. A value that is replaced or unset stays under `previous` until it is confirmed that no host needs it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::Duration;

use jiff::{RoundMode, Timestamp, TimestampRound, Unit};
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use crate::diagnostic::{Diagnostic, Diagnostics, Fault};
use crate::fs_atomic::{self, FileLock, FsError};

mod change;
mod document;
mod error;
mod identity;
mod index;
mod people;
mod recipients;
mod rekey;
mod seal;

pub use document::{ClientSecrets, Meta};
pub use error::VaultError;
pub use index::{Index, Named, Reader};
pub use people::init_identity;
pub use recipients::{Kind, Recipient};
pub use rekey::{PendingRekey, Rekeyed};

use identity::Identity;

/// Stands where a client's name does for the secrets of the fleet itself, such as a webhook's URL. No client
/// can have this name.
pub const FLEET: &str = "_fleet";

/// Name of the key of a client's backup repository: kept beside the client's secrets, known to no stack,
/// brought to no host.
pub const BACKUP_KEY: &str = "FLEET_BACKUP_KEY";

/// How long a writer waits for another by default.
const LOCK_TIMEOUT: Duration = Duration::from_secs(30);

/// The vault of one fleet directory. Cheap to open; the identity is read when it is first needed.
pub struct Vault {
    root: PathBuf,
    extra: Vec<Recipient>,
    identity_path: PathBuf,
    identity: OnceLock<Identity>,
    by: String,
    lock_timeout: Duration,
}

/// Who can read a client's file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Readers {
    pub readers: Vec<Reader>,
    /// False when the file was changed without its index: the list may then be out of date.
    pub certain: bool,
}

/// One value that several clients have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Duplicate {
    /// Client and name, in order.
    pub places: Vec<(String, String)>,
    /// At least one of them was generated: then a file was copied, which is always wrong.
    pub generated: bool,
}

impl Vault {
    /// `extra_recipients` are the registry's, as lines of `recipients.txt`. Without `identity` the one that
    /// `fleet init` made is used.
    pub fn open(
        fleet_dir: &Path,
        extra_recipients: &[String],
        identity: Option<PathBuf>,
    ) -> Result<Vault, VaultError> {
        let mut extra = Vec::new();
        let mut problems = Vec::new();
        for (index, line) in extra_recipients.iter().enumerate() {
            match Recipient::parse(line) {
                Ok(recipient) => recipients::add(&mut extra, recipient),
                Err(problem) => problems.push(Diagnostic {
                    file: "clients.toml".to_owned(),
                    position: None,
                    key: format!("fleet.recipients[{index}]"),
                    fault: Fault::new(problem.message).hint(problem.hint),
                    snippet: None,
                }),
            }
        }
        if !problems.is_empty() {
            return Err(VaultError::BadRecipients(Diagnostics(problems)));
        }
        Ok(Vault {
            root: fleet_dir.to_owned(),
            extra,
            identity_path: identity.unwrap_or_else(|| people::identity_path(fleet_dir)),
            identity: OnceLock::new(),
            by: fs_atomic::operator(),
            lock_timeout: LOCK_TIMEOUT,
        })
    }

    /// Who is recorded as the author of changes; by default `user@host` of this process.
    #[must_use]
    pub fn by(mut self, name: &str) -> Self {
        name.clone_into(&mut self.by);
        self
    }

    /// How long to wait for another writer.
    #[must_use]
    pub fn lock_timeout(mut self, limit: Duration) -> Self {
        self.lock_timeout = limit;
        self
    }

    /// Clients that have an encrypted file, in order.
    pub fn list(&self) -> Result<Vec<String>, VaultError> {
        let files = rekey::age_files(&self.secrets_dir())?;
        let name =
            |path: &PathBuf| path.file_stem()?.to_str().filter(|name| is_client(name)).map(str::to_owned);
        Ok(files.iter().filter_map(name).collect())
    }

    pub fn exists(&self, client: &str) -> Result<bool, VaultError> {
        let path = self.sealed_path(client)?;
        path.try_exists().map_err(FsError::at("look for", &path)).map_err(VaultError::from)
    }

    /// Decrypts one client's secrets.
    pub fn read(&self, client: &str) -> Result<ClientSecrets, VaultError> {
        match self.read_optional(client)? {
            Some(secrets) => Ok(secrets),
            None => Err(self.missing(client, self.index(client)?.is_some())?),
        }
    }

    /// The same, `None` when the client has no file.
    pub fn read_optional(&self, client: &str) -> Result<Option<ClientSecrets>, VaultError> {
        let path = self.sealed_path(client)?;
        let Some(sealed) = fs_atomic::read_optional(&path)? else { return Ok(None) };
        let plain = self.unseal(client, &sealed, &path)?;
        ClientSecrets::from_toml(&plain, client, &path).map(Some)
    }

    /// Encrypts something else than secrets of a client: to one recipient, written as in
    /// `recipients.txt`, or to all who read the secrets. `path` is only for messages.
    pub fn seal_for(
        &self,
        recipient: Option<&str>,
        plain: &[u8],
        path: &Path,
    ) -> Result<Vec<u8>, VaultError> {
        let recipients = match recipient {
            Some(text) => {
                let parsed = Recipient::parse(text).map_err(|problem| VaultError::Seal {
                    path: path.to_owned(),
                    why: problem.message.to_string(),
                })?;
                vec![parsed]
            }
            None => self.writable_recipients()?,
        };
        seal::seal(plain, &recipients, path)
    }

    /// Decrypts what [`Vault::seal_for`] made, with this vault's identity.
    pub fn unseal_other(&self, sealed: &[u8], path: &Path) -> Result<Zeroizing<Vec<u8>>, VaultError> {
        seal::unseal(sealed, self.identity()?, path)
    }

    /// The secrets in a copy of a client's file, such as a backup has; `path` is only for messages.
    pub fn read_sealed(&self, client: &str, sealed: &[u8], path: &Path) -> Result<ClientSecrets, VaultError> {
        let plain = self.unseal(client, sealed, path)?;
        ClientSecrets::from_toml(&plain, client, path)
    }

    /// One client's file as it is, encrypted.
    pub fn sealed(&self, client: &str) -> Result<Option<Vec<u8>>, VaultError> {
        Ok(fs_atomic::read_optional(&self.sealed_path(client)?)?)
    }

    /// Names, dates and readers without decrypting; `None` when there is no readable index.
    pub fn index(&self, client: &str) -> Result<Option<Index>, VaultError> {
        Ok(Index::read(&self.index_path(client)?))
    }

    /// Those a client's file is encrypted to, as recorded when it was written.
    pub fn who_can_read(&self, client: &str) -> Result<Readers, VaultError> {
        let path = self.sealed_path(client)?;
        let index = self.index(client)?;
        let Some(sealed) = fs_atomic::read_optional(&path)? else {
            return Err(self.missing(client, index.is_some())?);
        };
        let certain = index.as_ref().is_some_and(|index| index.describes(&sealed));
        Ok(Readers { readers: index.map(|index| index.readers).unwrap_or_default(), certain })
    }

    /// Clients whose file is not known to be encrypted to exactly the present recipients.
    pub fn needs_rekey(&self) -> Result<Vec<String>, VaultError> {
        let mut wanted: Vec<String> = self.recipients()?.into_iter().map(|recipient| recipient.key).collect();
        wanted.sort();
        let mut outdated = Vec::new();
        for client in self.list()? {
            let found = self.who_can_read(&client)?;
            let mut keys: Vec<_> = found.readers.into_iter().map(|reader| reader.key).collect();
            keys.sort();
            if !found.certain || keys != wanted {
                outdated.push(client);
            }
        }
        Ok(outdated)
    }

    /// Values that more than one client has. Decrypts every file; one that cannot be read is an error.
    pub fn duplicates(&self) -> Result<Vec<Duplicate>, VaultError> {
        let mut seen: BTreeMap<[u8; 32], Duplicate> = BTreeMap::new();
        for client in self.list()? {
            let secrets = self.read(&client)?;
            for (name, value) in secrets.iter() {
                let key = Sha256::digest(value.reveal().as_bytes()).into();
                let entry = seen.entry(key).or_insert(Duplicate { places: Vec::new(), generated: false });
                entry.places.push((client.clone(), name.to_owned()));
                entry.generated |= secrets.meta(name).is_some_and(|meta| meta.generator.is_some());
            }
        }
        let shared = |found: &Duplicate| found.places.iter().any(|place| place.0 != found.places[0].0);
        let mut found: Vec<_> = seen.into_values().filter(shared).collect();
        found.sort_by(|a, b| a.places.cmp(&b.places));
        Ok(found)
    }

    /// age cannot tell a file for others from one whose header is damaged; the index can.
    fn unseal(&self, client: &str, sealed: &[u8], path: &Path) -> Result<Zeroizing<Vec<u8>>, VaultError> {
        let identity = self.identity()?;
        seal::unseal(sealed, identity, path).map_err(|error| match error {
            VaultError::WrongIdentity { path, identity: file, own } => {
                let readers = Index::read(&self.secrets_dir().join(format!("{client}.index.toml")))
                    .filter(|index| index.client == client)
                    .map(|index| index.readers)
                    .unwrap_or_default();
                if readers.iter().any(|reader| identity.public.iter().any(|own| own.key == reader.key)) {
                    let why =
                        "is damaged, or was changed by someone else: its index says that your key reads it";
                    return VaultError::Corrupt { path, why: why.to_owned() };
                }
                VaultError::WrongIdentity { path, identity: file, own }
            }
            other => other,
        })
    }

    fn identity(&self) -> Result<&Identity, VaultError> {
        if let Some(identity) = self.identity.get() {
            return Ok(identity);
        }
        let loaded = Identity::load(&self.identity_path)?;
        Ok(self.identity.get_or_init(|| loaded))
    }

    /// Why there is no file: a beginning, or a loss. `known` says that there once was one.
    fn missing(&self, client: &str, known: bool) -> Result<VaultError, VaultError> {
        let (client, path) = (client.to_owned(), self.sealed_path(client)?);
        if !known {
            return Ok(VaultError::NoSecrets { client, path });
        }
        let prefix = format!("{client}-");
        let of_client = |path: &PathBuf| {
            let rest =
                path.file_stem().and_then(|name| name.to_str()).and_then(|name| name.strip_prefix(&prefix));
            // A client's name has no capital letter, so `ville-2-20261120T...` is not taken for `ville`.
            let dated = |rest: &str| {
                rest.find('T') == Some(8) && rest.bytes().take(8).all(|byte| byte.is_ascii_digit())
            };
            rest.is_some_and(dated)
        };
        let removed = rekey::age_files(&self.removed_dir())?.into_iter().rfind(of_client);
        Ok(VaultError::MissingForProvisioned { client, path, removed })
    }

    fn secrets_dir(&self) -> PathBuf {
        self.root.join("secrets")
    }

    fn removed_dir(&self) -> PathBuf {
        self.secrets_dir().join("removed")
    }

    fn sealed_path(&self, client: &str) -> Result<PathBuf, VaultError> {
        self.file_of(client, "age")
    }

    fn index_path(&self, client: &str) -> Result<PathBuf, VaultError> {
        self.file_of(client, "index.toml")
    }

    /// The registry checks names too; here they become file names, so they are checked again.
    fn file_of(&self, client: &str, extension: &str) -> Result<PathBuf, VaultError> {
        if !is_client(client) {
            return Err(VaultError::BadClient(crate::secret::clean(client).into_owned()));
        }
        Ok(self.secrets_dir().join(format!("{client}.{extension}")))
    }

    fn lock(&self) -> Result<FileLock, VaultError> {
        people::lock(&self.root, self.lock_timeout)
    }
}

/// RFC 1035, section 2.3.1, with RFC 1123's leading digit; lowercase.
fn is_client(name: &str) -> bool {
    let inner = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    (1..=63).contains(&name.len())
        && name.bytes().all(inner)
        && !name.starts_with('-')
        && !name.ends_with('-')
        || name == FLEET
}

/// Dates in the files are whole seconds.
fn whole_seconds(now: Timestamp) -> Timestamp {
    now.round(TimestampRound::new().smallest(Unit::Second).mode(RoundMode::Trunc)).unwrap_or(now)
}
