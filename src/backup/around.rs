//! The stack's commands around a backup: before anything is read, and behind it whatever it came to.

use super::archive::Written;
use super::client::ClientBackup;
use super::manifest::Release;
use crate::engine::Worked;
use crate::event::{Fault, Outcome};
use crate::plan::hooks::{self, About, Ended};
use crate::plan::{Action, Step};

/// A backup that was made.
pub(super) struct Saved {
    pub written: Written,
    /// Bytes that came over the connection.
    pub wire: u64,
    /// How a command behind it failed. The snapshot is whole all the same.
    pub after: Option<Outcome>,
}

impl ClientBackup {
    /// How many steps the stack's commands add.
    pub(super) fn added_steps(&self) -> usize {
        self.hooks.before.len() + self.hooks.after.len()
    }

    /// Saves the client by `pull`, between the stack's commands. `first` is the place of the first of them
    /// among so many steps.
    ///
    /// # Errors
    /// Why there is no backup. What was to run behind it has run.
    pub(super) async fn between(
        &self,
        on: &Worked,
        release: &Release,
        pull: impl Future<Output = Result<(Written, u64), Outcome>>,
        (first, total): (usize, usize),
    ) -> Result<Saved, Outcome> {
        if let Some(hook) = self.hooks.before.first() {
            on.go_on(&hooks::title(hook))?;
        }
        let about = self.about(release);
        let done = match self.before(on, &about, (first, total)).await {
            Ok(()) => pull.await,
            Err(outcome) => Err(outcome),
        };
        let first = first + self.hooks.before.len() + 1;
        let after = self.after(on, &about, &done, (first, total)).await;
        match (done, after) {
            (Ok((written, wire)), after) => Ok(Saved { written, wire, after: after.err() }),
            (Err(outcome), Ok(())) => Err(outcome),
            (Err(outcome), Err(second)) => {
                let why = second.fault().map_or_else(|| second.word().to_owned(), told);
                on.warn(format!("after it failed, {why}"), None);
                Err(outcome)
            }
        }
    }

    /// Whether this is the fault of one of the stack's commands.
    pub(super) fn is_hook(&self, fault: &Fault) -> bool {
        self.hooks.before.iter().chain(&self.hooks.after).any(|hook| hooks::title(hook) == fault.step)
    }

    fn about<'a>(&'a self, release: &'a Release) -> About<'a> {
        let manifest = &self.what.manifest;
        About {
            layout: &self.what.layout,
            dir: &self.hooks.dir,
            client: &self.place.client,
            domain: &manifest.domain,
            release: &release.id,
            version: &release.version,
            previous: "",
            run: &manifest.run,
            who: &manifest.by,
        }
    }

    async fn before(
        &self,
        on: &Worked,
        about: &About<'_>,
        (first, total): (usize, usize),
    ) -> Result<(), Outcome> {
        for (index, step) in hooks::steps(about, &self.hooks.before, None).iter().enumerate() {
            on.hook(step, &self.redactor, (first + index, total)).await?;
        }
        Ok(())
    }

    async fn after(
        &self,
        on: &Worked,
        about: &About<'_>,
        done: &Result<(Written, u64), Outcome>,
        (first, total): (usize, usize),
    ) -> Result<(), Outcome> {
        let fault = done.as_ref().err().and_then(Outcome::fault);
        let ended = Ended {
            outcome: done.as_ref().err().map_or("changed", Outcome::word),
            step: fault.map_or("", |fault| &fault.step),
            message: fault.map_or("", |fault| &fault.message),
            snapshot: done.as_ref().map_or("", |(written, _)| &written.id),
        };
        let mut steps = hooks::steps(about, &self.hooks.after, Some(&ended));
        if on.given_up() {
            not_run(on, &steps, "the run was given up");
            return Ok(());
        }
        // What failed may have failed because the connection was cut.
        let mut other = None;
        if done.is_err() && steps.iter().any(there) {
            match on.anew().await {
                Ok(anew) => other = Some(anew),
                Err(fault) => {
                    let (lost, here): (Vec<Step>, Vec<Step>) = steps.into_iter().partition(there);
                    not_run(on, &lost, &fault.message);
                    steps = here;
                }
            }
        }
        let over = other.as_ref().unwrap_or(on);
        let mut result = Ok(());
        for (index, step) in steps.iter().enumerate() {
            result = over.hook(step, &self.redactor, (first + index, total)).await;
            if result.is_err() {
                break;
            }
        }
        if let Some(other) = other {
            other.session.close().await;
        }
        result
    }
}

/// A fault in one line with where it was.
pub(super) fn told(fault: &Fault) -> String {
    format!("{}: {}", fault.step, fault.message)
}

/// Whether it needs the host.
fn there(step: &Step) -> bool {
    !matches!(step.action, Action::Local(_))
}

fn not_run(on: &Worked, steps: &[Step], why: &str) {
    for step in steps {
        on.warn(format!("{} was not run: {why}", step.title), None);
    }
}
