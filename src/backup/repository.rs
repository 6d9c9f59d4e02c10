//! One client's repository: opened, listed, looked into. The only place that opens the library's.
//!
//! Everything here blocks: call it on a thread that may wait (`spawn_blocking`).

use std::io::Write;
use std::path::{Path, PathBuf};

use bytesize::ByteSize;
use jiff::Timestamp;
use rustic_core::repofile::{Chunker, Node, SnapshotFile};
use rustic_core::{
    ConfigOptions, Credentials, IndexedFullStatus, KeyOptions, LsOptions, OpenStatus, RepositoryOptions,
    RusticError,
};
use sha2::{Digest as _, Sha256};

use super::error::BackupError;
use super::folder::Folder;
use super::gate::Gate;
use super::manifest::{self, Manifest};
use super::place::{Place, Store};
use crate::fs_atomic::FileLock;
use crate::shell::hex;

/// Average piece that a stream is cut into: dumps change in many small places.
const PIECE: u64 = 128 << 10;
/// Largest manifest that is read.
const LARGEST_MANIFEST: u64 = 64 << 20;

/// An open repository.
pub struct Repository {
    inner: rustic_core::Repository<OpenStatus>,
    pub(super) gate: Gate,
    place: Place,
}

/// One snapshot as it is listed.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// 64 hexadecimal digits; the first 8 are shown.
    pub id: String,
    pub at: Timestamp,
    pub tags: Vec<String>,
    /// It was committed by fleet: only then it is a backup.
    pub complete: bool,
    /// What the repository grew by, packed.
    pub added: u64,
    pub(super) file: SnapshotFile,
}

impl Snapshot {
    #[must_use]
    pub fn short(&self) -> &str {
        self.id.get(..8).unwrap_or(&self.id)
    }

    /// The value of a tag such as `release`, `migration`, `bytes`, `dump`, `files` or `run`.
    #[must_use]
    pub fn tag(&self, name: &str) -> Option<&str> {
        manifest::tag(self.tags.iter().map(String::as_str), name)
    }

    #[must_use]
    pub fn number(&self, name: &str) -> Option<u64> {
        self.tag(name)?.parse().ok()
    }

    fn of(file: SnapshotFile) -> Snapshot {
        let tags: Vec<String> = file.tags.iter().map(String::clone).collect();
        Snapshot {
            id: file.id.to_hex().as_str().to_owned(),
            at: file.time.timestamp(),
            complete: tags.iter().any(|tag| tag == manifest::TAG_COMPLETE)
                && tags.iter().any(|tag| tag.starts_with("manifest=")),
            tags,
            added: file.summary.as_ref().map_or(0, |summary| summary.data_added_packed),
            file,
        }
    }
}

impl Repository {
    /// Opens a repository that is there.
    ///
    /// # Errors
    /// There is none, or the key is another's.
    pub fn open(place: &Place) -> Result<Repository, BackupError> {
        Repository::start(place, &Gate::default())?.ok_or_else(|| BackupError::NoRepository {
            client: place.client.clone(),
            place: place.store().name(),
        })
    }

    /// Opens it for writing, or makes it. `held` is the client's lock: what a cut left behind is swept
    /// away. Whoever has `gate` can still keep what is written from becoming a snapshot.
    ///
    /// # Errors
    /// As [`Repository::open`], and a place that cannot be written.
    pub fn open_or_create(place: &Place, _held: &FileLock, gate: &Gate) -> Result<Repository, BackupError> {
        if let Store::Folder(path) = place.store() {
            Folder::new(path).sweep();
        }
        if let Some(found) = Repository::start(place, gate)? {
            return Ok(found);
        }
        let raw = raw(place, gate)?;
        let config = ConfigOptions::default()
            .set_version(2_u32)
            .set_chunker(Chunker::Rabin)
            .set_chunk_size(ByteSize(PIECE))
            .set_chunk_min_size(ByteSize(PIECE / 4))
            .set_chunk_max_size(ByteSize(PIECE * 8));
        let password = Credentials::password(place.key().reveal());
        let inner =
            raw.init(&password, &KeyOptions::default(), &config).map_err(|error| place.error(&error))?;
        Ok(Repository::of(inner, gate, place))
    }

    fn start(place: &Place, gate: &Gate) -> Result<Option<Repository>, BackupError> {
        let raw = raw(place, gate)?;
        if raw.config_id().map_err(|error| place.error(&error))?.is_none() {
            return Ok(None);
        }
        let inner = raw.open(&place.credentials()).map_err(|error| place.error(&error))?;
        Ok(Some(Repository::of(inner, gate, place)))
    }

    fn of(inner: rustic_core::Repository<OpenStatus>, gate: &Gate, place: &Place) -> Self {
        place.remember_master(|| inner.key());
        Repository { inner, gate: gate.clone(), place: place.clone() }
    }

    #[must_use]
    pub fn place(&self) -> &Place {
        &self.place
    }

    /// All snapshots, the newest first, whole or not.
    ///
    /// # Errors
    /// A repository that cannot be read.
    pub fn snapshots(&self) -> Result<Vec<Snapshot>, BackupError> {
        let mut found: Vec<Snapshot> = self
            .inner
            .get_all_snapshots()
            .map_err(|error| self.place.error(&error))?
            .into_iter()
            .map(Snapshot::of)
            .collect();
        found.sort_by(|a, b| b.at.cmp(&a.at).then_with(|| b.id.cmp(&a.id)));
        Ok(found)
    }

    /// The one whole snapshot that `wanted` means: `latest`, the beginning of an id, or a time such as
    /// 2026-11-20 or 2026-11-20T02:00Z, which means the last one up to then.
    ///
    /// # Errors
    /// None or several.
    pub fn find(&self, wanted: &str) -> Result<Snapshot, BackupError> {
        let client = &self.place.client;
        let none = || BackupError::NoSnapshot {
            client: client.clone(),
            wanted: (wanted != "latest").then(|| wanted.to_owned()),
        };
        let mut whole = self.snapshots()?;
        whole.retain(|snapshot| snapshot.complete);
        if wanted == "latest" {
            return whole.into_iter().next().ok_or_else(none);
        }
        if let Some(until) = moment(wanted) {
            return whole.into_iter().find(|snapshot| snapshot.at <= until).ok_or_else(none);
        }
        let mut found: Vec<Snapshot> = whole;
        found.retain(|snapshot| wanted.len() >= 4 && snapshot.id.starts_with(wanted));
        match found.len() {
            0 => Err(none()),
            1 => found.pop().ok_or_else(none),
            count => Err(BackupError::Ambiguous { client: client.clone(), wanted: wanted.to_owned(), count }),
        }
    }

    /// Reads the index, to look into snapshots. What a pack that is gone held is looked for elsewhere.
    ///
    /// # Errors
    /// An index that cannot be read.
    pub fn browse(self) -> Result<Browser, BackupError> {
        let place = self.place;
        let inner = self.inner.to_indexed_checked().map_err(|error| place.error(&error))?;
        Ok(Browser { inner, place })
    }

    pub(super) fn inner(&self) -> &rustic_core::Repository<OpenStatus> {
        &self.inner
    }

    pub(super) fn into_inner(self) -> (rustic_core::Repository<OpenStatus>, Gate, Place) {
        (self.inner, self.gate, self.place)
    }

    pub(super) fn error(&self, error: &RusticError) -> BackupError {
        self.place.error(error)
    }
}

fn raw(place: &Place, gate: &Gate) -> Result<rustic_core::Repository<()>, BackupError> {
    let options = RepositoryOptions::default().no_cache(true);
    rustic_core::Repository::new(&options, &place.backends(gate)?).map_err(|error| place.error(&error))
}

/// A day means its end; both in UTC.
fn moment(text: &str) -> Option<Timestamp> {
    if let Ok(at) = text.parse::<Timestamp>() {
        return Some(at);
    }
    let day = text.parse::<jiff::civil::Date>().ok()?.tomorrow().ok()?;
    day.to_zoned(jiff::tz::TimeZone::UTC).ok().map(|zoned| zoned.timestamp())
}

/// A repository with its index, to look into snapshots.
pub struct Browser {
    pub(super) inner: rustic_core::Repository<IndexedFullStatus>,
    place: Place,
}

impl Browser {
    /// What a snapshot says of itself, checked against the hash in its tags.
    ///
    /// # Errors
    /// A snapshot without a manifest, with a cut one or with another's: it is no backup.
    pub fn manifest(&self, snapshot: &Snapshot) -> Result<Manifest, BackupError> {
        let incomplete = |why: String| BackupError::Incomplete { id: snapshot.short().to_owned(), why };
        let node = self
            .node(snapshot, manifest::PATH)
            .map_err(|_| incomplete("it has no manifest.json".to_owned()))?;
        let mut bytes = Vec::new();
        self.dump(&node, &mut Most { into: &mut bytes, left: LARGEST_MANIFEST })?;
        if snapshot.tag("manifest") != Some(hex(&Sha256::digest(&bytes)).as_str()) {
            return Err(incomplete("its manifest.json is another's".to_owned()));
        }
        Manifest::parse(&bytes).map_err(incomplete)
    }

    /// One file or folder of a snapshot; the path has no leading slash, and "" is the root.
    ///
    /// # Errors
    /// When it is not there.
    pub fn node(&self, snapshot: &Snapshot, path: &str) -> Result<Node, BackupError> {
        self.inner
            .node_from_snapshot_and_path(&snapshot.file, path)
            .map_err(|_| BackupError::NoPath { id: snapshot.short().to_owned(), path: path.to_owned() })
    }

    /// Everything below a folder, with paths relative to it; parents come before what they hold.
    ///
    /// # Errors
    /// A repository that cannot be read.
    pub fn list(&self, node: &Node) -> Result<Vec<(PathBuf, Node)>, BackupError> {
        let found = self.inner.ls(node, &LsOptions::default()).map_err(|error| self.place.error(&error))?;
        found.collect::<Result<_, _>>().map_err(|error| self.place.error(&error))
    }

    /// Writes the content of a file. Every piece is checked against its hash on the way.
    ///
    /// # Errors
    /// A damaged repository, or a writer that fails.
    pub fn dump(&self, node: &Node, into: &mut impl Write) -> Result<(), BackupError> {
        self.inner.dump(node, into).map_err(|error| self.place.error(&error))
    }

    #[must_use]
    pub fn place(&self) -> &Place {
        &self.place
    }
}

/// The path of a node as text, for people.
#[must_use]
pub fn shown(path: &Path) -> String {
    crate::secret::clean(&path.to_string_lossy()).into_owned()
}

/// Takes no more than so many bytes.
struct Most<'a> {
    into: &'a mut Vec<u8>,
    left: u64,
}

impl Write for Most<'_> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.left = self
            .left
            .checked_sub(bytes.len() as u64)
            .ok_or_else(|| std::io::Error::other("it is larger than any manifest"))?;
        self.into.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}
