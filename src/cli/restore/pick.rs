//! What of a snapshot is restored.

use std::collections::BTreeMap;

use super::super::exit::refused;
use super::super::repositories::{data_folders, explained};
use super::Args;
use crate::backup::Opened;
use crate::hint::HintExt as _;
use crate::ops::Layout;
use crate::ops::backup::Folder;
use crate::ops::backup::restore::roles_of;
use crate::plan::{Restore, RestoredDatabase, RestoredFolder};
use crate::registry::Client;
use crate::stack::Stack;

const BY_HAND: &str =
    "docs/backups.md, \"A database outside the stack\", says how by hand; --files restores the files alone";

/// # Errors
/// What the snapshot does not have, or this client cannot take.
pub fn restore(
    client: &Client,
    source: &Client,
    stack: &Stack,
    opened: &Opened,
    args: &Args,
) -> anyhow::Result<Restore> {
    let mine = client.name == source.name;
    // A new server finds the database where it always was.
    let elsewhere = args.to_new_host && stack.database_inside().is_none();
    let database = match args.files.is_some() || elsewhere {
        true => None,
        false => database(stack, opened, args.database, mine)?,
    };
    let folders = match &args.files {
        None if args.database => Vec::new(),
        Some(paths) if !paths.is_empty() => named(client, stack, opened, paths)?,
        _ => all(client, stack, opened)?,
    };
    if database.is_none() && folders.is_empty() && !args.to_new_host {
        return Err(refused(format!("snapshot {} has nothing of this to restore", opened.snapshot.short()))
            .hint(format!("fleet backups show {} {}", source.name, opened.snapshot.short())));
    }
    Ok(Restore {
        snapshot: opened.snapshot.id.clone(),
        named: name(opened, (!mine).then_some(source)),
        from: (!mine).then(|| source.name.to_string()),
        database,
        folders,
        unsafe_because: args.no_safety_snapshot.clone(),
        fresh: args.to_new_host,
        backed_up: Vec::new(),
    })
}

fn name(opened: &Opened, of: Option<&Client>) -> String {
    let at = opened.snapshot.at.strftime("%Y-%m-%d %H:%M");
    let of = of.map_or(String::new(), |client| format!(" of {}", client.name));
    format!("{}{of}, {at}", opened.snapshot.short())
}

fn database(
    stack: &Stack,
    opened: &Opened,
    wanted: bool,
    mine: bool,
) -> anyhow::Result<Option<RestoredDatabase>> {
    let Some(saved) = &opened.manifest.database else {
        if wanted {
            return Err(refused(format!("snapshot {} has no database", opened.snapshot.short()))
                .hint("without --database its files are restored"));
        }
        return Ok(None);
    };
    if stack.database_inside().is_none() {
        return Err(refused("the client's database is outside its stack, so nothing here may replace it")
            .hint(BY_HAND));
    }
    // Another client's roles stay with it: their passwords are its own.
    let roles = match saved.roles.as_deref().filter(|_| mine) {
        Some(path) => roles_of(&opened.text(path).map_err(|error| explained(error, &opened.client))?),
        None => Vec::new(),
    };
    Ok(Some(RestoredDatabase {
        path: saved.path.clone(),
        bytes: opened.manifest.part(&saved.path).map_or(0, |part| part.bytes),
        size: saved.bytes,
        migration: opened.manifest.migration.clone(),
        rows: saved.rows.clone(),
        roles,
    }))
}

/// Every folder that the snapshot has and the client still names.
fn all(client: &Client, stack: &Stack, opened: &Opened) -> anyhow::Result<Vec<RestoredFolder>> {
    let saved: Vec<&str> = opened.manifest.files.folders.iter().map(|folder| folder.path.as_str()).collect();
    data_folders(client, stack)
        .into_iter()
        .filter(|folder| saved.contains(&folder.place().as_str()))
        .map(|folder| counted(opened, folder, Vec::new()))
        .collect()
}

/// Single files and folders, by the names that people give them.
fn named(
    client: &Client,
    stack: &Stack,
    opened: &Opened,
    paths: &[String],
) -> anyhow::Result<Vec<RestoredFolder>> {
    let folders = data_folders(client, stack);
    let mut wanted: BTreeMap<usize, Vec<String>> = BTreeMap::new();
    for path in paths {
        let (index, below) = find(stack, &folders, path).ok_or_else(|| {
            let there: Vec<String> = folders.iter().map(short).collect();
            refused(format!("{path:?} is in no folder that is backed up")).hint(if there.is_empty() {
                "this client has no folders in its backups".to_owned()
            } else {
                format!("it begins with one of {}", there.join(", "))
            })
        })?;
        wanted.entry(index).or_default().push(below);
    }
    wanted
        .into_iter()
        .map(|(index, mut only)| {
            // One that means the whole folder leaves nothing to the others.
            if only.iter().any(String::is_empty) {
                only.clear();
            }
            only.sort();
            only.dedup();
            counted(opened, folders[index].clone(), only)
        })
        .collect()
}

/// As people name it: a volume by its name, a folder by its path on the host.
fn short(folder: &Folder) -> String {
    match folder {
        Folder::Release => "release".to_owned(),
        Folder::Volume(name) => name.clone(),
        Folder::Path(path) => path.clone(),
    }
}

/// The folder that a path is in, and the rest of the path.
fn find(stack: &Stack, folders: &[Folder], path: &str) -> Option<(usize, String)> {
    let layout = Layout::new(&stack.name);
    let path = path.trim_end_matches('/');
    let relative = path.strip_prefix("files/").unwrap_or(path);
    folders.iter().enumerate().find_map(|(index, folder)| {
        let place = folder.place();
        let mut names = vec![short(folder), place.trim_start_matches("files/").to_owned()];
        if let Folder::Path(own) = folder
            && !own.starts_with('/')
        {
            names.push(layout.at(own));
        }
        names.iter().find_map(|name| {
            let rest = relative.strip_prefix(name.trim_end_matches('/'))?;
            match rest.strip_prefix('/') {
                Some(below) => Some((index, below.to_owned())),
                None => rest.is_empty().then(|| (index, String::new())),
            }
        })
    })
}

fn counted(opened: &Opened, folder: Folder, only: Vec<String>) -> anyhow::Result<RestoredFolder> {
    let place = folder.place();
    let picked = opened.pick(&place, &only).map_err(|error| explained(error, &opened.client))?;
    let files = picked.iter().filter(|one| one.wanted && !one.node.is_dir());
    Ok(RestoredFolder {
        folder,
        place,
        only,
        files: files.clone().count() as u64,
        bytes: files.map(|one| one.node.meta.size).sum(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_found_by_every_name_that_it_has() {
        let stack = crate::stack_source::load_stack(std::path::Path::new("/"), "geoclic").unwrap();
        let folders = vec![
            Folder::Volume("photos".into()),
            Folder::Path("data".into()),
            Folder::Path("/srv/maps".into()),
        ];
        for (path, wanted) in [
            ("photos/2026/a.jpg", Some((0, "2026/a.jpg"))),
            ("files/volumes/photos/2026/a.jpg", Some((0, "2026/a.jpg"))),
            ("volumes/photos/", Some((0, ""))),
            ("data/x", Some((1, "x"))),
            ("/opt/geoclic/data/x", Some((1, "x"))),
            ("/srv/maps/y/z", Some((2, "y/z"))),
            ("files/folders/srv/maps", Some((2, ""))),
            ("photos2/a", None),
            ("/etc/passwd", None),
            ("release/.env", None),
        ] {
            let found = find(&stack, &folders, path);
            assert_eq!(found, wanted.map(|(index, below)| (index, below.to_owned())), "{path}");
        }
    }
}
