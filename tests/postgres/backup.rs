//! Backups of a real PostgreSQL over a real sshd, and everything that is done to them on the way.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use fleet::backup::{BackupError, Depth, Dumped, Repository, verify};
use fleet::ops::backup::{Folder, Outside};
use fleet::ops::postgres::Database;

use crate::rig::Rig;
use crate::server::Server;
use crate::sshd::Sshd;

/// Restores a dump into a database of its own and counts.
fn restored(rig: &Rig, dump: &[u8]) -> String {
    let copy = Server::start("geoclic", "restored");
    let file = rig.home.path().join("copy.dump");
    std::fs::write(&file, dump).unwrap();
    let mut command = Command::new("sh");
    let script =
        format!("pg_restore --exit-on-error --no-owner -U admin -d {} {}", copy.name, file.display());
    command.args(["-c", &script]);
    for pair in copy.environment().split(' ') {
        let (name, value) = pair.split_once('=').unwrap();
        command.env(name, value);
    }
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    copy.ask("select count(*) || ' ' || coalesce(sum(hashtext(text)::bigint), 0) from demandes")
}

#[test]
fn a_dump_and_files_come_back_as_they_were() {
    let rig = Rig::new(60_000);
    let (written, _) = rig.backup().unwrap();
    let manifest = &written.manifest;
    let database = manifest.database.as_ref().unwrap();
    assert_eq!(manifest.migration.as_deref(), Some("023_b.sql"));
    assert_eq!(
        (database.tables, database.rows[0].table.as_str(), database.rows[0].rows),
        (3, "demandes", 60_000)
    );
    assert!(
        database.rows.iter().any(|rows| (rows.table.as_str(), rows.rows) == ("petite", 3)),
        "{database:?}"
    );
    let dump = rig.file(&database.path);
    assert_eq!(manifest.part(&database.path).unwrap().bytes, dump.len() as u64);
    let wanted = rig.server.ask("select count(*) || ' ' || sum(hashtext(text)::bigint) from demandes");
    assert_eq!(restored(&rig, &dump), wanted);
    let roles = String::from_utf8(rig.file("database/~roles.sql")).unwrap();
    assert!(roles.contains("CREATE ROLE geoclic"), "{roles}");
    assert_eq!(rig.file(&rig.below("2026/7.txt")), "file 7\n".repeat(50).into_bytes());
    assert_eq!(rig.file(&rig.below("a\nb'$(x).txt")), b"strange");
    assert_eq!((manifest.files.files, manifest.files.read, manifest.files.vanished), (41, 41, 0));

    // The second one reads what changed and nothing else.
    std::fs::write(rig.files.path().join("2026/7.txt"), b"new").unwrap();
    std::fs::remove_file(rig.files.path().join("2026/8.txt")).unwrap();
    let (second, _) = rig.backup().unwrap();
    assert_eq!((second.manifest.files.files, second.manifest.files.read), (40, 1));
    assert!(second.added * 2 < written.added, "{} then {}", written.added, second.added);
    assert_eq!(rig.file(&rig.below("2026/7.txt")), b"new");
    assert_eq!(rig.file(&rig.below("2026/9.txt")), "file 9\n".repeat(50).into_bytes());
    assert_eq!(
        verify(Repository::open(&rig.place()).unwrap(), Depth::All).unwrap().damage,
        Vec::<String>::new()
    );
}

#[test]
fn stock_restic_reads_it() {
    let rig = Rig::new(5_000);
    rig.backup().unwrap();
    let restic = |words: &[&str]| {
        let output = Command::new("restic")
            .args(["--no-cache", "-r"])
            .arg(rig.repository())
            .args(words)
            .env("RESTIC_PASSWORD", "correct horse battery")
            .output()
            .expect("restic is missing: apt-get install restic");
        assert!(output.status.success(), "{words:?}: {}", String::from_utf8_lossy(&output.stderr));
        output.stdout
    };
    restic(&["check", "--read-data"]);
    // Nor does it find a fault where the packs of a run that was cut are used, which no index named.
    for folder in ["index", "snapshots"] {
        for entry in std::fs::read_dir(rig.repository().join(folder)).unwrap() {
            std::fs::remove_file(entry.unwrap().path()).unwrap();
        }
    }
    let (written, _) = rig.backup().unwrap();
    restic(&["check", "--read-data"]);
    let path = &written.manifest.database.as_ref().unwrap().path;
    let dump = restic(&["dump", "latest", &format!("/{path}")]);
    assert_eq!(dump, rig.file(path));
    let target = rig.home.path().join("restored");
    restic(&["restore", "latest", "--include", "/files", "--target", target.to_str().unwrap()]);
    let back = target.join(rig.below("2026/7.txt"));
    assert_eq!(std::fs::read(back).unwrap(), "file 7\n".repeat(50).into_bytes());
    assert_eq!(std::fs::read_link(target.join(rig.below("link"))).unwrap(), Path::new("2026/1.txt"));
    let snapshots = String::from_utf8(restic(&["snapshots", "--json"])).unwrap();
    assert!(snapshots.contains(&written.id[..8]) && snapshots.contains("migration=023_b.sql"), "{snapshots}");
}

#[test]
fn a_link_that_is_cut_in_the_middle_of_a_dump_leaves_no_snapshot() {
    let rig = Arc::new(Rig::new(100_000));
    let (cutter, came) = (Arc::clone(&rig), Arc::new(AtomicU64::new(0)));
    let error = rig
        .run(rig.what(), 1 << 40, move |count| {
            let before = came.fetch_add(count, Ordering::SeqCst);
            if before < 2_000_000 && before + count >= 2_000_000 {
                cutter.sshd.cut();
            }
        })
        .unwrap_err();
    assert!(matches!(error, BackupError::Cut { .. }), "{error:?}");
    assert_eq!(rig.count(), 0);
    rig.backup().unwrap();
    assert_eq!(rig.count(), 1);
}

#[test]
fn a_database_that_stops_in_the_middle_of_a_dump_leaves_no_snapshot() {
    // More than all buffers on the way hold, so that pg_dump is still at work.
    let rig = Arc::new(Rig::new(600_000));
    let (stopper, came) = (Arc::clone(&rig), Arc::new(AtomicU64::new(0)));
    let error = rig
        .run(rig.what(), 1 << 40, move |count| {
            let before = came.fetch_add(count, Ordering::SeqCst);
            if before < 1_000_000 && before + count >= 1_000_000 {
                stopper.server.disconnect();
            }
        })
        .unwrap_err();
    assert!(matches!(error, BackupError::Remote { .. }), "{error:?}");
    assert_eq!(rig.count(), 0);
}

#[test]
fn a_host_that_falls_silent_is_given_up() {
    let rig = Arc::new(Rig::new(10));
    let holder = Arc::clone(&rig);
    let held = std::thread::spawn(move || {
        let sql = "begin; lock table demandes in access exclusive mode; select pg_sleep(30)";
        holder.server.ask(sql)
    });
    let waits = "select count(*) from pg_locks where mode = 'AccessExclusiveLock' and relation = 'demandes'::regclass";
    while rig.server.ask(waits) == "0" {
        std::thread::sleep(Duration::from_millis(50));
    }
    let began = Instant::now();
    let error = rig.backup().unwrap_err();
    assert_eq!(error.to_string(), "the database ended too early: nothing came for 10 s");
    assert!(began.elapsed() < Duration::from_secs(20), "{:?}", began.elapsed());
    assert_eq!(rig.count(), 0);
    held.join().unwrap();
}

#[test]
fn a_dump_that_fails_or_finds_no_database_leaves_no_snapshot() {
    let rig = Rig::new(10);
    let mut what = rig.what();
    what.database = Some(Dumped::Inside(Database { name: "no_such".into(), ..rig.database.clone() }));
    let error = rig.run(what, 1 << 40, |_| {}).unwrap_err();
    assert!(error.lines().iter().any(|line| line.contains("no_such")), "{error:?}");
    let mut what = rig.what();
    what.database = Some(Dumped::Inside(Database { service: "other".into(), ..rig.database.clone() }));
    let error = rig.run(what, 1 << 40, |_| {}).unwrap_err();
    // Dump and roles are asked for side by side: either may be the first to hear of it.
    assert!(
        error.to_string().ends_with("failed on the host: the database container is not running"),
        "{error}"
    );
    let mut what = rig.what();
    what.folders.push(Folder::Path("/no/such folder".into()));
    let error = rig.run(what, 1 << 40, |_| {}).unwrap_err();
    assert_eq!(
        error.to_string(),
        "the list of files failed on the host: this host has no folder /no/such folder"
    );
    assert_eq!(rig.count(), 0);
}

#[test]
fn more_than_the_limit_is_taken_for_a_fault() {
    let rig = Rig::new(100_000);
    let error = rig.run(rig.what(), 1_000_000, |_| {}).unwrap_err();
    assert!(matches!(error, BackupError::TooLarge { .. }), "{error}");
    assert_eq!(rig.count(), 0);
}

#[test]
fn a_database_outside_the_stack_is_dumped_by_its_address() {
    let rig = Rig::new(1_000);
    let environment: BTreeMap<&str, String> = [
        ("PGDATABASE", rig.server.name.clone()),
        ("PGUSER", rig.server.user.clone()),
        ("PGPASSWORD", "not 'asked' for".to_owned()),
    ]
    .into();
    let mut what = rig.what();
    what.database = Some(Dumped::Outside {
        name: rig.server.name.clone(),
        user: rig.server.user.clone(),
        from: Outside {
            environment: environment
                .into_iter()
                .map(|(name, value)| (name.to_owned(), value.into()))
                .collect(),
            image: None,
        },
    });
    let (written, _) = rig.run(what, 1 << 40, |_| {}).unwrap();
    let database = written.manifest.database.unwrap();
    assert_eq!((database.roles, database.rows[0].rows), (None, 1_000));
    assert!(restored(&rig, &rig.file(&database.path)).starts_with("1000 "));
}

/// Every file system of a host that has one, as it is when its disks are full and worse: not a byte can be written.
const NO_ROOM: &str = r#"while read -r _ at kind _; do
    case $kind in proc | sysfs | devpts | cgroup*) ;; *) mount -o remount,bind,ro "$at" 2>/dev/null || : ;; esac
done </proc/mounts"#;

#[test]
fn a_host_without_a_byte_of_room_is_saved_all_the_same() {
    let mut rig = Rig::new(60_000);
    rig.sshd = Sshd::inside(&format!("SetEnv {}", rig.server.environment()), NO_ROOM);
    for folder in ["/tmp", "/var/tmp", "/opt", "/run", "/dev/shm", "$HOME"] {
        assert!(!rig.there(&format!("touch {folder}/fleet-test")), "{folder} can be written to");
    }
    assert!(rig.there("true"));
    let (written, _) = rig.backup().unwrap();
    let database = written.manifest.database.as_ref().unwrap();
    assert_eq!(database.rows[0].rows, 60_000);
    assert!(restored(&rig, &rig.file(&database.path)).starts_with("60000 "));
    assert_eq!(rig.file(&rig.below("2026/7.txt")), "file 7\n".repeat(50).into_bytes());
}

/// A small file system in memory, as long as it lives.
struct Small(std::path::PathBuf);

impl Small {
    fn mount(path: &Path, size: &str) -> Small {
        std::fs::create_dir(path).unwrap();
        let small = Small(path.to_owned());
        small.tell(&["mount", "-t", "tmpfs", "-o", &format!("size={size}"), "tmpfs"]);
        small
    }

    fn tell(&self, words: &[&str]) {
        let output = Command::new(words[0]).args(&words[1..]).arg(&self.0).output().unwrap();
        assert!(output.status.success(), "{words:?}: {}", String::from_utf8_lossy(&output.stderr));
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

#[test]
fn a_disk_that_is_full_here_leaves_what_there_was() {
    let rig = Rig::new(1_000);
    let small = Small::mount(&rig.repository(), "4m");
    rig.backup().unwrap();
    rig.server.ask("insert into demandes (text) select md5(random()::text) || md5(random()::text) from generate_series(1, 120000)");
    let error = rig.backup().unwrap_err();
    assert!(matches!(error, BackupError::Storage(_)), "{error:?}");
    assert!(error.to_string().contains("No space left on device"), "{error}");
    assert_eq!(rig.count(), 1);
    assert!(rig.file("database/~roles.sql").starts_with(b"--"));
    small.tell(&["mount", "-o", "remount,size=200m"]);
    rig.backup().unwrap();
    assert_eq!(rig.count(), 2);
    let damage = verify(Repository::open(&rig.place()).unwrap(), Depth::All).unwrap().damage;
    assert_eq!(damage, Vec::<String>::new());
}
