//! Commands on an open connection: one channel each, read and written at once.
//!
//! The request is sent without waiting for its answer, which saves a round trip; a refusal
//! arrives among the output. Whatever a channel receives is taken from it at once: all channels
//! share one reader, and one that is not emptied would hold up the others.

use std::time::Duration;

use russh::client::Msg;
use russh::{ChannelMsg, ChannelReadHalf, ChannelWriteHalf, Sig};
use tokio::time::timeout;

use super::super::output::{Gathered, LINGER, within};
use super::super::slots::{self, Slot};
use super::super::{Exit, Output, SessionError, Sink, Stream, clean};
use super::link::Link;
use crate::shell::Cmd;

/// Input is handed over in pieces of this size.
const PIECE: usize = 256 << 10;

/// A command that was started.
pub struct Running<'a> {
    read: ChannelReadHalf,
    /// There until it is dropped.
    write: Option<ChannelWriteHalf<Msg>>,
    ending: Ending,
    link: &'a Link,
    _slot: Slot<'a>,
}

/// After how long the only channel of a connection is asked for again; then the host is believed.
const PAUSES: [Duration; 5] = [
    Duration::from_millis(20),
    Duration::from_millis(60),
    Duration::from_millis(180),
    Duration::from_millis(500),
    Duration::from_secs(1),
];

#[derive(Default)]
pub struct Ending {
    exit: Option<Exit>,
    eof: bool,
    closed: bool,
}

impl<'a> Running<'a> {
    pub async fn start(link: &'a Link, line: &str) -> Result<Self, SessionError> {
        let mut pauses = PAUSES.iter();
        let (read, write, slot) = loop {
            let slot = link.slots.take().await;
            match link.handle.channel_open_session().await {
                Ok(channel) => {
                    let (read, write) = channel.split();
                    break (read, write, slot);
                }
                Err(russh::Error::ChannelOpenFailure(reason)) => {
                    if slot.fewer() {
                        continue;
                    }
                    // A command that is over for us may still hold its channel on the host.
                    if let Some(pause) = pauses.next() {
                        tokio::time::sleep(*pause).await;
                        continue;
                    }
                    return Err(slots::exhausted(reason.description()));
                }
                Err(_) => return Err(SessionError::Lost(link.end())),
            }
        };
        let started = write.exec(true, line).await;
        let running = Running { read, write: Some(write), ending: Ending::default(), link, _slot: slot };
        match started {
            Ok(()) => Ok(running),
            Err(_) => Err(SessionError::Lost(link.end())),
        }
    }

    /// Both directions apart, for who has streams of its own to join.
    pub fn split(&mut self) -> (Source<'_, 'a>, Option<&ChannelWriteHalf<Msg>>) {
        let source = Source { read: &mut self.read, ending: &mut self.ending, link: self.link };
        (source, self.write.as_ref())
    }

    /// Reads and writes until the command ended; chunks go to `take` as they come.
    pub async fn finish(
        &mut self,
        input: &[u8],
        take: &mut (dyn FnMut(Stream, &[u8]) + Send),
    ) -> Result<Exit, SessionError> {
        let (mut source, write) = self.split();
        let feed = feed(write, input);
        tokio::pin!(feed);
        let mut fed = false;
        loop {
            tokio::select! {
                () = &mut feed, if !fed => fed = true,
                message = source.next() => if let Some(end) = source.take(message, take) {
                    return end;
                },
            }
        }
    }
}

/// Gives a command its input.
pub async fn feed(write: Option<&ChannelWriteHalf<Msg>>, input: &[u8]) {
    let Some(write) = write else { return };
    for piece in input.chunks(PIECE) {
        // A command may end without reading all: that is no fault of it.
        if write.data_bytes(piece.to_vec()).await.is_err() {
            return;
        }
    }
    let _ = write.eof().await;
}

/// The host's half of a running command.
pub struct Source<'r, 'a> {
    read: &'r mut ChannelReadHalf,
    ending: &'r mut Ending,
    link: &'a Link,
}

impl Source<'_, '_> {
    /// One message: `Some` when the command is over.
    pub async fn step(
        &mut self,
        take: &mut (dyn FnMut(Stream, &[u8]) + Send),
    ) -> Option<Result<Exit, SessionError>> {
        let message = self.next().await;
        self.take(message, take)
    }

    /// What comes next; silence after the exit counts as its end. Safe to cancel.
    async fn next(&mut self) -> Option<ChannelMsg> {
        if self.ending.exit.is_some() {
            timeout(LINGER, self.read.wait()).await.unwrap_or(None)
        } else {
            self.read.wait().await
        }
    }

    fn take(
        &mut self,
        message: Option<ChannelMsg>,
        sink: &mut (dyn FnMut(Stream, &[u8]) + Send),
    ) -> Option<Result<Exit, SessionError>> {
        match message {
            Some(ChannelMsg::Data { data }) => sink(Stream::Stdout, &data),
            Some(ChannelMsg::ExtendedData { data, ext: 1 }) => sink(Stream::Stderr, &data),
            Some(ChannelMsg::ExitStatus { exit_status }) => self.ending.exit = Some(Exit::Code(exit_status)),
            Some(ChannelMsg::ExitSignal { signal_name, .. }) => {
                self.ending.exit = Some(Exit::Signal(signal(&signal_name)));
            }
            Some(ChannelMsg::Eof) => self.ending.eof = true,
            Some(ChannelMsg::Failure) => {
                return Some(Err(SessionError::Refused(
                    "the host refuses to run commands for this user".to_owned(),
                )));
            }
            Some(ChannelMsg::Close) => {
                self.ending.closed = true;
                return Some(self.ending.exit.take().ok_or_else(|| {
                    SessionError::Lost("the host ended the command without telling how".to_owned())
                }));
            }
            Some(_) => {}
            None => {
                // After the exit: either the output was left open by a child, which is over for us,
                // or the connection broke before all of it came.
                let whole = self.ending.eof || !self.link.handle.is_closed();
                return Some(match self.ending.exit.take() {
                    Some(exit) if whole => Ok(exit),
                    _ => Err(SessionError::Lost(self.link.end())),
                });
            }
        }
        None
    }
}

impl Drop for Running<'_> {
    /// A command that is given up is told so, and its channel is freed on the host.
    fn drop(&mut self) {
        if self.ending.closed || self.link.handle.is_closed() {
            return;
        }
        if let (Some(write), Ok(runtime)) = (self.write.take(), tokio::runtime::Handle::try_current()) {
            runtime.spawn(async move {
                // The connection may end meanwhile, which does the same.
                let _ = write.signal(Sig::TERM).await;
                let _ = write.close().await;
            });
        }
    }
}

fn signal(name: &Sig) -> String {
    match name {
        Sig::Custom(name) => clean::line(name),
        known => format!("{known:?}"),
    }
}

/// Runs a command to its end.
pub async fn run(link: &Link, cmd: &Cmd, sink: Option<Sink<'_>>) -> Result<Output, SessionError> {
    within(cmd, collect(link, cmd, sink)).await
}

async fn collect(link: &Link, cmd: &Cmd, sink: Option<Sink<'_>>) -> Result<Output, SessionError> {
    let mut gathered = Gathered::new(sink);
    let mut running = Running::start(link, &cmd.line()).await?;
    let exit = running.finish(cmd.input().bytes(), &mut |stream, chunk| gathered.take(stream, chunk)).await?;
    drop(running);
    Ok(gathered.output(exit))
}
