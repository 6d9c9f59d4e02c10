//! Steps of a restore that need more than a command: what a backup holds is sent, and a client is saved.

use std::sync::Arc;

use async_trait::async_trait;
use tokio::sync::mpsc::{Sender, channel};

use super::host::adapt;
use super::step::{StepFault, Tail, judge, tidy};
use super::work::Worked;
use super::{Engine, Job};
use crate::event::{EventKind, Outcome, OutputStream};
use crate::ops::backup::restore::Parcel;
use crate::ops::lease;
use crate::plan::Step;
use crate::shell::Cmd;
use crate::ssh::{Piece, Session};

/// Pieces that wait between the repository and the connection.
const WAITING: usize = 16;

/// The backups of one client: what a restore sends, and where the client is saved first.
#[async_trait]
pub trait Stock: Send + Sync + 'static {
    /// Gives a parcel piece by piece; only what is whole ends with [`Piece::End`]. It blocks. `told` hears how
    /// many bytes were given so far, and of how many where that is known.
    ///
    /// # Errors
    /// Message and remedy of what is wrong with it; `None` when nobody takes it any more.
    fn give(
        &self,
        parcel: &Parcel,
        into: &Sender<Piece>,
        told: &mut dyn FnMut(u64, Option<u64>),
    ) -> Result<(), Option<(String, Option<String>)>>;

    /// Saves the client as it is now; the answer says where.
    ///
    /// # Errors
    /// Why it could not be.
    async fn save(&self, on: &Worked) -> Result<String, Outcome>;
}

/// A fault of our own: the plan and the job do not belong together.
fn without(step: &Step) -> StepFault {
    StepFault::failed(step, "this run has no backup to take it from".into(), Vec::new())
}

pub(super) async fn send(
    engine: &Engine,
    job: &Job,
    session: &dyn Session,
    step: &Step,
    (parcel, cmd): (&Parcel, &Cmd),
) -> Result<(), StepFault> {
    let stock = Arc::clone(job.stock.as_ref().ok_or_else(|| without(step))?);
    let (sender, mut pieces) = channel(WAITING);
    let (emitter, client, parcel) = (engine.emitter.clone(), job.target.name.clone(), parcel.clone());
    let giving = tokio::task::spawn_blocking(move || {
        let mut told = |done, total| emitter.emit(Some(&client), EventKind::StepProgress { done, total });
        stock.give(&parcel, &sender, &mut told)
    });
    let mut tail = Tail::new(engine, job);
    let cmd = adapt(cmd.clone().holding(&lease::work_lock(&job.desired.layout.stack)), &job.target);
    let result = session.push(&cmd, &mut pieces, Some(&mut |stream, bytes| tail.take(stream, bytes))).await;
    // Whoever still gives hears that nobody takes.
    drop(pieces);
    tail.flush();
    match giving.await {
        // What is wrong with the backup explains whatever the host made of it.
        Ok(Err(Some((message, hint)))) => {
            let mut step = step.clone();
            step.hint = hint.or(step.hint);
            return Err(StepFault::failed(&step, tidy(&job.redactor, &message), Vec::new()));
        }
        Ok(Ok(()) | Err(None)) => {}
        Err(_) => return Err(StepFault::failed(step, "the backup could not be read".into(), Vec::new())),
    }
    let output = result.map_err(|error| StepFault::of(step, &error))?;
    judge(step, &cmd, &output, tail)
}

pub(super) async fn save(
    engine: &Engine,
    job: &Job,
    session: &Arc<dyn Session>,
    step: &Step,
) -> Result<(), StepFault> {
    let stock = job.stock.as_ref().ok_or_else(|| without(step))?;
    match stock.save(&Worked::within(engine, &job.target, session)).await {
        Ok(line) => {
            let line = tidy(&job.redactor, &line);
            let said = EventKind::Output { stream: OutputStream::Stdout, line };
            engine.emitter.emit(Some(&job.target.name), said);
            Ok(())
        }
        Err(Outcome::Locked { holder, .. }) => {
            let mut step = step.clone();
            step.hint = Some("nothing was touched; when it has ended, run the same command again".into());
            let message = format!("{holder} is at work on the client's repository");
            Err(StepFault::failed(&step, message, Vec::new()))
        }
        Err(outcome) => Err(match outcome.fault() {
            Some(fault) => {
                let mut step = step.clone();
                // What mends it, and what does without.
                step.hint = Some(
                    [&fault.hint, &step.hint].into_iter().flatten().cloned().collect::<Vec<_>>().join("; "),
                );
                StepFault::failed(&step, tidy(&job.redactor, &fault.message), fault.lines.clone())
            }
            None => StepFault::failed(step, outcome.word().to_owned(), Vec::new()),
        }),
    }
}
