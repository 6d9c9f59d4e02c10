//! The same hosts that plans are made for, as records.

use super::*;
use crate::plan::tests::{hosts, wish};

fn expected() -> Expected {
    Expected {
        domain: wish::DOMAIN.into(),
        judged: Wanted {
            client: "ville-lyon".into(),
            stack: "geoclic".into(),
            http_status: Some(200),
            tls: true,
            dumps: true,
            sentry_path: Some("sentry".into()),
            ..Wanted::default()
        },
        sentry_path: Some("sentry".into()),
    }
}

fn status(host: &str) -> Status {
    Status::of(&expected(), &hosts::facts(host, &wish::desired()), 0.25, None)
}

#[test]
fn each_host_has_its_problems() {
    let mut out = String::new();
    for name in hosts::NAMES {
        let status = status(name);
        assert_eq!(status.well(), status.problems.is_empty(), "{name}");
        out.push_str(&format!("{name}: {}\n", status.problems.join("; ")));
    }
    insta::assert_snapshot!(out);
}

#[test]
fn the_record_of_a_well_client() {
    insta::assert_json_snapshot!(status("current"));
}

#[test]
fn the_record_of_a_client_that_was_not_reached() {
    let hint = Some("fleet test-ssh ville-lyon".to_owned());
    insta::assert_json_snapshot!(Status::unreachable(&expected(), "connection refused".into(), hint, 1.5));
}

#[test]
fn the_worst_comes_first() {
    let desired = wish::desired();
    let text = hosts::text("database-down", &desired)
        .replace("disk_free\t30436173", "disk_percent\t97\ndisk_free\t0")
        .replace("served_serial\t05F1", "served_serial\t06")
        .replace(
            "backup\t1793930400 ok nightly-20261120-020000 18432",
            "backup\t1793930400 failed no space left",
        )
        .replace("end\tok", "reboot_required\tyes\nreboot_since\t1790000000\nend\tok");
    let facts = Facts::parse(text.as_bytes()).unwrap();
    let status = Status::of(&expected(), &facts, 0.25, None);
    insta::assert_snapshot!(status.problems.join("\n"));
}

/// Numbers of any size, and text that moves cursors, come from hosts that are not ours to trust.
#[test]
fn a_hostile_host_makes_a_record_and_no_mess() {
    let status = status("hostile");
    let text = serde_json::to_string(&status).unwrap();
    assert!(!text.contains("\\u001b") && !text.contains('\u{202e}'), "{text}");
    assert!(status.disk_percent.is_none_or(|percent| percent <= 100));
    assert_eq!(status.http.map(|http| http.status), None);
}

#[test]
fn an_old_dump_keeps_its_age() {
    let facts = Facts::parse(b"clock\t1000000\nbackup\t900000 ok nightly\nend\tok\n").unwrap();
    let backup = Status::of(&expected(), &facts, 0.0, None).backup.unwrap();
    assert_eq!((backup.age_hours, backup.ok, backup.detail.as_str()), (27, true, "nightly"));
}
