//! What this fleet directory remembers of each client's backups, so that `status` need not open a
//! repository: `.fleet/backups/CLIENT.json`. With a file that is lost goes the memory of what was proved: retention
//! spares nothing for it any more. The run that finds a damaged one says so, and forgets no snapshot.

use std::path::{Path, PathBuf};
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::error::BackupError;
use super::prove::Proved;
use crate::fs_atomic::{self, FileLock, LockError};

/// How long another that writes is waited for.
const PATIENCE: Duration = Duration::from_secs(5);

/// The last backup and the last proof of one client.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct State {
    pub last: Option<Last>,
    /// The last restore of a snapshot into a throwaway database that went well.
    pub proof: Option<Proof>,
    /// The last attempt, when it failed after the last backup.
    pub failure: Option<Failure>,
    /// The last proof, when it failed: that snapshot, or one newer than it, does not restore.
    pub disproof: Option<Disproof>,
    /// RFC 3339: when the first backup was made.
    pub first: Option<String>,
    /// RFC 3339: when a proof came to nothing last.
    pub tried: Option<String>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Last {
    /// Of the snapshot, in full.
    pub snapshot: String,
    /// RFC 3339.
    pub at: String,
    /// As on the host.
    pub bytes: u64,
    /// What the repository grew by.
    pub added: u64,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Proof {
    pub snapshot: String,
    /// RFC 3339.
    pub at: String,
    pub ok: bool,
    pub detail: String,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Failure {
    /// RFC 3339.
    pub at: String,
    pub message: String,
    /// Somebody was told.
    pub told: bool,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Disproof {
    pub snapshot: String,
    /// RFC 3339.
    pub at: String,
    pub message: String,
    /// Somebody was told.
    pub told: bool,
}

impl State {
    /// `dir` is the fleet directory's `.fleet`. What cannot be read is as good as nothing.
    #[must_use]
    pub fn read(dir: &Path, client: &str) -> State {
        State::known(dir, client).unwrap_or_default()
    }

    /// The same where a damaged file must not pass for none.
    ///
    /// # Errors
    /// A file that is there and cannot be read.
    pub fn known(dir: &Path, client: &str) -> Result<State, BackupError> {
        let path = path(dir, client);
        let Some(bytes) = fs_atomic::read_optional(&path)? else { return Ok(State::default()) };
        serde_json::from_slice(&bytes).map_err(|error| BackupError::Local { path, source: error.into() })
    }

    /// Changes what is remembered.
    ///
    /// # Errors
    /// When it cannot be written, or another writes for too long.
    pub fn change(dir: &Path, client: &str, change: impl FnOnce(&mut State)) -> Result<State, LockError> {
        let path = path(dir, client);
        // A backup and a proof may end at once.
        let _held = FileLock::acquire(&path.with_extension("json.lock"), PATIENCE)?;
        let mut state = State::read(dir, client);
        change(&mut state);
        let text = serde_json::to_vec_pretty(&state).unwrap_or_default();
        fs_atomic::replace(&path, &text, 0o600)?;
        Ok(state)
    }

    /// Takes in a backup that failed. Who was told of one that failed before it, knows.
    pub fn failed(&mut self, at: String, message: String) {
        let told = self.failure.as_ref().is_some_and(|failure| failure.told);
        self.failure = Some(Failure { at, message, told });
    }

    /// Takes in what a proof came to.
    pub fn proved_as(&mut self, proved: &Proved, now: Timestamp) {
        let (snapshot, at) = (proved.snapshot.clone(), now.to_string());
        if proved.ok() {
            let detail = proved.with.clone().unwrap_or_else(|| "no database".to_owned());
            self.proof = Some(Proof { snapshot, at, ok: true, detail });
            self.disproof = None;
            return;
        }
        // One that restored once and does not any more protects nothing.
        if self.proof.as_ref().is_some_and(|proof| proof.snapshot == snapshot) {
            self.proof = None;
        }
        let told = self.disproof.as_ref().is_some_and(|disproof| disproof.told);
        let message = proved.faults.first().cloned().unwrap_or_default();
        self.disproof = Some(Disproof { snapshot, at, message, told });
    }

    /// When a proof was tried last; none if never.
    #[must_use]
    pub fn tried(&self) -> Option<&str> {
        let proof = self.proof.as_ref().map(|proof| proof.at.as_str());
        let disproof = self.disproof.as_ref().map(|disproof| disproof.at.as_str());
        proof.max(disproof).max(self.tried.as_deref())
    }

    /// The snapshot that was proved last, which retention never takes.
    #[must_use]
    pub fn proved(&self) -> Option<&str> {
        self.proof.as_ref().filter(|proof| proof.ok).map(|proof| proof.snapshot.as_str())
    }
}

fn path(dir: &Path, client: &str) -> PathBuf {
    dir.join("backups").join(format!("{client}.json"))
}
