//! `fleet update`: a new release on clients that serve already.

use std::collections::{BTreeMap, BTreeSet};

use super::App;
use super::change::{self, Options, Wish};
use super::context::Fleet;
use super::exit::refused;
use super::migrations;
use super::policy::{PolicyArgs, left_by_last};
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
///
/// The plan shows each file that changes as a difference, secrets masked, and why each service is
/// replaced; -v shows long differences whole.
#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:
  fleet update --all
  fleet update ville-lyon --services \"api portail\"
  fleet update --tag canary --dry-run
  fleet update --all --canary tag:canary --batch 1,10%,25% --bake 30s --max-failures 5%
  fleet update --retry
  fleet update ville-lyon --migration 023_new_feature.sql
  fleet update --all --check        exit code 5 when anything would change")]
pub struct Args {
    #[command(flatten)]
    pub targets: Targets,

    /// Restart only these services, such as "api portail"; may be repeated
    #[arg(long, visible_alias = "service", value_name = "NAMES")]
    pub services: Vec<String>,

    /// Apply pending migrations only up to this file, such as 023_new_feature.sql
    #[arg(long, value_name = "FILE")]
    pub migration: Option<String>,

    /// Change nothing; exit code 5 when something would change
    #[arg(long, conflicts_with = "dry_run")]
    pub check: bool,

    #[command(flatten)]
    pub policy: PolicyArgs,

    #[command(flatten)]
    pub options: Options,
}

pub fn run(app: &App, args: &Args) -> anyhow::Result<ExitKind> {
    let fleet = Fleet::open(&app.global)?;
    let targets = if args.policy.retry {
        Targets {
            clients: left_by_last(&fleet, "update")?,
            exclude: args.targets.exclude.clone(),
            ..Targets::default()
        }
    } else {
        args.targets.clone()
    };
    let clients = targets.required(&fleet)?;
    let services: Vec<String> = args
        .services
        .iter()
        .flat_map(|list| list.split([' ', ',']))
        .filter(|name| !name.is_empty())
        .map(str::to_owned)
        .collect();
    for client in &clients {
        for service in &services {
            fleet.stack_with(client, service)?;
        }
    }
    let wish = Wish {
        services: &services,
        migration: args.migration.as_deref().map(|name| migration(&fleet, &clients, name)).transpose()?,
        left_out: if args.check || args.options.dry_run {
            BTreeMap::new()
        } else {
            args.policy.outside_window(&clients)?
        },
        policy: args.policy.policy(&clients)?,
        check: args.check,
        wary: Some(if args.policy.retry { BTreeSet::new() } else { args.targets.named() }),
        ..Wish::of("update", &[Stage::Before, Stage::Prepare, Stage::Rollout, Stage::After])
    };
    change::run(app, &fleet, &clients, &args.options, &wish)
}

/// The name of a migration that every client's stack has; a path to it is taken too.
fn migration(fleet: &Fleet, clients: &[&Client], wanted: &str) -> anyhow::Result<String> {
    let name = wanted.rsplit('/').next().unwrap_or(wanted);
    for client in clients {
        let stack = fleet.stack(client)?;
        let source = fleet.registry.fleet.source.as_ref().map(|path| fleet.path(path.as_str()));
        let known = migrations::of(&stack, source.as_deref().filter(|_| stack.source.is_some()))?;
        if !known.iter().any(|known| known.name == name) {
            let names: Vec<&str> = known.iter().map(|known| known.name.as_str()).collect();
            let list = if names.is_empty() {
                "it has none".to_owned()
            } else {
                format!("it has {}", names.join(", "))
            };
            return Err(refused(format!("stack {} has no migration {name:?}", stack.name)).hint(list));
        }
    }
    Ok(name.to_owned())
}
