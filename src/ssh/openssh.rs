//! SSH by the system's own `ssh` and the operator's own `ssh_config`: chains of jump hosts, hardware
//! keys, Kerberos.
//!
//! One `ssh` per host holds the connection (the master of ssh_config(5), `ControlMaster`); commands
//! and rsync join it over its private socket, without a process of their own. The master is our
//! child and dies with the session: none is left behind.
//!
//! Host keys are strict: on record in the fleet's `known_hosts` or in the operator's own files; a new
//! one is written to the fleet's file at first contact, as with the native transport.
//! What the registry says (user, a port other than 22, jump host) wins over `ssh_config`, and so
//! do our time limits.

mod diagnose;
mod exec;
mod master;
mod mux;
pub(super) mod options;
mod pull;
mod push;
mod said;

use std::path::{Path, PathBuf};
use std::time::Duration;

use async_trait::async_trait;

pub(super) use self::exec::{Running, outlet, read};
pub(super) use self::master::Master;
pub(super) use self::mux::News;
use self::options::Manner;
use super::error::ConnectError;
use super::host_keys::HostKeyPolicy;
use super::native::KEEPALIVE;
use super::rsync::{Carrier, Way};
use super::{
    Output, Progress, Pulled, Receiver, Rsync, Session, SessionError, Sink, Supply, Target, Transfer,
};
use crate::shell::Cmd;

/// One connection to one host.
pub struct OpenSshSession {
    master: Master,
    /// Whether files can be given to root without `sudo`.
    root: bool,
    helper: Option<PathBuf>,
}

impl OpenSshSession {
    /// Connects and logs in; `config` stands in for the operator's `ssh_config`.
    ///
    /// # Errors
    /// What `ssh` said, as a [`ConnectError`].
    pub async fn connect(
        target: &Target,
        policy: HostKeyPolicy,
        config: Option<&Path>,
    ) -> Result<Self, ConnectError> {
        Self::connect_watched(target, policy, config, KEEPALIVE).await
    }

    /// The same with another interval of keepalives, in whole seconds: a host is given up after four
    /// of them in silence.
    ///
    /// # Errors
    /// What `ssh` said, as a [`ConnectError`].
    pub async fn connect_watched(
        target: &Target,
        policy: HostKeyPolicy,
        config: Option<&Path>,
        keepalive: Duration,
    ) -> Result<Self, ConnectError> {
        let master = Master::start(target, Manner { policy, config, keepalive }).await?;
        Ok(OpenSshSession { master, root: target.user == "root", helper: None })
    }

    /// Runs another program than this one as rsync's remote shell; see [`super::rsync_shell_main`].
    #[must_use]
    pub fn with_rsync_shell(mut self, program: PathBuf) -> Self {
        self.helper = Some(program);
        self
    }
}

#[async_trait]
impl Session for OpenSshSession {
    async fn exec(&self, cmd: &Cmd, sink: Option<Sink<'_>>) -> Result<Output, SessionError> {
        exec::run(&self.master, cmd, sink).await
    }

    async fn pull(&self, cmd: &Cmd, into: &Receiver) -> Result<Pulled, SessionError> {
        pull::run(&self.master, cmd, into).await
    }

    async fn push(
        &self,
        cmd: &Cmd,
        from: &mut Supply,
        sink: Option<Sink<'_>>,
    ) -> Result<Output, SessionError> {
        push::run(&self.master, cmd, from, sink).await
    }

    async fn rsync(&self, what: &Rsync, progress: Option<Progress<'_>>) -> Result<Transfer, SessionError> {
        let way = Way { carrier: Carrier::Master(&self.master), helper: self.helper.as_deref() };
        super::rsync::push(way, what, self.root, progress).await
    }

    fn host_key(&self) -> (String, bool) {
        self.master.host_key()
    }

    async fn close(&self) {
        self.master.close().await;
    }
}
