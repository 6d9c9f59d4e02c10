//! One run from start to end: events to renderer, journal and report; signals; the engine driven
//! in between. What a verb does with its hosts is the verb's own.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use async_trait::async_trait;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

use super::App;
use super::assemble::RunInfo;
use super::context::Fleet;
use super::global::Limits;
use crate::engine::journal::{self, Journal};
use crate::engine::{Cancel, Connector, Emitter, Engine, Level};
use crate::event::{Event, EventKind, ExitKind, Fault, Report};
use crate::ssh::{Dialer, HostKeyPolicy, Session, Target, processors};
use crate::ui::{self, Renderer};

/// Hosts asked at once when nobody says: one answer each, so the more the better.
const LOOK: usize = 256;
/// Hosts changed at once per processor: each may run an rsync here.
const CHANGE: usize = 16;
/// Descriptors that one host may need: its connection, and rsync's pipes and sockets.
const DESCRIPTORS: usize = 8;

pub struct Run {
    pub engine: Engine,
    pub report: Report,
    events: UnboundedReceiver<Event>,
    renderer: Box<dyn Renderer>,
    journal: Option<Journal>,
    started: Instant,
}

/// SSH with the fleet's key and host keys, by the transport that each client has.
#[derive(Default)]
struct Ssh(Dialer);

#[async_trait]
impl Connector for Ssh {
    async fn connect(&self, target: &Target) -> Result<Arc<dyn Session>, Fault> {
        self.0.connect(target, HostKeyPolicy::AcceptNew).await.map_err(|error| Fault {
            step: "connect".into(),
            message: error.what(),
            lines: Vec::new(),
            hint: Some(error.remedy()),
        })
    }
}

/// Identity of a new run: sorts by time, unlike any other.
#[must_use]
pub fn new_run() -> RunInfo {
    let now = jiff::Timestamp::now();
    RunInfo { run: run_id(now, rand::random()), who: crate::fs_atomic::operator(), at: stamp(now) }
}

/// Two runs of one second must sort too: what is left of it is told in 1/4096, before the random part.
fn run_id(now: jiff::Timestamp, random: u16) -> String {
    let part = i64::from(now.subsec_nanosecond()) * 4096 / 1_000_000_000;
    format!("{}-{part:03x}{:03x}", now.strftime("%Y%m%d-%H%M%S"), random & 0xfff)
}

fn stamp(at: jiff::Timestamp) -> String {
    at.strftime("%Y-%m-%dT%H:%M:%S.%3fZ").to_string()
}

impl Run {
    /// Opens the journal and announces the run.
    ///
    /// # Errors
    /// When the journal cannot be written: a run without one is not begun.
    pub fn start(
        app: &App,
        fleet: &Fleet,
        info: &RunInfo,
        verb: &str,
        clients: Vec<String>,
        limits: &Limits,
    ) -> anyhow::Result<Run> {
        let dir = fleet.state_dir().join("runs");
        let journal = Journal::create(&dir, &info.run)
            .with_context(|| format!("the journal of this run cannot be written to {}", dir.display()))?;
        journal::prune(&dir, fleet.registry.fleet.keep_runs).ok();
        Ok(Run::new(app, fleet, info, verb, clients, limits, Some(journal)))
    }

    /// A run that only looks: no journal.
    pub fn look(
        app: &App,
        fleet: &Fleet,
        info: &RunInfo,
        verb: &str,
        clients: Vec<String>,
        limits: &Limits,
    ) -> Run {
        Run::new(app, fleet, info, verb, clients, limits, None)
    }

    fn new(
        app: &App,
        fleet: &Fleet,
        info: &RunInfo,
        verb: &str,
        clients: Vec<String>,
        limits: &Limits,
        journal: Option<Journal>,
    ) -> Run {
        let (sender, events) = unbounded_channel();
        let emitter = Emitter::new(&info.run, sender, || stamp(jiff::Timestamp::now()));
        let parallel = limits.parallel.map(|n| n as usize).or(fleet.registry.fleet.parallel);
        let engine = Engine {
            connector: Arc::new(Ssh::default()),
            emitter,
            cancel: Cancel::default(),
            limits: crate::engine::Limits {
                parallel: parallel.unwrap_or_else(|| width(journal.is_none())),
                host: limits.timeout,
            },
        };
        engine.emitter.emit(
            None,
            EventKind::RunStarted {
                verb: verb.to_owned(),
                who: info.who.clone(),
                clients,
                machine: journal::machine(),
            },
        );
        // What only looks answers with data of its own: its events are shown while they last.
        let renderer = if journal.is_some() {
            let settings =
                ui::Settings { json: app.global.json, verbose: app.global.verbose, look: app.stderr };
            ui::renderer(&settings)
        } else {
            ui::glance(app.stderr)
        };
        Run { engine, report: Report::default(), events, renderer, journal, started: Instant::now() }
    }

    /// Drives a piece of work while its events are shown and signals are heard. The work gets a
    /// handle of the engine of its own.
    pub async fn drive<T, F>(&mut self, work: impl FnOnce(Engine) -> F) -> T
    where
        F: Future<Output = T>,
    {
        let cancel = self.engine.cancel.clone();
        let mut future = Box::pin(work(self.engine.clone()));
        let mut signals = Signals::listen();
        loop {
            tokio::select! {
                biased;
                Some(event) = self.events.recv() => self.take(&event),
                () = signals.next() => {
                    let said = if self.journal.is_some() { raised(&cancel) } else { left(&cancel) };
                    match said {
                        Some(text) => self.renderer.say(text),
                        None => std::process::exit(ExitKind::Interrupted as i32),
                    }
                }
                result = &mut future => {
                    while let Ok(event) = self.events.try_recv() {
                        self.take(&event);
                    }
                    return result;
                }
            }
        }
    }

    fn take(&mut self, event: &Event) {
        self.report.fold(event);
        // Before it is shown: what was seen before a kill is known to the next run.
        if let Some(journal) = &mut self.journal
            && let Err(error) = journal.append(event)
        {
            self.renderer
                .say(&format!("warning: the journal ends here, {}: {error}", journal.path().display()));
            self.journal = None;
        }
        self.renderer.event(event);
    }

    /// Shows a plan and asks, with the bars out of the way.
    pub fn between<T>(&mut self, work: impl FnOnce() -> T) -> T {
        self.renderer.pause();
        let result = work();
        self.renderer.resume();
        result
    }

    #[must_use]
    pub fn interrupted(&self) -> bool {
        self.engine.cancel.requested()
    }

    /// Leaves the terminal to what the host prints.
    pub fn hush(&mut self) {
        self.renderer = ui::silent();
    }

    /// Announces the end and shows the summary.
    pub fn finish(mut self) -> ExitKind {
        self.report.interrupted = self.interrupted();
        let exit = self.report.exit();
        let seconds = self.started.elapsed().as_secs_f64();
        self.engine.emitter.emit(None, EventKind::RunFinished { exit: exit as u8, seconds });
        while let Ok(event) = self.events.try_recv() {
            self.take(&event);
        }
        self.renderer.finish(&self.report);
        crate::sentry::own::report(&self.report);
        exit
    }

    /// Ends a run that only looked: bars go away, no summary is shown.
    pub fn end(self) -> bool {
        self.ended().1
    }

    /// The same; what each client came to, and whether it was interrupted.
    pub fn ended(mut self) -> (Report, bool) {
        while let Ok(event) = self.events.try_recv() {
            self.take(&event);
        }
        let interrupted = self.interrupted();
        (self.report, interrupted)
    }
}

/// What one more signal means, as a sentence; `None` when it was the third and the program shall
/// end at once.
fn raised(cancel: &Cancel) -> Option<&'static str> {
    let before = cancel.level();
    match cancel.raise() {
        Level::Run | Level::Drain => {
            Some("no new step is started; running steps are finished (press again to leave them)")
        }
        Level::Abandon if before == Level::Drain => {
            Some("running steps are left as they are (press again to end at once)")
        }
        Level::Abandon => None,
    }
}

/// The same where nothing is lost by leaving at once.
fn left(cancel: &Cancel) -> Option<&'static str> {
    if cancel.requested() {
        return None;
    }
    cancel.raise();
    cancel.raise();
    Some("interrupted (press again to end at once)")
}

/// Calls back at each Ctrl-C or request to terminate, from now to the end of the program.
///
/// # Errors
/// When no thread can be started.
pub fn on_signal(then: impl Fn() + Send + 'static) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    std::thread::Builder::new().name("signals".to_owned()).spawn(move || {
        runtime.block_on(async {
            let mut signals = Signals::listen();
            loop {
                signals.next().await;
                then();
            }
        });
    })?;
    Ok(())
}

/// Ctrl-C and the request to terminate mean the same.
struct Signals {
    interrupt: Option<tokio::signal::unix::Signal>,
    terminate: Option<tokio::signal::unix::Signal>,
}

impl Signals {
    fn listen() -> Self {
        use tokio::signal::unix::{SignalKind, signal};
        Signals {
            interrupt: signal(SignalKind::interrupt()).ok(),
            terminate: signal(SignalKind::terminate()).ok(),
        }
    }

    async fn next(&mut self) {
        let wait = async |signal: &mut Option<tokio::signal::unix::Signal>| match signal {
            Some(signal) => drop(signal.recv().await),
            None => std::future::pending().await,
        };
        let Signals { interrupt, terminate } = self;
        tokio::select! {
            () = wait(interrupt) => {}
            () = wait(terminate) => {}
        }
    }
}

/// Hosts at once when nobody says, as this machine can bear it.
fn width(look: bool) -> usize {
    let wished = if look { LOOK } else { (CHANGE * processors()).clamp(32, 128) };
    let open = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    wished.min(usize::try_from(open).unwrap_or(usize::MAX) / DESCRIPTORS).max(1)
}

/// The soft limit of open files is often 1,024 for the sake of old programs; the hard one is ours.
fn raise_descriptors() {
    let limit = getrlimit(Resource::Nofile);
    // Where it is refused, the width follows what there is.
    let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum });
}

/// A runtime for the hosts: one connection needs no thread of its own.
///
/// # Errors
/// When the system refuses threads.
pub fn runtime() -> anyhow::Result<tokio::runtime::Runtime> {
    raise_descriptors();
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .context("no runtime could be started")
}

/// Waits a little for tasks that were left behind, then lets go of them.
pub fn shut_down(runtime: tokio::runtime::Runtime) {
    runtime.shutdown_timeout(Duration::from_millis(200));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_of_one_second_sort_by_their_time() {
        let id = |at: &str, random| run_id(at.parse().unwrap(), random);
        let early = id("2026-11-20T14:10:48.120Z", 0xffff);
        let late = id("2026-11-20T14:10:48.121Z", 0);
        assert_eq!((early.as_str(), late.as_str()), ("20261120-141048-1ebfff", "20261120-141048-1ef000"));
        assert!(early < late && late < id("2026-11-20T14:10:49Z", 0));
    }
}
