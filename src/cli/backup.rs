//! `fleet backup`: the operator's own backups, pulled, encrypted, deduplicated.

use std::sync::{Arc, Mutex};

use super::App;
use super::assemble::RunInfo;
use super::context::Fleet;
use super::global::Limits;
use super::repositories;
use super::running::{self, Run};
use super::targets::Targets;
use crate::backup::{ClientBackup, Dumped, Throttle};
use crate::engine::Work;
use crate::event::{EventKind, ExitKind, Fault, Outcome, PLANNING};
use crate::hint::hints;
use crate::registry::Client;
use crate::registry::values::byte_count;
use crate::ssh::{Target, processors};
use crate::vault::Vault;

/// Back clients up: database, folders, release, secrets; pulled from the hosts and encrypted here
///
/// Each client has a repository of its own with its own key. The dump streams over the SSH connection
/// into it, and files that did not change are not sent again. What was cut, empty or failed becomes no
/// snapshot. Afterwards old snapshots go, as `keep` of the client says. It never asks, and it changes
/// nothing on a host, so it may run beside anything.
#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:
  fleet backup --all
  fleet backup ville-lyon --limit 5M
  fleet backup --tag prod --parallel 8 --json
  fleet backup --all --dry-run")]
pub struct Args {
    #[command(flatten)]
    pub targets: Targets,

    /// Most bytes a second from all hosts together, such as 500K or 20M [default: `bandwidth` under
    /// [fleet.backup]]
    #[arg(long, value_name = "SIZE", value_parser = parse_size)]
    pub limit: Option<u64>,

    /// Only show what would be saved
    #[arg(short = 'n', long)]
    pub dry_run: bool,

    #[command(flatten)]
    pub limits: Limits,
}

pub fn parse_size(text: &str) -> Result<u64, String> {
    byte_count(text).map_err(|fault| format!("expected {}", fault.expected.unwrap_or_default()))
}

pub fn run(app: &App, args: &Args) -> anyhow::Result<ExitKind> {
    let fleet = Fleet::open(&app.global)?;
    let clients = args.targets.required(&fleet)?;
    let vault = fleet.vault()?;
    let info = running::new_run();
    if args.dry_run {
        return show(app, &fleet, &vault, &clients, &info);
    }
    repositories::prepare(&fleet)?;
    let settings = &fleet.registry.fleet.backup;
    let throttle = Arc::new(Throttle::new(args.limit.or(settings.bandwidth)));
    let (mut works, mut refusals) = (Vec::new(), Vec::new());
    for client in &clients {
        // A client whose secrets are lost keeps no other from being saved.
        match work(&fleet, &vault, client, &info, &throttle) {
            Ok(work) => works.push(work),
            Err(error) => refusals.push((client.name.to_string(), error)),
        }
    }
    let names = clients.iter().map(|client| client.name.to_string()).collect();
    let limits = Limits { parallel: args.limits.parallel.or_else(|| width(&fleet)), ..args.limits.clone() };
    let runtime = running::runtime()?;
    let exit = runtime.block_on(async {
        let mut run = Run::start(app, &fleet, &info, "backup", names, &limits)?;
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
        anyhow::Ok(run.finish())
    })?;
    running::shut_down(runtime);
    Ok(exit)
}

/// Each backup cuts, hashes and packs what it reads: more at once than processors gains little.
fn width(fleet: &Fleet) -> Option<u32> {
    let wished = 2 * processors();
    let most = fleet.registry.fleet.parallel.unwrap_or(wished).min(wished);
    u32::try_from(most.max(1)).ok()
}

fn work(
    fleet: &Fleet,
    vault: &Vault,
    client: &Client,
    info: &RunInfo,
    throttle: &Arc<Throttle>,
) -> anyhow::Result<(Target, Arc<dyn Work>)> {
    let stack = fleet.stack(client)?;
    let place = repositories::place_to_write(fleet, vault, client, &stack)?;
    let redactor = vault.read(client.name.as_str())?.redactor();
    let work = ClientBackup {
        what: repositories::what(fleet, vault, client, &stack, info)?,
        place,
        keep: client.backup.keep,
        throttle: Arc::clone(throttle),
        limit: fleet.registry.fleet.backup.max_size,
        state: fleet.state_dir(),
        redactor: Arc::new(redactor),
        written: Arc::new(Mutex::new(None)),
    };
    Ok((fleet.target(client), Arc::new(work)))
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
        let repository = repositories::store(fleet, client.name.as_str()).name();
        if app.global.json {
            let record = serde_json::json!({ "schema": "fleet.backup-plan/1", "client": client.name,
                "database": database, "folders": folders, "repository": repository });
            app.out(&record.to_string())?;
        } else {
            app.out(&format!("{}: into {repository}", client.name))?;
            app.out(&format!("  database: {}", database.as_deref().unwrap_or("none")))?;
            app.out(&format!("  files: {}", folders.join(", ")))?;
        }
    }
    Ok(ExitKind::Ok)
}
