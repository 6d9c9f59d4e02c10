//! Changes of clients.toml, as they are shown and as they are written.

use anyhow::Context as _;
use similar::{ChangeTag, TextDiff};

use super::super::add;
use super::super::context::Fleet;
use super::super::exit::refused;
use crate::fs_atomic;
use crate::hint::HintExt as _;
use crate::registry::edit::{EditError, Value, set_client_value, unset_client_value};

/// One key of a client.
pub enum Change {
    Set(&'static str, Value),
    Unset(&'static str),
}

/// The text with these changes of one client; to take away what is not written changes nothing.
///
/// # Errors
/// What cannot be edited.
pub fn apply(text: &str, client: &str, changes: &[Change]) -> Result<String, EditError> {
    let mut text = text.to_owned();
    for change in changes {
        text = match change {
            Change::Set(key, value) if says(&text, client, key, value) => text,
            Change::Set(key, value) => set_client_value(&text, client, key, value)?,
            Change::Unset(key) => unset(&text, client, key)?,
        };
    }
    // A table that is left without a key says nothing.
    let empty = written(&text, client, &[]).and_then(|item| Some(item.as_table_like()?.is_empty()));
    if empty == Some(true) { unset(&text, client, "sentry") } else { Ok(text) }
}

/// Whether it is written like that already, however it is spelled.
fn says(text: &str, client: &str, key: &str, value: &Value) -> bool {
    let found = key.strip_prefix("sentry.").and_then(|key| written(text, client, &[key]));
    let found = found.and_then(|item| item.into_value().ok());
    found.is_some_and(|found| match (&found, value) {
        (Value::String(one), Value::String(other)) => one.value() == other.value(),
        (Value::Boolean(one), Value::Boolean(other)) => one.value() == other.value(),
        (Value::Float(one), Value::Float(other)) => one.value() == other.value(),
        (Value::Integer(one), Value::Float(other)) => *one.value() as f64 == *other.value(),
        _ => false,
    })
}

fn unset(text: &str, client: &str, key: &str) -> Result<String, EditError> {
    match unset_client_value(text, client, key) {
        Err(EditError::NoSuchKey(_)) => Ok(text.to_owned()),
        other => other,
    }
}

/// What a client's own table has below `sentry`.
#[must_use]
pub fn written(text: &str, client: &str, keys: &[&str]) -> Option<toml_edit::Item> {
    let document: toml_edit::DocumentMut = text.parse().ok()?;
    let item = document.get("clients")?.get(client)?.get("sentry")?;
    keys.iter().try_fold(item, |item, key| item.get(key)).cloned()
}

/// The lines that differ, keys of DSNs masked.
#[must_use]
pub fn difference(before: &str, after: &str) -> String {
    let compared = TextDiff::from_lines(before, after);
    let mut text = String::new();
    for change in compared.iter_all_changes() {
        let sign = match change.tag() {
            ChangeTag::Insert => '+',
            ChangeTag::Delete => '-',
            ChangeTag::Equal => continue,
        };
        text.push_str(&format!("  {sign} {}\n", mask(change.value().trim_end())));
    }
    text
}

/// Whatever stands between `://` and `@`.
fn mask(line: &str) -> String {
    let mut out = String::new();
    let mut rest = line;
    while let Some(at) = rest.find("://") {
        let (head, tail) = rest.split_at(at + 3);
        out.push_str(head);
        let end = tail.find(['@', '/', '"', '\'', ' ']).unwrap_or(tail.len());
        rest = match tail[end..].starts_with('@') {
            true => {
                out.push_str("***");
                &tail[end..]
            }
            false => tail,
        };
    }
    out + rest
}

/// Writes the text, if the file still is what the change was made from.
///
/// # Errors
/// Somebody else's edit since, or a file that cannot be written.
pub fn write(fleet: &Fleet, before: &str, after: &str) -> anyhow::Result<bool> {
    let shown = fleet.file.display();
    fs_atomic::edit(&fleet.file, &add::lock(&fleet.dir), add::LOCK_TIMEOUT, |text| {
        if text != before {
            return Err(refused(format!(
                "{shown} was changed by somebody else meanwhile; nothing was touched"
            ))
            .hint("run the same command again"));
        }
        anyhow::Ok(after.to_owned())
    })
    .with_context(|| format!("{shown} was not changed"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_difference_shows_no_key() {
        let before = "a = 1\nsentry = { dsn = \"https://poison1@x.fr/1\", environment = \"lyon\" }\n";
        let after =
            "a = 1\nsentry = { dsn = 'https://poison2@x.fr/2' } # https://x.fr and http://poison3@y/1\n";
        insta::assert_snapshot!(difference(before, after), @r#"
        - sentry = { dsn = "https://***@x.fr/1", environment = "lyon" }
        + sentry = { dsn = 'https://***@x.fr/2' } # https://x.fr and http://***@y/1
        "#);
        assert_eq!(mask("url = \"https://sentry.io\""), "url = \"https://sentry.io\"");
    }

    #[test]
    fn what_is_written_already_is_not_written_again() {
        let text = "[clients.a]\nsentry = { dsn = 'https://k@x.fr/1', traces_rate = 1, enabled = false }\n";
        let same = [
            Change::Set("sentry.dsn", "https://k@x.fr/1".into()),
            Change::Set("sentry.traces_rate", 1.0.into()),
            Change::Set("sentry.enabled", false.into()),
        ];
        assert_eq!(apply(text, "a", &same).unwrap(), text);
        assert_ne!(apply(text, "a", &[Change::Set("sentry.enabled", true.into())]).unwrap(), text);
    }

    #[test]
    fn a_table_without_a_key_goes_away() {
        let text = "[clients.a]\nip = '1'\nsentry = { enabled = false }\n";
        assert_eq!(apply(text, "a", &[Change::Unset("sentry.enabled")]).unwrap(), "[clients.a]\nip = '1'\n");
        let text = "[clients.a]\nip = '1'\n[clients.a.sentry]\nenabled = false\nenvironment = 'x'\n";
        let left = "[clients.a]\nip = '1'\n[clients.a.sentry]\nenvironment = 'x'\n";
        assert_eq!(
            apply(text, "a", &[Change::Unset("sentry.enabled"), Change::Unset("sentry.dsn")]).unwrap(),
            left
        );
    }
}
