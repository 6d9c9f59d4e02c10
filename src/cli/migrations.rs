//! Migration files of a stack, read and checked before any database is asked.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::Context as _;
use sha2::{Digest as _, Sha256};

use super::exit::refused;
use crate::hint::HintExt as _;
use crate::ops::migration::{Migration, NO_TRANSACTION};
use crate::shell::hex;
use crate::stack::Stack;

/// The migrations in the order of their names: of the source where there is one, else of the
/// stack's own folder.
///
/// # Errors
/// A file that cannot be read, is no text, or takes the transaction into its own hands.
pub fn of(stack: &Stack, source: Option<&Path>) -> anyhow::Result<Vec<Migration>> {
    let Some(spec) = &stack.migrations else { return Ok(Vec::new()) };
    let glob = globset::Glob::new(&spec.pattern)
        .with_context(|| format!("migrations.pattern {:?}", spec.pattern))?
        .compile_matcher();
    let mut found: BTreeMap<String, Vec<u8>> = BTreeMap::new();
    if let Some(source) = source {
        let dir = source.join(&spec.dir);
        if dir.is_dir() {
            for entry in std::fs::read_dir(&dir).with_context(|| dir.display().to_string())? {
                let entry = entry?;
                let name = entry.file_name().to_string_lossy().into_owned();
                if glob.is_match(&name) && entry.path().is_file() {
                    found.insert(name, std::fs::read(entry.path())?);
                }
            }
        }
    } else {
        let prefix = format!("{}/", spec.dir.trim_end_matches('/'));
        for (path, content) in &stack.contents {
            if let Some(name) = path.strip_prefix(&prefix).filter(|name| glob.is_match(name)) {
                found.insert(name.to_owned(), content.clone());
            }
        }
    }
    found.into_iter().map(|(name, bytes)| checked(name, bytes)).collect()
}

fn checked(name: String, bytes: Vec<u8>) -> anyhow::Result<Migration> {
    let sha256 = hex(&Sha256::digest(&bytes));
    let sql = String::from_utf8(bytes).map_err(|_| refused(format!("migration {name} is not UTF-8")))?;
    let alone = sql.lines().any(|line| line.trim() == NO_TRANSACTION);
    if !alone && let Some(line) = sql.lines().position(takes_over) {
        return Err(refused(format!(
            "migration {name} begins or ends a transaction itself, on line {}",
            line + 1
        ))
        .hint(format!(
            "leave it out: each migration runs in one transaction; for what cannot, write `{NO_TRANSACTION}`"
        )));
    }
    Ok(Migration { name, sha256, sql, transaction: !alone })
}

/// Whether a line is a statement of transaction control (PostgreSQL manual, part VI).
fn takes_over(line: &str) -> bool {
    let words: Vec<String> =
        line.trim().trim_end_matches(';').split_whitespace().map(str::to_ascii_lowercase).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    line.trim().ends_with(';')
        && matches!(
            words.as_slice(),
            ["begin" | "commit" | "rollback"]
                | ["begin" | "commit" | "rollback", "transaction" | "work"]
                | ["start", "transaction"]
        )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn transaction_control_is_refused_with_its_line() {
        let error = checked("001.sql".into(), b"create table a ();\n  COMMIT ;\n".to_vec()).unwrap_err();
        assert!(error.to_string().contains("on line 2"), "{error}");
    }

    #[test]
    fn bodies_of_functions_and_migrations_on_their_own_pass() {
        let body = "create function f() returns void language plpgsql as $$\nbegin\n  perform 1;\nend $$;\n";
        assert!(checked("001.sql".into(), body.into()).unwrap().transaction);
        let alone = format!("{NO_TRANSACTION}\ncreate index concurrently i on a (b);\n");
        assert!(!checked("002.sql".into(), alone.into()).unwrap().transaction);
    }
}
