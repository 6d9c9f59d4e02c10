//! Input of any length, given at the speed of whoever reads it: the pipe is the brake.

use std::io;
use std::os::fd::AsFd as _;

use tokio::io::AsyncWriteExt as _;
use tokio::net::unix::pipe;
use tokio::time::{Instant, sleep_until, timeout};

use super::super::output::{GRACE, Gathered, LINGER};
use super::super::{CUT, Output, Piece, SessionError, Sink, Stream, Supply};
use super::exec::{PIECE, Running, inlet, outlet, read};
use super::master::Master;
use super::mux::News;
use crate::shell::Cmd;

pub async fn run(
    master: &Master,
    cmd: &Cmd,
    from: &mut Supply,
    sink: Option<Sink<'_>>,
) -> Result<Output, SessionError> {
    let work = give(master, cmd, from, sink);
    match cmd.limit() {
        None => work.await,
        Some(limit) => timeout(limit + GRACE, work).await.unwrap_or(Err(SessionError::TimedOut(limit))),
    }
}

async fn give(
    master: &Master,
    cmd: &Cmd,
    from: &mut Supply,
    sink: Option<Sink<'_>>,
) -> Result<Output, SessionError> {
    let here = |error: io::Error| SessionError::Refused(format!("no streams for a command: {error}"));
    let (stdin, theirs_in) = inlet().map_err(here)?;
    let (mut stdout, theirs_out) = outlet().map_err(here)?;
    let (mut stderr, theirs_err) = outlet().map_err(here)?;
    let streams = [theirs_in.as_fd(), theirs_out.as_fd(), theirs_err.as_fd()];
    let mut running = Running::start(master, &cmd.line(), streams).await?;
    drop((theirs_in, theirs_out, theirs_err));
    let feed = feed(stdin, from);
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

/// Whether all of it was given, or nobody reads it any more: then the command's end says why.
async fn feed(stdin: Option<pipe::Sender>, from: &mut Supply) -> bool {
    let Some(mut stdin) = stdin else { return true };
    loop {
        match from.recv().await {
            Some(Piece::Data(piece)) => {
                if stdin.write_all(&piece).await.is_err() {
                    return true;
                }
            }
            Some(Piece::End) => return true,
            None => return false,
        }
    }
}
