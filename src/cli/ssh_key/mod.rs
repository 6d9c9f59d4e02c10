//! `fleet ssh-key`: the fleet's own key.

mod rotate;

use std::io::IsTerminal as _;

use serde_json::json;

use super::App;
use super::context::Fleet;
use crate::event::ExitKind;
use crate::keys;

/// Show, make or exchange the fleet's own SSH key
///
/// One ed25519 key for the whole fleet, apart from everybody's personal keys. Each server must let it
/// in before fleet can do anything there. Without a subcommand it is shown.
#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:
  fleet ssh-key
  fleet ssh-key generate
  fleet ssh-key rotate
  fleet ssh-key | ssh ubuntu@51.210.42.100 'cat >> ~/.ssh/authorized_keys'")]
pub struct Args {
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(clap::Subcommand, Debug)]
enum Command {
    /// Print the public key as a line for authorized_keys (the default)
    Show,
    /// Make the key pair; one that is there is never overwritten
    Generate,
    /// Print where the private key is
    Path,
    /// Exchange the key on every server; none is ever without one that works
    ///
    /// A new key is let in beside the old one on every client of clients.toml, and logged in with. Only
    /// when that works everywhere it takes the place of the old one here, which is then let in no longer.
    /// Options in front of the old key, such as from="...", are kept. When a server does not answer the old
    /// key stays in use, and the same command goes on where it was; so it does after a cut.
    Rotate(rotate::Args),
}

pub fn run(app: &App, args: &Args) -> anyhow::Result<ExitKind> {
    let fleet = Fleet::open(&app.global)?;
    let path = fleet.ssh_key();
    match &args.command {
        Some(Command::Rotate(args)) => return rotate::run(app, &fleet, args),
        Some(Command::Path) if !app.global.json => {
            app.out(&path.display().to_string())?;
            return Ok(ExitKind::Ok);
        }
        Some(Command::Generate) => {
            keys::generate(&path, &fleet.registry.fleet.name, &mut rand::rng())?;
            app.tell(&format!("made {}\n", path.display()));
        }
        Some(Command::Path | Command::Show) | None => {}
    }
    let shown = keys::show(&path)?;
    if app.global.json {
        app.out(
            &json!({ "schema": "fleet.ssh-key/1", "path": path, "public": shown.line,
                "fingerprint": shown.fingerprint })
            .to_string(),
        )?;
        return Ok(ExitKind::Ok);
    }
    app.out(&shown.line)?;
    if !std::io::stdout().is_terminal() {
        // On its way into a file or to a server: whoever pipes it knows what to do with it.
        return Ok(ExitKind::Ok);
    }
    app.tell(&format!(
        "{}\nlet it in on a server, as the user that fleet logs in with:\n  echo '{}' >> ~/.ssh/authorized_keys\n",
        shown.fingerprint, shown.line
    ));
    Ok(ExitKind::Ok)
}
