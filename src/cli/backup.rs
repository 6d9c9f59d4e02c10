//! `fleet backup`: the operator's own backups, pulled, encrypted, deduplicated.

mod due;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

use super::App;
use super::assemble::RunInfo;
use super::context::Fleet;
use super::crons::Crons;
use super::exit::exit_of;
use super::global::Limits;
use super::repositories;
use super::running::{self, Run};
use super::targets::Targets;
use super::tell::Telling;
use crate::backup::{Dumped, State};
use crate::due::Due;
use crate::engine::Work;
use crate::event::{EventKind, ExitKind, Fault, Outcome, PLANNING, Report};
use crate::hint::hints;
use crate::plan::hooks::Hooks;
use crate::registry::values::byte_count;
use crate::registry::{Client, Topic};
use crate::ssh::processors;
use crate::vault::Vault;

/// Back clients up: database, folders, release, secrets; pulled from the hosts and encrypted here
///
/// Each client has a repository of its own with its own key. The dump streams over the SSH connection
/// into it, and files that did not change are not sent again. What was cut, empty or failed becomes no
/// snapshot. Afterwards old snapshots go, as `keep` of the client says. It never asks, and it changes
/// nothing on a host, so it may run beside anything.
///
/// With --due it saves those whose turn has come by `schedule` of the client, in this machine's time zone:
/// each has its own place in the two hours behind it (`spread` under [fleet.backup]). A turn that was missed is
/// made up for once; one that failed is tried again after 30 minutes. --print-cron prints the lines for
/// your crontab.
#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:
  fleet backup --all
  fleet backup ville-lyon --limit 5M
  fleet backup --tag prod --parallel 8 --json
  fleet backup --all --dry-run
  fleet backup --due --dry-run
  fleet backup --print-cron")]
pub struct Args {
    #[command(flatten)]
    pub targets: Targets,

    /// Most bytes a second from all hosts together, such as 500K or 20M [default: `bandwidth` under
    /// [fleet.backup]]
    #[arg(long, value_name = "SIZE", value_parser = parse_size)]
    pub limit: Option<u64>,

    /// Only those whose turn has come by their schedule; without a target, of all clients
    #[arg(long)]
    pub due: bool,

    /// Print lines for the crontab of this machine, and do nothing else
    #[arg(long, conflicts_with_all = ["due", "dry_run"])]
    pub print_cron: bool,

    /// Only show what would be saved; with --due, when each client's turn is
    #[arg(short = 'n', long)]
    pub dry_run: bool,

    /// Print nothing but what is wrong: for cron, where the channels and the exit code tell
    #[arg(short, long)]
    pub quiet: bool,

    #[command(flatten)]
    pub limits: Limits,
}

/// Longest time of one client's turn in `--due`: others wait for the end of the run.
const TURN: Duration = Duration::from_secs(6 * 3600);

pub fn parse_size(text: &str) -> Result<u64, String> {
    byte_count(text).map_err(|fault| format!("expected {}", fault.expected.unwrap_or_default()))
}

pub fn run(app: &App, args: &Args) -> anyhow::Result<ExitKind> {
    let fleet = Fleet::open(&app.global)?;
    if args.print_cron {
        return due::print_cron(app, &fleet);
    }
    let chosen = if args.due { args.targets.or_all(&fleet)? } else { args.targets.required(&fleet)? };
    if args.due && args.dry_run {
        return due::show(app, &fleet, &chosen);
    }
    let vault = fleet.vault()?;
    let info = running::new_run();
    if args.dry_run {
        return show(app, &fleet, &vault, &chosen, &info);
    }
    let _alone = match args.due.then(|| due::alone(&fleet)).transpose()? {
        Some(None) => {
            if !args.quiet {
                app.tell("another `fleet backup --due` is still running: it is left to it\n");
            }
            return Ok(ExitKind::Ok);
        }
        held => held.flatten(),
    };
    let now = Timestamp::now();
    let before: BTreeMap<String, State> =
        chosen.iter().map(|client| (client.name.to_string(), remembered(&fleet, client))).collect();
    let mut clients = chosen.clone();
    if args.due {
        let due = |client: &Client| {
            let state = before.get(client.name.as_str())?;
            Some(due::of(&fleet, client, state, now))
        };
        clients.retain(|client| matches!(due(client), Some(Due::Now { .. })));
    }
    let telling = Telling::start(app, &fleet, Topic::Backup);
    let crons = if clients.is_empty() { None } else { Crons::backups(app, &fleet, &clients) };
    let ran = match clients.is_empty() {
        true => Ok((ExitKind::Ok, None)),
        false => pull(app, &fleet, &vault, args, &clients, &info),
    };
    if let Ok((_, Some(report))) = &ran {
        note_failures(app, &fleet, report, &before);
    }
    if let Some(crons) = crons {
        let report = ran.as_ref().ok().and_then(|(_, report)| report.as_ref());
        crons.end(|client| report.is_some_and(|report| is_saved(report, client)));
    }
    if let Some(telling) = telling {
        let standing = || chosen.iter().any(|client| remembered(&fleet, client).failure.is_some());
        match &ran {
            // A dead man's switch goes on saying what is wrong until it is mended.
            Ok((ExitKind::Ok, None)) if standing() => {
                telling.end(
                    "backup: nothing is due; a backup that failed is not made yet",
                    Vec::new(),
                    ExitKind::ClientFailed,
                );
            }
            Ok((exit, None)) => telling.end("backup: nothing is due", Vec::new(), *exit),
            Ok((exit, Some(report))) => {
                let exit = if *exit == ExitKind::Ok && standing() { ExitKind::ClientFailed } else { *exit };
                telling.backups(report, &before, exit);
            }
            Err(error) => telling.end("backup: not done", Vec::new(), exit_of(error)),
        }
    }
    let (exit, report) = ran?;
    if report.is_none() && !args.quiet {
        app.tell("nothing is due; `fleet backup --due --dry-run` shows when each client's turn is\n");
    }
    Ok(exit)
}

fn is_saved(report: &Report, client: Option<&str>) -> bool {
    let host = report.hosts.iter().find(|host| Some(host.client.as_str()) == client);
    host.is_some_and(|host| matches!(host.outcome, Outcome::Changed { .. } | Outcome::Unchanged))
}

fn remembered(fleet: &Fleet, client: &Client) -> State {
    State::read(&fleet.state_dir(), client.name.as_str())
}

/// Remembers what failed before a backup began: a host that was not reached, secrets that are lost.
fn note_failures(app: &App, fleet: &Fleet, report: &Report, before: &BTreeMap<String, State>) {
    for host in &report.hosts {
        let Some(fault) = host.outcome.fault() else { continue };
        let old =
            before.get(&host.client).and_then(|state| state.failure.as_ref()).map(|failure| &failure.at);
        let noted = State::change(&fleet.state_dir(), &host.client, |state| {
            // The backup itself wrote down what went wrong with it.
            if state.failure.as_ref().map(|failure| &failure.at) == old {
                state.failed(Timestamp::now().to_string(), fault.message.clone());
            }
        });
        if let Err(error) = noted {
            app.tell(&format!("warning: {}: this failure is not remembered: {error}\n", host.client));
        }
    }
}

/// Saves these clients.
fn pull(
    app: &App,
    fleet: &Fleet,
    vault: &Vault,
    args: &Args,
    clients: &[&Client],
    info: &RunInfo,
) -> anyhow::Result<(ExitKind, Option<Report>)> {
    repositories::prepare(fleet)?;
    let throttle = repositories::throttle(fleet, args.limit);
    let (mut works, mut refusals) = (Vec::new(), Vec::new());
    for client in clients {
        let backup = fleet
            .stack(client)
            .and_then(|stack| repositories::backup_of(fleet, vault, client, &stack, info, &throttle));
        // A client whose secrets are lost keeps no other from being saved.
        match backup {
            Ok(backup) => works.push((fleet.target(client), Arc::new(backup) as Arc<dyn Work>)),
            Err(error) => refusals.push((client.name.to_string(), error)),
        }
    }
    let names = clients.iter().map(|client| client.name.to_string()).collect();
    let limits = Limits {
        parallel: args.limits.parallel.or_else(|| u32::try_from(width(fleet)).ok()),
        timeout: args.limits.timeout.or_else(|| args.due.then_some(TURN)),
    };
    let runtime = running::runtime()?;
    let ended = runtime.block_on(async {
        let mut run = Run::start(app, fleet, info, "backup", names, &limits)?;
        if args.quiet {
            run.hush();
        }
        for (client, error) in refusals {
            let fault = Fault {
                step: PLANNING.into(),
                message: format!("{error:#}"),
                lines: Vec::new(),
                hint: hints(&error).first().map(|hint| (*hint).to_owned()),
            };
            let finished = EventKind::HostFinished { outcome: Outcome::Failed { fault }, seconds: 0.0 };
            run.engine.emitter.emit(Some(&client), finished);
        }
        run.drive(async |engine| engine.work(works).await).await;
        let report = run.report.clone();
        anyhow::Ok((run.finish(), Some(report)))
    })?;
    running::shut_down(runtime);
    if args.quiet {
        for host in ended.1.iter().flat_map(|report| &report.hosts) {
            if host.outcome.fault().is_some() {
                app.no_answer(&host.client, &host.outcome);
            }
        }
    }
    Ok(ended)
}

/// Each backup cuts, hashes and packs what it reads: more at once than processors gains little.
#[must_use]
pub fn width(fleet: &Fleet) -> usize {
    let wished = 2 * processors();
    fleet.registry.fleet.parallel.unwrap_or(wished).min(wished).max(1)
}

fn show(
    app: &App,
    fleet: &Fleet,
    vault: &Vault,
    clients: &[&Client],
    info: &RunInfo,
) -> anyhow::Result<ExitKind> {
    for client in clients {
        let stack = fleet.stack(client)?;
        let what = repositories::what(fleet, vault, client, &stack, info)?;
        let database = match &what.database {
            None => None,
            Some(Dumped::Inside(database)) => {
                Some(format!("{} of service {}", database.name, database.service))
            }
            Some(Dumped::Outside { name, .. }) => Some(format!("{name}, outside the stack")),
        };
        let folders: Vec<String> = what.folders.iter().map(crate::ops::backup::Folder::place).collect();
        let repository = repositories::store(fleet, client.name.as_str())?.name();
        let hooks: Vec<String> = Hooks::of(&stack.hooks, "backup", fleet.dir.clone()).shown().collect();
        if app.global.json {
            let record = serde_json::json!({ "schema": "fleet.backup-plan/1", "client": client.name,
                "database": database, "folders": folders, "repository": repository, "hooks": hooks });
            app.out(&record.to_string())?;
        } else {
            app.out(&format!("{}: into {repository}", client.name))?;
            app.out(&format!("  database: {}", database.as_deref().unwrap_or("none")))?;
            app.out(&format!("  files: {}", folders.join(", ")))?;
            for hook in &hooks {
                app.out(&format!("  {hook}"))?;
            }
        }
    }
    Ok(ExitKind::Ok)
}
