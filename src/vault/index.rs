//! `secrets/<client>.index.toml`: what the encrypted file beside it holds, without a value.
//!
//! It makes names, dates and readers visible in a diff and readable without a key. It is never read to learn
//! a value or to decide who may read: only to show, and as a witness that secrets once existed.

use std::collections::BTreeMap;
use std::path::Path;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::document::ClientSecrets;
use super::error::VaultError;
use super::recipients::Recipient;
use crate::fs_atomic;

/// What is known of a client's secrets without decrypting them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Index {
    pub schema: i64,
    pub client: String,
    pub updated: Timestamp,
    /// SHA-256 of the encrypted file that this index describes.
    pub sealed: String,
    #[serde(default)]
    pub names: BTreeMap<String, Named>,
    #[serde(default)]
    pub readers: Vec<Reader>,
}

/// One secret's history.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Named {
    pub generation: u32,
    /// When it got its present value.
    pub since: Timestamp,
}

/// A key that the file is encrypted to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reader {
    pub key: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub comment: String,
}

impl Index {
    pub(super) fn of(secrets: &ClientSecrets, sealed: &[u8], readers: &[Recipient], now: Timestamp) -> Index {
        let named = |name: &str| {
            let meta = secrets.meta(name);
            let since = meta.map_or(now, |meta| meta.rotated.unwrap_or(meta.created));
            (name.to_owned(), Named { generation: meta.map_or(1, |meta| meta.generation), since })
        };
        Index {
            schema: 1,
            client: secrets.client().to_owned(),
            updated: now,
            sealed: digest(sealed),
            names: secrets.names().map(named).collect(),
            readers: readers.iter().map(Reader::from).collect(),
        }
    }

    /// `None` when there is none or it cannot be read: it is only a help.
    pub(super) fn read(path: &Path) -> Option<Index> {
        let bytes = fs_atomic::read_optional(path).ok()??;
        toml::from_str(std::str::from_utf8(&bytes).ok()?).ok()
    }

    pub(super) fn write(&self, path: &Path) -> Result<(), VaultError> {
        let why =
            |error: toml::ser::Error| VaultError::Seal { path: path.to_owned(), why: error.to_string() };
        let text = format!(
            "# Written by fleet beside {}.age: names, dates and readers, no value. Do not edit.\n{}",
            self.client,
            toml::to_string(self).map_err(why)?
        );
        Ok(fs_atomic::replace(path, text.as_bytes(), 0o644)?)
    }

    /// Whether it describes this very file.
    #[must_use]
    pub fn describes(&self, sealed: &[u8]) -> bool {
        self.sealed == digest(sealed)
    }
}

impl From<&Recipient> for Reader {
    fn from(recipient: &Recipient) -> Self {
        Reader { key: recipient.key.clone(), comment: recipient.comment.clone() }
    }
}

fn digest(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}
