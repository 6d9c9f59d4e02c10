use std::collections::{BTreeMap, BTreeSet};

use super::*;
use crate::check::Wanted;
use crate::plan::tests::{hosts, wish};
use crate::status::{Expected, Pulled};

fn expected(client: &str) -> Expected {
    let judged = Wanted {
        client: client.into(),
        stack: "geoclic".into(),
        http_status: Some(200),
        tls: true,
        dumps: true,
        sentry_path: Some("sentry".into()),
        ..Wanted::default()
    };
    Expected { domain: "x.example.fr".into(), judged, sentry_path: Some("sentry".into()) }
}

fn list() -> Vec<Status> {
    let of =
        |client: &str, host| Status::of(&expected(client), &hosts::facts(host, &wish::desired()), 0.25, None);
    let pulled = Pulled {
        at: "2026-11-05T20:00:00Z".into(),
        age_hours: 13,
        snapshot: "3f9a".into(),
        proved: None,
        failure: None,
        disproof: None,
    };
    let mut odd = of("odd", "hostile");
    odd.sentry = Some(crate::status::Sentry { status: "a\"b\\c".into(), environment: Some("d\ne".into()) });
    vec![
        of("ville-lyon", "current").with_pulled(Some(pulled)),
        odd,
        Status::unreachable(&expected("brest"), "no answer".into(), None, 10.0),
    ]
}

/// The text form as its description has it, read strictly: samples by name and labels.
fn read(text: &str) -> BTreeMap<String, f64> {
    let name_like = |name: &str| {
        let first = name.chars().next().is_some_and(|c| c.is_ascii_alphabetic() || c == '_');
        first && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
    };
    let (mut found, mut seen, mut family) = (BTreeMap::new(), BTreeSet::new(), String::new());
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        if let Some(help) = line.strip_prefix("# HELP ") {
            let (name, words) = help.split_once(' ').expect("a help text");
            assert!(
                name_like(name) && !words.is_empty() && seen.insert(name.to_owned()),
                "{line}: a family has one head"
            );
            assert_eq!(lines.next(), Some(format!("# TYPE {name} gauge").as_str()));
            family = name.to_owned();
            continue;
        }
        let (series, value) = line.rsplit_once(' ').expect("a value");
        let (name, labels) = series.split_once('{').unwrap_or((series, "}"));
        assert_eq!(name, family, "a sample stands below its own head");
        let mut rest = labels.strip_suffix('}').expect("an end of the labels");
        while !rest.is_empty() {
            let (label, quoted) = rest.split_once("=\"").expect("a label");
            assert!(name_like(label), "{line}");
            let mut end = 0;
            let bytes = quoted.as_bytes();
            while bytes[end] != b'"' {
                end += if bytes[end] == b'\\' { 2 } else { 1 };
            }
            rest = quoted[end + 1..].trim_start_matches(',');
        }
        let value: f64 = value.parse().expect("a number");
        assert!(
            value.is_finite() && found.insert(series.to_owned(), value).is_none(),
            "{line}: a series is there once"
        );
    }
    found
}

#[test]
fn every_line_is_in_the_form_that_collectors_read() {
    let text = render(&list(), Timestamp::from_second(1_793_960_000).unwrap());
    let found = read(&text);
    for (series, value) in [
        ("fleet_client_reachable{client=\"ville-lyon\"}", 1.0),
        ("fleet_client_reachable{client=\"brest\"}", 0.0),
        ("fleet_client_well{client=\"brest\"}", 0.0),
        ("fleet_check_failing{client=\"brest\",check=\"host\"}", 1.0),
        ("fleet_check_failing{client=\"ville-lyon\",check=\"http\"}", 0.0),
        ("fleet_http_status{client=\"ville-lyon\"}", 200.0),
        ("fleet_certificate_served{client=\"ville-lyon\"}", 1.0),
        ("fleet_backup_timestamp_seconds{client=\"ville-lyon\"}", 1_793_908_800.0),
        ("fleet_sentry_info{client=\"odd\",status=\"a\\\"b\\\\c\",environment=\"d\\ne\"}", 1.0),
        ("fleet_look_timestamp_seconds", 1_793_960_000.0),
    ] {
        assert_eq!(found.get(series), Some(&value), "{series}\n{text}");
    }
    assert!(
        !found.contains_key("fleet_disk_used_ratio{client=\"brest\"}"),
        "what is not known has no sample"
    );
    assert!(!text.contains('\u{1b}'), "{text}");
}

#[test]
fn each_metric_is_in_the_manual() {
    let manual = include_str!("../../../docs/monitoring.md");
    for (name, ..) in FAMILIES {
        assert!(manual.contains(&format!("`{name}")), "docs/monitoring.md has no {name}");
    }
}

/// Prometheus' own judgement, where its Debian package is there.
#[test]
fn promtool_has_nothing_to_say() {
    use std::io::Write as _;
    use std::process::{Command, Stdio};
    let promtool = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let Ok(mut child) = promtool else { return };
    let text = render(&list(), Timestamp::from_second(1_793_960_000).unwrap());
    child.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let said =
        String::from_utf8_lossy(&output.stderr).into_owned() + &String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && said.is_empty(), "{said}");
}
