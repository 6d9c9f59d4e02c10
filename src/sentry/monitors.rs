//! Which monitors this fleet has made, so that those of clients that are gone can be told to expect nothing more.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::fs_atomic::{self, FileLock};

/// Of the file's form; another one begins anew.
const FORM: u32 = 1;
const PATIENCE: Duration = Duration::from_secs(5);

/// What Sentry was last told of a monitor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Standing {
    Expected,
    /// Disabled there.
    Off,
    /// The operator was told to disable it.
    Told,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Known {
    /// `None` for the fleet as a whole.
    pub client: Option<String>,
    pub standing: Standing,
}

/// Every monitor by its slug.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Monitors {
    #[serde(default)]
    form: u32,
    #[serde(default)]
    pub all: BTreeMap<String, Known>,
}

fn file(state: &Path) -> PathBuf {
    state.join("sentry/monitors.json")
}

impl Monitors {
    /// What is remembered; a file that cannot be read is as none.
    #[must_use]
    pub fn read(state: &Path) -> Monitors {
        let bytes = fs_atomic::read_optional(&file(state)).ok().flatten().unwrap_or_default();
        serde_json::from_slice::<Monitors>(&bytes).ok().filter(|found| found.form == FORM).unwrap_or_default()
    }

    /// Changes what is remembered, one process at a time; writes nothing where nothing changes.
    ///
    /// # Errors
    /// When it cannot be written, in one line.
    pub fn change(state: &Path, change: impl FnOnce(&mut Monitors)) -> Result<(), String> {
        let lock = state.join("locks/sentry-monitors.lock");
        let _held = FileLock::acquire(&lock, PATIENCE).map_err(|error| error.to_string())?;
        let mut monitors = Monitors::read(state);
        let before = monitors.clone();
        change(&mut monitors);
        if monitors == before {
            return Ok(());
        }
        monitors.form = FORM;
        let bytes = serde_json::to_vec_pretty(&monitors).map_err(|error| error.to_string())?;
        let path = file(state);
        if let Some(folder) = path.parent() {
            fs_atomic::create_folder(folder, 0o700).map_err(|error| error.to_string())?;
        }
        fs_atomic::replace(&path, &bytes, 0o600).map_err(|error| error.to_string())
    }

    /// Those of clients that are no more, as far as nobody was told.
    pub fn left_behind<'m>(
        &'m self,
        is_there: impl Fn(&str) -> bool + 'm,
    ) -> impl Iterator<Item = (&'m str, &'m str)> {
        self.all.iter().filter_map(move |(slug, known)| {
            let client = known.client.as_deref()?;
            (known.standing == Standing::Expected && !is_there(client)).then_some((slug.as_str(), client))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_remembered_comes_back_and_a_spoiled_file_is_none() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(Monitors::read(dir.path()), Monitors::default());
        let known = |client: Option<&str>, standing| Known { client: client.map(str::to_owned), standing };
        Monitors::change(dir.path(), |monitors| {
            monitors.all.insert("x-backup-a".to_owned(), known(Some("a"), Standing::Expected));
            monitors.all.insert("x-backup-b".to_owned(), known(Some("b"), Standing::Expected));
            monitors.all.insert("x-backup-c".to_owned(), known(Some("c"), Standing::Off));
            monitors.all.insert("x-check".to_owned(), known(None, Standing::Expected));
        })
        .unwrap();
        let monitors = Monitors::read(dir.path());
        let left: Vec<_> = monitors.left_behind(|client| client == "a").collect();
        assert_eq!(left, [("x-backup-b", "b")]);
        std::fs::write(file(dir.path()), "{").unwrap();
        assert_eq!(Monitors::read(dir.path()), Monitors::default());
    }
}
