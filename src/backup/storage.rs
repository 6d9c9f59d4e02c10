//! What storages that are asked over HTTP have in common: an object appears whole or not at all, so nothing has to be
//! swept, and every request may be made twice.

use std::time::Duration;

use bytes::Bytes;
use rustic_core::{BytesList, ErrorKind, FileType, Id, ReadBackend, RusticError, RusticResult, WriteBackend};

use super::error::BackupError;
use crate::http::{Answer, HttpError};

/// Longest list of files, in bytes.
pub(super) const LONGEST_LIST: u64 = 16 << 20;
/// Largest file: S3's own limit for one that is put at once.
pub(super) const LARGEST: u64 = 5 << 30;
/// Pauses before a request is made again.
const PAUSES: [Duration; 3] = [Duration::from_millis(300), Duration::from_secs(1), Duration::from_secs(3)];

/// Why a request did not do what it should.
pub(super) struct Refused(pub String);

/// One repository in a storage, by the requests that its protocol knows.
pub(super) trait Requests: Send + Sync + 'static {
    /// As restic names it; it holds no secret.
    fn place(&self) -> &str;
    fn path(&self, kind: FileType, id: &Id) -> String;
    /// All of a file, or so many bytes from an offset; `None` when it is not there.
    fn get(&self, path: &str, part: Option<(u32, u32)>) -> Result<Option<Bytes>, Refused>;
    fn list(&self, folder: &str) -> Result<Vec<(Id, u32)>, Refused>;
    fn create(&self) -> Result<(), Refused>;
    fn put(&self, path: &str, whole: &[u8]) -> Result<(), Refused>;
    /// What is not there is well.
    fn delete(&self, path: &str) -> Result<(), Refused>;
}

/// The same as the storage of a repository.
pub(super) struct Remote<R>(pub(super) R);

impl<R: Requests> Remote<R> {
    /// Whether there is a repository.
    pub fn exists(&self) -> Result<bool, BackupError> {
        let found = self.list_with_size(FileType::Config);
        found.map(|found| !found.is_empty()).map_err(|error| BackupError::storage(&error))
    }

    fn read(&self, kind: FileType, id: &Id, part: Option<(u32, u32)>) -> RusticResult<Bytes> {
        let path = self.0.path(kind, id);
        let found = self.0.get(&path, part);
        let found = found.and_then(|found| found.ok_or_else(|| Refused("it is not there".to_owned())));
        found.map_err(|why| self.failed("read", &path, &why))
    }

    fn failed(&self, what: &str, path: &str, why: &Refused) -> Box<RusticError> {
        let place = self.0.place();
        RusticError::new(ErrorKind::Backend, format!("cannot {what} {path} of {place}: {}", why.0))
    }
}

impl<R: Requests> ReadBackend for Remote<R> {
    fn location(&self) -> String {
        self.0.place().to_owned()
    }

    fn list_with_size(&self, kind: FileType) -> RusticResult<Vec<(Id, u32)>> {
        let size = |bytes: Bytes| (Id::default(), u32::try_from(bytes.len()).unwrap_or(u32::MAX));
        let found = match kind {
            FileType::Config => self
                .0
                .get(&self.0.path(kind, &Id::default()), None)
                .map(|config| config.map(size).into_iter().collect()),
            other => self.0.list(other.dirname()),
        };
        found.map_err(|why| self.failed("list", kind.dirname(), &why))
    }

    fn read_full(&self, kind: FileType, id: &Id) -> RusticResult<Bytes> {
        self.read(kind, id, None)
    }

    fn read_partial(
        &self,
        kind: FileType,
        id: &Id,
        _: bool,
        offset: u32,
        length: u32,
    ) -> RusticResult<Bytes> {
        match length {
            0 => Ok(Bytes::new()),
            _ => self.read(kind, id, Some((offset, length))),
        }
    }

    fn warmup_path(&self, kind: FileType, id: &Id) -> String {
        self.0.path(kind, id)
    }
}

impl<R: Requests> WriteBackend for Remote<R> {
    fn create(&self) -> RusticResult<()> {
        self.0.create().map_err(|why| self.failed("make", "the repository", &why))
    }

    fn write_bytes(&self, kind: FileType, id: &Id, _: bool, content: BytesList) -> RusticResult<()> {
        let (path, whole) = (self.0.path(kind, id), content.slice().concat());
        self.0.put(&path, &whole).map_err(|why| self.failed("write", &path, &why))
    }

    fn remove(&self, kind: FileType, id: &Id, _: bool) -> RusticResult<()> {
        let path = self.0.path(kind, id);
        self.0.delete(&path).map_err(|why| self.failed("remove", &path, &why))
    }
}

/// A file of the repository by its name, which is an id; others that lie there are none of it.
pub(super) fn listed(name: &str, size: u64) -> Option<(Id, u32)> {
    let id = (name.len() == 64).then(|| name.parse().ok()).flatten()?;
    Some((id, u32::try_from(size).unwrap_or(u32::MAX)))
}

/// Makes a request until it is answered: all of them may be made twice.
pub(super) fn patiently(mut send: impl FnMut() -> Result<Answer, HttpError>) -> Result<Answer, Refused> {
    let mut pauses = PAUSES.iter();
    loop {
        let answer = send();
        let again = match &answer {
            Ok(answer) => answer.status == 429 || answer.status >= 500,
            Err(_) => true,
        };
        match (again, pauses.next()) {
            (true, Some(pause)) => std::thread::sleep(*pause),
            _ => return answer.map_err(|error| Refused(error.to_string())),
        }
    }
}

/// The value of a `Range` header: so many bytes from an offset.
pub(super) fn range((offset, length): (u32, u32)) -> String {
    let from = u64::from(offset);
    format!("bytes={from}-{}", from + u64::from(length).saturating_sub(1))
}

/// What an answer with content holds of what was asked for.
pub(super) fn content(answer: Answer, range: Option<(u32, u32)>) -> Result<Bytes, Refused> {
    let all = Bytes::from(answer.body);
    match (answer.status, range) {
        (206, Some((_, length))) if all.len() == length as usize => Ok(all),
        (206, _) => Err(Refused("the storage sends another part than was asked for".to_owned())),
        (_, None) => Ok(all),
        // A server that knows no ranges sends everything.
        (_, Some((offset, length))) => {
            let (from, to) = (offset as usize, offset as usize + length as usize);
            match to <= all.len() {
                true => Ok(all.slice(from..to)),
                false => Err(Refused("it is shorter than it should be".to_owned())),
            }
        }
    }
}
