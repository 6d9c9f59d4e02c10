//! Stage "restore": data of a backup in the place of what a client has.
//!
//! Everything is brought beside what serves; then one short exchange, the health gate, and only then what
//! was before goes away. From the exchange to the gate a fault is answered by exchanging back.

use super::rollout::{spec_of, wait};
use super::system::differs;
use super::{Action, Change, Desired, Refusal, SAFETY, Step, Undo};
use crate::facts::{Facts, State};
use crate::ops::Layout;
use crate::ops::backup::restore::{self as ops, Exchange, Names, Parcel, Role};
use crate::ops::backup::{Folder, Rows};
use crate::ops::files::{NewFile, put};
use crate::ops::migration::Server;
use crate::ops::postgres::Database;

/// Room that must be left on the disk beyond what is brought, in KiB.
const SPARE: u64 = 256 * 1024;

/// What a restore brings back, from one snapshot.
#[derive(Clone, Debug, Default)]
pub struct Restore {
    /// In full.
    pub snapshot: String,
    /// As a person says it: `1a2b3c4d of 2026-11-20 02:00`.
    pub named: String,
    /// Another client's data.
    pub from: Option<String>,
    pub database: Option<RestoredDatabase>,
    pub folders: Vec<RestoredFolder>,
    /// Why no safety snapshot is taken first.
    pub unsafe_because: Option<String>,
    /// The host is new: nothing serves there.
    pub fresh: bool,
    /// Runs whose backups are in the repository: what they left beside may go.
    pub backed_up: Vec<String>,
}

#[derive(Clone, Debug, Default)]
pub struct RestoredDatabase {
    /// Of the dump in the snapshot.
    pub path: String,
    pub bytes: u64,
    /// Size that it had on its server.
    pub size: u64,
    pub migration: Option<String>,
    pub rows: Vec<Rows>,
    pub roles: Vec<Role>,
}

#[derive(Clone, Debug)]
pub struct RestoredFolder {
    pub folder: Folder,
    /// In the snapshot.
    pub place: String,
    /// Paths below it; everything when empty.
    pub only: Vec<String>,
    pub files: u64,
    pub bytes: u64,
}

/// Where a new host remembers which snapshot its data is from.
pub(super) fn mark_path(layout: &Layout) -> String {
    layout.at("restored")
}

fn mark(desired: &Desired, restore: &Restore) -> NewFile {
    NewFile {
        path: mark_path(&desired.layout),
        mode: "0600".into(),
        content: format!("{}\n", restore.snapshot).into_bytes(),
        secret: false,
    }
}

pub(super) fn plan(desired: &Desired, facts: &Facts) -> Result<(Vec<Step>, Option<Undo>), Refusal> {
    let Some(restore) = &desired.restore else { return Ok((Vec::new(), None)) };
    let mark = mark(desired, restore);
    let done = restore.fresh && !differs(&mark, facts);
    let state = serving(desired, restore, facts, done)?;
    if done {
        return Ok((Vec::new(), None));
    }
    if restore.fresh && restore.database.is_none() && restore.folders.is_empty() {
        return Ok((vec![noted(mark)], None));
    }
    let database = in_stack(desired, restore, facts)?;
    room(restore, facts)?;
    let names = database.map(|database| Names::of(&database.name, &desired.run));
    let folders: Vec<Folder> = restore.folders.iter().map(|one| one.folder.clone()).collect();
    let exchange = Exchange {
        layout: &desired.layout,
        run: &desired.run,
        database: database.zip(names.as_ref()),
        folders: &folders,
        fresh: restore.fresh,
    };
    let mut steps = Vec::new();
    if !restore.fresh {
        steps.extend(safety(desired, restore));
    } else if !folders.is_empty() {
        let create = desired.release.project.create();
        steps.push(Step::run("make volumes and containers", Change::Create, create));
    }
    if let (Some(database), Some(names), Some(wanted)) = (database, &names, &restore.database) {
        steps.extend(fill(restore, database, names, wanted, facts));
        steps.extend(migrate(desired, database, names, wanted, facts));
    }
    steps.extend(restore.folders.iter().map(|folder| bring(desired, restore, folder)));
    if let (Some(first), Some(why)) = (steps.first_mut(), &restore.unsafe_because) {
        first.details.insert(0, format!("no safety snapshot: {why}"));
    }
    let critical = steps.len();
    steps.push(swap(&exchange, restore));
    let mut undo = None;
    if let Some(state) = state {
        let gate = || wait(desired, &spec_of(desired, state));
        steps.push(gate());
        let back = Step::run("put back what was before", Change::Modify, exchange.back());
        undo = Some(Undo {
            critical: critical..steps.len(),
            release: state.release.clone(),
            steps: vec![back, gate()],
        });
    }
    steps.push(clean(&exchange, restore, facts));
    if restore.fresh {
        steps.push(noted(mark));
    }
    Ok((steps, undo))
}

fn noted(mark: NewFile) -> Step {
    Step::run("note which snapshot this is", Change::Create, put(&[mark]))
}

/// The release that serves; a new host has none.
fn serving<'f>(
    desired: &Desired,
    restore: &Restore,
    facts: &'f Facts,
    done: bool,
) -> Result<Option<&'f State>, Refusal> {
    let client = &desired.client;
    match &facts.state {
        Some(state) if state.client != *client => Err(Refusal {
            message: format!("this host serves {:?}, another client", state.client),
            hint: "look at its address in clients.toml".into(),
        }),
        Some(state) if restore.fresh && (!done || state.release != desired.release.id) => Err(Refusal {
            message: "this host serves the client already: it is no new host".into(),
            hint: format!("fleet restore {client}   (without --to-new-host)"),
        }),
        Some(_) if restore.fresh => Ok(None),
        None if !restore.fresh => Err(Refusal {
            message: "no release serves on this host".into(),
            hint: format!(
                "fleet restore {client} --to-new-host, or `fleet provision {client}` for an empty beginning"
            ),
        }),
        state => Ok(state.as_ref()),
    }
}

fn in_stack<'d>(
    desired: &'d Desired,
    restore: &Restore,
    facts: &Facts,
) -> Result<Option<&'d Database>, Refusal> {
    if restore.database.is_none() {
        return Ok(None);
    }
    let inside = desired.release.database.as_ref().and_then(Server::inside);
    let database = inside.ok_or_else(|| Refusal {
        message: "the stack has no database of its own to restore into".into(),
        hint: "`fleet restore CLIENT --files` restores the files".into(),
    })?;
    // A new host's database is started by a stage before this one.
    if facts.migrations.is_none() && !restore.fresh {
        return Err(Refusal {
            message: "the database does not answer, so nothing can be restored into it".into(),
            hint: format!(
                "`fleet logs {client} --service {service}` says why; a host that cannot be mended is replaced by `fleet restore {client} --to-new-host`",
                client = desired.client,
                service = database.service,
            ),
        });
    }
    Ok(Some(database))
}

/// Both databases and both copies of the files are there for a while.
fn room(restore: &Restore, facts: &Facts) -> Result<(), Refusal> {
    let database = restore.database.as_ref().map_or(0, |database| database.size.max(database.bytes));
    let files: u64 = restore.folders.iter().map(|folder| folder.bytes).sum();
    let wanted = (database + files) / 1024 + SPARE;
    match facts.number("disk_free") {
        Some(free) if free < wanted => Err(Refusal {
            message: format!("the host has {} MiB left, and the restore needs {}", free / 1024, wanted / 1024),
            hint: "what is restored stays beside what serves until it is healthy; make room, or restore less at once (--database, --files)".into(),
        }),
        _ => Ok(()),
    }
}

fn safety(desired: &Desired, restore: &Restore) -> Option<Step> {
    if restore.unsafe_because.is_some() {
        return None;
    }
    Some(Step::save(
        SAFETY,
        &desired.hooks,
        "nothing was touched; where the client cannot be saved any more: --no-safety-snapshot \"WHY\"",
    ))
}

fn fill(
    restore: &Restore,
    database: &Database,
    names: &Names,
    wanted: &RestoredDatabase,
    facts: &Facts,
) -> Vec<Step> {
    let mut steps = Vec::new();
    let begun = facts.leftovers.contains(&names.filling);
    steps.push(
        Step::run(
            "make a database beside the one in service",
            Change::Create,
            ops::make_database(database, names, &wanted.roles),
        )
        .detail(names.filling.clone())
        .details(begun.then(|| {
            "a restore that was cut before it changed anything left one, which goes away".to_owned()
        })),
    );
    let migration = wanted.migration.as_ref().map_or(String::new(), |name| format!(", migration {name}"));
    steps.push(Step {
        title: "restore the database".into(),
        change: Change::Create,
        details: vec![format!("snapshot {}: {}{migration}", restore.named, size(wanted.bytes))],
        action: Action::Send(
            Parcel::Dump { path: wanted.path.clone() },
            ops::load(database, names, restore.from.is_none()),
        ),
        hint: Some("the database in service was not touched".into()),
    });
    if !wanted.rows.is_empty() {
        let count = ops::count(database, names, &wanted.rows);
        let largest = wanted.rows.first().map(|rows| format!("{}: {} rows", rows.table, rows.rows));
        steps.push(
            Step::run("compare rows with the snapshot", Change::Nothing, count)
                .details(largest)
                .hint("the database in service was not touched; `fleet backups verify` looks for damage"),
        );
    }
    steps
}

/// Migrations that what serves has and an older snapshot has not: the release stays, so the database comes
/// up to it before they meet.
fn migrate(
    desired: &Desired,
    database: &Database,
    names: &Names,
    wanted: &RestoredDatabase,
    facts: &Facts,
) -> Vec<Step> {
    let into = Database { name: names.filling.clone(), ..database.clone() };
    let lacks = |name: &String| wanted.migration.as_ref().is_none_or(|last| name > last);
    let applied: Vec<&String> = facts.migrations.iter().flat_map(|applied| applied.keys()).collect();
    let known = &desired.release.migrations;
    let mut steps: Vec<Step> = known
        .iter()
        .filter(|migration| applied.contains(&&migration.name) && lacks(&migration.name))
        .map(|migration| {
            let title = format!("migrate {} in the restored database", migration.name);
            Step::run(title, Change::Create, Server::Inside(into.clone()).migrate(migration, &desired.who))
                .detail("the release that serves has it, and the snapshot is older")
                .hint("the database in service was not touched")
        })
        .collect();
    let missing: Vec<&str> = applied
        .into_iter()
        .filter(|name| lacks(name) && !known.iter().any(|migration| migration.name == **name))
        .map(String::as_str)
        .collect();
    if !missing.is_empty() {
        steps.push(
            Step::run("look at its migrations", Change::Nothing, into.wait_ready())
                .detail(format!("what serves has {}, and the source here does not", missing.join(", ")))
                .detail("the release may need it: `fleet update` from its own source brings it"),
        );
    }
    steps
}

fn bring(desired: &Desired, restore: &Restore, folder: &RestoredFolder) -> Step {
    let name = folder.place.strip_prefix("files/").unwrap_or(&folder.place);
    let what = if folder.only.is_empty() { "everything".to_owned() } else { folder.only.join(", ") };
    Step {
        title: format!("bring files of {name}"),
        change: Change::Create,
        details: vec![format!(
            "snapshot {}: {what}, {} files, {}",
            restore.named,
            folder.files,
            size(folder.bytes)
        )],
        action: Action::Send(
            Parcel::Files { place: folder.place.clone(), only: folder.only.clone() },
            ops::receive(&desired.layout, &folder.folder, &desired.run),
        ),
        hint: Some("the files in service were not touched".into()),
    }
}

fn swap(exchange: &Exchange<'_>, restore: &Restore) -> Step {
    let what = match (&restore.database, restore.folders.is_empty()) {
        (Some(_), true) => "the database",
        (Some(_), false) => "database and files",
        (None, _) => "the files",
    };
    let still = match (restore.fresh, &restore.database) {
        (true, _) => None,
        (false, Some(_)) => Some("every service but the database stops meanwhile and starts again"),
        (false, None) => Some("all containers stand still for a moment"),
    };
    let kept = exchange.database.filter(|_| !restore.fresh);
    let kept = kept.map(|(_, names)| format!("the database before is {} until all is healthy", names.before));
    let newer =
        (!restore.folders.is_empty()).then(|| "files that the snapshot does not have stay".to_owned());
    Step::run(format!("exchange {what}"), Change::Modify, exchange.swap())
        .details(still.map(str::to_owned))
        .details(kept)
        .details(newer)
}

/// What was before goes, and what earlier restores left where a backup holds it.
fn clean(exchange: &Exchange<'_>, restore: &Restore, facts: &Facts) -> Step {
    let plain = |run: &str| run.replace(|c: char| !c.is_ascii_alphanumeric(), "_");
    let known: Vec<String> = restore.backed_up.iter().map(|run| plain(run)).collect();
    let of = |name: &String| Names::run_of(name).is_some_and(|run| known.iter().any(|known| known == run));
    let left: Vec<String> = facts.leftovers.iter().filter(|name| of(name)).cloned().collect();
    let runs: Vec<String> = match exchange.folders.is_empty() {
        true => Vec::new(),
        false => restore.backed_up.clone(),
    };
    let kept = facts.leftovers.iter().filter(|name| Names::run_of(name).is_some() && !of(name));
    Step::run("remove what was before", Change::Destroy, exchange.clean(&left, &runs))
        .details(exchange.database.map(|(_, names)| names.before.clone()))
        .details(left.iter().map(|name| format!("{name}, of a restore that was cut; it is in a backup")))
        .details(
            kept.map(|name| format!("{name} of an earlier restore stays: no backup is known to hold it")),
        )
}

fn size(bytes: u64) -> String {
    match bytes {
        0..1_000_000 => format!("{} kB", bytes.div_ceil(1000)),
        _ => format!("{}.{} MB", bytes / 1_000_000, bytes / 100_000 % 10),
    }
}
