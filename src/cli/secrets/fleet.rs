//! The secrets of the fleet itself (`--fleet`): what its channels, its storage and its Sentry need.

use jiff::Timestamp;

use super::super::App;
use super::super::context::Fleet;
use super::super::exit::refused;
use super::look::{record, unknown};
use crate::event::ExitKind;
use crate::hint::HintExt as _;
use crate::registry::SecretRef;
use crate::secret::Secret;
use crate::ui::{Cell, Column, Role, Table};
use crate::vault::{self, ClientSecrets};

/// Names that clients.toml refers to, and who does.
fn wanted(fleet: &Fleet) -> Vec<(String, String)> {
    let mut names: Vec<(String, String)> = Vec::new();
    for (reference, user) in fleet.registry.secrets() {
        if let SecretRef::Vault(name) = reference
            && names.iter().all(|(known, _)| known != name)
        {
            names.push((name.clone(), user));
        }
    }
    names
}

pub fn set(app: &App, fleet: &Fleet, name: &str, value: Secret<String>) -> anyhow::Result<ExitKind> {
    if value.reveal().contains(['\n', '\r', '\0']) {
        return Err(refused(format!("the value of {name} has more than one line")));
    }
    let vault = fleet.vault()?;
    let changed = vault.set(vault::FLEET, name, value, false, Timestamp::now())?;
    // No host runs with the value from before, so nothing keeps it.
    vault.confirm(vault::FLEET, &[name.to_owned()], Timestamp::now())?;
    if app.global.json {
        let secrets = vault.read(vault::FLEET)?;
        let mut record = record(vault::FLEET, name, secrets.meta(name), None);
        record["changed"] = changed.into();
        app.out(&record.to_string())?;
    }
    let used = wanted(fleet).into_iter().find(|(known, _)| known == name).map(|(_, user)| user);
    app.tell(&match (changed, used) {
        (false, _) => format!("{name} has this value already\n"),
        (true, Some(user)) => format!("set {name}; {}\n", tries(&user)),
        (true, None) => {
            format!("set {name}; nothing in clients.toml names it yet: {{ secret = \"{name}\" }}\n")
        }
    });
    Ok(ExitKind::Ok)
}

/// What shows whether a value is the right one.
fn tries(user: &str) -> String {
    match user.split('.').collect::<Vec<_>>().as_slice() {
        ["notify", ..] => "`fleet notify test` tries it".to_owned(),
        ["fleet", "sentry", "token"] => "`fleet sentry status` tries it".to_owned(),
        _ => format!("{user} of clients.toml is what needs it"),
    }
}

pub fn list(app: &App, fleet: &Fleet) -> anyhow::Result<ExitKind> {
    let secrets = fleet.vault()?.read_optional(vault::FLEET)?;
    let mut table = Table::new([
        Column::new("name").at_least(8),
        Column::new("used by").at_least(8),
        Column::new("created"),
        Column::new("by").droppable(1),
    ]);
    let wanted = wanted(fleet);
    let there: Vec<&str> = secrets.iter().flat_map(ClientSecrets::names).collect();
    let missing = wanted.iter().map(|(name, _)| name.as_str()).filter(|name| !there.contains(name));
    for name in there.iter().copied().chain(missing) {
        let meta = secrets.as_ref().and_then(|secrets| secrets.meta(name));
        let user = wanted.iter().find(|(known, _)| known == name).map_or("", |(_, user)| user.as_str());
        if app.global.json {
            let mut record = record(vault::FLEET, name, meta, None);
            if meta.is_none() {
                record["kind"] = "has to be set".into();
            }
            app.out(&record.to_string())?;
        }
        table.row([
            Cell::new(Role::Strong, name),
            user.into(),
            match meta {
                Some(meta) => meta.created.strftime("%Y-%m-%d").to_string().into(),
                None => Cell::new(Role::Warn, "has to be set"),
            },
            meta.map_or(String::new(), |meta| meta.by.clone()).into(),
        ]);
    }
    if !app.global.json {
        if table.is_empty() {
            app.tell("the fleet has no secret of its own, and clients.toml names none\n");
        }
        app.table(&table)?;
    }
    Ok(ExitKind::Ok)
}

pub fn unset(app: &App, fleet: &Fleet, names: &[String]) -> anyhow::Result<ExitKind> {
    let vault = fleet.vault()?;
    let secrets = vault.read(vault::FLEET)?;
    if let Some(name) = names.iter().find(|name| secrets.get(name).is_none()) {
        return Err(unknown(&secrets, name).hint("`fleet secrets list --fleet` names them all"));
    }
    for name in names {
        vault.unset(vault::FLEET, name, Timestamp::now())?;
        vault.confirm(vault::FLEET, std::slice::from_ref(name), Timestamp::now())?;
        if app.global.json {
            let mut record = record(vault::FLEET, name, None, None);
            record["unset"] = true.into();
            app.out(&record.to_string())?;
        }
    }
    app.tell(&format!("unset {}\n", names.join(", ")));
    Ok(ExitKind::Ok)
}
