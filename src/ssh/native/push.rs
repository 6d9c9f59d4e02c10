//! Input of any length, given at the speed of whoever reads it: the channel's window is the brake.

use russh::ChannelWriteHalf;
use russh::client::Msg;

use super::super::output::{Gathered, within};
use super::super::{CUT, Output, Piece, SessionError, Sink, Supply};
use super::exec::Running;
use super::link::Link;
use crate::shell::Cmd;

pub async fn run(
    link: &Link,
    cmd: &Cmd,
    from: &mut Supply,
    sink: Option<Sink<'_>>,
) -> Result<Output, SessionError> {
    within(cmd, give(link, cmd, from, sink)).await
}

async fn give(
    link: &Link,
    cmd: &Cmd,
    from: &mut Supply,
    sink: Option<Sink<'_>>,
) -> Result<Output, SessionError> {
    let mut gathered = Gathered::new(sink);
    let mut running = Running::start(link, &cmd.line()).await?;
    let exit = {
        let (mut source, write) = running.split();
        let feed = feed(write, from);
        tokio::pin!(feed);
        let mut take = |stream, chunk: &[u8]| gathered.take(stream, chunk);
        let mut fed = false;
        loop {
            tokio::select! {
                whole = &mut feed, if !fed => {
                    fed = true;
                    if !whole {
                        return Err(SessionError::Failed(CUT.to_owned()));
                    }
                }
                end = source.step(&mut take) => if let Some(end) = end {
                    break end?;
                },
            }
        }
    };
    drop(running);
    Ok(gathered.output(exit))
}

/// Whether all of it was given, or nobody reads it any more: then the command's end says why.
async fn feed(write: Option<&ChannelWriteHalf<Msg>>, from: &mut Supply) -> bool {
    let Some(write) = write else { return true };
    loop {
        match from.recv().await {
            Some(Piece::Data(piece)) => {
                if write.data_bytes(piece).await.is_err() {
                    return true;
                }
            }
            Some(Piece::End) => {
                let _ = write.eof().await;
                return true;
            }
            None => return false,
        }
    }
}
