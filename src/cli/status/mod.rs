//! `fleet status`: one table of all clients, what is wrong first.

mod table;
mod watch;

use std::time::Duration;

use super::App;
use super::context::Fleet;
use super::global::Limits;
use super::looking::{self, Looked};
use super::targets::Targets;
use crate::event::ExitKind;
use crate::registry::Client;
use crate::status::{Status, prometheus};

/// Show the state of clients: release, containers, health, certificate, disk, backup, Sentry
///
/// Each host is asked everything in one round trip. What is wrong comes first, and what to do about it
/// below; on a screen that is too small for all, clients that are well are named and no more. The exit
/// code is 0 when every client is well, 1 when one is not, 4 when none could be reached.
#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:
  fleet status
  fleet status --problems
  fleet status --tag prod --wide --sort disk
  fleet status --watch
  fleet status 'ville-*' --json | jq -r 'select(.problems != []) | .client'
  fleet status --format prometheus > /var/lib/prometheus/node-exporter/fleet.prom.new

In cron, for the textfile collector (docs/monitoring.md lists the metrics):
  */5 * * * * cd /srv/town-halls && D=/var/lib/prometheus/node-exporter; fleet status --format prometheus > $D/fleet.prom.new; mv $D/fleet.prom.new $D/fleet.prom")]
pub struct Args {
    #[command(flatten)]
    pub targets: Targets,

    /// Look again and redraw in place until q or Ctrl-C, every 10 seconds or as often as said, such as --watch=30
    #[arg(short, long, value_name = "SECONDS", num_args = 0..=1, default_missing_value = "10",
        require_equals = true, value_parser = clap::value_parser!(u16).range(1..))]
    pub watch: Option<u16>,

    /// Everything that is known: certificates, proofs, load, clock, drift
    #[arg(long)]
    pub wide: bool,

    /// Only clients with whom something is wrong
    #[arg(short, long)]
    pub problems: bool,

    /// What comes first [default: what is wrong]
    #[arg(long, value_name = "KEY")]
    pub sort: Option<Sort>,

    /// Form of the output; json is the same as --json
    #[arg(long, value_name = "FORM", default_value = "table")]
    pub format: Format,

    #[command(flatten)]
    pub limits: Limits,
}

#[derive(clap::ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sort {
    Name,
    /// The oldest first
    Release,
    /// The slowest first
    Http,
    /// The one with the least of its lifetime left first
    Certificate,
    /// The fullest first
    Disk,
    Memory,
    Load,
    /// The oldest nightly dump first
    Backup,
    /// The oldest backup of the operator first
    Pulled,
    /// The slowest to answer first
    Latency,
}

#[derive(clap::ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    Table,
    Json,
    Prometheus,
}

/// What is shown of one look.
struct View {
    /// Those that are shown.
    list: Vec<Status>,
    /// How many of all are well.
    count: String,
    exit: ExitKind,
    interrupted: bool,
}

pub fn run(app: &App, args: &Args) -> anyhow::Result<ExitKind> {
    let fleet = Fleet::open(&app.global)?;
    let clients = args.targets.or_all(&fleet)?;
    let json = app.global.json || args.format == Format::Json;
    if let (Some(seconds), Format::Table, false) = (args.watch, args.format, json) {
        return watch::watch(app, &fleet, &clients, args, Duration::from_secs(seconds.into()));
    }
    if args.watch.is_some() {
        // Also between two looks.
        super::running::on_signal(|| std::process::exit(ExitKind::Interrupted as i32))?;
    }
    loop {
        let view = view(app, &fleet, &clients, args)?;
        if json {
            for status in &view.list {
                app.out(&serde_json::to_string(status)?)?;
            }
        } else if args.format == Format::Prometheus {
            app.out(prometheus::render(&view.list, jiff::Timestamp::now()).trim_end())?;
        } else {
            let shown = table::Shown { wide: args.wide, now: jiff::Timestamp::now(), look: app.stdout };
            table::show(app, &view, &shown)?;
        }
        match args.watch {
            Some(seconds) if !view.interrupted => std::thread::sleep(Duration::from_secs(seconds.into())),
            _ => return Ok(view.exit),
        }
    }
}

fn view(app: &App, fleet: &Fleet, clients: &[&Client], args: &Args) -> anyhow::Result<View> {
    let Looked { mut list, interrupted } = looking::look(app, fleet, "status", clients, &args.limits, false)?;
    let exit = looking::exit(&list, interrupted);
    let well = list.iter().filter(|status| status.well()).count();
    let count = format!("{well} of {} well", list.len());
    if args.problems {
        list.retain(|status| !status.well());
    }
    let json = app.global.json || args.format == Format::Json;
    match args.sort {
        Some(key) => sort(&mut list, key),
        // Records stay in the order of the registry.
        None if json => {}
        None => list.sort_by_key(|status| (status.well(), status.reachable)),
    }
    Ok(View { list, count, exit, interrupted })
}

/// What is not known comes last; equals stay in the order of the registry.
fn sort(list: &mut [Status], key: Sort) {
    let worst = |status: &Status| -> Option<f64> {
        let seconds = |text: &str| Some(text.parse::<jiff::Timestamp>().ok()?.as_second() as f64);
        match key {
            Sort::Name => None,
            Sort::Release => status.release.as_ref().and_then(|release| seconds(&release.at)).map(|at| -at),
            Sort::Http => status.http.as_ref().map(|http| http.seconds),
            Sort::Certificate => status.tls.as_ref().map(|tls| -tls.fraction_left.unwrap_or(0.0)),
            Sort::Disk => status.disk_percent.map(|percent| percent as f64),
            Sort::Memory => status.memory_percent.map(|percent| percent as f64),
            Sort::Load => status.load15().and_then(|load| load.parse().ok()),
            Sort::Backup => status.backup.as_ref().map(|backup| backup.age_hours as f64),
            Sort::Pulled => status.pulled.as_ref().map(|pulled| pulled.age_hours as f64),
            Sort::Latency => status.reachable.then_some(status.seconds),
        }
    };
    if key == Sort::Name {
        return list.sort_by(|a, b| a.client.cmp(&b.client));
    }
    list.sort_by(|a, b| {
        let order =
            |status: &Status| worst(status).filter(|value| !value.is_nan()).unwrap_or(f64::NEG_INFINITY);
        order(b).total_cmp(&order(a))
    });
}
