//! The parent's side: takes rsync's streams over and joins them to a channel.

use std::io::{self, IoSliceMut};
use std::os::fd::{AsFd as _, OwnedFd};
use std::sync::atomic::{AtomicUsize, Ordering};

use rustix::fs::FileType;
use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, Interest};
use tokio::net::unix::pipe;
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::mpsc;

use super::super::native::{Link, Running};
use super::super::openssh::{self, Master, News};
use super::super::{Exit, SessionError, Stream};
use super::Carrier;

/// Most that may wait for a local rsync that does not read. Its own protocol stays far below.
const WAITING: usize = 64 << 20;
/// Most of the host's complaints that is kept.
const COMPLAINTS: usize = 64 << 10;
/// Longest remote command of rsync.
const COMMAND: usize = 1 << 20;
/// Read at once from rsync; a channel's packets hold 32 KiB.
const PIECE: usize = 64 << 10;

/// How rsync on the host ended and what it said.
pub struct Remote {
    pub end: Result<Exit, SessionError>,
    pub stderr: Vec<u8>,
}

/// Waits for the helper, serves it once, and tells it the exit code.
pub async fn serve(carrier: Carrier<'_>, listener: &UnixListener) -> Remote {
    let mut stderr = Vec::new();
    let end = converse(carrier, listener, &mut stderr).await;
    Remote { end, stderr }
}

async fn converse(
    carrier: Carrier<'_>,
    listener: &UnixListener,
    stderr: &mut Vec<u8>,
) -> Result<Exit, SessionError> {
    let local = |error: io::Error| SessionError::Failed(format!("rsync's helper failed: {error}"));
    let (mut helper, _) = listener.accept().await.map_err(local)?;
    let (input, output, command) = receive(&mut helper).await.map_err(local)?;
    let end = match carrier {
        Carrier::Channel(link) => {
            let (input, output) = (reader(input).map_err(local)?, writer(output).map_err(local)?);
            join(link, &command, input, output, stderr).await
        }
        Carrier::Master(master) => hand_on(master, &command, input, output, stderr).await,
    };
    let code = match &end {
        Ok(Exit::Code(code)) => u8::try_from(*code).unwrap_or(255),
        Ok(Exit::Signal(_)) | Err(_) => 255,
    };
    // The helper may be gone when rsync gave up first.
    let _ = helper.write_all(&[code]).await;
    end
}

type Input = Box<dyn AsyncRead + Send + Unpin>;
type Sink = Box<dyn AsyncWrite + Send + Unpin>;

async fn receive(helper: &mut UnixStream) -> io::Result<(OwnedFd, OwnedFd, String)> {
    let mut streams: Vec<OwnedFd> = Vec::new();
    while streams.is_empty() {
        helper.readable().await?;
        match helper.try_io(Interest::READABLE, || descriptors(helper)) {
            Ok(found) => streams = found,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
    }
    let length = helper.read_u32().await? as usize;
    if length > COMMAND {
        return Err(io::Error::other("its command is too long"));
    }
    let mut command = vec![0; length];
    helper.read_exact(&mut command).await?;
    let command = String::from_utf8(command).map_err(|_| io::Error::other("its command is not text"))?;
    let (Some(output), Some(input)) = (streams.pop(), streams.pop()) else {
        return Err(io::Error::other("it passed no streams"));
    };
    Ok((input, output, command))
}

fn descriptors(helper: &UnixStream) -> io::Result<Vec<OwnedFd>> {
    let mut space = [std::mem::MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(2))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let mut byte = [0];
    let flags = RecvFlags::CMSG_CLOEXEC;
    let got = recvmsg(helper, &mut [IoSliceMut::new(&mut byte)], &mut control, flags)?;
    let mut found = Vec::new();
    for message in control.drain() {
        if let RecvAncillaryMessage::ScmRights(rights) = message {
            found.extend(rights);
        }
    }
    if got.bytes == 0 || found.len() != 2 {
        return Err(io::Error::other("it passed no streams"));
    }
    Ok(found)
}

/// rsync uses socket pairs; pipes are for builds of it without them.
fn reader(stream: OwnedFd) -> io::Result<Input> {
    if is_socket(&stream)? {
        Ok(Box::new(socket(stream)?))
    } else {
        Ok(Box::new(pipe::Receiver::from_owned_fd(stream)?))
    }
}

fn writer(stream: OwnedFd) -> io::Result<Sink> {
    if is_socket(&stream)? {
        Ok(Box::new(socket(stream)?))
    } else {
        Ok(Box::new(pipe::Sender::from_owned_fd(stream)?))
    }
}

fn is_socket(stream: &OwnedFd) -> io::Result<bool> {
    Ok(FileType::from_raw_mode(rustix::fs::fstat(stream)?.st_mode) == FileType::Socket)
}

fn socket(stream: OwnedFd) -> io::Result<UnixStream> {
    let stream = std::os::unix::net::UnixStream::from(stream);
    stream.set_nonblocking(true)?;
    UnixStream::from_std(stream)
}

/// Runs the command on rsync's own streams: the master reads and writes them itself.
async fn hand_on(
    master: &Master,
    command: &str,
    input: OwnedFd,
    output: OwnedFd,
    stderr: &mut Vec<u8>,
) -> Result<Exit, SessionError> {
    let here = |error: io::Error| SessionError::Failed(format!("rsync's helper failed: {error}"));
    let (mut said, theirs) = openssh::outlet().map_err(here)?;
    let streams = [input.as_fd(), output.as_fd(), theirs.as_fd()];
    let mut running = openssh::Running::start(master, command, streams).await?;
    // rsync must see the end of its streams when the master closes them.
    drop((input, output, theirs));
    let (mut closed, mut exit, mut buffer) = (false, None, vec![0; 8 << 10]);
    while !closed {
        tokio::select! {
            count = openssh::read(&mut said, &mut buffer), if said.is_some() => match count {
                0 => said = None,
                count => keep(stderr, &buffer[..count]),
            },
            news = running.news() => match news {
                News::Exit(code) => exit = Some(code),
                News::Closed => closed = true,
            },
        }
    }
    while let count @ 1.. = openssh::read(&mut said, &mut buffer).await {
        keep(stderr, &buffer[..count]);
    }
    running.end(exit).await
}

fn keep(stderr: &mut Vec<u8>, chunk: &[u8]) {
    let room = COMPLAINTS.saturating_sub(stderr.len());
    stderr.extend_from_slice(&chunk[..chunk.len().min(room)]);
}

/// Runs the command with rsync's streams as its own.
async fn join(
    link: &Link,
    command: &str,
    mut input: Input,
    mut output: Sink,
    stderr: &mut Vec<u8>,
) -> Result<Exit, SessionError> {
    let mut running = Running::start(link, command).await?;
    let (mut source, write) = running.split();
    let up = async {
        let Some(write) = write else { return };
        let mut buffer = vec![0; PIECE];
        // Reading ends when rsync closes; writing when the channel does, which the other side tells.
        while let Ok(count @ 1..) = input.read(&mut buffer).await {
            if write.data_bytes(buffer[..count].to_vec()).await.is_err() {
                return;
            }
        }
        let _ = write.eof().await;
    };
    // What the host sends is taken at once, whether rsync reads or not: all channels of the connection
    // share one reader, and rsync's writing must never wait for its own reading.
    let waiting = AtomicUsize::new(0);
    let (queue, mut queued) = mpsc::unbounded_channel::<Vec<u8>>();
    let down = async {
        while let Some(chunk) = queued.recv().await {
            waiting.fetch_sub(chunk.len(), Ordering::Relaxed);
            if output.write_all(&chunk).await.is_err() {
                // rsync is gone; it says why by its exit.
                return;
            }
        }
        let _ = output.shutdown().await;
    };
    let read = async {
        let mut queue = Some(queue);
        loop {
            let mut flood = false;
            let end = source
                .step(&mut |stream, chunk| match stream {
                    Stream::Stdout => {
                        flood = waiting.fetch_add(chunk.len(), Ordering::Relaxed) > WAITING;
                        if let Some(queue) = &queue {
                            // Nobody takes it when rsync is gone.
                            let _ = queue.send(chunk.to_vec());
                        }
                    }
                    Stream::Stderr => keep(stderr, chunk),
                })
                .await;
            if flood {
                return Err(SessionError::Failed("the host sends more than rsync asks for".to_owned()));
            }
            if let Some(end) = end {
                queue.take();
                return end;
            }
        }
    };
    tokio::pin!(up);
    let mut fed = false;
    let both = async { tokio::join!(read, down).0 };
    tokio::pin!(both);
    loop {
        tokio::select! {
            () = &mut up, if !fed => fed = true,
            end = &mut both => return end,
        }
    }
}
