//! `fleet ssh`: a shell on one client's host.

use std::os::unix::process::CommandExt as _;

use anyhow::Context as _;

use super::App;
use super::context::Fleet;
use super::exit::{ended, refused};
use super::targets::Targets;
use crate::event::ExitKind;
use crate::hint::HintExt as _;
use crate::ssh::{Dialer, HostKeyPolicy, interactive_argv};

/// Open a shell on a client's host, or run one command there in a terminal
///
/// Uses the system's ssh with the fleet's key and host keys; its exit code is passed on.
#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:
  fleet ssh ville-lyon
  fleet ssh ville-lyon -- sudo docker ps")]
pub struct Args {
    /// The client
    #[arg(value_name = "CLIENT")]
    pub client: String,

    /// Command to run instead of a login shell
    #[arg(last = true, value_name = "COMMAND")]
    pub command: Vec<String>,
}

pub fn run(app: &App, args: &Args) -> anyhow::Result<ExitKind> {
    let fleet = Fleet::open(&app.global)?;
    let client = Targets::one(&fleet, &args.client)?;
    let target = fleet.target(client);
    // A first contact records the host key here, so that ssh can be held to it.
    let runtime = super::running::runtime()?;
    runtime.block_on(async {
        match Dialer::default().connect(&target, HostKeyPolicy::AcceptNew).await {
            Ok(session) => {
                if let (key, true) = session.host_key() {
                    app.tell(&format!("recorded the host key of {}: {key}\n", target.name));
                }
                session.close().await;
                Ok(())
            }
            Err(error) => Err(ended(ExitKind::NoneReachable, error.what()).hint(error.remedy())),
        }
    })?;
    super::running::shut_down(runtime);
    let words = interactive_argv(&target, &args.command)
        .map_err(|error| refused(error.what()).hint(error.remedy()))?;
    let error = std::process::Command::new(&words[0]).args(&words[1..]).exec();
    Err(error).context("ssh cannot be started").hint("install the OpenSSH client (package openssh-client)")
}
