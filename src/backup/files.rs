//! The content of files: those that changed come in one tar stream, in the order in which the library
//! asks for them.

use std::collections::HashMap;
use std::io::{self, Read};
use std::path::Path;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rustic_core::repofile::Node;

use super::archive::{Fill, Source};
use super::error::BackupError;
use super::gate::Gate;
use crate::ops::backup::Found;

/// Handed over at once.
const PIECE: usize = 256 << 10;
/// Pieces of one file that wait for their reader.
const WAITING: usize = 4;

/// Files of the snapshot before, by path.
#[derive(Default)]
pub struct Seen(HashMap<Vec<u8>, (u64, Option<i128>, Option<i128>)>);

impl Seen {
    pub fn insert(&mut self, path: &Path, node: &Node) {
        use std::os::unix::ffi::OsStrExt as _;
        let time = |at: Option<jiff::Timestamp>| at.map(jiff::Timestamp::as_nanosecond);
        let meta = &node.meta;
        self.0.insert(path.as_os_str().as_bytes().to_vec(), (meta.size, time(meta.mtime), time(meta.ctime)));
    }

    /// Whether a file is as it was, by the library's own rule: size, mtime and ctime.
    #[must_use]
    pub fn same(&self, found: &Found) -> bool {
        self.0.get(&found.path) == Some(&(found.size, Some(found.mtime), Some(found.ctime)))
    }
}

enum Said {
    Data(Vec<u8>),
    End,
    /// Deleted on the host before it was read.
    Vanished,
}

/// The tar stream, and who waits for which file of it.
pub struct Feed {
    source: Arc<dyn Source>,
    gate: Gate,
    state: Mutex<Slots>,
    turn: Condvar,
}

#[derive(Default)]
struct Slots {
    /// Files that come in the stream and were not handed over yet.
    wanted: HashMap<usize, ()>,
    senders: HashMap<usize, SyncSender<Said>>,
    receivers: HashMap<usize, Receiver<Said>>,
    /// No further file is registered.
    over: bool,
}

impl Feed {
    /// `wanted`: which files of the listing are to be read.
    pub fn start(source: Arc<dyn Source>, wanted: Vec<(usize, Found)>, gate: &Gate) -> Arc<Feed> {
        let slots =
            Slots { wanted: wanted.iter().map(|(index, _)| (*index, ())).collect(), ..Slots::default() };
        let feed =
            Arc::new(Feed { source, gate: gate.clone(), state: Mutex::new(slots), turn: Condvar::new() });
        if !wanted.is_empty() {
            let feed = Arc::clone(&feed);
            // It ends with the stream, which ends when nobody takes it.
            std::thread::spawn(move || {
                if let Err(fault) = feed.distribute(&wanted) {
                    feed.gate.fail(fault);
                }
                // Readers that still wait hear that nothing comes.
                let mut slots = feed.lock();
                slots.senders.clear();
                slots.wanted.clear();
            });
        }
        feed
    }

    fn lock(&self) -> MutexGuard<'_, Slots> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The walk came to this file: from now on its content may come.
    pub fn register(&self, index: usize) {
        let mut slots = self.lock();
        if slots.wanted.contains_key(&index) {
            let (sender, receiver) = sync_channel(WAITING);
            slots.senders.insert(index, sender);
            slots.receivers.insert(index, receiver);
            self.turn.notify_all();
        }
    }

    /// The walk is over.
    pub fn no_more(&self) {
        self.lock().over = true;
        self.turn.notify_all();
    }

    /// The content of one file; one that was not expected to be read is fetched alone.
    #[must_use]
    pub fn reader(&self, found: &Found, index: usize) -> Box<dyn Fill> {
        match self.lock().receivers.remove(&index) {
            Some(receiver) => Box::new(Slot { receiver, piece: Vec::new(), at: 0, over: false }),
            None => Box::new(Alone { source: Arc::clone(&self.source), found: found.clone(), content: None }),
        }
    }

    /// Waits until the walk came to a file; `None` when it never will.
    fn sender(&self, index: usize) -> Option<SyncSender<Said>> {
        let mut slots = self.lock();
        loop {
            if let Some(sender) = slots.senders.remove(&index) {
                slots.wanted.remove(&index);
                return Some(sender);
            }
            if slots.over || self.gate.failed() {
                return None;
            }
            slots = self
                .turn
                .wait_timeout(slots, Duration::from_millis(200))
                .unwrap_or_else(PoisonError::into_inner)
                .0;
        }
    }

    fn distribute(&self, wanted: &[(usize, Found)]) -> Result<(), BackupError> {
        let files: Vec<Found> = wanted.iter().map(|(_, found)| found.clone()).collect();
        let fault = Arc::new(Mutex::new(None));
        let stream = Plain { fill: self.source.fetch(&files)?, fault: Arc::clone(&fault) };
        // Told at once, before the reader of the file at hand finds nobody at the other end: the first
        // word counts, and this one says why.
        let told = |error: io::Error| {
            let fault = fault.lock().unwrap_or_else(PoisonError::into_inner).take();
            self.gate.fail(fault.unwrap_or_else(|| BackupError::Corrupt {
                what: "the files".into(),
                why: crate::secret::clean(&error.to_string()).into_owned(),
            }));
            BackupError::Stopped
        };
        let mut archive = tar::Archive::new(stream);
        let mut rest = wanted.iter();
        for entry in archive.entries().map_err(told)? {
            let mut entry = entry.map_err(told)?;
            let path = entry.path_bytes().into_owned();
            // In order: those that are passed over were deleted meanwhile.
            let index = loop {
                let strange = || told(io::Error::other("one came that was not asked for"));
                let (index, found) = rest.next().ok_or_else(strange)?;
                if found.source == path {
                    break *index;
                }
                self.say(*index, Said::Vanished);
            };
            let sender = self.sender(index);
            loop {
                let mut piece = vec![0; PIECE.min(usize::try_from(entry.size()).unwrap_or(PIECE)).max(1)];
                let count = entry.read(&mut piece).map_err(told)?;
                if count == 0 {
                    break;
                }
                piece.truncate(count);
                // Nobody reads a file that the library found unchanged after all.
                if let Some(sender) = &sender {
                    let _ = sender.send(Said::Data(piece));
                }
                if self.gate.failed() {
                    return Err(BackupError::Stopped);
                }
            }
            if let Some(sender) = sender {
                let _ = sender.send(Said::End);
            }
        }
        // The end of the archive is not yet the end of the stream, which proves it.
        let mut stream = archive.into_inner();
        let mut junk = [0; 4096];
        while stream.read(&mut junk).map_err(told)? > 0 {}
        for (index, _) in rest {
            self.say(*index, Said::Vanished);
        }
        Ok(())
    }

    fn say(&self, index: usize, said: Said) {
        if let Some(sender) = self.sender(index) {
            let _ = sender.send(said);
        }
    }
}

/// A stream for the reader of archives; why it broke is kept aside.
struct Plain {
    fill: Box<dyn Fill>,
    fault: Arc<Mutex<Option<BackupError>>>,
}

impl Read for Plain {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        self.fill.fill(into).map_err(|fault| {
            *self.fault.lock().unwrap_or_else(PoisonError::into_inner) = Some(fault);
            io::Error::other("the stream broke")
        })
    }
}

/// One file of the stream.
struct Slot {
    receiver: Receiver<Said>,
    piece: Vec<u8>,
    at: usize,
    over: bool,
}

impl Fill for Slot {
    fn fill(&mut self, into: &mut [u8]) -> Result<usize, BackupError> {
        let mut filled = 0;
        while filled < into.len() && !self.over {
            if self.at == self.piece.len() {
                match self.receiver.recv() {
                    Ok(Said::Data(piece)) => (self.piece, self.at) = (piece, 0),
                    Ok(Said::End) => self.over = true,
                    Ok(Said::Vanished) => return Err(BackupError::Vanished),
                    Err(_) => return Err(BackupError::Stopped),
                }
            }
            let count = (into.len() - filled).min(self.piece.len() - self.at);
            into[filled..filled + count].copy_from_slice(&self.piece[self.at..self.at + count]);
            (filled, self.at) = (filled + count, self.at + count);
        }
        Ok(filled)
    }
}

/// A file that is fetched by itself: its content was lost from the repository.
struct Alone {
    source: Arc<dyn Source>,
    found: Found,
    content: Option<io::Cursor<Vec<u8>>>,
}

impl Fill for Alone {
    fn fill(&mut self, into: &mut [u8]) -> Result<usize, BackupError> {
        let corrupt =
            |error: io::Error| BackupError::Corrupt { what: "a file".into(), why: error.to_string() };
        if self.content.is_none() {
            let fault = Arc::new(Mutex::new(None));
            let fill = self.source.fetch(std::slice::from_ref(&self.found))?;
            let mut archive = tar::Archive::new(Plain { fill, fault });
            let entry = archive.entries().map_err(corrupt)?.next().ok_or(BackupError::Vanished)?;
            let mut bytes = Vec::new();
            entry.map_err(corrupt)?.read_to_end(&mut bytes).map_err(corrupt)?;
            self.content = Some(io::Cursor::new(bytes));
        }
        let Some(content) = &mut self.content else { return Ok(0) };
        let mut filled = 0;
        while filled < into.len() {
            match content.read(&mut into[filled..]).map_err(corrupt)? {
                0 => break,
                count => filled += count,
            }
        }
        Ok(filled)
    }
}
