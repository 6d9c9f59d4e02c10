//! Input of any length, given at the speed of whoever reads it: the pipe is the brake.

use tokio::io::AsyncWriteExt as _;
use tokio::net::unix::pipe;

use super::super::output::within;
use super::super::{Output, Piece, SessionError, Sink, Supply};
use super::exec::Streams;
use super::master::Master;
use crate::shell::Cmd;

pub async fn run(
    master: &Master,
    cmd: &Cmd,
    from: &mut Supply,
    sink: Option<Sink<'_>>,
) -> Result<Output, SessionError> {
    within(cmd, give(master, cmd, from, sink)).await
}

async fn give(
    master: &Master,
    cmd: &Cmd,
    from: &mut Supply,
    sink: Option<Sink<'_>>,
) -> Result<Output, SessionError> {
    let mut streams = Streams::open(master, cmd, true).await?;
    let stdin = streams.stdin.take();
    streams.gather(feed(stdin, from), sink).await
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
