//! Proof: a snapshot is restored into a throwaway PostgreSQL, counted, and thrown away with it.
//!
//! A dump is the work of a host that may be hostile, and restoring it runs what is in it. So it happens
//! where nothing can be reached: a server without a network that this process starts and ends, as a
//! user of no rights, by a role that is no superuser, within limits of time, memory and disk. What a
//! host wrote is never given to psql, which would run programs for it.

mod database;
mod files;
mod home;
mod machine;
mod reins;
mod server;

use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Timestamp;

use super::error::BackupError;
use super::manifest::Manifest;
use super::place::Place;
use super::repository::{Browser, Repository, Snapshot};
use crate::fs_atomic::{FsError, LockError};
use crate::registry::ProveWith;

pub use home::sweep;
pub use machine::Machine;

use reins::Reins;

/// Says what is wrong with a file, by its path.
pub type Judge<'j> = dyn Fn(&str, &[u8]) -> Result<(), String> + 'j;

/// How a snapshot is to be proved.
pub struct Wish<'w> {
    pub with: ProveWith,
    /// Image of PostgreSQL without its tag, or with `{major}` in it.
    pub image: &'w str,
    /// Share of the files that are read, in percent.
    pub share: f64,
    /// Longest time for one snapshot.
    pub time: Duration,
    /// The fleet directory's `.fleet`: what a kill leaves behind is found from there.
    pub state: &'w std::path::Path,
    /// Judges a file of the operator's own, by its path in the snapshot.
    pub own: &'w Judge<'w>,
    /// Whether to give up.
    pub stop: Arc<dyn Fn() -> bool + Send + Sync>,
    /// Told what is done now.
    pub tell: &'w dyn Fn(&str),
}

/// What a proof came to. It went well when there is no fault.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Proved {
    /// Of the snapshot, in full.
    pub snapshot: String,
    pub at: Option<Timestamp>,
    /// What the database was restored into; none where there is no database.
    pub with: Option<String>,
    pub tables: Vec<Table>,
    pub files: u64,
    pub files_read: u64,
    /// Read out of the repository.
    pub bytes: u64,
    pub faults: Vec<String>,
    pub seconds: f64,
}

/// Rows of a table as the manifest has them and as they were counted after the restore.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Table {
    pub table: String,
    pub wanted: u64,
    /// None when the table is not there.
    pub found: Option<u64>,
}

impl Proved {
    #[must_use]
    pub fn ok(&self) -> bool {
        self.faults.is_empty()
    }

    #[must_use]
    pub fn rows(&self) -> u64 {
        self.tables.iter().filter_map(|table| table.found).sum()
    }
}

/// Why nothing is known of a snapshot: the fault is not the snapshot's.
#[derive(Debug, thiserror::Error)]
pub enum ProofError {
    #[error("there is nothing to restore a PostgreSQL {major} into: {why}")]
    NoServer { major: String, why: String },
    #[error("the throwaway PostgreSQL did not start: {0}")]
    Start(String),
    #[error("given up after {} s", .0.as_secs())]
    Time(Duration),
    #[error("interrupted")]
    Stopped,
    #[error(transparent)]
    Backup(#[from] BackupError),
    #[error(transparent)]
    File(#[from] FsError),
    #[error(transparent)]
    Lock(#[from] LockError),
}

impl ProofError {
    /// What to do next.
    #[must_use]
    pub fn hint(&self, client: &str) -> Option<String> {
        Some(match self {
            ProofError::NoServer { major, .. } => format!(
                "apt-get install postgresql-{major} (its cluster need not run), or install Docker; `--with` and `prove_with` under [fleet.backup] choose"
            ),
            ProofError::Start(_) => {
                "look at the free space and memory of this machine; `--with` chooses another way".to_owned()
            }
            ProofError::Time(_) => "give it more with --timeout".to_owned(),
            ProofError::Backup(error) => return error.hint(client),
            ProofError::Stopped | ProofError::File(_) | ProofError::Lock(_) => return None,
        })
    }
}

/// Proves one snapshot. Blocks, and must stay on one thread: what it starts ends with that thread.
///
/// # Errors
/// When nothing can be said of the snapshot.
pub fn prove(place: &Place, wanted: &str, wish: &Wish<'_>) -> Result<Proved, ProofError> {
    let started = Instant::now();
    let repository = Repository::open(place)?;
    let snapshot = repository.find(wanted)?;
    let mut proved = Proved { snapshot: snapshot.id.clone(), at: Some(snapshot.at), ..Proved::default() };
    let reins = Reins::new(Arc::clone(&wish.stop), wish.time);
    // From here on what cannot be read cannot be restored.
    let opened = repository.browse().and_then(|browser| {
        let manifest = browser.manifest(&snapshot)?;
        Ok((browser, manifest))
    });
    match opened {
        Ok((browser, manifest)) => {
            let all =
                All { browser: &browser, snapshot: &snapshot, manifest: &manifest, wish, reins: &reins };
            all.check(&mut proved)?;
        }
        Err(error) => proved.faults.push(error.to_string()),
    }
    // A proof that was given up says nothing, whatever it met on the way.
    reins.verdict()?;
    proved.seconds = started.elapsed().as_secs_f64();
    Ok(proved)
}

/// What every part of a proof needs.
struct All<'p> {
    browser: &'p Browser,
    snapshot: &'p Snapshot,
    manifest: &'p Manifest,
    wish: &'p Wish<'p>,
    reins: &'p Arc<Reins>,
}

impl All<'_> {
    fn check(&self, proved: &mut Proved) -> Result<(), ProofError> {
        (self.wish.tell)("read what is the operator's own");
        let roles = self.parts(proved);
        if let Some(database) = &self.manifest.database {
            self.database(database, &roles, proved)?;
        }
        (self.wish.tell)("read the files");
        self.files(proved);
        Ok(())
    }
}
