//! What is inside one client's encrypted file: its values, since when, and those not yet let go.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::error::VaultError;
use crate::secret::{Redactor, Secret};

const SCHEMA: i64 = 1;

/// Where a value comes from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Meta {
    /// When the name first got a value.
    pub created: Timestamp,
    /// When it last got another one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rotated: Option<Timestamp>,
    /// Who gave it the present value: `alice@laptop`.
    pub by: String,
    /// 1 for the first value, one more for each that followed.
    pub generation: u32,
    /// How it was generated; none for a value that a person gave.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub generator: Option<String>,
}

/// The secrets of one client. Debug shows names only.
#[derive(Clone, PartialEq, Eq)]
pub struct ClientSecrets {
    client: String,
    values: BTreeMap<String, Secret<String>>,
    meta: BTreeMap<String, Meta>,
    /// Oldest first.
    previous: BTreeMap<String, Vec<Secret<String>>>,
}

/// Stamp of a change: when and by whom.
#[derive(Clone, Copy)]
pub(super) struct Stamp<'a> {
    pub now: Timestamp,
    pub by: &'a str,
}

impl ClientSecrets {
    pub(super) fn new(client: &str) -> Self {
        let client = client.to_owned();
        ClientSecrets { client, values: BTreeMap::new(), meta: BTreeMap::new(), previous: BTreeMap::new() }
    }

    #[must_use]
    pub fn client(&self) -> &str {
        &self.client
    }

    /// Names that have a value, in order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.values.keys().map(String::as_str)
    }

    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Secret<String>> {
        self.values.get(name)
    }

    #[must_use]
    pub fn meta(&self, name: &str) -> Option<&Meta> {
        self.meta.get(name)
    }

    /// Names with their present values, in order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Secret<String>)> {
        self.values.iter().map(|(name, value)| (name.as_str(), value))
    }

    /// Values of a name that a host may still run with, oldest first; empty once confirmed.
    #[must_use]
    pub fn previous(&self, name: &str) -> &[Secret<String>] {
        self.previous.get(name).map_or(&[], Vec::as_slice)
    }

    /// Names whose change is not confirmed yet.
    pub fn unconfirmed(&self) -> impl Iterator<Item = &str> {
        self.previous.keys().map(String::as_str)
    }

    /// Every value, former ones included, under its name: what a [`Redactor`] is built from.
    pub fn all(&self) -> impl Iterator<Item = (&str, &Secret<String>)> {
        let former = self
            .previous
            .iter()
            .flat_map(|(name, values)| values.iter().map(move |value| (name.as_str(), value)));
        self.iter().chain(former)
    }

    #[must_use]
    pub fn redactor(&self) -> Redactor {
        Redactor::new(self.all())
    }

    pub(super) fn insert(
        &mut self,
        name: &str,
        value: Secret<String>,
        generator: Option<String>,
        stamp: Stamp<'_>,
    ) {
        let old = self.values.insert(name.to_owned(), value);
        let (by, now) = (stamp.by.to_owned(), stamp.now);
        let meta = match self.meta.remove(name) {
            // A name that was unset and comes back counts on.
            Some(old) => {
                let generation = old.generation.saturating_add(1);
                Meta { created: old.created, rotated: Some(now), by, generation, generator }
            }
            None => Meta { created: now, rotated: None, by, generation: 1, generator },
        };
        self.meta.insert(name.to_owned(), meta);
        if let Some(old) = old {
            self.previous.entry(name.to_owned()).or_default().push(old);
        }
    }

    pub(super) fn unset(&mut self, name: &str) -> Option<()> {
        let old = self.values.remove(name)?;
        self.previous.entry(name.to_owned()).or_default().push(old);
        Some(())
    }

    /// Puts the last previous value back; the present one becomes the previous, so nothing is lost.
    pub(super) fn revert(&mut self, name: &str, stamp: Stamp<'_>) -> Option<()> {
        let values = self.previous.get_mut(name)?;
        let value = values.pop()?;
        if values.is_empty() {
            self.previous.remove(name);
        }
        let generator = self.meta.get(name).and_then(|meta| meta.generator.clone());
        self.insert(name, value, generator, stamp);
        Some(())
    }

    pub(super) fn confirm(&mut self, name: &str) {
        self.previous.remove(name);
        if !self.values.contains_key(name) {
            self.meta.remove(name);
        }
    }

    pub(super) fn rename(&mut self, from: &str, to: &str) -> Option<()> {
        let value = self.values.remove(from)?;
        self.values.insert(to.to_owned(), value);
        if let Some(meta) = self.meta.remove(from) {
            self.meta.insert(to.to_owned(), meta);
        }
        if let Some(mut previous) = self.previous.remove(from) {
            let there = self.previous.entry(to.to_owned()).or_default();
            previous.append(there);
            *there = previous;
        }
        Some(())
    }

    pub(super) fn renamed_client(mut self, to: &str) -> ClientSecrets {
        to.clone_into(&mut self.client);
        self
    }

    pub(super) fn to_toml(&self, path: &Path) -> Result<Zeroizing<String>, VaultError> {
        #[derive(Serialize)]
        struct Out<'a> {
            schema: i64,
            client: &'a str,
            values: BTreeMap<&'a str, &'a str>,
            meta: &'a BTreeMap<String, Meta>,
            #[serde(skip_serializing_if = "BTreeMap::is_empty")]
            previous: BTreeMap<&'a str, Vec<&'a str>>,
        }
        let previous = self.previous.iter();
        let out = Out {
            schema: SCHEMA,
            client: &self.client,
            values: self.iter().map(|(name, value)| (name, value.reveal().as_str())).collect(),
            meta: &self.meta,
            previous: previous
                .map(|(name, values)| {
                    (name.as_str(), values.iter().map(|value| value.reveal().as_str()).collect())
                })
                .collect(),
        };
        toml::to_string(&out).map(Zeroizing::new).map_err(|_| VaultError::Seal {
            path: path.to_owned(),
            why: "a value has no TOML form".to_owned(),
        })
    }

    /// Reads the plaintext of `path`, which must belong to `client`.
    pub(super) fn from_toml(plain: &[u8], client: &str, path: &Path) -> Result<ClientSecrets, VaultError> {
        #[derive(Deserialize)]
        struct Head {
            schema: i64,
            client: String,
        }
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct In {
            #[serde(rename = "schema")]
            _schema: i64,
            client: String,
            #[serde(default)]
            values: BTreeMap<String, String>,
            #[serde(default)]
            meta: BTreeMap<String, Meta>,
            #[serde(default)]
            previous: BTreeMap<String, Vec<String>>,
        }
        let corrupt = |why: String| VaultError::Corrupt { path: path.to_owned(), why };
        let text = std::str::from_utf8(plain)
            .map_err(|_| corrupt("decrypts to something that is no text".to_owned()))?;
        // The parser's own message quotes the text, and the text is secret: only the line is told.
        let unread = |error: toml::de::Error| {
            let at = error.span().map_or(0, |span| span.start).min(text.len());
            let line = text.as_bytes()[..at].iter().filter(|byte| **byte == b'\n').count() + 1;
            corrupt(format!("decrypts, but its line {line} is not what fleet writes"))
        };
        let head: Head = toml::from_str(text).map_err(unread)?;
        if head.schema != SCHEMA {
            return Err(VaultError::NewerSchema { path: path.to_owned(), schema: head.schema });
        }
        if head.client != client {
            let (found, client) = (crate::secret::clean(&head.client).into_owned(), client.to_owned());
            return Err(VaultError::WrongClient { path: path.to_owned(), found, client });
        }
        let read: In = toml::from_str(text).map_err(unread)?;
        let wrap = |values: Vec<String>| values.into_iter().map(Secret::new).collect();
        let secrets = ClientSecrets {
            client: read.client,
            values: read.values.into_iter().map(|(name, value)| (name, Secret::new(value))).collect(),
            meta: read.meta,
            previous: read.previous.into_iter().map(|(name, values)| (name, wrap(values))).collect(),
        };
        crate::held::note(secrets.all());
        Ok(secrets)
    }
}

impl fmt::Debug for ClientSecrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientSecrets")
            .field("client", &self.client)
            .field("values", &self.values)
            .finish_non_exhaustive()
    }
}
