//! What was handed to the library and what became of each: nothing is lost without a word.

use std::io::{self, Read};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use sha2::{Digest as _, Sha256};

use super::archive::Fill;
use super::error::BackupError;
use super::gate::Gate;
use super::manifest::{Files, Folder, Manifest, Part};
use crate::ops::backup::{Kind, Listing};
use crate::shell::hex;

/// Shared by the walk, the readers and whoever commits.
#[derive(Clone)]
pub struct Ledger {
    pub gate: Gate,
    inner: Arc<(Mutex<Sum>, Condvar)>,
}

/// What it came to.
#[derive(Clone, Default)]
pub struct Sum {
    /// Everything but folders that was handed out.
    pub yielded: u64,
    pub vanished: u64,
    /// Files of the manifest's part list.
    parts: Vec<Part>,
    files: Files,
    /// Handed out and neither read to the end nor found unchanged.
    open: u64,
    pub manifest: Option<(Manifest, Vec<u8>)>,
}

impl Ledger {
    #[must_use]
    pub fn new(gate: Gate) -> Self {
        Ledger { gate, inner: Arc::default() }
    }

    fn lock(&self) -> MutexGuard<'_, Sum> {
        self.inner.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    #[must_use]
    pub fn sum(&self) -> Sum {
        self.lock().clone()
    }

    /// Waits until everything handed out was read to its end, or something failed.
    pub fn wait(&self) {
        self.wait_for(0);
    }

    fn wait_for(&self, open: u64) {
        let mut sum = self.lock();
        while sum.open > open && !self.gate.failed() {
            let pause = std::time::Duration::from_millis(200);
            // The gate may fail without anybody closing anything.
            sum = self.inner.1.wait_timeout(sum, pause).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Hands out a file. `whole`: its true size and hash belong in the manifest.
    #[must_use]
    pub fn count(&self, path: &str, whole: bool) -> Counted {
        let mut sum = self.lock();
        sum.yielded += 1;
        sum.open += 1;
        Counted { ledger: self.clone(), path: path.to_owned(), whole, state: State::Waiting }
    }

    /// Hands out something without content.
    pub fn other(&self) {
        self.lock().yielded += 1;
    }

    pub fn listed(&self, listing: &Listing) {
        let mut sum = self.lock();
        let files = listing.found.iter().filter(|found| found.kind == Kind::File);
        sum.files = Files {
            folders: listing
                .roots
                .iter()
                .map(|(path, from)| Folder {
                    path: path.clone(),
                    from: crate::secret::clean(from).into_owned(),
                })
                .collect(),
            files: files.clone().count() as u64,
            bytes: files.map(|found| found.size).sum(),
            others: listing.others,
            ..Files::default()
        };
    }
}

#[derive(PartialEq, Eq)]
enum State {
    Waiting,
    Open,
    Done,
}

/// One file that was handed out.
pub struct Counted {
    ledger: Ledger,
    path: String,
    whole: bool,
    state: State,
}

impl Counted {
    pub fn opened(&mut self) {
        self.state = State::Open;
    }

    /// Waits until this is the only one that is not done.
    pub fn wait_for_others(&self) {
        self.ledger.wait_for(1);
    }

    /// Completes the manifest: everything else is in the snapshot.
    ///
    /// # Errors
    /// When something failed meanwhile.
    pub fn manifest(&self, draft: Manifest) -> Result<Vec<u8>, BackupError> {
        if self.ledger.gate.failed() {
            return Err(BackupError::Stopped);
        }
        let mut sum = self.ledger.lock();
        let mut parts = sum.parts.clone();
        parts.sort_by(|a, b| a.path.cmp(&b.path));
        let mut files = sum.files.clone();
        files.vanished = sum.vanished;
        files.changed = draft.files.changed;
        files.files = files.files.saturating_sub(sum.vanished);
        let manifest = Manifest { parts, files, complete: true, ..draft };
        let bytes = manifest.to_bytes();
        sum.manifest = Some((manifest, bytes.clone()));
        Ok(bytes)
    }

    #[must_use]
    pub fn reader(self, fill: Box<dyn Fill>) -> Reader {
        Reader { counted: self, fill: Some(fill), bytes: 0, hash: Sha256::new() }
    }

    /// A reader that only says what went wrong.
    #[must_use]
    pub fn broken(self, fault: BackupError) -> Reader {
        self.ledger.gate.fail(fault);
        Reader { counted: self, fill: None, bytes: 0, hash: Sha256::new() }
    }

    fn done(&mut self, change: impl FnOnce(&mut Sum)) {
        if self.state != State::Done {
            self.state = State::Done;
            let mut sum = self.ledger.lock();
            change(&mut sum);
            sum.open -= 1;
            self.ledger.inner.1.notify_all();
        }
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        match self.state {
            // The library found it unchanged.
            State::Waiting => self.done(|_| {}),
            State::Open => {
                self.ledger.gate.fail(BackupError::Stopped);
                self.done(|_| {});
            }
            State::Done => {}
        }
    }
}

/// The content of one file on its way into the repository.
pub struct Reader {
    counted: Counted,
    fill: Option<Box<dyn Fill>>,
    bytes: u64,
    hash: Sha256,
}

impl Read for Reader {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let gone = || io::Error::other("the backup failed");
        if self.counted.ledger.gate.failed() {
            return Err(gone());
        }
        let Some(fill) = &mut self.fill else {
            return if self.counted.state == State::Done { Ok(0) } else { Err(gone()) };
        };
        match fill.fill(into) {
            Ok(count) => {
                self.bytes += count as u64;
                if self.counted.whole {
                    self.hash.update(&into[..count]);
                }
                if count < into.len() {
                    self.finish();
                }
                Ok(count)
            }
            Err(BackupError::Vanished) => {
                self.fill = None;
                self.counted.done(|sum| sum.vanished += 1);
                Err(io::Error::from(io::ErrorKind::NotFound))
            }
            Err(fault) => {
                self.counted.ledger.gate.fail(fault);
                self.fill = None;
                Err(gone())
            }
        }
    }
}

impl Reader {
    /// Less than asked for: it came to its proved end.
    fn finish(&mut self) {
        self.fill = None;
        let part = Part {
            path: self.counted.path.clone(),
            bytes: self.bytes,
            sha256: hex(&std::mem::take(&mut self.hash).finalize()),
        };
        let whole = self.counted.whole;
        self.counted.done(|sum| match whole {
            true => sum.parts.push(part),
            false => sum.files.read += 1,
        });
    }
}
