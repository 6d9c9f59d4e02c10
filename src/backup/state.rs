//! What this fleet directory remembers of each client's backups, so that `status` need not open a
//! repository: `.fleet/backups/CLIENT.json`. A file that is lost costs nothing but the memory of it.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::fs_atomic::{self, FsError};

/// The last backup and the last proof of one client.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct State {
    pub last: Option<Last>,
    /// The last restore of a snapshot into a throwaway database that went well.
    pub proof: Option<Proof>,
    /// The last attempt, when it failed after the last backup.
    pub failure: Option<Failure>,
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
}

impl State {
    /// `dir` is the fleet directory's `.fleet`. What cannot be read is as good as nothing.
    #[must_use]
    pub fn read(dir: &Path, client: &str) -> State {
        let bytes = fs_atomic::read_optional(&path(dir, client)).ok().flatten();
        bytes.and_then(|bytes| serde_json::from_slice(&bytes).ok()).unwrap_or_default()
    }

    /// Changes what is remembered.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn change(dir: &Path, client: &str, change: impl FnOnce(&mut State)) -> Result<(), FsError> {
        let mut state = State::read(dir, client);
        change(&mut state);
        let path = path(dir, client);
        fs_atomic::create_folder(&dir.join("backups"), 0o700)?;
        let text = serde_json::to_vec_pretty(&state).unwrap_or_default();
        fs_atomic::replace(&path, &text, 0o600)
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
