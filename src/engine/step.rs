//! One step on one host: run it, keep its last lines, say what went wrong.

mod local;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::host::adapt;
use super::{Engine, Job, send};
use crate::event::{EventKind, Fault, Outcome, OutputStream, StepResult};
use crate::ops::ship::{Shelf, Ship};
use crate::ops::{away, compose, lease};
use crate::plan::health::{Gate, Verdict};
use crate::plan::{Action, Step};
use crate::secret::{ChunkRedactor, Redactor};
use crate::shell::Cmd;
use crate::ship::Store;
use crate::ssh::{Exit, Output, Progressed, Rsync, Session, SessionError, Stream, Target, Transfer};

/// Lines kept for the report of a fault.
const KEPT_LINES: usize = 12;
/// Longest line passed on; a hostile host fills no screen.
const MAX_LINE: usize = 2000;
/// Bytes of a line without an end that are kept; more than [`MAX_LINE`] characters of any kind.
const LONGEST_LINE: usize = 16 * MAX_LINE;
/// Longest transfer of images to one host.
const SHIP_LIMIT: Duration = Duration::from_secs(3600);
/// What our scripts put before the reason of a fault.
const SAID: &str = "fleet: ";
/// Exit code of coreutils' `timeout` when the time ran out.
const TIMED_OUT: u32 = 124;

pub(super) struct StepFault {
    fault: Fault,
    unknown: bool,
}

impl StepFault {
    pub(super) fn failed(step: &Step, message: String, lines: Vec<String>) -> Self {
        let fault = Fault { step: step.title.clone(), message, lines, hint: step.hint.clone() };
        StepFault { fault, unknown: false }
    }

    pub(super) fn unknown(step: &Step, message: &str) -> Self {
        let hint = Some("run the same command again: it finds out what is and goes on".to_owned());
        let fault = Fault { step: step.title.clone(), message: message.to_owned(), lines: Vec::new(), hint };
        StepFault { fault, unknown: true }
    }

    pub(super) fn of(step: &Step, error: &SessionError) -> Self {
        match error {
            SessionError::Refused(message) | SessionError::Failed(message) => {
                StepFault::failed(step, message.clone(), Vec::new())
            }
            SessionError::TimedOut(_) | SessionError::Lost(_) => StepFault::unknown(step, &error.to_string()),
        }
    }

    pub(super) fn is_unknown(&self) -> bool {
        self.unknown
    }

    pub(super) fn into_fault(self) -> Fault {
        self.fault
    }

    /// The outcome when the release before could not be brought back either.
    pub(super) fn and_then_undo_failed(self, release: &str, second: StepFault) -> Outcome {
        let mut fault = self.fault;
        fault.message = format!(
            "{}; then release {release} could not be brought back: {}: {}",
            fault.message, second.fault.step, second.fault.message
        );
        fault.lines.extend(second.fault.lines);
        fault.hint = Some("look at the host now: its services may be down".to_owned());
        Outcome::Failed { fault }
    }

    pub(super) fn result(&self) -> StepResult {
        if self.unknown { StepResult::Unknown } else { StepResult::Failed }
    }

    pub(super) fn into_outcome(self) -> Outcome {
        let fault = self.fault;
        if self.unknown { Outcome::Unknown { fault } } else { Outcome::Failed { fault } }
    }
}

pub(super) async fn execute(
    engine: &Engine,
    job: &Job,
    connection: &Arc<dyn Session>,
    step: &Step,
) -> Result<(), StepFault> {
    let session = &**connection;
    match &step.action {
        Action::Run(cmd) => run(engine, job, session, step, cmd).await,
        Action::Send(parcel, cmd) => send::send(engine, job, session, step, (parcel, cmd)).await,
        Action::Save => send::save(engine, job, connection, step).await,
        Action::Local(local) => local::run(Tail::new(engine, job), step, local).await,
        Action::Rsync(what) => {
            push(engine, job, session, step, what).await?;
            Ok(())
        }
        Action::Ship(what) => ship(engine, job, session, step, what).await,
        Action::Await(gate) => wait(engine, job, session, step, gate).await,
    }
}

async fn push(
    engine: &Engine,
    job: &Job,
    session: &dyn Session,
    step: &Step,
    what: &Rsync,
) -> Result<Transfer, StepFault> {
    let mut progress = |at: Progressed| {
        let total = (at.percent > 0).then(|| at.bytes.saturating_mul(100) / u64::from(at.percent));
        engine.emitter.emit(Some(&job.target.name), EventKind::StepProgress { done: at.bytes, total });
    };
    session.rsync(what, Some(&mut progress)).await.map_err(|error| StepFault::of(step, &error))
}

/// Images to a host: what it has is asked now, since another stack's images may have come or gone
/// since the plan was made.
async fn ship(
    engine: &Engine,
    job: &Job,
    session: &dyn Session,
    step: &Step,
    what: &Ship,
) -> Result<(), StepFault> {
    let asked = session
        .exec(&adapt(what.ask(), &job.target), None)
        .await
        .map_err(|error| StepFault::of(step, &error))?;
    let shelf = asked.exit.success().then(|| Shelf::parse(&asked.stdout)).flatten().ok_or_else(|| {
        let said = tidy(&job.redactor, &crate::secret::clean_bytes(&asked.stderr));
        StepFault::failed(step, "the engine does not say what it has".into(), vec![said])
    })?;
    let (store, wanted) = (Store::new(&what.store), what.clone());
    let view = tokio::task::spawn_blocking(move || store.view(&wanted, &shelf)).await;
    let view = match view {
        Ok(Ok(view)) => view,
        Ok(Err(error)) => return Err(StepFault::failed(step, error.to_string(), Vec::new())),
        Err(error) => return Err(StepFault::failed(step, error.to_string(), Vec::new())),
    };
    let files = Rsync {
        source: view.dir.path().to_owned(),
        destination: what.folder(),
        exclude: Vec::new(),
        link_dest: None,
        sudo: true,
        timeout: SHIP_LIMIT,
    };
    let sent = push(engine, job, session, step, &files).await?.bytes_sent;
    let line = format!("{} of {} layers, {sent} bytes sent", view.layers, view.of);
    let output = EventKind::Output { stream: OutputStream::Stdout, line };
    engine.emitter.emit(Some(&job.target.name), output);
    run(engine, job, session, step, &what.load()).await
}

async fn run(
    engine: &Engine,
    job: &Job,
    session: &dyn Session,
    step: &Step,
    cmd: &Cmd,
) -> Result<(), StepFault> {
    let cmd = cmd.clone().holding(&lease::work_lock(&job.desired.layout.stack));
    command(Tail::new(engine, job), session, step, &adapt(cmd, &job.target)).await
}

async fn command(mut tail: Tail<'_>, session: &dyn Session, step: &Step, cmd: &Cmd) -> Result<(), StepFault> {
    let result = session.exec(cmd, Some(&mut |stream, bytes| tail.take(stream, bytes))).await;
    tail.flush();
    let output = result.map_err(|error| StepFault::of(step, &error))?;
    judge(step, cmd, &output, tail)
}

/// A hook beside work that is no plan: the host is not held for it.
pub(super) async fn hook(
    engine: &Engine,
    (target, session): (&Target, &dyn Session),
    redactor: &Redactor,
    step: &Step,
) -> Result<(), StepFault> {
    let tail = Tail::of(engine, &target.name, redactor);
    match &step.action {
        Action::Local(local) => local::run(tail, step, local).await,
        Action::Run(cmd) => command(tail, session, step, &adapt(cmd.clone(), target)).await,
        _ => Err(StepFault::failed(step, "it is no command".to_owned(), Vec::new())),
    }
}

/// How a command ended, as the step's own end.
pub(super) fn judge(step: &Step, cmd: &Cmd, output: &Output, tail: Tail<'_>) -> Result<(), StepFault> {
    let message = match &output.exit {
        Exit::Code(0) => return Ok(()),
        Exit::Code(TIMED_OUT) if cmd.limit().is_some() => {
            format!("not finished within {} s on the host", cmd.limit().unwrap_or_default().as_secs())
        }
        Exit::Code(code) => format!("exit code {code}"),
        Exit::Signal(name) => format!("killed by SIG{name}"),
    };
    Err(said(step, message, tail))
}

/// The fault of a command that ended badly.
fn said(step: &Step, message: String, tail: Tail<'_>) -> StepFault {
    let mut lines = tail.lines();
    // Our own scripts say what they found on a line of this form, which tells more than a number.
    let said = lines.iter().rposition(|line| line.starts_with(SAID));
    let message = match said.map(|index| lines.remove(index)) {
        Some(line) => line[SAID.len()..].to_owned(),
        None => message,
    };
    StepFault::failed(step, message, lines)
}

async fn wait(
    engine: &Engine,
    job: &Job,
    session: &dyn Session,
    step: &Step,
    gate: &Gate,
) -> Result<(), StepFault> {
    let look = adapt(gate.look(), &job.target);
    let started = Instant::now();
    let (mut well_since, mut said, mut before) = (None, Vec::new(), None);
    loop {
        let output = session.exec(&look, None).await.map_err(|error| StepFault::of(step, &error))?;
        match gate.judge(&output.stdout, before.get_or_insert_with(|| Gate::restarts(&output.stdout))) {
            Verdict::Healthy => {
                // The second look at the earliest: one good answer may be a lucky moment.
                let now = Instant::now();
                match well_since {
                    Some(since) if now.duration_since(since) >= gate.steady => return Ok(()),
                    Some(_) => {}
                    None => well_since = Some(now),
                }
            }
            Verdict::Waiting(reasons) => {
                well_since = None;
                let reasons: Vec<String> = reasons.iter().map(|line| tidy(&job.redactor, line)).collect();
                if reasons != said {
                    let line = reasons.join("; ");
                    engine.emitter.emit(
                        Some(&job.target.name),
                        EventKind::Output { stream: OutputStream::Stdout, line },
                    );
                    said = reasons;
                }
                if started.elapsed() > gate.deadline {
                    let service = said.first().and_then(|line| line.split(' ').next()).unwrap_or_default();
                    let lines = logs(job, session, &gate.stack, service).await;
                    let limit = gate.deadline.as_secs();
                    let message = format!("after {limit} s: {}", said.join("; "));
                    return Err(StepFault::failed(step, message, lines));
                }
            }
            Verdict::Broken { service, reason } => {
                let lines = logs(job, session, &gate.stack, &service).await;
                return Err(StepFault::failed(
                    step,
                    tidy(&job.redactor, &format!("{service} {reason}")),
                    lines,
                ));
            }
        }
        tokio::time::sleep(gate.interval.max(Duration::from_millis(500))).await;
    }
}

/// The last lines of a service that is not well.
async fn logs(job: &Job, session: &dyn Session, stack: &str, service: &str) -> Vec<String> {
    let cmd = adapt(compose::last_logs(stack, service, 20), &job.target);
    let Ok(output) = session.exec(&cmd, None).await else { return Vec::new() };
    // Whole first: a secret of several lines is found in one piece only.
    let text = job.redactor.redact(&crate::secret::clean_bytes(&output.stdout)).into_owned();
    let lines: Vec<String> = text.lines().map(|line| tidy(&job.redactor, line)).collect();
    lines[lines.len().saturating_sub(KEPT_LINES)..].to_vec()
}

/// One line of a host as it may be shown: cleaned, then masked, since a control character in the
/// middle of a secret would hide it from the search.
pub(super) fn tidy(redactor: &Redactor, line: &str) -> String {
    let cleaned = crate::secret::clean(line.trim_end());
    redactor.redact(&cleaned).replace('\n', " ").chars().take(MAX_LINE).collect()
}

/// Cuts chunks into lines, masks and cleans each, passes it on and keeps the last ones.
pub(super) struct Tail<'a> {
    engine: &'a Engine,
    client: &'a str,
    redactor: &'a Redactor,
    streams: [Lines<'a>; 2],
    kept: VecDeque<String>,
}

/// One stream on its way from chunks to lines.
struct Lines<'a> {
    /// Masks what chunks cut in two, and values of several lines.
    masked: Option<ChunkRedactor<'a>>,
    partial: Vec<u8>,
    /// The line was too long and has been passed on: what follows of it is not.
    skipping: bool,
}

impl Lines<'_> {
    /// Takes bytes in and gives the lines that they complete.
    fn take(&mut self, bytes: &[u8]) -> Vec<Vec<u8>> {
        let mut lines = Vec::new();
        for piece in bytes.split_inclusive(|byte| matches!(byte, b'\n' | b'\r')) {
            let ended = piece.ends_with(b"\n") || piece.ends_with(b"\r");
            if !self.skipping {
                self.partial.extend_from_slice(&piece[..piece.len() - usize::from(ended)]);
            }
            let long = self.partial.len() > LONGEST_LINE;
            if (ended && !self.skipping) || long {
                lines.push(std::mem::take(&mut self.partial));
            }
            self.skipping = !ended && (self.skipping || long);
        }
        lines
    }
}

impl<'a> Tail<'a> {
    pub(super) fn new(engine: &'a Engine, job: &'a Job) -> Self {
        Tail::of(engine, &job.target.name, &job.redactor)
    }

    fn of(engine: &'a Engine, client: &'a str, redactor: &'a Redactor) -> Self {
        let stream = || Lines { masked: Some(redactor.chunks()), partial: Vec::new(), skipping: false };
        Tail { engine, client, redactor, streams: [stream(), stream()], kept: VecDeque::new() }
    }

    pub(super) fn take(&mut self, stream: Stream, bytes: &[u8]) {
        let lines = &mut self.streams[usize::from(stream == Stream::Stderr)];
        let Some(masked) = &mut lines.masked else { return };
        let shown = masked.push(bytes);
        for line in lines.take(&shown) {
            self.line(stream, &line);
        }
    }

    pub(super) fn flush(&mut self) {
        for (index, stream) in [(0, Stream::Stdout), (1, Stream::Stderr)] {
            let rest = self.streams[index].masked.take().map(ChunkRedactor::finish).unwrap_or_default();
            let mut lines = self.streams[index].take(&rest);
            lines.push(std::mem::take(&mut self.streams[index].partial));
            for line in lines {
                self.line(stream, &line);
            }
        }
    }

    fn line(&mut self, stream: Stream, bytes: &[u8]) {
        let line = tidy(self.redactor, &String::from_utf8_lossy(bytes));
        if line.is_empty() {
            return;
        }
        if self.kept.len() == KEPT_LINES {
            self.kept.pop_front();
        }
        self.kept.push_back(line.clone());
        if let (Stream::Stdout, Some((service, seconds))) = (stream, away::line(&line)) {
            let measured = EventKind::ServiceAway { service: service.to_owned(), seconds };
            self.engine.emitter.emit(Some(self.client), measured);
            return;
        }
        let stream = match stream {
            Stream::Stdout => OutputStream::Stdout,
            Stream::Stderr => OutputStream::Stderr,
        };
        self.engine.emitter.emit(Some(self.client), EventKind::Output { stream, line });
    }

    fn lines(self) -> Vec<String> {
        self.kept.into()
    }
}
