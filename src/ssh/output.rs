//! What a command says, gathered the same way by every transport.

use std::time::Duration;

use tokio::time::timeout;

use super::{Exit, Output, SessionError, Sink, Stream};
use crate::shell::Cmd;

/// How much later than the host we give up a command that has a limit.
const GRACE: Duration = Duration::from_secs(15);
/// How long output may lag behind the exit of the command: a child that it left behind may keep
/// the output open for ever.
pub const LINGER: Duration = Duration::from_secs(10);
/// Most output kept of a stream.
const KEPT: usize = 16 << 20;

/// Gives a command up that its host should have ended by itself.
pub async fn within<T>(
    cmd: &Cmd,
    work: impl Future<Output = Result<T, SessionError>>,
) -> Result<T, SessionError> {
    match cmd.limit() {
        None => work.await,
        Some(limit) => timeout(limit + GRACE, work).await.unwrap_or(Err(SessionError::TimedOut(limit))),
    }
}

/// Passes chunks on and keeps their beginning.
pub struct Gathered<'a> {
    sink: Option<Sink<'a>>,
    stdout: Vec<u8>,
    stderr: Vec<u8>,
    truncated: bool,
}

impl<'a> Gathered<'a> {
    pub fn new(sink: Option<Sink<'a>>) -> Self {
        Gathered { sink, stdout: Vec::new(), stderr: Vec::new(), truncated: false }
    }

    pub fn take(&mut self, stream: Stream, chunk: &[u8]) {
        if let Some(sink) = self.sink.as_deref_mut() {
            sink(stream, chunk);
        }
        let kept = match stream {
            Stream::Stdout => &mut self.stdout,
            Stream::Stderr => &mut self.stderr,
        };
        let room = KEPT.saturating_sub(kept.len());
        self.truncated |= chunk.len() > room;
        kept.extend_from_slice(&chunk[..chunk.len().min(room)]);
    }

    pub fn output(self, exit: Exit) -> Output {
        Output { exit, stdout: self.stdout, stderr: self.stderr, truncated: self.truncated }
    }
}
