//! `restore --to-new-host`: the client's server is gone, and a bare one takes its place.

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context as _;
use jiff::Timestamp;

use super::super::App;
use super::super::change::Wish;
use super::super::context::Fleet;
use super::super::exit::refused;
use super::super::repositories::explained;
use super::Args;
use crate::backup::{Opened, Shelf};
use crate::event::ExitKind;
use crate::fs_atomic;
use crate::hint::HintExt as _;
use crate::plan::Stage;
use crate::registry::values::Address;
use crate::registry::{Client, Registry, edit};
use crate::stack::Stack;
use crate::vault::Vault;

/// Where a snapshot has the source of its release, and the client's secrets.
const SOURCE: &str = "files/release/source";
const SECRETS: &str = "client/secrets.age";
/// Begins the name of a folder that the source is unpacked to.
const PREFIX: &str = "restore-";
/// A folder that a run which was killed left is older than any run that goes on.
const OLD: Duration = Duration::from_secs(24 * 3600);
/// How long one edit waits for another.
const LOCK_TIMEOUT: Duration = Duration::from_secs(30);

pub fn run(app: &App, fleet: &Fleet, client: &Client, args: &Args) -> anyhow::Result<ExitKind> {
    let name = client.name.as_str();
    let moved = args.ip.map(|ip| moved(app, fleet, client, ip)).transpose()?;
    let target = moved.as_ref().unwrap_or(fleet);
    let client = target.registry.client(name).context("the client is not in the registry")?;
    let (vault, stack) = (target.vault()?, target.stack(client)?);
    let opened = super::open(target, &vault, client, &args.snapshot)?;
    let previewing = args.options.dry_run;
    if !previewing {
        secrets(app, &vault, name, &opened)?;
    }
    let work = target.state_dir();
    fs_atomic::create_folder(&work, 0o700)?;
    sweep(&work);
    let folder = tempfile::Builder::new()
        .prefix(PREFIX)
        .tempdir_in(&work)
        .with_context(|| format!("no folder can be made in {}", work.display()))?;
    let source = source(&stack, &opened, folder.path())?;
    let restore = super::pick::restore(client, client, &stack, &opened, args)?;
    let shelf = Shelf { opened: Some(opened), save: None };
    if args.new_host_key {
        forget(app, target, client)?;
    }
    let stages = &[Stage::System, Stage::Prepare, Stage::Restore, Stage::Rollout];
    let wish = Wish { needs_provision: false, all_or_none: true, source, ..Wish::of("restore", stages) };
    let exit = super::go(app, target, client, args, wish, (restore, shelf))?;
    if let Some(ip) = args.ip.filter(|_| !previewing) {
        settle(app, fleet, client, ip, exit)?;
    }
    Ok(exit)
}

/// Takes away what runs that were killed left behind. What cannot go is no fault.
fn sweep(work: &Path) {
    for entry in std::fs::read_dir(work).into_iter().flatten().flatten() {
        let ours = entry.file_name().to_string_lossy().starts_with(PREFIX);
        let age = entry.metadata().and_then(|meta| meta.modified()).ok().and_then(|at| at.elapsed().ok());
        if ours && age.is_some_and(|age| age > OLD) {
            let _ = std::fs::remove_dir_all(entry.path());
        }
    }
}

/// The registry's text with another address for a client.
fn readdressed(text: &str, client: &Client, ip: IpAddr) -> Result<String, edit::EditError> {
    let name = client.name.as_str();
    let text = match client.address {
        Address::Host(_) => edit::unset_client_value(text, name, "host")?,
        Address::Ip(_) => text.to_owned(),
    };
    edit::set_client_value(&text, name, "ip", &ip.to_string().into())
}

/// The fleet as it is once the client has moved. Nothing is written yet.
fn moved(app: &App, fleet: &Fleet, client: &Client, ip: IpAddr) -> anyhow::Result<Fleet> {
    let text = readdressed(&fleet.text, client, ip)
        .map_err(|error| refused(format!("{}: {error}", fleet.file.display())))?;
    Fleet::of(&app.global, fleet.dir.clone(), fleet.file.clone(), text)
}

/// Writes the new address once the client serves there.
fn settle(app: &App, fleet: &Fleet, client: &Client, ip: IpAddr, exit: ExitKind) -> anyhow::Result<()> {
    let file = fleet.file.display().to_string();
    let before = fleet.registry.client(&client.name).map(|client| client.address.clone());
    if before == Some(Address::Ip(ip)) {
        return Ok(());
    }
    if exit != ExitKind::Ok {
        app.tell(&format!(
            "{file} still has the old address of {}; run the same command again to go on at {ip}\n",
            client.name
        ));
        return Ok(());
    }
    fs_atomic::edit(&fleet.file, &super::super::add::lock(&fleet.dir), LOCK_TIMEOUT, |text| {
        let before = Registry::parse(text, &file)?;
        let known = before.client(&client.name).context("the client was taken out of the registry")?;
        let text = readdressed(text, known, ip).map_err(|error| refused(format!("{file}: {error}")))?;
        Registry::parse(&text, &file)?;
        anyhow::Ok(text)
    })?;
    app.tell(&format!("{} is now at {ip} in {file}\n", client.name));
    Ok(())
}

/// Values that are lost here come from the snapshot, before any would be made anew.
fn secrets(app: &App, vault: &Vault, client: &str, opened: &Opened) -> anyhow::Result<()> {
    let Ok(node) = opened.browser.node(&opened.snapshot, SECRETS) else { return Ok(()) };
    let mut sealed = Vec::new();
    opened.browser.dump(&node, &mut sealed).map_err(|error| explained(error, client))?;
    let from = PathBuf::from(format!("{SECRETS} of snapshot {}", opened.snapshot.short()));
    match vault.take_missing(client, &sealed, &from, Timestamp::now()) {
        Ok(taken) if taken.is_empty() => Ok(()),
        Ok(taken) => {
            app.tell(&format!("secrets/{client}.age lacked {}: taken from the snapshot\n", taken.join(", ")));
            Ok(())
        }
        // Whoever may not read the secrets of then has those of now.
        Err(error) => {
            app.tell(&format!("warning: secrets of the snapshot were not looked at: {error}\n"));
            Ok(())
        }
    }
}

/// The code of the snapshot's release, in a folder of this machine.
fn source(stack: &Stack, opened: &Opened, folder: &Path) -> anyhow::Result<Option<PathBuf>> {
    if stack.source.is_none() {
        return Ok(None);
    }
    opened.browser.node(&opened.snapshot, SOURCE).map_err(|_| {
        refused(format!("snapshot {} has no source of its release", opened.snapshot.short()))
            .hint("`fleet provision CLIENT` brings today's source; then `fleet restore CLIENT`")
    })?;
    opened.unpack(SOURCE, folder).map_err(|error| explained(error, &opened.client))?;
    Ok(Some(folder.to_owned()))
}

fn forget(app: &App, fleet: &Fleet, client: &Client) -> anyhow::Result<()> {
    let target = fleet.target(client);
    let gone = crate::ssh::forget_host_keys(&target.known_hosts, &target.host, target.port)
        .with_context(|| format!("{} cannot be changed", target.known_hosts.display()))?;
    if gone > 0 {
        app.tell(&format!(
            "forgot the host key of {}; the new one is recorded at first contact\n",
            target.host
        ));
    }
    Ok(())
}
