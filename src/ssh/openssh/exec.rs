//! Commands that join the master: one channel each, read and written at once.

use std::error::Error as _;
use std::os::unix::process::ExitStatusExt as _;
use std::time::Duration;

use ::openssh::{Child, Error, Session, Stdio};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::time::{Instant, sleep, sleep_until, timeout};

use super::super::output::{GRACE, Gathered, LINGER};
use super::super::slots::{self, Slot};
use super::super::{Exit, Output, SessionError, Sink, Stream};
use super::master::Master;
use crate::shell::Cmd;

/// Read at once.
const PIECE: usize = 64 << 10;

/// After how long a refused channel is asked for again; after the last the host is believed.
const PAUSES: [Duration; 4] = [
    Duration::from_millis(20),
    Duration::from_millis(60),
    Duration::from_millis(180),
    Duration::from_millis(1),
];

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
    let (mut child, _slot) = start(master, cmd).await?;
    let (stdin, mut stdout, mut stderr) =
        (child.stdin().take(), child.stdout().take(), child.stderr().take());
    let feed = async move {
        if let Some(mut stdin) = stdin {
            // A command may end without reading all: that is no fault of it.
            let _ = stdin.write_all(input).await;
        }
    };
    let wait = child.wait();
    tokio::pin!(feed, wait);
    let mut gathered = Gathered::new(sink);
    let (mut fed, mut ended, mut patience) = (false, None, Instant::now());
    let (mut one, mut two) = (vec![0; PIECE], vec![0; PIECE]);
    while ended.is_none() || stdout.is_some() || stderr.is_some() {
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
                count => gathered.take(Stream::Stderr, &two[..count]),
            },
            () = &mut feed, if !fed => fed = true,
            end = &mut wait, if ended.is_none() => {
                ended = Some(end);
                patience = Instant::now() + LINGER;
            }
            () = sleep_until(patience), if ended.is_some() => break,
        }
    }
    let exit = match ended {
        Some(Ok(status)) => {
            Exit::Code(status.code().map_or_else(|| status.into_raw().unsigned_abs(), i32::cast_unsigned))
        }
        // The crate takes this exit code for an error of its own.
        Some(Err(Error::Remote(error))) if error.kind() == std::io::ErrorKind::NotFound => Exit::Code(127),
        // The multiplexing protocol has no word for a signal: it says nothing at all.
        Some(Err(error)) if matches!(error, Error::RemoteProcessTerminated) && master.alive().await => {
            Exit::Signal("UNKNOWN".to_owned())
        }
        Some(Err(error)) => return Err(gone(master, &error).await),
        None => return Err(SessionError::Lost(master.end())),
    };
    Ok(gathered.output(exit))
}

async fn start<'m>(master: &'m Master, cmd: &Cmd) -> Result<(Child<&'m Session>, Slot<'m>), SessionError> {
    loop {
        let slot = master.slots.take().await;
        for pause in PAUSES {
            let mut command = master.session.raw_command(cmd.line());
            command.stdin(if cmd.input().bytes().is_empty() { Stdio::null() } else { Stdio::piped() });
            command.stdout(Stdio::piped()).stderr(Stdio::piped());
            match command.spawn().await {
                Ok(child) => return Ok((child, slot)),
                // A command that is over for us may still hold its channel on the host for a moment.
                Err(error) if told(&error).contains("open refused") => sleep(pause).await,
                Err(Error::InvalidCommand) => {
                    return Err(SessionError::Refused("a command cannot hold a zero byte".to_owned()));
                }
                Err(error) => return Err(gone(master, &error).await),
            }
        }
        if !slot.fewer() {
            return Err(slots::exhausted("open failed"));
        }
    }
}

async fn read(stream: &mut Option<impl tokio::io::AsyncRead + Unpin>, buffer: &mut [u8]) -> usize {
    match stream {
        Some(stream) => stream.read(buffer).await.unwrap_or(0),
        None => 0,
    }
}

/// The error with its causes.
fn told(error: &Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        text = format!("{text}: {inner}");
        cause = inner.source();
    }
    text
}

async fn gone(master: &Master, error: &Error) -> SessionError {
    if master.alive().await {
        SessionError::Lost(super::super::clean::line(&told(error)))
    } else {
        SessionError::Lost(master.end())
    }
}
