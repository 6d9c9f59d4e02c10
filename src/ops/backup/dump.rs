//! PostgreSQL, dumped: the dump, what it was taken from and the row counts are of one instant.
//!
//! psql opens a transaction, exports its snapshot, counts, and starts pg_dump on that same snapshot.
//! The dump leaves by descriptor 3, psql's own words by standard error. psql ends with 0 only when
//! pg_dump did and the script came to its last line.

use serde::{Deserialize, Serialize};

use super::super::outside::Outside;
use super::super::postgres::Database;
use super::packed;
use crate::shell::{Cmd, Stdin, quote};

/// Tables whose rows are counted: the largest.
const COUNTED: usize = 20;
/// Begins a line that is meant for us.
const SAYS: &str = "fleet-says ";
/// Says that the script came to its end.
const DONE: &str = "fleet-done";

/// Rows of one table.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rows {
    /// Schema and name, as SQL writes them.
    pub table: String,
    pub rows: u64,
    /// On the server's disk, with its TOAST.
    pub bytes: u64,
}

/// What the database said of itself in the instant of the dump.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Facts {
    /// Version of the server, such as 15.8.
    pub server: String,
    /// Of the database on the server's disk.
    pub bytes: u64,
    /// Tables of its own.
    pub tables: u64,
    /// Name of the last migration of fleet's own table, when it has any.
    pub migration: Option<String>,
    /// The largest tables, the largest first.
    pub rows: Vec<Rows>,
}

impl Facts {
    /// Reads what came on standard error; `None` when the script did not come to its end.
    #[must_use]
    pub fn parse(stderr: &[u8]) -> Option<Facts> {
        #[derive(Deserialize)]
        #[serde(tag = "about", rename_all = "kebab-case")]
        enum Said {
            Database { server: String, bytes: u64, tables: u64 },
            Migration { name: String },
            Rows(Rows),
        }
        let text = crate::secret::clean_bytes(stderr);
        let (mut facts, mut done) = (Facts::default(), false);
        for line in text.lines() {
            done |= line == DONE;
            let Some(said) = line.strip_prefix(SAYS).and_then(|said| serde_json::from_str(said).ok()) else {
                continue;
            };
            match said {
                Said::Database { server, bytes, tables } => {
                    (facts.server, facts.bytes, facts.tables) = (server, bytes, tables);
                }
                Said::Migration { name } => facts.migration = Some(name),
                Said::Rows(rows) if facts.rows.len() < COUNTED => facts.rows.push(rows),
                Said::Rows(_) => {}
            }
        }
        done.then_some(facts)
    }
}

/// Schemas that are the database's own, as a condition on `pg_namespace n`.
pub(super) const OWN: &str = "n.nspname not in ('pg_catalog', 'information_schema') and n.nspname !~ '^pg_'";

/// What psql reads. `dump` is the program that writes the dump, without its connection.
fn script(dump: &str) -> String {
    format!(
        r"\set QUIET 1
\pset tuples_only on
\pset format unaligned
set client_min_messages = warning;
begin transaction isolation level repeatable read;
set transaction read only;
set local lock_timeout = '60s';
select pg_export_snapshot() as fleet_snapshot \gset
\setenv FLEET_SNAPSHOT :fleet_snapshot
select '{SAYS}' || json_build_object('about', 'database', 'server', split_part(current_setting('server_version'), ' ', 1),
    'bytes', pg_database_size(current_database()),
    'tables', (select count(*) from pg_class c join pg_namespace n on n.oid = c.relnamespace where c.relkind in ('r', 'p') and {OWN}));
select to_regclass('fleet_migrations') is not null as fleet_migrated \gset
\if :fleet_migrated
select '{SAYS}' || json_build_object('about', 'migration', 'name', max(name)) from fleet_migrations having count(*) > 0;
\endif
select format('select %L || json_build_object(''about'', ''rows'', ''table'', %L, ''rows'', count(*), ''bytes'', %s) from only %s', '{SAYS}', c.oid::regclass, pg_table_size(c.oid), c.oid::regclass)
    from pg_class c join pg_namespace n on n.oid = c.relnamespace
    where c.relkind = 'r' and {OWN} order by pg_table_size(c.oid) desc, c.oid::regclass::text limit {COUNTED} \gexec
\set fleet_dumped `{dump} --snapshot=$FLEET_SNAPSHOT >&3 </dev/null && echo on || echo off`
\if :fleet_dumped
\else
do $$ begin raise exception 'pg_dump failed'; end $$;
\endif
commit;
\echo {DONE}
"
    )
}

const DUMP: &str = "pg_dump --format=custom --compress=0 --no-password";
const PSQL: &str = "psql -X -q -v ON_ERROR_STOP=1 --no-password -f -";

/// Dumps the database of a service.
#[must_use]
pub fn inside(database: &Database) -> Cmd {
    let (user, name) = (quote(&database.user), quote(&database.name));
    let psql = format!("{PSQL} -U {user} -d {name} 3>&1 1>&2");
    let text = format!(
        "set -eu\n{}{}",
        database.container(),
        packed(&format!("docker exec -i \"$db\" sh -c {}", quote(&psql)))
    );
    let script = script(&format!("{DUMP} -U {user} -d {name}"));
    Cmd::new(["sh", "-c", text.as_str()]).stdin(Stdin::Public(script.into_bytes())).sudo()
}

/// Roles of the server that a service runs, with the hashes of their passwords.
#[must_use]
pub fn roles(database: &Database) -> Cmd {
    let text = format!(
        "set -eu\n{}{}",
        database.container(),
        packed(&format!(
            "docker exec \"$db\" pg_dumpall --globals-only --no-password -U {} -l {}",
            quote(&database.user),
            quote(&database.name)
        ))
    );
    Cmd::script(text, Vec::<String>::new()).sudo()
}

/// Dumps a database outside the stack with the host's own pg_dump, or one in a throwaway container.
#[must_use]
pub fn outside(database: &Outside) -> Cmd {
    let shell = quote(&format!("{PSQL} 3>&1 1>&2")).into_owned();
    let run = packed(&format!("{} -c {shell}", database.program("sh")));
    let text = format!("{}{run}", database.open("pg_dump"));
    let input = format!("{}{}", database.lines(), script(DUMP));
    Cmd::new(["sh", "-c", text.as_str()]).stdin(Stdin::Secret(input.into_bytes())).sudo()
}
