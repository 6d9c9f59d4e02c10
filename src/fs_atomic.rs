//! Files of this machine that are never seen half-written, and the lock that lets one writer in.
//!
//! Rule of this room: a file is replaced by renaming a complete, flushed one over it, so that a loss
//! of power between any two instructions leaves the old content or the new, with the mode it should
//! have from its first byte. A reader needs no lock. Writers that read first hold a [`FileLock`].

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rand::RngExt;
use rustix::fs::{CWD, OFlags, RenameFlags};
use rustix::io::Errno;

/// A file operation that failed, with what was being done to which file.
#[derive(Debug, thiserror::Error)]
#[error("cannot {action} {}: {source}", path.display())]
pub struct FsError {
    pub action: &'static str,
    pub path: PathBuf,
    pub source: io::Error,
}

impl FsError {
    /// For `map_err`: names what was being done to which file.
    pub fn at(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> FsError {
        move |source| FsError { action, path: path.to_owned(), source }
    }
}

/// Replaces a file, or creates it, with exactly `mode` whatever the umask. A symbolic link is followed:
/// the file that it points to is replaced and the link stays. An existing file keeps its owner where
/// this process may give it. Afterwards the new content survives a loss of power.
pub fn replace(path: &Path, bytes: &[u8], mode: u32) -> Result<(), FsError> {
    let path = &resolve(path)?;
    let temporary = write_beside(path, bytes, mode)?;
    let renamed = fs::rename(&temporary, path).map_err(FsError::at("replace", path));
    if renamed.is_err() {
        // Best effort: the error that matters is the rename's.
        let _ = fs::remove_file(&temporary);
    }
    renamed?;
    sync_folder(path)
}

/// Creates a file that must not exist, as completely as [`replace`] does. An existing file, or link of
/// that name, is an error of kind `AlreadyExists` and stays as it is.
pub fn create_new(path: &Path, bytes: &[u8], mode: u32) -> Result<(), FsError> {
    let temporary = write_beside(path, bytes, mode)?;
    let created = rename_new(&temporary, path).map_err(FsError::at("create", path));
    if created.is_err() {
        let _ = fs::remove_file(&temporary);
    }
    created?;
    sync_folder(path)
}

/// Moves a file to a name that must not exist, in a way that survives a loss of power.
pub fn move_new(from: &Path, to: &Path) -> Result<(), FsError> {
    rename_new(from, to).map_err(FsError::at("create", to))?;
    sync_folder(to)?;
    sync_folder(from)
}

/// A rename that never replaces, in one step where the file system can.
fn rename_new(from: &Path, to: &Path) -> io::Result<()> {
    match rustix::fs::renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE) {
        Ok(()) => Ok(()),
        Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) => {
            fs::hard_link(from, to)?;
            fs::remove_file(from)
        }
        Err(error) => Err(error.into()),
    }
}

/// Removes a file; one that is not there is no error.
pub fn remove(path: &Path) -> Result<(), FsError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other.map_err(FsError::at("remove", path)).and_then(|()| sync_folder(path)),
    }
}

/// Reads a whole file, `None` when there is none.
pub fn read_optional(path: &Path) -> Result<Option<Vec<u8>>, FsError> {
    match fs::read(path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(FsError::at("read", path)(error)),
    }
}

/// A folder and its parents; the ones created get exactly `mode`.
pub fn create_folder(path: &Path, mode: u32) -> Result<(), FsError> {
    if path.as_os_str().is_empty() || path.is_dir() {
        return Ok(());
    }
    if let Some(parent) = path.parent() {
        create_folder(parent, mode)?;
    }
    match fs::create_dir(path) {
        // Someone else was faster; what they set stays.
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && path.is_dir() => Ok(()),
        Err(error) => Err(FsError::at("create", path)(error)),
        Ok(()) => {
            fs::set_permissions(path, fs::Permissions::from_mode(mode))
                .map_err(FsError::at("set the mode of", path))?;
            sync_folder(path)
        }
    }
}

/// Reads, changes and replaces a text under a lock, so that of two edits at once none is lost. The mode
/// stays. Returns whether anything changed; an unchanged text is not written. The error is the
/// change's own or an [`EditError`].
pub fn edit<E: From<EditError>>(
    path: &Path,
    lock: &Path,
    timeout: Duration,
    change: impl FnOnce(&str) -> Result<String, E>,
) -> Result<bool, E> {
    let lock = FileLock::acquire(lock, timeout).map_err(EditError::from)?;
    remove_leftovers(path, &lock);
    let text = fs::read_to_string(path).map_err(FsError::at("read", path)).map_err(EditError::from)?;
    let mode =
        fs::metadata(path).map_err(FsError::at("read", path)).map_err(EditError::from)?.mode() & 0o7777;
    let changed = change(&text)?;
    if changed == text {
        return Ok(false);
    }
    replace(path, changed.as_bytes(), mode).map_err(EditError::from)?;
    Ok(true)
}

/// Why an edit did not take place.
#[derive(Debug, thiserror::Error)]
pub enum EditError {
    #[error(transparent)]
    Lock(#[from] LockError),
    #[error(transparent)]
    File(#[from] FsError),
}

/// Removes temporary files that a cut left beside `path`. The lock is asked for because a writer at
/// work would lose its own.
pub fn remove_leftovers(path: &Path, _held: &FileLock) {
    let Ok(path) = resolve(path) else { return };
    let (Some(prefix), Some(Ok(entries))) =
        (temporary_prefix(&path), path.parent().map(|folder| fs::read_dir(or_here(folder))))
    else {
        return;
    };
    for entry in entries.flatten() {
        let name = entry.file_name();
        let (name, prefix) = (name.as_encoded_bytes(), prefix.as_encoded_bytes());
        let middle = name.strip_prefix(prefix).and_then(|rest| rest.strip_suffix(b".tmp"));
        if middle.is_some_and(|middle| middle.len() == 16 && middle.iter().all(u8::is_ascii_hexdigit)) {
            let _ = fs::remove_file(entry.path());
        }
    }
}

/// The file at the end of a chain of symbolic links, or the path itself.
fn resolve(path: &Path) -> Result<PathBuf, FsError> {
    match fs::symlink_metadata(path) {
        Ok(found) if found.is_symlink() => {
            fs::canonicalize(path).map_err(FsError::at("follow the link", path))
        }
        _ => Ok(path.to_owned()),
    }
}

fn or_here(folder: &Path) -> &Path {
    if folder.as_os_str().is_empty() { Path::new(".") } else { folder }
}

fn temporary_prefix(path: &Path) -> Option<OsString> {
    let mut prefix = OsString::from(".");
    prefix.push(path.file_name()?);
    prefix.push(".");
    Some(prefix)
}

/// A complete, flushed file with a random name in the folder of `path`.
fn write_beside(path: &Path, bytes: &[u8], mode: u32) -> Result<PathBuf, FsError> {
    let no_name = || FsError::at("write", path)(io::ErrorKind::InvalidFilename.into());
    let mut name = temporary_prefix(path).ok_or_else(no_name)?;
    name.push(format!("{:016x}.tmp", rand::rng().random::<u64>()));
    let temporary = path.with_file_name(name);
    let file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .custom_flags(OFlags::NOFOLLOW.bits() as i32)
        .open(&temporary)
        .map_err(FsError::at("create", &temporary))?;
    let written = fill(file, path, bytes, mode);
    if let Err(error) = written {
        let _ = fs::remove_file(&temporary);
        return Err(FsError::at("write", &temporary)(error));
    }
    Ok(temporary)
}

/// Owner and mode first, while there is nothing to read in it.
fn fill(mut file: File, path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    if let Ok(old) = fs::symlink_metadata(path) {
        let new = file.metadata()?;
        if (old.uid(), old.gid()) != (new.uid(), new.gid()) {
            let owner = Some(rustix::fs::Uid::from_raw(old.uid()));
            let group = Some(rustix::fs::Gid::from_raw(old.gid()));
            // Only root may always do this; another's file then becomes ours, as with any editor.
            let _ = rustix::fs::fchown(&file, owner, group);
        }
    }
    file.set_permissions(fs::Permissions::from_mode(mode))?;
    file.write_all(bytes)?;
    file.sync_all()
}

/// Makes the names in the folder of `path` survive a loss of power.
fn sync_folder(path: &Path) -> Result<(), FsError> {
    let folder = or_here(path.parent().unwrap_or(path));
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(FsError::at("flush", folder))
}

/// Why a lock was not had.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    #[error("{} is held by {holder} (waited {} s)", path.display(), waited.as_secs())]
    Held { path: PathBuf, holder: String, waited: Duration },
    #[error(transparent)]
    File(#[from] FsError),
}

/// An exclusive lock between processes and threads, given back when dropped and by the kernel when the
/// process ends in any way: nobody ever has to break one by hand. The file stays; its content only says who
/// holds it.
#[derive(Debug)]
pub struct FileLock {
    file: File,
}

impl FileLock {
    /// Waits up to `timeout`. The folder of `path` is created (0700) if need be.
    pub fn acquire(path: &Path, timeout: Duration) -> Result<FileLock, LockError> {
        if let Some(folder) = path.parent() {
            create_folder(folder, 0o700)?;
        }
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .custom_flags(OFlags::NOFOLLOW.bits() as i32)
            .open(path)
            .map_err(FsError::at("open the lock", path))?;
        let start = Instant::now();
        let mut pause = Duration::from_millis(1);
        loop {
            match file.try_lock() {
                Ok(()) => break,
                Err(TryLockError::WouldBlock) if start.elapsed() < timeout => {
                    std::thread::sleep(pause.min(timeout.saturating_sub(start.elapsed())));
                    pause = (pause * 2).min(Duration::from_millis(50));
                }
                Err(TryLockError::WouldBlock) => {
                    let mut holder = String::new();
                    let _ = Read::by_ref(&mut file).take(1000).read_to_string(&mut holder);
                    let holder = crate::secret::clean(holder.trim()).into_owned();
                    let holder = if holder.is_empty() { "another process".to_owned() } else { holder };
                    return Err(LockError::Held { path: path.to_owned(), holder, waited: timeout });
                }
                Err(TryLockError::Error(error)) => return Err(FsError::at("lock", path)(error).into()),
            }
        }
        let lock = FileLock { file };
        lock.note(&holder()).map_err(FsError::at("write", path))?;
        Ok(lock)
    }

    fn note(&self, text: &str) -> io::Result<()> {
        use std::os::unix::fs::FileExt;
        self.file.set_len(0)?;
        self.file.write_all_at(text.as_bytes(), 0)
    }
}

impl Drop for FileLock {
    fn drop(&mut self) {
        // A name that stays would only mislead whoever looks; closing the file is what unlocks.
        let _ = self.note("");
        let _ = self.file.unlock();
    }
}

/// Who is at work here: `alice@laptop`.
#[must_use]
pub fn operator() -> String {
    let user =
        ["USER", "LOGNAME"].iter().find_map(|name| std::env::var(name).ok().filter(|user| !user.is_empty()));
    let user = user.unwrap_or_else(|| format!("uid {}", rustix::process::getuid().as_raw()));
    let host = rustix::system::uname();
    format!("{user}@{}", host.nodename().to_string_lossy())
}

fn holder() -> String {
    let now = jiff::Timestamp::now();
    format!("{} (process {}, since {now:.0})\n", operator(), std::process::id())
}

#[cfg(test)]
#[path = "fs_atomic_tests.rs"]
mod tests;
