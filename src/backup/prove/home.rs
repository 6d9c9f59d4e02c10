//! The folder of a throwaway server, and what a kill left of earlier ones.
//!
//! `.fleet/prove/ID.lock` is held while a proof lives. A lock that can be had belongs to one that died:
//! its folder and its container go.

use std::fs::{self, DirBuilder};
use std::os::unix::fs::{DirBuilderExt as _, chown};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use rand::RngExt as _;

use crate::fs_atomic::{FileLock, FsError, LockError};

use super::ProofError;

/// What folders and containers are called, before their id.
const NAME: &str = "fleet-prove-";
/// Where a folder is when `TMPDIR` says nothing: on a disk, and open to a user of no rights.
const USUAL: &str = "/var/tmp";

pub struct Home {
    pub path: PathBuf,
    /// Of the container, where there is one.
    pub name: String,
    lock: PathBuf,
    /// Held as long as this lives.
    _held: FileLock,
}

fn base() -> PathBuf {
    std::env::var_os("TMPDIR").filter(|dir| !dir.is_empty()).map_or_else(|| USUAL.into(), PathBuf::from)
}

impl Home {
    /// A new folder with `run` in it, which `owner` alone may enter.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn new(state: &Path, owner: Option<u32>) -> Result<Home, ProofError> {
        let folder = state.join("prove");
        loop {
            let id = format!("{:012x}", rand::rng().random::<u64>() >> 16);
            let lock = folder.join(format!("{id}.lock"));
            let held = FileLock::acquire(&lock, Duration::ZERO)?;
            // Another that sweeps may have taken the name away in between.
            if !lock.exists() {
                continue;
            }
            let name = format!("{NAME}{id}");
            let path = base().join(&name);
            let home = Home { path, name, lock, _held: held };
            make(&home.path, 0o711)?;
            make(&home.run(), 0o700)?;
            if let Some(owner) = owner {
                chown(home.run(), Some(owner), Some(owner)).map_err(FsError::at("give away", &home.run()))?;
            }
            return Ok(home);
        }
    }

    #[must_use]
    pub fn run(&self) -> PathBuf {
        self.path.join("run")
    }

    /// Bytes below it.
    #[must_use]
    pub fn used(path: &Path) -> u64 {
        use std::os::unix::fs::MetadataExt as _;
        let entries = walkdir::WalkDir::new(path).into_iter().flatten();
        entries.filter_map(|entry| entry.metadata().ok()).map(|found| found.blocks() * 512).sum()
    }
}

fn make(path: &Path, mode: u32) -> Result<(), FsError> {
    // The umask takes bits away, which are given back.
    DirBuilder::new().mode(mode).create(path).map_err(FsError::at("create", path))?;
    fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(mode))
        .map_err(FsError::at("set the mode of", path))
}

impl Drop for Home {
    fn drop(&mut self) {
        // A server that was killed may still be on its way out.
        for _ in 0..100 {
            match fs::remove_dir_all(&self.path) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                    std::thread::sleep(Duration::from_millis(20));
                }
                _ => break,
            }
        }
        let _ = fs::remove_file(&self.lock);
    }
}

/// Removes what proofs of this fleet directory left that were killed; says how many there were.
#[must_use]
pub fn sweep(state: &Path) -> usize {
    let mut count = 0;
    for entry in fs::read_dir(state.join("prove")).into_iter().flatten().flatten() {
        let lock = entry.path();
        let Some(id) = lock
            .file_name()
            .and_then(|name| name.to_str()?.strip_suffix(".lock"))
            .filter(|id| id.len() == 12 && id.bytes().all(|b| b.is_ascii_hexdigit()))
        else {
            continue;
        };
        let _held = match FileLock::acquire(&lock, Duration::ZERO) {
            Ok(held) => held,
            Err(LockError::Held { .. } | LockError::File(_)) => continue,
        };
        let name = format!("{NAME}{id}");
        for base in [base(), USUAL.into()] {
            let _ = fs::remove_dir_all(base.join(&name));
        }
        remove_container(&name);
        let _ = fs::remove_file(&lock);
        count += 1;
    }
    count
}

/// Without an engine there is no container either.
pub fn remove_container(name: &str) {
    let _ = Command::new("docker")
        .args(["rm", "--force", "--volumes", name])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
}
