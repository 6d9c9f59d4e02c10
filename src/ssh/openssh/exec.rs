//! Commands that join the master: one channel each, read and written at once.

use std::io;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::unix::pipe;
use tokio::time::{Instant, sleep, sleep_until, timeout};

use super::super::output::{GRACE, Gathered, LINGER};
use super::super::slots::{self, Slot};
use super::super::{Exit, Output, SessionError, Sink, Stream};
use super::master::Master;
use super::mux::{self, Joined, News, Refusal};
use crate::shell::Cmd;

/// Read at once.
const PIECE: usize = 64 << 10;

/// After how long the only channel of a connection is asked for again; then the host is believed.
const PAUSES: [Duration; 5] = [
    Duration::from_millis(20),
    Duration::from_millis(60),
    Duration::from_millis(180),
    Duration::from_millis(500),
    Duration::from_secs(1),
];

/// A command that was started on streams of the caller.
pub struct Running<'m> {
    master: &'m Master,
    joined: Joined,
    _slot: Slot<'m>,
}

impl<'m> Running<'m> {
    pub async fn start(
        master: &'m Master,
        line: &str,
        streams: [BorrowedFd<'_>; 3],
    ) -> Result<Self, SessionError> {
        if line.contains('\0') || line.len() > mux::LONGEST - 1024 {
            return Err(SessionError::Refused("a command is too long or holds a zero byte".to_owned()));
        }
        let mut pauses = PAUSES.iter();
        loop {
            let slot = master.slots.take().await;
            match mux::open(master.socket(), line, streams).await {
                Ok(joined) => return Ok(Running { master, joined, _slot: slot }),
                Err(Refusal::Channel(reason)) => {
                    if slot.fewer() {
                        continue;
                    }
                    // A command that is over for us may still hold its channel on the host.
                    if let Some(pause) = pauses.next() {
                        sleep(*pause).await;
                        continue;
                    }
                    return Err(slots::exhausted(&reason));
                }
                Err(Refusal::Master(error)) => return Err(gone(master, &error).await),
            }
        }
    }

    /// What is told next of it. Safe to cancel.
    pub async fn news(&mut self) -> News {
        self.joined.next().await
    }

    /// Its end, when no more news will come. A connection that broke closes all streams just as an
    /// ended command does: only a living master vouches for their being whole.
    pub async fn end(&self, exit: Option<u32>) -> Result<Exit, SessionError> {
        if !self.master.alive().await {
            return Err(SessionError::Lost(self.master.end()));
        }
        // Its protocol has no word for a signal: it says nothing at all.
        Ok(exit.map_or_else(|| Exit::Signal("UNKNOWN".to_owned()), Exit::Code))
    }
}

/// Runs a command to its end.
pub async fn run(master: &Master, cmd: &Cmd, sink: Option<Sink<'_>>) -> Result<Output, SessionError> {
    let work = collect(master, cmd, sink);
    match cmd.limit() {
        None => work.await,
        Some(limit) => timeout(limit + GRACE, work).await.unwrap_or(Err(SessionError::TimedOut(limit))),
    }
}

async fn collect(master: &Master, cmd: &Cmd, sink: Option<Sink<'_>>) -> Result<Output, SessionError> {
    let input = cmd.input().bytes();
    let here = |error: io::Error| SessionError::Refused(format!("no streams for a command: {error}"));
    let (stdin, theirs_in) = if input.is_empty() { nothing() } else { inlet() }.map_err(here)?;
    let (mut stdout, theirs_out) = outlet().map_err(here)?;
    let (mut stderr, theirs_err) = outlet().map_err(here)?;
    let streams = [theirs_in.as_fd(), theirs_out.as_fd(), theirs_err.as_fd()];
    let mut running = Running::start(master, &cmd.line(), streams).await?;
    // Only the master holds these ends from here: their closing is told to us.
    drop((theirs_in, theirs_out, theirs_err));

    let feed = async move {
        if let Some(mut stdin) = stdin {
            // A command may end without reading all: that is no fault of it.
            let _ = stdin.write_all(input).await;
        }
    };
    tokio::pin!(feed);
    let mut gathered = Gathered::new(sink);
    let (mut fed, mut closed, mut exit, mut patience) = (false, false, None, Instant::now());
    let (mut one, mut two) = (vec![0; PIECE], vec![0; PIECE]);
    while !closed || stdout.is_some() || stderr.is_some() {
        tokio::select! {
            count = read(&mut stdout, &mut one), if stdout.is_some() => match count {
                0 => stdout = None,
                count => {
                    patience = Instant::now() + LINGER;
                    gathered.take(Stream::Stdout, &one[..count]);
                }
            },
            count = read(&mut stderr, &mut two), if stderr.is_some() => match count {
                0 => stderr = None,
                count => {
                    patience = Instant::now() + LINGER;
                    gathered.take(Stream::Stderr, &two[..count]);
                }
            },
            () = &mut feed, if !fed => fed = true,
            news = running.news(), if !closed => {
                patience = Instant::now() + LINGER;
                match news {
                    News::Exit(code) => exit = Some(code),
                    News::Closed => closed = true,
                }
            }
            // A child that it left behind may keep its output open for ever.
            () = sleep_until(patience), if exit.is_some() => break,
        }
    }
    let exit = running.end(exit).await?;
    Ok(gathered.output(exit))
}

/// A pipe that we read, and its other end.
pub fn outlet() -> io::Result<(Option<pipe::Receiver>, OwnedFd)> {
    let (writer, reader) = pipe::pipe()?;
    Ok((Some(reader), writer.into_blocking_fd()?))
}

/// A pipe that we write, and its other end.
fn inlet() -> io::Result<(Option<pipe::Sender>, OwnedFd)> {
    let (writer, reader) = pipe::pipe()?;
    Ok((Some(writer), reader.into_blocking_fd()?))
}

/// For a command that is given nothing.
fn nothing() -> io::Result<(Option<pipe::Sender>, OwnedFd)> {
    Ok((None, std::fs::File::open("/dev/null")?.into()))
}

pub async fn read(stream: &mut Option<impl AsyncRead + Unpin>, buffer: &mut [u8]) -> usize {
    match stream {
        Some(stream) => stream.read(buffer).await.unwrap_or(0),
        None => 0,
    }
}

async fn gone(master: &Master, error: &io::Error) -> SessionError {
    if master.alive().await {
        SessionError::Lost(super::super::host_keys::reason(error))
    } else {
        SessionError::Lost(master.end())
    }
}
