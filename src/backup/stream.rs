//! One stream of a host, read where waiting is allowed: unpacked, counted, hashed, limited, and proved
//! by the exit of the program that wrote it.

use std::io::{self, BufRead, BufReader, Read};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::{mpsc, oneshot};

use super::error::BackupError;
use super::throttle::Throttle;
use crate::ops::backup::Packing;
use crate::shell::Cmd;
use crate::ssh::{Exit, Pulled, Session, SessionError};
use crate::words::bytes;

/// Pieces that wait between the connection and the reader.
const WAITING: usize = 64;
/// Longest first line of a stream.
const LONGEST_HEAD: u64 = 200;
/// Lines of a host's complaints that are shown.
const LINES: usize = 8;

/// What every stream of one backup shares.
#[derive(Clone)]
pub struct Line {
    pub session: Arc<dyn Session>,
    pub runtime: Handle,
    pub throttle: Arc<Throttle>,
    /// Bytes that came over the wire so far.
    pub wire: Arc<AtomicU64>,
    /// Most bytes of one stream, unpacked.
    pub limit: u64,
    /// Longest time in which nothing comes.
    pub silence: Duration,
    /// Told how many bytes came, unpacked.
    pub progress: Arc<dyn Fn(u64) + Send + Sync>,
}

/// Judges a stream that came to its end: how the program ended, and how many bytes there were.
pub type Judge = Box<dyn FnOnce(&Pulled, u64) -> Result<(), BackupError> + Send>;

impl Line {
    /// Starts a program on the host whose output is packed (see `ops::backup`).
    pub fn open(&self, what: &str, cmd: Cmd, judge: Judge) -> Result<Stream, BackupError> {
        let (sender, pieces) = mpsc::channel(WAITING);
        let (done, end) = oneshot::channel();
        let session = Arc::clone(&self.session);
        self.runtime.spawn(async move {
            let pulled = session.pull(&cmd, &sender).await;
            // The end is known before the reader can see that no piece follows.
            let _ = done.send(pulled);
            drop(sender);
        });
        let raw = Raw { pieces, piece: Vec::new(), at: 0, line: self.clone() };
        Ok(Stream {
            what: what.to_owned(),
            state: State::New(Box::new(BufReader::with_capacity(64 << 10, raw))),
            end: Some(end),
            judge: Some(judge),
            count: 0,
            limit: self.limit,
            progress: Arc::clone(&self.progress),
        })
    }

    /// The next piece; nothing at the end. For a thread that may wait.
    pub(super) fn next(&self, pieces: &mut mpsc::Receiver<Vec<u8>>) -> io::Result<Option<Vec<u8>>> {
        let next = async { tokio::time::timeout(self.silence, pieces.recv()).await };
        let Ok(piece) = self.runtime.block_on(next) else {
            let why = format!("nothing came for {} s", self.silence.as_secs());
            return Err(io::Error::new(io::ErrorKind::TimedOut, why));
        };
        self.wire.fetch_add(piece.as_ref().map_or(0, Vec::len) as u64, Ordering::Relaxed);
        Ok(piece)
    }
}

/// The packed bytes as they come.
struct Raw {
    pieces: mpsc::Receiver<Vec<u8>>,
    piece: Vec<u8>,
    at: usize,
    line: Line,
}

impl Read for Raw {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        while self.at == self.piece.len() {
            match self.line.next(&mut self.pieces)? {
                None => return Ok(0),
                Some(piece) => {
                    self.line.throttle.take(piece.len() as u64);
                    (self.piece, self.at) = (piece, 0);
                }
            }
        }
        let count = into.len().min(self.piece.len() - self.at);
        into[..count].copy_from_slice(&self.piece[self.at..self.at + count]);
        self.at += count;
        Ok(count)
    }
}

type Packed = Box<BufReader<Raw>>;

enum State {
    New(Packed),
    Zstd(Box<zstd::stream::read::Decoder<'static, BufReader<Raw>>>),
    Gzip(Box<flate2::bufread::MultiGzDecoder<BufReader<Raw>>>),
    Over,
}

/// The unpacked bytes. It reads to its end without an error only when the program on the host ended
/// well; every read fills the buffer, since the library cuts its own short after one that does not.
pub struct Stream {
    what: String,
    state: State,
    end: Option<oneshot::Receiver<Result<Pulled, SessionError>>>,
    judge: Option<Judge>,
    count: u64,
    limit: u64,
    progress: Arc<dyn Fn(u64) + Send + Sync>,
}

impl Stream {
    /// Fills the buffer as far as there is anything.
    ///
    /// # Errors
    /// Everything but an honest end.
    pub fn fill(&mut self, into: &mut [u8]) -> Result<usize, BackupError> {
        let mut filled = 0;
        while filled < into.len() {
            match self.some(&mut into[filled..])? {
                0 => break,
                count => filled += count,
            }
        }
        if filled > 0 {
            (self.progress)(filled as u64);
        }
        Ok(filled)
    }

    fn some(&mut self, into: &mut [u8]) -> Result<usize, BackupError> {
        if let State::New(_) = self.state {
            self.begin()?;
        }
        let read = match &mut self.state {
            State::New(_) | State::Over => return Ok(0),
            State::Zstd(unpack) => unpack.read(into),
            State::Gzip(unpack) => unpack.read(into),
        };
        match read {
            Ok(0) => self.over().map(|()| 0),
            Ok(count) => {
                self.count += count as u64;
                if self.count > self.limit {
                    let limit = bytes(self.limit);
                    return Err(BackupError::TooLarge { what: self.what.clone(), limit });
                }
                Ok(count)
            }
            Err(error) => Err(self.broken(&error)),
        }
    }

    /// Reads the line that names the packing.
    fn begin(&mut self) -> Result<(), BackupError> {
        let State::New(mut packed) = std::mem::replace(&mut self.state, State::Over) else { return Ok(()) };
        let mut line = Vec::new();
        let read = Read::by_ref(&mut packed).take(LONGEST_HEAD).read_until(b'\n', &mut line);
        let head = String::from_utf8_lossy(&line);
        match Packing::of(head.trim_end_matches('\n')) {
            Some(Packing::Zstd) => {
                let unpack =
                    zstd::stream::read::Decoder::with_buffer(*packed).map_err(|error| self.broken(&error))?;
                self.state = State::Zstd(Box::new(unpack));
            }
            Some(Packing::Gzip) => {
                self.state = State::Gzip(Box::new(flate2::bufread::MultiGzDecoder::new(*packed)));
            }
            None if read.is_ok() && line.is_empty() => return self.over(),
            None if let Err(error) = &read => return Err(self.broken(error)),
            None => return Err(self.corrupt("it does not begin as it should")),
        }
        Ok(())
    }

    /// The stream unpacked to its end: now the program's own end counts.
    fn over(&mut self) -> Result<(), BackupError> {
        self.state = State::Over;
        let pulled = self.pulled()?;
        if let Some(judge) = self.judge.take() {
            judge(&pulled, self.count)?;
        }
        Ok(())
    }

    fn pulled(&mut self) -> Result<Pulled, BackupError> {
        let cut = |why: String| BackupError::Cut { what: self.what.clone(), why };
        match self.end.take().map(oneshot::Receiver::blocking_recv) {
            Some(Ok(Ok(pulled))) => Ok(pulled),
            Some(Ok(Err(error))) => Err(cut(error.to_string())),
            Some(Err(_)) | None => Err(cut("the connection went away".to_owned())),
        }
    }

    /// What ends before it unpacked was cut by a program that failed or by the link; anything else was
    /// never right.
    fn broken(&mut self, error: &io::Error) -> BackupError {
        self.state = State::Over;
        if error.kind() == io::ErrorKind::TimedOut {
            return BackupError::Cut { what: self.what.clone(), why: error.to_string() };
        }
        if error.kind() != io::ErrorKind::UnexpectedEof {
            return self.corrupt(&error.to_string());
        }
        match self.pulled() {
            Ok(pulled) if !pulled.exit.success() => remote(&self.what, &pulled),
            Ok(_) => self.corrupt("it ends in the middle"),
            Err(error) => error,
        }
    }

    fn corrupt(&self, why: &str) -> BackupError {
        BackupError::Corrupt { what: self.what.clone(), why: crate::secret::clean(why).into_owned() }
    }
}

/// A program that ended badly, with its last words.
#[must_use]
pub fn remote(what: &str, pulled: &Pulled) -> BackupError {
    let text = crate::secret::clean_bytes(&pulled.stderr);
    let mut lines: Vec<String> = text
        .lines()
        .filter(|line| !line.trim().is_empty() && !line.starts_with("fleet-"))
        .map(str::to_owned)
        .collect();
    let said = lines.iter().rposition(|line| line.starts_with("fleet: ")).map(|index| lines.remove(index));
    let why = match (said, &pulled.exit) {
        (Some(said), _) => said.trim_start_matches("fleet: ").to_owned(),
        (None, Exit::Code(code)) => format!("exit code {code}"),
        (None, Exit::Signal(name)) => format!("killed by SIG{name}"),
    };
    lines.drain(..lines.len().saturating_sub(LINES));
    BackupError::Remote { what: what.to_owned(), why, lines }
}

/// Judges by the exit alone, and refuses nothing at all.
#[must_use]
pub fn must_succeed(what: &str) -> Judge {
    let what = what.to_owned();
    Box::new(move |pulled, count| {
        if !pulled.exit.success() {
            return Err(remote(&what, pulled));
        }
        if count == 0 { Err(BackupError::Empty { what }) } else { Ok(()) }
    })
}
