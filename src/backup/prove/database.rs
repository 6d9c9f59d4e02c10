//! The database of a snapshot, restored and counted.

use std::io::{self, Write};

use super::machine::Machine;
use super::server::{ADMIN, Server};
use super::{All, ProofError, Proved, Table};
use crate::backup::manifest::Database;
use crate::ops::backup::prove as ops;

/// Lines of pg_restore that are told.
const LINES: usize = 5;

impl All<'_> {
    pub(super) fn database(
        &self,
        database: &Database,
        roles: &[u8],
        proved: &mut Proved,
    ) -> Result<(), ProofError> {
        let Some(part) = self.manifest.part(&database.path) else {
            proved.faults.push(format!("the manifest has no word on {}", database.path));
            return Ok(());
        };
        let major = ops::major(&database.server);
        let machine = Machine::find(self.wish.with, &major, self.wish.image, self.wish.tell)?;
        (self.wish.tell)("start a throwaway PostgreSQL");
        let server = Server::start(machine, part.bytes, self.wish.state, self.reins)?;
        proved.with = Some(server.what());
        (self.wish.tell)("restore the database");
        let restored = self.restore(database, roles, &server, proved);
        match (restored, self.reins.fault()) {
            (_, Some(fault)) => proved.faults.push(fault),
            (Err(fault), None) => proved.faults.push(fault),
            (Ok(role), None) => {
                (self.wish.tell)("count its rows");
                if let Err(fault) = self.count(database, &role, &server, proved) {
                    proved.faults.push(fault);
                }
            }
        }
        Ok(())
    }

    /// Restores the dump as a role that is no superuser, and returns that role.
    fn restore(
        &self,
        database: &Database,
        roles: &[u8],
        server: &Server,
        proved: &mut Proved,
    ) -> Result<String, String> {
        let broken = |what: &'static str| move |error: io::Error| format!("{what} cannot be run: {error}");
        let said = |what: &str, stderr: &[u8]| {
            let text = crate::secret::clean_bytes(stderr);
            let lines: Vec<&str> = text.lines().filter(|line| !line.trim().is_empty()).take(LINES).collect();
            format!("{what} failed: {}", lines.join(" | "))
        };
        let node = self.browser.node(self.snapshot, &database.path).map_err(|error| error.to_string())?;

        // What is in it is read first: extensions that only a superuser may make are made before anything of
        // the dump is in the database.
        let mut list = server.run("pg_restore", &["--list"]).map_err(broken("pg_restore"))?;
        if let Some(mut stdin) = list.stdin.take() {
            // It stops reading behind the table of contents.
            let _ = self.browser.dump(&node, &mut stdin);
        }
        let list = list.end().map_err(broken("pg_restore"))?;
        if !list.ok {
            return Err(said("pg_restore --list", &list.stderr));
        }
        let role = ops::role(&database.user, ADMIN);
        let scripts = [
            ("postgres", ops::roles(&role, &ops::role_names(roles), ADMIN)),
            (ops::DATABASE, ops::extensions(&role, &list.stdout)),
        ];
        for (on, script) in scripts {
            let ended = server.psql(ADMIN, on, &script).map_err(broken("psql"))?;
            if !ended.ok {
                return Err(said("to prepare the database", &ended.stderr));
            }
        }
        let words: Vec<&str> = ops::RESTORE.split(' ').chain(["-U", &role, "-d", ops::DATABASE]).collect();
        let mut restore = server.run("pg_restore", &words).map_err(broken("pg_restore"))?;
        let mut sink = super::files::Sink::hashing(self.reins);
        let mut read = Ok(());
        if let Some(stdin) = restore.stdin.take() {
            let mut both = Both { pipe: Some(stdin), sink: &mut sink };
            read = self.browser.dump(&node, &mut both);
        }
        proved.bytes += sink.bytes;
        let ended = restore.end().map_err(broken("pg_restore"))?;
        // A repository that cannot be read is the cause of whatever else failed.
        if let Err(error) = read {
            return Err(format!("{}: {error}", database.path));
        }
        if let Some(fault) = self.manifest.part(&database.path).and_then(|part| sink.fault(part)) {
            return Err(fault);
        }
        if !ended.ok {
            return Err(said("pg_restore", &ended.stderr));
        }
        Ok(role)
    }

    fn count(
        &self,
        database: &Database,
        role: &str,
        server: &Server,
        proved: &mut Proved,
    ) -> Result<(), String> {
        let names: Vec<&str> = database.rows.iter().map(|rows| rows.table.as_str()).collect();
        let ended = server
            .psql(role, ops::DATABASE, &ops::count(&names))
            .map_err(|error| format!("psql cannot be run: {error}"))?;
        let counted = ops::Counted::parse(&ended.stdout).filter(|_| ended.ok).ok_or_else(|| {
            format!("its rows cannot be counted: {}", super::machine::last_line(&ended.stderr))
        })?;
        for (index, rows) in database.rows.iter().enumerate() {
            let found = counted.rows.get(&index).copied();
            proved.tables.push(Table { table: rows.table.clone(), wanted: rows.rows, found });
        }
        let wrong = ops::compare(&counted, database.tables, self.manifest.migration.as_deref());
        proved.faults.extend(wrong);
        for table in &proved.tables {
            let name = crate::secret::clean(&table.table);
            match table.found {
                None => proved.faults.push(format!("table {name} is not in the restored database")),
                Some(found) if found != table.wanted => proved
                    .faults
                    .push(format!("table {name} has {found} rows, and the manifest says {}", table.wanted)),
                Some(_) => {}
            }
        }
        Ok(())
    }
}

/// Bytes into a program and into a sum. A program that ended early does not keep the rest from being summed.
struct Both<'b, 's, W> {
    pipe: Option<W>,
    sink: &'b mut super::files::Sink<'s>,
}

impl<W: Write> Write for Both<'_, '_, W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if let Some(pipe) = &mut self.pipe
            && pipe.write_all(bytes).is_err()
        {
            self.pipe = None;
        }
        self.sink.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
