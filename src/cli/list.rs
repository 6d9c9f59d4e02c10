//! `fleet list`: who is in the registry.

use super::App;
use super::context::Fleet;
use super::targets::Targets;
use crate::event::ExitKind;
use crate::registry::Client;
use crate::ui::{Cell, Column, Role, Table};

/// List clients: name, domain, address, tags, stack
///
/// Reads clients.toml and nothing else; no host is contacted. Without targets every client is shown,
/// those that are disabled too.
#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:
  fleet list
  fleet list --tag canary
  fleet list --json | jq -r .domain")]
pub struct Args {
    #[command(flatten)]
    pub targets: Targets,
}

pub fn run(app: &App, args: &Args) -> anyhow::Result<ExitKind> {
    let fleet = Fleet::open(&app.global)?;
    let clients: Vec<&Client> = if args.targets.is_empty() && args.targets.exclude.is_empty() {
        fleet.registry.clients.iter().collect()
    } else {
        args.targets.or_all(&fleet)?
    };
    if app.global.json {
        // One write for all: a fleet of thousands is listed in a moment.
        let lines: Vec<String> = clients.iter().map(|client| client.to_json(false).to_string()).collect();
        if !lines.is_empty() {
            app.out(&lines.join("\n"))?;
        }
        return Ok(ExitKind::Ok);
    }
    if clients.is_empty() {
        app.tell(&format!("{} has no client yet; add one with `fleet add`\n", fleet.file.display()));
        return Ok(ExitKind::Ok);
    }
    app.table(&table(&fleet, &clients))?;
    Ok(ExitKind::Ok)
}

fn table(fleet: &Fleet, clients: &[&Client]) -> Table {
    let mut table = Table::new([
        Column::new("client").at_least(8),
        Column::new("domain").at_least(12),
        Column::new("address").at_least(12),
        Column::new("tags").droppable(1),
        Column::new("stack").droppable(2),
    ]);
    for client in clients {
        let tags: Vec<&str> = client.tags.iter().map(|tag| tag.as_str()).collect();
        let address = match client.port {
            22 => client.address.to_string(),
            port => format!("{} port {port}", client.address),
        };
        let mut tags = tags.join(" ");
        if client.disabled {
            tags = format!("{tags} (disabled)").trim_start().to_owned();
        }
        let role = if client.disabled { Role::Faint } else { Role::Text };
        table.row([
            Cell::new(Role::Strong, &client.name),
            Cell::new(role, &client.domain),
            Cell::new(role, &address),
            Cell::new(role, &tags),
            Cell::new(role, client.stack.as_ref().unwrap_or(&fleet.registry.fleet.stack)),
        ]);
    }
    table
}
