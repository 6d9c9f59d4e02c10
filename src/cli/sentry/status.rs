//! `fleet sentry status`.

use std::time::Duration;

use jiff::Timestamp;

use super::super::App;
use super::super::context::Fleet;
use super::super::global::Limits;
use super::super::targets::Targets;
use super::{look, server};
use crate::event::ExitKind;
use crate::status::sentry::{Sentry, State};
use crate::ui::{self, Cell, Column, Role, Table};
use crate::words;

/// Longest time for all questions to the Sentry server.
const SERVER: Duration = Duration::from_secs(60);

/// Show what clients.toml, the running applications and the Sentry server say, and where they disagree
///
/// Each host is asked in one round trip: what the health answer says, the line of the log, and whether the
/// service runs with the DSN of clients.toml (compared by digest; the DSN itself stays there). Where
/// [fleet.sentry] names a token, the server is asked for the project, its keys and the last event of each
/// client's environment.
///
/// The exit code is 0 when all agree, 1 when one does not or the server cannot be asked, 4 when no client could
/// be reached.
#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:
  fleet sentry status
  fleet sentry status ville-lyon
  fleet sentry status --no-server
  fleet sentry status --json | jq -r 'select(.state == \"wrong\") | .client'")]
pub struct Args {
    #[command(flatten)]
    pub targets: Targets,

    /// Do not ask the Sentry server
    #[arg(long)]
    pub no_server: bool,

    /// Show whole DSNs, keys and all
    #[arg(long)]
    pub reveal: bool,

    #[command(flatten)]
    pub limits: Limits,
}

pub fn run(app: &App, args: &Args) -> anyhow::Result<ExitKind> {
    let fleet = Fleet::open(&app.global)?;
    let clients = args.targets.or_all(&fleet)?;
    let api = if args.no_server { None } else { server::open(&fleet, SERVER)? };
    let mut looked = look::look(app, &fleet, "sentry status", &clients, &args.limits)?;
    let asked = match &api {
        Some(api) if !looked.interrupted => {
            super::end_at_interrupt()?;
            server::add(app, api, &clients, &mut looked.list)
        }
        _ => true,
    };
    if args.reveal {
        for (one, client) in looked.list.iter_mut().zip(&clients) {
            one.configured.dsn = client.sentry.dsn.as_ref().map(|dsn| dsn.shown(true));
        }
    }
    show(app, &looked.list, api.is_some())?;
    match look::exit(&looked) {
        ExitKind::Ok if !asked => Ok(ExitKind::ClientFailed),
        other => Ok(other),
    }
}

/// The records, or a table and what to do.
///
/// # Errors
/// When standard output cannot be written.
pub fn show(app: &App, list: &[Sentry], server: bool) -> anyhow::Result<()> {
    if app.global.json {
        return list.iter().try_for_each(|one| app.out(&serde_json::to_string(one)?));
    }
    let asked = server.then(|| Column::new("last event").droppable(1));
    let columns = [
        Column::new("client").at_least(8),
        Column::new("sentry"),
        Column::new("environment").at_least(8),
        Column::new("says").droppable(2),
        Column::new("release").droppable(3),
        Column::new("dsn").droppable(4),
    ];
    let mut table = Table::new(columns.into_iter().chain(asked));
    for one in list {
        let app = one.application.clone().unwrap_or_default();
        let role = match one.state {
            State::On => Role::Good,
            State::Off | State::Unknown => Role::Faint,
            State::Wrong | State::Unreachable => Role::Bad,
        };
        let cells = [
            Cell::new(Role::Strong, &one.client),
            Cell::new(role, one.state.word()),
            one.configured.environment.as_str().into(),
            says(one).into(),
            app.release.unwrap_or_default().into(),
            one.configured.dsn.clone().unwrap_or_else(|| nothing(one).to_owned()).into(),
        ];
        table.row(cells.into_iter().chain(server.then(|| last(one).into())));
    }
    app.table(&table)?;
    let mut told: Vec<(&str, &str, Vec<&str>)> = Vec::new();
    for one in list {
        for problem in &one.problems {
            match told
                .iter_mut()
                .find(|(text, remedy, _)| (*text, *remedy) == (&problem.text, &problem.remedy))
            {
                Some((_, _, clients)) => clients.push(&one.client),
                None => told.push((&problem.text, &problem.remedy, vec![&one.client])),
            }
        }
    }
    if !told.is_empty() {
        app.out("\nwhat to do:")?;
    }
    for (text, remedy, clients) in told {
        app.out(&format!("  {}: {}", ui::names(&clients, 40), ui::flat(text)))?;
        app.out(&format!("    {}", ui::flat(remedy)))?;
    }
    Ok(())
}

fn says(one: &Sentry) -> String {
    let Some(app) = &one.application else { return String::new() };
    match (&app.status, &app.environment, &app.log) {
        (Some(status), Some(environment), _) => format!("{status}, {environment}"),
        (Some(status), None, _) => status.clone(),
        (None, _, Some(line)) => line.chars().take(40).collect(),
        (None, _, None) => String::new(),
    }
}

fn last(one: &Sentry) -> String {
    let Some(server) = &one.server else { return String::new() };
    match (&server.last, &server.note) {
        (_, Some(_)) => "not known".to_owned(),
        (Some(last), None) => {
            let age = last.at.parse::<Timestamp>().ok();
            let age = age.map(|at| Timestamp::now().as_second() - at.as_second());
            age.map_or_else(|| last.at.clone(), |age| format!("{} ago", words::lasted(age.max(0))))
        }
        (None, None) if server.looked_through == 0 => "none".to_owned(),
        (None, None) => format!("none of the last {}", server.looked_through),
    }
}

fn nothing(one: &Sentry) -> &'static str {
    if one.configured.enabled { "none" } else { "disabled" }
}
