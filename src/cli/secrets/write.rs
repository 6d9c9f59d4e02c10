//! `secrets set`, `secrets rotate` and `secrets unset`.

use std::path::PathBuf;

use jiff::Timestamp;

use super::super::App;
use super::super::ask::{self, Yes};
use super::super::context::Fleet;
use super::super::exit::{refused, usage};
use super::super::targets::Targets;
use super::look::{record, unknown};
use crate::event::ExitKind;
use crate::hint::HintExt as _;
use crate::secret::Generator;
use crate::vault::BACKUP_KEY;

/// Give a secret a value that you choose
///
/// The value comes from standard input, from a file, or is asked for without an echo on a terminal.
/// It is never an argument: those can be read by every user of this machine.
#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:
  fleet secrets set ville-lyon SMTP_PASSWORD
  pass smtp/lyon | fleet secrets set ville-lyon SMTP_PASSWORD
  fleet secrets set ville-lyon SMTP_PASSWORD --from-file password.txt
  fleet secrets set --fleet SLACK_URL")]
pub struct SetArgs {
    /// The client; left out with --fleet
    #[arg(value_name = "CLIENT")]
    pub client: String,

    /// Name of the secret, such as SMTP_PASSWORD
    #[arg(value_name = "NAME", required_unless_present = "fleet")]
    pub name: Option<String>,

    // Caught here, so that no message repeats what was meant to be the value.
    #[arg(hide = true, allow_hyphen_values = true, trailing_var_arg = true)]
    pub value: Vec<String>,

    /// Take the value from this file, such as password.txt, or from standard input (-); a line end after it is left out
    #[arg(long, value_name = "FILE")]
    pub from_file: Option<PathBuf>,

    /// A secret of the fleet itself, such as the address of a webhook
    #[arg(long)]
    pub fleet: bool,
}

/// Replace generated secrets by new ones
///
/// The former value is kept until every host has the new one. The hosts get it by `fleet update`.
#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:
  fleet secrets rotate ville-lyon JWT_SECRET_KEY
  fleet secrets rotate ville-lyon --all-names --yes")]
pub struct RotateArgs {
    /// The client
    #[arg(value_name = "CLIENT")]
    pub client: String,

    /// Names of secrets that the stack generates, such as JWT_SECRET_KEY
    #[arg(value_name = "NAME", required_unless_present = "all_names")]
    pub names: Vec<String>,

    /// All that the stack generates
    #[arg(long, conflicts_with = "names")]
    pub all_names: bool,

    #[command(flatten)]
    pub yes: Yes,
}

/// Take secrets away
///
/// The value is kept as a former one until every host is updated.
#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:
  fleet secrets unset ville-lyon SMTP_PASSWORD
  fleet secrets unset --fleet SLACK_URL")]
pub struct UnsetArgs {
    /// The client; left out with --fleet
    #[arg(value_name = "CLIENT")]
    pub client: String,

    /// Names of secrets, such as SMTP_PASSWORD
    #[arg(value_name = "NAME", required_unless_present = "fleet")]
    pub names: Vec<String>,

    /// Secrets of the fleet itself
    #[arg(long)]
    pub fleet: bool,

    #[command(flatten)]
    pub yes: Yes,
}

pub fn set(app: &App, args: &SetArgs) -> anyhow::Result<ExitKind> {
    let fleet = Fleet::open(&app.global)?;
    let (name, value_given) = match (&args.name, args.fleet) {
        (name, true) => (&args.client, name.is_some() || !args.value.is_empty()),
        (Some(name), false) => (name, !args.value.is_empty()),
        (None, false) => return Err(usage("the secret has no name")),
    };
    if value_given || name.contains('=') {
        // Whoever wrote this meant a value; it is not repeated.
        return Err(usage("a value was given as an argument, where every user of this machine can read it")
            .hint("give only the name, and the value on standard input; count the one given as known"));
    }
    let read = |whose: &str| match &args.from_file {
        Some(path) if path.as_os_str() != "-" => ask::secret_file(path),
        _ => ask::secret(app, &format!("{name} of {whose}")),
    };
    if args.fleet {
        return super::fleet::set(app, &fleet, name, read("the fleet")?);
    }
    let client = Targets::one(&fleet, &args.client)?;
    let stack = fleet.stack(client)?;
    let variable = super::variable(&stack, name)?;
    let value = read(&client.name)?;
    super::check(name, variable, &value)?;
    let vault = fleet.vault()?;
    let changed = vault.set(&client.name, name, value, false, Timestamp::now())?;
    if app.global.json {
        let secrets = vault.read(&client.name)?;
        let mut record = record(&client.name, name, secrets.meta(name), None);
        record["changed"] = changed.into();
        app.out(&record.to_string())?;
    }
    app.tell(&match changed {
        true => format!("set {name}; `fleet update {}` brings it to the host\n", client.name),
        false => format!("{name} has this value already\n"),
    });
    Ok(ExitKind::Ok)
}

pub fn rotate(app: &App, args: &RotateArgs) -> anyhow::Result<ExitKind> {
    let fleet = Fleet::open(&app.global)?;
    let client = Targets::one(&fleet, &args.client)?;
    let stack = fleet.stack(client)?;
    let vault = fleet.vault()?;
    let present = vault.read(&client.name)?;
    let mut wanted: Vec<(String, Generator)> = Vec::new();
    if args.all_names {
        wanted = stack.env.to_generate(|name| present.get(name).is_none());
        if wanted.is_empty() {
            return Err(refused(format!(
                "{} has no secret that stack {} generates",
                client.name, stack.name
            )));
        }
    }
    for name in &args.names {
        let variable = super::variable(&stack, name)?;
        let Some(generator) = variable.generate else {
            return Err(refused(format!("{name} is not generated, so it cannot be rotated"))
                .hint(format!("`fleet secrets set {} {name}` gives it another value", client.name)));
        };
        if present.get(name).is_none() {
            return Err(unknown(&present, name));
        }
        if wanted.iter().all(|(known, _)| known != name) {
            wanted.push((name.clone(), generator));
        }
    }
    let names: Vec<&str> = wanted.iter().map(|(name, _)| name.as_str()).collect();
    let names = names.join(", ");
    let question = format!("make new values of {names} for {}?", client.name);
    args.yes.sure(app, "rotate replaces secrets", &question)?;
    let secrets = vault.rotate(&client.name, &wanted, &mut rand::rng(), Timestamp::now())?;
    if app.global.json {
        for (name, _) in &wanted {
            app.out(&record(&client.name, name, secrets.meta(name), None).to_string())?;
        }
    }
    app.tell(&format!("rotated {names}; `fleet update {}` brings it to the host\n", client.name));
    Ok(ExitKind::Ok)
}

pub fn unset(app: &App, args: &UnsetArgs) -> anyhow::Result<ExitKind> {
    let fleet = Fleet::open(&app.global)?;
    if args.fleet {
        let names: Vec<String> = [&args.client].into_iter().chain(&args.names).cloned().collect();
        let question = format!("take {} of the fleet away?", names.join(", "));
        args.yes.sure(app, "unset takes secrets away", &question)?;
        return super::fleet::unset(app, &fleet, &names);
    }
    let client = Targets::one(&fleet, &args.client)?;
    let vault = fleet.vault()?;
    if args.names.iter().any(|name| name == BACKUP_KEY) {
        return Err(refused(format!("{BACKUP_KEY} opens the backups of {}", client.name)).hint(
            "without it they are lost; `fleet remove` keeps it with the secrets of a client that is gone",
        ));
    }
    let names = args.names.join(", ");
    args.yes.sure(app, "unset takes secrets away", &format!("take {names} of {} away?", client.name))?;
    for name in &args.names {
        vault.unset(&client.name, name, Timestamp::now())?;
        if app.global.json {
            let mut record = record(&client.name, name, None, None);
            record["unset"] = true.into();
            app.out(&record.to_string())?;
        }
    }
    app.tell(&format!("unset {names}; `fleet update {}` takes it from the host\n", client.name));
    Ok(ExitKind::Ok)
}
