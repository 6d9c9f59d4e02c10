//! `secrets list` and `secrets show`.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::super::App;
use super::super::context::Fleet;
use super::super::exit::refused;
use super::super::targets::Targets;
use crate::diagnostic::nearest;
use crate::event::ExitKind;
use crate::hint::HintExt as _;
use crate::secret::Secret;
use crate::ui::{Cell, Column, Role, Table};
use crate::vault::{ClientSecrets, Meta, VaultError};

/// List the secrets of clients: names, kinds, dates, by whom; never a value
#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:
  fleet secrets list
  fleet secrets list ville-lyon --json
  fleet secrets list --fleet")]
pub struct ListArgs {
    /// Those of the fleet itself, which the channels of [notify] use
    #[arg(long, conflicts_with_all = ["clients", "client", "tag", "exclude", "all"])]
    pub fleet: bool,

    #[command(flatten)]
    pub targets: Targets,
}

/// Show a client's secrets, masked unless --reveal is given
///
/// With --reveal and one NAME the bare value is printed, to be piped.
#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:
  fleet secrets show ville-lyon
  fleet secrets show ville-lyon DB_PASSWORD --reveal")]
pub struct ShowArgs {
    /// The client
    #[arg(value_name = "CLIENT")]
    pub client: String,

    /// Only this one, such as DB_PASSWORD
    #[arg(value_name = "NAME")]
    pub name: Option<String>,

    /// Show values as they are
    #[arg(long)]
    pub reveal: bool,
}

pub fn list(app: &App, args: &ListArgs) -> anyhow::Result<ExitKind> {
    let fleet = Fleet::open(&app.global)?;
    if args.fleet {
        return super::fleet::list(app, &fleet);
    }
    let clients = args.targets.or_all(&fleet)?;
    let vault = fleet.vault()?;
    let mut table = Table::new([
        Column::new("client").at_least(8),
        Column::new("name").at_least(8),
        Column::new("kind"),
        Column::new("created"),
        Column::new("rotated").droppable(1),
        Column::new("by").droppable(2),
    ]);
    for client in clients {
        let secrets = vault.read_optional(&client.name)?;
        if secrets.is_none() && vault.index(&client.name)?.is_some() {
            // There once were some: that is a loss and not a beginning.
            vault.read(&client.name)?;
        }
        let names: Vec<&str> = secrets.iter().flat_map(ClientSecrets::names).collect();
        for name in &names {
            let meta = secrets.as_ref().and_then(|secrets| secrets.meta(name));
            if app.global.json {
                app.out(&record(&client.name, name, meta, None).to_string())?;
            }
            table.row([
                Cell::new(Role::Strong, &client.name),
                (*name).into(),
                kind(meta).into(),
                meta.map_or(String::new(), |meta| day(meta.created)).into(),
                meta.and_then(|meta| meta.rotated).map_or(String::new(), day).into(),
                meta.map_or(String::new(), |meta| meta.by.clone()).into(),
            ]);
        }
        let stack = fleet.stack(client)?;
        for (name, variable) in &stack.env.variables {
            let kept = variable.secret || variable.generate.is_some();
            let wanted = variable.generate.is_some() || variable.required;
            if !kept
                || !wanted
                || names.contains(&name.as_str())
                || given(&stack.env.sentry.dsn, name, client)
            {
                continue;
            }
            let (word, role) = match variable.generate {
                Some(_) => ("not made yet", Role::Faint),
                None => ("has to be set", Role::Warn),
            };
            if app.global.json {
                let mut record = record(&client.name, name, None, None);
                record["kind"] = json!(word);
                app.out(&record.to_string())?;
            }
            table.row([Cell::new(Role::Strong, &client.name), name.as_str().into(), Cell::new(role, word)]);
        }
    }
    if app.global.json {
        return Ok(ExitKind::Ok);
    }
    if table.is_empty() {
        app.tell("no secret yet; `fleet provision` makes what the stack generates\n");
    }
    app.table(&table)?;
    Ok(ExitKind::Ok)
}

/// Whether the registry itself gives this variable, as it does with a Sentry DSN.
fn given(dsn: &Option<String>, name: &str, client: &crate::registry::Client) -> bool {
    dsn.as_deref() == Some(name) && client.sentry.dsn.is_some()
}

pub fn show(app: &App, args: &ShowArgs) -> anyhow::Result<ExitKind> {
    let fleet = Fleet::open(&app.global)?;
    let client = Targets::one(&fleet, &args.client)?;
    let secrets = fleet.vault()?.read(&client.name)?;
    let Some(name) = &args.name else {
        for (name, value) in secrets.iter() {
            one(app, &secrets, name, value, args.reveal)?;
        }
        return Ok(ExitKind::Ok);
    };
    let value = secrets.get(name).ok_or_else(|| unknown(&secrets, name))?;
    if args.reveal && !app.global.json {
        app.out(value.reveal())?;
    } else {
        one(app, &secrets, name, value, args.reveal)?;
    }
    Ok(ExitKind::Ok)
}

fn one(
    app: &App,
    secrets: &ClientSecrets,
    name: &str,
    value: &Secret<String>,
    reveal: bool,
) -> anyhow::Result<()> {
    let shown = reveal.then(|| value.reveal().as_str());
    if app.global.json {
        return app.out(&record(secrets.client(), name, secrets.meta(name), shown).to_string());
    }
    match shown {
        Some(value) => app.out(&format!("{name}={value}")),
        None => app.out(&format!("{name}={value}")),
    }
}

pub fn unknown(secrets: &ClientSecrets, name: &str) -> anyhow::Error {
    let similar = nearest(name, secrets.names()).map(str::to_owned);
    let error =
        VaultError::NoSuchSecret { client: secrets.client().to_owned(), name: name.to_owned(), similar };
    let hint = error.hint();
    let error = refused(error.to_string());
    match hint {
        Some(hint) => error.hint(hint),
        None => error,
    }
}

/// One secret, schema `fleet.secret/1`.
pub fn record(client: &str, name: &str, meta: Option<&Meta>, value: Option<&str>) -> Value {
    json!({
        "schema": "fleet.secret/1",
        "client": client,
        "name": name,
        "value": value,
        "kind": kind(meta),
        "created": meta.map(|meta| meta.created.to_string()),
        "rotated": meta.and_then(|meta| meta.rotated).map(|at| at.to_string()),
        "by": meta.map(|meta| meta.by.as_str()),
        "generation": meta.map(|meta| meta.generation),
    })
}

fn kind(meta: Option<&Meta>) -> String {
    match meta.map(|meta| &meta.generator) {
        Some(Some(generator)) => generator.clone(),
        Some(None) => "set by hand".to_owned(),
        None => String::new(),
    }
}

fn day(at: Timestamp) -> String {
    at.strftime("%Y-%m-%d").to_string()
}
