//! What hosts have, and what is said of the difference.

use std::fmt::Write as _;

use super::compose::Compose;
use super::*;
use crate::facts::OldFile;
use crate::plan::tests::{hosts, wish};
use crate::secret::Secret;

fn redactor() -> Redactor {
    let (now, former) = (Secret::from(wish::SECRET), Secret::from(wish::FORMER));
    Redactor::new([("DB_PASSWORD", &now), ("DB_PASSWORD", &former)])
}

fn shown(changes: &Changes) -> String {
    let mut out = String::new();
    for file in &changes.files {
        let Diff { added, removed, note, .. } = &file.diff;
        let _ = writeln!(
            out,
            "{:?} {} +{added} -{removed} {}",
            file.kind,
            file.path,
            note.as_deref().unwrap_or("")
        );
        for line in &file.diff.lines {
            let _ = writeln!(out, "    {line}");
        }
    }
    for change in &changes.services {
        let image = |image: &Option<Image>| {
            image.as_ref().map(|it| format!("{} {:?} {:?}", it.name, it.id, it.digest))
        };
        let (from, to) = (image(&change.from), image(&change.to));
        let _ = writeln!(out, "{} {}: {}", change.action.word(), change.service, change.why.join("; "));
        let _ = writeln!(out, "    {} -> {}", from.unwrap_or_default(), to.unwrap_or_default());
    }
    let _ = writeln!(out, "migrations: {}", changes.migrations.join(" "));
    out
}

fn of(host: &str) -> String {
    let desired = wish::desired();
    shown(&super::of(&desired, &hosts::facts(host, &desired), &redactor()))
}

#[test]
fn what_changes_is_shown_with_its_reasons_and_no_secret() {
    let text = of("older-files");
    insta::assert_snapshot!(text);
    assert!(!text.contains(wish::SECRET) && !text.contains(wish::FORMER), "{text}");
}

#[test]
fn what_a_hostile_host_says_shows_no_secret_and_moves_no_cursor() {
    let text = of("older-hostile");
    insta::assert_snapshot!(text);
    for secret in [wish::SECRET, wish::FORMER, "nobody-here-knows", "Unknown-9", "unknownkeymaterial"] {
        assert!(!text.contains(secret), "{secret}: {text}");
    }
    assert!(text.chars().all(|char| char == '\n' || !char.is_control()), "{text}");
}

#[test]
fn a_host_that_is_as_wanted_or_bare_has_no_differences() {
    let desired = wish::desired();
    let mut current = super::of(&desired, &hosts::facts("older-release", &desired), &redactor());
    current.files.retain(|file| file.kind != Kind::New);
    assert_eq!(current.files, []);
    let bare = super::of(&desired, &hosts::facts("bare-debian-13", &desired), &redactor());
    assert!(bare.files.iter().all(|file| file.kind == Kind::New && file.diff.lines.is_empty()), "{bare:?}");
    assert!(bare.services.iter().all(|change| change.why == ["first release"]), "{bare:?}");
}

#[test]
fn a_service_is_not_called_changed_by_a_variable_that_it_does_not_use() {
    let mut desired = wish::desired();
    desired.release.password = None;
    let mut facts = hosts::facts("older-files", &desired);
    let old = |text: String| OldFile { size: text.len() as u64, content: text.into_bytes().into() };
    facts.old.insert(".env".into(), old(format!("DB_PASSWORD={}\nSENTRY_ENVIRONMENT=x\n", wish::SECRET)));
    let compose = wish::COMPOSE.replace("geoclic/api:0a1b2c", "geoclic/api:00ff00");
    facts.old.insert("docker-compose.yml".into(), old(compose));
    let changes = super::of(&desired, &facts, &redactor());
    let what: Vec<_> = changes.services.iter().map(|it| (it.service.as_str(), it.action)).collect();
    let wanted = [("nginx", Action::Nothing), ("api", Action::Rebuild), ("database", Action::Nothing)];
    assert_eq!(what, wanted);
    assert_eq!(replaces(&desired, &facts, "api"), Some(true));
    assert_eq!(replaces(&desired, &facts, "nginx"), Some(false));
    // The Compose file as it is: nothing is replaced, and the plan has no such step.
    facts.old.remove("docker-compose.yml");
    assert_eq!(replaces(&desired, &facts, "api"), Some(false));
}

#[test]
fn large_binary_and_endless_files_are_counted_and_not_shown() {
    let mut desired = wish::desired();
    let mut facts = hosts::facts("older-files", &desired);
    let mut note = |content: Vec<u8>, size: u64| {
        facts.old.insert("docker-compose.yml".into(), OldFile { content: content.into(), size });
        super::of(&desired, &facts, &redactor()).files[0].diff.clone()
    };
    assert_eq!(note(b"services: {}".to_vec(), 70_000).note.unwrap(), "too large on the host to be compared");
    assert_eq!(note(b"a\0b".to_vec(), 3).note.unwrap(), "not text");
    assert_eq!(note(b"\n".repeat(60_000), 60_000).note.unwrap(), "too many lines to be compared");
    let long = format!("{}\n", "x".repeat(60_000)).into_bytes();
    let diff = note(long.clone(), long.len() as u64);
    assert!(diff.lines.iter().all(|line| line.len() <= 303), "{:?}", diff.lines);
    let many: String = (0..3000).map(|n| format!("line {n}\n")).collect();
    let diff = note(many.clone().into_bytes(), many.len() as u64);
    assert_eq!((diff.lines.len(), diff.removed), (200, 3000));
    assert!(diff.note.unwrap().ends_with("lines more"));
    // A file that others may read is compared whatever it holds.
    desired.release.files[0].content = vec![0];
    let diff = super::of(&desired, &facts, &redactor()).files[0].diff.clone();
    assert_eq!(diff.note.unwrap(), "not text");
}

#[test]
fn a_compose_file_without_measure_is_not_read() {
    assert!(Compose::read("[".repeat(5000).as_bytes()).is_none());
    assert!(Compose::read(format!("services: [{}]", "a,".repeat(30_000)).as_bytes()).is_none());
    for broken in ["", "x", "services:\n\t- a", "services: *nobody", "a: 1\n--- \nb: 2", "\u{0}"] {
        assert!(Compose::read(broken.as_bytes()).is_none(), "{broken}");
    }
    let merged = "x: &x {a: 1, b: 1}\nservices:\n  z: {<<: [*x], b: 2}\n  a: {a: 1, b: 2}\n";
    let compose = Compose::read(merged.as_bytes()).unwrap();
    let names: Vec<&str> = compose.services.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["z", "a"], "in the order of the file");
    let digest = |name| compose.service(name).unwrap().digest;
    assert_eq!(digest("z"), digest("a"), "a merge is what it merges");
}
