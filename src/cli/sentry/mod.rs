//! `fleet sentry`: where errors of clients go, whether they arrive, and how to change it.

mod edit;
mod look;
mod server;
mod set;
mod setup;
mod status;
mod test;

use super::App;
use crate::event::ExitKind;

/// Where errors of the clients' applications go: see it, change it, prove it
///
/// docs/sentry.md is the guide: the first project, several environments, several servers, costs.
#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:
  fleet sentry status
  fleet sentry set ville-lyon --dsn-from dsn.txt --environment lyon
  fleet sentry test ville-lyon
  fleet sentry disable ville-lyon")]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(clap::Subcommand, Debug)]
enum Command {
    Status(status::Args),
    Set(set::SetArgs),
    Enable(set::EnableArgs),
    Disable(set::DisableArgs),
    Test(test::Args),
    Setup(setup::Args),
}

/// While this program itself waits, an interrupt ends it; hosts are not touched then.
fn end_at_interrupt() -> anyhow::Result<()> {
    super::running::on_signal(|| std::process::exit(ExitKind::Interrupted as i32))
}

pub fn run(app: &App, args: &Args) -> anyhow::Result<ExitKind> {
    match &args.command {
        Command::Status(args) => status::run(app, args),
        Command::Set(args) => set::set(app, args),
        Command::Enable(args) => set::enable(app, args),
        Command::Disable(args) => set::disable(app, args),
        Command::Test(args) => test::run(app, args),
        Command::Setup(args) => setup::run(app, args),
    }
}
