//! Commands that join the master: one channel each, read and written at once.

use std::io;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::unix::pipe;
use tokio::time::{Instant, sleep, sleep_until};

use super::super::output::{Gathered, LINGER, within};
use super::super::slots::{self, Slot};
use super::super::{CUT, Exit, Output, SessionError, Sink, Stream};
use super::master::Master;
use super::mux::{self, Joined, News, Refusal};
use crate::shell::Cmd;

/// Read at once.
pub const PIECE: usize = 64 << 10;

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
    within(cmd, collect(master, cmd, sink)).await
}

async fn collect(master: &Master, cmd: &Cmd, sink: Option<Sink<'_>>) -> Result<Output, SessionError> {
    let input = cmd.input().bytes();
    let mut streams = Streams::open(master, cmd, !input.is_empty()).await?;
    let stdin = streams.stdin.take();
    streams.gather(write(stdin, input), sink).await
}

/// All of what is at hand. A command may end without reading it: that is no fault of it.
pub async fn write(stdin: Option<pipe::Sender>, input: &[u8]) -> bool {
    if let Some(mut stdin) = stdin {
        let _ = stdin.write_all(input).await;
    }
    true
}

/// A command with our ends of its streams.
pub struct Streams<'m> {
    pub running: Running<'m>,
    /// `None` for a command that is given nothing.
    pub stdin: Option<pipe::Sender>,
    pub stdout: Option<pipe::Receiver>,
    pub stderr: Option<pipe::Receiver>,
}

impl<'m> Streams<'m> {
    pub async fn open(master: &'m Master, cmd: &Cmd, input: bool) -> Result<Self, SessionError> {
        let here = |error: io::Error| SessionError::Refused(format!("no streams for a command: {error}"));
        let (stdin, theirs_in) = if input { inlet() } else { nothing() }.map_err(here)?;
        let (stdout, theirs_out) = outlet().map_err(here)?;
        let (stderr, theirs_err) = outlet().map_err(here)?;
        let theirs = [theirs_in.as_fd(), theirs_out.as_fd(), theirs_err.as_fd()];
        // Only the master holds these ends afterwards: their closing is told to us.
        let running = Running::start(master, &cmd.line(), theirs).await?;
        Ok(Streams { running, stdin, stdout, stderr })
    }

    /// What it says, to its end. `feed` gives it its input, and says whether all of that was there.
    pub async fn gather(
        self,
        feed: impl Future<Output = bool>,
        sink: Option<Sink<'_>>,
    ) -> Result<Output, SessionError> {
        let Streams { mut running, stdin: _, mut stdout, mut stderr } = self;
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
                whole = &mut feed, if !fed => {
                    fed = true;
                    if !whole {
                        return Err(SessionError::Failed(CUT.to_owned()));
                    }
                }
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
