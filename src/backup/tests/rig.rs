//! A source in memory that does exactly what a test wants, and a repository in a folder.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use jiff::Timestamp;

use super::super::archive::{Content, Fill, Piece, Source, Written, write};
use super::super::gate::Gate;
use super::super::manifest::{Manifest, SCHEMA};
use super::super::{BackupError, Place, Repository, Store};
use crate::ops::backup::{Found, Kind, Listing};

/// How a stream goes.
#[derive(Clone)]
pub enum Act {
    Whole(Vec<u8>),
    /// So many bytes come, then this is said.
    Breaks(Vec<u8>, fn() -> BackupError),
    /// The one who reads is told nothing for ever but these bytes.
    Endless,
}

#[derive(Clone, Default)]
pub struct Scripted {
    pub pieces: BTreeMap<String, Act>,
    pub files: BTreeMap<String, (Vec<u8>, i128)>,
    /// Files that are listed and then not there.
    pub vanished: Vec<String>,
    /// What is wrong with the stream of files.
    pub cut: Option<usize>,
    pub listing: Option<fn() -> BackupError>,
    /// How many files were fetched so far.
    pub fetched: Arc<AtomicUsize>,
}

struct Bytes {
    bytes: Vec<u8>,
    at: usize,
    end: Option<fn() -> BackupError>,
    endless: bool,
}

impl Fill for Bytes {
    fn fill(&mut self, into: &mut [u8]) -> Result<usize, BackupError> {
        if self.endless {
            into.fill(7);
            self.at += into.len();
            return match self.at > 64 << 20 {
                true => Err(BackupError::TooLarge { what: "the database".into(), limit: "64 MiB".into() }),
                false => Ok(into.len()),
            };
        }
        let count = into.len().min(self.bytes.len() - self.at);
        into[..count].copy_from_slice(&self.bytes[self.at..self.at + count]);
        self.at += count;
        match self.end {
            Some(fault) if count < into.len() => Err(fault()),
            _ => Ok(count),
        }
    }
}

impl Source for Scripted {
    fn pieces(&self) -> Vec<Piece> {
        let piece = |(path, act): (&String, &Act)| {
            let act = act.clone();
            let open = move || -> Result<Box<dyn Fill>, BackupError> {
                let (bytes, end, endless) = match act {
                    Act::Whole(bytes) => (bytes, None, false),
                    Act::Breaks(bytes, fault) => (bytes, Some(fault), false),
                    Act::Endless => (Vec::new(), None, true),
                };
                Ok(Box::new(Bytes { bytes, at: 0, end, endless }))
            };
            Piece { path: path.clone(), content: Content::Stream(Box::new(open)) }
        };
        self.pieces.iter().map(piece).collect()
    }

    fn list(&self) -> Result<Listing, BackupError> {
        if let Some(fault) = self.listing {
            return Err(fault());
        }
        let found = self.files.iter().map(|(path, (content, mtime))| Found {
            kind: Kind::File,
            mode: 0o640,
            uid: 33,
            gid: 33,
            size: content.len() as u64,
            mtime: *mtime,
            ctime: *mtime,
            inode: 1,
            path: format!("files/folders/{path}").into_bytes(),
            source: format!("/srv/{path}").into_bytes(),
        });
        Ok(Listing {
            roots: vec![("files/folders".into(), "/srv".into())],
            found: found.collect(),
            others: 0,
        })
    }

    fn fetch(&self, files: &[Found]) -> Result<Box<dyn Fill>, BackupError> {
        self.fetched.fetch_add(files.len(), Ordering::SeqCst);
        let mut builder = tar::Builder::new(Vec::new());
        for file in files {
            let path = String::from_utf8(file.source.clone()).unwrap();
            let name = path.trim_start_matches("/srv/").to_owned();
            if self.vanished.contains(&name) {
                continue;
            }
            let content = &self.files[&name].0;
            let mut header = tar::Header::new_gnu();
            header.set_size(content.len() as u64);
            // Absolute, as the host's tar sends it.
            let slot = &mut header.as_old_mut().name;
            slot[..path.len()].copy_from_slice(path.as_bytes());
            header.set_cksum();
            builder.append(&header, content.as_slice()).unwrap();
        }
        let mut bytes = builder.into_inner().unwrap();
        let mut end = None;
        if let Some(cut) = self.cut {
            bytes.truncate(cut);
            end = Some(
                (|| BackupError::Cut { what: "the files".into(), why: "link".into() }) as fn() -> BackupError,
            );
        }
        Ok(Box::new(Bytes { bytes, at: 0, end, endless: false }))
    }

    fn manifest(&self) -> Manifest {
        Manifest {
            schema: SCHEMA.into(),
            client: "ville-lyon".into(),
            run: "r".into(),
            ..Manifest::default()
        }
    }
}

/// Bytes that do not pack.
pub fn noise(length: usize, seed: u64) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    (0..length / 8 + 1).flat_map(|_| next().to_le_bytes()).take(length).collect()
}

pub struct Rig {
    pub dir: tempfile::TempDir,
    pub place: Place,
    clock: Mutex<Timestamp>,
}

impl Rig {
    pub fn new() -> Rig {
        let dir = tempfile::tempdir().unwrap();
        let place = Place::new(
            "ville-lyon",
            Store::Folder(dir.path().join("repository")),
            "correct horse battery".into(),
            dir.path().join("lock"),
        );
        Rig { dir, place, clock: Mutex::new("2026-11-20T02:00:00Z".parse().unwrap()) }
    }

    /// A good database and two files.
    pub fn good() -> Scripted {
        let mut source = Scripted::default();
        source.pieces.insert("client/clients.toml".into(), Act::Whole(b"[fleet]".to_vec()));
        source.pieces.insert("database/geoclic.dump".into(), Act::Whole(noise(600_000, 1)));
        source.files.insert("a.jpg".into(), (noise(300_000, 2), 1_700_000_000_123_456_789));
        source.files.insert("b/c.jpg".into(), (noise(10, 3), 1_600_000_000_000_000_000));
        source
    }

    /// A day later each time.
    pub fn backup(&self, source: &Scripted) -> Result<Written, BackupError> {
        let now = {
            let mut clock = self.clock.lock().unwrap();
            let now = *clock;
            *clock = Timestamp::from_second(now.as_second() + 86_400).unwrap();
            now
        };
        self.backup_at(source, now, &Gate::default())
    }

    pub fn backup_at(&self, source: &Scripted, now: Timestamp, gate: &Gate) -> Result<Written, BackupError> {
        let held = self.place.lock()?;
        let repository = Repository::open_or_create(&self.place, &held, gate)?;
        write(repository, Arc::new(source.clone()), now)
    }

    pub fn open(&self) -> Repository {
        Repository::open(&self.place).unwrap()
    }

    pub fn count(&self) -> usize {
        self.open().snapshots().unwrap().len()
    }

    pub fn file(&self, wanted: &str, path: &str) -> Vec<u8> {
        let repository = self.open();
        let snapshot = repository.find(wanted).unwrap();
        let browser = repository.browse().unwrap();
        let mut bytes = Vec::new();
        browser.dump(&browser.node(&snapshot, path).unwrap(), &mut bytes).unwrap();
        bytes
    }

    /// Files of one kind in the repository.
    pub fn stored(&self, kind: &str) -> Vec<std::path::PathBuf> {
        let below = self.dir.path().join("repository").join(kind);
        let files = walkdir::WalkDir::new(below).into_iter().flatten();
        files.filter(|entry| entry.file_type().is_file()).map(walkdir::DirEntry::into_path).collect()
    }
}
