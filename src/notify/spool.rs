//! Messages that are not out yet: `.fleet/spool/CHANNEL/`, one file each (0600), the oldest dropped when
//! there are too many.
//!
//! A message is written before it is sent and removed after, so a cut in between tells it twice rather
//! than never.

use std::path::{Path, PathBuf};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use super::Message;
use crate::fs_atomic::{self, FileLock, FsError};

/// Messages kept for a channel.
pub const MOST: usize = 50;
/// What is older says nothing about now.
pub const OLDEST: SignedDuration = SignedDuration::from_hours(7 * 24);
/// A bigger file is none of ours.
const LARGEST: usize = 1024 * 1024;

pub struct Spool {
    folder: PathBuf,
    locks: PathBuf,
}

/// What waits for one channel, the new message last. While it lives, no other run sends it.
#[derive(Debug, Default)]
pub struct Kept {
    messages: Vec<Message>,
    files: Vec<PathBuf>,
    /// Why the new message could not be kept.
    pub fault: Option<FsError>,
    _lock: Option<FileLock>,
}

impl Spool {
    pub fn new(state: &Path) -> Spool {
        Spool { folder: state.join("spool"), locks: state.join("locks") }
    }

    /// Keeps the new message and gives it with all that waits. When another run is at it, only the new
    /// one is given, and kept all the same.
    pub fn take(&self, channel: &str, new: Option<Message>, now: Timestamp) -> Kept {
        let lock =
            FileLock::acquire(&self.locks.join(format!("notify-{channel}.lock")), Duration::from_millis(200))
                .ok();
        let mut kept = Kept { _lock: lock, ..Kept::default() };
        let folder = self.folder.join(channel);
        if kept._lock.is_some() {
            for path in files(&folder) {
                match read(&path).filter(|message| now.duration_since(message.at) <= OLDEST) {
                    Some(message) => {
                        kept.messages.push(message);
                        kept.files.push(path);
                    }
                    None => drop(fs_atomic::remove(&path)),
                }
            }
        }
        if let Some(message) = new {
            match keep(&folder, &message) {
                Ok(path) => kept.files.push(path),
                Err(error) => kept.fault = Some(error),
            }
            kept.messages.push(message);
        }
        let over = kept.messages.len().saturating_sub(MOST);
        for path in kept.files.drain(..over.min(kept.files.len())) {
            let _ = fs_atomic::remove(&path);
        }
        kept.messages.drain(..over);
        kept
    }
}

impl Kept {
    pub fn messages(&self) -> &[Message] {
        &self.messages
    }

    /// They are out.
    pub fn sent(self) -> Result<(), FsError> {
        self.files.iter().try_for_each(|path| fs_atomic::remove(path))
    }
}

/// In the order they were kept: a name begins with its time.
fn files(folder: &Path) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(folder) else { return Vec::new() };
    let ours = |path: &PathBuf| {
        path.extension().is_some_and(|extension| extension == "json")
            && path.file_name().is_some_and(|name| !name.as_encoded_bytes().starts_with(b"."))
    };
    let mut files: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).filter(ours).collect();
    files.sort();
    files
}

fn read(path: &Path) -> Option<Message> {
    let bytes = fs_atomic::read_optional(path).ok()??;
    (bytes.len() <= LARGEST).then(|| serde_json::from_slice(&bytes).ok())?
}

fn keep(folder: &Path, message: &Message) -> Result<PathBuf, FsError> {
    fs_atomic::create_folder(folder, 0o700)?;
    let name = format!("{}-{:08x}.json", message.at.strftime("%Y%m%d-%H%M%S"), rand::random::<u32>());
    let path = folder.join(name);
    let bytes = serde_json::to_vec(message).unwrap_or_default();
    fs_atomic::create_new(&path, &bytes, 0o600)?;
    Ok(path)
}
