//! What can go wrong with a backup, in the operator's words.

use std::path::PathBuf;

use rustic_core::RusticError;

use super::keep::Future;
use crate::fs_atomic::{FsError, LockError};
use crate::ops::backup::ListingError;
use crate::secret::clean;

/// Why there is no snapshot, or why one cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    #[error("the repository {0}")]
    Storage(String),
    #[error("the key of {client} does not open the repository {place}")]
    WrongKey { client: String, place: String },
    #[error("there is no repository of {client} at {place}")]
    NoRepository { client: String, place: String },
    #[error("{client} has no snapshot{}", wanted.as_ref().map_or(String::new(), |wanted| format!(" {wanted:?}")))]
    NoSnapshot { client: String, wanted: Option<String> },
    #[error("{wanted:?} means {count} snapshots of {client}")]
    Ambiguous { client: String, wanted: String, count: usize },
    #[error("snapshot {id} is no whole backup: {why}")]
    Incomplete { id: String, why: String },
    #[error("snapshot {id} has no {path:?}")]
    NoPath { id: String, path: String },
    #[error("the snapshot names a file whose path leaves its folder: {0:?}")]
    Leaves(String),
    #[error("{what} gave nothing at all")]
    Empty { what: String },
    #[error("{what} ended too early: {why}")]
    Cut { what: String, why: String },
    #[error("{what} failed on the host: {why}")]
    Remote { what: String, why: String, lines: Vec<String> },
    #[error("{what} is larger than {limit}")]
    TooLarge { what: String, limit: String },
    #[error("{what} does not unpack: {why}")]
    Corrupt { what: String, why: String },
    #[error(transparent)]
    Listing(#[from] ListingError),
    #[error("{written} of {wanted} files were written")]
    Missing { written: u64, wanted: u64 },
    #[error(transparent)]
    Future(#[from] Future),
    #[error(transparent)]
    Lock(#[from] LockError),
    #[error(transparent)]
    File(#[from] FsError),
    #[error("cannot read {}: {source}", path.display())]
    Local { path: PathBuf, source: std::io::Error },
    #[error("stopped before it was whole")]
    Stopped,
    /// One file; the backup goes on.
    #[error("it was deleted meanwhile")]
    Vanished,
}

impl BackupError {
    /// The library's own error, in one line.
    #[must_use]
    pub fn storage(error: &RusticError) -> Self {
        let text = error.display_log();
        let text = text.trim_start_matches("Error: ");
        let end = text.find(" (kind: ").unwrap_or(text.len());
        let line = clean(text[..end].trim()).replace('\n', " ");
        BackupError::Storage(format!("could not be worked on: {line}"))
    }

    /// What to do next.
    #[must_use]
    pub fn hint(&self, client: &str) -> Option<String> {
        Some(match self {
            BackupError::Storage(_) => format!("fleet backups verify {client}"),
            BackupError::WrongKey { .. } => {
                "bring back the secrets file that the repository was made with (git has it), or the recovery copy".into()
            }
            BackupError::NoRepository { .. } | BackupError::NoSnapshot { wanted: None, .. } => {
                format!("fleet backup {client}")
            }
            BackupError::NoSnapshot { .. } | BackupError::Ambiguous { .. } | BackupError::Incomplete { .. } => {
                format!("fleet backups list {client}")
            }
            BackupError::Leaves(_) => format!("fleet backups verify {client}; restore from another snapshot"),
            BackupError::NoPath { .. } => format!("fleet backups show {client} lists what is in it"),
            BackupError::Cut { .. } | BackupError::Stopped | BackupError::Missing { .. } => {
                "run the same command again: what was already stored is not sent twice".into()
            }
            BackupError::Empty { .. } | BackupError::Remote { .. } => format!("fleet status {client}"),
            BackupError::TooLarge { .. } => "raise `max_size` under [fleet.backup] when that is its true size".into(),
            BackupError::Corrupt { .. } => "run the same command again; if it happens twice, the host is not to be trusted".into(),
            BackupError::Listing(_) => "look at the folder on the host: an honest one does not name such a file".into(),
            BackupError::Future(_) => "set the clock of this machine, or delete that snapshot; nothing is forgotten until then".into(),
            BackupError::Lock(_) => "another backup or prune of this client is running: wait for it".into(),
            BackupError::File(_) | BackupError::Local { .. } | BackupError::Vanished => return None,
        })
    }

    /// The last lines that the host printed.
    #[must_use]
    pub fn lines(&self) -> Vec<String> {
        match self {
            BackupError::Remote { lines, .. } => lines.clone(),
            _ => Vec::new(),
        }
    }
}
