//! What was cut, empty or failed never becomes a snapshot; what is whole reads back.

use std::sync::atomic::Ordering;

use super::super::gate::Gate;
use super::super::manifest::Manifest;
use super::super::{BackupError, Depth, Place, Repository, verify};
use super::rig::{Act, Rig, Scripted, noise};

fn cut() -> BackupError {
    BackupError::Cut { what: "the database".into(), why: "connection lost".into() }
}

fn failed() -> BackupError {
    BackupError::Remote { what: "the database".into(), why: "pg_dump failed".into(), lines: vec![] }
}

fn empty() -> BackupError {
    BackupError::Empty { what: "the database".into() }
}

#[test]
fn what_is_whole_reads_back_with_its_true_sizes() {
    let rig = Rig::new();
    let written = rig.backup(&Rig::good()).unwrap();
    assert_eq!(rig.file("latest", "database/geoclic.dump"), noise(600_000, 1));
    assert_eq!(rig.file(&written.id[..8], "files/folders/b/c.jpg"), noise(10, 3));
    let repository = rig.open();
    let snapshot = repository.find("2026-11-20").unwrap();
    assert_eq!(
        (snapshot.id.as_str(), snapshot.number("dump"), snapshot.number("files")),
        (written.id.as_str(), None, Some(2))
    );
    let manifest = repository.browse().unwrap().manifest(&snapshot).unwrap();
    assert_eq!(manifest, written.manifest);
    // The tree of a stream says 0 (old restic writes an empty file by it); the manifest says the truth.
    let part = manifest.part("database/geoclic.dump").unwrap();
    assert_eq!(part.bytes, 600_000);
    assert_eq!(part.sha256, crate::shell::hex(&<sha2::Sha256 as sha2::Digest>::digest(noise(600_000, 1))));
    assert_eq!((manifest.files.files, manifest.files.read, manifest.bytes()), (2, 2, 600_007 + 300_010));
    let verified = verify(rig.open(), Depth::All).unwrap();
    assert_eq!((verified.damage, verified.snapshots), (vec![], 1));
}

type Fault<'a> = (&'a [u8], fn() -> BackupError);

/// Gotchas 1 to 3 of the library: each of these it would save as a good snapshot.
#[test]
fn a_dump_that_is_cut_empty_or_failed_becomes_no_snapshot() {
    let rig = Rig::new();
    rig.backup(&Rig::good()).unwrap();
    let faults: [Fault<'_>; 5] = [
        (&noise(500_000, 9), cut),
        (b"", cut),
        (b"", empty),
        (&noise(600_000, 9), failed),
        (b"short", failed),
    ];
    for (bytes, fault) in faults {
        let mut source = Rig::good();
        source.pieces.insert("database/geoclic.dump".into(), Act::Breaks(bytes.to_vec(), fault));
        let error = rig.backup(&source).unwrap_err();
        assert_eq!(error.to_string(), fault().to_string());
        assert_eq!(rig.count(), 1, "{error}");
    }
    // What was stored on the way is used by the next one.
    let written = rig.backup(&Rig::good()).unwrap();
    assert!(written.added < 20_000, "{}", written.added);
    assert_eq!(rig.file("latest", "database/geoclic.dump"), noise(600_000, 1));
}

#[test]
fn files_that_are_cut_or_cannot_be_listed_become_no_snapshot() {
    let rig = Rig::new();
    for cut in [0, 100, 512, 100_000, 301_000] {
        let error = rig.backup(&Scripted { cut: Some(cut), ..Rig::good() }).unwrap_err();
        assert!(matches!(error, BackupError::Cut { .. }), "{cut}: {error}");
    }
    let listing =
        Some((|| BackupError::Listing(crate::ops::backup::ListingError::Cut)) as fn() -> BackupError);
    let error = rig.backup(&Scripted { listing, ..Rig::good() }).unwrap_err();
    assert_eq!(error.to_string(), "the list of files was cut");
    assert_eq!(rig.count(), 0);
}

#[test]
fn a_file_that_vanished_meanwhile_is_counted_and_stops_nothing() {
    let rig = Rig::new();
    let written = rig.backup(&Scripted { vanished: vec!["a.jpg".into()], ..Rig::good() }).unwrap();
    assert_eq!((written.manifest.files.vanished, written.manifest.files.files), (1, 1));
    assert_eq!(rig.file("latest", "files/folders/b/c.jpg"), noise(10, 3));
    let repository = rig.open();
    let snapshot = repository.find("latest").unwrap();
    assert!(repository.browse().unwrap().node(&snapshot, "files/folders/a.jpg").is_err());
    // It is there again: the next backup has it.
    rig.backup(&Rig::good()).unwrap();
    assert_eq!(rig.file("latest", "files/folders/a.jpg"), noise(300_000, 2));
}

#[test]
fn files_that_did_not_change_are_not_read_again() {
    let rig = Rig::new();
    let source = Rig::good();
    rig.backup(&source).unwrap();
    assert_eq!(source.fetched.swap(0, Ordering::SeqCst), 2);
    let written = rig.backup(&source).unwrap();
    assert_eq!((source.fetched.swap(0, Ordering::SeqCst), written.manifest.files.read), (0, 0));
    assert_eq!(rig.file("latest", "files/folders/a.jpg"), noise(300_000, 2));
    let mut changed = source.clone();
    changed.files.insert("b/c.jpg".into(), (noise(10, 4), 1_600_000_000_000_000_001));
    changed.files.insert("b/d.jpg".into(), (noise(2_000_000, 5), 1));
    let written = rig.backup(&changed).unwrap();
    assert_eq!((source.fetched.load(Ordering::SeqCst), written.manifest.files.read), (2, 2));
    assert_eq!(rig.file("latest", "files/folders/b/c.jpg"), noise(10, 4));
    assert_eq!(rig.file("latest", "files/folders/b/d.jpg"), noise(2_000_000, 5));
    assert_eq!(rig.file("2026-11-20", "files/folders/b/c.jpg"), noise(10, 3));
}

/// Gotcha 4: without a time of its own a stream would be taken for unchanged and not read.
#[test]
fn a_dump_of_the_same_size_is_read_again() {
    let rig = Rig::new();
    rig.backup(&Rig::good()).unwrap();
    let mut source = Rig::good();
    source.pieces.insert("database/geoclic.dump".into(), Act::Whole(noise(600_000, 77)));
    rig.backup(&source).unwrap();
    assert_eq!(rig.file("latest", "database/geoclic.dump"), noise(600_000, 77));
}

#[test]
fn an_endless_stream_is_given_up() {
    let rig = Rig::new();
    let mut source = Rig::good();
    source.pieces.insert("database/geoclic.dump".into(), Act::Endless);
    let error = rig.backup(&source).unwrap_err();
    assert_eq!(error.to_string(), "the database is larger than 64 MiB");
    assert_eq!(rig.count(), 0);
}

/// Gotcha 8: a pack that is gone must not be deduplicated against.
#[test]
fn what_is_missing_from_a_damaged_repository_is_stored_again() {
    let rig = Rig::new();
    rig.backup(&Rig::good()).unwrap();
    for pack in rig.stored("data") {
        std::fs::remove_file(pack).unwrap();
    }
    assert!(!verify(rig.open(), Depth::Structure).unwrap().damage.is_empty());
    rig.backup(&Rig::good()).unwrap();
    assert_eq!(rig.file("latest", "database/geoclic.dump"), noise(600_000, 1));
    assert_eq!(rig.file("latest", "files/folders/a.jpg"), noise(300_000, 2));
}

/// A run that was killed between its packs and their index leaves data that only a search of all packs finds.
#[test]
fn what_a_cut_run_stored_counts_once_everybody_finds_it() {
    let rig = Rig::new();
    rig.backup(&Rig::good()).unwrap();
    for file in rig.stored("index").into_iter().chain(rig.stored("snapshots")) {
        std::fs::remove_file(file).unwrap();
    }
    let before = rig.stored("data").len();
    rig.backup(&Rig::good()).unwrap();
    let packs = rig.stored("data");
    assert!(packs.len() > before, "at least new trees");
    let bytes: u64 = packs.iter().map(|path| std::fs::metadata(path).unwrap().len()).sum();
    assert!(bytes < 1_000_000, "what was stored is not stored twice");
    // By the index alone.
    let (inner, ..) = rig.open().into_inner();
    let inner = inner.to_indexed().unwrap();
    let latest = inner.get_all_snapshots().unwrap().remove(0);
    let node = inner.node_from_snapshot_and_path(&latest, "database/geoclic.dump").unwrap();
    let mut dump = Vec::new();
    inner.dump(&node, &mut dump).unwrap();
    assert_eq!(dump, noise(600_000, 1));
    assert_eq!(verify(rig.open(), Depth::All).unwrap().damage, [""; 0]);
}

#[test]
fn a_flipped_byte_is_found_and_named() {
    let rig = Rig::new();
    rig.backup(&Rig::good()).unwrap();
    let mut packs = rig.stored("data");
    packs.sort_by_key(|path| std::fs::metadata(path).unwrap().len());
    let largest = packs.pop().unwrap();
    let mut bytes = std::fs::read(&largest).unwrap();
    bytes[1000] ^= 1;
    std::fs::write(&largest, bytes).unwrap();
    assert!(verify(rig.open(), Depth::Structure).unwrap().damage.is_empty());
    let damage = verify(rig.open(), Depth::All).unwrap().damage;
    let name = largest.file_name().unwrap().to_str().unwrap();
    assert!(damage.iter().any(|line| line.contains(&name[..8])), "{damage:?}");
    // Whoever restores from it hears of it too.
    let repository = rig.open();
    let snapshot = repository.find("latest").unwrap();
    let browser = repository.browse().unwrap();
    let read = ["database/geoclic.dump", "files/folders/a.jpg"]
        .map(|path| browser.dump(&browser.node(&snapshot, path).unwrap(), &mut Vec::new()).is_ok());
    assert!(read.contains(&false));
}

#[test]
fn a_wrong_key_is_told_from_damage() {
    let rig = Rig::new();
    rig.backup(&Rig::good()).unwrap();
    let place = Place::new("ville-lyon", rig.place.store().clone(), "another".into(), rig.place.lock.clone());
    let error = Repository::open(&place).err().unwrap();
    assert!(matches!(error, BackupError::WrongKey { .. }), "{error}");
    assert!(error.hint("ville-lyon").unwrap().contains("recovery copy"));
}

#[test]
fn two_at_once_are_refused_and_nothing_is_lost() {
    let rig = Rig::new();
    let _held = rig.place.lock().unwrap();
    let error = rig.backup(&Rig::good()).unwrap_err();
    assert!(matches!(error, BackupError::Lock(_)), "{error}");
}

/// A snapshot that some other program wrote, or that lost its manifest, is listed and never found.
#[test]
fn a_snapshot_that_fleet_did_not_commit_is_no_backup() {
    let rig = Rig::new();
    let written = rig.backup(&Rig::good()).unwrap();
    let (inner, _, _) = rig.open().into_inner();
    let mut files = inner.get_all_snapshots().unwrap();
    let mut foreign = files.pop().unwrap();
    foreign.time =
        "2027-01-01T00:00:00Z".parse::<jiff::Timestamp>().unwrap().to_zoned(jiff::tz::TimeZone::UTC);
    foreign.tags = "client=ville-lyon".parse().unwrap();
    inner.save_snapshots(vec![foreign.clone()]).unwrap();
    // And one that says it is complete, with the manifest of another tree.
    foreign.tags = "fleet-complete,manifest=0000".parse().unwrap();
    inner.save_snapshots(vec![foreign]).unwrap();
    let repository = rig.open();
    let all = repository.snapshots().unwrap();
    assert_eq!(all.iter().filter(|snapshot| snapshot.complete).count(), 2);
    assert_eq!(all.len(), 3);
    let liar = repository.find("latest").unwrap();
    assert_ne!(liar.id, written.id);
    let error = repository.browse().unwrap().manifest(&liar).unwrap_err();
    assert!(matches!(error, BackupError::Incomplete { .. }), "{error}");
}

#[test]
fn one_that_is_given_up_becomes_no_snapshot() {
    let rig = Rig::new();
    let gate = Gate::default();
    gate.fail(BackupError::Stopped);
    let error = rig.backup_at(&Rig::good(), jiff::Timestamp::now(), &gate).unwrap_err();
    assert!(matches!(error, BackupError::Stopped), "{error}");
    assert_eq!(rig.count(), 0);
}

#[test]
fn a_client_without_a_database_or_without_files_is_saved_too() {
    let rig = Rig::new();
    let mut source = Rig::good();
    source.pieces.remove("database/geoclic.dump");
    rig.backup(&source).unwrap();
    source.files.clear();
    let written = rig.backup(&source).unwrap();
    assert_eq!(written.manifest.files.files, 0);
    let read: Manifest = serde_json::from_slice(&rig.file("latest", "manifest.json")).unwrap();
    assert!(read.complete);
}

#[test]
fn a_storage_that_cannot_be_written_becomes_no_snapshot() {
    let rig = Rig::new();
    rig.backup(&Rig::good()).unwrap();
    let data = rig.dir.path().join("repository/data");
    std::fs::remove_dir_all(&data).unwrap();
    std::fs::write(&data, b"no folder").unwrap();
    let error = rig.backup(&Rig::good()).unwrap_err();
    assert!(matches!(error, BackupError::Storage(_)), "{error}");
    std::fs::remove_file(&data).unwrap();
    assert_eq!(rig.count(), 1);
}
