//! `fleet show`: everything the registry says of a client, and where it says it.

use serde_json::json;
use toml_edit::{DocumentMut, Item};

use super::App;
use super::context::Fleet;
use super::targets::Targets;
use crate::event::ExitKind;
use crate::registry::Client;
use crate::ssh::KnownHosts;
use crate::ui::{Cell, Column, Role, Table};

/// Show clients with every value resolved, and where each comes from
///
/// Secrets are named, never shown; the key of a Sentry DSN is masked.
#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:
  fleet show ville-lyon
  fleet show --tag canary --json
  fleet show ville-lyon --reveal     with the whole Sentry DSN")]
pub struct Args {
    #[command(flatten)]
    pub targets: Targets,

    /// Show the whole Sentry DSN
    #[arg(long)]
    pub reveal: bool,
}

/// What is known of a client beside the registry.
struct Beside {
    /// Names only; `None` when there is no list of them that can be read without a key.
    secrets: Option<Vec<String>>,
    /// Kinds of the keys recorded for its host.
    host_keys: Vec<String>,
}

pub fn run(app: &App, args: &Args) -> anyhow::Result<ExitKind> {
    let fleet = Fleet::open(&app.global)?;
    let clients = args.targets.required(&fleet)?;
    let vault = fleet.vault()?;
    let known = std::fs::read_to_string(fleet.dir.join("known_hosts")).unwrap_or_default();
    let known = KnownHosts::parse(&known);
    let written: DocumentMut = fleet.text.parse().unwrap_or_default();
    for (at, client) in clients.into_iter().enumerate() {
        let index = vault.index(&client.name)?;
        let beside = Beside {
            secrets: index.map(|index| index.names.into_keys().collect()),
            host_keys: known.algorithms(&client.address.to_string(), client.port),
        };
        if app.global.json {
            let mut record = client.to_json(args.reveal);
            record["secrets"] = json!(beside.secrets);
            record["host_keys"] = json!(beside.host_keys);
            app.out(&record.to_string())?;
            continue;
        }
        if at > 0 {
            app.out("")?;
        }
        app.table(&Sheet { fleet: &fleet, client, written: &written, reveal: args.reveal }.table(&beside))?;
    }
    Ok(ExitKind::Ok)
}

struct Sheet<'a> {
    fleet: &'a Fleet,
    client: &'a Client,
    written: &'a DocumentMut,
    reveal: bool,
}

impl Sheet<'_> {
    fn table(&self, beside: &Beside) -> Table {
        let client = self.client;
        let mut table = Table::new([
            Column::new(&client.name),
            Column::new("value").at_least(20),
            Column::new("from").droppable(1),
        ]);
        let mut row = |what: &str, value: Option<String>, from: &str| {
            if let Some(value) = value.filter(|value| !value.is_empty()) {
                table.row([Cell::from(what), Cell::new(Role::Strong, &value), Cell::new(Role::Faint, from)]);
            }
        };
        let list = |words: Vec<&str>| words.join(" ");
        row("domain", Some(client.domain.to_string()), self.from("domain"));
        row(
            "aliases",
            Some(list(client.aliases.iter().map(|alias| alias.as_str()).collect())),
            self.from("aliases"),
        );
        let address = if self.from("ip") == "built in" { "host" } else { "ip" };
        row("address", Some(client.address.to_string()), self.from(address));
        row("port", Some(client.port.to_string()), self.from("port"));
        row("user", Some(client.user.to_string()), self.from("user"));
        row("jump", client.jump.as_ref().map(ToString::to_string), self.from("jump"));
        row("email", client.email.as_ref().map(ToString::to_string), self.from("email"));
        row("tags", Some(list(client.tags.iter().map(|tag| tag.as_str()).collect())), self.from("tags"));
        let (stack, from) = match &client.stack {
            Some(stack) => (stack, self.from("stack")),
            None => (&self.fleet.registry.fleet.stack, "[fleet]"),
        };
        row("stack", Some(stack.to_string()), from);
        let sentry = &client.sentry;
        row("sentry.use", sentry.uses.as_ref().map(ToString::to_string), self.from("sentry.use"));
        row("sentry.enabled", (!sentry.enabled).then(|| "no".to_owned()), self.from("sentry.enabled"));
        let dsn = sentry.dsn.as_ref().map(|dsn| dsn.shown(self.reveal));
        row("sentry.dsn", dsn, &self.sentry_from("dsn"));
        row("sentry.environment", Some(sentry.environment.to_string()), self.from("sentry.environment"));
        row("sentry.traces_rate", Some(sentry.traces_rate.to_string()), &self.sentry_from("traces_rate"));
        row("sentry.org", sentry.org.as_ref().map(ToString::to_string), &self.sentry_from("org"));
        row("sentry.project", sentry.project.as_ref().map(ToString::to_string), &self.sentry_from("project"));
        row("backup.schedule", Some(client.backup.schedule.to_string()), self.from("backup.schedule"));
        row("backup.keep", Some(kept(client)), self.from("backup.keep"));
        for (name, value) in &client.env {
            row(&format!("env.{name}"), Some(value.clone()), self.from(&format!("env.{name}")));
        }
        row("swap", Some(client.swap.to_string()), self.from("swap"));
        row("transport", Some(client.transport.word().to_owned()), self.transport());
        row(
            "update_window",
            client.update_window.as_ref().map(ToString::to_string),
            self.from("update_window"),
        );
        row("disabled", client.disabled.then(|| "yes".to_owned()), self.from("disabled"));
        let secrets = match &beside.secrets {
            Some(names) => list(names.iter().map(String::as_str).collect()),
            None => "none yet".to_owned(),
        };
        row("secrets", Some(secrets), "secrets/");
        let keys = match beside.host_keys.as_slice() {
            [] => "not recorded: never connected to from here".to_owned(),
            keys => format!("recorded ({})", keys.join(", ")),
        };
        row("host key", Some(keys), "known_hosts");
        table
    }

    /// Where a value stands: in the client's own table, in `[defaults]`, or nowhere.
    fn from(&self, key: &str) -> &'static str {
        let own = self.written.get("clients").and_then(|clients| clients.get(self.client.name.as_str()));
        match (stands(own, key), stands(self.written.get("defaults"), key)) {
            (true, _) => "client",
            (false, true) => "[defaults]",
            (false, false) => "built in",
        }
    }

    /// The same for what a project of `[sentry.NAME]` may give: it comes behind what is written beside its name.
    fn sentry_from(&self, key: &str) -> String {
        let whole = format!("sentry.{key}");
        let (own, used) = (self.from(&whole), self.from("sentry.use"));
        let named = self.client.sentry.uses.as_ref().filter(|name| {
            stands(self.written.get("sentry").and_then(|projects| projects.get(name.as_str())), key)
        });
        match named {
            Some(name) if own == "built in" || (own == "[defaults]" && used == "client") => {
                format!("[sentry.{name}]")
            }
            _ => own.to_owned(),
        }
    }

    fn transport(&self) -> &'static str {
        match self.from("transport") {
            "built in" if stands(self.written.get("fleet"), "transport") => "[fleet]",
            from => from,
        }
    }
}

/// Whether a dotted key is written below an item.
fn stands(item: Option<&Item>, key: &str) -> bool {
    let mut item = item;
    for step in key.split('.') {
        item = item.and_then(|item| item.get(step));
    }
    item.is_some_and(|item| !item.is_none())
}

fn kept(client: &Client) -> String {
    let keep = &client.backup.keep;
    [
        ("last", keep.last),
        ("hourly", keep.hourly),
        ("daily", keep.daily),
        ("weekly", keep.weekly),
        ("monthly", keep.monthly),
        ("yearly", keep.yearly),
    ]
    .into_iter()
    .filter_map(|(kind, count)| Some(format!("{} {kind}", count?)))
    .collect::<Vec<_>>()
    .join(", ")
}
