//! Writing one snapshot: what goes into it, in which order, and when it counts.
//!
//! Order: single streams first (the database), then the list of files, then the files, then the
//! manifest, which says what all of it came to. The library saves the snapshot behind the gate; it is
//! judged, tagged and only then written.

use std::io::Read;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use jiff::Timestamp;
use rustic_core::repofile::{Metadata, Node, NodeType, SnapshotFile};
use rustic_core::{
    BackupOptions, IndexedIdsStatus, LsOptions, ReadSource, ReadSourceEntry, ReadSourceOpen,
    RepairIndexOptions, RusticResult, StringList,
};
use sha2::{Digest as _, Sha256};

use super::error::BackupError;
use super::files::{Feed, Seen};
use super::ledger::{Counted, Ledger};
use super::manifest::{self, Manifest};
use super::repository::Repository;
use crate::ops::backup::{Found, Kind, Listing};
use crate::shell::hex;

/// Where a backup comes from; the host behind it, or a test.
pub trait Source: Send + Sync + 'static {
    /// Single files, in the order of their paths, which sort before `files`.
    fn pieces(&self) -> Vec<Piece>;

    /// What files there are: asked when every piece was read to its end.
    ///
    /// # Errors
    /// Why they cannot be listed.
    fn list(&self) -> Result<Listing, BackupError>;

    /// The content of these files as one tar stream in this order, which reads to its end without an
    /// error only when it is whole.
    ///
    /// # Errors
    /// Why it cannot be begun.
    fn fetch(&self, files: &[Found]) -> Result<Box<dyn Fill>, BackupError>;

    /// What is known when everything was read; parts and counts of files are filled in.
    fn manifest(&self) -> Manifest;
}

/// A reader that fills the buffer as far as there is anything, with errors that say what to do.
pub trait Fill: Send {
    /// # Errors
    /// Everything but an honest end.
    fn fill(&mut self, into: &mut [u8]) -> Result<usize, BackupError>;
}

impl Fill for super::stream::Stream {
    fn fill(&mut self, into: &mut [u8]) -> Result<usize, BackupError> {
        super::stream::Stream::fill(self, into)
    }
}

/// A single file.
pub struct Piece {
    pub path: String,
    pub content: Content,
}

pub enum Content {
    Bytes(Vec<u8>),
    /// Begun when the library comes to it.
    Stream(Box<dyn FnOnce() -> Result<Box<dyn Fill>, BackupError> + Send>),
}

/// A snapshot that was committed.
#[derive(Clone, Debug)]
pub struct Written {
    pub id: String,
    pub at: Timestamp,
    pub manifest: Manifest,
    /// What the repository grew by.
    pub added: u64,
}

/// Writes one snapshot of a client.
///
/// # Errors
/// The first thing that went wrong anywhere; then there is no snapshot.
pub fn write(
    repository: Repository,
    source: Arc<dyn Source>,
    now: Timestamp,
) -> Result<Written, BackupError> {
    let (inner, gate, place) = repository.into_inner();
    let storage = |error: Box<rustic_core::RusticError>| BackupError::storage(&error);
    gate.shut();
    // A run that was cut left packs that no index names, and damage may have taken some that one names. The index is set
    // right first: what is stored counts as stored only when whoever reads the repository finds it, restic too.
    inner.repair_index(&RepairIndexOptions::default(), false).map_err(storage)?;
    let inner = inner.to_indexed_ids().map_err(storage)?;
    let (known, parent) = parent(&inner)?;
    let ledger = Ledger::new(gate.clone());
    let origin = Origin { source: Arc::clone(&source), ledger: ledger.clone(), known: Arc::new(known), now };
    let mut options = BackupOptions::default().no_scan(true);
    options.parent_opts.parents = parent.into_iter().collect();
    options.parent_opts.force = options.parent_opts.parents.is_empty();
    options.parent_opts.group_by = Some(rustic_core::SnapshotGroupCriterion::new());
    let mut snapshot = SnapshotFile::default();
    snapshot.hostname.clone_from(&place.client);
    snapshot.time = now.to_zoned(jiff::tz::TimeZone::UTC);
    snapshot.program_version = format!("fleet {}", env!("CARGO_PKG_VERSION"));
    let archived = inner.archive(&options, &origin, snapshot, &[PathBuf::from("/")]);
    // The first word is the true one: what the library says of it may be a consequence.
    if gate.failed() {
        gate.open()?;
    }
    let mut snapshot = archived.map_err(|error| {
        // Readers that still wait go home.
        gate.fail(BackupError::Stopped);
        storage(error)
    })?;
    let sum = ledger.sum();
    let written = snapshot.summary.as_ref().map_or(0, |summary| summary.total_files_processed);
    let wanted = sum.yielded - sum.vanished;
    if written != wanted {
        return Err(BackupError::Missing { written, wanted });
    }
    let (manifest, bytes) = sum.manifest.ok_or(BackupError::Stopped)?;
    let digest = hex(&Sha256::digest(&bytes));
    let tags = manifest.tags(&digest).join(",");
    let tags: StringList = tags.parse().map_err(|_| BackupError::Stopped)?;
    snapshot.add_tags(vec![tags]);
    let added = snapshot.summary.as_ref().map_or(0, |summary| summary.data_added_packed);
    gate.open()?;
    inner.save_snapshots(vec![snapshot]).map_err(storage)?;
    let id = gate.passed().ok_or(BackupError::Stopped)?;
    Ok(Written { id: id.to_hex().as_str().to_owned(), at: now, manifest, added })
}

type Indexed = rustic_core::Repository<IndexedIdsStatus>;

/// Files of the last whole snapshot, which need not be read again when they are the same, and its id.
fn parent(inner: &Indexed) -> Result<(Seen, Option<String>), BackupError> {
    let storage = |error: Box<rustic_core::RusticError>| BackupError::storage(&error);
    let mut seen = Seen::default();
    let mut all = inner.get_all_snapshots().map_err(storage)?;
    all.retain(|snapshot| snapshot.tags.contains(manifest::TAG_COMPLETE));
    all.sort_by(|a, b| a.time.cmp(&b.time));
    let Some(latest) = all.pop() else { return Ok((seen, None)) };
    // One that cannot be read is no parent: everything is read again.
    let Ok(files) = inner.node_from_snapshot_and_path(&latest, "files") else { return Ok((seen, None)) };
    for entry in inner.ls(&files, &LsOptions::default()).map_err(storage)? {
        let Ok((path, node)) = entry else { return Ok((Seen::default(), None)) };
        if node.is_file() {
            seen.insert(&Path::new("files").join(path), &node);
        }
    }
    Ok((seen, Some(latest.id.to_hex().as_str().to_owned())))
}

/// The source as the library sees it.
struct Origin {
    source: Arc<dyn Source>,
    ledger: Ledger,
    known: Arc<Seen>,
    now: Timestamp,
}

impl ReadSource for Origin {
    type Open = Entry;
    type Iter = Entries;

    fn size(&self) -> RusticResult<Option<u64>> {
        Ok(None)
    }

    fn entries(&self) -> Entries {
        Entries {
            source: Arc::clone(&self.source),
            ledger: self.ledger.clone(),
            known: Arc::clone(&self.known),
            now: self.now,
            stage: Stage::Pieces(self.source.pieces().into_iter()),
        }
    }
}

enum Stage {
    Pieces(std::vec::IntoIter<Piece>),
    /// The folder that all files are below is handed out: the library looks one entry ahead, so the
    /// entry before a wait must not be one that is waited for.
    Folder,
    Files(std::iter::Enumerate<std::vec::IntoIter<Found>>, Arc<Feed>),
    Manifest,
    Over,
}

/// What the library walks over.
pub struct Entries {
    source: Arc<dyn Source>,
    ledger: Ledger,
    known: Arc<Seen>,
    now: Timestamp,
    stage: Stage,
}

impl Iterator for Entries {
    type Item = RusticResult<ReadSourceEntry<Entry>>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if self.ledger.gate.failed() {
                return None;
            }
            match &mut self.stage {
                Stage::Pieces(rest) => match rest.next() {
                    Some(piece) => return Some(Ok(self.piece(piece))),
                    None => {
                        self.stage = Stage::Folder;
                        return Some(Ok(folder("files", self.now)));
                    }
                },
                Stage::Folder => {
                    self.ledger.wait();
                    if self.ledger.gate.failed() {
                        return None;
                    }
                    match self.source.list() {
                        Ok(listing) => self.stage = self.files(listing),
                        Err(fault) => self.ledger.gate.fail(fault),
                    }
                }
                Stage::Files(rest, feed) => match rest.next() {
                    Some((index, found)) => {
                        let feed = Arc::clone(feed);
                        return Some(Ok(self.file(index, found, feed)));
                    }
                    None => {
                        feed.no_more();
                        self.stage = Stage::Manifest;
                    }
                },
                Stage::Manifest => {
                    self.stage = Stage::Over;
                    let open = Entry {
                        content: Inside::Manifest(Arc::clone(&self.source)),
                        counted: self.ledger.count(manifest::PATH, false),
                    };
                    return Some(Ok(entry(
                        manifest::PATH.as_ref(),
                        stream_node(manifest::PATH, self.now),
                        Some(open),
                    )));
                }
                Stage::Over => return None,
            }
        }
    }
}

impl Entries {
    fn piece(&self, piece: Piece) -> ReadSourceEntry<Entry> {
        let counted = self.ledger.count(&piece.path, true);
        let node = stream_node(&piece.path, self.now);
        let content = match piece.content {
            Content::Bytes(bytes) => Inside::Bytes(bytes),
            Content::Stream(open) => Inside::Stream(open),
        };
        entry(piece.path.as_ref(), node, Some(Entry { content, counted }))
    }

    fn files(&self, listing: Listing) -> Stage {
        self.ledger.listed(&listing);
        let wanted: Vec<(usize, Found)> = listing
            .found
            .iter()
            .enumerate()
            .filter(|(_, found)| found.kind == Kind::File && !self.known.same(found))
            .map(|(index, found)| (index, found.clone()))
            .collect();
        let feed = Feed::start(Arc::clone(&self.source), wanted, &self.ledger.gate);
        Stage::Files(listing.found.into_iter().enumerate(), feed)
    }

    fn file(&self, index: usize, found: Found, feed: Arc<Feed>) -> ReadSourceEntry<Entry> {
        let path = PathBuf::from(std::ffi::OsStr::from_bytes(&found.path));
        let node = node(&path, &found);
        if found.kind != Kind::File {
            if !node.is_dir() {
                self.ledger.other();
            }
            return entry(&path, node, None);
        }
        let counted = self.ledger.count(&path.to_string_lossy(), false);
        feed.register(index);
        let content = Inside::File(Box::new(found), index, feed);
        entry(&path, node, Some(Entry { content, counted }))
    }
}

fn entry(path: &Path, node: Node, open: Option<Entry>) -> ReadSourceEntry<Entry> {
    ReadSourceEntry { path: Path::new("/").join(path), node, open }
}

fn name(path: &Path) -> &std::ffi::OsStr {
    path.file_name().unwrap_or(path.as_os_str())
}

/// Streams have no size yet, and a time of their own: one that looked as before would not be read.
fn stream_node(path: &str, now: Timestamp) -> Node {
    let meta = Metadata { mode: Some(0o600), mtime: Some(now), ctime: Some(now), ..Metadata::default() };
    Node::new_node(name(Path::new(path)), NodeType::File, meta)
}

fn folder(path: &str, now: Timestamp) -> ReadSourceEntry<Entry> {
    let meta = Metadata { mode: Some(0o700), mtime: Some(now), ..Metadata::default() };
    entry(path.as_ref(), Node::new_node(name(Path::new(path)), NodeType::Dir, meta), None)
}

fn node(path: &Path, found: &Found) -> Node {
    let kind = match &found.kind {
        Kind::Folder => NodeType::Dir,
        Kind::Link(target) => NodeType::from_link(Path::new(std::ffi::OsStr::from_bytes(target))),
        Kind::File | Kind::Other => NodeType::File,
    };
    let time = |nanos: i128| Timestamp::from_nanosecond(nanos).ok();
    let meta = Metadata {
        mode: Some(found.mode),
        mtime: time(found.mtime),
        ctime: time(found.ctime),
        uid: Some(found.uid),
        gid: Some(found.gid),
        inode: found.inode,
        size: if kind == NodeType::File { found.size } else { 0 },
        ..Metadata::default()
    };
    Node::new_node(name(path), kind, meta)
}

/// How one file is opened. Dropped without being opened, it was as in the snapshot before.
pub struct Entry {
    content: Inside,
    counted: Counted,
}

enum Inside {
    Bytes(Vec<u8>),
    Stream(Box<dyn FnOnce() -> Result<Box<dyn Fill>, BackupError> + Send>),
    File(Box<Found>, usize, Arc<Feed>),
    Manifest(Arc<dyn Source>),
}

impl ReadSourceOpen for Entry {
    type Reader = Box<dyn Read + Send>;

    fn open(self) -> RusticResult<Self::Reader> {
        let mut counted = self.counted;
        counted.opened();
        let opened: Result<Box<dyn Fill>, BackupError> = match self.content {
            Inside::Bytes(bytes) => Ok(Box::new(Memory { bytes, at: 0 })),
            Inside::Stream(open) => open(),
            Inside::File(found, index, feed) => Ok(feed.reader(&found, index)),
            Inside::Manifest(source) => {
                counted.wait_for_others();
                counted
                    .manifest(source.manifest())
                    .map(|bytes| -> Box<dyn Fill> { Box::new(Memory { bytes, at: 0 }) })
            }
        };
        match opened {
            Ok(fill) => Ok(Box::new(counted.reader(fill))),
            Err(fault) => Ok(Box::new(counted.broken(fault))),
        }
    }
}

struct Memory {
    bytes: Vec<u8>,
    at: usize,
}

impl Fill for Memory {
    fn fill(&mut self, into: &mut [u8]) -> Result<usize, BackupError> {
        let count = into.len().min(self.bytes.len() - self.at);
        into[..count].copy_from_slice(&self.bytes[self.at..self.at + count]);
        self.at += count;
        Ok(count)
    }
}
