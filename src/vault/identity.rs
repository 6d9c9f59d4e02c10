//! The private key that reads the secrets: an age identity file or an OpenSSH ed25519 key.
//!
//! Never one with a passphrase: cron and CI read secrets too, and nobody is there to type it.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use age::secrecy::ExposeSecret;
use age::ssh;
use zeroize::Zeroizing;

use super::error::VaultError;
use super::recipients::{Kind, Recipient};
use crate::fs_atomic::{self, FsError};

enum Key {
    Age(age::x25519::Identity),
    Ssh(Box<ssh::Identity>),
}

/// The operator's own key, or keys.
pub(super) struct Identity {
    pub path: PathBuf,
    keys: Vec<Key>,
    /// The public half of each.
    pub public: Vec<Recipient>,
}

impl Identity {
    pub fn load(path: &Path) -> Result<Identity, VaultError> {
        let bad = |why: &str| VaultError::BadIdentity { path: path.to_owned(), why: why.to_owned() };
        let Some(bytes) = fs_atomic::read_optional(path)?.map(Zeroizing::new) else {
            return Err(VaultError::NoIdentity { path: path.to_owned() });
        };
        let mode = fs::metadata(path).map_err(FsError::at("read", path))?.mode() & 0o7777;
        if mode & 0o077 != 0 {
            return Err(VaultError::IdentityTooOpen { path: path.to_owned(), mode });
        }
        if bytes.starts_with(b"age-encryption.org/")
            || bytes.starts_with(b"-----BEGIN AGE ENCRYPTED FILE-----")
        {
            return Err(VaultError::IdentityEncrypted { path: path.to_owned() });
        }
        let text = std::str::from_utf8(&bytes).map_err(|_| bad("not a text file"))?;
        if text.contains("-----BEGIN ") {
            return Identity::from_ssh(text, path);
        }
        let (mut keys, mut public) = (Vec::new(), Vec::new());
        for (index, line) in text.lines().enumerate() {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let key = age::x25519::Identity::from_str(line)
                .map_err(|_| bad(&format!("line {} is not a valid age secret key", index + 1)))?;
            let (kind, comment) = (Kind::Age, String::new());
            public.push(Recipient { key: key.to_public().to_string(), comment, kind });
            keys.push(Key::Age(key));
        }
        if keys.is_empty() {
            return Err(bad("it holds no key"));
        }
        Ok(Identity { path: path.to_owned(), keys, public })
    }

    fn from_ssh(text: &str, path: &Path) -> Result<Identity, VaultError> {
        let bad = |why: &str| VaultError::BadIdentity { path: path.to_owned(), why: why.to_owned() };
        let key = ssh::Identity::from_buffer(text.as_bytes(), None)
            .map_err(|_| bad("not a whole OpenSSH private key"))?;
        if let ssh::Identity::Encrypted(_) = &key {
            return Err(VaultError::IdentityEncrypted { path: path.to_owned() });
        }
        let other = "only SSH keys of type ed25519 can read secrets";
        let recipient = match ssh::Recipient::try_from(key.clone()) {
            Ok(recipient @ ssh::Recipient::SshEd25519(..)) => recipient,
            _ => return Err(bad(other)),
        };
        let recipient = Recipient::parse(&recipient.to_string()).map_err(|problem| bad(problem.message))?;
        Ok(Identity { path: path.to_owned(), keys: vec![Key::Ssh(Box::new(key))], public: vec![recipient] })
    }

    pub fn keys(&self) -> impl Iterator<Item = &dyn age::Identity> {
        self.keys.iter().map(|key| match key {
            Key::Age(key) => key as &dyn age::Identity,
            Key::Ssh(key) => &**key as &dyn age::Identity,
        })
    }

    /// The first public key, as a line for `recipients.txt`.
    pub fn own(&self) -> String {
        self.public.first().map(|recipient| recipient.key.clone()).unwrap_or_default()
    }
}

/// Writes a new age identity (0600) in the form of `age-keygen`; an existing file is an error.
pub(super) fn create(path: &Path, now: jiff::Timestamp) -> Result<(), VaultError> {
    let key = age::x25519::Identity::generate();
    let secret = key.to_string();
    let public = key.to_public();
    let text = Zeroizing::new(format!(
        "# created: {now:.0}\n# public key: {public}\n# Reads the secrets of every client: keep a copy offline, never \
         commit it.\n{}\n",
        secret.expose_secret()
    ));
    if let Some(folder) = path.parent() {
        fs_atomic::create_folder(folder, 0o700)?;
    }
    Ok(fs_atomic::create_new(path, text.as_bytes(), 0o600)?)
}
