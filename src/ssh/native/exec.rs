//! Commands on an open connection: one channel each, read and written at once.
//!
//! The request is sent without waiting for its answer, which saves a round trip; a refusal
//! arrives among the output. Whatever a channel receives is taken from it at once: all channels
//! share one reader, and one that is not emptied would hold up the others.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use russh::client::Msg;
use russh::{ChannelMsg, ChannelReadHalf, ChannelWriteHalf, Sig};
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::timeout;

use super::super::{Exit, Output, SessionError, Sink, Stream, clean};
use super::link::Link;
use crate::shell::Cmd;

/// sshd's own default of MaxSessions: more at once would be refused.
const SESSIONS: usize = 10;
/// How much later than the host we give up a command that has a limit.
const GRACE: Duration = Duration::from_secs(15);
/// How long output may lag behind the exit of the command: a child that it left behind may keep
/// the output open for ever.
const LINGER: Duration = Duration::from_secs(10);
/// Most output kept of a stream.
const KEPT: usize = 16 << 20;
/// Input is handed over in pieces of this size.
const PIECE: usize = 256 << 10;

/// Channels that may be open at once. A host that allows fewer teaches us so by refusing.
pub struct Slots {
    free: Semaphore,
    used: AtomicUsize,
}

impl Default for Slots {
    fn default() -> Self {
        Slots { free: Semaphore::new(SESSIONS), used: AtomicUsize::new(0) }
    }
}

/// Holds a slot, from before the channel is asked for until it is closed.
struct Slot<'a> {
    used: &'a AtomicUsize,
    counted: bool,
    permit: Option<SemaphorePermit<'a>>,
}

impl<'a> Slot<'a> {
    fn take(used: &'a AtomicUsize, permit: SemaphorePermit<'a>) -> Self {
        used.fetch_add(1, Ordering::SeqCst);
        Slot { used, counted: true, permit: Some(permit) }
    }

    /// The host refused a channel: from now on one slot less, unless this was the only one.
    fn fewer(mut self) -> bool {
        // Counted by whoever leaves: of several that are refused at once the last one sees no other.
        let others = self.used.fetch_sub(1, Ordering::SeqCst) > 1;
        if let (true, Some(permit)) = (others, self.permit.take()) {
            permit.forget();
        }
        self.counted = false;
        others
    }
}

impl Drop for Slot<'_> {
    fn drop(&mut self) {
        if self.counted {
            self.used.fetch_sub(1, Ordering::SeqCst);
        }
    }
}

/// A command that was started.
pub struct Running<'a> {
    read: ChannelReadHalf,
    /// There until it is dropped.
    write: Option<ChannelWriteHalf<Msg>>,
    ending: Ending,
    link: &'a Link,
    _slot: Slot<'a>,
}

#[derive(Default)]
pub struct Ending {
    exit: Option<Exit>,
    eof: bool,
    closed: bool,
}

impl<'a> Running<'a> {
    pub async fn start(link: &'a Link, line: &str) -> Result<Self, SessionError> {
        let (read, write, slot) = loop {
            // Never closed, so there is always a permit to come.
            let Ok(permit) = link.slots.free.acquire().await else {
                return Err(SessionError::Lost(link.end()));
            };
            let slot = Slot::take(&link.slots.used, permit);
            match link.handle.channel_open_session().await {
                Ok(channel) => {
                    let (read, write) = channel.split();
                    break (read, write, slot);
                }
                Err(russh::Error::ChannelOpenFailure(reason)) => {
                    if slot.fewer() {
                        continue;
                    }
                    return Err(SessionError::Refused(format!(
                        "the host opens no channel for a command ({}): see MaxSessions in its \
                         /etc/ssh/sshd_config",
                        clean::line(reason.description()).to_lowercase()
                    )));
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
        let feed = async move {
            let Some(write) = write else { return };
            for piece in input.chunks(PIECE) {
                // A command may end without reading all: that is no fault of it.
                if write.data_bytes(piece.to_vec()).await.is_err() {
                    return;
                }
            }
            let _ = write.eof().await;
        };
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
    let work = collect(link, cmd, sink);
    match cmd.limit() {
        None => work.await,
        Some(limit) => timeout(limit + GRACE, work).await.unwrap_or(Err(SessionError::TimedOut(limit))),
    }
}

async fn collect(link: &Link, cmd: &Cmd, mut sink: Option<Sink<'_>>) -> Result<Output, SessionError> {
    let (mut stdout, mut stderr, mut truncated) = (Vec::new(), Vec::new(), false);
    let mut running = Running::start(link, &cmd.line()).await?;
    let exit = running
        .finish(cmd.input().bytes(), &mut |stream, chunk| {
            if let Some(sink) = sink.as_deref_mut() {
                sink(stream, chunk);
            }
            let kept: &mut Vec<u8> = match stream {
                Stream::Stdout => &mut stdout,
                Stream::Stderr => &mut stderr,
            };
            let room = KEPT.saturating_sub(kept.len());
            truncated |= chunk.len() > room;
            kept.extend_from_slice(&chunk[..chunk.len().min(room)]);
        })
        .await?;
    drop(running);
    Ok(Output { exit, stdout, stderr, truncated })
}
