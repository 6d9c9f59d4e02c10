//! `fleet lock`: who changes a host now.

use serde_json::json;

use super::App;
use super::ask::Yes;
use super::context::Fleet;
use super::global::Limits;
use super::targets::Targets;
use crate::engine::Answer;
use crate::event::ExitKind;
use crate::ops::lease::{self, LASTS, Seen};
use crate::registry::Client;
use crate::ui::{self, Cell, Column, Role, Table};

/// Show or break the lease that one run at a time holds on a host
///
/// Whoever changes a host holds a lease on it and renews it while at work. A lease that is not
/// renewed runs out by itself within three minutes: after a run that was killed, wait that long, or
/// break it. Times are those of the host's own clock.
#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:
  fleet lock show --all
  fleet lock show ville-lyon --json
  fleet lock break ville-lyon")]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(clap::Subcommand, Debug)]
enum Command {
    /// Show who holds each host's lease, since when and until when
    ///
    /// Without targets every client that is not disabled is asked.
    #[command(after_help = "Examples:
  fleet lock show --all")]
    Show {
        #[command(flatten)]
        targets: Targets,

        #[command(flatten)]
        limits: Limits,
    },
    /// Take the lease away from a run that is known to be dead
    ///
    /// Nobody has to: leases run out by themselves. A run that is alive takes its lease again at the
    /// next renewal, or finds that somebody else has it.
    #[command(after_help = "Examples:
  fleet lock break ville-lyon
  fleet lock break ville-lyon brest --yes")]
    Break {
        #[command(flatten)]
        targets: Targets,

        #[command(flatten)]
        yes: Yes,

        #[command(flatten)]
        limits: Limits,
    },
}

pub fn run(app: &App, args: &Args) -> anyhow::Result<ExitKind> {
    let fleet = Fleet::open(&app.global)?;
    match &args.command {
        Command::Show { targets, limits } => show(app, &fleet, &targets.or_all(&fleet)?, limits),
        Command::Break { targets, yes, limits } => {
            take_away(app, &fleet, &targets.required(&fleet)?, yes, limits)
        }
    }
}

/// What a host said of its lease, or what is wrong.
fn found(answer: &Answer) -> Result<Seen, String> {
    let output = answer.result.as_ref().map_err(|outcome| {
        outcome.fault().map_or_else(|| outcome.word().to_owned(), |fault| fault.message.clone())
    })?;
    lease::seen(&output.stdout).ok_or_else(|| {
        let said = ui::flat(&String::from_utf8_lossy(&output.stderr));
        if said.is_empty() { "its answer makes no sense".to_owned() } else { said }
    })
}

fn show(app: &App, fleet: &Fleet, clients: &[&Client], limits: &Limits) -> anyhow::Result<ExitKind> {
    let mut questions = Vec::new();
    for client in clients {
        questions.push((fleet.target(client), lease::show(&fleet.stack(client)?.name)));
    }
    let answers = app.ask(fleet, "lock", questions, limits)?;
    let found: Vec<_> = answers.answers.iter().map(|answer| (answer, found(answer))).collect();
    if app.global.json {
        for (answer, seen) in &found {
            app.out(&record(&answer.client, seen).to_string())?;
        }
    } else {
        app.table(&table(&found))?;
        for answer in &answers.answers {
            if let Err(outcome) = &answer.result {
                app.no_answer(&answer.client, outcome);
            }
        }
    }
    Ok(answers.exit(found.iter().any(|(_, seen)| seen.is_err())))
}

fn record(client: &str, seen: &Result<Seen, String>) -> serde_json::Value {
    let ok = seen.as_ref().ok();
    json!({ "schema": "fleet.lock/1", "client": client, "held": ok.map(|seen| seen.lease.is_some()),
        "lease": ok.and_then(|seen| seen.lease.as_ref()), "now": ok.map(|seen| seen.now),
        "error": seen.as_ref().err() })
}

fn table(found: &[(&Answer, Result<Seen, String>)]) -> Table {
    let mut table = Table::new([
        Column::new("client").at_least(8),
        Column::new("lease").at_least(6),
        Column::new("verb").droppable(1),
        Column::new("run").at_least(20).droppable(2),
        Column::new("since"),
        Column::new("until"),
    ]);
    for (answer, seen) in found {
        let client = Cell::new(Role::Strong, &answer.client);
        match seen {
            Err(wrong) => table.row([client, Cell::new(Role::Bad, wrong)]),
            Ok(Seen { lease: None, .. }) => table.row([client, Cell::new(Role::Faint, "free")]),
            Ok(Seen { now, lease: Some(lease) }) => {
                let ago = |since| format!("{} ago", ui::whole_seconds(now.saturating_sub(since)));
                table.row([
                    client,
                    Cell::new(Role::Warn, &lease.holder),
                    lease.verb.clone().into(),
                    lease.run.clone().into(),
                    lease.since.map(ago).unwrap_or_default().into(),
                    format!("in {}", ui::whole_seconds(lease.expires.saturating_sub(*now))).into(),
                ]);
            }
        }
    }
    table
}

fn take_away(
    app: &App,
    fleet: &Fleet,
    clients: &[&Client],
    yes: &Yes,
    limits: &Limits,
) -> anyhow::Result<ExitKind> {
    let mut questions = Vec::new();
    for client in clients {
        questions.push((fleet.target(client), lease::show(&fleet.stack(client)?.name)));
    }
    let answers = app.ask(fleet, "lock", questions, limits)?;
    let found: Vec<_> = answers.answers.iter().map(|answer| (answer, found(answer))).collect();
    let exit = answers.exit(found.iter().any(|(_, seen)| seen.is_err()));
    for (answer, seen) in &found {
        match (&answer.result, seen) {
            (Err(outcome), _) => app.no_answer(&answer.client, outcome),
            (Ok(_), Err(wrong)) => app.tell(&format!("{}: {wrong}\n", answer.client)),
            (Ok(_), Ok(_)) => {}
        }
    }
    let mut held = Vec::new();
    for (client, (_, seen)) in clients.iter().zip(&found) {
        let Ok(Seen { now, lease: Some(lease) }) = seen else { continue };
        let left = ui::whole_seconds(lease.expires.saturating_sub(*now));
        app.tell(&format!(
            "{}: held by {} for {} (run {}); runs out in {left} if that run is dead\n",
            client.name,
            ui::flat(&lease.holder),
            ui::flat(&lease.verb),
            ui::flat(&lease.run),
        ));
        held.push((fleet.target(client), lease::release(&fleet.stack(client)?.name, &lease.run)));
    }
    if held.is_empty() {
        app.tell("no lease to break\n");
        return Ok(exit);
    }
    let noun = if held.len() == 1 { "lease" } else { "leases" };
    app.tell(&format!("a lease runs out by itself {} s after its last renewal\n", LASTS.as_secs()));
    yes.sure(app, "it lets two runs change one host at once", &format!("break {} {noun}?", held.len()))?;
    let answers = app.ask(fleet, "lock", held, limits)?;
    let mut failed = false;
    for answer in &answers.answers {
        match &answer.result {
            Ok(output) if output.exit.success() => {
                if app.global.json {
                    let record = json!({ "schema": "fleet.lock/1", "client": answer.client, "held": false });
                    app.out(&record.to_string())?;
                } else {
                    app.out(&format!("{}: lease broken", answer.client))?;
                }
            }
            Ok(output) => {
                failed = true;
                let said = ui::flat(&String::from_utf8_lossy(&output.stderr));
                app.tell(&format!("{}: the lease is still there: {said}\n", answer.client));
            }
            Err(outcome) => app.no_answer(&answer.client, outcome),
        }
    }
    Ok(match answers.exit(failed) {
        ExitKind::Ok => exit,
        other => other,
    })
}
