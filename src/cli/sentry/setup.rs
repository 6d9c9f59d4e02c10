//! `fleet sentry setup`: a project on the server, and its DSN in clients.toml.

use std::path::PathBuf;
use std::time::Duration;

use jiff::Timestamp;
use serde_json::json;

use super::super::App;
use super::super::add::value;
use super::super::ask;
use super::super::context::Fleet;
use super::super::exit::{refused, usage};
use super::{edit, server};
use crate::event::ExitKind;
use crate::hint::HintExt as _;
use crate::registry::edit::set_value;
use crate::registry::values::{Name, Slug};
use crate::registry::{SecretRef, SentryProject};
use crate::secret::Secret;
use crate::sentry::{Made, SetupError, Wanted};
use crate::vault;

/// Longest time for all that is asked of the server.
const LIMIT: Duration = Duration::from_secs(60);
/// Name of the fleet's secret that holds the token, where clients.toml names none.
const TOKEN: &str = "SENTRY_TOKEN";

/// Find a project on the Sentry server or make it, and write its DSN into clients.toml
///
/// NAME is that of the table [sentry.NAME], such as production or staging; clients use it with
/// sentry = { use = "NAME" }. What is there already is taken: a second run changes nothing. The token is kept
/// encrypted among the fleet's secrets. It needs project:read to find a project and its key, and project:write
/// with team:read to make them.
#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:
  fleet sentry setup production --org geoclic --project geoclic-api --token-from token.txt
  fleet sentry setup staging --org geoclic --project geoclic-staging --team ops
  fleet sentry setup staging --dry-run
  fleet sentry set --tag test --use staging")]
pub struct Args {
    /// Name of the project here, such as production
    #[arg(value_name = "NAME", value_parser = value(Name::parse))]
    pub name: Name,

    /// Organisation on the server, by its short name, such as geoclic
    #[arg(long, value_name = "SLUG", value_parser = value(Slug::parse))]
    pub org: Option<Slug>,

    /// Project on the server, by its short name, such as geoclic-api [default: the fleet's name and NAME]
    #[arg(long, value_name = "SLUG", value_parser = value(Slug::parse))]
    pub project: Option<Slug>,

    /// Team that a new project belongs to; needed where there are several, such as ops
    #[arg(long, value_name = "TEAM")]
    pub team: Option<String>,

    /// Take the token from this file, such as token.txt, or from standard input (-), and keep it encrypted
    #[arg(long, value_name = "FILE")]
    pub token_from: Option<PathBuf>,

    /// Print the DSN, key and all, and write nothing into clients.toml
    #[arg(long)]
    pub print: bool,

    /// Only look: make nothing on the server and write nothing
    #[arg(long, conflicts_with = "token_from")]
    pub dry_run: bool,
}

pub fn run(app: &App, args: &Args) -> anyhow::Result<ExitKind> {
    let mut fleet = Fleet::open(&app.global)?;
    if let Some(path) = &args.token_from {
        let token = match path.as_os_str() == "-" {
            true => ask::secret(app, "token of the Sentry server")?,
            false => ask::secret_file(path)?,
        };
        fleet = keep_token(app, fleet, token)?;
    }
    let named = fleet.registry.sentry.iter().find(|project| project.name == args.name);
    let wanted = named.cloned().unwrap_or_else(|| SentryProject {
        name: args.name.clone(),
        dsn: None,
        traces_rate: None,
        org: None,
        project: None,
    });
    let org = args.org.clone().or(wanted.org.clone());
    let usual = || Slug::parse(&format!("{}-{}", fleet.registry.fleet.name, args.name)).ok();
    let project = args.project.clone().or(wanted.project.clone()).or_else(usual);
    let project = project.ok_or_else(|| usage("the project has no name").hint("give it with --project"))?;
    let api = server::open(&fleet, LIMIT)?.ok_or_else(|| {
        refused("clients.toml names no token for the Sentry server").hint(
            "make one there (Settings > Developer Settings > New Internal Integration, with project:write and \
             team:read), and give it with --token-from FILE",
        )
    })?;
    let make = !args.dry_run;
    let found =
        api.set_up(&Wanted { org: org.as_ref(), project: &project, team: args.team.as_deref(), make });
    let made = match found {
        Ok(made) => made,
        Err(SetupError::NoProject(name)) => {
            app.out(&format!("{} has no project {name}: it would be made, and its DSN written", api.name()))?;
            return Ok(ExitKind::Ok);
        }
        Err(error) => {
            let hint = error.hint();
            return Err(refused(error.to_string()).hint(hint));
        }
    };
    let writes = !args.print && !args.dry_run;
    let text = with_project(&fleet.text, &wanted, &made, org.as_ref(), &project)?;
    let changed = text != fleet.text;
    let shown = fleet.file.display();
    if writes && changed {
        let after = Fleet::of(&app.global, fleet.dir.clone(), fleet.file.clone(), text.clone())?;
        app.tell(&format!("{shown}:\n{}", edit::difference(&fleet.text, &after.text)));
        edit::write(&fleet, &fleet.text, &text)?;
    }
    if app.global.json {
        let record = json!({ "schema": "fleet.sentry-setup/1", "name": args.name, "org": org, "project": project,
            "dsn": made.dsn.shown(args.print), "made_project": made.made_project, "made_key": made.made_key,
            "written": writes && changed });
        app.out(&record.to_string())?;
    } else {
        app.out(&made.dsn.shown(args.print))?;
    }
    let what = match (made.made_project, made.made_key) {
        (true, _) => "made project",
        (false, true) => "made a key of project",
        (false, false) => "found project",
    };
    app.tell(&format!("{what} {project} on {}\n", api.name()));
    if writes {
        let name = &args.name;
        app.tell(&match changed {
            true => format!("next: fleet sentry set CLIENT --use {name}, or sentry = {{ use = \"{name}\" }} under [defaults]\n"),
            false => format!("{shown} has it already\n"),
        });
    }
    Ok(ExitKind::Ok)
}

/// The token goes among the fleet's secrets, and clients.toml names it.
fn keep_token(app: &App, fleet: Fleet, token: Secret<String>) -> anyhow::Result<Fleet> {
    let name = match &fleet.registry.fleet.sentry.token {
        Some(SecretRef::Vault(name)) => name.clone(),
        None => TOKEN.to_owned(),
        Some(SecretRef::Env(name)) => {
            return Err(refused(format!("clients.toml takes the token from the variable {name}")).hint(
                format!("set {name}, or write token = {{ secret = \"{TOKEN}\" }} under [fleet.sentry]"),
            ));
        }
    };
    if token.reveal().bytes().any(|b| !b.is_ascii_graphic()) {
        return Err(refused("what was given is no token: it has blanks or lines in it"));
    }
    let vault = fleet.vault()?;
    vault.set(vault::FLEET, &name, token, false, Timestamp::now())?;
    vault.confirm(vault::FLEET, std::slice::from_ref(&name), Timestamp::now())?;
    app.tell(&format!("the token is kept as the fleet's secret {name}\n"));
    if fleet.registry.fleet.sentry.token.is_some() {
        return Ok(fleet);
    }
    let mut reference = toml_edit::InlineTable::new();
    reference.insert("secret", name.as_str().into());
    let text = set_value(&fleet.text, &["fleet", "sentry"], "token", &reference.into())
        .map_err(|error| refused(format!("{} cannot be edited: {error}", fleet.file.display())))?;
    let after = Fleet::of(&app.global, fleet.dir.clone(), fleet.file.clone(), text)?;
    edit::write(&fleet, &fleet.text, &after.text)?;
    Ok(after)
}

/// What is written like that already stays as it is spelled.
fn with_project(
    text: &str,
    before: &SentryProject,
    made: &Made,
    org: Option<&Slug>,
    project: &Slug,
) -> anyhow::Result<String> {
    let table = ["sentry", before.name.as_str()];
    let mut text = text.to_owned();
    let same = |written: Option<&Slug>, now: Option<&Slug>| now.is_none() || written == now;
    let values = [
        ("dsn", Some(made.dsn.reveal()).filter(|_| before.dsn.as_ref() != Some(&made.dsn))),
        ("org", org.filter(|_| !same(before.org.as_ref(), org)).map(Slug::as_str)),
        ("project", Some(project.as_str()).filter(|_| !same(before.project.as_ref(), Some(project)))),
    ];
    for (key, value) in values {
        let Some(value) = value else { continue };
        text = set_value(&text, &table, key, &value.into())
            .map_err(|error| refused(format!("clients.toml cannot be edited: {error}")))?;
    }
    Ok(text)
}
