//! Output of any length, taken at the speed of whoever reads it: the pipe fills, and the master waits.

use tokio::time::{Instant, sleep_until};

use super::super::output::{LINGER, within};
use super::super::{COMPLAINTS, NOBODY, Pulled, Receiver, SessionError};
use super::exec::{PIECE, Streams, read, write};
use super::master::Master;
use super::mux::News;
use crate::shell::Cmd;

pub async fn run(master: &Master, cmd: &Cmd, into: &Receiver) -> Result<Pulled, SessionError> {
    within(cmd, take(master, cmd, into)).await
}

async fn take(master: &Master, cmd: &Cmd, into: &Receiver) -> Result<Pulled, SessionError> {
    let input = cmd.input().bytes();
    let streams = Streams::open(master, cmd, !input.is_empty()).await?;
    let Streams { mut running, stdin, mut stdout, mut stderr } = streams;
    let feed = write(stdin, input);
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
            _ = &mut feed, if !fed => fed = true,
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
