//! The commit gate: while a backup runs, no snapshot reaches the storage.
//!
//! The library goes on after a source that cannot be read and saves a snapshot without the file, or
//! with half of it. So nothing that it saves becomes visible by itself: the gate keeps every snapshot
//! back, remembers the first thing that went wrong anywhere, and lets one pass only after all was
//! judged.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use rustic_core::{BytesList, ErrorKind, FileType, Id, ReadBackend, RusticError, RusticResult, WriteBackend};

use super::error::BackupError;

/// Shared by the storage, the readers of every stream, and whoever commits.
#[derive(Clone, Default)]
pub struct Gate(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    /// Snapshots are kept back.
    shut: bool,
    fault: Option<BackupError>,
    /// The last snapshot that passed.
    passed: Option<Id>,
}

impl Gate {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// From now on nothing passes.
    pub fn shut(&self) {
        self.state().shut = true;
    }

    /// Something went wrong: what is being written becomes no snapshot. The first word counts.
    pub fn fail(&self, fault: BackupError) {
        self.state().fault.get_or_insert(fault);
    }

    #[must_use]
    pub fn failed(&self) -> bool {
        self.state().fault.is_some()
    }

    /// Opens for one snapshot when nothing went wrong.
    ///
    /// # Errors
    /// The first thing that went wrong.
    pub fn open(&self) -> Result<(), BackupError> {
        let mut state = self.state();
        match state.fault.take() {
            Some(fault) => {
                state.fault = Some(BackupError::Stopped);
                Err(fault)
            }
            None => {
                state.shut = false;
                Ok(())
            }
        }
    }

    /// The snapshot that passed last.
    #[must_use]
    pub fn passed(&self) -> Option<Id> {
        self.state().passed
    }
}

/// A storage behind the gate.
pub struct Gated<B> {
    pub inner: B,
    pub gate: Gate,
}

impl<B: WriteBackend> ReadBackend for Gated<B> {
    fn location(&self) -> String {
        self.inner.location()
    }

    fn list_with_size(&self, kind: FileType) -> RusticResult<Vec<(Id, u32)>> {
        self.inner.list_with_size(kind)
    }

    fn read_full(&self, kind: FileType, id: &Id) -> RusticResult<Bytes> {
        self.inner.read_full(kind, id)
    }

    fn read_partial(
        &self,
        kind: FileType,
        id: &Id,
        keep: bool,
        offset: u32,
        length: u32,
    ) -> RusticResult<Bytes> {
        self.inner.read_partial(kind, id, keep, offset, length)
    }

    fn warmup_path(&self, kind: FileType, id: &Id) -> String {
        self.inner.warmup_path(kind, id)
    }
}

impl<B: WriteBackend> WriteBackend for Gated<B> {
    fn create(&self) -> RusticResult<()> {
        self.inner.create()
    }

    fn write_bytes(&self, kind: FileType, id: &Id, keep: bool, content: BytesList) -> RusticResult<()> {
        if kind == FileType::Snapshot {
            let state = self.gate.state();
            if state.fault.is_some() {
                return Err(RusticError::new(
                    ErrorKind::Backend,
                    "the backup failed, so no snapshot is written",
                ));
            }
            if state.shut {
                // Told that it is written, the library hands over its summary; we write it ourselves.
                return Ok(());
            }
        }
        let written = self.inner.write_bytes(kind, id, keep, content);
        match &written {
            Ok(()) if kind == FileType::Snapshot => self.gate.state().passed = Some(*id),
            Ok(()) => {}
            // The library may go on without it; we do not.
            Err(error) => self.gate.fail(BackupError::storage(error)),
        }
        written
    }

    fn remove(&self, kind: FileType, id: &Id, keep: bool) -> RusticResult<()> {
        self.inner.remove(kind, id, keep)
    }
}
