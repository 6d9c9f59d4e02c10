//! Retention and prune on real repositories.

use jiff::Timestamp;

use super::super::retention::{carry_out, plan};
use super::super::{Depth, verify};
use super::rig::{Act, Rig, noise};
use crate::registry::Keep;

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

#[test]
fn old_snapshots_go_and_the_rest_reads_back() {
    let rig = Rig::new();
    for night in 0..6 {
        let mut source = Rig::good();
        source.pieces.insert("database/geoclic.dump".into(), Act::Whole(noise(300_000, night)));
        rig.backup(&source).unwrap();
    }
    let keep = Keep { daily: Some(2), ..Keep::default() };
    let now = at("2026-11-26T00:00:00Z");
    let proved = rig.open().find("2026-11-21").unwrap().id;
    let planned = plan(&rig.open(), &keep, Some(&proved), now).unwrap();
    assert_eq!((planned.forgotten.len(), planned.kept), (3, 3));
    let packs = rig.stored("data").len();
    carry_out(&rig.open(), &planned).unwrap();
    assert_eq!(rig.count(), 3);
    // In two phases: what is not needed is marked now and deleted a day later.
    assert!(rig.stored("data").len() >= packs);
    assert_eq!(rig.file("2026-11-21", "database/geoclic.dump"), noise(300_000, 1));
    assert_eq!(rig.file("latest", "database/geoclic.dump"), noise(300_000, 5));
    assert_eq!(verify(rig.open(), Depth::All).unwrap().damage, Vec::<String>::new());
    // The second time there is nothing to do.
    assert_eq!(plan(&rig.open(), &keep, Some(&proved), now).unwrap().forgotten, Vec::<String>::new());
}

/// Gotcha 9.
#[test]
fn a_snapshot_of_the_future_stops_all_forgetting() {
    let rig = Rig::new();
    (0..3).for_each(|_| drop(rig.backup(&Rig::good()).unwrap()));
    let keep = Keep { last: Some(1), ..Keep::default() };
    let error = plan(&rig.open(), &keep, None, at("2026-11-21T12:00:00Z")).unwrap_err();
    assert!(error.to_string().contains("is in the future"), "{error}");
    assert_eq!(rig.count(), 3);
}
