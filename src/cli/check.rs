//! `fleet check`: the health check for cron and CI, which remembers and tells what changed.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context as _;
use jiff::Timestamp;
use serde_json::json;

use super::App;
use super::context::Fleet;
use super::crons::Crons;
use super::global::Limits;
use super::looking::{self, Looked};
use super::targets::Targets;
use super::tell::Telling;
use crate::check::{self, Change, Finding, MEMORY_SCHEMA, Memory, State};
use crate::event::ExitKind;
use crate::fs_atomic::{self, FileLock};
use crate::notify::{Entry, Level};
use crate::registry::Topic;
use crate::status::Status;
use crate::ui::{Cell, Column, Role, Table};
use crate::words::lasted;

/// Check clients for cron and CI: say what is wrong, remember it, tell the channels what changed
///
/// Each host is asked everything in one round trip and judged by the limits of clients.toml
/// (docs/monitoring.md lists them). What fails in two checks in a row is told to the channels of
/// [notify], once, and again when it is well, with how long it lasted; one message a run. A host that
/// does not answer hides what else may be wrong with it. The exit code is 0 when all is well, 1 when
/// something is wrong, 4 when no client could be reached, 6 when another check is still running.
#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:
  fleet check
  fleet check --tag prod --json
  fleet check ville-lyon --no-notify

In cron: */5 * * * * cd /srv/town-halls && fleet check --quiet")]
pub struct Args {
    #[command(flatten)]
    pub targets: Targets,

    /// Print nothing but warnings: for cron, where the channels and the exit code tell
    #[arg(short, long, conflicts_with = "json")]
    pub quiet: bool,

    /// Only look: remember nothing and tell nobody
    #[arg(long)]
    pub no_notify: bool,

    #[command(flatten)]
    pub limits: Limits,
}

/// How long one check waits for another that runs.
const PATIENCE: Duration = Duration::from_secs(10);
/// Lines of what is to be done below the table.
const TO_DO: usize = 41;

pub fn run(app: &App, args: &Args) -> anyhow::Result<ExitKind> {
    let fleet = Fleet::open(&app.global)?;
    let clients = args.targets.or_all(&fleet)?;
    // Two checks at once would count one failure twice.
    let lock = fleet.state_dir().join("locks/check.lock");
    let held = if args.no_notify { None } else { Some(FileLock::acquire(&lock, PATIENCE)?) };
    let telling = held.as_ref().and_then(|_| Telling::start(app, &fleet, Topic::Check));
    let crons = held.as_ref().and_then(|_| Crons::check(app, &fleet));
    let Looked { list, interrupted } = match looking::look(app, &fleet, "check", &clients, &args.limits, true)
    {
        Ok(looked) => looked,
        Err(error) => {
            if let Some(telling) = &telling {
                telling.end("check: not done", Vec::new(), super::exit::exit_of(&error));
            }
            if let Some(crons) = crons {
                crons.end(|_| false);
            }
            return Err(error);
        }
    };
    let exit = looking::exit(&list, interrupted);
    if let Some(crons) = crons {
        crons.end(|_| exit == ExitKind::Ok);
    }
    let mut memory = Memory::default();
    let mut changes = Vec::new();
    let now = Timestamp::now().as_second();
    let store = Store(fleet.state_dir().join("checks.json"));
    if held.is_some() {
        memory = store.load(app)?;
    }
    // Half of the answers say nothing of the other half.
    if held.is_some() && !interrupted {
        memory.keep(&fleet.registry.clients.iter().map(|client| client.name.as_str()).collect());
        for (client, status) in clients.iter().zip(&list) {
            let after = check::Limits::of(&client.checks).after;
            changes.extend(memory.fold(&client.name, &status.findings, after, now));
        }
    }
    if let Some(telling) = &telling {
        // Told first, then remembered: a cut in between tells twice rather than never.
        telling.end(&title(&changes, &list), entries(&changes), exit);
    }
    if held.is_some() && !interrupted {
        store.save(&memory)?;
    }
    if !args.quiet {
        show(app, &list, &memory, now)?;
    }
    Ok(exit)
}

fn title(changes: &[Change], list: &[Status]) -> String {
    let problems = changes.iter().filter(|change| change.text.is_some()).count();
    let counted = |count: usize, noun: &str| format!("{count} {noun}{}", if count == 1 { "" } else { "s" });
    let silent = list.iter().filter(|status| !status.reachable).count();
    if problems > 0 && list.len() > 1 && silent == list.len() {
        return format!("none of {} clients reachable: is it this machine's own network?", list.len());
    }
    match (problems, changes.len() - problems) {
        (0, 0) => {
            let well = list.iter().filter(|status| status.well()).count();
            format!("check: {well} of {} well", list.len())
        }
        (0, recovered) => format!("check: {} over", counted(recovered, "problem")),
        (problems, 0) => format!("check: {}", counted(problems, "new problem")),
        (problems, recovered) => format!("check: {}, {recovered} over", counted(problems, "new problem")),
    }
}

fn entries(changes: &[Change]) -> Vec<Entry> {
    let mut changes: Vec<&Change> = changes.iter().collect();
    changes.sort_by_key(|change| change.text.is_none());
    let entry = |change: &&Change| Entry {
        level: if change.text.is_some() { Level::Problem } else { Level::Recovered },
        client: Some(change.client.clone()),
        text: match &change.text {
            Some(text) => format!("{text} - {}", change.remedy),
            None => format!("{} is well again after {}", change.check, lasted(change.seconds)),
        },
    };
    changes.iter().map(entry).collect()
}

fn show(app: &App, list: &[Status], memory: &Memory, now: i64) -> anyhow::Result<()> {
    if app.global.json {
        for status in list {
            app.out(&record(status, memory).to_string())?;
        }
        return Ok(());
    }
    let mut table = Table::new([
        Column::new("client").at_least(8),
        Column::new("check").at_least(8),
        Column::new("for").right().droppable(1),
        Column::new("what is wrong").at_least(16),
    ]);
    let mut sorted: Vec<&Status> = list.iter().filter(|status| !status.well()).collect();
    sorted.sort_by_key(|status| status.reachable);
    for status in sorted {
        for finding in failing(status) {
            let since = memory.since(&status.client, &finding.check);
            table.row([
                Cell::new(Role::Strong, &status.client),
                Cell::new(Role::Text, &finding.check),
                since.map_or(String::new(), |since| lasted(now.saturating_sub(since))).into(),
                Cell::new(Role::Bad, &finding.text),
            ]);
        }
    }
    app.table(&table)?;
    let well = list.iter().filter(|status| status.well()).count();
    app.tell(&format!("{well} of {} well\n", list.len()));
    app.tell(&looking::what_to_do(&looking::remedies(list), TO_DO));
    Ok(())
}

fn failing(status: &Status) -> impl Iterator<Item = &Finding> {
    status.findings.iter().filter(|finding| finding.state == State::Failing)
}

/// One client, schema `fleet.check/1`.
fn record(status: &Status, memory: &Memory) -> serde_json::Value {
    let checks: Vec<_> = status
        .findings
        .iter()
        .map(|finding| {
            let since = memory.since(&status.client, &finding.check);
            let since = since.and_then(|since| Timestamp::from_second(since).ok());
            json!({
                "check": finding.check,
                "state": finding.state,
                "text": finding.text,
                "remedy": finding.remedy,
                "since": since.map(|since| since.to_string()),
            })
        })
        .collect();
    json!({
        "schema": check::SCHEMA,
        "client": status.client,
        "reachable": status.reachable,
        "well": status.well(),
        "seconds": status.seconds,
        "checks": checks,
    })
}

/// `.fleet/checks.json`; who writes it holds the lock of `check`.
struct Store(PathBuf);

impl Store {
    /// A spoiled file is no reason to check nothing: it begins anew, and that is said.
    fn load(&self, app: &App) -> anyhow::Result<Memory> {
        let Some(bytes) = fs_atomic::read_optional(&self.0)? else { return Ok(Memory::default()) };
        match serde_json::from_slice::<Memory>(&bytes) {
            Ok(memory) if memory.schema == MEMORY_SCHEMA => Ok(memory),
            _ => {
                app.tell(&format!(
                    "warning: {} cannot be read and begins anew; what is wrong may be told again\n",
                    self.0.display()
                ));
                Ok(Memory::default())
            }
        }
    }

    fn save(&self, memory: &Memory) -> anyhow::Result<()> {
        let memory = Memory { schema: MEMORY_SCHEMA.to_owned(), ..memory.clone() };
        let bytes = serde_json::to_vec_pretty(&memory)?;
        fs_atomic::replace(&self.0, &bytes, 0o600).context("what this check found cannot be kept")
    }
}
