//! Two versions of a file as one difference that anybody may read.
//!
//! In a file that carries secrets, a value is shown only when the stack says that its variable is
//! none; a line of the host's that is no such assignment is shown only when the new file has it too.
//! Over that, every known secret is masked wherever it stands.

use std::collections::{BTreeMap, BTreeSet};

use similar::{ChangeTag, TextDiff};

use super::Diff;
use crate::facts::OldFile;
use crate::ops::files::NewFile;
use crate::secret::{Redactor, clean_bytes};

/// Lines of one difference that are kept.
const MAX_LINES: usize = 200;
/// Characters of one line.
const MAX_COLUMNS: usize = 300;
/// Lines of a file beyond which it is not compared: a hostile host takes no time.
const MAX_COMPARED: usize = 4000;

pub struct Masks<'a> {
    pub redactor: &'a Redactor,
    /// Variables that are no secrets.
    pub plain: &'a BTreeMap<String, String>,
}

pub fn diff(masks: &Masks<'_>, old: &OldFile, file: &NewFile) -> Diff {
    if !old.whole() {
        return noted("too large on the host to be compared");
    }
    if old.content.contains(&0) || file.content.contains(&0) {
        return noted("not text");
    }
    let (old, new) = if file.secret {
        secret(masks, &old.content, &file.content)
    } else {
        (masks.text(&old.content), masks.text(&file.content))
    };
    if old == new {
        return noted("white space or control characters only");
    }
    compare(&old, &new)
}

/// A file that was not there before.
pub fn new(masks: &Masks<'_>, file: &NewFile) -> Diff {
    if file.content.contains(&0) {
        return noted("not text");
    }
    let text = if file.secret { secret(masks, b"", &file.content).1 } else { masks.text(&file.content) };
    compare("", &text)
}

fn noted(why: &str) -> Diff {
    Diff { note: Some(why.to_owned()), ..Diff::default() }
}

fn compare(old: &str, new: &str) -> Diff {
    if old.lines().count() > MAX_COMPARED || new.lines().count() > MAX_COMPARED {
        return noted("too many lines to be compared");
    }
    let compared = TextDiff::from_lines(old, new);
    let mut diff = Diff::default();
    for change in compared.iter_all_changes() {
        match change.tag() {
            ChangeTag::Insert => diff.added += 1,
            ChangeTag::Delete => diff.removed += 1,
            ChangeTag::Equal => {}
        }
    }
    let text = compared.unified_diff().context_radius(2).missing_newline_hint(false).to_string();
    let mut lines = text.lines();
    diff.lines = lines.by_ref().take(MAX_LINES).map(short).collect();
    let left = lines.count();
    diff.note = (left > 0).then(|| format!("and {left} lines more"));
    diff
}

fn short(line: &str) -> String {
    match line.char_indices().nth(MAX_COLUMNS) {
        Some((at, _)) => format!("{}...", &line[..at]),
        None => line.to_owned(),
    }
}

impl Masks<'_> {
    fn text(&self, bytes: &[u8]) -> String {
        // Cleaned first: a control character within a secret would hide it.
        self.redactor.redact(&clean_bytes(bytes)).into_owned()
    }

    fn hides(&self, name: &str) -> bool {
        !self.plain.contains_key(name)
    }
}

/// Both versions of a file that carries secrets.
fn secret(masks: &Masks<'_>, old: &[u8], new: &[u8]) -> (String, String) {
    let before = clean_bytes(old);
    let after = clean_bytes(new);
    let (before, after) = (assignments(&before), assignments(&after));
    let mut wanted = String::new();
    let mut known = BTreeSet::new();
    for line in masks.text(new).lines() {
        let shown = match assignment(line) {
            Some((name, _)) if masks.hides(name) => {
                let changed = before.get(name).is_some_and(|value| after.get(name) != Some(value));
                format!("{name}=[secret {name}{}]", if changed { ", changed" } else { "" })
            }
            _ => line.to_owned(),
        };
        wanted.push_str(&shown);
        wanted.push('\n');
        known.insert(shown);
    }
    let mut had = String::new();
    for line in masks.text(old).lines() {
        match assignment(line) {
            Some((name, _)) if masks.hides(name) => had.push_str(&format!("{name}=[secret {name}]")),
            Some(_) => had.push_str(line),
            None if line.trim().is_empty() || known.contains(line) => had.push_str(line),
            None => had.push_str("[a line of a file that carries secrets]"),
        }
        had.push('\n');
    }
    (had, wanted)
}

/// Names of the variables whose values differ, and of those that come or go.
pub fn changed_names(old: &[u8], new: &[u8]) -> BTreeSet<String> {
    let (old, new) = (clean_bytes(old), clean_bytes(new));
    let (before, after) = (assignments(&old), assignments(&new));
    let names = before.keys().chain(after.keys());
    names.filter(|name| before.get(*name) != after.get(*name)).map(|name| (*name).to_owned()).collect()
}

fn assignments(text: &str) -> BTreeMap<&str, &str> {
    text.lines().filter_map(assignment).collect()
}

/// Name and value of a line of an environment file.
fn assignment(line: &str) -> Option<(&str, &str)> {
    let rest = line.trim_start();
    let (name, value) = rest.strip_prefix("export ").unwrap_or(rest).split_once('=')?;
    let name = name.trim();
    let plain = name.chars().all(|char| char.is_ascii_alphanumeric() || char == '_');
    (plain && !name.is_empty() && name.len() <= 100 && !name.starts_with(|char: char| char.is_ascii_digit()))
        .then_some((name, value))
}
