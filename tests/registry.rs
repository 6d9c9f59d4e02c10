//! Sample registries: each in `tests/registries/valid` becomes the values beside it, each in
//! `invalid` is refused with exactly the words beside it.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use fleet::diagnostic::Diagnostics;
use fleet::registry::Registry;

fn folder(kind: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/registries").join(kind)
}

/// Names of the samples of a folder, without their ending.
fn names(kind: &str, ending: &str) -> BTreeSet<String> {
    let files = std::fs::read_dir(folder(kind)).unwrap();
    let name = |file: std::io::Result<std::fs::DirEntry>| file.unwrap().file_name().into_string().unwrap();
    files.map(name).filter_map(|name| Some(name.strip_suffix(ending)?.to_owned())).collect()
}

fn read(kind: &str, name: &str) -> Result<Registry, Diagnostics> {
    let text = std::fs::read_to_string(folder(kind).join(format!("{name}.toml"))).unwrap();
    Registry::parse(&text, "clients.toml")
}

/// Compares with the snapshot beside each sample, all samples before it fails.
fn check_all(kind: &str, show: impl Fn(&str) -> String) {
    let mut settings = insta::Settings::new();
    settings.set_snapshot_path(folder(kind));
    settings.set_prepend_module_to_snapshot(false);
    settings.set_omit_expression(true);
    let mut differing = Vec::new();
    for name in names(kind, ".toml") {
        let shown = show(&name);
        let same = || settings.bind(|| insta::assert_snapshot!(name.as_str(), shown));
        if std::panic::catch_unwind(std::panic::AssertUnwindSafe(same)).is_err() {
            differing.push(name);
        }
    }
    assert!(differing.is_empty(), "these differ from their snapshots: {differing:?}");
    let orphans: Vec<_> = names(kind, ".snap").difference(&names(kind, ".toml")).cloned().collect();
    assert!(orphans.is_empty(), "snapshots without a sample: {orphans:?}");
}

#[test]
fn good_registries_become_their_values() {
    check_all("valid", |name| match read("valid", name) {
        Ok(registry) => serde_json::to_string_pretty(&registry.to_json(false)).unwrap(),
        Err(found) => panic!("{name} is refused:\n{found}"),
    });
}

#[test]
fn bad_registries_are_refused_with_exactly_these_words() {
    check_all("invalid", |name| match read("invalid", name) {
        Ok(_) => panic!("{name} is accepted"),
        Err(found) => found.to_string(),
    });
}

#[test]
fn no_refusal_shows_a_value_that_may_be_secret() {
    let planted: Vec<_> = names("invalid", ".toml")
        .into_iter()
        .filter(|name| {
            std::fs::read_to_string(folder("invalid").join(format!("{name}.toml")))
                .unwrap()
                .contains("s3cr3t")
        })
        .collect();
    assert!(planted.len() > 10, "the search finds the samples that hold one");
    for name in planted {
        let found = read("invalid", &name).unwrap_err().to_string();
        assert!(!found.contains("s3cr3t"), "{name} shows it:\n{found}");
    }
}

#[test]
fn findings_come_all_at_once_in_the_order_of_the_file() {
    for name in names("invalid", ".toml") {
        let found = read("invalid", &name).unwrap_err().0;
        let places: Vec<_> = found.iter().map(|diagnostic| diagnostic.position).collect();
        assert!(places.is_sorted(), "{name}: {places:?}");
    }
    assert_eq!(read("invalid", "all-at-once-in-order").unwrap_err().0.len(), 12);
}
