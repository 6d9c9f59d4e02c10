//! A backup on its way back: the database into a new one, files beside those in service, then both
//! change places in one short moment. What was before stays beside until it is known to be needed no more.
//!
//! A dump is read by pg_restore alone, which knows no commands of psql's; roles are made from names
//! that we parsed, never by running the SQL that came with the dump.

mod exchange;
mod roles;

use std::time::Duration;

pub use self::exchange::Exchange;
use self::exchange::stage;
pub use self::roles::{Role, roles_of};
use super::super::Layout;
use super::super::postgres::Database;
use super::super::sql::{identifier, literal};
use super::{Folder, Rows};
use crate::shell::{Cmd, Stdin, quote};

const SHORT: Duration = Duration::from_secs(120);
/// Longest exchange: services stop, names change, services start.
const EXCHANGE: Duration = Duration::from_secs(1800);
/// Longest time in which a database or the files of a client come back.
const LONG: Duration = Duration::from_secs(24 * 3600);
/// PostgreSQL cuts a name after so many bytes.
const LONGEST_NAME: usize = 63;
/// Ends the name of a database that is being filled.
const FILLING: &str = "_restoring";
/// Settings whose values are lists of names, kept as SQL writes them.
const LISTS: &str =
    "'search_path', 'temp_tablespaces', 'local_preload_libraries', 'session_preload_libraries'";
/// Between the name of a database and the run that put another in its place.
const BEFORE: &str = "_before_";

/// What a restore sends to a host, by its place in the snapshot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Parcel {
    /// The dump, as pg_dump wrote it, packed with gzip.
    Dump { path: String },
    /// What is below a folder, as a tar stream packed with gzip: all of it, or these paths and what is below.
    Files { place: String, only: Vec<String> },
}

/// Names of the databases that take part.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Names {
    pub filling: String,
    pub before: String,
}

impl Names {
    #[must_use]
    pub fn of(name: &str, run: &str) -> Names {
        let run: String = run.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).collect();
        let cut = |rest: usize| {
            let most = LONGEST_NAME.saturating_sub(rest);
            let end = (0..=most.min(name.len())).rev().find(|end| name.is_char_boundary(*end));
            &name[..end.unwrap_or(0)]
        };
        Names {
            filling: format!("{}{FILLING}", cut(FILLING.len())),
            before: format!("{}{BEFORE}{run}", cut(BEFORE.len() + run.len())),
        }
    }

    /// The run, as its name has it, that left a database beside; `None` for a name of another kind.
    #[must_use]
    pub fn run_of(leftover: &str) -> Option<&str> {
        let run = leftover.rsplit_once(BEFORE)?.1;
        let digits = |part: &str, count| part.len() == count && part.bytes().all(|b| b.is_ascii_digit());
        let parts: Vec<&str> = run.split('_').collect();
        let [day, time, tail] = parts.as_slice() else { return None };
        let hex = (4..=8).contains(&tail.len()) && tail.bytes().all(|b| b.is_ascii_hexdigit());
        (digits(day, 8) && digits(time, 6) && hex).then_some(run)
    }
}

/// Shell text: psql of the server, on a database that is always there.
fn psql(database: &Database, on: &str) -> String {
    format!(
        "docker exec -i \"$db\" psql -U {} -d {} -X -q -v ON_ERROR_STOP=1 --no-password",
        quote(&database.user),
        quote(on)
    )
}

/// Makes an empty database beside the one in service, with its settings. One that an earlier restore was filling goes away, and
/// roles that the dump may name and that are not there are made.
#[must_use]
pub fn make_database(database: &Database, names: &Names, roles: &[Role]) -> Cmd {
    let mut sql = "set client_min_messages = warning;\nset log_statement = 'none';\n".to_owned();
    for role in roles {
        let password =
            role.password.as_ref().map_or(String::new(), |hash| format!(" password {}", literal(hash)));
        let login = if role.login { "login" } else { "nologin" };
        let make = format!("create role {} {login}{password}", identifier(&role.name));
        sql.push_str(&format!(
            "select {} where not exists (select from pg_roles where rolname = {}) \\gexec\n",
            literal(&make),
            literal(&role.name)
        ));
    }
    sql.push_str(&format!(
        "drop database if exists {filling} with (force);
create database {filling} with owner {owner} template template0;
select format('alter %s set %I to %s',
    case when s.setrole = 0 then format('database %I', {new}) else format('role %I in database %I', r.rolname, {new}) end,
    split_part(c, '=', 1),
    case when split_part(c, '=', 1) in ({LISTS}) then substr(c, strpos(c, '=') + 1) else quote_literal(substr(c, strpos(c, '=') + 1)) end)
from pg_db_role_setting s join pg_database d on d.oid = s.setdatabase left join pg_roles r on r.oid = s.setrole, unnest(s.setconfig) c
where d.datname = {now} \\gexec
",
        filling = identifier(&names.filling),
        owner = identifier(&database.user),
        new = literal(&names.filling),
        now = literal(&database.name),
    ));
    let text = format!("set -eu\n{}exec {}", database.container(), psql(database, &database.name));
    Cmd::new(["sh", "-c", text.as_str()]).stdin(Stdin::Secret(sql.into_bytes())).sudo().timeout(SHORT)
}

/// Fills a new database with the dump that comes, packed, on standard input: all of it or nothing.
/// Without `owners` everything belongs to the database's user and nobody else may touch it.
#[must_use]
pub fn load(database: &Database, names: &Names, owners: bool) -> Cmd {
    let user = quote(&database.user);
    let into = quote(&names.filling);
    let owners = if owners { "" } else { " --no-owner --no-privileges" };
    let text = format!(
        "set -eu
{find}status=$({{ {{ s=0; gzip -dc 3>&- || s=$?; echo \"$s\" >&3; }} | docker exec -i \"$db\" pg_restore -U {user} -d {into} --no-password --exit-on-error --single-transaction{owners} 3>&- >&2; }} 3>&1) || {{ echo 'fleet: pg_restore did not take the dump; the database in service was not touched' >&2; exit 65; }}
[ \"$status\" = 0 ] || {{ echo 'fleet: the dump did not arrive whole; the database in service was not touched' >&2; exit 65; }}
docker exec \"$db\" vacuumdb -U {user} -d {into} --no-password --analyze-only --quiet",
        find = database.container(),
    );
    Cmd::new(["sh", "-c", text.as_str()]).sudo().timeout(LONG)
}

/// Compares the rows of the largest tables with what the snapshot counted.
#[must_use]
pub fn count(database: &Database, names: &Names, rows: &[Rows]) -> Cmd {
    let values: Vec<String> =
        rows.iter().map(|rows| format!("({}, {})", literal(&rows.table), rows.rows)).collect();
    let checks = if values.is_empty() {
        "null;".to_owned()
    } else {
        format!(
            "for want in select * from (values {}) as wanted (name, rows) loop
        execute format('select count(*) from only %s', want.name::regclass) into found;
        if found is distinct from want.rows::bigint then
            raise exception 'table % has % rows, and the snapshot counted %', want.name, found, want.rows;
        end if;
    end loop;",
            values.join(", ")
        )
    };
    let sql = format!(
        "do $fleet$ declare want record; found bigint; begin\n    {}\nend $fleet$;\n",
        checks.replace("$fleet$", "")
    );
    let text = format!("set -eu\n{}exec {}", database.container(), psql(database, &names.filling));
    Cmd::new(["sh", "-c", text.as_str()]).stdin(Stdin::Public(sql.into_bytes())).sudo().timeout(LONG)
}

/// Takes the files that come as a packed tar stream beside the folder that they are for. What earlier
/// restores left there without having touched anything goes away.
#[must_use]
pub fn receive(layout: &Layout, folder: &Folder, run: &str) -> Cmd {
    let make = match folder {
        Folder::Path(path) => {
            let full = if path.starts_with('/') { path.clone() } else { layout.at(path) };
            format!("mkdir -p -- {}\n", quote(&full))
        }
        Folder::Volume(_) | Folder::Release => String::new(),
    };
    let text = format!(
        "set -eu
export LC_ALL=C
{make}{stage}umask 077
for old in \"$stages\"/*; do
    [ -d \"$old\" ] || continue
    if [ -d \"$old/before\" ] && [ \"$old\" != \"$stage\" ]; then echo \"an earlier restore left what it replaced in $old/before\"; else rm -rf -- \"$old\"; fi
done
mkdir -p \"$stage/new\"
status=$({{ {{ s=0; gzip -dc 3>&- || s=$?; echo \"$s\" >&3; }} | tar --extract --file=- --directory=\"$stage/new\" --preserve-permissions --same-owner --numeric-owner --delay-directory-restore 3>&- >&2; }} 3>&1) || {{ echo 'fleet: the files could not be written beside the folder; nothing in service was touched' >&2; exit 74; }}
[ \"$status\" = 0 ] || {{ echo 'fleet: the files did not arrive whole; nothing in service was touched' >&2; exit 65; }}
touch \"$stage/whole\"",
        stage = stage(layout, folder, run),
    );
    Cmd::new(["sh", "-c", text.as_str()]).sudo().timeout(LONG)
}

#[cfg(test)]
mod tests;
