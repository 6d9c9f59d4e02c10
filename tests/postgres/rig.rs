//! A database, a folder of files, an sshd that leads to both, and a repository.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use fleet::backup::manifest::{Manifest, SCHEMA};
use fleet::backup::{
    BackupError, Dumped, Gate, HostSource, Line, Place, Repository, Source, Store, Throttle, What, Written,
    write,
};
use fleet::ops::Layout;
use fleet::ops::backup::Folder;
use fleet::ops::postgres::Database;
use fleet::shell::Cmd;
use fleet::ssh::{HostKeyPolicy, Session, Target, connect};

use crate::server::Server;
use crate::sshd::Sshd;

pub struct Rig {
    pub server: Server,
    pub sshd: Sshd,
    pub files: tempfile::TempDir,
    pub home: tempfile::TempDir,
    pub database: Database,
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
    pub fn new(count: u32) -> Rig {
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

    pub fn repository(&self) -> PathBuf {
        self.home.path().join("repository")
    }

    pub fn place(&self) -> Place {
        Place::new(
            "ville-lyon",
            Store::Folder(self.repository()),
            "correct horse battery".into(),
            self.home.path().join("lock"),
        )
    }

    /// The same repository's key for another storage.
    pub fn place_in(&self, store: Store) -> Place {
        let place = self.place();
        Place::new("ville-lyon", store, place.key().clone(), place.lock)
    }

    pub fn what(&self) -> What {
        Rig::what_of(&self.database, &self.files.path().display().to_string())
    }

    /// The same from its parts.
    pub fn what_of(database: &Database, files: &str) -> What {
        What {
            layout: Layout::new("geoclic"),
            database: Some(Dumped::Inside(database.clone())),
            folders: vec![Folder::Path(files.to_owned())],
            own: vec![("client/clients.toml".into(), b"[fleet]\n".to_vec())],
            manifest: Manifest { schema: SCHEMA.into(), client: "ville-lyon".into(), ..Manifest::default() },
        }
    }

    pub fn run(
        &self,
        what: What,
        limit: u64,
        watch: impl Fn(u64) + Send + Sync + 'static,
    ) -> Result<(Written, u64), BackupError> {
        self.run_as(what, limit, watch, |source| Arc::new(source))
    }

    /// The same with what stands between the host and the repository.
    pub fn run_as(
        &self,
        what: What,
        limit: u64,
        watch: impl Fn(u64) + Send + Sync + 'static,
        between: impl FnOnce(HostSource) -> Arc<dyn Source>,
    ) -> Result<(Written, u64), BackupError> {
        pull(self.sshd.target(), self.place(), what, limit, watch, between)
    }

    pub fn backup(&self) -> Result<(Written, u64), BackupError> {
        self.run(self.what(), 1 << 40, |_| {})
    }

    /// A line of shell on the host, over the connection; says whether it went well.
    pub fn there(&self, line: &str) -> bool {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let session = connect(&self.sshd.target(), HostKeyPolicy::AcceptNew).await.unwrap();
            let output = session.exec(&Cmd::new(["sh", "-c", line]), None).await.unwrap();
            session.close().await;
            output.exit.success()
        })
    }

    pub fn count(&self) -> usize {
        match Repository::open(&self.place()) {
            Ok(repository) => repository.snapshots().unwrap().len(),
            Err(BackupError::NoRepository { .. }) => 0,
            Err(error) => panic!("{error}"),
        }
    }

    pub fn file(&self, path: &str) -> Vec<u8> {
        let repository = Repository::open(&self.place()).unwrap();
        let snapshot = repository.find("latest").unwrap();
        let browser = repository.browse().unwrap();
        let mut bytes = Vec::new();
        browser.dump(&browser.node(&snapshot, path).unwrap(), &mut bytes).unwrap();
        bytes
    }

    pub fn below(&self, name: &str) -> String {
        format!("files/folders{}/{name}", self.files.path().display())
    }
}

/// One backup of what a host has, into a place.
pub fn pull(
    target: Target,
    place: Place,
    what: What,
    limit: u64,
    watch: impl Fn(u64) + Send + Sync + 'static,
    between: impl FnOnce(HostSource) -> Arc<dyn Source>,
) -> Result<(Written, u64), BackupError> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        let session: Arc<dyn Session> = Arc::new(connect(&target, HostKeyPolicy::AcceptNew).await.unwrap());
        let wire = Arc::new(AtomicU64::new(0));
        let line = Line {
            session,
            runtime: tokio::runtime::Handle::current(),
            throttle: Arc::new(Throttle::new(None)),
            wire: Arc::clone(&wire),
            limit,
            silence: Duration::from_secs(10),
            progress: Arc::new(watch),
        };
        let source = HostSource {
            what,
            line,
            adapt: Arc::new(Cmd::as_root),
            said: Arc::default(),
            changed: Arc::default(),
        };
        let source = between(source);
        tokio::task::spawn_blocking(move || {
            let held = place.lock()?;
            let repository = Repository::open_or_create(&place, &held, &Gate::default())?;
            let written = write(repository, source, jiff::Timestamp::now())?;
            Ok((written, wire.load(Ordering::Relaxed)))
        })
        .await
        .unwrap()
    })
}
