//! Names and ports as they are seen from here. Every look has its time, and all are at once.

use std::net::{IpAddr, SocketAddr, TcpStream, ToSocketAddrs as _};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError, mpsc};
use std::time::Duration;

use crate::doctor::{Port, Reach};
use crate::registry::Client;
use crate::registry::values::Address;

const LIMIT: Duration = Duration::from_secs(5);
/// Clients looked at at once.
const AT_ONCE: usize = 64;

pub struct Seen {
    /// Each name of the client and what it resolves to; `None` when it has no answer.
    pub names: Vec<(String, Option<Vec<IpAddr>>)>,
    /// What `host` resolves to, where the registry has a name for the server.
    pub host: Option<Vec<IpAddr>>,
    pub ports: Vec<Port>,
    pub ssh: Reach,
}

/// In the order of the clients.
pub fn look(clients: &[&Client]) -> Vec<Seen> {
    let next = AtomicUsize::new(0);
    let found: Mutex<Vec<(usize, Seen)>> = Mutex::default();
    std::thread::scope(|scope| {
        for _ in 0..AT_ONCE.min(clients.len()) {
            scope.spawn(|| {
                while let Some((at, client)) = {
                    let at = next.fetch_add(1, Ordering::Relaxed);
                    clients.get(at).map(|client| (at, client))
                } {
                    let seen = one(client);
                    found.lock().unwrap_or_else(PoisonError::into_inner).push((at, seen));
                }
            });
        }
    });
    let mut found = found.into_inner().unwrap_or_else(PoisonError::into_inner);
    found.sort_by_key(|(at, _)| *at);
    found.into_iter().map(|(_, seen)| seen).collect()
}

fn one(client: &Client) -> Seen {
    let names = std::iter::once(&client.domain).chain(&client.aliases);
    let names: Vec<_> = names.map(|name| (name.to_string(), resolve(name))).collect();
    let host = match &client.address {
        Address::Ip(_) => None,
        Address::Host(name) => resolve(name),
    };
    let ip = match &client.address {
        Address::Ip(ip) => Some(*ip),
        Address::Host(_) => host.as_ref().and_then(|all| all.first().copied()),
    };
    // Behind a jump host, the address means nothing here; the domain may.
    let web = if client.jump.is_some() {
        names.first().and_then(|(_, found)| found.as_ref()?.first().copied())
    } else {
        ip
    };
    let ports = [80, 443].map(|number| Port { number, reach: connect(web, number) });
    Seen { names, host, ports: ports.to_vec(), ssh: connect(ip, client.port) }
}

/// A resolver that hangs is left behind on its thread.
fn resolve(name: &str) -> Option<Vec<IpAddr>> {
    let (sender, found) = mpsc::sync_channel(1);
    let name = name.to_owned();
    std::thread::spawn(move || {
        let all = (name.as_str(), 0).to_socket_addrs().map(|all| all.map(|one| one.ip()).collect::<Vec<_>>());
        drop(sender.send(all.ok()));
    });
    let mut all = found.recv_timeout(LIMIT).ok()??;
    all.sort();
    all.dedup();
    Some(all)
}

fn connect(ip: Option<IpAddr>, port: u16) -> Reach {
    let Some(ip) = ip else { return Reach::Silent };
    match TcpStream::connect_timeout(&SocketAddr::new(ip, port), LIMIT) {
        Ok(_) => Reach::Open,
        Err(error) if error.kind() == std::io::ErrorKind::ConnectionRefused => Reach::Refused,
        Err(_) => Reach::Silent,
    }
}
