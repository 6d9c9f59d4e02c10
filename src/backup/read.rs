//! Files of a snapshot, read by who needs their size beforehand: into a tar stream above all.

use std::io::{self, Read, Write};
use std::path::Path;

use rustic_core::repofile::Node;
use rustic_core::vfs::OpenFile;
use rustic_core::{IndexedFullStatus, RusticError};

use super::error::BackupError;
use super::repository::Browser;

/// Read from the repository at once.
const READ: usize = 1 << 20;

/// Which side of a copy failed.
#[derive(Debug)]
pub enum Appending {
    Backup(BackupError),
    Io(io::Error),
}

impl From<BackupError> for Appending {
    fn from(error: BackupError) -> Self {
        Appending::Backup(error)
    }
}

impl From<io::Error> for Appending {
    /// What the repository says comes through the stream.
    fn from(error: io::Error) -> Self {
        error.downcast().map_or_else(Appending::Io, Appending::Backup)
    }
}

impl Browser {
    /// Puts a file or folder into a tar stream, under a path there.
    ///
    /// # Errors
    /// A piece that is gone, or a stream that takes no more.
    pub fn append<W: Write>(
        &self,
        tar: &mut tar::Builder<W>,
        path: &Path,
        node: &Node,
    ) -> Result<(), Appending> {
        let mut header = tar::Header::new_gnu();
        let meta = &node.meta;
        header.set_mode(meta.mode.unwrap_or(0o600));
        header.set_uid(meta.uid.unwrap_or(0).into());
        header.set_gid(meta.gid.unwrap_or(0).into());
        header.set_mtime(meta.mtime.map_or(0, |at| u64::try_from(at.as_second()).unwrap_or(0)));
        header.set_size(0);
        if node.is_dir() {
            header.set_entry_type(tar::EntryType::Directory);
            return Ok(tar.append_data(&mut header, path, io::empty())?);
        }
        if node.is_symlink() {
            header.set_entry_type(tar::EntryType::Symlink);
            return Ok(tar.append_link(&mut header, path, node.node_type.to_link())?);
        }
        // A file may have grown while it was read: its pieces know its true size.
        header.set_size(self.size(node)?);
        Ok(tar.append_data(&mut header, path, io::BufReader::with_capacity(READ, self.reader(node)?))?)
    }

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
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let piece = self
            .inner
            .read_file_at(&self.file, self.at, into.len())
            .map_err(|error| io::Error::other(BackupError::storage(&error)))?;
        into[..piece.len()].copy_from_slice(&piece);
        self.at += piece.len();
        Ok(piece.len())
    }
}
