//! A host, reached: one connection, many commands.
//!
//! [`Session`] is what the engine knows. The native transport (russh) is the default; the system's
//! `ssh` serves hosts that need the operator's own `ssh_config`; the scripted one serves tests of
//! our own logic. Nothing here decides what to say to a host: that is `ops`.

pub mod clean;
mod dialer;
mod error;
mod host_keys;
mod identity;
mod interactive;
mod jump;
mod known_hosts;
mod native;
mod openssh;
mod output;
mod place;
mod rsync;
mod scripted;
mod slots;
mod turns;
mod wire;

use std::path::PathBuf;
use std::time::Duration;

pub use self::dialer::Dialer;
pub use self::error::{Agent, ConnectError, Place, Stage};
pub use self::host_keys::{HostKeyPolicy, forget as forget_host_keys};
pub use self::interactive::argv as interactive_argv;
pub use self::known_hosts::KnownHosts;
pub use self::native::{NativeSession, connect, connect_watched};
pub use self::openssh::OpenSshSession;
pub use self::rsync::{RSYNC_SHELL, rsync_shell_main};
pub use self::scripted::{Answer, Scripted};
pub use self::turns::processors;

use async_trait::async_trait;

use crate::shell::Cmd;

/// How a remote command ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Exit {
    Code(u32),
    /// Name without `SIG`, as RFC 4254 section 6.10 sends it; `UNKNOWN` over OpenSSH, whose
    /// multiplexing does not pass it on.
    Signal(String),
}

impl Exit {
    #[must_use]
    pub fn success(&self) -> bool {
        *self == Exit::Code(0)
    }
}

/// Which stream a chunk of output came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stream {
    Stdout,
    Stderr,
}

/// All that a finished command said. Raw bytes from an untrusted host: clean before showing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Output {
    pub exit: Exit,
    pub stdout: Vec<u8>,
    pub stderr: Vec<u8>,
    /// More came than was kept: whoever parses must refuse it.
    pub truncated: bool,
}

/// Where the output of [`Session::pull`] goes.
pub type Receiver = tokio::sync::mpsc::Sender<Vec<u8>>;

/// One piece of what [`Session::push`] sends. Only what ends with `End` is whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Piece {
    Data(Vec<u8>),
    End,
}

/// Where the input of [`Session::push`] comes from.
pub type Supply = tokio::sync::mpsc::Receiver<Piece>;

/// The one who sends went away before the end.
const CUT: &str = "what was being sent ended before its end";
/// The one who asked for the output went away.
const NOBODY: &str = "nobody takes the output any more";
/// Most that is kept of what a host complains of while output is taken elsewhere: the end of it.
const COMPLAINTS: usize = 256 << 10;

/// How a command ended whose output was taken elsewhere.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pulled {
    pub exit: Exit,
    /// The end of what it complained of: raw bytes from an untrusted host.
    pub stderr: Vec<u8>,
}

/// Receives output while a command runs. Chunks are not lines.
pub type Sink<'a> = &'a mut (dyn FnMut(Stream, &[u8]) + Send);

/// A folder of this machine to be made equal to a folder of the host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rsync {
    pub source: PathBuf,
    /// Absolute folder on the host; created with its parents by the caller.
    pub destination: String,
    /// Patterns as `rsync --exclude` takes them.
    pub exclude: Vec<String>,
    /// Absolute folder on the host whose equal files are hard-linked instead of sent.
    pub link_dest: Option<String>,
    /// Runs the host's rsync as root through `sudo -n`.
    pub sudo: bool,
    pub timeout: Duration,
}

/// What one transfer did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Transfer {
    /// Things made equal on the host: sent, created, re-moded, deleted. Zero: nothing changed.
    pub changed: u64,
    pub files_sent: u64,
    pub files_deleted: u64,
    /// On the wire towards the host, compressed.
    pub bytes_sent: u64,
    /// Symbolic links that point out of the tree, which are left out.
    pub links_skipped: u64,
}

/// How far a transfer is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progressed {
    /// Of the tree, uncompressed.
    pub bytes: u64,
    pub percent: u8,
}

/// Receives it while the transfer runs.
pub type Progress<'a> = &'a mut (dyn FnMut(Progressed) + Send);

/// What carries a session.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Transport {
    /// In this process.
    #[default]
    Native,
    /// The system's `ssh` with the operator's own `ssh_config`.
    OpenSsh,
}

/// Everything needed to reach one client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// Client name, for messages.
    pub name: String,
    /// Address or host name as the registry has it.
    pub host: String,
    pub port: u16,
    pub user: String,
    /// Private key file of the fleet.
    pub key: PathBuf,
    /// `known_hosts` of the fleet directory, in OpenSSH's format.
    pub known_hosts: PathBuf,
    /// `user@host:port` of a jump host.
    pub jump: Option<String>,
    /// Socket of an ssh-agent (`SSH_AUTH_SOCK`), asked when the key file is absent or locked.
    pub agent: Option<PathBuf>,
    /// Longest time for TCP connect, handshake and login together.
    pub connect_timeout: Duration,
    pub transport: Transport,
}

/// One authenticated connection.
#[async_trait]
pub trait Session: Send + Sync {
    /// Runs a command to its end, output collected; `sink` sees it as it arrives. Output beyond
    /// 16 MiB a stream is dropped from the collection but still reaches the sink. Dropping the future
    /// gives the command up: its channel is closed, what the host does with it is its own affair.
    async fn exec(&self, cmd: &Cmd, sink: Option<Sink<'_>>) -> Result<Output, SessionError>;

    /// Runs a command whose output is too large to collect: it goes to `into` piece by piece, and the
    /// host waits while nobody takes a piece. When the receiver is gone the command is given up.
    async fn pull(&self, cmd: &Cmd, into: &Receiver) -> Result<Pulled, SessionError>;

    /// Runs a command whose input is too large to hold: it comes from `from` piece by piece, at the
    /// command's speed. An input that stops without its end gives the command up.
    async fn push(
        &self,
        cmd: &Cmd,
        from: &mut Supply,
        sink: Option<Sink<'_>>,
    ) -> Result<Output, SessionError>;

    /// Makes a folder of the host equal to a local one, over this same connection.
    async fn rsync(&self, what: &Rsync, progress: Option<Progress<'_>>) -> Result<Transfer, SessionError>;

    /// Fingerprint (`SHA256:...`) of the host key, and whether it was recorded just now.
    fn host_key(&self) -> (String, bool);

    /// Says goodbye; dropping without it only cuts the connection.
    async fn close(&self);
}

/// Why a command of an open session has no answer.
#[derive(Debug, thiserror::Error)]
pub enum SessionError {
    /// The time limit passed here; what the host did is unknown.
    #[error("no answer within {} s", .0.as_secs())]
    TimedOut(Duration),
    /// The connection went away; what the host did is unknown.
    #[error("connection lost: {0}")]
    Lost(String),
    /// It could not be started at all; nothing was done.
    #[error("{0}")]
    Refused(String),
    /// A transfer ended early for a reason that is known; running it again goes on from there.
    #[error("{0}")]
    Failed(String),
}
