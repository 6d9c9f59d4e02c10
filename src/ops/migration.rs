//! Migrations of a client's database, wherever it is: applied once each, in order, and recorded.

use std::time::Duration;

use super::Layout;
use super::outside::Outside;
use super::postgres::Database;
use super::sql::literal;
use crate::shell::{Cmd, Stdin, quote};

/// The database of a client.
#[derive(Clone, Debug)]
pub enum Server {
    /// A service of the stack.
    Inside(Database),
    /// Reached from the host.
    Outside(Outside),
}

/// One migration file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Migration {
    pub name: String,
    pub sha256: String,
    pub sql: String,
    /// Whether it runs in one transaction with its record.
    pub transaction: bool,
}

/// The line of a migration that cannot run in a transaction, such as `create index concurrently`.
pub const NO_TRANSACTION: &str = "-- fleet: no-transaction";

/// Names the transaction, and leaves a setting in it that goes away with it.
const MARK: &str = "set local fleet.migration = 'on';
select txid_current() as fleet_xid \\gset
";

/// Finds out whether the file left that transaction, and refuses what it undid.
const CHECK: &str =
    "select current_setting('fleet.migration', true) is distinct from 'on' as fleet_left \\gset
\\if :fleet_left
select txid_status(:fleet_xid) is distinct from 'committed' as fleet_undone \\gset
\\if :fleet_undone
\\warn fleet: the migration undid its own transaction, so it was not recorded
do $$ begin raise exception 'undone'; end $$;
\\endif
begin;
\\endif
";

impl Server {
    /// The one that a service of the stack runs.
    #[must_use]
    pub fn inside(&self) -> Option<&Database> {
        match self {
            Server::Inside(database) => Some(database),
            Server::Outside(_) => None,
        }
    }

    /// Shell text that comes first: it finds the container, or takes the address.
    fn open(&self, program: &str) -> String {
        match self {
            Server::Inside(database) => database.find(),
            Server::Outside(outside) => outside.open(program),
        }
    }

    /// Shell words that run one of PostgreSQL's programs.
    pub(super) fn program(&self, program: &str) -> String {
        match self {
            Server::Inside(_) => format!("docker exec -i \"$db\" {program}"),
            Server::Outside(outside) => outside.program(program),
        }
    }

    /// The same, connected to the database.
    pub(super) fn on_database(&self, program: &str) -> String {
        let program = self.program(program);
        match self {
            Server::Inside(database) => {
                format!("{program} -U {} -d {}", quote(&database.user), quote(&database.name))
            }
            Server::Outside(_) => format!("{program} --no-password"),
        }
    }

    fn psql(&self) -> String {
        format!("{} -X -q -v ON_ERROR_STOP=1", self.on_database("psql"))
    }

    /// What the shell text reads, before what its program reads.
    fn input(&self, text: String) -> Stdin {
        match self {
            Server::Inside(_) => Stdin::Public(text.into_bytes()),
            Server::Outside(outside) => Stdin::Secret(format!("{}{text}", outside.lines()).into_bytes()),
        }
    }

    /// Waits until the database answers queries.
    #[must_use]
    pub fn wait_ready(&self) -> Cmd {
        match self {
            Server::Inside(database) => database.wait_ready(),
            Server::Outside(outside) => {
                let script = format!(
                    "{open}PGCONNECT_TIMEOUT=10; export PGCONNECT_TIMEOUT
i=0
until said=$({psql} -At -c 'select 1' 2>&1 </dev/null); do
    i=$((i + 1))
    [ $i -lt 10 ] || {{ echo \"fleet: the database does not answer from this host: $said\" >&2; exit 1; }}
    sleep 3
done",
                    open = outside.open("psql"),
                    psql = self.psql(),
                );
                Cmd::new(["sh", "-c", script.as_str()])
                    .stdin(self.input(String::new()))
                    .sudo()
                    .timeout(Duration::from_secs(300))
            }
        }
    }

    /// Applies one migration in one transaction and records it with its hash in the same one. A
    /// migration that is recorded already is passed over, so a run that was cut can go on.
    ///
    /// psql reads the file, so that its own commands and inline `copy` data work; a file that ends
    /// psql or undoes the transaction by them is found out and not recorded. One that begins and
    /// commits by itself is recorded after its own commit.
    #[must_use]
    pub fn migrate(&self, migration: &Migration, user: &str) -> Cmd {
        let head = format!(
            "\\set QUIET 1
set client_min_messages = warning;
create table if not exists fleet_migrations (
    name text primary key, sha256 text not null, applied_at timestamptz not null default now(), applied_by text);
begin;
set local lock_timeout = '10s';
set local statement_timeout = '15min';
lock table fleet_migrations in share row exclusive mode;
select exists (select from fleet_migrations where name = {name}) as applied \\gset
\\if :applied
rollback;
\\echo already applied
\\quit
\\endif
\\unset applied
{alone}",
            name = literal(&migration.name),
            // The record follows in a transaction of its own: such a migration must bear being run
            // again when it was cut in between.
            alone = if migration.transaction { MARK } else { "commit;\nset lock_timeout = '10s';\n" },
        );
        let tail = format!(
            "\n;\nreset role;\nreset search_path;\n{}insert into fleet_migrations (name, sha256, applied_by) values ({}, {}, {});\ncommit;\n",
            if migration.transaction { CHECK } else { "begin;\n" },
            literal(&migration.name),
            literal(&migration.sha256),
            literal(user),
        );
        let recorded = format!("select 1 from fleet_migrations where name = {}", literal(&migration.name));
        let script = format!(
            "{}{psql}
[ \"$({psql} -At -c {} </dev/null)\" = 1 ] || {{ echo 'fleet: the migration ended psql before its own end, so nothing of it was kept' >&2; exit 65; }}",
            self.open("psql"),
            quote(&recorded),
            psql = self.psql(),
        );
        Cmd::new(["sh", "-c", script.as_str()])
            .stdin(self.input(format!("{head}{}{tail}", migration.sql)))
            .sudo()
            .timeout(Duration::from_secs(1200))
    }

    /// Dumps the database into the host's backup folder; a dump that does not read back to its
    /// end is no dump and is removed.
    #[must_use]
    pub fn dump_before(&self, layout: &Layout, run: &str) -> Cmd {
        let script = format!(
            "{open}umask 077
dir={dir}
mkdir -p \"$dir\"
out=$dir/before-{run}.dump
trap 'rm -f \"$out.part\"' EXIT
{dump} -Fc </dev/null >\"$out.part\"
{restore} -f /dev/null <\"$out.part\"
sync \"$out.part\"
mv -f \"$out.part\" \"$out\"
ls -1t \"$dir\"/before-*.dump | tail -n +6 | while IFS= read -r old; do rm -f -- \"$old\"; done
stat -c '%s bytes' \"$out\"",
            open = self.open("pg_dump"),
            dir = layout.at("backups"),
            dump = self.on_database("pg_dump"),
            restore = self.program("pg_restore"),
        );
        Cmd::new(["sh", "-c", script.as_str()])
            .stdin(self.input(String::new()))
            .sudo()
            .timeout(Duration::from_secs(3600))
    }
}
