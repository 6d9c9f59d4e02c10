//! PostgreSQL inside the stack: ready, migrated, dumped.
//!
//! All statements run inside the database's own container over its local socket, so no password
//! is ever needed outside the `.env` file.

use std::time::Duration;

use crate::secret::Secret;
use crate::shell::{Cmd, Stdin, quote};

/// Where the stack's database lives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Database {
    pub stack: String,
    pub service: String,
    pub user: String,
    pub name: String,
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

impl Database {
    /// Shell text that sets `$db` to the container, or fails with a sentence.
    fn find(&self) -> String {
        format!(
            "set -eu
db=$(docker ps -q --filter label=com.docker.compose.project={} --filter label=com.docker.compose.service={} | head -n 1)
[ -n \"$db\" ] || {{ echo 'fleet: the database container is not running' >&2; exit 69; }}
",
            quote(&self.stack),
            quote(&self.service)
        )
    }

    fn psql(&self) -> String {
        format!(
            "docker exec -i \"$db\" psql -U {} -d {} -X -q -v ON_ERROR_STOP=1",
            quote(&self.user),
            quote(&self.name)
        )
    }

    /// Waits until the server accepts queries on the final database: the official image starts a
    /// private server first while it initialises, which is not asked here because it listens on
    /// no TCP address.
    #[must_use]
    pub fn wait_ready(&self) -> Cmd {
        Cmd::script(
            format!(
                "i=0
while :; do
    db=$(docker ps -q --filter label=com.docker.compose.project={stack} --filter label=com.docker.compose.service={service} | head -n 1)
    if [ -n \"$db\" ] && docker exec \"$db\" pg_isready -q -h 127.0.0.1 -U {user} -d {name} 2>/dev/null &&
        docker exec \"$db\" psql -U {user} -d {name} -XAtqc 'select 1' >/dev/null 2>&1; then exit 0; fi
    i=$((i + 1))
    [ $i -lt 120 ] || break
    sleep 1
done
echo 'fleet: the database did not become ready' >&2
for id in $(docker ps -aq --filter label=com.docker.compose.project={stack} --filter label=com.docker.compose.service={service}); do docker logs --tail 30 \"$id\" >&2 2>&1; done
exit 1",
                stack = quote(&self.stack),
                service = quote(&self.service),
                user = quote(&self.user),
                name = quote(&self.name),
            ),
            Vec::<String>::new(),
        )
        .sudo()
        .timeout(Duration::from_secs(180))
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
            self.find(),
            quote(&recorded),
            psql = self.psql(),
        );
        Cmd::new(["sh", "-c", script.as_str()])
            .stdin(Stdin::Public(format!("{head}{}{tail}", migration.sql).into_bytes()))
            .sudo()
            .timeout(Duration::from_secs(1200))
    }

    /// Makes the server take the password of the environment: the image sets it only when it makes
    /// a new database. The statement is kept out of the server's log.
    #[must_use]
    pub fn set_password(&self, password: &Secret<String>) -> Cmd {
        let sql = format!(
            "set log_statement = 'none';
set log_min_error_statement = 'panic';
set log_min_duration_statement = -1;
alter role \"{}\" password {};
",
            self.user.replace('"', "\"\""),
            literal(password.reveal())
        );
        let script = format!("{}exec {}", self.find(), self.psql());
        Cmd::new(["sh", "-c", script.as_str()])
            .stdin(Stdin::Secret(sql.into_bytes()))
            .sudo()
            .timeout(Duration::from_secs(60))
    }

    /// Dumps the database into the host's backup folder; a dump that does not read back to its
    /// end is no dump and is removed.
    #[must_use]
    pub fn dump_before(&self, run: &str) -> Cmd {
        Cmd::script(
            format!(
                "{find}umask 077
dir=/opt/{stack}/backups
mkdir -p \"$dir\"
out=$dir/before-{run}.dump
trap 'rm -f \"$out.part\"' EXIT
docker exec \"$db\" pg_dump -U {user} -d {name} -Fc >\"$out.part\"
docker exec -i \"$db\" pg_restore -f /dev/null <\"$out.part\"
sync \"$out.part\"
mv -f \"$out.part\" \"$out\"
ls -1t \"$dir\"/before-*.dump | tail -n +6 | while IFS= read -r old; do rm -f -- \"$old\"; done
stat -c '%s bytes' \"$out\"",
                find = self.find(),
                stack = self.stack,
                user = quote(&self.user),
                name = quote(&self.name),
            ),
            Vec::<String>::new(),
        )
        .sudo()
        .timeout(Duration::from_secs(3600))
    }
}

/// A text as an SQL literal (PostgreSQL manual 4.1.2.1, standard_conforming_strings on).
fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quote_in_a_name_stays_data() {
        assert_eq!(literal("0'; drop table x; --"), "'0''; drop table x; --'");
    }
}
