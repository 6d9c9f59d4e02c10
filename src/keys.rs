//! The fleet's own SSH key: one ed25519 pair, apart from everybody's personal keys.
//!
//! Rule of this room: a key file is never overwritten. The private half is 0600 from its first byte and has
//! no passphrase, since cron uses it.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rand::CryptoRng;
use russh::keys::ssh_key::LineEnding;
use russh::keys::{Algorithm, HashAlg, PrivateKey, PublicKey};

use crate::fs_atomic::{self, FsError};

/// What is wrong with a key file; what to do by [`KeyError::hint`].
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    #[error("{} exists already and is never overwritten", .0.display())]
    Exists(PathBuf),
    #[error("there is no SSH key at {}", .0.display())]
    Missing(PathBuf),
    #[error("{} may be read by others (mode {mode:04o})", path.display())]
    TooOpen { path: PathBuf, mode: u32 },
    #[error("{} belongs to another user (uid {owner})", path.display())]
    NotOurs { path: PathBuf, owner: u32 },
    #[error("{} {why}", path.display())]
    Unreadable { path: PathBuf, why: &'static str },
    #[error("cannot make a key: {0}")]
    Make(String),
    #[error(transparent)]
    File(#[from] FsError),
}

impl KeyError {
    /// What the operator can do about it, as a fragment.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        Some(match self {
            KeyError::Exists(path) => {
                format!(
                    "the key that is there goes on working; to replace it, first move {} away",
                    path.display()
                )
            }
            KeyError::Missing(_) => {
                "`fleet ssh-key generate` makes one; `ssh_key` in clients.toml names another".to_owned()
            }
            KeyError::TooOpen { path, .. } => format!("chmod 600 {}", path.display()),
            KeyError::NotOurs { path, .. } => {
                format!(
                    "run fleet as that user, or take the file over: chown \"$(id -un)\" {}",
                    path.display()
                )
            }
            KeyError::Unreadable { .. } => "expected an unencrypted OpenSSH private key of type ed25519, as \
                 `fleet ssh-key generate` makes it; bring the right file back from a backup"
                .to_owned(),
            KeyError::Make(_) | KeyError::File(_) => return None,
        })
    }
}

/// The public half of a key, as it is shown and as it goes into `authorized_keys`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shown {
    /// One line: type, key, comment.
    pub line: String,
    /// `SHA256:...`, as `ssh-keygen -l` prints it.
    pub fingerprint: String,
}

/// Makes an ed25519 pair: `path` (0600) and `path.pub` (0644), with the comment `fleet-<fleet>`.
pub fn generate<R: CryptoRng + ?Sized>(path: &Path, fleet: &str, rng: &mut R) -> Result<PublicKey, KeyError> {
    let public_path = public_path(path);
    // Links count too, even dangling ones: what they mean is not ours to decide.
    if let Some(taken) = [path, &public_path].into_iter().find(|path| path.symlink_metadata().is_ok()) {
        return Err(KeyError::Exists(taken.to_owned()));
    }
    let make = |error: russh::keys::ssh_key::Error| KeyError::Make(error.to_string());
    let mut key = PrivateKey::random(rng, Algorithm::Ed25519).map_err(make)?;
    let name: String =
        fleet.chars().filter(|char| char.is_ascii_alphanumeric() || "-_.".contains(*char)).collect();
    key.set_comment(format!("fleet-{name}"));
    let (private, public) = (key.to_openssh(LineEnding::LF).map_err(make)?, key.public_key());
    let line = public.to_openssh().map_err(make)?;
    if let Some(folder) = path.parent() {
        fs_atomic::create_folder(folder, 0o700)?;
    }
    create(path, private.as_bytes(), 0o600)?;
    // A cut here leaves a private key alone, from which `show` still derives the public one.
    create(&public_path, format!("{line}\n").as_bytes(), 0o644)?;
    Ok(public.clone())
}

/// The public line and the fingerprint, from the private file.
pub fn show(path: &Path) -> Result<Shown, KeyError> {
    let bytes = fs_atomic::read_optional(path)?.map(zeroize::Zeroizing::new);
    let bytes = bytes.ok_or_else(|| KeyError::Missing(path.to_owned()))?;
    let unreadable = |why| KeyError::Unreadable { path: path.to_owned(), why };
    let key = PrivateKey::from_openssh(&*bytes).map_err(|_| unreadable("is no OpenSSH private key"))?;
    if key.is_encrypted() {
        return Err(unreadable("is protected by a passphrase, which no cron job can type"));
    }
    let mut public = key.public_key().clone();
    public.set_comment(crate::secret::clean(key.comment().as_str_lossy()).replace('\n', " "));
    let line = public.to_openssh().map_err(|_| unreadable("has no public half"))?;
    Ok(Shown { line, fingerprint: public.fingerprint(HashAlg::Sha256).to_string() })
}

/// Refuses a private key that others may read, or that another user owns, as OpenSSH does.
pub fn check_permissions(path: &Path) -> Result<(), KeyError> {
    let found = match fs::metadata(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            return Err(KeyError::Missing(path.to_owned()));
        }
        found => found.map_err(FsError::at("read", path))?,
    };
    let (mode, owner) = (found.mode() & 0o7777, found.uid());
    if owner != rustix::process::geteuid().as_raw() && owner != 0 {
        return Err(KeyError::NotOurs { path: path.to_owned(), owner });
    }
    if mode & 0o077 != 0 {
        return Err(KeyError::TooOpen { path: path.to_owned(), mode });
    }
    Ok(())
}

/// Where the public half of a private key file is.
#[must_use]
pub fn public_path(path: &Path) -> PathBuf {
    beside(path, ".pub")
}

/// The same path with something behind its name.
#[must_use]
pub fn beside(path: &Path, end: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(end);
    PathBuf::from(name)
}

fn create(path: &Path, bytes: &[u8], mode: u32) -> Result<(), KeyError> {
    fs_atomic::create_new(path, bytes, mode).map_err(|error| match error.source.kind() {
        std::io::ErrorKind::AlreadyExists => KeyError::Exists(path.to_owned()),
        _ => KeyError::File(error),
    })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use rand::SeedableRng;
    use rand::rngs::StdRng;

    use super::*;

    fn made() -> (tempfile::TempDir, PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("keys/fleet_ed25519");
        generate(&path, "geoclic", &mut StdRng::seed_from_u64(1)).unwrap();
        (dir, path)
    }

    #[test]
    fn a_pair_is_made_with_strict_modes_and_never_overwritten() {
        let (_dir, path) = made();
        let mode = |path: &Path| fs::metadata(path).unwrap().mode() & 0o7777;
        assert_eq!((mode(&path), mode(&public_path(&path))), (0o600, 0o644));
        assert_eq!(mode(path.parent().unwrap()), 0o700);
        let before = fs::read(&path).unwrap();
        let again = || generate(&path, "geoclic", &mut StdRng::seed_from_u64(2));
        assert!(matches!(again(), Err(KeyError::Exists(taken)) if taken == path));
        assert_eq!(fs::read(&path).unwrap(), before);
        fs::remove_file(&path).unwrap();
        assert!(matches!(again(), Err(KeyError::Exists(taken)) if taken == public_path(&path)));
    }

    #[test]
    fn what_is_shown_is_the_public_file() {
        let (_dir, path) = made();
        let shown = show(&path).unwrap();
        assert_eq!(format!("{}\n", shown.line), fs::read_to_string(public_path(&path)).unwrap());
        assert!(
            shown.line.starts_with("ssh-ed25519 AAAA") && shown.line.ends_with(" fleet-geoclic"),
            "{}",
            shown.line
        );
        assert!(shown.fingerprint.starts_with("SHA256:"), "{}", shown.fingerprint);
    }

    #[test]
    fn an_open_key_is_refused_with_its_remedy() {
        let (_dir, path) = made();
        check_permissions(&path).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        let error = check_permissions(&path).unwrap_err();
        assert!(error.to_string().ends_with("may be read by others (mode 0644)"), "{error}");
        assert_eq!(error.hint().unwrap(), format!("chmod 600 {}", path.display()));
        assert!(matches!(check_permissions(&path.with_file_name("none")), Err(KeyError::Missing(_))));
        fs::write(&path, "not a key").unwrap();
        assert!(show(&path).unwrap_err().to_string().ends_with("is no OpenSSH private key"));
    }
}
