//! One run again: what it came to, or how it went.

use std::path::Path;
use std::time::Duration;

use anyhow::Context as _;

use super::super::App;
use super::super::exit::refused;
use super::{find::find, local};
use crate::engine::journal::{self, End, JournalError};
use crate::event::{Event, EventKind, ExitKind, Report};
use crate::hint::HintExt as _;
use crate::ui::{self, Cell, Column, Look, Role, Table};

/// Show what a run came to: each client's outcome, and what went wrong
///
/// With --json: all its events, one a line, as they came.
#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:
  fleet runs show latest
  fleet runs show 20261120-101500
  fleet runs show latest --json | jq -r 'select(.type == \"output\") | .line'")]
pub struct Show {
    /// Its id or the beginning of it, or latest
    #[arg(value_name = "RUN")]
    run: String,
}

/// Play a run again on the screen, as it went
#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:
  fleet runs replay latest --speed 10
  fleet runs replay latest --instant --verbose")]
pub struct Replay {
    /// Its id or the beginning of it, or latest
    #[arg(value_name = "RUN")]
    run: String,

    /// So many times faster than it was
    #[arg(long, value_name = "N", default_value_t = 1.0, value_parser = faster)]
    speed: f64,

    /// Without waiting at all
    #[arg(long, conflicts_with = "speed")]
    instant: bool,
}

fn faster(text: &str) -> Result<f64, String> {
    let wrong = || "expected a number from 0.1 to 1000, such as 10".to_owned();
    text.parse().ok().filter(|speed| (0.1..=1000.0).contains(speed)).ok_or_else(wrong)
}

pub fn show(app: &App, dir: &Path, args: &Show) -> anyhow::Result<ExitKind> {
    let path = find(dir, &args.run)?;
    let events = read(app, &path)?;
    if app.global.json {
        let lines: Result<Vec<String>, _> = events.iter().map(serde_json::to_string).collect();
        app.out(&lines?.join("\n"))?;
        return Ok(ExitKind::Ok);
    }
    let report = fold(&events);
    let (who, started) = begun(&events);
    app.out(&format!("{} by {who}, {}", ui::flat(&report.verb), local(&started)))?;
    if !finished(&events) {
        app.out(match journal::unfinished(&path)? {
            End::Running => "it still goes on",
            _ => "it was cut: its journal has no end; run the same command again, it goes on where it was",
        })?;
    }
    app.out("")?;
    app.table(&outcomes(&report))?;
    // All of it, however low the screen: it is an answer, which may be paged.
    let look = Look { rows: usize::MAX, ..app.stdout };
    app.out(&format!("\n{}", ui::summary(&report, &look, true).trim_end()))?;
    Ok(ExitKind::Ok)
}

pub fn replay(app: &App, dir: &Path, args: &Replay) -> anyhow::Result<ExitKind> {
    let events = read(app, &find(dir, &args.run)?)?;
    let settings = ui::Settings { json: app.global.json, verbose: app.global.verbose, look: app.stderr };
    let mut renderer = ui::renderer(&settings);
    let mut before = None;
    for event in &events {
        let at = event.at.parse::<jiff::Timestamp>().ok();
        if let (Some(at), Some(before), false) = (at, before, args.instant) {
            let waited = Duration::try_from(at.duration_since(before)).unwrap_or_default();
            std::thread::sleep(waited.div_f64(args.speed));
        }
        before = at.or(before);
        renderer.event(event);
    }
    renderer.finish(&fold(&events));
    Ok(ExitKind::Ok)
}

/// The events of a journal; a line that is none is told of and passed over.
fn read(app: &App, path: &Path) -> anyhow::Result<Vec<Event>> {
    let unreadable = || format!("{} cannot be read", path.display());
    let mut events = Vec::new();
    for event in journal::read(path).with_context(unreadable)? {
        match event {
            Ok(event) => events.push(event),
            Err(error @ JournalError::Io(_)) => return Err(error).with_context(unreadable),
            Err(error @ JournalError::Line { .. }) => app.tell(&format!("warning: {error}\n")),
        }
    }
    if events.is_empty() {
        return Err(refused(format!("{} holds no event", path.display()))
            .hint("the run was cut before it began; `fleet runs` lists the others"));
    }
    Ok(events)
}

/// What the events came to. A run without an end lasted until its last event.
fn fold(events: &[Event]) -> Report {
    let mut report = Report::default();
    events.iter().for_each(|event| report.fold(event));
    let at = |event: Option<&Event>| event.and_then(|event| event.at.parse::<jiff::Timestamp>().ok());
    if let (false, Some(first), Some(last)) = (finished(events), at(events.first()), at(events.last())) {
        report.seconds = last.duration_since(first).as_secs_f64();
    }
    report
}

fn finished(events: &[Event]) -> bool {
    events.iter().any(|event| matches!(event.kind, EventKind::RunFinished { .. }))
}

fn begun(events: &[Event]) -> (String, String) {
    let who = events.iter().find_map(|event| match &event.kind {
        EventKind::RunStarted { who, .. } => Some((ui::flat(who), event.at.clone())),
        _ => None,
    });
    who.unwrap_or_default()
}

fn outcomes(report: &Report) -> Table {
    let mut table = Table::new([
        Column::new("client").at_least(8),
        Column::new("outcome").at_least(11),
        Column::new("took").right(),
        Column::new("detail"),
    ]);
    for host in &report.hosts {
        let (_, role) = ui::style::of_outcome(&host.outcome);
        table.row([
            Cell::new(Role::Strong, &host.client),
            Cell::new(role, host.outcome.word()),
            ui::seconds(host.seconds).into(),
            ui::detail(&host.outcome).into(),
        ]);
    }
    table
}
