//! Replacement and lock, tried on a real file system.

use std::os::unix::fs::symlink;
use std::sync::atomic::{AtomicBool, Ordering};

use super::*;

const SOON: Duration = Duration::from_millis(50);
const LONG: Duration = Duration::from_secs(60);

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().mode() & 0o7777
}

fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<_> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

#[test]
fn the_mode_is_exact_and_nothing_is_left_beside() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("file");
    for wanted in [0o600, 0o644, 0o666, 0o640] {
        replace(&path, b"text", wanted).unwrap();
        assert_eq!(mode(&path), wanted);
    }
    assert_eq!(fs::read(&path).unwrap(), b"text");
    assert_eq!(names(dir.path()), ["file"]);
}

#[test]
fn a_link_stays_a_link_and_its_file_changes() {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir(dir.path().join("elsewhere")).unwrap();
    let real = dir.path().join("elsewhere/real");
    fs::write(&real, "old").unwrap();
    let link = dir.path().join("link");
    symlink("elsewhere/real", &link).unwrap();
    replace(&link, b"new", 0o600).unwrap();
    assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
    assert_eq!(fs::read(&real).unwrap(), b"new");
    let dangling = dir.path().join("dangling");
    symlink("nowhere", &dangling).unwrap();
    let error = replace(&dangling, b"new", 0o600).unwrap_err().to_string();
    assert!(error.starts_with("cannot follow the link "), "{error}");
}

#[test]
fn creating_never_overwrites() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("key");
    create_new(&path, b"first", 0o600).unwrap();
    let error = create_new(&path, b"second", 0o600).unwrap_err();
    assert_eq!(error.source.kind(), io::ErrorKind::AlreadyExists);
    assert_eq!(fs::read(&path).unwrap(), b"first");
    let link = dir.path().join("link");
    symlink("nowhere", &link).unwrap();
    assert_eq!(create_new(&link, b"x", 0o600).unwrap_err().source.kind(), io::ErrorKind::AlreadyExists);
    assert_eq!(names(dir.path()), ["key", "link"]);
    assert!(move_new(&path, &link).is_err());
    move_new(&path, &dir.path().join("moved")).unwrap();
    assert_eq!(names(dir.path()), ["link", "moved"]);
}

#[test]
fn a_folder_that_cannot_be_written_is_named_and_the_file_stays() {
    let dir = tempfile::tempdir().unwrap();
    let error = replace(&dir.path().join("absent/file"), b"x", 0o600).unwrap_err().to_string();
    assert!(error.contains("absent/.file.") && error.contains("No such file"), "{error}");
    // A folder in the place of the file: the rename fails, and the temporary file goes.
    fs::create_dir(dir.path().join("taken")).unwrap();
    assert!(replace(&dir.path().join("taken"), b"x", 0o600).is_err());
    assert_eq!(names(dir.path()), ["taken"]);
}

#[test]
fn edits_at_once_lose_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let (path, lock) = (dir.path().join("clients.toml"), dir.path().join("locks/clients.lock"));
    fs::write(&path, "").unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        // A reader without a lock sees whole lines at every moment.
        scope.spawn(|| {
            while !done.load(Ordering::SeqCst) {
                let text = fs::read_to_string(&path).unwrap();
                assert!(text.is_empty() || text.ends_with('\n'), "{text:?}");
            }
        });
        let writers: Vec<_> = (0..8)
            .map(|writer| {
                let (path, lock) = (&path, &lock);
                scope.spawn(move || {
                    for line in 0..10 {
                        let changed = edit::<EditError>(path, lock, LONG, |text| {
                            Ok(format!("{text}{writer}.{line}\n"))
                        });
                        assert!(changed.unwrap());
                    }
                })
            })
            .collect();
        let results: Vec<_> = writers.into_iter().map(|writer| writer.join().is_ok()).collect();
        done.store(true, Ordering::SeqCst);
        assert!(results.into_iter().all(|fine| fine));
    });
    let text = fs::read_to_string(&path).unwrap();
    let mut lines: Vec<_> = text.lines().collect();
    lines.sort_unstable();
    lines.dedup();
    assert_eq!(lines.len(), 80);
    assert_eq!(mode(&path), 0o640);
    assert!(!edit::<EditError>(&path, &lock, LONG, |text| Ok(text.to_owned())).unwrap());
}

#[test]
fn a_failed_change_writes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let (path, lock) = (dir.path().join("file"), dir.path().join("lock"));
    fs::write(&path, "old").unwrap();
    let error = edit::<anyhow::Error>(&path, &lock, LONG, |_| anyhow::bail!("no such client")).unwrap_err();
    assert_eq!(error.to_string(), "no such client");
    assert_eq!(fs::read(&path).unwrap(), b"old");
}

#[test]
fn a_held_lock_says_who_holds_it() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("locks/it");
    let held = FileLock::acquire(&path, SOON).unwrap();
    let error = FileLock::acquire(&path, SOON).unwrap_err();
    let LockError::Held { holder, .. } = &error else { panic!("{error}") };
    assert!(holder.contains(&format!("(process {}, since 2", std::process::id())), "{holder}");
    assert!(holder.contains('@') && holder.ends_with("Z)"), "{holder}");
    drop(held);
    assert_eq!(fs::read(&path).unwrap(), b"");
    FileLock::acquire(&path, SOON).unwrap();
}

#[test]
fn leftovers_of_a_cut_go_and_nothing_else() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("file");
    for name in [".file.0123456789abcdef.tmp", ".file.short.tmp", ".file2.0123456789abcdef.tmp", "file"] {
        fs::write(dir.path().join(name), "").unwrap();
    }
    let lock = FileLock::acquire(&dir.path().join("lock"), SOON).unwrap();
    remove_leftovers(&path, &lock);
    assert_eq!(names(dir.path()), [".file.short.tmp", ".file2.0123456789abcdef.tmp", "file", "lock"]);
}
