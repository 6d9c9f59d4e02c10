//! SSH by the system's own `ssh` and the operator's own `ssh_config`: chains of jump hosts, hardware
//! keys, Kerberos.
//!
//! One `ssh` per host holds the connection (the master of ssh_config(5), `ControlMaster`); commands
//! join it over its private socket by the `openssh` crate, and rsync by a second `ssh` that may use
//! nothing else. The master is our child and dies with the session: none is left behind.
//!
//! Host keys are strict: on record in the fleet's `known_hosts` or in the operator's own files.
//! What the registry says (user, a port other than 22, jump host) wins over `ssh_config`, and so
//! do our time limits.

mod diagnose;
mod exec;
mod master;
pub(super) mod options;
mod said;

use std::path::Path;

use async_trait::async_trait;

use self::master::Master;
use super::error::ConnectError;
use super::rsync::Way;
use super::{Output, Progress, Rsync, Session, SessionError, Sink, Target, Transfer};
use crate::shell::Cmd;

/// One connection to one host.
pub struct OpenSshSession {
    master: Master,
    /// Whether files can be given to root without `sudo`.
    root: bool,
}

impl OpenSshSession {
    /// Connects and logs in; `config` stands in for the operator's `ssh_config`.
    ///
    /// # Errors
    /// What `ssh` said, as a [`ConnectError`].
    pub async fn connect(target: &Target, config: Option<&Path>) -> Result<Self, ConnectError> {
        let master = Master::start(target, config).await?;
        Ok(OpenSshSession { master, root: target.user == "root" })
    }
}

#[async_trait]
impl Session for OpenSshSession {
    async fn exec(&self, cmd: &Cmd, sink: Option<Sink<'_>>) -> Result<Output, SessionError> {
        exec::run(&self.master, cmd, sink).await
    }

    async fn rsync(&self, what: &Rsync, progress: Option<Progress<'_>>) -> Result<Transfer, SessionError> {
        let _slot = self.master.slots.take().await;
        super::rsync::push(Way::Master(&self.master), what, self.root, progress).await
    }

    fn host_key(&self) -> (String, bool) {
        (self.master.host_key(), false)
    }

    async fn close(&self) {
        self.master.close().await;
    }
}

pub(super) use self::master::Master as OpenSshMaster;
