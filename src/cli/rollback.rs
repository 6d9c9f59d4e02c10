//! `fleet rollback`: a release that is kept on the host serves again.

use super::App;
use super::change::{self, Options, Wish};
use super::context::Fleet;
use super::targets::Targets;
use crate::event::ExitKind;
use crate::plan::Stage;

/// Go back to a kept release: its files, its images, its environment
///
/// Nothing is built or pulled: the release is on the host as it was committed. The database stays
/// migrated. A release that is not kept there is refused with exit code 3 and a list of what is.
#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:
  fleet rollback ville-lyon
  fleet rollback ville-lyon --to 07080b054f96
  fleet rollback --tag canary --dry-run")]
pub struct Args {
    #[command(flatten)]
    pub targets: Targets,

    /// Release to go back to, such as 07080b054f96 [default: the one before]
    #[arg(long, value_name = "ID")]
    pub to: Option<String>,

    #[command(flatten)]
    pub options: Options,
}

pub fn run(app: &App, args: &Args) -> anyhow::Result<ExitKind> {
    let fleet = Fleet::open(&app.global)?;
    let clients = args.targets.required(&fleet)?;
    let wish =
        Wish { all_or_none: true, rollback_to: args.to.clone(), ..Wish::of("rollback", &[Stage::Rollback]) };
    change::run(app, &fleet, &clients, &args.options, &wish)
}
