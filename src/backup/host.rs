//! A client's host as the source of a backup.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use super::archive::{Content, Fill, Piece, Source};
use super::error::BackupError;
use super::manifest::{self, Manifest};
use super::stream::{Line, must_succeed, remote};
use crate::ops::Layout;
use crate::ops::backup::{self as ops, Folder, Found, Listing};
use crate::ops::postgres::Database;
use crate::shell::Cmd;

/// Most bytes of a list of files.
const LONGEST_LIST: usize = 1 << 30;

/// The database of a client.
#[derive(Clone, Debug)]
pub enum Dumped {
    Inside(Database),
    Outside { name: String, user: String, from: ops::Outside },
}

/// What is saved of a client.
#[derive(Clone, Debug)]
pub struct What {
    pub layout: Layout,
    pub database: Option<Dumped>,
    pub folders: Vec<Folder>,
    /// Files of the operator's own, by their path in the snapshot: the registry's table, the secrets as
    /// they are encrypted.
    pub own: Vec<(String, Vec<u8>)>,
    /// What is known beforehand.
    pub manifest: Manifest,
}

/// The host behind a session.
pub struct HostSource {
    pub what: What,
    pub line: Line,
    /// As the login needs it.
    pub adapt: Arc<dyn Fn(Cmd) -> Cmd + Send + Sync>,
    pub said: Arc<Mutex<Option<ops::Facts>>>,
    pub changed: Arc<AtomicU64>,
}

impl Dumped {
    fn name(&self) -> &str {
        match self {
            Dumped::Inside(database) => &database.name,
            Dumped::Outside { name, .. } => name,
        }
    }

    fn user(&self) -> &str {
        match self {
            Dumped::Inside(database) => &database.user,
            Dumped::Outside { user, .. } => user,
        }
    }

    /// Path of the dump in a snapshot.
    fn path(&self) -> String {
        let name: String = self
            .name()
            .chars()
            .map(|c| if c.is_ascii_alphanumeric() || c == '-' || c == '_' { c } else { '_' })
            .collect();
        format!("database/{name}.dump")
    }
}

/// Path of the roles in a snapshot: it sorts behind every dump, which ends in `.dump`.
const ROLES: &str = "database/~roles.sql";

impl HostSource {
    fn dump(&self, database: &Dumped) -> Piece {
        let (what, line, said) = ("the database", self.line.clone(), Arc::clone(&self.said));
        let cmd = (self.adapt)(match database {
            Dumped::Inside(database) => ops::inside(database),
            Dumped::Outside { from, .. } => ops::outside(from),
        });
        let open = move || {
            let succeed = must_succeed(what);
            line.open(
                what,
                cmd,
                Box::new(move |pulled, count| {
                    succeed(pulled, count)?;
                    let facts = ops::Facts::parse(&pulled.stderr).ok_or_else(|| BackupError::Cut {
                        what: what.to_owned(),
                        why: "psql did not come to the end of what it was told".to_owned(),
                    })?;
                    *said.lock().unwrap_or_else(PoisonError::into_inner) = Some(facts);
                    Ok(())
                }),
            )
            .map(|stream| -> Box<dyn Fill> { Box::new(stream) })
        };
        Piece { path: database.path(), content: Content::Stream(Box::new(open)) }
    }

    fn roles(&self, database: &Database) -> Piece {
        let (line, cmd) = (self.line.clone(), (self.adapt)(ops::roles(database)));
        let open = move || {
            let stream = line.open("the roles", cmd, must_succeed("the roles"))?;
            Ok(Box::new(stream) as Box<dyn Fill>)
        };
        Piece { path: ROLES.to_owned(), content: Content::Stream(Box::new(open)) }
    }
}

impl Source for HostSource {
    fn pieces(&self) -> Vec<Piece> {
        let own = self
            .what
            .own
            .iter()
            .map(|(path, bytes)| Piece { path: path.clone(), content: Content::Bytes(bytes.clone()) });
        let mut pieces: Vec<Piece> = own.collect();
        if let Some(database) = &self.what.database {
            pieces.push(self.dump(database));
            if let Dumped::Inside(database) = database {
                pieces.push(self.roles(database));
            }
        }
        pieces.sort_by(|a, b| a.path.cmp(&b.path));
        pieces
    }

    fn list(&self) -> Result<Listing, BackupError> {
        if self.what.folders.is_empty() {
            return Ok(Listing::default());
        }
        let cmd = (self.adapt)(ops::list(&self.what.layout, &self.what.folders));
        let what = "the list of files";
        let (sender, mut pieces) = tokio::sync::mpsc::channel(64);
        let session = Arc::clone(&self.line.session);
        let (done, end) = tokio::sync::oneshot::channel();
        self.line.runtime.spawn(async move {
            let _ = done.send(session.pull(&cmd, &sender).await);
            drop(sender);
        });
        let mut answer = Vec::new();
        let cut = |error: std::io::Error| BackupError::Cut { what: what.to_owned(), why: error.to_string() };
        while let Some(piece) = self.line.next(&mut pieces).map_err(cut)? {
            answer.extend_from_slice(&piece);
            if answer.len() > LONGEST_LIST {
                return Err(BackupError::TooLarge { what: what.to_owned(), limit: "1 GiB".to_owned() });
            }
        }
        let pulled = match end.blocking_recv() {
            Ok(Ok(pulled)) => pulled,
            Ok(Err(error)) => return Err(BackupError::Cut { what: what.to_owned(), why: error.to_string() }),
            Err(_) => return Err(BackupError::Stopped),
        };
        // find ends with 1 when a folder went away while it looked.
        if !pulled.exit.success() && !ops::only_vanished(&pulled.stderr) {
            return Err(remote(what, &pulled));
        }
        Ok(ops::read(&answer)?)
    }

    fn fetch(&self, files: &[Found]) -> Result<Box<dyn Fill>, BackupError> {
        let mut paths = Vec::new();
        for file in files {
            paths.extend_from_slice(&file.source);
            paths.push(0);
        }
        let what = "the files";
        let cmd = (self.adapt)(ops::read_files(paths));
        let changed = Arc::clone(&self.changed);
        let stream = self.line.open(
            what,
            cmd,
            Box::new(move |pulled, _| {
                let text = String::from_utf8_lossy(&pulled.stderr);
                let written = text.lines().filter(|line| {
                    line.ends_with("file changed as we read it") || line.contains(": File shrank by ")
                });
                changed.fetch_add(written.count() as u64, Ordering::Relaxed);
                match pulled.exit.success() || ops::only_vanished(&pulled.stderr) {
                    true => Ok(()),
                    false => Err(remote(what, pulled)),
                }
            }),
        )?;
        Ok(Box::new(stream))
    }

    fn manifest(&self) -> Manifest {
        let said = self.said.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let mut manifest = self.what.manifest.clone();
        manifest.files.changed = self.changed.load(Ordering::Relaxed);
        if let (Some(database), Some(facts)) = (&self.what.database, said) {
            manifest.migration.clone_from(&facts.migration);
            manifest.database = Some(manifest::Database {
                path: database.path(),
                roles: matches!(database, Dumped::Inside(_)).then(|| ROLES.to_owned()),
                name: database.name().to_owned(),
                user: database.user().to_owned(),
                server: facts.server,
                bytes: facts.bytes,
                tables: facts.tables,
                rows: facts.rows,
            });
        }
        manifest
    }
}
