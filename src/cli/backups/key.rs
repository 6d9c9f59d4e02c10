//! `backups recovery-key`: the keys of all repositories, for a safe place.

use std::collections::BTreeMap;
use std::path::PathBuf;

use anyhow::Context as _;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::super::App;
use super::super::context::Fleet;
use super::super::exit::{refused, usage};
use super::super::repositories;
use super::super::targets::Targets;
use crate::backup::Repository;
use crate::event::ExitKind;
use crate::hint::HintExt as _;
use crate::secret::Secret;
use crate::vault::{BACKUP_KEY, ClientSecrets, Vault};

const SCHEMA: &str = "fleet.recovery/1";

/// Write the keys of the repositories into one file, encrypted, to be kept offline
///
/// A key is made at the first backup of a client and kept with its secrets. Whoever loses the fleet
/// directory and its copies loses the backups too, unless this file and the age identity that opens it
/// are kept apart from it. With it, `restic` alone reads everything.
#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:
  fleet backups recovery-key --out recovery.age --to age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcac8p
  fleet backups recovery-key --import recovery.age --identity /media/usb/offline-identity.txt
  age -d -i offline-identity.txt recovery.age")]
pub struct Args {
    #[command(flatten)]
    pub targets: Targets,

    /// Write them to this file, such as recovery.age
    #[arg(long, value_name = "FILE", conflicts_with = "import")]
    pub out: Option<PathBuf>,

    /// Encrypt to this key instead of those that read the secrets, such as age1ql3z7hj
    #[arg(long, value_name = "KEY", requires = "out")]
    pub to: Option<String>,

    /// Take the keys that are missing here from this file, such as recovery.age
    #[arg(long, value_name = "FILE")]
    pub import: Option<PathBuf>,
}

#[derive(Serialize, Deserialize)]
struct Recovery {
    schema: String,
    at: String,
    clients: BTreeMap<String, Entry>,
}

#[derive(Serialize, Deserialize)]
struct Entry {
    repository: String,
    password: String,
}

pub fn run(app: &App, args: &Args) -> anyhow::Result<ExitKind> {
    let fleet = Fleet::open(&app.global)?;
    match (&args.out, &args.import) {
        (Some(out), _) => write(app, &fleet, args, out),
        (None, Some(from)) => import(app, &fleet, args, from),
        (None, None) => {
            Err(usage("nothing to do").hint("name a file with --out, or one to read with --import"))
        }
    }
}

fn write(app: &App, fleet: &Fleet, args: &Args, out: &std::path::Path) -> anyhow::Result<ExitKind> {
    let vault = fleet.vault()?;
    let mut clients = BTreeMap::new();
    for client in args.targets.or_all(fleet)? {
        let name = client.name.as_str();
        let secrets = vault.read_optional(name)?;
        if let Some(key) = secrets.as_ref().and_then(|secrets| secrets.get(BACKUP_KEY)) {
            let repository = repositories::store(fleet, name)?.name();
            clients.insert(name.to_owned(), Entry { repository, password: key.reveal().clone() });
        }
    }
    if clients.is_empty() {
        return Err(refused("no client has a backup yet").hint("fleet backup --all"));
    }
    let count = clients.len();
    let recovery = Recovery { schema: SCHEMA.into(), at: Timestamp::now().to_string(), clients };
    let plain = zeroize::Zeroizing::new(serde_json::to_vec_pretty(&recovery)?);
    let sealed = vault.seal_for(args.to.as_deref(), &plain, out)?;
    crate::fs_atomic::replace(out, &sealed, 0o600)?;
    app.tell(&format!(
        "{}: the keys of {count} repositories; keep it apart from this machine, with the identity that opens it\n",
        out.display()
    ));
    Ok(ExitKind::Ok)
}

/// All secrets of a client that has none here any more: its backups hold them, and a file with the key alone would
/// look like a beginning, for which new ones are made.
fn lost(
    fleet: &Fleet,
    vaults: [&Vault; 2],
    client: &str,
    key: Secret<String>,
) -> anyhow::Result<ClientSecrets> {
    const PATH: &str = "client/secrets.age";
    let place = repositories::place_with(fleet, client, key)?;
    let read = || {
        let repository = Repository::open(&place)?;
        let snapshot = repository.find("latest")?;
        let browser = repository.browse()?;
        let mut sealed = Vec::new();
        browser.dump(&browser.node(&snapshot, PATH)?, &mut sealed)?;
        Ok(sealed)
    };
    let sealed = read().map_err(|error| repositories::explained(error, client))?;
    // They were encrypted for the fleet's own readers; the identity at hand may be one of those.
    let [own, given] = vaults.map(|vault| vault.read_sealed(client, &sealed, PATH.as_ref()));
    Ok(own.or(given)?)
}

fn import(app: &App, fleet: &Fleet, args: &Args, from: &std::path::Path) -> anyhow::Result<ExitKind> {
    let vault = fleet.vault()?;
    let sealed = std::fs::read(from).with_context(|| format!("{} cannot be read", from.display()))?;
    let plain = vault.unseal_other(&sealed, from)?;
    let recovery: Recovery = serde_json::from_slice(&plain)
        .map_err(|_| refused(format!("{} holds no recovery keys", from.display())))?;
    let mut taken = Vec::new();
    // The identity that opens the file need not be the one that opens the secrets here.
    let own = fleet.own_vault()?;
    for client in args.targets.or_all(fleet)? {
        let name = client.name.as_str();
        let Some(entry) = recovery.clients.get(name) else { continue };
        let secrets = own.read_optional(name)?;
        if secrets.as_ref().is_some_and(|secrets| secrets.get(BACKUP_KEY).is_some()) {
            continue;
        }
        let key = Secret::from(entry.password.clone());
        if secrets.is_none() && fleet.stack(client)?.env.vault_names().next().is_some() {
            let found = lost(fleet, [&own, &vault], name, key.clone()).with_context(|| {
                format!("secrets/{name}.age is lost, and its newest backup does not give it back")
            })?;
            own.put_back(found, key, Timestamp::now())?;
            app.tell(&format!("secrets/{name}.age is back, from its newest backup\n"));
        } else {
            own.set(name, BACKUP_KEY, key, false, Timestamp::now())?;
        }
        taken.push(name.to_owned());
    }
    match taken.is_empty() {
        true => app.tell("every client of it has its key here already\n"),
        false => app.tell(&format!("took the keys of {}\n", taken.join(", "))),
    }
    Ok(ExitKind::Ok)
}
