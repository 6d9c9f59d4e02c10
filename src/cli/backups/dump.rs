//! `backups dump`.

use super::super::App;
use super::super::context::Fleet;
use super::super::exit::refused;
use super::super::repositories::explained;
use crate::event::ExitKind;
use crate::hint::HintExt as _;
use crate::ui::Out;

/// Write one file of a snapshot to standard output, as it was on the host
#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:
  fleet backups dump ville-lyon database/geoclic.dump > geoclic.dump
  fleet backups dump ville-lyon files/volumes/photos/2026/a.jpg --snapshot 2026-11-20 > a.jpg")]
pub struct Args {
    /// The client
    #[arg(value_name = "CLIENT")]
    pub client: String,

    /// Path in the snapshot, as `backups show --files` lists it
    #[arg(value_name = "PATH")]
    pub path: String,

    /// Which one
    #[arg(long, value_name = "SNAPSHOT", default_value = "latest")]
    pub snapshot: String,
}

pub fn run(app: &App, args: &Args) -> anyhow::Result<ExitKind> {
    let fleet = Fleet::open(&app.global)?;
    let (browser, snapshot) = super::one(&fleet, &args.client, &args.snapshot)?;
    let failed = |error| explained(error, &args.client);
    let node = browser.node(&snapshot, args.path.trim_start_matches('/')).map_err(failed)?;
    if !node.is_file() {
        return Err(refused(format!("{:?} is no file", args.path))
            .hint(format!("`fleet backups export {} --out DIR` writes everything", args.client)));
    }
    let mut out = Out::stdout();
    browser.dump(&node, &mut out).map_err(failed)?;
    std::io::Write::flush(&mut out)?;
    Ok(ExitKind::Ok)
}
