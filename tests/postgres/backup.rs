//! Backups of a real PostgreSQL over a real sshd, and everything that is done to them on the way.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use fleet::backup::manifest::{Manifest, SCHEMA};
use fleet::backup::{
    BackupError, Depth, Dumped, Gate, HostSource, Line, Place, Repository, Store, Throttle, What, Written,
    verify, write,
};
use fleet::ops::Layout;
use fleet::ops::backup::{Folder, Outside};
use fleet::ops::postgres::Database;
use fleet::ssh::{HostKeyPolicy, Session, connect};

use crate::server::Server;
use crate::sshd::Sshd;

/// A database, a folder of files, an sshd that leads to both, and a repository.
struct Rig {
    server: Server,
    sshd: Sshd,
    files: tempfile::TempDir,
    home: tempfile::TempDir,
    database: Database,
}

fn rows(count: u32) -> String {
    format!(
        "create table demandes (id serial primary key, text text not null);
         insert into demandes (text) select md5(i::text) || md5((i * 7)::text) from generate_series(1, {count}) i;
         create table petite (x int); insert into petite values (1), (2), (3);
         create table fleet_migrations (name text primary key, sha256 text); insert into fleet_migrations values ('001_a.sql', 'x'), ('023_b.sql', 'y');"
    )
}

impl Rig {
    fn new(count: u32) -> Rig {
        let server = Server::start("geoclic", "geoclic");
        server.ask(&rows(count));
        let sshd = Sshd::with(&format!("SetEnv {}", server.environment()));
        let files = tempfile::tempdir().unwrap();
        std::fs::create_dir(files.path().join("2026")).unwrap();
        for i in 0..40 {
            std::fs::write(files.path().join(format!("2026/{i}.txt")), format!("file {i}\n").repeat(50))
                .unwrap();
        }
        std::fs::write(files.path().join("a\nb'$(x).txt"), b"strange").unwrap();
        std::os::unix::fs::symlink("2026/1.txt", files.path().join("link")).unwrap();
        let database = Database {
            stack: "geoclic".into(),
            service: "database".into(),
            user: server.user.clone(),
            name: server.name.clone(),
        };
        Rig { server, sshd, files, home: tempfile::tempdir().unwrap(), database }
    }

    fn repository(&self) -> PathBuf {
        self.home.path().join("repository")
    }

    fn place(&self) -> Place {
        Place {
            client: "ville-lyon".into(),
            store: Store::Folder(self.repository()),
            key: "correct horse battery".into(),
            lock: self.home.path().join("lock"),
        }
    }

    fn what(&self) -> What {
        What {
            layout: Layout::new("geoclic"),
            database: Some(Dumped::Inside(self.database.clone())),
            folders: vec![Folder::Path(self.files.path().display().to_string())],
            own: vec![("client/clients.toml".into(), b"[fleet]\n".to_vec())],
            manifest: Manifest { schema: SCHEMA.into(), client: "ville-lyon".into(), ..Manifest::default() },
        }
    }

    fn run(
        &self,
        what: What,
        limit: u64,
        watch: impl Fn(u64) + Send + Sync + 'static,
    ) -> Result<(Written, u64), BackupError> {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        runtime.block_on(async {
            let session: Arc<dyn Session> =
                Arc::new(connect(&self.sshd.target(), HostKeyPolicy::AcceptNew).await.unwrap());
            let wire = Arc::new(AtomicU64::new(0));
            let line = Line {
                session,
                runtime: tokio::runtime::Handle::current(),
                throttle: Arc::new(Throttle::new(None)),
                wire: Arc::clone(&wire),
                limit,
                progress: Arc::new(watch),
            };
            let source = HostSource {
                what,
                line,
                adapt: Arc::new(fleet::shell::Cmd::as_root),
                said: Arc::default(),
                changed: Arc::default(),
            };
            let place = self.place();
            tokio::task::spawn_blocking(move || {
                let held = place.lock()?;
                let repository = Repository::open_or_create(&place, &held, &Gate::default())?;
                let written = write(repository, Arc::new(source), jiff::Timestamp::now())?;
                Ok((written, wire.load(Ordering::Relaxed)))
            })
            .await
            .unwrap()
        })
    }

    fn backup(&self) -> Result<(Written, u64), BackupError> {
        self.run(self.what(), 1 << 40, |_| {})
    }

    fn count(&self) -> usize {
        match Repository::open(&self.place()) {
            Ok(repository) => repository.snapshots().unwrap().len(),
            Err(BackupError::NoRepository { .. }) => 0,
            Err(error) => panic!("{error}"),
        }
    }

    fn file(&self, path: &str) -> Vec<u8> {
        let repository = Repository::open(&self.place()).unwrap();
        let snapshot = repository.find("latest").unwrap();
        let browser = repository.browse().unwrap();
        let mut bytes = Vec::new();
        browser.dump(&browser.node(&snapshot, path).unwrap(), &mut bytes).unwrap();
        bytes
    }

    fn below(&self, name: &str) -> String {
        format!("files/folders{}/{name}", self.files.path().display())
    }
}

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
    let rig = Rig::new(20_000);
    let (written, _) = rig.backup().unwrap();
    let manifest = &written.manifest;
    let database = manifest.database.as_ref().unwrap();
    assert_eq!(manifest.migration.as_deref(), Some("023_b.sql"));
    assert_eq!(
        (database.tables, database.rows[0].table.as_str(), database.rows[0].rows),
        (3, "demandes", 20_000)
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
    assert!(second.added * 5 < written.added, "{} then {}", written.added, second.added);
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
    let (written, _) = rig.backup().unwrap();
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
