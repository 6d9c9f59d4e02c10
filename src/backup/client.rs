//! One client's backup from connecting to its state file: what the engine runs for each host.

use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use jiff::Timestamp;

use super::archive::{self, Written};
use super::around::{Saved, told};
use super::error::BackupError;
use super::gate::Gate;
use super::host::{HostSource, What};
use super::manifest::Release;
use super::place::Place;
use super::repository::Repository;
use super::retention;
use super::state::{Last, State};
use super::stream::Line;
use super::throttle::Throttle;
use crate::engine::{Work, Worked};
use crate::event::{EventKind, Fault, Outcome};
use crate::facts::Facts;
use crate::fs_atomic::{FileLock, LockError};
use crate::ops::probe::{Question, probe};
use crate::plan::hooks::Hooks;
use crate::registry::Keep;
use crate::secret::Redactor;
use crate::words::bytes;

/// Between two words on how far it is.
const TOLD_EVERY: Duration = Duration::from_millis(200);
const STEPS: usize = 3;
/// Longest silence of a host in the middle of a backup: the rows of large tables are counted before the dump begins.
const SILENCE: Duration = Duration::from_secs(30 * 60);

/// The backup of one client.
pub struct ClientBackup {
    pub place: Place,
    pub what: What,
    pub keep: Keep,
    pub throttle: Arc<Throttle>,
    /// Most bytes of one stream.
    pub limit: u64,
    /// The fleet directory's `.fleet`.
    pub state: PathBuf,
    /// The stack's commands before and after.
    pub hooks: Hooks,
    pub redactor: Arc<Redactor>,
    /// Where the snapshot is told to whoever asked for the backup.
    pub written: Arc<Mutex<Option<Written>>>,
}

/// Fails the gate when the one who waits goes away, so that a backup that nobody waits for any more
/// becomes no snapshot.
struct Watch(Gate);

impl Drop for Watch {
    fn drop(&mut self) {
        self.0.fail(BackupError::Stopped);
    }
}

#[async_trait]
impl Work for ClientBackup {
    async fn run(&self, on: &Worked) -> Result<Outcome, Outcome> {
        let saved = match self.backup(on).await {
            Ok(saved) => saved,
            Err(outcome) => {
                if let Some(fault) = outcome.fault() {
                    let (at, message) = (Timestamp::now().to_string(), self.message(fault));
                    let client = self.place.client.as_str();
                    let done = State::change(&self.state, client, |state| state.failed(at, message));
                    self.unremembered(on, done);
                }
                return Err(outcome);
            }
        };
        self.remember(on, &saved);
        let summary = summary(&saved);
        *self.written.lock().unwrap_or_else(PoisonError::into_inner) = Some(saved.written);
        match saved.after {
            Some(outcome) => Err(outcome),
            None => Ok(Outcome::Changed { summary }),
        }
    }
}

/// One line: what is there now.
fn summary(Saved { written, wire, .. }: &Saved) -> String {
    format!(
        "snapshot {}: {}, {} sent, repository +{}",
        &written.id[..8.min(written.id.len())],
        bytes(written.manifest.bytes()),
        bytes(*wire),
        bytes(written.added)
    )
}

impl ClientBackup {
    async fn backup(&self, on: &Worked) -> Result<Saved, Outcome> {
        let total = STEPS + self.added_steps();
        let release = on.step("look at the host", (1, total), self.look(on)).await?;
        let (title, place) = ("pull database and files", (2 + self.hooks.before.len(), total));
        let held = self.hold(title).await?;
        let pull = on.step(title, place, self.pull(on, &release, title, &held));
        let saved = self.between(on, &release, pull, (2, total)).await?;
        drop(held);
        let files = &saved.written.manifest.files;
        if files.vanished + files.changed > 0 {
            on.warn(
                format!(
                    "while it was read, {} files were deleted and {} were written to; the next backup takes the latter again",
                    files.vanished, files.changed
                ),
                None,
            );
        }
        let title = "forget old snapshots";
        let kept = on.step(title, (total, total), async { Ok(self.retain().await) }).await;
        // The backup is there, whatever becomes of the old ones.
        if let Ok(Err(error)) = kept {
            let hint = error.hint(&self.place.client);
            on.warn(format!("old snapshots were not forgotten: {error}"), hint);
        }
        Ok(saved)
    }

    /// A backup before the client is changed: nothing is forgotten for it, least of all what is about to
    /// be restored. Says in one line what there is now.
    ///
    /// # Errors
    /// Why there is none, or what the stack's commands behind it came to.
    pub async fn safety(&self, on: &Worked) -> Result<String, Outcome> {
        let title = "take a safety snapshot";
        // It is one step of another plan, which does not name the stack's commands.
        let named = |mut outcome: Outcome| {
            if let Outcome::Failed { fault } | Outcome::Unknown { fault } = &mut outcome
                && self.is_hook(fault)
            {
                fault.message = told(fault);
            }
            outcome
        };
        let release = self.look(on).await?;
        let held = self.hold(title).await?;
        let pull = self.pull(on, &release, title, &held);
        let saved = self.between(on, &release, pull, (1, 1 + self.added_steps())).await.map_err(named)?;
        self.remember(on, &saved);
        let summary = summary(&saved);
        saved.after.map_or(Ok(summary), |outcome| Err(named(outcome)))
    }

    fn remember(&self, on: &Worked, saved: &Saved) {
        let written = &saved.written;
        let last = Last {
            snapshot: written.id.clone(),
            at: written.at.to_string(),
            bytes: written.manifest.bytes(),
            added: written.added,
        };
        let failed = saved.after.as_ref().and_then(Outcome::fault).map(|fault| self.message(fault));
        let client = self.place.client.as_str();
        let done = State::change(&self.state, client, |state| {
            state.first.get_or_insert_with(|| last.at.clone());
            state.last = Some(last);
            match failed {
                Some(message) => state.failed(Timestamp::now().to_string(), message),
                None => state.failure = None,
            }
        });
        self.unremembered(on, done);
    }

    /// What is remembered of a fault: of the stack's commands there may be several.
    fn message(&self, fault: &Fault) -> String {
        if self.is_hook(fault) { told(fault) } else { fault.message.clone() }
    }

    fn unremembered(&self, on: &Worked, done: Result<State, LockError>) {
        if let Err(error) = done {
            on.warn(format!("what is remembered of this backup could not be written: {error}"), None);
        }
    }

    /// What serves there now.
    async fn look(&self, on: &Worked) -> Result<Release, Outcome> {
        let failed = |message: String, hint: String| Outcome::Failed {
            fault: Fault { step: "look at the host".into(), message, lines: Vec::new(), hint: Some(hint) },
        };
        let question = Question { stack: self.what.layout.stack.clone(), ..Question::default() };
        let cmd = on.adapt(probe(&question));
        let client = &self.place.client;
        let output = on.session.exec(&cmd, None).await.map_err(|error| Outcome::Unreachable {
            fault: Fault {
                step: "look at the host".into(),
                message: error.to_string(),
                lines: Vec::new(),
                hint: Some(format!("fleet test-ssh {client}")),
            },
        })?;
        let facts = Facts::parse(&output.stdout)
            .map_err(|error| failed(error.to_string(), format!("fleet test-ssh {client}")))?;
        let state = facts.state.ok_or_else(|| {
            failed("no release serves on this host".into(), format!("fleet provision {client}"))
        })?;
        if state.client != *client {
            return Err(failed(
                format!("this host serves {:?}, another client", crate::secret::clean(&state.client)),
                "look at its address in clients.toml".into(),
            ));
        }
        let clean = |text: &str| crate::secret::clean(text).into_owned();
        Ok(Release { id: clean(&state.release), version: clean(&state.version) })
    }

    /// Keeps other backups of this client out, so that none runs between the stack's commands of another.
    async fn hold(&self, title: &str) -> Result<Arc<FileLock>, Outcome> {
        let place = self.place.clone();
        match tokio::task::spawn_blocking(move || place.lock()).await {
            Ok(held) => held.map(Arc::new).map_err(|error| self.outcome(title, &error)),
            Err(_) => Err(self.outcome(title, &died())),
        }
    }

    async fn pull(
        &self,
        on: &Worked,
        release: &Release,
        title: &str,
        held: &Arc<FileLock>,
    ) -> Result<(Written, u64), Outcome> {
        let mut what = self.what.clone();
        what.manifest.release = Some(release.clone());
        let gate = Gate::default();
        let watch = Watch(gate.clone());
        let wire = Arc::new(AtomicU64::new(0));
        let line = Line {
            session: Arc::clone(&on.session),
            runtime: tokio::runtime::Handle::current(),
            throttle: Arc::clone(&self.throttle),
            wire: Arc::clone(&wire),
            limit: self.limit,
            silence: SILENCE,
            progress: progress(on),
        };
        let target = on.target.clone();
        let root = target.user == "root";
        let source = HostSource {
            what,
            line,
            adapt: Arc::new(move |cmd| if root { cmd.as_root() } else { cmd }),
            said: Arc::default(),
            changed: Arc::default(),
        };
        let (place, held) = (self.place.clone(), Arc::clone(held));
        let work = tokio::task::spawn_blocking(move || {
            let repository = Repository::open_or_create(&place, &held, &gate)?;
            archive::write(repository, Arc::new(source), Timestamp::now())
        });
        let done = work.await;
        drop(watch);
        match done {
            Ok(Ok(written)) => Ok((written, wire.load(Ordering::Relaxed))),
            Ok(Err(error)) => Err(self.outcome(title, &error)),
            Err(_) => Err(self.outcome(title, &died())),
        }
    }

    async fn retain(&self) -> Result<(), BackupError> {
        let (place, keep, state) = (self.place.clone(), self.keep, self.state.clone());
        let work = tokio::task::spawn_blocking(move || {
            let _held = place.lock()?;
            let repository = Repository::open(&place)?;
            let state = State::known(&state, &place.client)?;
            let plan = retention::plan(&repository, &keep, state.proved(), Timestamp::now())?;
            if plan.forgotten.is_empty() { Ok(()) } else { retention::carry_out(&repository, &plan) }
        });
        work.await.unwrap_or_else(|_| Err(died()))
    }

    fn outcome(&self, step: &str, error: &BackupError) -> Outcome {
        if let BackupError::Lock(LockError::Held { holder, .. }) = error {
            return Outcome::Locked { holder: holder.clone(), expires: "it ends".into() };
        }
        let shown = |text: &str| self.redactor.redact(text).into_owned();
        Outcome::Failed {
            fault: Fault {
                step: step.to_owned(),
                message: shown(&error.to_string()),
                lines: error.lines().iter().map(|line| shown(line)).collect(),
                hint: error.hint(&self.place.client),
            },
        }
    }
}

fn died() -> BackupError {
    BackupError::Storage("library ended by a fault of its own".into())
}

/// Tells how many bytes were read so far, not too often.
fn progress(on: &Worked) -> Arc<dyn Fn(u64) + Send + Sync> {
    let (emitter, client) = (on.emitter().clone(), on.target.name.clone());
    let (done, told) = (AtomicU64::new(0), Mutex::new(Instant::now()));
    Arc::new(move |count| {
        let done = done.fetch_add(count, Ordering::Relaxed) + count;
        let mut told = told.lock().unwrap_or_else(PoisonError::into_inner);
        if told.elapsed() >= TOLD_EVERY {
            *told = Instant::now();
            emitter.emit(Some(&client), EventKind::StepProgress { done, total: None });
        }
    })
}
