//! What is said to a throwaway PostgreSQL that a dump is restored into. Names that come from a host or out
//! of a dump are quoted here, or travel as hexadecimal digits; nothing else of theirs is.

use std::collections::{BTreeMap, BTreeSet};

use super::super::sql::identifier;
use super::dump::OWN;

/// The database that is restored into.
pub const DATABASE: &str = "proof";
/// Words of pg_restore: what belongs to a whole server is left out, and the first error ends it.
pub const RESTORE: &str = "--exit-on-error --no-owner --no-privileges --no-comments --no-publications --no-subscriptions --no-security-labels --no-tablespaces --no-password";
/// Extensions that only a superuser may make, and that give nobody a way out of the database.
const EXTENSIONS: [&str; 7] = [
    "pg_stat_statements",
    "pgrouting",
    "postgis",
    "postgis_raster",
    "postgis_sfcgal",
    "postgis_topology",
    "vector",
];
/// Roles that are made at most.
const ROLES: usize = 1000;
/// Begins a line that is meant for us.
const SAYS: &str = "fleet-says";

/// `15` of `15.8`, `17` of `17beta1`.
#[must_use]
pub fn major(server: &str) -> String {
    server.chars().take_while(char::is_ascii_digit).collect()
}

/// The role that restores: called as the user of the database was, so that what names it is right.
#[must_use]
pub fn role(user: &str, admin: &str) -> String {
    let fits = !user.is_empty() && user.len() < 64 && !user.starts_with("pg_") && !user.starts_with('-');
    let plain = user != admin && !user.chars().any(char::is_control);
    if fits && plain { user.to_owned() } else { "proof".to_owned() }
}

/// Names of the roles in what `pg_dumpall --globals-only` wrote. None of it is run.
#[must_use]
pub fn role_names(sql: &[u8]) -> BTreeSet<String> {
    let text = String::from_utf8_lossy(sql);
    let names = text.lines().filter_map(|line| {
        let name = line.strip_prefix("CREATE ROLE ")?.strip_suffix(';')?;
        match name.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')) {
            Some(quoted) => Some(quoted.replace("\"\"", "\"")),
            None => Some(name.to_owned()),
        }
    });
    names.take(ROLES).collect()
}

/// Makes the roles, none of which may do or see more than the database, and the database.
#[must_use]
pub fn roles(role: &str, others: &BTreeSet<String>, admin: &str) -> String {
    let mut script = format!("create role {} login bypassrls;\n", identifier(role));
    for other in others {
        let fits = !other.is_empty() && other.len() < 64 && !other.starts_with("pg_");
        if fits && other != role && other != admin && !other.chars().any(char::is_control) {
            script.push_str(&format!("create role {} nologin;\n", identifier(other)));
        }
    }
    script.push_str(&format!("create database {DATABASE} owner {} template template0;\n", identifier(role)));
    script
}

/// Makes the database ready for a dump with this table of contents, as `pg_restore --list` prints it.
#[must_use]
pub fn extensions(role: &str, list: &[u8]) -> String {
    let text = String::from_utf8_lossy(list);
    // `2; 3079 16385 EXTENSION - postgis`
    let named: BTreeSet<&str> = text
        .lines()
        .filter(|line| !line.starts_with(';'))
        .filter_map(|line| line.split_once(" EXTENSION - ")?.1.split_whitespace().next())
        .collect();
    let wanted: Vec<String> =
        EXTENSIONS.iter().filter(|name| named.contains(*name)).map(|name| format!("'{name}'")).collect();
    // Before PostgreSQL 15 the schema is the superuser's.
    let mut script = format!("alter schema public owner to {};\n", identifier(role));
    if !wanted.is_empty() {
        script.push_str(&format!(
            "select format('create extension if not exists %I cascade', name) from pg_available_extensions where name in ({}) order by name \\gexec\n",
            wanted.join(", ")
        ));
    }
    script
}

/// Counts tables, the last migration, and the rows of the named tables, as SQL wrote their names.
#[must_use]
pub fn count(tables: &[&str]) -> String {
    let mut script = format!(
        r"set client_min_messages = warning;
set row_security = off;
select '{SAYS} tables ' || count(*) from pg_class c join pg_namespace n on n.oid = c.relnamespace where c.relkind in ('r', 'p') and {OWN};
select to_regclass('fleet_migrations') is not null as fleet_migrated \gset
\if :fleet_migrated
select '{SAYS} migration ' || encode(convert_to(max(name), 'UTF8'), 'hex') from fleet_migrations having count(*) > 0;
\endif
"
    );
    for (index, table) in tables.iter().enumerate() {
        let hex = crate::shell::hex(table.as_bytes());
        let found = format!("to_regclass(convert_from(decode('{hex}', 'hex'), 'UTF8'))");
        script.push_str(&format!(
            "select format('select %L || count(*) from only %s', '{SAYS} rows {index} ', {found}) where {found} is not null \\gexec\n"
        ));
    }
    script.push_str(&format!("\\echo {SAYS} done\n"));
    script
}

/// What was counted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counted {
    pub tables: u64,
    pub migration: Option<String>,
    /// By the place of the table in what was asked.
    pub rows: BTreeMap<usize, u64>,
}

impl Counted {
    /// `None` when it did not come to its end.
    #[must_use]
    pub fn parse(stdout: &[u8]) -> Option<Counted> {
        let text = String::from_utf8_lossy(stdout);
        let (mut counted, mut done) = (Counted::default(), false);
        for line in text.lines() {
            let words: Vec<&str> = line.split(' ').collect();
            match words.as_slice() {
                [SAYS, "tables", count] => counted.tables = count.parse().ok()?,
                [SAYS, "migration", hex] => counted.migration = Some(text_of(hex)?),
                [SAYS, "rows", index, count] => {
                    counted.rows.insert(index.parse().ok()?, count.parse().ok()?);
                }
                [SAYS, "done"] => done = true,
                _ => {}
            }
        }
        done.then_some(counted)
    }
}

fn text_of(hex: &str) -> Option<String> {
    let pair = |at: usize| u8::from_str_radix(hex.get(at..at + 2)?, 16).ok();
    let bytes: Option<Vec<u8>> = (0..hex.len()).step_by(2).map(pair).collect();
    String::from_utf8(bytes?).ok()
}

/// What differs from the manifest, beside the rows of tables.
#[must_use]
pub fn compare(counted: &Counted, tables: u64, migration: Option<&str>) -> Vec<String> {
    let mut wrong = Vec::new();
    if counted.tables != tables {
        wrong.push(format!("{} tables were restored, and the manifest says {tables}", counted.tables));
    }
    // The manifest has it without control characters.
    let found = counted.migration.as_deref().map(|name| crate::secret::clean(name).into_owned());
    if found.as_deref() != migration {
        let shown = |name: Option<&str>| name.map_or_else(|| "none".to_owned(), |name| format!("{name:?}"));
        wrong.push(format!(
            "the last migration is {}, and the manifest says {}",
            shown(found.as_deref()),
            shown(migration)
        ));
    }
    wrong
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_of_a_host_never_becomes_sql_or_a_word_of_psql() {
        let evil = "x\"; drop role admin; --\n\\! touch /tmp/evil";
        assert_eq!(role(evil, "admin"), "proof");
        assert_eq!(role("admin", "admin"), "proof");
        assert_eq!(role("--help", "admin"), "proof");
        assert_eq!(role("geo clic", "admin"), "geo clic");
        let script = count(&[evil, "demandes"]);
        assert!(!script.contains("drop role") && !script.contains("touch"), "{script}");
        let sql = b"-- roles\nCREATE ROLE geoclic;\nALTER ROLE geoclic WITH SUPERUSER;\nCREATE ROLE \"a \"\"b\"\"\";\nCREATE ROLE x; select evil();\n\\! touch /tmp/evil\n";
        let names = role_names(sql);
        assert_eq!(
            names.iter().map(String::as_str).collect::<Vec<_>>(),
            ["a \"b\"", "geoclic", "x; select evil()"]
        );
        let script = roles("geoclic", &names, "admin");
        assert_eq!(
            script,
            "create role \"geoclic\" login bypassrls;\ncreate role \"a \"\"b\"\"\" nologin;\ncreate role \"x; select evil()\" nologin;\ncreate database proof owner \"geoclic\" template template0;\n"
        );
    }

    #[test]
    fn only_harmless_extensions_are_made_by_the_superuser() {
        let list = b"; Archive created\n;  TOC\n2; 3079 16385 EXTENSION - postgis \n3; 3079 16386 EXTENSION - plpython3u\n4; 0 0 COMMENT - EXTENSION vector\n";
        let script = extensions("geoclic", list);
        assert!(script.contains("in ('postgis')"), "{script}");
        assert!(!extensions("geoclic", b"").contains("extension if not exists"));
    }

    #[test]
    fn what_was_counted_is_read_only_when_it_came_to_its_end() {
        let said = "fleet-says tables 3\nfleet-says migration 3032335f622e73716c\nfleet-says rows 0 20000\nfleet-says rows 2 3\n";
        assert_eq!(Counted::parse(said.as_bytes()), None);
        let counted = Counted::parse(format!("{said}fleet-says done\n").as_bytes()).unwrap();
        assert_eq!(counted.migration.as_deref(), Some("023_b.sql"));
        assert_eq!(counted.rows, [(0, 20_000), (2, 3)].into());
        assert_eq!(compare(&counted, 3, Some("023_b.sql")), Vec::<String>::new());
        assert_eq!(compare(&counted, 4, None).len(), 2);
    }

    #[test]
    fn the_version_of_a_server_is_its_first_number() {
        assert_eq!((major("15.8"), major("17beta1"), major("")), ("15".into(), "17".into(), String::new()));
    }
}
