//! One SSH connection: handshake with host-key check, login, and the end of it.

use std::borrow::Cow;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use russh::client::{self, DisconnectReason, Handle};
use russh::keys::{Algorithm, EcdsaCurve, HashAlg, PublicKeyOrCertificate};
use russh::{Disconnect, Preferred, SshId};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::{Instant, timeout_at};

use super::super::error::{ConnectError, Place, Stage};
use super::super::host_keys::{self, HostKeyPolicy};
use super::super::identity::Identity;
use super::super::slots::Slots;
use super::super::turns::Turns;
use super::super::wire::{self, FirstWords, Patience, Wire};
use super::super::{clean, known_hosts};
use super::auth;

/// A silent host is given up after so many keepalives without an answer.
const KEEPALIVE_MISSES: usize = 3;

/// Where to, as whom, and until when.
pub struct Approach {
    pub place: Place,
    pub user: String,
    pub known_hosts: PathBuf,
    pub policy: HostKeyPolicy,
    pub deadline: Instant,
    /// The time limit as the operator knows it, for messages.
    pub limit: Duration,
    pub keepalive: Duration,
    pub turns: Turns,
}

/// An authenticated connection.
pub struct Link {
    pub handle: Handle<Keeper>,
    pub slots: Slots,
    shared: Arc<Shared>,
}

/// What the connection's own task leaves for us.
#[derive(Default)]
pub struct Shared {
    key: Mutex<(String, bool)>,
    end: Mutex<Option<String>>,
}

impl Shared {
    /// Why the connection ended, in the host's or our words.
    pub fn end(&self) -> Option<String> {
        self.end.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Approach {
    pub async fn direct(&self, identity: &mut Identity) -> Result<Link, ConnectError> {
        let stream = wire::dial(&self.place, self.deadline, self.limit).await?;
        let begun = Instant::now();
        self.turns
            .take(async {
                let deadline = self.deadline + begun.elapsed();
                let (first, patience) = (FirstWords::default(), Patience::until(deadline));
                let stream = Wire::tcp(stream, first.clone(), patience.clone());
                self.converse(stream, &first, &patience, deadline, identity).await
            })
            .await
    }

    /// Over a channel of another connection: our host-key check and login happen inside it.
    pub async fn through(
        &self,
        carrier: &Link,
        jump: &str,
        identity: &mut Identity,
    ) -> Result<Link, ConnectError> {
        let refused = |cause: String| ConnectError::JumpRefused {
            jump: jump.to_owned(),
            place: self.place.clone(),
            cause,
        };
        let opening = carrier.handle.channel_open_direct_tcpip(
            self.place.host.as_str(),
            u32::from(self.place.port),
            "127.0.0.1",
            0,
        );
        let channel = match timeout_at(self.deadline, opening).await {
            Err(_) => return Err(self.late(Stage::Connect)),
            Ok(Ok(channel)) => channel,
            Ok(Err(russh::Error::ChannelOpenFailure(reason))) => {
                return Err(refused(clean::line(reason.description()).to_lowercase()));
            }
            Ok(Err(_)) => return Err(refused(carrier.end())),
        };
        let begun = Instant::now();
        self.turns
            .take(async {
                let deadline = self.deadline + begun.elapsed();
                let (first, patience) = (FirstWords::default(), Patience::until(deadline));
                let stream = Wire::plain(channel.into_stream(), first.clone(), patience.clone());
                self.converse(stream, &first, &patience, deadline, identity).await
            })
            .await
    }

    async fn converse<S>(
        &self,
        stream: S,
        first: &FirstWords,
        patience: &Patience,
        deadline: Instant,
        identity: &mut Identity,
    ) -> Result<Link, ConnectError>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let shared = Arc::new(Shared::default());
        let keeper = Keeper {
            place: self.place.clone(),
            known_hosts: self.known_hosts.clone(),
            policy: self.policy,
            keepalive: self.keepalive,
            shared: Arc::clone(&shared),
        };
        let config = Arc::new(self.config()?);
        let handshake = client::connect_stream(config, stream, keeper);
        let mut handle = match timeout_at(deadline, handshake).await {
            Err(_) => return Err(self.late(Stage::Handshake)),
            Ok(Err(Fault::Host(error))) => return Err(error),
            Ok(Err(Fault::Ssh(error))) => return Err(self.handshake_fault(&error, first, &shared)),
            Ok(Ok(handle)) => handle,
        };
        match timeout_at(deadline, auth::login(&mut handle, &self.user, identity)).await {
            Err(_) => Err(self.late(Stage::Login)),
            Ok(Ok(())) => {
                patience.settle();
                Ok(Link { handle, slots: Slots::default(), shared })
            }
            Ok(Err(methods)) => Err(ConnectError::AuthRefused {
                user: self.user.clone(),
                place: self.place.clone(),
                methods,
                public: identity.public().into(),
                said: shared.end().unwrap_or_default().into(),
            }),
        }
    }

    fn config(&self) -> Result<client::Config, ConnectError> {
        let known = host_keys::algorithms(&self.known_hosts, &self.place)?;
        let preferred = Preferred { key: Cow::Owned(prefer(&known)), ..Preferred::DEFAULT };
        Ok(client::Config {
            client_id: SshId::Standard(Cow::Borrowed(concat!("SSH-2.0-fleet_", env!("CARGO_PKG_VERSION")))),
            keepalive_interval: Some(self.keepalive),
            keepalive_max: KEEPALIVE_MISSES,
            preferred,
            nodelay: true,
            ..client::Config::default()
        })
    }

    fn late(&self, stage: Stage) -> ConnectError {
        ConnectError::TimedOut { place: self.place.clone(), stage, limit: self.limit }
    }

    fn handshake_fault(&self, error: &russh::Error, first: &FirstWords, shared: &Shared) -> ConnectError {
        // The wire's own patience may end a moment before ours.
        if matches!(error, russh::Error::IO(error) if error.kind() == std::io::ErrorKind::TimedOut) {
            return self.late(Stage::Handshake);
        }
        let place = self.place.clone();
        let first = first.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if !first.starts_with(b"SSH-") && !first.windows(5).any(|words| words == b"\nSSH-") {
            let said: String = clean::bytes(&first).chars().take(100).collect();
            return ConnectError::NotSsh { place, said };
        }
        let cause = match error {
            russh::Error::NoCommonAlgo { kind, theirs, .. } => {
                format!("no common {kind:?} algorithm; it offers {}", clean::line(&theirs.join(", ")))
            }
            russh::Error::Disconnect | russh::Error::HUP | russh::Error::IO(_) => {
                shared.end().unwrap_or_else(|| "the host hung up".to_owned())
            }
            other => clean::line(&other.to_string()).to_lowercase(),
        };
        ConnectError::Handshake { place, cause }
    }
}

impl Link {
    pub fn host_key(&self) -> (String, bool) {
        self.shared.key.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Why the connection went away.
    pub fn end(&self) -> String {
        self.shared.end().unwrap_or_else(|| "the host closed the connection".to_owned())
    }

    pub async fn close(&self) {
        // Gone already is as good as closed.
        let _ = self.handle.disconnect(Disconnect::ByApplication, "", "en").await;
        let patience = Instant::now() + Duration::from_millis(500);
        while !self.handle.is_closed() && Instant::now() < patience {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }
}

/// Types of host keys to ask for: those on record first, then the rest. `ssh-rsa` signs with SHA-1
/// and is never asked for; an RSA key itself is fine.
fn prefer(known: &[String]) -> Vec<Algorithm> {
    let all = [
        Algorithm::Ed25519,
        Algorithm::Ecdsa { curve: EcdsaCurve::NistP256 },
        Algorithm::Ecdsa { curve: EcdsaCurve::NistP384 },
        Algorithm::Ecdsa { curve: EcdsaCurve::NistP521 },
        Algorithm::Rsa { hash: Some(HashAlg::Sha512) },
        Algorithm::Rsa { hash: Some(HashAlg::Sha256) },
    ];
    let recorded = |algorithm: &Algorithm| {
        let name = if matches!(algorithm, Algorithm::Rsa { .. }) { "ssh-rsa" } else { algorithm.as_str() };
        known.iter().any(|known| known == name)
    };
    let (mut first, rest): (Vec<_>, Vec<_>) = all.into_iter().partition(recorded);
    first.extend(rest);
    first
}

/// Our side of the connection's task: judges the host's key, remembers how it ended.
pub struct Keeper {
    place: Place,
    known_hosts: PathBuf,
    policy: HostKeyPolicy,
    keepalive: Duration,
    shared: Arc<Shared>,
}

/// Either of the two that can stop a connection's task.
#[derive(Debug)]
pub enum Fault {
    Host(ConnectError),
    Ssh(russh::Error),
}

impl From<russh::Error> for Fault {
    fn from(error: russh::Error) -> Self {
        Fault::Ssh(error)
    }
}

impl Keeper {
    fn ending(&self, error: &russh::Error) -> String {
        match error {
            russh::Error::KeepaliveTimeout => {
                let silence = self.keepalive * (KEEPALIVE_MISSES as u32 + 1);
                format!("the host was silent for {} s", silence.as_secs())
            }
            russh::Error::Disconnect | russh::Error::HUP => "the host closed the connection".to_owned(),
            russh::Error::IO(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => {
                "the host closed the connection".to_owned()
            }
            russh::Error::IO(error) => host_keys::reason(error),
            other => clean::line(&other.to_string()).to_lowercase(),
        }
    }
}

impl client::Handler for Keeper {
    type Error = Fault;

    async fn check_server_key(&mut self, shown: &PublicKeyOrCertificate) -> Result<bool, Fault> {
        let key = shown.public_key();
        let known =
            host_keys::check(&self.known_hosts, &self.place, &key, self.policy).map_err(Fault::Host)?;
        let fingerprint = known_hosts::fingerprint(&key);
        let recorded = if known {
            false
        } else {
            let (file, place) = (self.known_hosts.clone(), self.place.clone());
            // It may wait for another process's lock.
            let record = tokio::task::spawn_blocking(move || host_keys::record(&file, &place, &key));
            record.await.map_err(|error| russh::Error::IO(error.into()))?.map_err(Fault::Host)?
        };
        *self.shared.key.lock().unwrap_or_else(PoisonError::into_inner) = (fingerprint, recorded);
        Ok(true)
    }

    async fn disconnected(&mut self, reason: DisconnectReason<Fault>) -> Result<(), Fault> {
        let (end, result) = match reason {
            DisconnectReason::ReceivedDisconnect(info) => {
                (format!("the host said \"{}\"", clean::line(&info.message)), Ok(()))
            }
            DisconnectReason::Error(Fault::Ssh(error)) => (self.ending(&error), Err(Fault::Ssh(error))),
            DisconnectReason::Error(Fault::Host(error)) => (error.what(), Err(Fault::Host(error))),
        };
        *self.shared.end.lock().unwrap_or_else(PoisonError::into_inner) = Some(end);
        result
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_recorded_key_type_is_asked_for_first_and_sha1_never() {
        let names = |known: &[&str]| -> Vec<String> {
            let known: Vec<String> = known.iter().map(|name| (*name).to_owned()).collect();
            prefer(&known).iter().map(ToString::to_string).collect()
        };
        assert_eq!(names(&[])[0], "ssh-ed25519");
        assert_eq!(names(&["ecdsa-sha2-nistp256"])[..2], ["ecdsa-sha2-nistp256", "ssh-ed25519"]);
        assert_eq!(names(&["ssh-rsa"])[..3], ["rsa-sha2-512", "rsa-sha2-256", "ssh-ed25519"]);
        assert!(!names(&["ssh-rsa"]).contains(&"ssh-rsa".to_owned()));
    }
}
