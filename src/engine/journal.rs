//! What happened, on disk: one file a run, one event a line, as it came.
//!
//! Rule of this file: a line is written whole or not at all, and what a reader was promised (a
//! client ended, the run ended) is on the disk before anything else happens. A journal that a
//! crash cut is read up to the cut. Only its owner may read it.

use std::collections::HashSet;
use std::fs::{self, DirBuilder, File, OpenOptions, Permissions};
use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use crate::event::{Event, EventKind, Report};

mod past;

pub use past::{Cut, Repeated, cuts, dead, machine, repeated};

const EXTENSION: &str = "ndjson";

/// The journal of a run that goes on.
#[derive(Debug)]
pub struct Journal {
    file: File,
    path: PathBuf,
}

impl Journal {
    /// Creates `<dir>/<run>.ndjson`, and the folder where it is missing.
    ///
    /// # Errors
    /// When the folder or the file cannot be made, or a run of that id has one already.
    pub fn create(dir: &Path, run: &str) -> io::Result<Journal> {
        let path = path_of(dir, run).ok_or_else(|| {
            io::Error::new(io::ErrorKind::InvalidInput, format!("not the id of a run: {run:?}"))
        })?;
        DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
        fs::set_permissions(dir, Permissions::from_mode(0o700))?;
        let file = OpenOptions::new().append(true).create_new(true).mode(0o600).open(&path)?;
        // Held as long as the run lives, so that a reader can tell a running one from a cut one: one
        // that looks just now is waited for. Where the file system has no locks, a run that goes on
        // looks cut, and is never taken for dead.
        let _ = file.lock();
        // The name itself survives a crash.
        File::open(dir)?.sync_all()?;
        Ok(Journal { file, path })
    }

    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Appends one event. The end of a client and of the run wait for the disk: milliseconds.
    ///
    /// # Errors
    /// When the disk is full or fails. The run may go on; its journal then ends here.
    pub fn append(&mut self, event: &Event) -> io::Result<()> {
        let mut line = serde_json::to_vec(event)?;
        line.push(b'\n');
        self.file.write_all(&line)?;
        match event.kind {
            EventKind::HostFinished { .. } | EventKind::RunFinished { .. } => self.file.sync_data(),
            _ => Ok(()),
        }
    }
}

/// The file of a run; `None` for a name that would leave the folder.
fn path_of(dir: &Path, run: &str) -> Option<PathBuf> {
    let allowed = |char: char| char.is_ascii_alphanumeric() || matches!(char, '-' | '_' | '.');
    let valid = !run.is_empty() && !run.starts_with('.') && run.chars().all(allowed);
    valid.then(|| dir.join(format!("{run}.{EXTENSION}")))
}

#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    #[error("cannot read the journal")]
    Io(#[from] io::Error),
    /// Reading may go on after it.
    #[error("line {line} of the journal is not an event")]
    Line { line: usize, source: serde_json::Error },
}

/// The events of a journal, one at a time. A torn last line is an end and not an error.
///
/// # Errors
/// When the file cannot be opened.
pub fn read(path: &Path) -> io::Result<Events> {
    Ok(Events { reader: BufReader::new(File::open(path)?), line: 0, buffer: Vec::new(), wanted: None })
}

/// See [`read`].
pub struct Events {
    reader: BufReader<File>,
    line: usize,
    buffer: Vec<u8>,
    /// Only lines that hold one of these are looked at.
    wanted: Option<&'static [&'static str]>,
}

impl Iterator for Events {
    type Item = Result<Event, JournalError>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            self.buffer.clear();
            match self.reader.read_until(b'\n', &mut self.buffer) {
                Err(error) => return Some(Err(error.into())),
                // Without its line end, the line was cut while it was written.
                Ok(_) if self.buffer.pop_if(|byte| *byte == b'\n').is_none() => return None,
                Ok(_) => self.line += 1,
            }
            let line = self.line;
            if self.wanted.is_none_or(|wanted| wanted.iter().any(|part| holds(&self.buffer, part))) {
                let event = serde_json::from_slice(&self.buffer);
                return Some(event.map_err(|source| JournalError::Line { line, source }));
            }
        }
    }
}

fn holds(line: &[u8], part: &str) -> bool {
    line.windows(part.len()).any(|window| window == part.as_bytes())
}

/// A journal in short.
#[derive(Clone, Debug, PartialEq)]
pub struct RunSummary {
    pub run: String,
    pub path: PathBuf,
    pub verb: String,
    /// `user@host` of the operator.
    pub who: String,
    /// RFC 3339, UTC.
    pub started: String,
    pub clients: Vec<String>,
    /// How many clients ended in each outcome, in the order in which they first came.
    pub counts: Vec<(&'static str, usize)>,
    pub end: End,
}

/// How a run ended, as far as its journal knows.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum End {
    Finished {
        exit: u8,
        seconds: f64,
    },
    /// Somebody is writing it.
    Running,
    /// Killed, or its machine went down.
    Cut,
}

/// How the run of a journal without an end is: its writer holds a lock.
///
/// # Errors
/// When the file cannot be opened.
pub fn unfinished(path: &Path) -> io::Result<End> {
    match File::open(path)?.try_lock_shared() {
        Err(fs::TryLockError::WouldBlock) => Ok(End::Running),
        Ok(()) | Err(fs::TryLockError::Error(_)) => Ok(End::Cut),
    }
}

/// The runs of a folder, the newest first, each read when it is asked for. A file that holds no run
/// is left out; a folder that is missing holds none.
///
/// # Errors
/// When the folder or one of its files cannot be read.
pub fn list(dir: &Path) -> io::Result<impl Iterator<Item = io::Result<RunSummary>> + use<>> {
    Ok(paths(dir)?.into_iter().filter_map(|path| match in_short(&path) {
        // Another process may have pruned it meanwhile.
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        found => found.transpose(),
    }))
}

/// The ids of the runs of a folder, the newest first.
///
/// # Errors
/// When the folder cannot be read.
pub fn ids(dir: &Path) -> io::Result<Vec<String>> {
    let id = |path: PathBuf| path.file_stem().and_then(|name| name.to_str()).map(str::to_owned);
    Ok(paths(dir)?.into_iter().filter_map(id).collect())
}

/// What a run came to, folded from its journal. Clients without an end count as not reached.
///
/// # Errors
/// When the file cannot be read; a line that is no event is passed over.
pub fn report(path: &Path) -> io::Result<Report> {
    let mut report = Report::default();
    for event in read(path)? {
        match event {
            Ok(event) => report.fold(&event),
            Err(JournalError::Io(error)) => return Err(error),
            Err(JournalError::Line { .. }) => {}
        }
    }
    Ok(report)
}

/// The journal of the newest run.
///
/// # Errors
/// When the folder cannot be read.
pub fn latest(dir: &Path) -> io::Result<Option<PathBuf>> {
    Ok(paths(dir)?.into_iter().next())
}

/// The journals whose run id is `text` or, where there is none, begins with it: the newest first.
///
/// # Errors
/// When the folder cannot be read.
pub fn find(dir: &Path, text: &str) -> io::Result<Vec<PathBuf>> {
    let paths = paths(dir)?;
    if let Some(exact) = path_of(dir, text).filter(|path| paths.contains(path)) {
        return Ok(vec![exact]);
    }
    let begins = |path: &PathBuf| {
        path.file_stem().and_then(|name| name.to_str()).is_some_and(|name| name.starts_with(text))
    };
    Ok(paths.into_iter().filter(begins).collect())
}

/// Removes all but the newest `keep` journals and says how many went.
///
/// # Errors
/// When the folder cannot be read or a file not removed; what another process removed meanwhile
/// is not missed.
pub fn prune(dir: &Path, keep: usize) -> io::Result<usize> {
    let mut removed = 0;
    for path in paths(dir)?.into_iter().skip(keep) {
        match fs::remove_file(&path) {
            Ok(()) => removed += 1,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    Ok(removed)
}

/// Journals by the id of their run, which begins with its time: the newest first.
fn paths(dir: &Path) -> io::Result<Vec<PathBuf>> {
    let entries = match fs::read_dir(dir) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries?,
    };
    let mut paths = Vec::new();
    for entry in entries {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == EXTENSION) {
            paths.push(path);
        }
    }
    paths.sort_unstable_by(|one, next| next.cmp(one));
    Ok(paths)
}

fn in_short(path: &Path) -> io::Result<Option<RunSummary>> {
    let mut events = read(path)?;
    events.wanted =
        Some(&[r#""type":"run-started""#, r#""type":"host-finished""#, r#""type":"run-finished""#]);
    let mut run: Option<RunSummary> = None;
    let mut ended = HashSet::new();
    for event in events {
        let event = match event {
            Ok(event) => event,
            Err(JournalError::Io(error)) => return Err(error),
            Err(JournalError::Line { .. }) => continue,
        };
        match (event.kind, &mut run) {
            (EventKind::RunStarted { verb, who, clients, .. }, run) => {
                *run = Some(RunSummary {
                    run: event.run,
                    path: path.to_owned(),
                    verb,
                    who,
                    started: event.at,
                    clients,
                    counts: Vec::new(),
                    end: End::Cut,
                });
            }
            (EventKind::HostFinished { outcome, .. }, Some(run)) if ended.insert(event.client.clone()) => {
                let word = outcome.word();
                match run.counts.iter_mut().find(|count| count.0 == word) {
                    Some(count) => count.1 += 1,
                    None => run.counts.push((word, 1)),
                }
            }
            (EventKind::RunFinished { exit, seconds }, Some(run)) => {
                run.end = End::Finished { exit, seconds }
            }
            _ => {}
        }
    }
    if let Some(run) = run.as_mut().filter(|run| run.end == End::Cut) {
        run.end = unfinished(path)?;
    }
    Ok(run)
}

#[cfg(test)]
mod tests;
