//! Work on a host that is no plan of steps: a backup, a restore. The engine connects, limits, emits
//! the events and gives each host its one outcome; what is done in between is the work's own.

use std::sync::Arc;
use std::time::Instant;

use async_trait::async_trait;

use super::host::{adapt, connect, interrupted};
use super::step::{self, StepFault};
use super::{Emitter, Engine, Level};
use crate::event::{EventKind, Fault, Outcome, StepResult};
use crate::plan::Step;
use crate::secret::Redactor;
use crate::shell::Cmd;
use crate::ssh::{Session, Target};

/// What is done on one host.
#[async_trait]
pub trait Work: Send + Sync + 'static {
    /// Both sides of the result are outcomes: `?` ends the work early.
    async fn run(&self, on: &Worked) -> Result<Outcome, Outcome>;
}

/// A host that is being worked on.
pub struct Worked {
    pub target: Target,
    pub session: Arc<dyn Session>,
    engine: Engine,
}

impl Worked {
    /// For work that is one step of a plan.
    pub(super) fn within(engine: &Engine, target: &Target, session: &Arc<dyn Session>) -> Worked {
        Worked { target: target.clone(), session: Arc::clone(session), engine: engine.clone() }
    }

    /// The command as this host's login needs it.
    #[must_use]
    pub fn adapt(&self, cmd: Cmd) -> Cmd {
        adapt(cmd, &self.target)
    }

    /// Another connection, when the one there was is cut.
    ///
    /// # Errors
    /// Why there is none.
    pub async fn again(&self) -> Result<Arc<dyn Session>, Fault> {
        self.engine.connector.connect(&self.target).await
    }

    /// The same host over another connection.
    ///
    /// # Errors
    /// Why there is none.
    pub async fn anew(&self) -> Result<Worked, Fault> {
        let session = self.again().await?;
        Ok(Worked { target: self.target.clone(), session, engine: self.engine.clone() })
    }

    /// Whether the operator insists on an end.
    #[must_use]
    pub fn given_up(&self) -> bool {
        self.engine.cancel.level() == Level::Abandon
    }

    /// Ends when the operator insists on an end.
    pub async fn abandoned(&self) {
        self.engine.cancel.abandoned().await;
    }

    #[must_use]
    pub fn emitter(&self) -> &Emitter {
        &self.engine.emitter
    }

    /// One named step with its events. Between steps an interrupted run ends; within one it is given
    /// up when the operator insists, by dropping `work`.
    ///
    /// # Errors
    /// What `work` says, or that the run was interrupted.
    pub async fn step<T>(
        &self,
        title: &str,
        (index, total): (usize, usize),
        work: impl Future<Output = Result<T, Outcome>>,
    ) -> Result<T, Outcome> {
        self.go_on(title)?;
        self.finish(title, (index, total), work).await
    }

    /// Whether a step may begin.
    ///
    /// # Errors
    /// When the run was interrupted.
    pub fn go_on(&self, title: &str) -> Result<(), Outcome> {
        match self.engine.cancel.requested() {
            true => Err(interrupted(&format!("\"{title}\""))),
            false => Ok(()),
        }
    }

    /// A command of the stack with its events. It runs in an interrupted run too: what one of them began another one
    /// is to end.
    ///
    /// # Errors
    /// How it failed.
    pub async fn hook(&self, step: &Step, redactor: &Redactor, place: (usize, usize)) -> Result<(), Outcome> {
        let run = step::hook(&self.engine, (&self.target, &*self.session), redactor, step);
        self.finish(&step.title, place, async { run.await.map_err(StepFault::into_outcome) }).await
    }

    async fn finish<T>(
        &self,
        title: &str,
        (index, total): (usize, usize),
        work: impl Future<Output = Result<T, Outcome>>,
    ) -> Result<T, Outcome> {
        let engine = &self.engine;
        let client = Some(self.target.name.as_str());
        let named = || title.to_owned();
        let stage = "backup".to_owned();
        engine.emitter.emit(client, EventKind::StepStarted { stage, step: named(), index, total });
        let started = Instant::now();
        let result = tokio::select! {
            result = work => result,
            () = engine.cancel.abandoned() => Err(interrupted("its end")),
        };
        let shown = match &result {
            Ok(_) => StepResult::Done,
            Err(Outcome::Skipped { .. }) => StepResult::Skipped,
            Err(Outcome::Unknown { .. }) => StepResult::Unknown,
            Err(_) => StepResult::Failed,
        };
        let seconds = started.elapsed().as_secs_f64();
        engine.emitter.emit(client, EventKind::StepFinished { step: named(), seconds, result: shown });
        result
    }

    /// Worth saying, fatal to nothing.
    pub fn warn(&self, message: impl Into<String>, hint: Option<String>) {
        let kind = EventKind::Warning { message: message.into(), hint };
        self.engine.emitter.emit(Some(&self.target.name), kind);
    }
}

impl Engine {
    /// Works on every host, as many at once as the limits allow.
    pub async fn work(&self, items: Vec<(Target, Arc<dyn Work>)>) {
        let items = items.into_iter().map(|item| (item.0.name.clone(), item)).collect();
        self.each(items, |engine, (target, work): (Target, Arc<dyn Work>)| async move {
            let started = Instant::now();
            let name = target.name.clone();
            let outcome = match engine.limited(one(&engine, target, work, started)).await {
                Ok(outcome) | Err(outcome) => outcome,
            };
            engine.finish(&name, outcome, started);
        })
        .await;
    }
}

async fn one(
    engine: &Engine,
    target: Target,
    work: Arc<dyn Work>,
    started: Instant,
) -> Result<Outcome, Outcome> {
    let session = tokio::select! {
        session = connect(engine, &target, started) => session?,
        () = engine.cancel.abandoned() => return Err(interrupted("it was connected to")),
    };
    let on = Worked { target, session, engine: engine.clone() };
    let result = work.run(&on).await;
    on.session.close().await;
    result
}
