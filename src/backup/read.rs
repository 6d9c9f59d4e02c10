//! Files of a snapshot, read by who needs their size beforehand.

use std::io::Read;

use rustic_core::repofile::Node;
use rustic_core::vfs::OpenFile;
use rustic_core::{IndexedFullStatus, RusticError};

use super::error::BackupError;
use super::repository::Browser;

impl Browser {
    /// True size of a file: its node may have another, of when it was listed.
    ///
    /// # Errors
    /// A piece that is gone.
    pub fn size(&self, node: &Node) -> Result<u64, BackupError> {
        let pieces = node.content.iter().flatten();
        pieces
            .map(|id| Ok(u64::from(self.inner.get_index_entry(id)?.data_length())))
            .sum::<Result<_, _>>()
            .map_err(|error: Box<RusticError>| BackupError::storage(&error))
    }

    /// The content of a file, for who reads at a speed of their own.
    ///
    /// # Errors
    /// A piece that is gone.
    pub fn reader<'b>(&'b self, node: &Node) -> Result<impl Read + use<'b>, BackupError> {
        let file = self.inner.open_file(node).map_err(|error| BackupError::storage(&error))?;
        Ok(Reader { inner: &self.inner, file, at: 0 })
    }
}

struct Reader<'b> {
    inner: &'b rustic_core::Repository<IndexedFullStatus>,
    file: OpenFile,
    at: usize,
}

impl Read for Reader<'_> {
    fn read(&mut self, into: &mut [u8]) -> std::io::Result<usize> {
        let piece = self
            .inner
            .read_file_at(&self.file, self.at, into.len())
            .map_err(|error| std::io::Error::other(BackupError::storage(&error).to_string()))?;
        into[..piece.len()].copy_from_slice(&piece);
        self.at += piece.len();
        Ok(piece.len())
    }
}
