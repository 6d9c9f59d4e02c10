//! What Sentry was told of releases and deploys, so that each is told once: `.fleet/sentry/deploys.json`.
//!
//! Rule of this file: an intention is written before it is carried out. What begins on a host is written before
//! the host is touched, and what is about to be told before it is sent: whoever comes after a kill finds what may have
//! happened, asks the server, and finishes it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::fs_atomic::{self, FileLock, LockError};

/// Of the file's form; another one begins anew.
const FORM: u32 = 1;
const PATIENCE: Duration = Duration::from_secs(10);
/// Releases that are remembered; the API knows them all, and is asked about older ones.
const RELEASES: usize = 300;
/// Deploys of one client that wait for a server which does not answer.
const WAITING: usize = 20;

/// A release of an organisation, as far as it is known there.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Release {
    /// Those that it was made for.
    pub projects: BTreeSet<String>,
    pub finalised: bool,
    /// RFC 3339.
    pub at: String,
}

/// A deploy that is to be told.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Deploy {
    pub org: String,
    pub project: String,
    pub version: String,
    pub environment: String,
    /// Unlike any other of this release and environment, so that it is known again.
    pub name: String,
    pub url: String,
    /// RFC 3339.
    pub started: String,
    pub finished: String,
    /// It may have been sent already.
    pub attempted: bool,
}

/// One client.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Client {
    /// A version that a run was about to bring to the host.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub begun: Option<String>,
    /// Oldest first.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub waiting: Vec<Deploy>,
    /// The version of the last deploy that was noted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub noted: Option<String>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Ledger {
    form: u32,
    /// By `ORG/VERSION`.
    pub releases: BTreeMap<String, Release>,
    pub clients: BTreeMap<String, Client>,
    /// The last commit that was told, by `ORG/STACK`.
    pub commits: BTreeMap<String, String>,
}

/// The ledger, while nobody else has it.
pub struct Book {
    path: PathBuf,
    written: Ledger,
    pub ledger: Ledger,
    _held: FileLock,
}

impl Book {
    /// # Errors
    /// When another process has it, or its folder cannot be written.
    pub fn open(state: &Path) -> Result<Book, LockError> {
        let held = FileLock::acquire(&state.join("locks/sentry-deploys.lock"), PATIENCE)?;
        let path = state.join("sentry/deploys.json");
        let bytes = fs_atomic::read_optional(&path).ok().flatten().unwrap_or_default();
        let read = serde_json::from_slice::<Ledger>(&bytes).ok().filter(|ledger| ledger.form == FORM);
        let ledger = read.unwrap_or_default();
        Ok(Book { path, written: ledger.clone(), ledger, _held: held })
    }

    /// Writes what changed.
    ///
    /// # Errors
    /// When it cannot be written, in one line.
    pub fn save(&mut self) -> Result<(), String> {
        if self.ledger == self.written {
            return Ok(());
        }
        self.ledger.trim();
        self.ledger.form = FORM;
        let bytes = serde_json::to_vec_pretty(&self.ledger).map_err(|error| error.to_string())?;
        if let Some(folder) = self.path.parent() {
            fs_atomic::create_folder(folder, 0o700).map_err(|error| error.to_string())?;
        }
        fs_atomic::replace(&self.path, &bytes, 0o600).map_err(|error| error.to_string())?;
        self.written = self.ledger.clone();
        Ok(())
    }
}

impl Ledger {
    /// A run is about to bring this version to the client.
    pub fn begins(&mut self, client: &str, version: &str) {
        self.clients.entry(client.to_owned()).or_default().begun = Some(version.to_owned());
    }

    /// The client runs `deploy`: it is noted where a run brought it there, this one or one that was killed, and
    /// where it was not noted before. True when it is new.
    pub fn runs(&mut self, client: &str, changed: bool, deploy: Deploy) -> bool {
        let known = self.clients.entry(client.to_owned()).or_default();
        let brought = changed || known.begun.as_ref() == Some(&deploy.version);
        known.begun = None;
        if !brought || known.noted.as_ref() == Some(&deploy.version) {
            return false;
        }
        known.noted = Some(deploy.version.clone());
        known.waiting.push(deploy);
        if known.waiting.len() > WAITING {
            known.waiting.remove(0);
        }
        true
    }

    /// The client went back to another release: what comes next is a deploy, whatever it is.
    pub fn went_back(&mut self, client: &str) {
        if let Some(known) = self.clients.get_mut(client) {
            (known.begun, known.noted) = (None, None);
        }
    }

    /// Every deploy that waits, by its client.
    pub fn waiting(&self) -> impl Iterator<Item = (&str, &Deploy)> {
        self.clients
            .iter()
            .flat_map(|(client, known)| known.waiting.iter().map(move |deploy| (client.as_str(), deploy)))
    }

    fn trim(&mut self) {
        self.clients.retain(|_, client| *client != Client::default());
        while self.releases.len() > RELEASES {
            let oldest = self.releases.iter().min_by(|a, b| a.1.at.cmp(&b.1.at)).map(|(key, _)| key.clone());
            let Some(oldest) = oldest else { return };
            self.releases.remove(&oldest);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn deploy(version: &str) -> Deploy {
        Deploy { version: version.to_owned(), ..Deploy::default() }
    }

    fn versions(ledger: &Ledger) -> Vec<&str> {
        ledger.waiting().map(|(_, deploy)| deploy.version.as_str()).collect()
    }

    #[test]
    fn a_version_is_noted_once_however_often_it_is_found() {
        let mut ledger = Ledger::default();
        // What runs there already was not brought by anybody that is known.
        assert!(!ledger.runs("lyon", false, deploy("a@1")));
        ledger.begins("lyon", "a@1");
        assert!(ledger.runs("lyon", true, deploy("a@1")));
        assert!(!ledger.runs("lyon", false, deploy("a@1")));
        // Settings changed, the code did not.
        ledger.begins("lyon", "a@1");
        assert!(!ledger.runs("lyon", true, deploy("a@1")));
        // Killed between the host and this note: the next run finds nothing to change, and notes it.
        ledger.begins("lyon", "a@2");
        assert!(ledger.runs("lyon", false, deploy("a@2")));
        assert_eq!(versions(&ledger), ["a@1", "a@2"]);
        // Begun, not done, and then wanted no more.
        ledger.begins("lyon", "a@3");
        assert!(!ledger.runs("lyon", false, deploy("a@2")));
        ledger.went_back("lyon");
        assert!(ledger.runs("lyon", true, deploy("a@2")));
        assert_eq!(versions(&ledger), ["a@1", "a@2", "a@2"]);
    }

    #[test]
    fn it_is_kept_by_one_at_a_time_and_does_not_grow_without_end() {
        let dir = tempfile::tempdir().unwrap();
        let mut book = Book::open(dir.path()).unwrap();
        for n in 0..1000 {
            let release = Release { at: format!("{n:04}"), ..Release::default() };
            book.ledger.releases.insert(format!("o/a@{n}"), release);
            book.ledger.runs("lyon", true, deploy(&format!("a@{n}")));
        }
        book.save().unwrap();
        drop(book);
        let book = Book::open(dir.path()).unwrap();
        assert_eq!((book.ledger.releases.len(), book.ledger.waiting().count()), (RELEASES, WAITING));
        assert!(book.ledger.releases.contains_key("o/a@999") && !book.ledger.releases.contains_key("o/a@0"));
    }
}
