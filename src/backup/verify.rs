//! Looking for damage: the structure always, the data when asked.

use rustic_core::{CheckOptions, ReadSubsetOption};

use super::error::BackupError;
use super::repository::Repository;

/// How much of the data is read.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Depth {
    /// Index, packs by name and size, trees, manifests.
    Structure,
    /// And about this share of the packs, chosen at random, in percent.
    Share(f64),
    /// And all of it.
    All,
}

/// What was found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Verified {
    pub snapshots: usize,
    /// Damage: something cannot be restored.
    pub damage: Vec<String>,
    /// Strange, and nothing is lost by it.
    pub remarks: Vec<String>,
}

/// Most findings that are told.
const TOLD: usize = 50;

/// Checks a repository. Every manifest is read too.
///
/// # Errors
/// A repository that cannot be opened at all.
pub fn verify(repository: Repository, depth: Depth) -> Result<Verified, BackupError> {
    let snapshots = repository.snapshots()?;
    let mut options = CheckOptions::default();
    match depth {
        Depth::Structure => {}
        Depth::Share(percent) => {
            options.read_data = true;
            options.read_data_subset = ReadSubsetOption::Percentage(percent);
        }
        Depth::All => options.read_data = true,
    }
    let mut verified = Verified { snapshots: snapshots.len(), ..Verified::default() };
    let found = repository.inner().check(options).map_err(|error| repository.error(&error))?;
    for (level, finding) in found.0 {
        let text = crate::secret::clean(&finding.to_string()).replace('\n', " ");
        // The library does not export the type of the level.
        match format!("{level:?}").as_str() {
            "Warn" => verified.remarks.push(text),
            _ => verified.damage.push(text),
        }
    }
    match repository.browse() {
        Ok(browser) => {
            for snapshot in snapshots.iter().filter(|snapshot| snapshot.complete) {
                if let Err(error) = browser.manifest(snapshot) {
                    verified.damage.push(error.to_string());
                }
            }
        }
        Err(error) => verified.damage.push(error.to_string()),
    }
    verified.damage.truncate(TOLD);
    verified.remarks.truncate(TOLD);
    Ok(verified)
}
