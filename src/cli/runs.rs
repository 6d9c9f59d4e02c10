//! `fleet runs`: what was done, by whom, and what each client came to.

mod find;
mod show;

use std::time::Duration;

use anyhow::Context as _;
use serde_json::json;

use super::App;
use crate::engine::journal::{self, End, RunSummary};
use crate::event::ExitKind;
use crate::ui::{self, Cell, Column, Role, Table};

/// List the runs of this fleet directory, the newest first; show or replay one
///
/// Every run that may change clients keeps a journal in .fleet/runs. A run whose end is not in its
/// journal was cut (killed, or the machine went down), unless it still goes on. The newest 500 are
/// kept, or as many as `keep_runs` of [fleet] says.
#[derive(clap::Args, Debug)]
#[command(args_conflicts_with_subcommands = true)]
#[command(after_help = "Examples:
  fleet runs
  fleet runs --since 7d --client ville-lyon
  fleet runs show latest
  fleet runs replay 20261120-1015 --speed 10
  fleet runs --json | jq -r 'select(.exit != 0) | .run'")]
pub struct Args {
    #[command(subcommand)]
    command: Option<Command>,

    #[command(flatten)]
    list: List,
}

#[derive(clap::Args, Debug)]
struct List {
    /// At most so many runs
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..))]
    limit: u32,

    /// Not older than this, such as 12h or 2d
    #[arg(long, value_name = "TIME", value_parser = super::global::parse_age)]
    since: Option<Duration>,

    /// Only runs that this client took part in, such as ville-lyon
    #[arg(long, value_name = "NAME")]
    client: Option<String>,
}

#[derive(clap::Subcommand, Debug)]
enum Command {
    Show(show::Show),
    Replay(show::Replay),
}

pub fn run(app: &App, args: &Args) -> anyhow::Result<ExitKind> {
    // A registry that is broken today says nothing about the runs of yesterday: it is not read.
    let dir = app.global.locate()?.0.join(".fleet").join("runs");
    match &args.command {
        None => list(app, &dir, &args.list),
        Some(Command::Show(args)) => show::show(app, &dir, args),
        Some(Command::Replay(args)) => show::replay(app, &dir, args),
    }
}

fn list(app: &App, dir: &std::path::Path, args: &List) -> anyhow::Result<ExitKind> {
    let unreadable = || format!("the journals in {} cannot be read", dir.display());
    let oldest = args.since.and_then(|since| jiff::Timestamp::now().checked_sub(since).ok());
    let mut runs = Vec::new();
    let mut more = false;
    for run in journal::list(dir).with_context(unreadable)? {
        let run = run.with_context(unreadable)?;
        let old = |oldest| run.started.parse::<jiff::Timestamp>().is_ok_and(|started| started < oldest);
        if oldest.is_some_and(old) {
            break;
        }
        if args.client.as_ref().is_some_and(|client| !run.clients.contains(client)) {
            continue;
        }
        if runs.len() == args.limit as usize {
            more = true;
            break;
        }
        runs.push(run);
    }
    if app.global.json {
        let lines: Vec<String> = runs.iter().map(|run| record(run).to_string()).collect();
        if !lines.is_empty() {
            app.out(&lines.join("\n"))?;
        }
        return Ok(ExitKind::Ok);
    }
    if runs.is_empty() {
        app.tell("no such run\n");
    }
    app.table(&table(&runs))?;
    if more {
        app.tell(&format!("older ones are left out; see them with --limit {}\n", args.limit * 5));
    }
    Ok(ExitKind::Ok)
}

fn record(run: &RunSummary) -> serde_json::Value {
    let counts: serde_json::Map<String, serde_json::Value> =
        run.counts.iter().map(|(word, count)| ((*word).to_owned(), json!(count))).collect();
    let (state, exit, seconds) = match run.end {
        End::Finished { exit, seconds } => ("finished", Some(exit), Some(seconds)),
        End::Running => ("running", None, None),
        End::Cut => ("cut", None, None),
    };
    json!({ "schema": "fleet.run/1", "run": run.run, "started": run.started, "who": run.who,
        "verb": run.verb, "clients": run.clients, "outcomes": counts, "state": state, "exit": exit,
        "seconds": seconds })
}

fn table(runs: &[RunSummary]) -> Table {
    let mut table = Table::new([
        Column::new("run").at_least(20),
        Column::new("when").at_least(16),
        Column::new("who").droppable(1),
        Column::new("verb").at_least(6),
        Column::new("outcome").at_least(20),
        Column::new("took").right(),
    ]);
    for run in runs {
        let words: Vec<String> = run.counts.iter().map(|(word, count)| format!("{count} {word}")).collect();
        let (exit, took) = match run.end {
            End::Finished { exit, seconds } => (Some(exit), Cell::from(ui::seconds(seconds))),
            End::Running => (None, Cell::new(Role::Note, "running")),
            End::Cut => (None, Cell::new(Role::Warn, "cut")),
        };
        let role = match exit {
            Some(0) => Role::Good,
            Some(_) => Role::Bad,
            None => Role::Text,
        };
        let mut words = words.join(", ");
        if exit == Some(ExitKind::Interrupted as u8) {
            words = format!("interrupted: {words}");
        }
        table.row([
            Cell::new(Role::Strong, &run.run),
            local(&run.started).into(),
            run.who.clone().into(),
            run.verb.clone().into(),
            Cell::new(role, &words),
            took,
        ]);
    }
    table
}

/// A moment as the clock on the wall shows it.
fn local(at: &str) -> String {
    let zone = jiff::tz::TimeZone::system();
    at.parse::<jiff::Timestamp>()
        .map_or_else(|_| at.to_owned(), |at| at.to_zoned(zone).strftime("%Y-%m-%d %H:%M").to_string())
}
