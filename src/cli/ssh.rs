//! `fleet ssh`: a shell on one client's host.

use std::os::unix::process::CommandExt as _;

use anyhow::Context as _;

use super::App;
use super::context::Fleet;
use super::exit::{ended, refused};
use super::targets::Targets;
use crate::event::ExitKind;
use crate::hint::HintExt as _;
use crate::ops::compose;
use crate::ssh::{Dialer, HostKeyPolicy, interactive_argv};

/// Open a shell on a client's host or in a container of it, or run one command there in a terminal
///
/// Uses the system's ssh with the fleet's key and host keys; its exit code is passed on.
#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:
  fleet ssh ville-lyon
  fleet ssh ville-lyon -- sudo docker ps
  fleet ssh ville-lyon --service api
  fleet ssh ville-lyon --service db -- psql -U geoclic")]
pub struct Args {
    /// The client
    #[arg(value_name = "CLIENT")]
    pub client: String,

    /// In the running container of this service, such as api
    #[arg(long, value_name = "NAME")]
    pub service: Option<String>,

    /// Command to run instead of a login shell
    #[arg(last = true, value_name = "COMMAND")]
    pub command: Vec<String>,
}

pub fn run(app: &App, args: &Args) -> anyhow::Result<ExitKind> {
    let fleet = Fleet::open(&app.global)?;
    let client = Targets::one(&fleet, &args.client)?;
    let target = fleet.target(client);
    let command = match &args.service {
        None => args.command.clone(),
        Some(service) => {
            let stack = fleet.stack_with(client, service)?;
            let cmd = match args.command.as_slice() {
                [] => compose::shell_inside(&stack.name, service),
                words => compose::inside(&stack.name, service, words, true),
            };
            let root = target.user == "root";
            let sudo = ["sudo", "-n"].map(str::to_owned);
            sudo.into_iter().skip(if root { 2 } else { 0 }).chain(cmd.words().iter().cloned()).collect()
        }
    };
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
    let words =
        interactive_argv(&target, &command).map_err(|error| refused(error.what()).hint(error.remedy()))?;
    let error = std::process::Command::new(&words[0]).args(&words[1..]).exec();
    Err(error).context("ssh cannot be started").hint("install the OpenSSH client (package openssh-client)")
}
