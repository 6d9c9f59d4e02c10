//! `fleet remove`: a client leaves the registry; its server and its secrets stay.

use std::time::Duration;

use serde_json::json;

use super::App;
use super::ask::Yes;
use super::context::Fleet;
use super::exit::refused;
use super::targets::Targets;
use crate::event::ExitKind;
use crate::fs_atomic;
use crate::registry::{Registry, edit};

/// How long one edit waits for another.
const LOCK_TIMEOUT: Duration = Duration::from_secs(30);

/// Take clients out of clients.toml
///
/// Nothing is done to their servers: they go on serving. Their secrets stay in secrets/, so that a
/// client that is added again has the same ones.
#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:
  fleet remove ville-lyon
  fleet remove 'test-*' --yes")]
pub struct Args {
    #[command(flatten)]
    pub targets: Targets,

    #[command(flatten)]
    pub yes: Yes,

    /// Say what would be removed and write nothing
    #[arg(long)]
    pub dry_run: bool,
}

pub fn run(app: &App, args: &Args) -> anyhow::Result<ExitKind> {
    let fleet = Fleet::open(&app.global)?;
    let clients = args.targets.required(&fleet)?;
    let names: Vec<&str> = clients.iter().map(|client| client.name.as_str()).collect();
    let file = fleet.file.display().to_string();
    if args.dry_run {
        app.tell(&format!("would remove {} from {file}\n", names.join(", ")));
        return Ok(ExitKind::Ok);
    }
    let what = match names.as_slice() {
        [one] => (*one).to_owned(),
        many if many.len() <= 5 => many.join(", "),
        many => format!("{} clients ({}, ...)", many.len(), many[..3].join(", ")),
    };
    args.yes.sure(app, "remove takes clients out of the registry", &format!("remove {what} from {file}?"))?;
    fs_atomic::edit(&fleet.file, &super::add::lock(&fleet.dir), LOCK_TIMEOUT, |text| {
        // The text may have changed since it was first read: names are looked up again.
        let mut text = text.to_owned();
        for name in &names {
            text = edit::remove_client(&text, name).map_err(|error| refused(format!("{file}: {error}")))?;
        }
        Registry::parse(&text, &file)?;
        anyhow::Ok(text)
    })?;
    let vault = fleet.vault()?;
    for client in &clients {
        let name = client.name.as_str();
        let secrets = vault.exists(name)?.then(|| fleet.dir.join(format!("secrets/{name}.age")));
        if app.global.json {
            app.out(&json!({ "schema": "fleet.remove/1", "client": name, "secrets": secrets }).to_string())?;
            continue;
        }
        let kept = match secrets {
            Some(path) => format!("; its secrets stay in {}", path.display()),
            None => String::new(),
        };
        app.tell(&format!("removed {name}; its server {} goes on running as it is{kept}\n", client.address));
    }
    Ok(ExitKind::Ok)
}
