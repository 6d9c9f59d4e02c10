//! The library alone, without our gate: why it is there. When one of these fails after an upgrade, the
//! precaution that it names may go.

use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use rustic_core::repofile::{Metadata, Node, NodeType, SnapshotFile};
use rustic_core::{
    BackupOptions, ConfigOptions, Credentials, KeyOptions, ReadSource, ReadSourceEntry, Repository,
    RepositoryBackends, RepositoryOptions, RusticResult,
};

use super::super::folder::Folder;

/// One file whose content ends with an error.
struct Broken;

struct Half(usize);

impl Read for Half {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        if self.0 == 0 {
            return Err(io::Error::other("cut"));
        }
        let count = into.len().min(self.0);
        self.0 -= count;
        Ok(count)
    }
}

impl ReadSource for Broken {
    type Open = Half;
    type Iter = std::iter::Once<RusticResult<ReadSourceEntry<Half>>>;

    fn size(&self) -> RusticResult<Option<u64>> {
        Ok(None)
    }

    fn entries(&self) -> Self::Iter {
        let node = Node::new_node("dump".as_ref(), NodeType::File, Metadata::default());
        std::iter::once(Ok(ReadSourceEntry {
            path: PathBuf::from("/dump"),
            node,
            open: Some(Half(3_000_000)),
        }))
    }
}

#[test]
fn a_source_that_breaks_is_saved_as_a_good_snapshot_without_the_file() {
    let dir = tempfile::tempdir().unwrap();
    let backends = RepositoryBackends::new(Arc::new(Folder::new(dir.path())), None);
    let repository = Repository::new(&RepositoryOptions::default().no_cache(true), &backends)
        .unwrap()
        .init(&Credentials::password("x"), &KeyOptions::default(), &ConfigOptions::default())
        .unwrap()
        .to_indexed_ids_checked()
        .unwrap();
    let saved = repository.archive(
        &BackupOptions::default().no_scan(true),
        &Broken,
        SnapshotFile::default(),
        &[PathBuf::from("/")],
    );
    assert!(saved.is_ok(), "the library tells of a source that breaks: the gate may be simpler");
    let found = repository.get_all_snapshots().unwrap();
    assert_eq!(found.len(), 1, "the library saves no snapshot of a source that broke");
    assert!(repository.node_from_snapshot_and_path(&found[0], "dump").is_err());
}

/// One stream with these bytes and no size, as a dump is; counts how often it is opened.
#[derive(Clone)]
struct One {
    bytes: Vec<u8>,
    opened: Arc<AtomicUsize>,
}

struct Bytes(io::Cursor<Vec<u8>>, Arc<AtomicUsize>);

impl Read for Bytes {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        if self.0.position() == 0 {
            self.1.fetch_add(1, Ordering::SeqCst);
        }
        self.0.read(into)
    }
}

impl ReadSource for One {
    type Open = Bytes;
    type Iter = std::iter::Once<RusticResult<ReadSourceEntry<Bytes>>>;

    fn size(&self) -> RusticResult<Option<u64>> {
        Ok(None)
    }

    fn entries(&self) -> Self::Iter {
        let node = Node::new_node("dump".as_ref(), NodeType::File, Metadata::default());
        let open = Bytes(io::Cursor::new(self.bytes.clone()), Arc::clone(&self.opened));
        std::iter::once(Ok(ReadSourceEntry { path: PathBuf::from("/dump"), node, open: Some(open) }))
    }
}

fn opened(dir: &Path) -> Repository<rustic_core::OpenStatus> {
    let backends = RepositoryBackends::new(Arc::new(Folder::new(dir)), None);
    let raw = Repository::new(&RepositoryOptions::default().no_cache(true), &backends).unwrap();
    match raw.config_id().unwrap() {
        Some(_) => raw.open(&Credentials::password("x")).unwrap(),
        None => {
            raw.init(&Credentials::password("x"), &KeyOptions::default(), &ConfigOptions::default()).unwrap()
        }
    }
}

fn saved(repository: Repository<rustic_core::OpenStatus>, source: &One, checked: bool) -> SnapshotFile {
    let (options, root) = (BackupOptions::default().no_scan(true), [PathBuf::from("/")]);
    match checked {
        true => repository.to_indexed_ids_checked().unwrap().archive(
            &options,
            source,
            SnapshotFile::default(),
            &root,
        ),
        false => {
            repository.to_indexed_ids().unwrap().archive(&options, source, SnapshotFile::default(), &root)
        }
    }
    .unwrap()
}

#[test]
fn a_stream_without_a_time_is_taken_for_unchanged_and_its_size_is_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let first = One { bytes: super::rig::noise(600_000, 1), opened: Arc::default() };
    saved(opened(dir.path()), &first, true);
    let second = One { bytes: super::rig::noise(600_000, 2), opened: Arc::default() };
    let snapshot = saved(opened(dir.path()), &second, true);
    assert_eq!(second.opened.load(Ordering::SeqCst), 0, "it is read: the streams need no time of their own");
    let repository = opened(dir.path()).to_indexed().unwrap();
    let node = repository.node_from_snapshot_and_path(&snapshot, "dump").unwrap();
    let mut bytes = Vec::new();
    repository.dump(&node, &mut bytes).unwrap();
    assert_eq!(bytes, first.bytes, "the old dump under the name of the new one");
    assert_eq!(node.meta.size, 0, "it knows the true size: the manifest need not");
}

#[test]
fn what_is_missing_is_deduplicated_against() {
    let dir = tempfile::tempdir().unwrap();
    let source = One { bytes: super::rig::noise(600_000, 1), opened: Arc::default() };
    saved(opened(dir.path()), &source, true);
    let packs = walkdir::WalkDir::new(dir.path().join("data")).into_iter().flatten();
    for pack in packs.filter(|entry| entry.file_type().is_file()) {
        std::fs::remove_file(pack.path()).unwrap();
    }
    let force =
        BackupOptions::default().no_scan(true).parent_opts(rustic_core::ParentOptions::default().force(true));
    let repository = opened(dir.path()).to_indexed_ids().unwrap();
    let snapshot =
        repository.archive(&force, &source, SnapshotFile::default(), &[PathBuf::from("/")]).unwrap();
    let read = opened(dir.path()).to_indexed().unwrap();
    let node = read.node_from_snapshot_and_path(&snapshot, "dump");
    let whole = node.and_then(|node| read.dump(&node, &mut Vec::new()));
    assert!(whole.is_err(), "it stores again what is missing: the index need not be checked");
}
