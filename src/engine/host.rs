//! One host through a run: connect, look, lease, stages, outcome.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::lease::Held;
use super::step::{self, StepFault};
use super::{Engine, Job, Level, Surveyed};
use crate::event::{EventKind, Fault, Outcome, StepResult};
use crate::facts::Facts;
use crate::ops::lease;
use crate::plan::hooks::{self, Ended};
use crate::plan::{self, Desired, Stage, StagePlan, Step, Undo};
use crate::shell::Cmd;
use crate::ssh::{Output, Session, SessionError, Sink, Target};

/// How long a command that is given up may take to hear of it.
const FAREWELL: Duration = Duration::from_millis(150);

pub(super) async fn ask(
    engine: &Engine,
    target: &Target,
    cmd: Cmd,
    sink: Option<Sink<'_>>,
    started: Instant,
) -> Result<Output, Outcome> {
    let session = tokio::select! {
        session = connect(engine, target, started) => session?,
        () = engine.cancel.abandoned() => return Err(interrupted("it was connected to")),
    };
    let cmd = adapt(cmd, target);
    let output = tokio::select! {
        output = session.exec(&cmd, sink) => Some(output),
        () = engine.cancel.abandoned() => None,
    };
    if output.is_none() {
        // Time for the signal that ends the command on the host.
        tokio::time::sleep(FAREWELL).await;
    }
    session.close().await;
    match output {
        Some(output) => output.map_err(|error| unreachable(lost("ask", &error))),
        None => Err(Outcome::skipped(
            "interrupted; it was told to end, and may go on where the host ignores that",
        )),
    }
}

pub(super) async fn connect(
    engine: &Engine,
    target: &Target,
    started: Instant,
) -> Result<Arc<dyn Session>, Outcome> {
    if engine.cancel.requested() {
        return Err(interrupted("it was connected to"));
    }
    engine.emitter.emit(Some(&target.name), EventKind::HostStarted);
    let session = engine.connector.connect(target).await.map_err(|fault| Outcome::Unreachable { fault })?;
    let (host_key, recorded) = session.host_key();
    let seconds = started.elapsed().as_secs_f64();
    engine.emitter.emit(Some(&target.name), EventKind::HostConnected { host_key, recorded, seconds });
    Ok(session)
}

/// A host that goes silent before anything was touched is unreachable, not unknown.
fn unreachable(outcome: Outcome) -> Outcome {
    match outcome {
        Outcome::Unknown { fault } => Outcome::Unreachable { fault },
        other => other,
    }
}

pub(super) async fn survey(engine: &Engine, job: Job, started: Instant) -> Result<Surveyed, Outcome> {
    let session = connect(engine, &job.target, started).await?;
    let facts = look(&*session, &job.target, &job.desired).await.map_err(unreachable)?;
    if job.needs_provision && facts.value("engine").is_none() {
        return Err(refused(
            "this host was never provisioned",
            &format!("fleet provision {}", job.target.name),
        ));
    }
    if job.first_secrets && facts.state.is_some() {
        return Err(refused(
            "this host serves with secrets that are not in this fleet directory",
            &format!(
                "bring back secrets/{name}.age (git, a backup or another operator's copy), or take the values off the host with `fleet secrets recover {name}`",
                name = job.target.name
            ),
        ));
    }
    let mut plans = job
        .stages
        .iter()
        .map(|stage| plan::plan(*stage, &job.desired, &facts))
        .collect::<Result<Vec<_>, _>>()
        .map_err(|refusal| refused(&refusal.message, &refusal.hint))?;
    if plans.iter().all(|plan| plan.stage.is_hooks() || plan.steps.is_empty()) {
        // Hooks are for what is done between them.
        plans.iter_mut().for_each(|plan| plan.steps.clear());
    }
    let pending = plans.iter().any(|plan| plan.stage == Stage::Rollout && !plan.steps.is_empty());
    let changes =
        if pending { plan::changes::of(&job.desired, &facts, &job.redactor) } else { Default::default() };
    Ok(Surveyed { job, session, facts, plans, changes, started })
}

pub(super) async fn execute(engine: &Engine, host: Surveyed, recheck: bool) -> Result<Outcome, Outcome> {
    if !host.pending() {
        return Ok(Outcome::Unchanged);
    }
    if engine.cancel.requested() {
        return Err(interrupted("its first step"));
    }
    let Surveyed { job, session, facts, plans, .. } = host;
    let desired = Arc::clone(&job.desired);
    let (held, took) = Held::take(&session, &job, &desired).await?;
    if let Some(took) = took {
        let clean = |text: &str| crate::secret::clean(text).replace('\n', " ");
        let message = format!(
            "{} of {} ended here without giving its lease back (run {}); this run goes on from what it left",
            clean(&took.verb),
            clean(&took.holder),
            clean(&took.run)
        );
        engine.emitter.emit(Some(&job.target.name), EventKind::Warning { message, hint: None });
    }
    let before = facts.state.as_ref().map(|state| state.release.clone());
    let result = stages(engine, &job, &session, &held, facts, plans, recheck).await;
    if let Err(outcome) = &result {
        on_failure(engine, &job, &session, before.as_deref(), outcome).await;
    }
    // No renewal may come after the lease is given back.
    held.end();
    let give_back = adapt(lease::release(&desired.layout.stack, &desired.run), &job.target);
    // The lease runs out by itself when this does not arrive.
    let _ = session.exec(&give_back, None).await;
    result
}

async fn stages(
    engine: &Engine,
    job: &Job,
    session: &Arc<dyn Session>,
    held: &Held,
    mut facts: Facts,
    plans: Vec<StagePlan>,
    recheck: bool,
) -> Result<Outcome, Outcome> {
    let desired = &job.desired;
    let mut planned = plans.into_iter();
    let mut touched = false;
    if recheck {
        let now = look(&**session, &job.target, desired).await?;
        if now.basis() != facts.basis() {
            return Err(refused(
                "the host changed since the plan was shown, so it was not touched",
                "look at the plan again: run the same command once more",
            ));
        }
        facts = now;
    }
    let back = job.stages.contains(&Stage::Rollback).then(|| plan::way_back(desired, &facts)).flatten();
    let release = back.unwrap_or(&desired.release.id).to_owned();
    for stage in &job.stages {
        let mut plan = planned.next();
        if *stage == Stage::After {
            if let Some(plan) = plan.filter(|_| touched) {
                after(engine, job, session, &plan).await?;
            }
            continue;
        }
        if touched {
            facts = look(&**session, &job.target, desired).await?;
            plan = None;
        }
        let plan = match plan {
            Some(plan) => plan,
            None => plan::plan(*stage, desired, &facts).map_err(|refusal| halted(*stage, refusal))?,
        };
        if plan.steps.is_empty() {
            continue;
        }
        touched |= !stage.is_hooks();
        run_stage(engine, job, session, held, &plan).await?;
    }
    let summary = match (&desired.restore, &desired.purge) {
        (Some(restore), _) => format!("release {release}, restored from snapshot {}", restore.named),
        (None, Some(_)) => "the stack is off the host".to_owned(),
        (None, None) => format!("release {release}"),
    };
    Ok(Outcome::Changed { summary })
}

/// What the stack does once a client was changed. The release serves whatever comes of it.
async fn after(
    engine: &Engine,
    job: &Job,
    session: &Arc<dyn Session>,
    plan: &StagePlan,
) -> Result<(), Outcome> {
    let (stage, total) = (plan.stage.name(), plan.steps.len());
    for (index, step) in plan.steps.iter().enumerate() {
        if engine.cancel.requested() {
            let message = format!("interrupted before \"{}\": it was not run", step.title);
            engine.emitter.emit(Some(&job.target.name), EventKind::Warning { message, hint: None });
            return Ok(());
        }
        run_step(engine, job, session, step, (stage, index + 1, total))
            .await
            .map_err(StepFault::into_outcome)?;
    }
    Ok(())
}

/// What the stack does when a client that was begun failed. A fault here is told and hides nothing.
async fn on_failure(
    engine: &Engine,
    job: &Job,
    session: &Arc<dyn Session>,
    before: Option<&str>,
    outcome: &Outcome,
) {
    let Some(fault) = outcome.fault().filter(|fault| fault.step != crate::event::PLANNING) else { return };
    let ended =
        Ended { outcome: outcome.word(), step: &fault.step, message: &fault.message, ..Ended::default() };
    let steps = hooks::failed(&job.desired, before, &ended);
    let total = steps.len();
    for (index, step) in steps.iter().enumerate() {
        if engine.cancel.level() == Level::Abandon {
            return;
        }
        if let Err(second) = run_step(engine, job, session, step, ("failure", index + 1, total)).await {
            let message = format!("{} failed too: {}", step.title, second.into_fault().message);
            engine.emitter.emit(Some(&job.target.name), EventKind::Warning { message, hint: None });
        }
    }
}

async fn run_stage(
    engine: &Engine,
    job: &Job,
    session: &Arc<dyn Session>,
    held: &Held,
    plan: &StagePlan,
) -> Result<(), Outcome> {
    let stage = plan.stage.name();
    engine.emitter.emit(
        Some(&job.target.name),
        EventKind::StagePlanned {
            stage: stage.to_owned(),
            steps: plan.steps.len(),
            release: Some(job.desired.release.id.clone()),
        },
    );
    for (index, step) in plan.steps.iter().enumerate() {
        let undo = plan.undo.as_ref().filter(|undo| undo.critical.contains(&index));
        // Past the first step that calls for a way back the stage is finished: what follows the
        // commit point is short, and a client that serves the new release has changed.
        let inside = plan.undo.as_ref().is_some_and(|undo| undo.critical.start < index);
        if engine.cancel.requested() && !inside {
            return Err(interrupted(&format!("\"{}\"", step.title)));
        }
        if let Some(outcome) = held.lost() {
            return Err(outcome.clone());
        }
        let at = (stage, index + 1, plan.steps.len());
        if let Err(fault) = run_step(engine, job, session, step, at).await {
            return Err(match undo {
                Some(undo) if !fault.is_unknown() => go_back(engine, job, session, undo, fault).await,
                _ => fault.into_outcome(),
            });
        }
    }
    Ok(())
}

/// Runs the undo steps of a stage that failed. Nobody stops this on the way.
async fn go_back(
    engine: &Engine,
    job: &Job,
    session: &Arc<dyn Session>,
    undo: &Undo,
    fault: StepFault,
) -> Outcome {
    for (index, step) in undo.steps.iter().enumerate() {
        let at = ("undo", index + 1, undo.steps.len());
        if let Err(second) = run_step(engine, job, session, step, at).await {
            return fault.and_then_undo_failed(&undo.release, second);
        }
    }
    Outcome::RolledBack { fault: fault.into_fault(), release: undo.release.clone() }
}

async fn run_step(
    engine: &Engine,
    job: &Job,
    session: &Arc<dyn Session>,
    step: &Step,
    (stage, index, total): (&str, usize, usize),
) -> Result<(), StepFault> {
    let client = Some(job.target.name.as_str());
    let title = || step.title.clone();
    engine
        .emitter
        .emit(client, EventKind::StepStarted { stage: stage.to_owned(), step: title(), index, total });
    let started = Instant::now();
    let result = tokio::select! {
        result = step::execute(engine, job, session, step) => result,
        () = engine.cancel.abandoned() => Err(StepFault::unknown(step, "abandoned by the operator")),
    };
    let seconds = started.elapsed().as_secs_f64();
    let shown = result.as_ref().err().map_or(StepResult::Done, StepFault::result);
    engine.emitter.emit(client, EventKind::StepFinished { step: title(), seconds, result: shown });
    result
}

/// Probes a host and reads the answer.
async fn look(session: &dyn Session, target: &Target, desired: &Desired) -> Result<Facts, Outcome> {
    let cmd = adapt(plan::question(desired), target);
    let output = session.exec(&cmd, None).await.map_err(|error| lost("look at the host", &error))?;
    Facts::parse(&output.stdout).map_err(|error| {
        let said = crate::secret::clean_bytes(&output.stderr);
        let all: Vec<&str> = said.lines().collect();
        let lines: Vec<String> =
            all[all.len().saturating_sub(5)..].iter().map(|line| (*line).into()).collect();
        if said.contains("sudo:") {
            let fault = Fault {
                step: "look at the host".into(),
                message: format!("{} has no sudo without a password", target.user),
                lines,
                hint: Some(format!(
                    "on the host, as root: echo '{user} ALL=(ALL) NOPASSWD:ALL' > /etc/sudoers.d/90-{user}",
                    user = target.user
                )),
            };
            return Outcome::Failed { fault };
        }
        let fault = Fault {
            step: "look at the host".into(),
            message: error.to_string(),
            lines,
            hint: Some(format!("fleet test-ssh {}", target.name)),
        };
        Outcome::Failed { fault }
    })
}

/// Drops `sudo` where the login is root already: a bare Debian may have none.
pub(super) fn adapt(cmd: Cmd, target: &Target) -> Cmd {
    if target.user == "root" { cmd.as_root() } else { cmd }
}

pub(super) fn lost(step: &str, error: &SessionError) -> Outcome {
    Outcome::Unknown {
        fault: Fault {
            step: step.into(),
            message: error.to_string(),
            lines: Vec::new(),
            hint: Some("run the same command again: it finds out what is and goes on".into()),
        },
    }
}

pub(super) fn refused(message: &str, hint: &str) -> Outcome {
    Outcome::Failed {
        fault: Fault {
            step: crate::event::PLANNING.into(),
            message: message.to_owned(),
            lines: Vec::new(),
            hint: Some(hint.to_owned()),
        },
    }
}

/// A later stage cannot be planned; the ones before were carried out, so the host was touched.
fn halted(stage: plan::Stage, refusal: plan::Refusal) -> Outcome {
    Outcome::Failed {
        fault: Fault {
            step: format!("plan {}", stage.name()),
            message: refusal.message,
            lines: Vec::new(),
            hint: Some(refusal.hint),
        },
    }
}

pub(super) fn interrupted(before: &str) -> Outcome {
    Outcome::skipped(format!("interrupted before {before}; run the same command again to go on"))
}
