//! `fleet provision`: a bare server becomes a serving client.

use super::App;
use super::change::{self, Options, Wish};
use super::context::Fleet;
use super::exit::usage;
use super::targets::Targets;
use crate::event::ExitKind;
use crate::hint::HintExt as _;
use crate::plan::Stage;

/// Take bare Debian or Ubuntu servers to serving clients
///
/// Installs packages, Docker and Compose, firewall, swap, security upgrades, schedules and a unit
/// for boot, then brings the first release: source, images, database, migrations, services, health,
/// certificate. A second run changes nothing; a run that was cut goes on where it was.
///
/// With --name, --domain and --ip it first adds the client to clients.toml.
#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:
  fleet provision ville-lyon
  fleet provision --all --dry-run
  fleet provision --name ville-lyon --domain ville-lyon.example.fr --ip 51.210.42.100 --email admin@ville-lyon.fr")]
pub struct Args {
    #[command(flatten)]
    pub targets: Targets,

    #[command(flatten)]
    pub new: super::add::NewClientArgs,

    #[command(flatten)]
    pub options: Options,
}

pub fn run(app: &App, args: &Args) -> anyhow::Result<ExitKind> {
    let mut targets = args.targets.clone();
    if let Some(flag) = args.new.without_name() {
        return Err(usage(format!("{flag} describes a new client, which needs --name too"))
            .hint("what a client in clients.toml has is changed there"));
    }
    let fleet = if args.new.given() {
        if !targets.is_empty() {
            return Err(usage("--name adds one client and provisions it; it takes no other target")
                .hint("name either new clients or ones that are in clients.toml"));
        }
        args.options.confirmable(app, "provision", args.options.dry_run)?;
        let (name, fleet) = super::add::with(app, &args.new, args.options.dry_run)?;
        targets.clients.push(name);
        fleet
    } else {
        Fleet::open(&app.global)?
    };
    let clients = targets.required(&fleet)?;
    let stages = &[Stage::Before, Stage::System, Stage::Prepare, Stage::Rollout, Stage::After];
    let wish = Wish { needs_provision: false, ..Wish::of("provision", stages) };
    change::run(app, &fleet, &clients, &args.options, &wish)
}
