//! The `ssh` that holds one connection: started, heard, ended. Never outlives the session.

use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt as _, AsyncRead, BufReader};
use tokio::process::{Child, Command};
use tokio::sync::watch;
use tokio::time::{Instant, timeout, timeout_at};

use super::super::error::{ConnectError, NOT_INSTALLED, Place};
use super::super::slots::Slots;
use super::super::{Target, clean, rsync};
use super::options::Manner;
use super::said::Said;
use super::{diagnose, mux, options};

/// How long an ssh that was told to end may take to say goodbye.
const GOODBYE: Duration = Duration::from_millis(500);

/// Longest line that is looked at.
const LONGEST: u64 = 8 << 10;

/// A running master.
pub struct Master {
    pub slots: Slots,
    child: tokio::sync::Mutex<Child>,
    group: Group,
    said: Arc<Mutex<Said>>,
    socket: PathBuf,
    _room: TempDir,
}

/// The processes that `ssh` and its proxies are, as long as the first of them was not waited for.
struct Group(Mutex<Option<Pid>>);

impl Group {
    fn end(&self, signal: Signal) {
        if let Some(group) = *lock(&self.0) {
            // Gone already is as good.
            let _ = kill_process_group(group, signal);
        }
    }

    fn forget(&self) {
        *lock(&self.0) = None;
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        self.end(Signal::TERM);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Master {
    /// Starts one and waits until it is logged in.
    pub async fn start(target: &Target, manner: Manner<'_>) -> Result<Self, ConnectError> {
        let deadline = Instant::now() + target.connect_timeout;
        let place = Place { host: target.host.clone(), port: target.port };
        let program = |cause: String| ConnectError::Program { place: place.clone(), cause };
        let here = |error: std::io::Error| program(super::super::host_keys::reason(&error));
        let words = options::words(target, manner)?;
        let room = rsync::private_folder().map_err(here)?;
        let socket = room.path().join("m");
        let mut command = Command::new("ssh");
        command
            .args(["-M", "-N", "-T", "-S"])
            .arg(&socket)
            .args(["-o", "ControlPersist=no", "-o", "ClearAllForwardings=yes", "-o", "BatchMode=yes"])
            .args(["-o", "LogLevel=DEBUG1"])
            .args(words)
            .args(["--", &target.host])
            .env("LC_ALL", "C")
            // Nobody is asked anything: the ssh of a jump host knows nothing of our BatchMode.
            .env("SSH_ASKPASS_REQUIRE", "force")
            .env("SSH_ASKPASS", "false")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            // The terminal's Ctrl-C is for us to act on, not for it.
            .process_group(0)
            .kill_on_drop(true);
        match &target.agent {
            Some(agent) => command.env("SSH_AUTH_SOCK", agent),
            None => command.env_remove("SSH_AUTH_SOCK"),
        };
        let mut child = command.spawn().map_err(|error| match error.kind() {
            std::io::ErrorKind::NotFound => program(NOT_INSTALLED.to_owned()),
            _ => here(error),
        })?;
        let pid = child.id().and_then(|pid| Pid::from_raw(pid.cast_signed()));
        let group = Group(Mutex::new(pid));
        let said: Arc<Mutex<Said>> = Arc::default();
        let (tell, mut heard) = watch::channel(false);
        let listener =
            child.stderr.take().map(|stream| tokio::spawn(listen(stream, Arc::clone(&said), tell)));

        let ready = async {
            tokio::select! {
                // The end of its words without readiness is its own end.
                ready = async { heard.wait_for(|ready| *ready).await.is_ok() } => match ready {
                    true => None,
                    false => Some(child.wait().await),
                },
                status = child.wait() => Some(status),
            }
        };
        let ended: Option<std::io::Result<ExitStatus>> = match timeout_at(deadline, ready).await {
            Ok(None) => {
                let master =
                    Master { slots: Slots::default(), socket, child: child.into(), group, said, _room: room };
                return master.recorded_or_not(target).await;
            }
            Ok(Some(status)) => Some(status),
            Err(_) => None,
        };
        if ended.is_some() {
            group.forget();
        }
        // The reason may still be on its way; a proxy that lives on would hold it back for ever.
        if let Some(listener) = listener {
            let _ = timeout(GOODBYE, listener).await;
        }
        let said = lock(&said).clone();
        Err(diagnose::fault(&said, target, ended.is_none()))
    }

    /// Fingerprint of the host's key, and whether it was recorded just now.
    pub fn host_key(&self) -> (String, bool) {
        let said = lock(&self.said);
        (clean::line(&said.host_key), said.recorded)
    }

    pub fn socket(&self) -> &Path {
        &self.socket
    }

    /// `ssh` goes on when it could not write down a new host's key; then every key would be a first one.
    async fn recorded_or_not(self, target: &Target) -> Result<Self, ConnectError> {
        let fault = lock(&self.said).unrecorded.clone();
        match fault {
            None => Ok(self),
            Some(cause) => {
                self.close().await;
                Err(ConnectError::KnownHosts { file: target.known_hosts.clone(), cause })
            }
        }
    }

    /// Whether the connection stands.
    pub async fn alive(&self) -> bool {
        timeout(Duration::from_secs(5), mux::alive(&self.socket)).await.unwrap_or(false)
    }

    /// Why it went away.
    pub fn end(&self) -> String {
        lock(&self.said).end().unwrap_or_else(|| "the system's ssh ended".to_owned())
    }

    pub async fn close(&self) {
        let mut child = self.child.lock().await;
        self.group.end(Signal::TERM);
        if timeout(GOODBYE, child.wait()).await.is_err() {
            self.group.end(Signal::KILL);
            let _ = child.wait().await;
        }
        self.group.forget();
    }
}

/// Takes in its words until it has no more.
async fn listen(stream: impl AsyncRead + Unpin, said: Arc<Mutex<Said>>, tell: watch::Sender<bool>) {
    use tokio::io::AsyncReadExt as _;
    let mut stream = BufReader::new(stream);
    let mut line = Vec::new();
    loop {
        line.clear();
        match (&mut stream).take(LONGEST).read_until(b'\n', &mut line).await {
            Ok(1..) => {}
            _ => return,
        }
        let mut said = lock(&said);
        said.take(&String::from_utf8_lossy(&line));
        if said.ready {
            tell.send_replace(true);
        }
    }
}
