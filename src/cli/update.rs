//! `fleet update`: a new release on clients that serve already.

use super::App;
use super::change::{self, Options, Wish};
use super::context::Fleet;
use super::exit::refused;
use super::targets::Targets;
use crate::event::ExitKind;
use crate::hint::HintExt as _;
use crate::plan::Stage;
use crate::registry::Client;

/// Bring clients to the current source, templates and settings
///
/// Pushes the source, builds or pulls what changed, migrates the database, restarts only the
/// services whose image, settings or files changed, and waits until they are healthy. A client
/// that is as wanted already stays untouched.
#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:
  fleet update --all
  fleet update ville-lyon --services \"api portail\"
  fleet update --tag canary --dry-run
  fleet update --all --check        exit code 5 when anything would change")]
pub struct Args {
    #[command(flatten)]
    pub targets: Targets,

    /// Restart only these services, such as "api portail"; may be repeated
    #[arg(long, visible_alias = "service", value_name = "NAMES")]
    pub services: Vec<String>,

    /// Change nothing; exit code 5 when something would change
    #[arg(long, conflicts_with = "dry_run")]
    pub check: bool,

    #[command(flatten)]
    pub options: Options,
}

pub fn run(app: &App, args: &Args) -> anyhow::Result<ExitKind> {
    let fleet = Fleet::open(&app.global)?;
    let clients = args.targets.required(&fleet)?;
    let services: Vec<String> = args
        .services
        .iter()
        .flat_map(|list| list.split([' ', ',']))
        .filter(|name| !name.is_empty())
        .map(str::to_owned)
        .collect();
    for client in &clients {
        known(&fleet, client, &services)?;
    }
    let wish = Wish {
        verb: "update",
        stages: &[Stage::Prepare, Stage::Rollout],
        needs_provision: true,
        services: &services,
        all_or_none: false,
        rollback_to: None,
        check: args.check,
    };
    change::run(app, &fleet, &clients, &args.options, &wish)
}

/// Every named service is one of the client's stack.
fn known(fleet: &Fleet, client: &Client, services: &[String]) -> anyhow::Result<()> {
    let stack = fleet.stack(client)?;
    for name in services {
        if stack.service(name).is_none() {
            let list: Vec<&str> = stack.services.iter().map(|service| service.name.as_str()).collect();
            return Err(refused(format!("stack {} has no service {name:?}", stack.name))
                .hint(format!("its services are {}", list.join(", "))));
        }
    }
    Ok(())
}
