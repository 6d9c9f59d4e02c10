//! A command of this machine as a step: its output masked like a host's, its time limited, and
//! nothing of it left behind when it is given up.

use std::os::unix::process::ExitStatusExt as _;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::io::{AsyncRead, AsyncReadExt as _};
use tokio::process::{Child, Command};
use tokio::time::{Instant, sleep_until, timeout};

use super::{StepFault, Tail, said};
use crate::plan::Step;
use crate::plan::hooks::Local;
use crate::ssh::Stream;

/// What a command has between being asked to end and being ended.
const GRACE: Duration = Duration::from_secs(5);
/// How long output is waited for once the command is gone: a child of it may hold the pipe open.
const REST: Duration = Duration::from_millis(500);

/// Ends the command and all that it started, unless it ended by itself.
struct Group(Option<Pid>);

impl Group {
    fn signal(&self, signal: Signal) {
        if let Some(pid) = self.0 {
            // It may be gone meanwhile.
            let _ = kill_process_group(pid, signal);
        }
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        self.signal(Signal::KILL);
    }
}

pub(super) async fn run(mut tail: Tail<'_>, step: &Step, local: &Local) -> Result<(), StepFault> {
    let mut child = start(local)
        .map_err(|error| StepFault::failed(step, format!("cannot be started: {error}"), Vec::new()))?;
    let mut group = Group(child.id().and_then(|id| Pid::from_raw(i32::try_from(id).ok()?)));
    let ended = follow(&mut child, &mut tail, Instant::now() + local.timeout).await;
    let message = match ended {
        Some(Ok(status)) => {
            // What it left running on purpose may go on.
            group.0 = None;
            ending(status)
        }
        Some(Err(error)) => Some(format!("cannot be waited for: {error}")),
        None => {
            group.signal(Signal::TERM);
            let _ = timeout(GRACE, child.wait()).await;
            Some(format!("not finished within {} s", local.timeout.as_secs()))
        }
    };
    tail.flush();
    match message {
        None => Ok(()),
        Some(message) => Err(said(step, message, tail)),
    }
}

fn start(local: &Local) -> std::io::Result<Child> {
    let (program, words) = local.words.split_first().ok_or(std::io::ErrorKind::InvalidInput)?;
    // A path is one of the fleet directory, wherever the operator stands.
    let program = if program.contains('/') { local.dir.join(program) } else { program.into() };
    Command::new(program)
        .args(words)
        .envs(local.env.iter().map(|(name, value)| (name, value)))
        .current_dir(&local.dir)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0)
        .kill_on_drop(true)
        .spawn()
}

/// Until the command ended and its output was read; `None` when its time was over first.
async fn follow(
    child: &mut Child,
    tail: &mut Tail<'_>,
    until: Instant,
) -> Option<std::io::Result<ExitStatus>> {
    let (mut out, mut err) = (child.stdout.take(), child.stderr.take());
    let (mut one, mut two) = (vec![0; 8192], vec![0; 8192]);
    let mut ended: Option<std::io::Result<ExitStatus>> = None;
    let mut until = until;
    while ended.is_none() || out.is_some() || err.is_some() {
        tokio::select! {
            count = read(&mut out, &mut one), if out.is_some() => match count {
                0 => out = None,
                count => tail.take(Stream::Stdout, &one[..count]),
            },
            count = read(&mut err, &mut two), if err.is_some() => match count {
                0 => err = None,
                count => tail.take(Stream::Stderr, &two[..count]),
            },
            status = child.wait(), if ended.is_none() => {
                ended = Some(status);
                until = Instant::now() + REST;
            }
            () = sleep_until(until) => return ended,
        }
    }
    ended
}

async fn read(from: &mut Option<impl AsyncRead + Unpin>, into: &mut [u8]) -> usize {
    match from {
        Some(from) => from.read(into).await.unwrap_or(0),
        None => 0,
    }
}

/// What a bad end is called; `None` for a good one.
fn ending(status: ExitStatus) -> Option<String> {
    match (status.code(), status.signal()) {
        (Some(0), _) => None,
        (Some(code), _) => Some(format!("exit code {code}")),
        (None, Some(signal)) => Some(format!("killed by signal {signal}")),
        (None, None) => Some("ended in an unknown way".to_owned()),
    }
}
