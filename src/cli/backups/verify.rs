//! `backups verify`.

use serde_json::json;

use super::super::App;
use super::super::context::Fleet;
use super::super::repositories::{self, explained};
use super::super::targets::Targets;
use crate::backup::{self, Depth, Repository, Verified};
use crate::event::ExitKind;
use crate::ui::Role;

/// Look for damage in the repositories
///
/// The structure is always checked: index, packs by name and size, trees, manifests. With --read-data
/// every byte is read, decrypted and compared with its hash; with --read-data-subset a share of them,
/// chosen at random. Exit code 1 when something is damaged.
#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:
  fleet backups verify
  fleet backups verify ville-lyon --read-data
  fleet backups verify --read-data-subset 5%")]
pub struct Args {
    #[command(flatten)]
    pub targets: Targets,

    /// Read all data
    #[arg(long, conflicts_with = "read_data_subset")]
    pub read_data: bool,

    /// Read about this share of the data, such as 5%
    #[arg(long, value_name = "PERCENT", value_parser = parse_percent)]
    pub read_data_subset: Option<f64>,
}

pub fn parse_percent(text: &str) -> Result<f64, String> {
    let number: Option<f64> = text.strip_suffix('%').unwrap_or(text).parse().ok();
    number
        .filter(|share| *share > 0.0 && *share <= 100.0)
        .ok_or_else(|| "expected a share such as 5%".to_owned())
}

pub fn run(app: &App, args: &Args) -> anyhow::Result<ExitKind> {
    let fleet = Fleet::open(&app.global)?;
    let mut clients = args.targets.or_all(&fleet)?;
    if args.targets.is_empty() {
        clients.retain(|client| repositories::may_be(&fleet, client));
    }
    let depth = match (args.read_data, args.read_data_subset) {
        (true, _) => Depth::All,
        (false, Some(percent)) => Depth::Share(percent),
        (false, None) => Depth::Structure,
    };
    let vault = fleet.vault()?;
    let (mut exit, mut damaged) = (ExitKind::Ok, false);
    for client in clients {
        let name = client.name.as_str();
        let checked = repositories::place(&fleet, &vault, client).and_then(|place| {
            let repository = Repository::open(&place).map_err(|error| explained(error, name))?;
            let found = backup::verify(repository, depth);
            Ok(found
                .unwrap_or_else(|error| Verified { damage: vec![error.to_string()], ..Verified::default() }))
        });
        // One that cannot be opened is not damaged for that: the key may be another's, the storage away.
        let (found, error) = match checked {
            Ok(found) => (found, None),
            Err(error) => (Verified::default(), Some(error)),
        };
        let Verified { snapshots, damage, remarks } = found;
        if error.is_some() || !damage.is_empty() {
            exit = ExitKind::ClientFailed;
        }
        damaged |= !damage.is_empty();
        if app.global.json {
            let record = json!({ "schema": "fleet.verify/1", "client": name, "snapshots": snapshots,
                "ok": error.is_none() && damage.is_empty(), "damage": damage, "remarks": remarks,
                "error": error.as_ref().map(ToString::to_string) });
            app.out(&record.to_string())?;
            continue;
        }
        if let Some(error) = error {
            app.error(&error.context(format!("{name}: not verified")));
            continue;
        }
        let (role, word) = if damage.is_empty() { (Role::Good, "well") } else { (Role::Bad, "damaged") };
        app.out(&format!("{name}: {} ({snapshots} snapshots)", app.stdout.paint(role, word)))?;
        for line in damage.iter().chain(&remarks) {
            app.out(&format!("  {line}"))?;
        }
    }
    if damaged {
        app.tell("hint: a new `fleet backup` stores again what is missing; keep the damaged repository until it is verified\n");
    }
    Ok(exit)
}
