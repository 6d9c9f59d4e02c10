//! How a command joins a running master: OpenSSH's `PROTOCOL.mux`, version 4, over its socket.
//!
//! The streams of the command are handed over as descriptors; after that the socket only tells the
//! exit status, and its end that the channel is closed and all output was written. Of our own and not
//! of a library: the ones there are hang up as soon as the exit status is there, and a master takes
//! that for "not interested any more". It throws away what it has not written yet
//! (`mux_master_control_cleanup_cb` in OpenSSH's mux.c), so the end of a large output is lost.

use std::io::{self, IoSlice};
use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;

use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, Interest};
use tokio::net::UnixStream;

const VERSION: u32 = 4;
const HELLO: u32 = 0x0000_0001;
const NEW_SESSION: u32 = 0x1000_0002;
const PERMISSION_DENIED: u32 = 0x8000_0002;
const FAILURE: u32 = 0x8000_0003;
const EXIT_MESSAGE: u32 = 0x8000_0004;
const SESSION_OPENED: u32 = 0x8000_0006;
/// No escape character.
const NO_ESCAPE: u32 = u32::MAX;
/// Longest message that either side takes (`CHANNEL_MUX_MAX_PACKET`).
pub const LONGEST: usize = 256 << 10;

/// Why a command did not start.
#[derive(Debug)]
pub enum Refusal {
    /// The host opens no channel for it.
    Channel(String),
    /// The master is gone, or is no master.
    Master(io::Error),
}

impl From<io::Error> for Refusal {
    fn from(error: io::Error) -> Self {
        Refusal::Master(error)
    }
}

/// A command that runs. Dropped, its channel is closed.
#[derive(Debug)]
pub struct Joined {
    control: UnixStream,
    /// Of a message that has not come whole yet.
    begun: Vec<u8>,
}

/// What the master tells of a running command.
#[derive(Debug, PartialEq, Eq)]
pub enum News {
    Exit(u32),
    /// The channel is closed, and what came through it was written.
    Closed,
}

/// Starts a command with these as its standard input, output and error.
pub async fn open(socket: &Path, command: &str, streams: [BorrowedFd<'_>; 3]) -> Result<Joined, Refusal> {
    let mut joined = greet(socket).await?;
    let mut request = Packet::of(NEW_SESSION);
    // Request id, a reserved string, no terminal, no X11, no agent, no subsystem.
    request.word(0).text("").word(0).word(0).word(0).word(0);
    request.word(NO_ESCAPE).text("").text(command);
    joined.control.write_all(&request.whole()).await?;
    for stream in streams {
        joined.pass(stream).await?;
    }
    let answer = joined.message().await?.ok_or(io::Error::from(io::ErrorKind::UnexpectedEof))?;
    match answer.first() {
        Some(SESSION_OPENED) => Ok(joined),
        Some(FAILURE | PERMISSION_DENIED) => Err(Refusal::Channel(answer.reason())),
        _ => Err(unexpected(&answer).into()),
    }
}

/// Whether a master answers there.
pub async fn alive(socket: &Path) -> bool {
    greet(socket).await.is_ok()
}

async fn greet(socket: &Path) -> io::Result<Joined> {
    let control = UnixStream::connect(socket).await?;
    let mut joined = Joined { control, begun: Vec::new() };
    let mut hello = Packet::of(HELLO);
    hello.word(VERSION);
    joined.control.write_all(&hello.whole()).await?;
    let answer = joined.message().await?.ok_or(io::ErrorKind::UnexpectedEof)?;
    if (answer.first(), answer.at(1)) == (Some(HELLO), Some(VERSION)) {
        Ok(joined)
    } else {
        Err(unexpected(&answer))
    }
}

fn unexpected(answer: &Packet) -> io::Error {
    io::Error::other(format!("ssh's master answers {:x?}", answer.first()))
}

impl Joined {
    /// What happens next. Safe to cancel.
    pub async fn next(&mut self) -> News {
        loop {
            match self.message().await {
                Ok(Some(message)) if message.first() == Some(EXIT_MESSAGE) => {
                    return News::Exit(message.at(2).unwrap_or(255));
                }
                // Whatever else it tells changes nothing.
                Ok(Some(_)) => {}
                // However the socket ends: nothing more will come.
                Ok(None) | Err(_) => return News::Closed,
            }
        }
    }

    /// The next whole message; nothing at the end.
    async fn message(&mut self) -> io::Result<Option<Packet>> {
        loop {
            if let Some((length, _)) = self.begun.split_first_chunk::<4>() {
                let whole = 4 + u32::from_be_bytes(*length) as usize;
                if whole > LONGEST {
                    return Err(io::Error::other("ssh's master sends a message without end"));
                }
                if self.begun.len() >= whole {
                    let rest = self.begun.split_off(whole);
                    return Ok(Some(Packet(std::mem::replace(&mut self.begun, rest))));
                }
            }
            if self.control.read_buf(&mut self.begun).await? == 0 {
                return Ok(None);
            }
        }
    }

    async fn pass(&self, stream: BorrowedFd<'_>) -> io::Result<()> {
        loop {
            self.control.writable().await?;
            let sent = self.control.try_io(Interest::WRITABLE, || {
                let streams = [stream];
                let mut space = [std::mem::MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
                let mut control = SendAncillaryBuffer::new(&mut space);
                if !control.push(SendAncillaryMessage::ScmRights(&streams)) {
                    return Err(io::Error::other("no room for the descriptor"));
                }
                let flags = SendFlags::NOSIGNAL;
                Ok(sendmsg(self.control.as_fd(), &[IoSlice::new(&[0])], &mut control, flags)?)
            });
            match sent {
                Ok(_) => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
        }
    }
}

/// A message with its length in front: words of 32 bits, strings with theirs.
#[derive(Debug)]
struct Packet(Vec<u8>);

impl Packet {
    fn of(kind: u32) -> Self {
        let mut packet = Packet(vec![0; 4]);
        packet.word(kind);
        packet
    }

    fn word(&mut self, word: u32) -> &mut Self {
        self.0.extend(word.to_be_bytes());
        self
    }

    fn text(&mut self, text: &str) -> &mut Self {
        // The caller keeps it below the longest message.
        self.word(text.len() as u32);
        self.0.extend(text.as_bytes());
        self
    }

    fn whole(mut self) -> Vec<u8> {
        let length = (self.0.len() - 4) as u32;
        self.0[..4].copy_from_slice(&length.to_be_bytes());
        self.0
    }

    fn first(&self) -> Option<u32> {
        self.at(0)
    }

    /// A word of the body.
    fn at(&self, index: usize) -> Option<u32> {
        self.0.get(4 * (index + 1)..)?.first_chunk().map(|word| u32::from_be_bytes(*word))
    }

    /// The string after kind and request id.
    fn reason(&self) -> String {
        String::from_utf8_lossy(self.0.get(16..).unwrap_or_default()).into_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_laid_out_as_the_protocol_says() {
        let mut request = Packet::of(NEW_SESSION);
        request.word(7).text("").text("ls");
        let bytes = request.whole();
        assert_eq!(bytes, b"\0\0\0\x12\x10\0\0\x02\0\0\0\x07\0\0\0\0\0\0\0\x02ls");
        let mut failure = Packet::of(FAILURE);
        failure.word(7).text("no");
        let failure = Packet(failure.whole());
        assert_eq!((failure.first(), failure.at(1), failure.reason()), (Some(FAILURE), Some(7), "no".into()));
        assert_eq!(failure.at(4), None);
    }

    #[tokio::test]
    async fn messages_come_in_any_pieces_and_the_end_is_told() {
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        let mut joined = Joined { control: ours, begun: Vec::new() };
        let mut exit = Packet::of(EXIT_MESSAGE);
        exit.word(1).word(42);
        let exit = exit.whole();
        theirs.write_all(&exit[..5]).await.unwrap();
        let early = tokio::time::timeout(std::time::Duration::from_millis(20), joined.next()).await;
        assert!(early.is_err(), "{early:?}");
        theirs.write_all(&exit[5..]).await.unwrap();
        assert_eq!(joined.next().await, News::Exit(42));
        theirs.write_all(&[0xff; 8]).await.unwrap();
        assert_eq!(joined.next().await, News::Closed, "a message without end");
        drop(theirs);
        let (ours, theirs) = UnixStream::pair().unwrap();
        drop(theirs);
        assert_eq!(Joined { control: ours, begun: Vec::new() }.next().await, News::Closed);
    }
}
