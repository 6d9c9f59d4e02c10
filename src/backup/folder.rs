//! A repository in a folder of this machine, in restic's layout.
//!
//! Each file takes its name only when it is whole and flushed, so that a cut at any instant leaves no
//! half of one under a name that counts.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use rustic_core::{BytesList, ErrorKind, FileType, Id, ReadBackend, RusticError, RusticResult, WriteBackend};

use crate::fs_atomic;

/// Names of files are 32 bytes in hexadecimal.
const NAME: usize = 64;

#[derive(Clone, Debug)]
pub struct Folder {
    root: PathBuf,
}

impl Folder {
    #[must_use]
    pub fn new(root: &Path) -> Self {
        Folder { root: root.to_owned() }
    }

    fn path(&self, kind: FileType, id: &Id) -> PathBuf {
        let name = id.to_hex();
        match kind {
            FileType::Config => self.root.join("config"),
            FileType::Pack => self.root.join("data").join(&name.as_str()[..2]).join(name.as_str()),
            _ => self.root.join(kind.dirname()).join(name.as_str()),
        }
    }

    /// Takes away what a cut left of files that never got their name. Only the holder of the
    /// repository's lock may.
    pub fn sweep(&self) {
        let below = |path: PathBuf| fs::read_dir(path).into_iter().flatten().flatten();
        let folders = ["data", "index", "snapshots", "keys"].map(|name| self.root.join(name));
        let packs = below(self.root.join("data")).map(|entry| entry.path());
        for folder in folders.into_iter().chain([self.root.clone()]).chain(packs.filter(|path| path.is_dir()))
        {
            for entry in below(folder) {
                let name = entry.file_name();
                let name = name.to_string_lossy();
                if name.starts_with('.') && name.ends_with(".tmp") {
                    // The next one tries again.
                    let _ = fs::remove_file(entry.path());
                }
            }
        }
    }

    fn names(&self, folder: &Path) -> io::Result<Vec<(Id, u32)>> {
        let mut found = Vec::new();
        let entries = match fs::read_dir(folder) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(found),
            entries => entries?,
        };
        for entry in entries {
            let entry = entry?;
            let name = entry.file_name();
            let Some(name) = name.to_str().filter(|name| name.len() == NAME) else { continue };
            if let Ok(id) = name.parse::<Id>() {
                found.push((id, u32::try_from(entry.metadata()?.len()).unwrap_or(u32::MAX)));
            }
        }
        Ok(found)
    }

    fn list_packs(&self) -> io::Result<Vec<(Id, u32)>> {
        let data = self.root.join("data");
        let mut found = Vec::new();
        let entries = match fs::read_dir(&data) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(found),
            entries => entries?,
        };
        for entry in entries {
            let entry = entry?;
            if entry.file_type()?.is_dir() {
                found.extend(self.names(&entry.path())?);
            }
        }
        Ok(found)
    }
}

/// The library's own error of a file that could not be worked on.
pub fn failed(
    what: &'static str,
    path: &Path,
    error: impl std::error::Error + Send + Sync + 'static,
) -> Box<RusticError> {
    let text = format!("cannot {what} {}: {error}", path.display());
    RusticError::with_source(ErrorKind::Backend, text, error)
}

impl ReadBackend for Folder {
    fn location(&self) -> String {
        self.root.display().to_string()
    }

    fn list_with_size(&self, kind: FileType) -> RusticResult<Vec<(Id, u32)>> {
        let found = match kind {
            FileType::Config => {
                let path = self.root.join("config");
                match fs::metadata(&path) {
                    Ok(found) => Ok(vec![(Id::default(), u32::try_from(found.len()).unwrap_or(u32::MAX))]),
                    Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
                    Err(error) => Err(error),
                }
            }
            FileType::Pack => self.list_packs(),
            other => self.names(&self.root.join(other.dirname())),
        };
        found.map_err(|error| failed("list", &self.root.join(kind.dirname()), error))
    }

    fn read_full(&self, kind: FileType, id: &Id) -> RusticResult<Bytes> {
        let path = self.path(kind, id);
        fs::read(&path).map(Bytes::from).map_err(|error| failed("read", &path, error))
    }

    fn read_partial(
        &self,
        kind: FileType,
        id: &Id,
        _: bool,
        offset: u32,
        length: u32,
    ) -> RusticResult<Bytes> {
        let path = self.path(kind, id);
        let mut bytes = vec![0; length as usize];
        File::open(&path)
            .and_then(|file| file.read_exact_at(&mut bytes, u64::from(offset)))
            .map_err(|error| failed("read", &path, error))?;
        Ok(bytes.into())
    }

    fn warmup_path(&self, kind: FileType, id: &Id) -> String {
        self.path(kind, id).display().to_string()
    }
}

impl WriteBackend for Folder {
    fn create(&self) -> RusticResult<()> {
        let folders = (0..=u8::MAX).map(|byte| format!("data/{byte:02x}"));
        let all = ["index", "snapshots", "keys"].into_iter().map(str::to_owned).chain(folders);
        for name in all {
            let path = self.root.join(name);
            fs_atomic::create_folder(&path, 0o700).map_err(|error| failed("create", &path, error))?;
        }
        Ok(())
    }

    fn write_bytes(&self, kind: FileType, id: &Id, _: bool, content: BytesList) -> RusticResult<()> {
        let path = self.path(kind, id);
        let whole: Vec<u8> = content.slice().concat();
        fs_atomic::replace(&path, &whole, 0o600).map_err(|error| failed("write", &path, error))
    }

    fn remove(&self, kind: FileType, id: &Id, _: bool) -> RusticResult<()> {
        let path = self.path(kind, id);
        fs_atomic::remove(&path).map_err(|error| failed("remove", &path, error))
    }
}
