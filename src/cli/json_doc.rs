//! `docs/json.md` against what is printed: each example parses, and has the fields of the real thing.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use crate::check::Wanted;
use crate::engine;
use crate::event::{Event, json_tests};
use crate::facts::State;
use crate::plan::tests::{hosts, wish};
use crate::registry::Registry;
use crate::status::{Expected, Pulled, Status};

const DOC: &str = include_str!("../../docs/json.md");

/// The objects of all examples, by schema.
fn examples() -> BTreeMap<String, Vec<Value>> {
    let mut found: BTreeMap<String, Vec<Value>> = BTreeMap::new();
    for block in DOC.split("```json\n").skip(1) {
        let text = block.split("```").next().unwrap();
        for value in serde_json::Deserializer::from_str(text).into_iter::<Value>() {
            let value = value.unwrap_or_else(|error| panic!("{error} in {text}"));
            let schema = value["schema"].as_str().unwrap_or_else(|| panic!("no schema: {value}")).to_owned();
            found.entry(schema).or_default().push(value);
        }
    }
    found
}

/// The one example of a schema.
fn example(schema: &str) -> Value {
    let mut list = examples().remove(schema).unwrap();
    assert_eq!(list.len(), 1, "{schema}");
    list.remove(0)
}

/// Paths of all fields, without the values; `null` is a field.
fn fields(value: &Value, at: &str, out: &mut BTreeSet<String>) {
    match value {
        Value::Object(map) => {
            for (key, value) in map {
                let path = format!("{at}.{key}");
                fields(value, &path, out);
                out.insert(path);
            }
        }
        Value::Array(list) => list.iter().for_each(|value| fields(value, at, out)),
        _ => {}
    }
}

fn same_fields(schema: &str, real: &Value, free: &[&str]) {
    let of = |value: &Value| {
        let mut out = BTreeSet::new();
        fields(value, "", &mut out);
        out.retain(|path| !free.iter().any(|begin| path.starts_with(begin)));
        out
    };
    assert_eq!(of(&example(schema)), of(real), "{schema}");
}

/// Every schema that the code names, except in tests.
fn schemas(folder: &std::path::Path, out: &mut BTreeSet<String>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            schemas(&path, out);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = std::fs::read_to_string(&path).unwrap();
            for rest in text.split("\"fleet.").skip(1) {
                let Some(name) = rest.split('"').next() else { continue };
                if name.ends_with("/1") {
                    out.insert(format!("fleet.{name}"));
                }
            }
        }
    }
}

#[test]
fn every_schema_has_an_example_and_no_other_is_told_of() {
    let mut known = BTreeSet::new();
    schemas(std::path::Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/src")), &mut known);
    assert!(known.len() > 10, "{known:?}");
    assert_eq!(examples().into_keys().collect::<BTreeSet<_>>(), known);
}

#[test]
fn the_events_are_events() {
    let list = examples().remove("fleet.event/1").unwrap();
    for value in &list {
        let event: Event = serde_json::from_value(value.clone()).unwrap();
        assert_eq!(serde_json::to_value(&event).unwrap(), *value);
    }
    // Every kind and outcome is in the tables, every kind in the example.
    for event in json_tests::one_of_each() {
        let value = serde_json::to_value(&event).unwrap();
        let kind = value["type"].as_str().unwrap();
        assert!(DOC.contains(&format!("\n| `{kind}` |")), "{kind}");
        if let Some(outcome) = value["outcome"].as_str() {
            assert!(DOC.contains(&format!("\n| `{outcome}` |")), "{outcome}");
        }
        assert!(list.iter().any(|value| value["type"] == kind), "{kind}");
    }
}

#[test]
fn the_state_is_the_state() {
    let value = example("fleet.state/1");
    let state: State = serde_json::from_value(value.clone()).unwrap();
    assert_eq!(serde_json::to_value(state).unwrap(), value);
}

#[test]
fn what_is_said_of_sentry_has_its_fields() {
    use crate::status::sentry::{Application, Last, Problem, Sentry, Server};
    let text = "[fleet]\nname = 'f'\nstack = 's'\n[clients.a]\ndomain = 'a.example.fr'\nip = '192.0.2.1'\n";
    let registry = Registry::parse(text, "x").unwrap();
    let mut real = Sentry::configured(&registry.clients[0]);
    real.application = Some(Application::default());
    real.server = Some(Server { last: Some(Last::default()), ..Server::default() });
    real.add(Problem::new("", ""));
    same_fields("fleet.sentry/1", &serde_json::to_value(&real).unwrap(), &[]);
}

#[test]
fn the_status_has_its_fields() {
    let expected = Expected {
        domain: wish::DOMAIN.into(),
        judged: Wanted {
            client: "ville-lyon".into(),
            http_status: Some(200),
            tls: true,
            ..Wanted::default()
        },
        sentry_path: Some("sentry".into()),
    };
    let pulled = Pulled {
        at: String::new(),
        age_hours: 0,
        snapshot: String::new(),
        proved: None,
        failure: None,
        disproof: None,
    };
    let facts = hosts::facts("current", &wish::desired());
    let status = Status::of(&expected, &facts, 0.4, None).with_pulled(Some(pulled));
    same_fields("fleet.status/1", &serde_json::to_value(status).unwrap(), &[]);
}

#[test]
fn the_client_has_its_fields() {
    let text = "[fleet]\nname = \"a\"\nstack = \"geoclic\"\n[clients.b]\ndomain = \"b.example.org\"\nip = \"51.210.42.100\"\n";
    let registry = Registry::parse(text, "clients.toml").unwrap();
    same_fields("fleet.client/1", &registry.clients[0].to_json(false), &[".env."]);
}

#[test]
fn the_error_has_its_fields() {
    let error = Registry::parse("[fleet]\nname = 3\n", "clients.toml").unwrap_err();
    same_fields("fleet.error/1", &crate::ui::error::to_json(&anyhow::Error::new(error)), &[]);
}

#[tokio::test]
async fn the_plan_has_its_fields() {
    let (host, run) = engine::tests::surveyed().await;
    same_fields("fleet.plan/1", &super::preview::record(&host, &run), &[]);
}
