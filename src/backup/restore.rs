//! What a snapshot holds, given back: the dump as it was, files as a tar stream that is made on the way.
//! Nothing is written here in between.

use std::io::{self, Write};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use flate2::Compression;
use flate2::write::GzEncoder;
use rustic_core::repofile::Node;
use sha2::{Digest as _, Sha256};
use tokio::sync::Semaphore;
use tokio::sync::mpsc::Sender;

use super::client::ClientBackup;
use super::error::BackupError;
use super::manifest::Manifest;
use super::read::Appending;
use super::repository::{Browser, Snapshot, shown};
use crate::engine::{Stock, Worked};
use crate::event::Outcome;
use crate::ops::backup::restore::Parcel;
use crate::shell::hex;
use crate::ssh::Piece;

/// Handed to the connection at once.
const PIECE: usize = 128 << 10;
/// Bytes between two words on how far it is.
const TOLD_EVERY: u64 = 4 << 20;

/// One snapshot, opened.
pub struct Opened {
    pub browser: Browser,
    pub snapshot: Snapshot,
    pub manifest: Manifest,
    /// Whose repository it is.
    pub client: String,
}

/// What the engine is given for one client: a snapshot to restore, and how the client is saved first.
#[derive(Default)]
pub struct Shelf {
    pub opened: Option<Opened>,
    /// With the turns of those that are saved at once.
    pub save: Option<(ClientBackup, Arc<Semaphore>)>,
}

#[async_trait]
impl Stock for Shelf {
    fn give(
        &self,
        parcel: &Parcel,
        into: &Sender<Piece>,
        told: &mut dyn FnMut(u64, Option<u64>),
    ) -> Result<(), Option<(String, Option<String>)>> {
        let opened = self.opened.as_ref().ok_or_else(|| Some(("no snapshot is open".to_owned(), None)))?;
        let mut out = Out { into, piece: Vec::with_capacity(PIECE), gone: false };
        let done = match parcel {
            Parcel::Dump { path } => opened.dump(path, &mut out, told),
            Parcel::Files { place, only } => opened.files(place, only, &mut out, told),
        };
        if out.gone {
            return Err(None);
        }
        done.map_err(|error| Some((error.to_string(), error.hint(&opened.client))))?;
        into.blocking_send(Piece::End).map_err(|_| None)
    }

    async fn save(&self, on: &Worked) -> Result<String, Outcome> {
        match &self.save {
            Some((backup, turns)) => {
                let _turn = turns.acquire().await;
                backup.safety(on).await
            }
            None => Err(Outcome::skipped("no backup was asked for")),
        }
    }
}

/// A file or folder of a snapshot on its way into a tar stream.
pub struct Picked {
    /// Below the folder that is restored.
    pub path: PathBuf,
    pub node: Node,
    /// It is asked for, and not only on the way to what is.
    pub wanted: bool,
}

impl Opened {
    /// What of a folder of the snapshot is meant by some paths below it; everything when there are none.
    ///
    /// # Errors
    /// A path that is not there, or one that would leave the folder.
    pub fn pick(&self, place: &str, only: &[String]) -> Result<Vec<Picked>, BackupError> {
        // A folder that was empty has no entry in the tree.
        let empty = only.is_empty() && self.manifest.files.folders.iter().any(|folder| folder.path == place);
        let root = match self.browser.node(&self.snapshot, place) {
            Err(BackupError::NoPath { .. }) if empty => return Ok(Vec::new()),
            root => root?,
        };
        let mut found = Vec::new();
        let mut seen = vec![false; only.len()];
        for (path, node) in self.browser.list(&root)? {
            if !path.components().all(|part| matches!(part, Component::Normal(_))) {
                return Err(BackupError::Leaves(shown(&path)));
            }
            let mut wanted = only.is_empty();
            let mut way = false;
            for (index, one) in only.iter().enumerate() {
                let one = Path::new(one);
                let inside = path.starts_with(one);
                seen[index] |= inside;
                wanted |= inside;
                way |= node.is_dir() && one.starts_with(&path);
            }
            if wanted || way {
                found.push(Picked { path, node, wanted });
            }
        }
        match seen.iter().position(|seen| !seen) {
            Some(index) => Err(BackupError::NoPath {
                id: self.snapshot.short().to_owned(),
                path: format!("{place}/{}", only[index]),
            }),
            None => Ok(found),
        }
    }

    /// Writes a folder of the snapshot below one of this machine, with the modes of its files.
    ///
    /// # Errors
    /// A folder that is not there, a path that would leave it, or a disk that takes no more.
    pub fn unpack(&self, place: &str, to: &Path) -> Result<(), BackupError> {
        for one in self.pick(place, &[])? {
            let path = to.join(&one.path);
            let local = |source| BackupError::Local { path: path.clone(), source };
            if one.node.is_dir() {
                std::fs::create_dir(&path).map_err(local)?;
            } else if one.node.is_symlink() {
                std::os::unix::fs::symlink(one.node.node_type.to_link(), &path).map_err(local)?;
            } else {
                let mut options = std::fs::File::options();
                let mut file = options.write(true).create_new(true).mode(0o600).open(&path).map_err(local)?;
                self.browser.dump(&one.node, &mut file)?;
            }
            // As it was: what is built from it is read by other users than root.
            if !one.node.is_symlink() {
                let mode =
                    one.node.meta.mode.unwrap_or(0) & 0o777 | if one.node.is_dir() { 0o700 } else { 0 };
                std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).map_err(local)?;
            }
        }
        Ok(())
    }

    /// A small file of the snapshot, such as the roles.
    ///
    /// # Errors
    /// One that is not there, damaged or too large.
    pub fn text(&self, path: &str) -> Result<String, BackupError> {
        let node = self.browser.node(&self.snapshot, path)?;
        let mut bytes = Vec::new();
        self.browser.dump(&node, &mut bytes)?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    fn dump(
        &self,
        path: &str,
        out: &mut Out<'_>,
        told: &mut dyn FnMut(u64, Option<u64>),
    ) -> Result<(), BackupError> {
        let part = self.manifest.part(path).ok_or_else(|| BackupError::NoPath {
            id: self.snapshot.short().to_owned(),
            path: path.to_owned(),
        })?;
        let node = self.browser.node(&self.snapshot, path)?;
        let packed = GzEncoder::new(out, Compression::fast());
        let mut sum =
            Sum { into: packed, hash: Sha256::new(), bytes: 0, of: Some(part.bytes), said: 0, told };
        self.browser.dump(&node, &mut sum)?;
        if sum.bytes != part.bytes || hex(&sum.hash.finalize()) != part.sha256 {
            return Err(BackupError::Corrupt {
                what: path.to_owned(),
                why: "it is not what was backed up".to_owned(),
            });
        }
        let out = sum.into.finish().map_err(broken)?;
        out.flush().map_err(broken)
    }

    fn files(
        &self,
        place: &str,
        only: &[String],
        out: &mut Out<'_>,
        told: &mut dyn FnMut(u64, Option<u64>),
    ) -> Result<(), BackupError> {
        let picked = self.pick(place, only)?;
        let total = picked.iter().filter(|one| one.node.is_file()).map(|one| one.node.meta.size).sum();
        let packed = GzEncoder::new(out, Compression::fast());
        let sum = Sum { into: packed, hash: Sha256::new(), bytes: 0, of: Some(total), said: 0, told };
        let mut tar = tar::Builder::new(sum);
        for one in &picked {
            self.append(&mut tar, &one.path, &one.node)?;
        }
        let sum = tar.into_inner().map_err(broken)?;
        let out = sum.into.finish().map_err(broken)?;
        out.flush().map_err(broken)
    }

    fn append<W: Write>(
        &self,
        tar: &mut tar::Builder<W>,
        path: &Path,
        node: &Node,
    ) -> Result<(), BackupError> {
        // The header of a tar knows whole seconds only.
        if let Some(at) = node.meta.mtime.filter(|at| at.subsec_nanosecond() > 0) {
            let time = format!("{}.{:09}", at.as_second(), at.subsec_nanosecond());
            tar.append_pax_extensions([("mtime", time.as_bytes())]).map_err(broken)?;
        }
        self.browser.append(tar, path, node).map_err(|error| match error {
            Appending::Backup(error) => error,
            Appending::Io(error) => broken(error),
        })
    }
}

fn broken(error: io::Error) -> BackupError {
    BackupError::Cut { what: "what is sent".to_owned(), why: error.to_string() }
}

/// Pieces for the connection.
struct Out<'a> {
    into: &'a Sender<Piece>,
    piece: Vec<u8>,
    gone: bool,
}

impl Write for Out<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.piece.extend_from_slice(bytes);
        if self.piece.len() >= PIECE {
            self.flush()?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.piece.is_empty() {
            return Ok(());
        }
        let piece = std::mem::replace(&mut self.piece, Vec::with_capacity(PIECE));
        self.into.blocking_send(Piece::Data(piece)).map_err(|_| {
            self.gone = true;
            io::Error::from(io::ErrorKind::BrokenPipe)
        })
    }
}

/// Counts, hashes and tells on the way.
struct Sum<'t, W> {
    into: W,
    hash: Sha256,
    bytes: u64,
    of: Option<u64>,
    said: u64,
    told: &'t mut dyn FnMut(u64, Option<u64>),
}

impl<W: Write> Write for Sum<'_, W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.into.write_all(bytes)?;
        self.hash.update(bytes);
        self.bytes += bytes.len() as u64;
        if self.bytes - self.said >= TOLD_EVERY {
            self.said = self.bytes;
            (self.told)(self.bytes, self.of.map(|of| of.max(self.bytes)));
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.into.flush()
    }
}
