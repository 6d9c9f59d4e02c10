//! A TCP proxy that can fall silent (the link stays up and nothing passes any more), or take only
//! so much.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream, tcp};
use tokio::sync::Notify;

pub struct Proxy {
    pub port: u16,
    pub connections: Arc<AtomicUsize>,
    silent: Arc<AtomicBool>,
    full: Arc<Notify>,
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
