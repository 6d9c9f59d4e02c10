//! A TCP proxy that can fall silent (the link stays up and nothing passes any more), take only so much, or
//! be far away.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream, tcp};
use tokio::sync::{Notify, mpsc};

pub struct Proxy {
    pub port: u16,
    pub connections: Arc<AtomicUsize>,
    silent: Arc<AtomicBool>,
    full: Arc<Notify>,
    turns: Arc<Mutex<Count>>,
}

/// Whose turn it is.
#[derive(Default)]
struct Count {
    count: usize,
    since: Option<Instant>,
    waiting: bool,
}

impl Count {
    /// Pieces of one answer may come apart: a round trip lasts twice the delay.
    fn spoke(&mut self, now: Instant, delay: Duration) {
        let long_ago = self.since.is_none_or(|since| now - since > delay * 8 / 5);
        if long_ago && !self.waiting {
            *self = Count { count: self.count + 1, since: Some(now), waiting: true };
        }
    }
}

impl Proxy {
    /// Listens on `host` and passes everything on to `to`, a port of the same address.
    pub async fn start(host: &str, to: u16) -> Self {
        Self::narrow(host, to, usize::MAX).await
    }

    /// Passes no more than so many bytes on to the far end of each connection; more has to wait for ever.
    pub async fn narrow(host: &str, to: u16, limit: usize) -> Self {
        let listener = TcpListener::bind((host, 0)).await.unwrap();
        let proxy = Proxy {
            port: listener.local_addr().unwrap().port(),
            connections: Arc::default(),
            silent: Arc::default(),
            full: Arc::default(),
            turns: Arc::default(),
        };
        let full = Arc::clone(&proxy.full);
        let (host, count, silent) = (host.to_owned(), proxy.connections.clone(), proxy.silent.clone());
        tokio::spawn(async move {
            while let Ok((near, _)) = listener.accept().await {
                count.fetch_add(1, Ordering::SeqCst);
                let far = TcpStream::connect((host.as_str(), to)).await.unwrap();
                let (near_read, near_write) = near.into_split();
                let (far_read, far_write) = far.into_split();
                tokio::spawn(pass(near_read, far_write, silent.clone(), Some((limit, full.clone()))));
                tokio::spawn(pass(far_read, near_write, silent.clone(), None));
            }
        });
        proxy
    }

    /// Passes everything on so much later, each way, and counts round trips of that length.
    pub async fn far(host: &str, to: u16, delay: Duration) -> Self {
        let listener = TcpListener::bind((host, 0)).await.unwrap();
        let proxy = Proxy {
            port: listener.local_addr().unwrap().port(),
            connections: Arc::default(),
            silent: Arc::default(),
            full: Arc::default(),
            turns: Arc::default(),
        };
        let (host, turns) = (host.to_owned(), Arc::clone(&proxy.turns));
        tokio::spawn(async move {
            while let Ok((near, _)) = listener.accept().await {
                let far = TcpStream::connect((host.as_str(), to)).await.unwrap();
                let (near_read, near_write) = near.into_split();
                let (far_read, far_write) = far.into_split();
                tokio::spawn(late(near_read, far_write, delay, Arc::clone(&turns), true));
                tokio::spawn(late(far_read, near_write, delay, Arc::clone(&turns), false));
            }
        });
        proxy
    }

    /// How often the near side spoke after an answer had come, a round trip after it last did.
    pub fn round_trips(&self) -> usize {
        self.turns.lock().unwrap().count
    }

    /// The limit was reached: something waits.
    pub async fn full(&self) {
        self.full.notified().await;
    }

    pub fn fall_silent(&self) {
        self.silent.store(true, Ordering::SeqCst);
    }
}

async fn pass(
    mut from: tcp::OwnedReadHalf,
    mut to: tcp::OwnedWriteHalf,
    silent: Arc<AtomicBool>,
    limit: Option<(usize, Arc<Notify>)>,
) {
    let mut buffer = vec![0; 64 << 10];
    let mut passed = 0;
    while let Ok(count @ 1..) = from.read(&mut buffer).await {
        passed += count;
        let full = limit.as_ref().filter(|(limit, _)| passed > *limit);
        if let Some((_, full)) = full {
            full.notify_one();
        }
        if full.is_some() || silent.load(Ordering::SeqCst) {
            // Both ends stay open and hear nothing.
            return std::future::pending().await;
        }
        if to.write_all(&buffer[..count]).await.is_err() {
            return;
        }
    }
}

/// Carries one direction, each piece `delay` after it came.
async fn late(
    mut from: tcp::OwnedReadHalf,
    mut to: tcp::OwnedWriteHalf,
    delay: Duration,
    turns: Arc<Mutex<Count>>,
    from_near: bool,
) {
    let (queue, mut queued) = mpsc::unbounded_channel::<(Instant, Vec<u8>)>();
    let answered = Arc::clone(&turns);
    tokio::spawn(async move {
        while let Some((due, piece)) = queued.recv().await {
            tokio::time::sleep_until(due.into()).await;
            if to.write_all(&piece).await.is_err() {
                return;
            }
            if !from_near {
                answered.lock().unwrap().waiting = false;
            }
        }
    });
    let mut buffer = vec![0; 64 << 10];
    while let Ok(count @ 1..) = from.read(&mut buffer).await {
        let now = Instant::now();
        if from_near {
            turns.lock().unwrap().spoke(now, delay);
        }
        if queue.send((now + delay, buffer[..count].to_vec())).is_err() {
            return;
        }
    }
}
