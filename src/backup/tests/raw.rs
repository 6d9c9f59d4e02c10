//! The library alone, without our gate: why it is there. When one of these fails after an upgrade, the
//! precaution that it names may go.

use std::io::{self, Read};
use std::path::PathBuf;
use std::sync::Arc;

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
