//! `fleet secrets`: what a client's secrets are called, who gave them, who can read them. A value is
//! shown only where `--reveal` asks for it, and taken only from standard input or a file.

mod dotenv;
mod fleet;
mod look;
mod people;
mod recover;
mod write;

use super::App;
use super::exit::refused;
use crate::diagnostic::{nearest, shown};
use crate::event::ExitKind;
use crate::hint::HintExt as _;
use crate::secret::Secret;
use crate::stack::{Stack, Variable};

/// List, show, set and rotate the secrets of clients, and say who can read them
///
/// Each client's secrets are in secrets/<client>.age, encrypted to the keys in
/// secrets/recipients.txt. `provision` makes what the stack generates; nothing is ever made twice.
#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:
  fleet secrets list
  fleet secrets set ville-lyon SMTP_PASSWORD < password.txt
  fleet secrets set --fleet SLACK_URL < url.txt
  fleet secrets rotate ville-lyon JWT_SECRET_KEY && fleet update ville-lyon
  fleet secrets recipients add age1... --comment 'Bob, desk' && fleet secrets rekey")]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(clap::Subcommand, Debug)]
enum Command {
    List(look::ListArgs),
    Show(look::ShowArgs),
    Set(write::SetArgs),
    Rotate(write::RotateArgs),
    Unset(write::UnsetArgs),
    Rekey(people::RekeyArgs),
    Recipients(people::RecipientsArgs),
    Recover(recover::Args),
}

pub fn run(app: &App, args: &Args) -> anyhow::Result<ExitKind> {
    match &args.command {
        Command::List(args) => look::list(app, args),
        Command::Show(args) => look::show(app, args),
        Command::Set(args) => write::set(app, args),
        Command::Rotate(args) => write::rotate(app, args),
        Command::Unset(args) => write::unset(app, args),
        Command::Rekey(args) => people::rekey(app, args),
        Command::Recipients(args) => people::recipients(app, args),
        Command::Recover(args) => recover::run(app, args),
    }
}

/// The stack's variable of this name, which must be one that the vault keeps.
fn variable<'s>(stack: &'s Stack, name: &str) -> anyhow::Result<&'s Variable> {
    let kept = |variable: &&Variable| variable.secret || variable.generate.is_some();
    match stack.env.variables.get(name) {
        Some(variable) if kept(&variable) => Ok(variable),
        Some(_) => Err(refused(format!("{name} is no secret of stack {}", stack.name))
            .hint(format!("set it in clients.toml: env = {{ {name} = \"...\" }}"))),
        None => {
            let known: Vec<&str> = stack.env.vault_names().collect();
            let error = refused(format!("stack {} knows no secret {}", stack.name, shown(name)));
            Err(match (nearest(name, known.iter().copied()), known.is_empty()) {
                (Some(near), _) => error.hint(format!("did you mean `{near}`?")),
                (None, true) => error.hint("it has none at all"),
                (None, false) => error.hint(format!("its secrets are {}", known.join(", "))),
            })
        }
    }
}

/// Refuses a value that the stack would refuse later. Nothing of it is quoted.
fn check(name: &str, variable: &Variable, value: &Secret<String>) -> anyhow::Result<()> {
    let text = value.reveal();
    if text.contains(['\n', '\r', '\0']) {
        return Err(refused(format!(
            "the value of {name} holds a line end or NUL, which no environment file carries"
        ))
        .hint("encode it in one line, such as with `base64 -w0`"));
    }
    let Some(pattern) = variable.pattern.as_ref().filter(|pattern| !pattern.regex.is_match(text)) else {
        return Ok(());
    };
    let error = refused(format!("the value of {name} does not match `{}`", pattern.text));
    let words: Vec<String> = variable
        .help
        .iter()
        .cloned()
        .chain(variable.example.iter().map(|example| format!("such as {example}")))
        .collect();
    Err(if words.is_empty() { error } else { error.hint(format!("{name}: {}", words.join(", "))) })
}
