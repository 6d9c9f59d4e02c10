//! Images built once on this machine for all hosts: kept in pieces, so that each host is sent only
//! what it lacks.
//!
//! Rule of this room: a piece is named by what is in it and appears whole or not at all; a record
//! names the pieces of an image and is written last. What is here is a cache: it may be deleted at
//! any time, and the next run builds again.

mod build;
mod pack;

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};
use serde_json::json;

pub use build::{BuildError, Docker, Order};

use crate::fs_atomic::{self, FileLock, FsError, LockError};
use crate::ops::ship::{Shelf, Ship};

/// Whoever builds at the same time is waited for so long.
const PATIENCE: Duration = Duration::from_secs(1800);
/// A folder that a killed run left behind is removed once it is as old as this.
const STALE: Duration = Duration::from_secs(24 * 3600);

/// One layer, compressed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Layer {
    /// Digest of its content before compression, as Docker names layers.
    pub digest: String,
    /// Bytes on disk and on the wire.
    pub size: u64,
}

/// What an image consists of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    pub tag: String,
    /// SHA-256 of its configuration, which is also its file's name.
    pub config: String,
    /// From the lowest up.
    pub layers: Vec<Layer>,
}

impl Record {
    #[must_use]
    pub fn size(&self) -> u64 {
        self.layers.iter().map(|layer| layer.size).sum()
    }
}

#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    #[error(transparent)]
    File(#[from] FsError),
    #[error(transparent)]
    Lock(#[from] LockError),
    #[error("{0}")]
    Broken(String),
    #[error("image {tag} for {platform} is not on this machine any more")]
    Missing { tag: String, platform: String },
}

/// The folder of built images: `blobs/` and `PLATFORM/IMAGE.json`.
#[derive(Clone, Debug)]
pub struct Store {
    dir: PathBuf,
}

/// One record on disk, and when it was written.
type Build = (SystemTime, PathBuf, Record);

/// A folder made equal to what one host is to be sent.
pub struct View {
    pub dir: tempfile::TempDir,
    /// Layers that are in it, and their bytes.
    pub layers: usize,
    pub bytes: u64,
    /// Layers of all its images.
    pub of: usize,
}

impl Store {
    #[must_use]
    pub fn new(dir: impl Into<PathBuf>) -> Store {
        Store { dir: dir.into() }
    }

    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    fn blobs(&self) -> PathBuf {
        self.dir.join("blobs")
    }

    fn layer(&self, digest: &str) -> PathBuf {
        self.blobs().join(layer_name(digest))
    }

    fn platforms(&self) -> Vec<String> {
        let Ok(entries) = fs::read_dir(&self.dir) else { return Vec::new() };
        let names = entries.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned());
        names.filter(|name| name.starts_with("linux-")).collect()
    }

    fn record_path(&self, platform: &str, tag: &str) -> PathBuf {
        self.dir.join(flat(platform)).join(format!("{}.json", flat(tag)))
    }

    fn lock(&self) -> Result<FileLock, LockError> {
        FileLock::acquire(&self.dir.join("lock"), PATIENCE)
    }

    /// An image of which every piece is here.
    #[must_use]
    pub fn record(&self, platform: &str, tag: &str) -> Option<Record> {
        let record = read_record(&self.record_path(platform, tag)).filter(|record| record.tag == tag)?;
        let whole = record.layers.iter().all(|layer| {
            fs::metadata(self.layer(&layer.digest)).is_ok_and(|found| found.len() == layer.size)
        });
        (whole && self.blobs().join(config_name(&record.config)).is_file()).then_some(record)
    }

    /// The same for every platform that it was built for: layers and bytes.
    #[must_use]
    pub fn known(&self, tag: &str) -> BTreeMap<String, (usize, u64)> {
        let of = |name: String| {
            let record = self.record(&name, tag)?;
            Some((name.replacen('-', "/", 2), (record.layers.len(), record.size())))
        };
        self.platforms().into_iter().filter_map(of).collect()
    }

    /// Puts together what a host is sent: of each image its description, and the layers that the host's
    /// engine does not have. The files are links to the pieces, so this costs no space.
    ///
    /// # Errors
    /// An image that is not here, or a folder that cannot be written.
    pub fn view(&self, ship: &Ship, shelf: &Shelf) -> Result<View, StoreError> {
        let dir = tempfile::Builder::new()
            .prefix("view-")
            .tempdir_in(&self.dir)
            .map_err(FsError::at("create a folder in", &self.dir))?;
        let mut view = View { dir, layers: 0, bytes: 0, of: 0 };
        let (mut manifest, mut taken) = (Vec::new(), BTreeSet::new());
        // A host that keeps the pieces keeps those of every image of its release.
        let wanted = if shelf.whole { &ship.all } else { &ship.lacking };
        for tag in wanted {
            let Some(record) = self.record(&ship.platform, tag) else {
                if ship.lacking.contains(tag) {
                    return Err(StoreError::Missing { tag: tag.clone(), platform: ship.platform.clone() });
                }
                continue;
            };
            let config = config_name(&record.config);
            link(&self.blobs().join(&config), &view.dir.path().join(&config))?;
            let digests: Vec<String> = record.layers.iter().map(|layer| layer.digest.clone()).collect();
            let held = shelf.held(&digests);
            view.of += digests.len();
            for layer in record.layers.iter().skip(held).filter(|layer| taken.insert(layer.digest.clone())) {
                let name = layer_name(&layer.digest);
                link(&self.blobs().join(&name), &view.dir.path().join(&name))?;
                view.layers += 1;
                view.bytes += layer.size;
            }
            let layers: Vec<String> = digests.iter().map(|digest| layer_name(digest)).collect();
            manifest.push(json!({ "Config": config, "RepoTags": [tag], "Layers": layers }));
        }
        let path = view.dir.path().join("manifest.json");
        let text = serde_json::Value::Array(manifest).to_string();
        fs::write(&path, text).map_err(FsError::at("write", &path))?;
        Ok(view)
    }

    /// Keeps the `keep` newest builds of each image and platform, and the pieces that they consist of.
    /// Gives back the images that went.
    ///
    /// # Errors
    /// When the folder cannot be read or changed.
    pub fn prune(&self, keep: usize) -> Result<Vec<String>, StoreError> {
        if !self.dir.is_dir() {
            return Ok(Vec::new());
        }
        let _lock = self.lock()?;
        let mut builds: BTreeMap<(String, String), Vec<Build>> = BTreeMap::new();
        for platform in self.platforms() {
            for path in files(&self.dir.join(&platform))? {
                let Some(record) = read_record(&path) else { continue };
                let image = record.tag.rsplit_once(':').map_or("", |(image, _)| image).to_owned();
                builds.entry((platform.clone(), image)).or_default().push((modified(&path), path, record));
            }
        }
        let (mut gone, mut kept) = (Vec::new(), BTreeSet::new());
        for list in builds.values_mut() {
            list.sort_by_key(|(time, ..)| std::cmp::Reverse(*time));
            for (index, (_, path, record)) in list.iter().enumerate() {
                if index < keep {
                    kept.insert(config_name(&record.config));
                    kept.extend(record.layers.iter().map(|layer| layer_name(&layer.digest)));
                } else {
                    fs_atomic::remove(path)?;
                    gone.push(record.tag.clone());
                }
            }
        }
        for path in files(&self.blobs())? {
            if !path.file_name().and_then(OsStr::to_str).is_some_and(|name| kept.contains(name)) {
                fs_atomic::remove(&path)?;
            }
        }
        for entry in fs::read_dir(&self.dir).map_err(FsError::at("read", &self.dir))?.flatten() {
            let name = entry.file_name();
            let ours = ["view-", "build-"].iter().any(|start| name.to_string_lossy().starts_with(start));
            if ours && modified(&entry.path()).elapsed().is_ok_and(|age| age > STALE) {
                let _ = fs::remove_dir_all(entry.path());
            }
        }
        Ok(gone)
    }
}

fn layer_name(digest: &str) -> String {
    format!("{}.tar.gz", digest.trim_start_matches("sha256:"))
}

fn config_name(digest: &str) -> String {
    format!("{digest}.json")
}

/// A tag or platform as a file's name.
fn flat(text: &str) -> String {
    text.replace(['/', ':'], "-")
}

fn read_record(path: &Path) -> Option<Record> {
    fs::read(path).ok().and_then(|bytes| serde_json::from_slice(&bytes).ok())
}

fn modified(path: &Path) -> SystemTime {
    fs::metadata(path).and_then(|found| found.modified()).unwrap_or(SystemTime::UNIX_EPOCH)
}

fn files(dir: &Path) -> Result<Vec<PathBuf>, StoreError> {
    if !dir.is_dir() {
        return Ok(Vec::new());
    }
    let entries = fs::read_dir(dir).map_err(FsError::at("read", dir))?;
    Ok(entries.flatten().map(|entry| entry.path()).filter(|path| path.is_file()).collect())
}

fn link(from: &Path, to: &Path) -> Result<(), StoreError> {
    match fs::hard_link(from, to) {
        Ok(()) => Ok(()),
        // Two images with one description.
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => Ok(()),
        // Not every file system has links.
        Err(_) => Ok(fs::copy(from, to).map(drop).map_err(FsError::at("copy", from))?),
    }
}

#[cfg(test)]
mod tests;
