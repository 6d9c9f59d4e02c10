//! Forgetting snapshots and giving their space back, in two phases: what is not needed any more is
//! marked, and deleted by a later prune, so that a writer that nobody saw loses nothing.

use std::time::Duration;

use jiff::{Span, Timestamp};
use rustic_core::{PruneOptions, RepairIndexOptions};

use super::error::BackupError;
use super::keep::{self, Dated};
use super::repository::Repository;
use crate::registry::Keep;

/// How long what is marked stays.
const MARKED: Duration = Duration::from_secs(23 * 3600);

/// What retention did, or would do.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pruned {
    /// Ids of the snapshots that went.
    pub forgotten: Vec<String>,
    pub kept: usize,
}

/// Which snapshots may go by the client's rule. What is no backup of fleet's is left alone.
///
/// # Errors
/// A snapshot of the future, or a repository that cannot be read.
pub fn plan(
    repository: &Repository,
    keep: &Keep,
    proved: Option<&str>,
    now: Timestamp,
) -> Result<Pruned, BackupError> {
    let all = repository.snapshots()?;
    let dated = |snapshot: &super::Snapshot| Dated { id: snapshot.id.clone(), at: snapshot.at };
    // One that is none of ours tells of a wrong clock all the same.
    let others: Vec<Dated> = all.iter().filter(|snapshot| !snapshot.complete).map(dated).collect();
    keep::forget(&others, &Keep::default(), None, now)?;
    let ours: Vec<Dated> = all.iter().filter(|snapshot| snapshot.complete).map(dated).collect();
    let forgotten = keep::forget(&ours, keep, proved, now)?;
    Ok(Pruned { kept: ours.len() - forgotten.len(), forgotten })
}

/// Forgets what [`plan`] named and gives back space that nothing needs any more and that was marked a
/// day ago or longer. The client's lock must be held.
///
/// # Errors
/// A storage that refuses to delete, or a repository that cannot be read: nothing good is lost.
pub fn carry_out(repository: &Repository, pruned: &Pruned) -> Result<(), BackupError> {
    carry_out_after(repository, pruned, MARKED)
}

/// The same where what was marked longer ago than `marked` goes: a reader, or a writer that nobody saw, has
/// so long.
///
/// # Errors
/// As [`carry_out`].
pub fn carry_out_after(
    repository: &Repository,
    pruned: &Pruned,
    marked: Duration,
) -> Result<(), BackupError> {
    let error = |error: Box<rustic_core::RusticError>| repository.error(&error);
    let mut ids = Vec::new();
    for snapshot in repository.snapshots()? {
        if pruned.forgotten.contains(&snapshot.id) {
            ids.push(snapshot.file.id);
        }
    }
    let inner = repository.inner();
    // What a run that was cut left is in no index, and would not be given back.
    inner.repair_index(&RepairIndexOptions::default(), false).map_err(error)?;
    if !ids.is_empty() {
        inner.delete_snapshots(&ids).map_err(error)?;
    }
    let marked = Span::new().seconds(i64::try_from(marked.as_secs()).unwrap_or(i64::MAX / 1_000_000));
    let options = PruneOptions::default().keep_delete(marked);
    let plan = inner.prune_plan(&options).map_err(error)?;
    inner.prune(&options, plan).map_err(error)
}
