//! Everything of a snapshot but its database, read to the end.

use std::io::{self, Write};

use rand::RngExt as _;
use sha2::{Digest as _, Sha256};

use super::reins::Reins;
use super::{All, Proved};
use crate::backup::manifest::Part;
use crate::backup::repository::shown;
use crate::shell::hex;

/// Faults of one kind that are told; the rest is counted.
const TOLD: usize = 20;
/// Largest file of the operator's own, or list of roles, that is looked into.
const LARGEST: usize = 64 << 20;

/// Where bytes go that are only counted, hashed and perhaps kept.
pub(super) struct Sink<'s> {
    reins: &'s Reins,
    hash: Option<Sha256>,
    pub bytes: u64,
    kept: Option<Vec<u8>>,
}

impl<'s> Sink<'s> {
    pub fn new(reins: &'s Reins) -> Self {
        Sink { reins, hash: None, bytes: 0, kept: None }
    }

    pub fn hashing(reins: &'s Reins) -> Self {
        Sink { hash: Some(Sha256::new()), ..Sink::new(reins) }
    }

    /// What is wrong with what came, by what the manifest says.
    pub fn fault(self, part: &Part) -> Option<String> {
        if self.bytes != part.bytes {
            return Some(format!(
                "{} has {} bytes, and its manifest says {}",
                part.path, self.bytes, part.bytes
            ));
        }
        let hash = hex(&self.hash.unwrap_or_default().finalize());
        (hash != part.sha256).then(|| format!("{} is not what its manifest says (sha256)", part.path))
    }
}

impl Write for Sink<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.reins.pulled() {
            return Err(io::Error::other("given up"));
        }
        self.bytes += bytes.len() as u64;
        if let Some(hash) = &mut self.hash {
            hash.update(bytes);
        }
        if let Some(kept) = self.kept.as_mut().filter(|kept| kept.len() + bytes.len() <= LARGEST) {
            kept.extend_from_slice(bytes);
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl All<'_> {
    /// Reads every single file but the dump; returns the roles, as SQL that nobody runs.
    pub(super) fn parts(&self, proved: &mut Proved) -> Vec<u8> {
        let database = self.manifest.database.as_ref();
        let mut roles = Vec::new();
        for part in &self.manifest.parts {
            if database.is_some_and(|database| database.path == part.path) {
                continue;
            }
            let mut sink = Sink { kept: Some(Vec::new()), ..Sink::hashing(self.reins) };
            let read = self
                .browser
                .node(self.snapshot, &part.path)
                .and_then(|node| self.browser.dump(&node, &mut sink));
            if let Err(error) = read {
                proved.faults.push(format!("{}: {error}", part.path));
                continue;
            }
            proved.bytes += sink.bytes;
            let kept = sink.kept.take().unwrap_or_default();
            if let Some(fault) = sink.fault(part) {
                proved.faults.push(fault);
            } else if part.path.starts_with("client/") {
                if let Err(why) = (self.wish.own)(&part.path, &kept) {
                    proved.faults.push(format!("{}: {why}", part.path));
                }
            } else if database.is_some_and(|database| database.roles.as_ref() == Some(&part.path)) {
                roles = kept;
            }
        }
        roles
    }

    /// Reads the files, or a share of them: every piece is compared with its hash on the way.
    pub(super) fn files(&self, proved: &mut Proved) {
        let mut faults = Vec::new();
        self.read_files(proved, &mut faults);
        let left = faults.len().saturating_sub(TOLD);
        faults.truncate(TOLD);
        proved.faults.append(&mut faults);
        if left > 0 {
            proved.faults.push(format!("and {left} more files cannot be read"));
        }
    }

    fn read_files(&self, proved: &mut Proved, faults: &mut Vec<String>) {
        let files = &self.manifest.files;
        let listed = self.browser.node(self.snapshot, "files").and_then(|node| self.browser.list(&node));
        let listed = match listed {
            Ok(listed) => listed,
            Err(error) => return faults.push(format!("files: {error}")),
        };
        let mut rng = rand::rng();
        for (path, node) in listed.iter().filter(|(_, node)| node.is_file()) {
            if self.reins.pulled() {
                return;
            }
            proved.files += 1;
            if self.wish.share < 100.0 && rng.random_range(0.0..100.0) >= self.wish.share {
                continue;
            }
            proved.files_read += 1;
            let mut sink = Sink::new(self.reins);
            let read = self.browser.dump(node, &mut sink);
            proved.bytes += sink.bytes;
            match read {
                Err(error) => faults.push(format!("files/{}: {error}", shown(path))),
                // One that was written to while it was read may be longer or shorter than it was listed.
                Ok(()) if sink.bytes != node.meta.size && files.changed == 0 => faults.push(format!(
                    "files/{} has {} bytes, and the snapshot says {}",
                    shown(path),
                    sink.bytes,
                    node.meta.size
                )),
                Ok(()) => {}
            }
        }
        if proved.files != files.files {
            faults.push(format!("there are {} files, and the manifest says {}", proved.files, files.files));
        }
    }
}
