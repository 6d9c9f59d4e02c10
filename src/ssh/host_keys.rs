//! The fleet's `known_hosts` file: read once and kept while it does not change, appended to at
//! first contact under a lock, so that two processes at once lose nothing.
//!
//! All calls block on a local file; only [`record`] may wait for another process.

use std::collections::HashMap;
use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Seek as _, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::{LazyLock, Mutex, PoisonError};

use russh::keys::PublicKey;

use super::error::{ConnectError, Place};
use super::known_hosts::{self, KnownHosts, Verdict};

/// What to do with a host that was never seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HostKeyPolicy {
    /// Record its key and say so.
    AcceptNew,
    /// Refuse it.
    Strict,
}

/// What tells two states of a file apart.
type Stamp = (u64, u64, u64, i64, i64);

#[derive(Default)]
struct Cached {
    /// `None` while there is no file.
    stamp: Option<Stamp>,
    hosts: KnownHosts,
}

static CACHE: LazyLock<Mutex<HashMap<PathBuf, Cached>>> = LazyLock::new(Mutex::default);

/// Key types recorded for a host, to be preferred in the handshake.
pub fn algorithms(file: &Path, place: &Place) -> Result<Vec<String>, ConnectError> {
    with(file, |hosts| hosts.algorithms(&place.host, place.port))
}

/// Judges a key that a host showed: `true` when known, `false` when it may be [`record`]ed.
pub fn check(
    file: &Path,
    place: &Place,
    key: &PublicKey,
    policy: HostKeyPolicy,
) -> Result<bool, ConnectError> {
    let verdict = with(file, |hosts| hosts.judge(&place.host, place.port, key))?;
    settle(verdict, file, place, key, policy)
}

/// Records the key of a new host; `false` when another process just recorded the same.
pub fn record(file: &Path, place: &Place, key: &PublicKey) -> Result<bool, ConnectError> {
    let fault = |error: io::Error| unusable(file, &error);
    let mut handle = lock(file).map_err(fault)?;
    let mut text = String::new();
    handle.read_to_string(&mut text).map_err(fault)?;
    // Judged again under the lock: the answer may have changed since.
    let before = KnownHosts::parse(&text);
    let verdict = before.judge(&place.host, place.port, key);
    if settle(verdict, file, place, key, HostKeyPolicy::AcceptNew)? {
        return Ok(false);
    }
    let line = known_hosts::line_for(&place.host, place.port, key);
    let gap = if text.is_empty() || text.ends_with('\n') { "" } else { "\n" };
    handle.write_all(format!("{gap}{line}\n").as_bytes()).map_err(fault)?;

    let mut hosts = before;
    hosts.add(text.lines().count() + 1, &line);
    let stamp = stamp(&handle.metadata().map_err(fault)?);
    cache().insert(file.to_path_buf(), Cached { stamp: Some(stamp), hosts });
    Ok(true)
}

/// Forgets the keys of one host, whose server was replaced, and says how many lines went. A line that names
/// other hosts too, or by a pattern or hash, stays.
///
/// # Errors
/// A file that cannot be read or written.
pub fn forget(file: &Path, host: &str, port: u16) -> io::Result<usize> {
    let mut handle = lock(file)?;
    let mut text = String::new();
    handle.read_to_string(&mut text)?;
    let name = known_hosts::name_of(host, port);
    let ours = |line: &&str| {
        line.split_ascii_whitespace().next().is_some_and(|names| names.eq_ignore_ascii_case(&name))
    };
    let gone = text.lines().filter(ours).count();
    if gone > 0 {
        let kept: String = text.lines().filter(|line| !ours(line)).map(|line| format!("{line}\n")).collect();
        crate::fs_atomic::replace(file, kept.as_bytes(), 0o644).map_err(io::Error::other)?;
    }
    Ok(gone)
}

fn settle(
    verdict: Verdict,
    file: &Path,
    place: &Place,
    key: &PublicKey,
    policy: HostKeyPolicy,
) -> Result<bool, ConnectError> {
    let (place, file, fingerprint) = (place.clone(), file.to_path_buf(), known_hosts::fingerprint(key));
    match (verdict, policy) {
        (Verdict::Known, _) => Ok(true),
        (Verdict::Unknown { authority: false }, HostKeyPolicy::AcceptNew) => Ok(false),
        // A host that a certificate authority vouches for is not new: its key must not be taken on trust.
        (Verdict::Unknown { authority }, _) => {
            Err(ConnectError::HostKeyUnknown { place, fingerprint, file, authority })
        }
        (Verdict::Changed { old, line }, _) => {
            Err(ConnectError::HostKeyChanged { place, old, new: fingerprint, file, line })
        }
        (Verdict::Revoked { line }, _) => {
            Err(ConnectError::HostKeyRevoked { place, fingerprint, file, line })
        }
    }
}

/// Reads the parsed file, parsing it again only when it changed. A missing file knows nobody.
fn with<T>(file: &Path, ask: impl FnOnce(&KnownHosts) -> T) -> Result<T, ConnectError> {
    let now = match std::fs::metadata(file) {
        Ok(meta) => Some(stamp(&meta)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        Err(error) => return Err(unusable(file, &error)),
    };
    let mut cache = cache();
    let cached = cache.entry(file.to_path_buf()).or_default();
    if cached.stamp != now {
        let text = match std::fs::read(file) {
            // Comments may be in any encoding; names and keys are ASCII.
            Ok(text) => String::from_utf8_lossy(&text).into_owned(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
            Err(error) => return Err(unusable(file, &error)),
        };
        *cached = Cached { stamp: now, hosts: KnownHosts::parse(&text) };
    }
    Ok(ask(&cached.hosts))
}

fn cache() -> std::sync::MutexGuard<'static, HashMap<PathBuf, Cached>> {
    // A panic elsewhere leaves the map whole: every write to it is one insert.
    CACHE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Opens the file, created if need be, and locks it. `ssh-keygen -R` replaces the file by another:
/// a lock on the old one is worth nothing, so the name is looked up again under the lock.
fn lock(file: &Path) -> io::Result<File> {
    if let Some(folder) = file.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        std::fs::create_dir_all(folder)?;
    }
    loop {
        let mut handle = OpenOptions::new().read(true).append(true).create(true).mode(0o644).open(file)?;
        handle.lock()?;
        match std::fs::metadata(file) {
            Ok(named) if named.ino() == handle.metadata()?.ino() => {
                handle.rewind()?;
                return Ok(handle);
            }
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
}

fn stamp(meta: &std::fs::Metadata) -> Stamp {
    (meta.dev(), meta.ino(), meta.size(), meta.mtime(), meta.mtime_nsec())
}

fn unusable(file: &Path, error: &io::Error) -> ConnectError {
    ConnectError::KnownHosts { file: file.to_path_buf(), cause: reason(error) }
}

/// An operating system's reason as one of our fragments.
pub(super) fn reason(error: &io::Error) -> String {
    let text = error.to_string();
    let text = text.split(" (os error").next().unwrap_or_default();
    let mut chars = text.chars();
    chars.next().map_or_else(String::new, |first| first.to_lowercase().chain(chars).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIMkGZ4Kkj7V6qr2L5szvpXfUatVlPxBQ3Fsw2MpLLi5h";
    const B: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAINcXXURO/YK++5Wi1acTUaFX3WMUMIVpFHNrCCf+a7Zd";

    fn key(line: &str) -> PublicKey {
        PublicKey::from_openssh(line).unwrap()
    }

    fn place(host: &str) -> Place {
        Place { host: host.to_owned(), port: 22 }
    }

    #[test]
    fn the_keys_of_one_host_are_forgotten_and_no_others() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("known_hosts");
        let text = format!("# ours\nhost {A}\n[host]:2222 {A}\nhost,other {A}\nHOST {B}\nhost2 {B}\n");
        std::fs::write(&file, &text).unwrap();
        assert_eq!(forget(&file, "host", 22).unwrap(), 2);
        let left = std::fs::read_to_string(&file).unwrap();
        assert_eq!(left, format!("# ours\n[host]:2222 {A}\nhost,other {A}\nhost2 {B}\n"));
        assert_eq!(forget(&file, "host", 2222).unwrap(), 1);
        assert_eq!(forget(&file, "nobody", 22).unwrap(), 0);
        assert!(!std::fs::read_to_string(&file).unwrap().contains("2222"));
    }

    #[test]
    fn a_new_host_is_recorded_once_and_then_held_to_it() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("sub/known_hosts");
        let (host, policy) = (place("one.example"), HostKeyPolicy::AcceptNew);
        assert_eq!(check(&file, &host, &key(A), policy), Ok(false));
        assert_eq!(record(&file, &host, &key(A)), Ok(true));
        assert_eq!(record(&file, &host, &key(A)), Ok(false));
        assert_eq!(check(&file, &host, &key(A), HostKeyPolicy::Strict), Ok(true));
        assert_eq!(std::fs::read_to_string(&file).unwrap(), format!("one.example {A}\n"));
        let error = check(&file, &host, &key(B), policy).unwrap_err();
        assert!(matches!(error, ConnectError::HostKeyChanged { line: 1, .. }), "{error:?}");
        assert_eq!(record(&file, &host, &key(B)).unwrap_err(), error);
    }

    #[test]
    fn an_edit_by_another_program_is_seen_and_a_missing_newline_is_mended() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("known_hosts");
        let strict = HostKeyPolicy::Strict;
        assert!(check(&file, &place("a"), &key(A), strict).is_err());
        std::fs::write(&file, format!("a {A}")).unwrap();
        assert_eq!(check(&file, &place("a"), &key(A), strict), Ok(true));
        assert_eq!(record(&file, &place("b"), &key(B)), Ok(true));
        assert_eq!(std::fs::read_to_string(&file).unwrap(), format!("a {A}\nb {B}\n"));
        std::fs::remove_file(&file).unwrap();
        assert!(check(&file, &place("a"), &key(A), strict).is_err());
    }

    #[test]
    fn many_at_once_lose_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("known_hosts");
        std::thread::scope(|scope| {
            for worker in 0..8 {
                let file = &file;
                scope.spawn(move || {
                    for host in 0..25 {
                        record(file, &place(&format!("h{host}.w{worker}")), &key(A)).unwrap();
                        record(file, &place(&format!("shared{host}")), &key(A)).unwrap();
                    }
                });
            }
        });
        let text = std::fs::read_to_string(&file).unwrap();
        assert_eq!(text.lines().count(), 8 * 25 + 25);
        assert!(text.lines().all(|line| line.ends_with(A)));
    }

    #[test]
    fn a_host_under_an_authority_is_not_taken_on_trust() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("known_hosts");
        std::fs::write(&file, format!("@cert-authority *.example {A}\n")).unwrap();
        let error = check(&file, &place("x.example"), &key(B), HostKeyPolicy::AcceptNew).unwrap_err();
        assert!(error.what().contains("@cert-authority"), "{error}");
    }

    #[test]
    fn a_folder_in_place_of_the_file_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let error = check(dir.path(), &place("a"), &key(A), HostKeyPolicy::Strict).unwrap_err();
        assert!(error.what().contains("is a directory"), "{error}");
    }
}
