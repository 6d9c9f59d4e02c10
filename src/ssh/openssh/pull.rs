//! Output of any length, taken at the speed of whoever reads it: the pipe fills, and the master waits.

use std::io;
use std::os::fd::AsFd as _;

use tokio::io::AsyncWriteExt as _;
use tokio::time::{Instant, sleep_until, timeout};

use super::super::output::{GRACE, LINGER};
use super::super::{COMPLAINTS, NOBODY, Pulled, Receiver, SessionError};
use super::exec::{PIECE, Running, inlet, nothing, outlet, read};
use super::master::Master;
use super::mux::News;
use crate::shell::Cmd;

pub async fn run(master: &Master, cmd: &Cmd, into: &Receiver) -> Result<Pulled, SessionError> {
    let work = take(master, cmd, into);
    match cmd.limit() {
        None => work.await,
        Some(limit) => timeout(limit + GRACE, work).await.unwrap_or(Err(SessionError::TimedOut(limit))),
    }
}

async fn take(master: &Master, cmd: &Cmd, into: &Receiver) -> Result<Pulled, SessionError> {
    let input = cmd.input().bytes();
    let here = |error: io::Error| SessionError::Refused(format!("no streams for a command: {error}"));
    let (stdin, theirs_in) = if input.is_empty() { nothing() } else { inlet() }.map_err(here)?;
    let (mut stdout, theirs_out) = outlet().map_err(here)?;
    let (mut stderr, theirs_err) = outlet().map_err(here)?;
    let streams = [theirs_in.as_fd(), theirs_out.as_fd(), theirs_err.as_fd()];
    let mut running = Running::start(master, &cmd.line(), streams).await?;
    drop((theirs_in, theirs_out, theirs_err));
    let feed = async move {
        if let Some(mut stdin) = stdin {
            // A command may end without reading all: that is no fault of it.
            let _ = stdin.write_all(input).await;
        }
    };
    tokio::pin!(feed);
    let (mut fed, mut closed, mut exit, mut patience) = (false, false, None, Instant::now());
    let (mut one, mut two, mut said) = (vec![0; PIECE], vec![0; PIECE], Vec::new());
    while !closed || stdout.is_some() || stderr.is_some() {
        tokio::select! {
            count = read(&mut stdout, &mut one), if stdout.is_some() => match count {
                0 => stdout = None,
                count => {
                    if into.send(one[..count].to_vec()).await.is_err() {
                        return Err(SessionError::Failed(NOBODY.to_owned()));
                    }
                    patience = Instant::now() + LINGER;
                }
            },
            count = read(&mut stderr, &mut two), if stderr.is_some() => match count {
                0 => stderr = None,
                count => {
                    patience = Instant::now() + LINGER;
                    said.extend_from_slice(&two[..count]);
                    if said.len() > 2 * COMPLAINTS {
                        said.drain(..said.len() - COMPLAINTS);
                    }
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
            () = sleep_until(patience), if exit.is_some() => break,
        }
    }
    let exit = running.end(exit).await?;
    if stdout.is_some() {
        return Err(SessionError::Lost("the host ended the command and not its output".to_owned()));
    }
    Ok(Pulled { exit, stderr: said })
}
