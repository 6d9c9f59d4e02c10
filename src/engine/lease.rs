//! The lease of a host while it is worked on.

use std::sync::{Arc, OnceLock};

use super::Job;
use super::host::{adapt, lost, refused};
use crate::event::Outcome;
use crate::facts::Lease;
use crate::ops::lease;
use crate::plan::Desired;
use crate::ssh::{Exit, Output, Session, SessionError};

/// The lease of a host, renewed until dropped, and who has it when it was taken over meanwhile: this
/// machine slept for longer than a lease lasts.
pub(super) struct Held(tokio::task::JoinHandle<()>, Arc<OnceLock<Outcome>>);

impl Held {
    /// The lease, and what was taken over for it.
    pub(super) async fn take(
        session: &Arc<dyn Session>,
        job: &Job,
        desired: &Desired,
    ) -> Result<(Held, Option<Lease>), Outcome> {
        let stack = &desired.layout.stack;
        let cmd = adapt(lease::take(stack, &desired.who, &desired.run, job.verb, &job.dead), &job.target);
        let output = session.exec(&cmd, None).await.map_err(|error| lost("take the lease", &error))?;
        if output.exit == HELD {
            return Err(locked(&output));
        }
        if output.exit == Exit::Code(lease::BUSY) {
            return Err(busy(&output));
        }
        if !output.exit.success() {
            let said = crate::secret::clean_bytes(&output.stderr);
            return Err(refused(
                &format!("the lease could not be taken: {}", said.trim()),
                "is the disk full?",
            ));
        }
        let took = lease::told(&output.stdout);
        let (session, lost) = (Arc::clone(session), Arc::new(OnceLock::new()));
        let seen = Arc::clone(&lost);
        let task = tokio::spawn(async move {
            loop {
                tokio::time::sleep(lease::RENEWED_EVERY).await;
                match session.exec(&cmd, None).await {
                    Ok(output) if output.exit == HELD => {
                        let _ = seen.set(locked(&output));
                        return;
                    }
                    Err(SessionError::Lost(_)) => return,
                    // Late or refused once: there is time for another.
                    Ok(_) | Err(_) => {}
                }
            }
        });
        Ok((Held(task, lost), took))
    }

    /// Who has it now, when it was taken over.
    pub(super) fn lost(&self) -> Option<&Outcome> {
        self.1.get()
    }

    /// No renewal comes after this.
    pub(super) fn end(&self) {
        self.0.abort();
    }
}

const HELD: Exit = Exit::Code(lease::HELD);

fn locked(output: &Output) -> Outcome {
    let held = lease::told(&output.stdout);
    Outcome::Locked {
        holder: held.as_ref().map_or("somebody".into(), |lease| crate::secret::clean(&lease.holder).into()),
        expires: held.map_or_else(|| "unknown".into(), |lease| until(lease.expires)),
    }
}

/// The run before is gone, and something that it started is not.
fn busy(output: &Output) -> Outcome {
    let clean = |text: &str| crate::secret::clean(text).into_owned();
    let before = lease::told(&output.stdout);
    let who =
        before.map_or("a run before".into(), |it| format!("run {} of {}", clean(&it.run), clean(&it.holder)));
    let holder = format!("{who}, which ended while a command of it goes on here");
    Outcome::Locked { holder, expires: "when that command ends".into() }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// A moment of the host's clock, for people.
fn until(seconds: u64) -> String {
    let moment = i64::try_from(seconds).ok().and_then(|seconds| jiff::Timestamp::from_second(seconds).ok());
    moment.map_or_else(|| "unknown".to_owned(), |moment| moment.to_string())
}
