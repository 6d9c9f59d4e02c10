//! What a snapshot gives back is what it was given, whole or not at all.

use std::io::Read as _;
use std::os::unix::fs::MetadataExt as _;
use std::process::Command;

use tokio::sync::mpsc::channel;

use super::super::{Opened, Shelf};
use super::rig::{Rig, noise};
use crate::engine::Stock as _;
use crate::ops::backup::restore::Parcel;
use crate::ssh::Piece;

fn opened(rig: &Rig) -> Opened {
    let repository = rig.open();
    let snapshot = repository.find("latest").unwrap();
    let browser = repository.browse().unwrap();
    let manifest = browser.manifest(&snapshot).unwrap();
    Opened { browser, snapshot, manifest, client: "ville-lyon".into() }
}

type Given = (Result<(), Option<(String, Option<String>)>>, Vec<u8>, bool);

/// What a parcel gives: its end, the bytes as they were packed, and whether it says that it is whole.
fn given(opened: Opened, parcel: &Parcel) -> Given {
    let shelf = Shelf { opened: Some(opened), save: None };
    let (sender, mut pieces) = channel(2);
    let taking = std::thread::spawn(move || {
        let (mut bytes, mut whole) = (Vec::new(), false);
        while let Some(piece) = pieces.blocking_recv() {
            match piece {
                Piece::Data(piece) => bytes.extend_from_slice(&piece),
                Piece::End => whole = true,
            }
        }
        (bytes, whole)
    });
    let mut told = Vec::new();
    let result = shelf.give(parcel, &sender, &mut |done, total| told.push((done, total)));
    drop(sender);
    let (bytes, whole) = taking.join().unwrap();
    (result, bytes, whole)
}

fn unpacked(bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    flate2::read::GzDecoder::new(bytes).read_to_end(&mut out).unwrap();
    out
}

fn dump() -> Parcel {
    Parcel::Dump { path: "database/geoclic.dump".into() }
}

fn files(only: &[&str]) -> Parcel {
    Parcel::Files {
        place: "files/folders".into(),
        only: only.iter().map(|path| (*path).to_owned()).collect(),
    }
}

#[test]
fn a_dump_comes_back_byte_for_byte() {
    let rig = Rig::new();
    rig.backup(&Rig::good()).unwrap();
    let (result, bytes, whole) = given(opened(&rig), &dump());
    assert_eq!(result, Ok(()));
    assert!(whole);
    assert_eq!(unpacked(&bytes), noise(600_000, 1));
}

/// By the tar that a host has.
#[test]
fn files_come_back_with_mode_and_time() {
    let rig = Rig::new();
    rig.backup(&Rig::good()).unwrap();
    for (only, there) in
        [(&[][..], [true, true]), (&["b"][..], [false, true]), (&["b/c.jpg"][..], [false, true])]
    {
        let (result, bytes, whole) = given(opened(&rig), &files(only));
        assert_eq!((result, whole), (Ok(()), true));
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("in.tar"), unpacked(&bytes)).unwrap();
        let out = dir.path().join("out");
        std::fs::create_dir(&out).unwrap();
        let mut tar = Command::new("tar");
        tar.args(["-x", "-p", "--no-same-owner", "-f"]).arg(dir.path().join("in.tar")).arg("-C").arg(&out);
        let said = tar.output().unwrap();
        assert!(said.status.success(), "{}", String::from_utf8_lossy(&said.stderr));
        assert_eq!([out.join("a.jpg").exists(), out.join("b/c.jpg").exists()], there, "{only:?}");
        if there[0] {
            assert_eq!(std::fs::read(out.join("a.jpg")).unwrap(), noise(300_000, 2));
            let meta = std::fs::metadata(out.join("a.jpg")).unwrap();
            assert_eq!(meta.mode() & 0o7777, 0o640);
            assert_eq!((meta.mtime(), meta.mtime_nsec()), (1_700_000_000, 123_456_789));
        }
        assert_eq!(std::fs::read(out.join("b/c.jpg")).unwrap(), noise(10, 3));
    }
}

/// What images are built from is read by other users than root.
#[test]
fn a_folder_is_unpacked_with_its_modes() {
    let rig = Rig::new();
    let mut source = Rig::good();
    let (strange, mtime) = ("b/d\ne'$(x)", source.files["a.jpg"].1);
    source.files.insert(strange.into(), (noise(11, 5), mtime));
    rig.backup(&source).unwrap();
    let dir = tempfile::tempdir().unwrap();
    opened(&rig).unpack("files/folders", dir.path()).unwrap();
    let mode = |name: &str| std::fs::metadata(dir.path().join(name)).unwrap().mode() & 0o7777;
    assert_eq!(mode("a.jpg"), 0o640);
    assert_eq!(std::fs::read(dir.path().join("b/c.jpg")).unwrap(), noise(10, 3));
    assert_eq!(std::fs::read(dir.path().join(strange)).unwrap(), noise(11, 5));
    assert!(opened(&rig).unpack("files/folders", dir.path()).is_err(), "nothing is overwritten");
}

#[test]
fn a_folder_that_was_empty_is_an_empty_folder() {
    let rig = Rig::new();
    let mut source = Rig::good();
    source.files.clear();
    rig.backup(&source).unwrap();
    let (result, bytes, whole) = given(opened(&rig), &files(&[]));
    assert_eq!((result, whole), (Ok(()), true));
    assert!(unpacked(&bytes).iter().all(|byte| *byte == 0), "an archive without entries");
    let (result, _, whole) = given(opened(&rig), &files(&["a.jpg"]));
    assert!(result.is_err() && !whole);
}

#[test]
fn what_is_not_there_is_named() {
    let rig = Rig::new();
    rig.backup(&Rig::good()).unwrap();
    let (result, _, whole) = given(opened(&rig), &files(&["a.jpg", "z/nothing"]));
    let (message, _) = result.unwrap_err().unwrap();
    assert!(message.contains("z/nothing") && !whole, "{message}");
    let (result, _, whole) = given(opened(&rig), &Parcel::Dump { path: "database/x.dump".into() });
    assert!(result.is_err() && !whole);
}

/// A repository that lost a pack gives an error and never says that it is whole.
#[test]
fn what_is_damaged_is_not_whole() {
    let rig = Rig::new();
    rig.backup(&Rig::good()).unwrap();
    let opened = opened(&rig);
    for pack in rig.stored("data") {
        let mut bytes = std::fs::read(&pack).unwrap();
        for byte in bytes.iter_mut().step_by(1000) {
            *byte ^= 0xff;
        }
        std::fs::write(&pack, bytes).unwrap();
    }
    let (result, _, whole) = given(opened, &dump());
    assert!(matches!(result, Err(Some(_))), "{result:?}");
    assert!(!whole);
}

#[test]
fn it_stops_when_nobody_takes_it() {
    let rig = Rig::new();
    rig.backup(&Rig::good()).unwrap();
    let shelf = Shelf { opened: Some(opened(&rig)), save: None };
    let (sender, pieces) = channel(1);
    drop(pieces);
    assert_eq!(shelf.give(&dump(), &sender, &mut |_, _| {}), Err(None));
}
