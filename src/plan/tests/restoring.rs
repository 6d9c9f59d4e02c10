//! What a restore and a purge do to a host, and where they are refused.

use std::fmt::Write as _;
use std::time::Duration;

use super::{hosts, step, wish};
use crate::ops::backup::restore::Role;
use crate::ops::backup::{Folder, Rows};
use crate::plan::hooks::Hooks;
use crate::plan::{Desired, Purge, Refusal, Restore, RestoredDatabase, RestoredFolder, Stage, plan};
use crate::stack::{Hook, HookPlace, HookPoint};

pub(super) fn restore() -> Restore {
    Restore {
        snapshot: "3f9a1c22".repeat(8),
        named: "3f9a1c22, 2026-11-20 02:00".into(),
        database: Some(RestoredDatabase {
            path: "database/geoclic.dump".into(),
            bytes: 18_300_000,
            size: 40_000_000,
            migration: Some("002_photos.sql".into()),
            rows: vec![Rows { table: "demandes".into(), rows: 120_440, bytes: 9_000_000 }],
            roles: vec![Role { name: "lecteur".into(), login: true, password: Some("md5x".into()) }],
        }),
        folders: vec![RestoredFolder {
            folder: Folder::Volume("photos".into()),
            place: "files/volumes/photos".into(),
            only: Vec::new(),
            files: 5_000,
            bytes: 1_234_567_890,
        }],
        ..Restore::default()
    }
}

fn wished(restore: Restore) -> Desired {
    Desired { restore: Some(restore), ..wish::desired() }
}

fn shown(stage: Stage, desired: &Desired, host: &str) -> String {
    let plan = plan(stage, desired, &hosts::facts(host, desired)).unwrap();
    let mut out: String = plan.steps.iter().map(step).collect();
    if let Some(undo) = plan.undo {
        let titles: Vec<&str> = plan.steps[undo.critical].iter().map(|step| step.title.as_str()).collect();
        let _ = writeln!(out, "-- back to {} when one fails of: {}", undo.release, titles.join(", "));
        out.extend(undo.steps.iter().map(step));
    }
    out
}

fn refused(stage: Stage, desired: &Desired, host: &str) -> Refusal {
    plan(stage, desired, &hosts::facts(host, desired)).unwrap_err()
}

#[test]
fn a_whole_client_is_restored_in_place() {
    insta::assert_snapshot!("restore", shown(Stage::Restore, &wished(restore()), "current"));
}

/// They run within the step that saves the client, so its details tell of them; no other hook of the stack is among them.
#[test]
fn hooks_around_the_backup_that_it_begins_with_are_shown() {
    let hook = |point, place, word: &str| Hook {
        point,
        place,
        command: vec![word.to_owned()],
        timeout: Duration::from_secs(30),
    };
    let all = [
        hook(HookPoint::PreBackup, HookPlace::Service("api".into()), "freeze"),
        hook(HookPoint::PostBackup, HookPlace::Host, "thaw"),
        hook(HookPoint::PreUpdate, HookPlace::Host, "announce"),
        hook(HookPoint::OnFailure, HookPlace::Local, "alarm"),
    ];
    for (verb, stage) in [("restore", Stage::Restore), ("remove", Stage::Purge)] {
        let hooks = Hooks::of(&all, verb, "/fleet".into());
        assert!(hooks.failed.is_empty(), "a restore that fails is no update");
        let desired = match stage {
            Stage::Restore => Desired { hooks, ..wished(restore()) },
            _ => Desired { hooks, purge: Some(Purge { backup: true }), ..wish::desired() },
        };
        let plan = plan(stage, &desired, &hosts::facts("current", &desired)).unwrap();
        let shown: Vec<&str> = plan.steps[0].details.iter().skip(1).map(String::as_str).collect();
        assert_eq!(shown, ["pre_backup in api: freeze", "post_backup on the host: thaw"], "{verb}");
        assert!(!plan.steps.iter().any(|step| step.title.contains("hook")), "{verb}");
    }
}

#[test]
fn single_files_stop_nothing() {
    let mut only = Restore { database: None, unsafe_because: Some("one photo".into()), ..restore() };
    only.folders[0].only = vec!["2026/a.jpg".into()];
    let text = shown(Stage::Restore, &wished(only), "current");
    insta::assert_snapshot!("restore-files", text);
}

#[test]
fn a_new_host_is_filled_before_anything_serves() {
    let fresh = Restore { fresh: true, ..restore() };
    insta::assert_snapshot!("restore-new-host", shown(Stage::Restore, &wished(fresh), "bare-debian-13"));
}

/// Its data is elsewhere, all of it.
#[test]
fn a_new_host_of_a_client_without_data_only_notes_the_snapshot() {
    let fresh = Restore { fresh: true, database: None, folders: Vec::new(), ..restore() };
    let desired = wished(fresh);
    let steps = plan(Stage::Restore, &desired, &hosts::facts("cut-in-rollout", &desired)).unwrap().steps;
    let titles: Vec<&str> = steps.iter().map(|step| step.title.as_str()).collect();
    assert_eq!(titles, ["note which snapshot this is"]);
}

#[test]
fn what_a_cut_restore_left_goes_only_where_a_backup_holds_it() {
    let names =
        ["geoclic_restoring", "geoclic_before_20261119_010203_ab12", "geoclic_before_20261118_010203_cd34"];
    let known = Restore { backed_up: vec!["20261119-010203-ab12".into()], ..restore() };
    let desired = wished(known);
    let mut facts = hosts::facts("current", &desired);
    facts.leftovers = names.iter().map(|name| (*name).to_owned()).collect();
    let plan = plan(Stage::Restore, &desired, &facts).unwrap();
    let text: String = plan.steps.iter().map(step).collect();
    assert!(text.contains("a restore that was cut before it changed anything left one"), "{text}");
    assert!(text.contains("geoclic_before_20261119_010203_ab12, of a restore that was cut"), "{text}");
    assert!(text.contains("geoclic_before_20261118_010203_cd34 of an earlier restore stays"), "{text}");
    let last = plan.steps.last().unwrap();
    let super::Action::Run(cmd) = &last.action else { panic!("{text}") };
    assert!(cmd.line().contains("20261119_010203_ab12") && !cmd.line().contains("cd34"), "{}", cmd.line());
}

#[test]
fn an_older_database_comes_up_to_the_release_before_they_meet() {
    let mut old = restore();
    let desired = wished(restore());
    let facts = hosts::facts("current", &desired);
    let applied: Vec<&String> = facts.migrations.iter().flat_map(|applied| applied.keys()).collect();
    assert!(applied.len() >= 2, "{applied:?}");
    old.database.as_mut().unwrap().migration = Some(applied[0].clone());
    let titles = |restore: Restore| -> Vec<String> {
        let desired = wished(restore);
        let plan = plan(Stage::Restore, &desired, &facts).unwrap();
        plan.steps.into_iter().map(|step| step.title).filter(|title| title.starts_with("migrate")).collect()
    };
    let wanted: Vec<String> =
        applied[1..].iter().map(|name| format!("migrate {name} in the restored database")).collect();
    assert_eq!(titles(old.clone()), wanted);
    old.database.as_mut().unwrap().migration = applied.last().map(|name| (*name).clone());
    assert_eq!(titles(old), Vec::<String>::new());
}

#[test]
fn a_host_that_cannot_take_it_is_not_touched() {
    let hint = |desired: &Desired, host: &str| refused(Stage::Restore, desired, host);
    let whole = wished(restore());
    assert!(hint(&whole, "bare-debian-13").message.contains("no release serves"));
    assert!(hint(&whole, "database-down").message.contains("does not answer"));
    let fresh = wished(Restore { fresh: true, ..restore() });
    assert!(hint(&fresh, "current").message.contains("it is no new host"));
    let mut large = restore();
    large.folders[0].bytes = 1 << 50;
    assert!(hint(&wished(large), "current").message.contains("MiB left"));
    for (stage, desired) in [
        (Stage::Restore, whole),
        (Stage::Purge, Desired { purge: Some(Purge { backup: true }), ..wish::desired() }),
    ] {
        let facts = hosts::facts("current", &desired);
        let other = Desired { client: "ville-brest".into(), ..desired };
        let refusal = plan(stage, &other, &facts).unwrap_err();
        assert!(refusal.message.contains("another client"), "{refusal:?}");
    }
}

#[test]
fn a_stack_leaves_its_host() {
    let desired = Desired { purge: Some(Purge { backup: true }), ..wish::desired() };
    insta::assert_snapshot!("purge", shown(Stage::Purge, &desired, "current"));
    // A bare host has nothing of it, and one that was begun is not saved twice.
    let bare = hosts::facts("bare-debian-13", &desired);
    assert!(plan(Stage::Purge, &desired, &bare).unwrap().steps.is_empty());
    let mut begun = hosts::facts("current", &desired);
    begun.files.insert(
        "/opt/geoclic/purging".into(),
        crate::facts::FileFact { sha256: String::new(), mode: "600".into() },
    );
    let titles: Vec<String> =
        plan(Stage::Purge, &desired, &begun).unwrap().steps.into_iter().map(|step| step.title).collect();
    assert_eq!(titles[0], "stop what it does by itself", "{titles:?}");
}
