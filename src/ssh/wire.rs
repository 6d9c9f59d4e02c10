//! The byte stream under a session: dialled in time, read in large pieces, never stuck in a write.
//!
//! The SSH library notices a silent host while it reads (keepalives) but not while it writes;
//! [`Wire`] gives up a write that makes no progress at all. Nor does it stop by itself when the
//! login was given up: until [`Patience::settle`] a read ends at the deadline.

use std::future::Future as _;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, BufReader, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Instant, Sleep, sleep, sleep_until, timeout_at};

use super::error::{ConnectError, Place, Stage};
use super::host_keys::reason;

/// Longest time that a write may wait without a byte going out.
const WRITE_STALL: Duration = Duration::from_secs(60);

/// Reads after which acknowledgements are sent at once; see [`Wire::tcp`].
const QUICK_READS: u32 = 64;

/// How much of the host's first words is kept for messages.
const FIRST_WORDS: usize = 512;

/// What a host said first: its greeting, or that of another service.
pub type FirstWords = Arc<Mutex<Vec<u8>>>;

/// Until when the login may take; shared by both ends of the effort.
#[derive(Clone)]
pub struct Patience {
    deadline: Instant,
    settled: Arc<AtomicBool>,
}

impl Patience {
    pub fn until(deadline: Instant) -> Self {
        Patience { deadline, settled: Arc::default() }
    }

    /// The login is done: from now on silence is the keepalives' business.
    pub fn settle(&self) {
        self.settled.store(true, Ordering::Relaxed);
    }
}

/// A stream with the manners above.
pub struct Wire<S> {
    inner: S,
    patience: Option<(Patience, Pin<Box<Sleep>>)>,
    quicken: Option<fn(&S)>,
    reads: u32,
    stall: Option<Pin<Box<Sleep>>>,
    first: FirstWords,
}

impl Wire<TcpStream> {
    /// Without a terminal sshd leaves Nagle's algorithm on: each short answer of two segments waits for
    /// our delayed acknowledgement, 40 ms. Acknowledging the first reads at once removes that
    /// (Linux falls back to delaying by itself, so it is asked for again each time).
    pub fn tcp(stream: TcpStream, first: FirstWords, patience: Patience) -> BufReader<Self> {
        // Both are speed only; without them everything still works.
        let _ = stream.set_nodelay(true);
        let quicken: fn(&TcpStream) = |stream| {
            let _ = rustix::net::sockopt::set_tcp_quickack(stream, true);
        };
        Self::wrap(stream, Some(quicken), first, patience)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Wire<S> {
    /// Any other stream, such as a channel through a jump host.
    pub fn plain(stream: S, first: FirstWords, patience: Patience) -> BufReader<Self> {
        Self::wrap(stream, None, first, patience)
    }

    fn wrap(inner: S, quicken: Option<fn(&S)>, first: FirstWords, patience: Patience) -> BufReader<Self> {
        let bell = Box::pin(sleep_until(patience.deadline));
        let patience = Some((patience, bell));
        // Pages of the buffer that nothing touches cost nothing.
        BufReader::with_capacity(64 * 1024, Wire { inner, patience, quicken, reads: 0, stall: None, first })
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Wire<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        let before = buf.filled().len();
        if Pin::new(&mut this.inner).poll_read(cx, buf)?.is_pending() {
            if let Some((patience, bell)) = &mut this.patience {
                if patience.settled.load(Ordering::Relaxed) {
                    this.patience = None;
                } else if bell.as_mut().poll(cx).is_ready() {
                    return Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "no login in time")));
                }
            }
            return Poll::Pending;
        }
        if this.reads < QUICK_READS {
            this.reads += 1;
            if let Some(quicken) = this.quicken {
                quicken(&this.inner);
            }
            let mut first = this.first.lock().unwrap_or_else(PoisonError::into_inner);
            let room = FIRST_WORDS.saturating_sub(first.len());
            first.extend(buf.filled()[before..].iter().take(room));
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Wire<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let this = &mut *self;
        match Pin::new(&mut this.inner).poll_write(cx, buf) {
            Poll::Ready(done) => {
                this.stall = None;
                Poll::Ready(done)
            }
            Poll::Pending => {
                let stall = this.stall.get_or_insert_with(|| Box::pin(sleep(WRITE_STALL)));
                ready!(stall.as_mut().poll(cx));
                Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "the host takes no more data")))
            }
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}

/// Connects to the first address that answers. A silent address may only use its share of the time,
/// so that a dead IPv6 route does not hide a living IPv4 one.
pub async fn dial(place: &Place, deadline: Instant, limit: Duration) -> Result<TcpStream, ConnectError> {
    let late = |stage| ConnectError::TimedOut { place: place.clone(), stage, limit };
    let addresses = match timeout_at(deadline, lookup(place)).await {
        Ok(found) => found?,
        Err(_) => return Err(late(Stage::Lookup)),
    };
    let mut fault = late(Stage::Connect);
    for (index, address) in addresses.iter().enumerate() {
        let now = Instant::now();
        let share = deadline.saturating_duration_since(now) / (addresses.len() - index) as u32;
        fault = match timeout_at(now + share, TcpStream::connect(address)).await {
            Ok(Ok(stream)) => return Ok(stream),
            Ok(Err(error)) => why(place, address, &error, limit),
            Err(_) => late(Stage::Connect),
        };
    }
    Err(fault)
}

async fn lookup(place: &Place) -> Result<Vec<SocketAddr>, ConnectError> {
    if let Ok(ip) = place.host.parse::<IpAddr>() {
        return Ok(vec![SocketAddr::new(ip, place.port)]);
    }
    let dns = |cause: String| ConnectError::Dns { host: place.host.clone(), cause };
    let found = tokio::net::lookup_host((place.host.as_str(), place.port)).await;
    let mut addresses: Vec<SocketAddr> = found.map_err(|error| dns(resolver(&error)))?.collect();
    addresses.dedup();
    if addresses.is_empty() { Err(dns("the name has none".to_owned())) } else { Ok(addresses) }
}

/// `failed to lookup address information: Name or service not known` without its preamble.
fn resolver(error: &io::Error) -> String {
    let text = error.to_string();
    text.rsplit(": ").next().unwrap_or(&text).to_lowercase()
}

fn why(place: &Place, address: &SocketAddr, error: &io::Error, limit: Duration) -> ConnectError {
    let place = place.clone();
    match error.kind() {
        io::ErrorKind::ConnectionRefused => ConnectError::Refused { place },
        io::ErrorKind::TimedOut => ConnectError::TimedOut { place, stage: Stage::Connect, limit },
        _ => {
            let by_name = address.ip().to_string() != place.host;
            let through = if by_name { format!(" ({})", address.ip()) } else { String::new() };
            ConnectError::Unreachable { place, cause: format!("{}{through}", reason(error)) }
        }
    }
}
