//! SSH in this process (russh): no program is started and no terminal is needed to reach a host.
//!
//! TCP connection, handshake and login share one time limit; after that, keepalives notice a host
//! that went silent. Every host key is judged against the fleet's `known_hosts` before we say who
//! we are.

mod auth;
mod exec;
mod link;

use std::path::PathBuf;
use std::time::Duration;

use async_trait::async_trait;
use tokio::time::Instant;

pub(super) use self::exec::Running;
pub(super) use self::link::Link;
use super::error::{ConnectError, Place};
use super::host_keys::HostKeyPolicy;
use super::{Output, Progress, Rsync, Session, SessionError, Sink, Target, Transfer, identity, jump};
use crate::shell::Cmd;

/// A host that says nothing for this long is asked whether it is still there.
const KEEPALIVE: Duration = Duration::from_secs(15);

/// One connection to one host.
pub struct NativeSession {
    link: Link,
    /// The connection to the jump host that carries `link`.
    carrier: Option<Link>,
    /// Whether files can be given to root without `sudo`.
    root: bool,
    helper: Option<PathBuf>,
}

/// Connects, proves the host and logs in.
///
/// # Errors
/// Every way to fail has its [`ConnectError`].
pub async fn connect(target: &Target, policy: HostKeyPolicy) -> Result<NativeSession, ConnectError> {
    connect_watched(target, policy, KEEPALIVE).await
}

/// The same with another interval of keepalives: a host is given up after four of them in silence.
pub async fn connect_watched(
    target: &Target,
    policy: HostKeyPolicy,
    keepalive: Duration,
) -> Result<NativeSession, ConnectError> {
    let deadline = Instant::now() + target.connect_timeout;
    let mut identity = identity::load(&target.key, target.agent.as_deref()).await?;
    let mut approach = link::Approach {
        place: Place { host: target.host.clone(), port: target.port },
        user: target.user.clone(),
        known_hosts: target.known_hosts.clone(),
        policy,
        deadline,
        limit: target.connect_timeout,
        keepalive,
    };
    let Some(jump) = &target.jump else {
        let link = approach.direct(&mut identity).await?;
        return Ok(NativeSession { link, carrier: None, root: target.user == "root", helper: None });
    };
    let failed = |cause| ConnectError::JumpFailed { jump: jump.clone(), cause: Box::new(cause) };
    let (user, place) =
        jump::parse(jump, &target.user).ok_or_else(|| ConnectError::JumpInvalid { jump: jump.clone() })?;
    let onward = std::mem::replace(&mut approach.place, place);
    approach.user = user;
    let carrier = approach.direct(&mut identity).await.map_err(failed)?;
    approach.place = onward;
    approach.user.clone_from(&target.user);
    let link = approach.through(&carrier, jump, &mut identity).await?;
    Ok(NativeSession { link, carrier: Some(carrier), root: target.user == "root", helper: None })
}

impl NativeSession {
    /// Runs another program than this one as rsync's remote shell; see [`super::rsync_shell_main`].
    #[must_use]
    pub fn with_rsync_shell(mut self, program: PathBuf) -> Self {
        self.helper = Some(program);
        self
    }

    /// The channel that rsync's own remote command runs on.
    pub(super) fn link(&self) -> &Link {
        &self.link
    }
}

#[async_trait]
impl Session for NativeSession {
    async fn exec(&self, cmd: &Cmd, sink: Option<Sink<'_>>) -> Result<Output, SessionError> {
        exec::run(&self.link, cmd, sink).await
    }

    async fn rsync(&self, what: &Rsync, progress: Option<Progress<'_>>) -> Result<Transfer, SessionError> {
        super::rsync::push(self, what, self.root, self.helper.as_deref(), progress).await
    }

    fn host_key(&self) -> (String, bool) {
        self.link.host_key()
    }

    async fn close(&self) {
        self.link.close().await;
        if let Some(carrier) = &self.carrier {
            carrier.close().await;
        }
    }
}
