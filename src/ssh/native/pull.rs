//! Output of any length, taken at the speed of whoever reads it.
//!
//! The connection has one reader for all channels. While nobody takes a piece it waits, and with it
//! the host: that is what keeps a dump of any size out of memory.

use super::super::output::within;
use super::super::{COMPLAINTS, NOBODY, Pulled, Receiver, SessionError, Stream};
use super::exec::Running;
use super::link::Link;
use crate::shell::Cmd;

pub async fn run(link: &Link, cmd: &Cmd, into: &Receiver) -> Result<Pulled, SessionError> {
    within(cmd, take(link, cmd, into)).await
}

async fn take(link: &Link, cmd: &Cmd, into: &Receiver) -> Result<Pulled, SessionError> {
    let mut running = Running::start(link, &cmd.line()).await?;
    let (mut source, write) = running.split();
    let feed = super::exec::feed(write, cmd.input().bytes());
    tokio::pin!(feed);
    let (mut fed, mut stderr) = (false, Vec::new());
    loop {
        let mut piece = None;
        let end = {
            let mut sink = |stream, chunk: &[u8]| match stream {
                Stream::Stdout => piece = Some(chunk.to_vec()),
                Stream::Stderr => keep(&mut stderr, chunk),
            };
            tokio::select! {
                () = &mut feed, if !fed => {
                    fed = true;
                    None
                }
                end = source.step(&mut sink) => end,
            }
        };
        if let Some(piece) = piece
            && into.send(piece).await.is_err()
        {
            return Err(SessionError::Failed(NOBODY.to_owned()));
        }
        if let Some(end) = end {
            return end.map(|exit| Pulled { exit, stderr });
        }
    }
}

fn keep(stderr: &mut Vec<u8>, chunk: &[u8]) {
    stderr.extend_from_slice(chunk);
    if stderr.len() > 2 * COMPLAINTS {
        stderr.drain(..stderr.len() - COMPLAINTS);
    }
}
