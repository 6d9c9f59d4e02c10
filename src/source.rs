//! The code tree that a release is made of, looked at on this machine.
//!
//! The tree is read once per run: which files go to a host, and a digest for the whole and for
//! each build context. The digests say what changed, so they must see exactly what rsync sends:
//! one list of patterns decides for both.

use std::ffi::OsStr;
use std::fs::{self, Metadata};
use std::io::Read as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use ignore::gitignore::{Gitignore, GitignoreBuilder};
use sha2::{Digest as _, Sha256};

use crate::shell::hex;

/// Mode of a symbolic link, as git has it.
const LINK: u32 = 0o120_000;

/// A tree as it was when it was read.
#[derive(Clone, Debug)]
pub struct Snapshot {
    pub root: PathBuf,
    entries: Vec<Entry>,
    exclude: Vec<String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Entry {
    /// Relative, with `/`; bytes, since a file name need not be UTF-8.
    path: Vec<u8>,
    mode: u32,
    digest: [u8; 32],
    size: u64,
    modified: (i64, i64),
}

impl Snapshot {
    /// Reads and hashes every file that `exclude` leaves in.
    ///
    /// # Errors
    /// A folder that is not there, a file that cannot be read, a pattern that means nothing.
    pub fn take(root: &Path, exclude: &[String]) -> anyhow::Result<Snapshot> {
        if !root.is_dir() {
            bail!("the source {} is not a folder", root.display());
        }
        let patterns = patterns(root, exclude)?;
        let mut entries = Vec::new();
        for found in walk(root, &patterns) {
            let (path, metadata) = found?;
            entries.push(entry(root, &path, &metadata)?);
        }
        entries.sort_by(|a, b| a.path.cmp(&b.path));
        Ok(Snapshot { root: root.to_owned(), entries, exclude: exclude.to_vec() })
    }

    #[must_use]
    pub fn files(&self) -> usize {
        self.entries.len()
    }

    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.entries.iter().map(|entry| entry.size).sum()
    }

    /// Digest of everything below a folder of the tree; of the whole tree for an empty path. It
    /// covers names, contents and the executable bit, and not times or owners.
    #[must_use]
    pub fn digest(&self, folder: &str) -> String {
        let prefix = if folder.is_empty() || folder == "." {
            Vec::new()
        } else {
            format!("{}/", folder.trim_end_matches('/')).into_bytes()
        };
        let mut hasher = Sha256::new();
        for entry in self.entries.iter().filter(|entry| entry.path.starts_with(&prefix)) {
            let name = &entry.path[prefix.len()..];
            hasher.update((name.len() as u64).to_be_bytes());
            hasher.update(name);
            hasher.update(entry.mode.to_be_bytes());
            hasher.update(entry.digest);
        }
        hex(&hasher.finalize())
    }

    /// Whether a folder of the tree has files.
    #[must_use]
    pub fn has(&self, folder: &str) -> bool {
        let prefix = format!("{}/", folder.trim_end_matches('/'));
        matches!(folder, "" | ".")
            || self.entries.iter().any(|entry| entry.path.starts_with(prefix.as_bytes()))
    }

    /// Copies a folder of the tree to one that is not there yet: exactly the files that its digest
    /// covers, with the modes that it knows. Gives back the first file that is not as it was when the
    /// snapshot was taken.
    ///
    /// # Errors
    /// When a file cannot be read or written.
    pub fn copy(&self, folder: &str, to: &Path) -> anyhow::Result<Option<String>> {
        let prefix = match folder.trim_end_matches('/') {
            "" | "." => Vec::new(),
            folder => format!("{folder}/").into_bytes(),
        };
        fs::create_dir_all(to).with_context(|| to.display().to_string())?;
        for entry in self.entries.iter().filter(|entry| entry.path.starts_with(&prefix)) {
            let from = self.root.join(OsStr::from_bytes(&entry.path));
            let target = to.join(OsStr::from_bytes(&entry.path[prefix.len()..]));
            if let Some(parent) = target.parent() {
                fs::create_dir_all(parent).with_context(|| parent.display().to_string())?;
            }
            let at = || from.display().to_string();
            let digest = if entry.mode == LINK {
                let points = fs::read_link(&from).with_context(at)?;
                std::os::unix::fs::symlink(&points, &target).with_context(at)?;
                Sha256::digest(points.as_os_str().as_bytes())
            } else {
                fs::copy(&from, &target).with_context(at)?;
                fs::set_permissions(&target, fs::Permissions::from_mode(entry.mode)).with_context(at)?;
                fs::File::open(&target).and_then(digest_of).with_context(at)?
            };
            if <[u8; 32]>::from(digest) != entry.digest {
                return Ok(Some(String::from_utf8_lossy(&entry.path).into_owned()));
            }
        }
        Ok(None)
    }

    /// First path that is not now as it was when the snapshot was taken, by size and time.
    ///
    /// # Errors
    /// When the tree cannot be read any more.
    pub fn changed_since(&self) -> anyhow::Result<Option<String>> {
        let patterns = patterns(&self.root, &self.exclude)?;
        let mut seen = 0;
        for found in walk(&self.root, &patterns) {
            let (path, metadata) = found?;
            let relative = relative(&self.root, &path);
            let index = self.entries.binary_search_by(|entry| entry.path.cmp(&relative));
            let same = index.is_ok_and(|index| {
                let entry = &self.entries[index];
                entry.size == metadata.len() && entry.modified == (metadata.mtime(), metadata.mtime_nsec())
            });
            if !same {
                return Ok(Some(String::from_utf8_lossy(&relative).into_owned()));
            }
            seen += 1;
        }
        Ok((seen != self.entries.len()).then(|| "a file that is gone".to_owned()))
    }
}

/// rsync's patterns as those of gitignore: they agree but for a slash within a pattern, which
/// anchors it there and does not in rsync (rsync(1), FILTER RULES).
fn patterns(root: &Path, exclude: &[String]) -> anyhow::Result<Gitignore> {
    let mut builder = GitignoreBuilder::new(root);
    for pattern in exclude {
        let body = pattern.trim_end_matches('/');
        let line = if body.contains('/') && !body.starts_with('/') && !body.starts_with("**/") {
            format!("**/{pattern}")
        } else if pattern.starts_with(['!', '#']) {
            format!("\\{pattern}")
        } else {
            pattern.clone()
        };
        builder.add_line(None, &line).with_context(|| format!("exclude pattern {pattern:?}"))?;
    }
    builder.build().context("exclude patterns")
}

fn walk<'a>(
    root: &'a Path,
    patterns: &'a Gitignore,
) -> impl Iterator<Item = anyhow::Result<(PathBuf, Metadata)>> + 'a {
    walkdir::WalkDir::new(root)
        .min_depth(1)
        .sort_by_file_name()
        .into_iter()
        .filter_entry(|found| !patterns.matched(found.path(), found.file_type().is_dir()).is_ignore())
        .filter(|found| !found.as_ref().is_ok_and(|found| found.file_type().is_dir()))
        .map(|found| {
            let found = found.context("the source cannot be read")?;
            let metadata = found.metadata().with_context(|| found.path().display().to_string())?;
            Ok((found.into_path(), metadata))
        })
}

fn relative(root: &Path, path: &Path) -> Vec<u8> {
    path.strip_prefix(root).unwrap_or(path).as_os_str().as_bytes().to_vec()
}

fn digest_of(mut file: fs::File) -> std::io::Result<sha2::digest::Output<Sha256>> {
    let mut hasher = Sha256::new();
    let mut buffer = vec![0; 64 * 1024];
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(hasher.finalize()),
            length => hasher.update(&buffer[..length]),
        }
    }
}

fn entry(root: &Path, path: &Path, metadata: &Metadata) -> anyhow::Result<Entry> {
    let digest = if metadata.file_type().is_symlink() {
        Sha256::digest(fs::read_link(path)?.as_os_str().as_bytes())
    } else if metadata.is_file() {
        let file = fs::File::open(path).with_context(|| path.display().to_string())?;
        digest_of(file).with_context(|| path.display().to_string())?
    } else {
        bail!("{} is neither a file, a folder nor a link", path.display());
    };
    // Of the mode only what git keeps: an umask shall not look like a change.
    let executable = metadata.permissions().mode() & 0o100 != 0;
    Ok(Entry {
        path: relative(root, path),
        mode: if metadata.file_type().is_symlink() {
            LINK
        } else if executable {
            0o755
        } else {
            0o644
        },
        digest: digest.into(),
        size: metadata.len(),
        modified: (metadata.mtime(), metadata.mtime_nsec()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree() -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        for (path, text) in [
            ("api/main.py", "a"),
            ("api/fleet/x", "x"),
            ("fleet/secret", "s"),
            ("web/index.html", "w"),
            ("a.pyc", ""),
        ] {
            let path = dir.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        dir
    }

    fn exclude() -> Vec<String> {
        vec!["/fleet/".into(), "*.pyc".into()]
    }

    #[test]
    fn what_is_excluded_changes_no_digest() {
        let dir = tree();
        let before = Snapshot::take(dir.path(), &exclude()).unwrap();
        assert_eq!(before.files(), 3);
        fs::write(dir.path().join("fleet/other"), "o").unwrap();
        fs::write(dir.path().join("web/b.pyc"), "o").unwrap();
        let after = Snapshot::take(dir.path(), &exclude()).unwrap();
        assert_eq!(before.digest(""), after.digest(""));
    }

    #[test]
    fn a_context_digest_follows_its_own_folder_only() {
        let dir = tree();
        let before = Snapshot::take(dir.path(), &exclude()).unwrap();
        fs::write(dir.path().join("web/index.html"), "new").unwrap();
        let after = Snapshot::take(dir.path(), &exclude()).unwrap();
        assert_eq!(before.digest("api"), after.digest("api"));
        assert_ne!(before.digest("web"), after.digest("web"));
        assert_ne!(before.digest(""), after.digest(""));
    }

    #[test]
    fn a_copy_holds_what_the_digest_covers_and_nothing_else() {
        let dir = tree();
        let snapshot = Snapshot::take(dir.path(), &exclude()).unwrap();
        fs::write(dir.path().join("api/new.pyc"), "").unwrap();
        fs::write(dir.path().join("api/later.py"), "").unwrap();
        let to = tempfile::tempdir().unwrap();
        assert_eq!(snapshot.copy("api", &to.path().join("context")).unwrap(), None);
        let copied = Snapshot::take(&to.path().join("context"), &[]).unwrap();
        assert_eq!(copied.digest(""), snapshot.digest("api"));
        fs::write(dir.path().join("api/main.py"), "longer").unwrap();
        assert_eq!(snapshot.copy("api", &to.path().join("b")).unwrap().as_deref(), Some("api/main.py"));
    }

    #[test]
    fn an_edit_after_the_snapshot_is_noticed() {
        let dir = tree();
        let snapshot = Snapshot::take(dir.path(), &exclude()).unwrap();
        assert_eq!(snapshot.changed_since().unwrap(), None);
        fs::write(dir.path().join("api/main.py"), "longer").unwrap();
        assert_eq!(snapshot.changed_since().unwrap().as_deref(), Some("api/main.py"));
        fs::remove_file(dir.path().join("api/main.py")).unwrap();
        assert!(snapshot.changed_since().unwrap().is_some());
    }

    #[test]
    fn a_pattern_with_a_slash_is_not_anchored() {
        let dir = tree();
        let snapshot = Snapshot::take(dir.path(), &["fleet/x".into()]).unwrap();
        assert_eq!(snapshot.files(), 4);
    }
}
