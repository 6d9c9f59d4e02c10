//! SSH in this process (russh): no program is started and no terminal is needed to reach a host.
//!
//! TCP connection, handshake and login share one time limit; after that, keepalives notice a host
//! that went silent. Every host key is judged against the fleet's `known_hosts` before we say who
//! we are.

mod auth;
mod exec;
mod link;
mod pull;
mod push;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tokio::time::Instant;

pub(super) use self::exec::Running;
pub(super) use self::link::{Approach, Link};
use super::dialer::Dialer;
use super::error::{ConnectError, Place};
use super::host_keys::HostKeyPolicy;
use super::rsync::{Carrier, Way};
use super::turns::Turns;
use super::{
    Output, Progress, Pulled, Receiver, Rsync, Session, SessionError, Sink, Supply, Target, Transfer,
};
use crate::shell::Cmd;

/// A host that says nothing for this long is asked whether it is still there.
pub(super) const KEEPALIVE: Duration = Duration::from_secs(15);

/// One connection to one host.
pub struct NativeSession {
    link: Link,
    /// The connection to the jump host that carries `link`, and maybe others.
    carrier: Option<Arc<Link>>,
    /// Whether files can be given to root without `sudo`.
    root: bool,
    helper: Option<PathBuf>,
}

/// Connects, proves the host and logs in. One that connects to many hosts uses a [`Dialer`].
///
/// # Errors
/// Every way to fail has its [`ConnectError`].
pub async fn connect(target: &Target, policy: HostKeyPolicy) -> Result<NativeSession, ConnectError> {
    Dialer::default().native(target, policy, KEEPALIVE).await
}

/// The same with another interval of keepalives: a host is given up after four of them in silence.
pub async fn connect_watched(
    target: &Target,
    policy: HostKeyPolicy,
    keepalive: Duration,
) -> Result<NativeSession, ConnectError> {
    Dialer::default().native(target, policy, keepalive).await
}

/// How to get to the target itself; the time begins to run now.
pub(super) fn approach(
    target: &Target,
    policy: HostKeyPolicy,
    keepalive: Duration,
    turns: &Turns,
) -> Approach {
    Approach {
        place: Place { host: target.host.clone(), port: target.port },
        user: target.user.clone(),
        known_hosts: target.known_hosts.clone(),
        policy,
        deadline: Instant::now() + target.connect_timeout,
        limit: target.connect_timeout,
        keepalive,
        turns: turns.clone(),
    }
}

impl NativeSession {
    pub(super) fn new(target: &Target, link: Link, carrier: Option<Arc<Link>>) -> Self {
        NativeSession { link, carrier, root: target.user == "root", helper: None }
    }

    /// Runs another program than this one as rsync's remote shell; see [`super::rsync_shell_main`].
    #[must_use]
    pub fn with_rsync_shell(mut self, program: PathBuf) -> Self {
        self.helper = Some(program);
        self
    }
}

#[async_trait]
impl Session for NativeSession {
    async fn exec(&self, cmd: &Cmd, sink: Option<Sink<'_>>) -> Result<Output, SessionError> {
        exec::run(&self.link, cmd, sink).await
    }

    async fn pull(&self, cmd: &Cmd, into: &Receiver) -> Result<Pulled, SessionError> {
        pull::run(&self.link, cmd, into).await
    }

    async fn push(
        &self,
        cmd: &Cmd,
        from: &mut Supply,
        sink: Option<Sink<'_>>,
    ) -> Result<Output, SessionError> {
        push::run(&self.link, cmd, from, sink).await
    }

    async fn rsync(&self, what: &Rsync, progress: Option<Progress<'_>>) -> Result<Transfer, SessionError> {
        let way = Way { carrier: Carrier::Channel(&self.link), helper: self.helper.as_deref() };
        super::rsync::push(way, what, self.root, progress).await
    }

    fn host_key(&self) -> (String, bool) {
        self.link.host_key()
    }

    async fn close(&self) {
        self.link.close().await;
        // Who shares it closes it last; a dialer keeps it for the hosts to come.
        if let Some(carrier) = self.carrier.as_ref().filter(|carrier| Arc::strong_count(carrier) == 1) {
            carrier.close().await;
        }
    }
}
