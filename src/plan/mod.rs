//! What would be done to each host: made from what is wanted and what is, before anything is
//! touched. Planning makes every choice, execution makes none.
//!
//! A host that must be learned in stages (no Docker, then Docker) is planned in stages: each is
//! planned from a probe of its own, by the same function that made the preview.

pub mod changes;
mod desired;
pub mod health;
pub mod hooks;
mod migrations;
mod purge;
mod release;
mod restore;
mod rollout;
mod system;
#[cfg(test)]
pub(crate) mod tests;
pub mod waves;

pub use desired::{Build, BuiltHere, Desired, DesiredRelease, Repository, RepositoryKey, SourcePush};
pub use migrations::saved_first;
pub use purge::Purge;
pub use restore::{Restore, RestoredDatabase, RestoredFolder};
pub use rollout::way_back;

use std::ops::Range;

use self::hooks::Hooks;
use crate::facts::Facts;
use crate::ops::backup::restore::Parcel;
use crate::ops::probe::{Question, probe};
use crate::ops::ship::Ship;
use crate::shell::Cmd;
use crate::ssh::Rsync;

/// What a backup before a change is called.
const SAFETY: &str = "take a safety snapshot";

/// What a step does to the host, for the preview.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    Create,
    Modify,
    Destroy,
    /// Looks or waits; the host stays as it is.
    Nothing,
}

/// One thing to do on one host.
#[derive(Clone, Debug)]
pub struct Step {
    pub title: String,
    pub change: Change,
    /// Why, or what exactly: shown in the preview below the title.
    pub details: Vec<String>,
    pub action: Action,
    /// What to do next when it fails.
    pub hint: Option<String>,
}

#[derive(Clone, Debug)]
pub enum Action {
    Run(Cmd),
    Rsync(Rsync),
    /// Sends the layers of images that the host lacks, and has its engine take them in.
    Ship(Ship),
    /// Sends what a backup holds to a command's standard input.
    Send(Parcel, Cmd),
    /// A backup of the client as it is now, into its repository.
    Save,
    /// On this machine.
    Local(hooks::Local),
    /// Asks again and again until the answer is good or cannot become so.
    Await(health::Gate),
}

impl Step {
    fn run(title: impl Into<String>, change: Change, cmd: Cmd) -> Self {
        Step { title: title.into(), change, details: Vec::new(), action: Action::Run(cmd), hint: None }
    }

    /// A backup of the client as it is now, with the stack's commands around it.
    fn save(title: &str, around: &Hooks, hint: &str) -> Self {
        let what = "what `fleet backup` takes, as it is now, into the client's repository".to_owned();
        Step {
            title: title.into(),
            change: Change::Create,
            details: [what].into_iter().chain(around.shown()).collect(),
            action: Action::Save,
            hint: Some(hint.into()),
        }
    }

    fn detail(mut self, text: impl Into<String>) -> Self {
        self.details.push(text.into());
        self
    }

    fn details(mut self, list: impl IntoIterator<Item = String>) -> Self {
        self.details.extend(list);
        self
    }

    fn hint(mut self, text: impl Into<String>) -> Self {
        self.hint = Some(text.into());
        self
    }
}

/// The stages that a verb takes a host through, in this order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// Hooks before anything else; only when there is anything else.
    Before,
    /// Packages, Docker, firewall, schedules.
    System,
    /// Everything of a release that does not touch what serves: source, files, images, database up.
    Prepare,
    /// Migrations, services, health gate, commit point, certificate, pruning.
    Rollout,
    /// A kept release serves again.
    Rollback,
    /// Data of a backup takes the place of what is there.
    Restore,
    /// Everything of the stack leaves the host.
    Purge,
    /// Pending migrations and nothing else.
    Migrate,
    /// Hooks once all is done.
    After,
}

impl Stage {
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Stage::Before => "before",
            Stage::System => "system",
            Stage::Prepare => "prepare",
            Stage::Rollout => "rollout",
            Stage::Rollback => "rollback",
            Stage::Restore => "restore",
            Stage::Purge => "purge",
            Stage::Migrate => "migrate",
            Stage::After => "after",
        }
    }

    /// Whether it is there for the sake of the others only.
    #[must_use]
    pub fn is_hooks(self) -> bool {
        matches!(self, Stage::Before | Stage::After)
    }
}

/// The steps of one stage of one host; none when it is as wanted.
#[derive(Clone, Debug)]
pub struct StagePlan {
    pub stage: Stage,
    pub steps: Vec<Step>,
    pub undo: Option<Undo>,
}

/// The way back from a stage that fails in its middle.
#[derive(Clone, Debug)]
pub struct Undo {
    /// Steps of the stage whose fault calls for it. Between the first and the last of them nobody
    /// stops the run either: a host is never left between two releases on purpose.
    pub critical: Range<usize>,
    /// Release that serves afterwards.
    pub release: String,
    pub steps: Vec<Step>,
}

/// Why a host is refused before it is touched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    pub message: String,
    pub hint: String,
}

/// Plans one stage from what the host is now.
///
/// # Errors
/// A [`Refusal`] when the host cannot become what is wanted.
pub fn plan(stage: Stage, desired: &Desired, facts: &Facts) -> Result<StagePlan, Refusal> {
    let (steps, undo) = match stage {
        Stage::Before => (hooks::before(desired, facts), None),
        Stage::After => (hooks::after(desired, facts), None),
        Stage::System => (system::plan(desired, facts)?, None),
        Stage::Prepare => (release::prepare(desired, facts)?, None),
        Stage::Rollout => rollout::plan(desired, facts)?,
        Stage::Rollback => (rollout::rollback(desired, facts)?, None),
        Stage::Restore => restore::plan(desired, facts)?,
        Stage::Purge => (purge::plan(desired, facts)?, None),
        Stage::Migrate => (migrations::plan(desired, facts)?, None),
    };
    Ok(StagePlan { stage, steps, undo })
}

/// The probe that all stages are planned from.
#[must_use]
pub fn question(desired: &Desired) -> Cmd {
    let release = &desired.release;
    probe(&Question {
        stack: desired.layout.stack.clone(),
        domain: desired.domain.clone(),
        packages: system::probed_packages(),
        units: system::probed_units(desired),
        files: desired
            .managed_files()
            .into_iter()
            .map(|file| file.path)
            .chain(release.paths())
            .chain(desired.restore.iter().map(|_| restore::mark_path(&desired.layout)))
            .chain(desired.purge.iter().map(|_| purge::mark_path(&desired.layout)))
            .collect(),
        dirs: system::dirs(desired).into_iter().map(|(path, _)| path).collect(),
        deploy_user: desired.deploy_user.clone().unwrap_or_default(),
        deploy_key: desired.public_key.clone(),
        database: release.database.clone(),
        tls: desired.tls.is_some(),
        release: Some((release.id.clone(), release.project.line())),
        health_url: desired.schedule.health_url.clone(),
        own: Vec::new(),
        compare: desired
            .rendered()
            .map(|(path, file)| (crate::stack::sha256(&file.content), path.to_owned()))
            .collect(),
        reporter: None,
    })
}
