//! `secrets recover`: a lost file is made anew from what the host runs with.

use std::path::PathBuf;

use jiff::Timestamp;

use super::super::App;
use super::super::ask;
use super::super::context::Fleet;
use super::super::exit::{refused, usage};
use super::super::targets::Targets;
use super::dotenv;
use super::look::record;
use crate::event::ExitKind;
use crate::hint::HintExt as _;
use crate::secret::Secret;

/// Bring back a client's lost secrets from its host's own .env
///
/// For the day when secrets/<client>.age is gone for good. The values that the stack knows as secrets
/// are taken from the file, checked and encrypted; a file of secrets that is there is never replaced.
#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:
  fleet ssh ville-lyon -- sudo cat /opt/geoclic/current/.env | fleet secrets recover ville-lyon
  fleet secrets recover ville-lyon --from-file saved.env")]
pub struct Args {
    /// The client
    #[arg(value_name = "CLIENT")]
    pub client: String,

    /// Take the values from this file instead of standard input, such as saved.env
    #[arg(long, value_name = "FILE")]
    pub from_file: Option<PathBuf>,
}

pub fn run(app: &App, args: &Args) -> anyhow::Result<ExitKind> {
    let fleet = Fleet::open(&app.global)?;
    let client = Targets::one(&fleet, &args.client)?;
    let stack = fleet.stack(client)?;
    let vault = fleet.vault()?;
    if vault.exists(&client.name)? {
        return Err(refused(format!(
            "{} has its secrets: secrets/{}.age is there",
            client.name, client.name
        ))
        .hint("nothing is to be recovered; one that cannot be read is first moved away"));
    }
    let text = match &args.from_file {
        Some(path) => ask::secret_file(path)?,
        None if app.can_ask() => {
            let dotenv = stack.dotenv.as_deref().unwrap_or(".env");
            return Err(usage("the values come from standard input or --from-file").hint(format!(
                "fleet ssh {} -- sudo cat /opt/{}/current/{dotenv} | fleet secrets recover {}",
                client.name, stack.name, client.name
            )));
        }
        None => ask::secret(app, "the host's .env")?,
    };
    let from = args
        .from_file
        .as_ref()
        .map_or_else(|| "standard input".to_owned(), |path| path.display().to_string());
    let found =
        dotenv::parse(text.reveal()).map_err(|(line, why)| refused(format!("{from}:{line}: {why}")))?;
    let mut values: Vec<(String, Secret<String>)> = Vec::new();
    for (name, value) in found {
        let Ok(variable) = super::variable(&stack, &name) else { continue };
        // What the registry gives is not the vault's, and an empty variable is an absent one.
        let sentry = stack.env.sentry.iter().any(|known| known == name);
        if sentry || value.reveal().is_empty() {
            continue;
        }
        super::check(&name, variable, &value)?;
        values.retain(|(known, _)| *known != name);
        values.push((name, value));
    }
    let has = |name: &str| values.iter().any(|(known, _)| known == name);
    let missing: Vec<String> = stack.env.to_generate(has).into_iter().map(|(name, _)| name).collect();
    if !missing.is_empty() {
        // A half-recovered file would let the rest be made anew, which the database refuses.
        return Err(refused(format!("{from} has no value for {}", missing.join(", ")))
            .hint("give the whole .env of the release that serves"));
    }
    if values.is_empty() {
        return Err(refused(format!("{from} holds no secret of stack {}", stack.name)));
    }
    let names: Vec<String> = values.iter().map(|(name, _)| name.clone()).collect();
    let secrets = vault.recover(&client.name, values, Timestamp::now())?;
    if app.global.json {
        for name in &names {
            app.out(&record(&client.name, name, secrets.meta(name), None).to_string())?;
        }
    }
    app.tell(&format!("recovered {} of {}\n", names.join(", "), client.name));
    Ok(ExitKind::Ok)
}
