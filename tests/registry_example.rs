//! `clients.toml.example` is the reference of the registry: it is one, and it has every key.
//!
//! The keys are not listed here but asked of the reader itself: an unknown key in a table is
//! refused with the names of all that are known there.

use std::collections::BTreeSet;

use fleet::registry::Registry;
use toml::Value;

const EXAMPLE: &str = include_str!("../clients.toml.example");

/// A key that no table knows and that is near to none.
const STRANGE: &str = "zzzzzzzzzzzzzzzz";

/// What is said of a key that the table at a path does not know; nothing where it takes any key.
fn hint_for(path: &str, key: &str) -> Option<String> {
    let mut text = format!("{path}.{key} = 1\n");
    if !path.starts_with("fleet") {
        text.push_str("fleet = { name = 'f', stack = 's' }\n");
    }
    let found = Registry::parse(&text, "x").err()?.0;
    let path = format!("{path}.{key}");
    found.into_iter().find(|one| one.key == path && one.fault.message == "unknown key")?.fault.hint
}

/// The keys that the table at a path may hold; none where the path is no table of known keys.
fn known_keys(path: &str) -> Vec<String> {
    let Some(hint) = hint_for(path, STRANGE) else { return Vec::new() };
    let names = hint.strip_prefix("known here: ").expect("the key is near to none");
    names.split(", ").map(str::to_owned).collect()
}

/// Every key at and below a path, tables followed.
fn schema(path: &str) -> BTreeSet<String> {
    let mut all = BTreeSet::new();
    for key in known_keys(path) {
        let path = format!("{path}.{key}");
        all.extend(schema(&path));
        all.insert(path);
    }
    all
}

fn has(root: &Value, path: &str) -> bool {
    path.split('.').try_fold(root, |value, key| value.get(key)).is_some()
}

#[test]
fn the_example_is_a_registry() {
    let registry = Registry::parse(EXAMPLE, "clients.toml.example").unwrap_or_else(|found| panic!("{found}"));
    let lyon = registry.client("ville-lyon").unwrap();
    assert_eq!((lyon.user.as_str(), lyon.sentry.environment.as_str()), ("ubuntu", "ville-lyon"));
    let marseille = registry.client("ville-marseille").unwrap();
    assert_eq!((marseille.user.as_str(), marseille.backup.keep.weekly), ("debian", Some(8)));
    assert_eq!(registry.stack_of(lyon), "geoclic");
    assert_eq!(registry.stack_of(marseille), "stacks/geoclic-next");
}

#[test]
fn the_example_has_every_key_of_the_schema() {
    // A repository is in one kind of place: what opens the other kind is there as a comment.
    let whole = EXAMPLE.replace("\n#rest = ", "\nrest = ");
    assert_ne!(whole, EXAMPLE);
    let example: Value = toml::from_str(&whole).unwrap();
    let fleet = schema("fleet");
    let client = schema("clients.x");
    // The search finds keys at every depth.
    for path in ["fleet.docker.registry_mirrors", "fleet.firewall"] {
        assert!(fleet.contains(path), "{path} in {fleet:?}");
    }
    assert!(client.contains("clients.x.backup.keep.yearly"), "{client:?}");
    assert!(fleet.len() + client.len() > 45);

    let in_some_client = |path: &String| {
        ["ville-lyon", "ville-marseille"]
            .iter()
            .any(|name| has(&example, &path.replacen(".x.", &format!(".{name}."), 1)))
    };
    // A secret is named in one of two places.
    let in_fleet = |path: &String| {
        let other = path.strip_suffix(".env").map(|key| format!("{key}.secret"));
        has(&example, path) || other.is_some_and(|other| has(&example, &other))
    };
    let absent: Vec<_> = fleet
        .iter()
        .filter(|path| !in_fleet(path))
        .chain(client.iter().filter(|path| !in_some_client(path)))
        .collect();
    assert!(absent.is_empty(), "not in clients.toml.example: {absent:?}");
}

#[test]
fn defaults_hold_any_key_of_a_client() {
    let of_defaults: Vec<_> =
        schema("defaults").iter().map(|path| path.replacen("defaults.", "", 1)).collect();
    let of_client: Vec<_> =
        schema("clients.x").iter().map(|path| path.replacen("clients.x.", "", 1)).collect();
    assert_eq!(of_defaults, of_client);
}

#[test]
fn a_key_in_the_wrong_table_is_sent_to_the_right_one() {
    let (fleet, client) = (known_keys("fleet"), known_keys("clients.x"));
    let misplaced = |keys: &[String], known: &[String], table: &str, place: &str| {
        for key in keys.iter().filter(|key| !known.contains(key)) {
            assert_eq!(hint_for(table, key), Some(format!("`{key}` belongs in {place}")));
        }
    };
    misplaced(&client, &fleet, "fleet", "[defaults], or in a client's own table");
    misplaced(&fleet, &client, "clients.x", "[fleet]");
    misplaced(&fleet, &client, "defaults", "[fleet]");
}
