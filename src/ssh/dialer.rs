//! How the connections of one run are opened: the transport by its target, few handshakes at once,
//! one connection to a jump host for all clients behind it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures::FutureExt as _;
use futures::future::{BoxFuture, Shared};

use super::error::ConnectError;
use super::host_keys::HostKeyPolicy;
use super::native::{self, Link, NativeSession};
use super::turns::{Turns, processors};
use super::{OpenSshSession, Session, Target, Transport, identity, jump};

/// Handshakes at once per processor: each costs this side less than 1 ms, so most of them wait for
/// their hosts.
const TURNS: usize = 32;

/// At once through the system's `ssh`. Each costs some 75 ms of a processor here, and many may go
/// over a jump host that we know nothing of: below the 10 at which sshd begins to drop (MaxStartups).
const OPENSSH_TURNS: usize = 8;

type Carrier = Shared<BoxFuture<'static, Result<Arc<Link>, ConnectError>>>;

/// Opens connections; kept for as long as a run lasts.
pub struct Dialer {
    turns: Turns,
    openssh: Turns,
    carriers: Mutex<HashMap<String, Carrier>>,
}

impl Default for Dialer {
    fn default() -> Self {
        Dialer {
            turns: Turns::of((TURNS * processors()).clamp(TURNS, 4 * TURNS)),
            openssh: Turns::of(OPENSSH_TURNS),
            carriers: Mutex::default(),
        }
    }
}

impl Dialer {
    /// Connects by the target's own transport.
    ///
    /// # Errors
    /// Every way to fail has its [`ConnectError`].
    pub async fn connect(
        &self,
        target: &Target,
        policy: HostKeyPolicy,
    ) -> Result<Arc<dyn Session>, ConnectError> {
        Ok(match target.transport {
            Transport::Native => Arc::new(self.native(target, policy, native::KEEPALIVE).await?),
            Transport::OpenSsh => {
                Arc::new(self.openssh.take(OpenSshSession::connect(target, policy, None)).await?)
            }
        })
    }

    pub(super) async fn native(
        &self,
        target: &Target,
        policy: HostKeyPolicy,
        keepalive: Duration,
    ) -> Result<NativeSession, ConnectError> {
        let Some(jump) = &target.jump else {
            let mut identity = identity::load(&target.key, target.agent.as_deref()).await?;
            let link = native::approach(target, policy, keepalive, &self.turns).direct(&mut identity).await?;
            return Ok(NativeSession::new(target, link, None));
        };
        let carrier = self.carrier(target, jump, policy, keepalive).await?;
        let mut identity = identity::load(&target.key, target.agent.as_deref()).await?;
        // The jump host had a time limit of its own.
        let approach = native::approach(target, policy, keepalive, &self.turns);
        let link = approach.through(&carrier, jump, &mut identity).await?;
        Ok(NativeSession::new(target, link, Some(carrier)))
    }

    /// The one connection to a jump host: found open, waited for, or begun.
    async fn carrier(
        &self,
        target: &Target,
        jump: &str,
        policy: HostKeyPolicy,
        keepalive: Duration,
    ) -> Result<Arc<Link>, ConnectError> {
        let (user, place) = jump::parse(jump, &target.user)
            .ok_or_else(|| ConnectError::JumpInvalid { jump: jump.to_owned() })?;
        let name = format!("{user}@{place} {} {}", target.key.display(), target.known_hosts.display());
        let carrier = {
            let mut carriers = self.carriers.lock().unwrap_or_else(PoisonError::into_inner);
            let usable = carriers.get(&name).filter(|carrier| match carrier.peek() {
                None => true,
                Some(Ok(link)) => !link.handle.is_closed(),
                Some(Err(_)) => false,
            });
            if let Some(carrier) = usable {
                carrier.clone()
            } else {
                let target =
                    Target { user, host: place.host, port: place.port, jump: None, ..target.clone() };
                let (turns, jump) = (self.turns.clone(), jump.to_owned());
                let begin = async move {
                    let open = async {
                        let mut identity = identity::load(&target.key, target.agent.as_deref()).await?;
                        native::approach(&target, policy, keepalive, &turns).direct(&mut identity).await
                    };
                    match open.await {
                        Ok(link) => Ok(Arc::new(link)),
                        // What is wrong with our own key is not the jump host's fault.
                        Err(error) if error.is_ours() => Err(error),
                        Err(error) => Err(ConnectError::JumpFailed { jump, cause: Box::new(error) }),
                    }
                };
                let carrier = begin.boxed().shared();
                carriers.insert(name, carrier.clone());
                carrier
            }
        };
        carrier.await
    }
}
