//! `fleet migrate`: pending migrations without a new release, and what was applied where.

use serde_json::json;

use super::App;
use super::change::{self, Options, Wish};
use super::context::Fleet;
use super::targets::Targets;
use super::{database, migrations};
use crate::event::ExitKind;
use crate::facts::Facts;
use crate::ops::probe::{Question, probe};
use crate::plan::Stage;
use crate::ui::{Cell, Column, Role, Table};

/// Apply pending database migrations, or show what was applied
///
/// Each runs in one transaction and is recorded with its hash in the client's own database; a dump
/// is taken first, and a backup of a client who has backups. One that was edited after it was applied
/// is refused. `fleet update` applies pending migrations too.
#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:
  fleet migrate --status --all
  fleet migrate ville-lyon --dry-run
  fleet migrate ville-lyon --yes")]
pub struct Args {
    #[command(flatten)]
    pub targets: Targets,

    /// Show what is applied and what is pending; change nothing
    #[arg(long)]
    pub status: bool,

    #[command(flatten)]
    pub options: Options,
}

pub fn run(app: &App, args: &Args) -> anyhow::Result<ExitKind> {
    let fleet = Fleet::open(&app.global)?;
    if args.status {
        return status(app, &fleet, args);
    }
    let clients = args.targets.required(&fleet)?;
    let wish = Wish::of("migrate", &[Stage::Migrate]);
    change::run(app, &fleet, &clients, &args.options, &wish)
}

fn status(app: &App, fleet: &Fleet, args: &Args) -> anyhow::Result<ExitKind> {
    let clients = args.targets.or_all(fleet)?;
    let vault = fleet.vault()?;
    let source = fleet.registry.fleet.source.as_ref().map(|path| fleet.path(path.as_str()));
    let (mut questions, mut known) = (Vec::new(), Vec::new());
    for client in &clients {
        let stack = fleet.stack(client)?;
        known.push(migrations::of(&stack, source.as_deref().filter(|_| stack.source.is_some()))?);
        let question = Question {
            stack: stack.name.clone(),
            domain: client.domain.to_string(),
            database: database::read(fleet, &vault, client, &stack)?,
            ..Question::default()
        };
        questions.push((fleet.target(client), probe(&question)));
    }
    let answers = app.ask(fleet, "migrate", questions, &args.options.limits)?;
    let mut table = Table::new([
        Column::new("client").at_least(8),
        Column::new("migration").at_least(10),
        Column::new("state"),
    ]);
    let (mut bad, mut reached) = (0, 0);
    for (answer, known) in answers.answers.iter().zip(&known) {
        let facts = match &answer.result {
            Ok(output) => Facts::parse(&output.stdout).ok(),
            Err(_) => None,
        };
        reached += usize::from(facts.is_some());
        let applied = facts.and_then(|facts| facts.migrations);
        for migration in known {
            let state = match applied.as_ref().map(|applied| applied.get(&migration.name)) {
                None => "unknown",
                Some(None) => "pending",
                Some(Some(hash)) if *hash == migration.sha256 => "applied",
                Some(Some(_)) => "edited since",
            };
            bad += usize::from(matches!(state, "unknown" | "edited since"));
            if app.global.json {
                app.out(
                    &json!({ "schema": "fleet.migration/1", "client": answer.client,
                        "migration": migration.name, "sha256": migration.sha256, "state": state })
                    .to_string(),
                )?;
            }
            let role = match state {
                "applied" => Role::Good,
                "pending" => Role::Warn,
                _ => Role::Bad,
            };
            table.row([
                Cell::new(Role::Strong, &answer.client),
                migration.name.clone().into(),
                Cell::new(role, state),
            ]);
        }
    }
    if !app.global.json {
        app.table(&table)?;
    }
    Ok(match (answers.interrupted, bad, reached) {
        (true, _, _) => ExitKind::Interrupted,
        (false, 0, _) => ExitKind::Ok,
        (false, _, 0) => ExitKind::NoneReachable,
        (false, _, _) => ExitKind::ClientFailed,
    })
}
