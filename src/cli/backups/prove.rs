//! `backups prove`: the only proof of a backup is a restore.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use serde_json::json;

use super::super::App;
use super::super::context::Fleet;
use super::super::crons::Crons;
use super::super::global::{Limits, parse_duration};
use super::super::repositories;
use super::super::running::{self, Run};
use super::super::targets::Targets;
use super::super::tell::{Proof, Telling};
use crate::backup::prove::{self, ProofError, Proved, Wish};
use crate::backup::{BackupError, Place, State};
use crate::event::{EventKind, ExitKind, Outcome};
use crate::registry::{Client, ProveWith, Registry, Topic};
use crate::ui::{Role, flat};
use crate::vault::Vault;
use crate::words::bytes;

/// Restore a snapshot into a throwaway PostgreSQL and see that everything is there
///
/// Nothing is asked of a server and nothing is changed there. The dump is restored on this machine into a
/// PostgreSQL of the same major version that is started for it and removed: one of this machine's own
/// programs, or a container; without a network, without rights, within limits of time, memory and disk.
/// Then the tables, their rows, the last migration, all files and the operator's own parts are
/// compared with what the snapshot says of itself. Exit code 1 when one is not as it should be.
#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:
  fleet backups prove ville-lyon
  fleet backups prove ville-lyon --snapshot 2026-11-20
  fleet backups prove --oldest 3
  fleet backups prove --all --files 5% --with docker --json

In cron, a few each night: 30 4 * * * cd /srv/town-halls && fleet backups prove --oldest 3 --quiet")]
pub struct Args {
    #[command(flatten)]
    pub targets: Targets,

    /// Which snapshot: latest, the beginning of an id, or a time such as 2026-11-20
    #[arg(long, value_name = "SNAPSHOT", default_value = "latest")]
    pub snapshot: String,

    /// Only so many clients, such as 3: those whose last proof is longest ago, never proved ones first
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub oldest: Option<u32>,

    /// Restore into: auto, local (PostgreSQL's programs of this machine) or docker [default: `prove_with`
    /// under [fleet.backup]]
    #[arg(long, value_name = "HOW", value_parser = ProveWith::parse)]
    pub with: Option<ProveWith>,

    /// Share of the files that are read, such as 5%
    #[arg(long, value_name = "PERCENT", default_value = "100%", value_parser = super::verify::parse_percent)]
    pub files: f64,

    /// Longest time for one snapshot, such as 90s, 15m or 2h
    #[arg(long, value_name = "TIME", default_value = "2h", value_parser = parse_duration)]
    pub timeout: Duration,

    /// Print nothing but what is wrong: for cron, where the channels and the exit code tell
    #[arg(short, long, conflicts_with = "json")]
    pub quiet: bool,
}

/// What one client came to.
enum End {
    Proved(Proved),
    NotDone { message: String, hint: Option<String>, refused: bool, interrupted: bool },
}

pub fn run(app: &App, args: &Args) -> anyhow::Result<ExitKind> {
    let fleet = Fleet::open(&app.global)?;
    let clients = clients(&fleet, args)?;
    let vault = Arc::new(fleet.vault()?);
    let left = prove::sweep(&fleet.state_dir());
    if left > 0 {
        app.tell(&format!("removed what {left} killed proofs had left behind\n"));
    }
    let telling = Telling::start(app, &fleet, Topic::Backup);
    let crons = Crons::proofs(app, &fleet);
    let names: Vec<String> = clients.iter().map(|client| client.name.to_string()).collect();
    let limits = Limits { parallel: Some(1), timeout: None };
    let runtime = running::runtime()?;
    let ends = runtime.block_on(async {
        let mut run = Run::look(app, &fleet, &running::new_run(), "prove", names, &limits);
        let ends = run.drive(async |engine| {
            let mut ends = Vec::new();
            for client in &clients {
                if engine.cancel.requested() {
                    break;
                }
                let name = client.name.as_str();
                engine.emitter.emit(Some(name), EventKind::HostStarted);
                let job = Job::new(&fleet, &vault, client, args, &engine);
                let end = match job {
                    Ok(job) => tokio::task::spawn_blocking(move || job.run()).await.unwrap_or_else(|_| {
                        let message = "the library ended by a fault of its own".to_owned();
                        End::NotDone { message, hint: None, refused: false, interrupted: false }
                    }),
                    Err(error) => End::NotDone {
                        message: format!("{error:#}"),
                        hint: crate::hint::hints(&error).first().map(|hint| (*hint).to_owned()),
                        refused: true,
                        interrupted: false,
                    },
                };
                let finished = EventKind::HostFinished { outcome: Outcome::Unchanged, seconds: 0.0 };
                engine.emitter.emit(Some(name), finished);
                ends.push((name.to_owned(), end));
            }
            ends
        });
        let ends = ends.await;
        run.end();
        ends
    });
    running::shut_down(runtime);
    let exit = report(app, &fleet, args, &ends, clients.len(), telling);
    if let Some(crons) = crons {
        crons.end(|_| matches!(exit, Ok(ExitKind::Ok)));
    }
    exit
}

/// Whose backups are proved.
fn clients<'f>(fleet: &'f Fleet, args: &Args) -> anyhow::Result<Vec<&'f Client>> {
    let Some(count) = args.oldest else { return args.targets.required(fleet) };
    let mut clients = args.targets.or_all(fleet)?;
    clients.retain(|client| repositories::may_be(fleet, client));
    let tried =
        |client: &&Client| State::read(&fleet.state_dir(), client.name.as_str()).tried().map(str::to_owned);
    // Never comes before any time.
    clients.sort_by_cached_key(|client| (tried(client), client.name.to_string()));
    clients.truncate(count as usize);
    Ok(clients)
}

/// The proof of one client, with everything that its thread needs.
struct Job {
    place: Place,
    vault: Arc<Vault>,
    client: String,
    snapshot: String,
    with: ProveWith,
    image: String,
    share: f64,
    time: Duration,
    state: std::path::PathBuf,
    engine: crate::engine::Engine,
}

impl Job {
    fn new(
        fleet: &Fleet,
        vault: &Arc<Vault>,
        client: &Client,
        args: &Args,
        engine: &crate::engine::Engine,
    ) -> anyhow::Result<Job> {
        let settings = &fleet.registry.fleet.backup;
        Ok(Job {
            place: repositories::place(fleet, vault, client)?,
            vault: Arc::clone(vault),
            client: client.name.to_string(),
            snapshot: args.snapshot.clone(),
            with: args.with.unwrap_or(settings.prove_with),
            image: settings.prove_image.clone(),
            share: args.files,
            time: args.timeout,
            state: fleet.state_dir(),
            engine: engine.clone(),
        })
    }

    fn run(self) -> End {
        let cancel = self.engine.cancel.clone();
        let emitter = self.engine.emitter.clone();
        let (client, step) = (self.client.clone(), std::sync::atomic::AtomicUsize::new(0));
        let own = |path: &str, bytes: &[u8]| readable(&self.vault, &self.client, path, bytes);
        let tell = |text: &str| {
            let index = step.fetch_add(1, std::sync::atomic::Ordering::Relaxed) + 1;
            let (stage, step) = ("prove".to_owned(), text.to_owned());
            emitter.emit(Some(&client), EventKind::StepStarted { stage, step, index, total: index.max(5) });
        };
        let wish = Wish {
            with: self.with,
            image: &self.image,
            share: self.share,
            time: self.time,
            state: &self.state,
            own: &own,
            stop: Arc::new(move || cancel.requested()),
            tell: &tell,
        };
        match prove::prove(&self.place, &self.snapshot, &wish) {
            Ok(proved) => End::Proved(proved),
            Err(error) => End::NotDone {
                message: error.to_string(),
                hint: error.hint(&self.client),
                refused: matches!(
                    error,
                    ProofError::NoServer { .. }
                        | ProofError::Backup(
                            BackupError::NoRepository { .. }
                                | BackupError::NoSnapshot { .. }
                                | BackupError::Ambiguous { .. }
                                | BackupError::WrongKey { .. }
                        )
                ),
                interrupted: matches!(error, ProofError::Stopped),
            },
        }
    }
}

/// Whether a client could be brought back with what of the operator's own is in its snapshot.
fn readable(vault: &Vault, client: &str, path: &str, bytes: &[u8]) -> Result<(), String> {
    if path.ends_with("clients.toml") {
        let text = std::str::from_utf8(bytes).map_err(|error| error.to_string())?;
        let registry = Registry::parse(text, path).map_err(|error| flat(&error.to_string()))?;
        return match registry.clients.iter().any(|known| known.name == client) {
            true => Ok(()),
            false => Err(format!("it has no client {client}")),
        };
    }
    if path.ends_with("secrets.age") {
        let read = vault.read_sealed(client, bytes, path.as_ref());
        return read.map(drop).map_err(|error| flat(&error.to_string()));
    }
    Ok(())
}

fn report(
    app: &App,
    fleet: &Fleet,
    args: &Args,
    ends: &[(String, End)],
    wanted: usize,
    telling: Option<Telling<'_>>,
) -> anyhow::Result<ExitKind> {
    let (mut refused, mut failed, mut interrupted) = (0, 0, ends.len() < wanted);
    let now = Timestamp::now();
    let mut told = Vec::new();
    for (client, end) in ends {
        let before = State::read(&fleet.state_dir(), client);
        // Also one that could not be done has had its turn: `--oldest` goes on with others.
        let kept = State::change(&fleet.state_dir(), client, |state| match end {
            End::Proved(proved) => state.proved_as(proved, now),
            End::NotDone { interrupted, .. } if !interrupted => state.tried = Some(now.to_string()),
            End::NotDone { .. } => {}
        });
        if let Err(error) = kept {
            app.tell(&format!("warning: {client}: this proof is not remembered: {error}\n"));
        }
        match end {
            End::Proved(proved) => {
                failed += usize::from(!proved.ok());
                told.push(Proof { client: client.clone(), before: before.disproof });
            }
            End::NotDone { refused: true, .. } => refused += 1,
            End::NotDone { interrupted: true, .. } => interrupted = true,
            End::NotDone { .. } => failed += 1,
        }
        if app.global.json {
            app.out(&record(client, end).to_string())?;
        } else {
            show(app, args, client, end)?;
        }
    }
    let exit = if interrupted {
        ExitKind::Interrupted
    } else if refused > 0 && refused == ends.len() {
        ExitKind::Refused
    } else if refused + failed > 0 {
        ExitKind::ClientFailed
    } else {
        ExitKind::Ok
    };
    if let Some(telling) = telling {
        telling.proofs(&told, exit);
    }
    Ok(exit)
}

fn show(app: &App, args: &Args, client: &str, end: &End) -> anyhow::Result<()> {
    match end {
        End::Proved(proved) if proved.ok() => {
            if args.quiet {
                return Ok(());
            }
            let word = app.stdout.paint(Role::Good, "proved");
            app.out(&format!("{client}: {word} {} {}", short(proved), summary(proved)))?;
        }
        End::Proved(proved) => {
            let word = app.stdout.paint(Role::Bad, "does not restore");
            app.out(&format!("{client}: {} {word}", short(proved)))?;
            for fault in &proved.faults {
                app.out(&format!("  {}", flat(fault)))?;
            }
            app.tell(&format!("hint: keep it for a look; `fleet backup {client}` makes a new one, `fleet backups verify {client} --read-data` looks for damage\n"));
        }
        End::NotDone { message, hint, .. } => {
            app.tell(&format!("{client}: not proved: {}\n", flat(message)));
            if let Some(hint) = hint {
                app.tell(&format!("  hint: {}\n", flat(hint)));
            }
        }
    }
    Ok(())
}

fn short(proved: &Proved) -> String {
    let at = proved.at.map(super::minute).unwrap_or_default();
    format!("{} of {at}", proved.snapshot.get(..8).unwrap_or(&proved.snapshot))
}

fn summary(proved: &Proved) -> String {
    let database = match &proved.with {
        Some(with) => format!("{} tables, {} rows in {with}; ", proved.tables.len(), proved.rows()),
        None => String::new(),
    };
    let files = match proved.files_read == proved.files {
        true => format!("{} files", proved.files),
        false => format!("{} of {} files", proved.files_read, proved.files),
    };
    format!("({database}{files}; {} read in {:.1} s)", bytes(proved.bytes), proved.seconds)
}

/// Schema `fleet.proof/1`.
fn record(client: &str, end: &End) -> serde_json::Value {
    match end {
        End::Proved(proved) => json!({ "schema": "fleet.proof/1", "client": client, "ok": proved.ok(),
            "snapshot": proved.snapshot, "at": proved.at.map(|at| at.to_string()), "with": proved.with,
            "tables": proved.tables, "files": proved.files, "files_read": proved.files_read, "bytes": proved.bytes,
            "seconds": proved.seconds, "faults": proved.faults, "error": null, "hint": null }),
        End::NotDone { message, hint, .. } => {
            json!({ "schema": "fleet.proof/1", "client": client, "ok": null,
            "snapshot": null, "at": null, "with": null, "tables": [], "files": 0, "files_read": 0, "bytes": 0,
            "seconds": null, "faults": [], "error": message, "hint": hint })
        }
    }
}
