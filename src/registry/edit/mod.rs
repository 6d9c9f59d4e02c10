//! Changes to the text of a registry that leave everything else as the operator wrote it: comments,
//! order, spelling, line ends.
//!
//! Each function takes the text and gives the new one. The caller reads the result with
//! [`Registry::parse`](super::Registry::parse) before it is written: an edit may well make a
//! registry wrong, as when two clients come to share a domain.

mod inline;
mod outline;
#[cfg(test)]
mod tests;

use super::values::{Address, Domain, Email, FilePath, Jump, Name, Tag, User};
use crate::diagnostic::nearest;
use outline::{Outline, Part};

pub use toml_edit::Value;

/// A client to be added. What is `None` or empty is left to `[defaults]`.
#[derive(Clone, Debug, PartialEq)]
pub struct NewClient {
    pub name: Name,
    pub domain: Domain,
    pub address: Address,
    pub port: Option<u16>,
    pub user: Option<User>,
    pub jump: Option<Jump>,
    pub email: Option<Email>,
    pub tags: Vec<Tag>,
    pub stack: Option<FilePath>,
}

/// Why a text cannot be changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EditError {
    /// Read the text with [`Registry::parse`](super::Registry::parse) for a better account.
    #[error("the registry is no TOML: {0}")]
    NotToml(String),
    #[error("there is a client `{0}` already")]
    Exists(String),
    #[error("no client is called `{name}`{}", .near.as_ref().map(|near| format!("; did you mean `{near}`?")).unwrap_or_default())]
    UnknownClient { name: String, near: Option<String> },
    #[error("`{0}` is no key")]
    BadKey(String),
    #[error("`{0}` is not written there")]
    NoSuchKey(String),
    #[error("`{0}` would stand inside a value that is no table")]
    NotATable(String),
    #[error("`{0}` is a table")]
    IsATable(String),
}

/// Adds a client's table behind the others.
///
/// # Errors
/// The text is no TOML, or has a client of this name.
pub fn add_client(text: &str, new: &NewClient) -> Result<String, EditError> {
    let outline = parse(text)?;
    let path = client_path(&new.name);
    if is_written(&outline, &path) {
        return Err(EditError::Exists(new.name.to_string()));
    }
    // Headers cannot reach into `clients = { ... }`.
    if let Some((_, clients)) = value_of(&outline, &path[..1]) {
        let client = Value::InlineTable(new.pairs().into_iter().collect());
        return inline::set(text, clients, &path[1..], &client);
    }
    let end = outline.line_end();
    let pairs = new.pairs().into_iter().map(|(key, value)| format!("{key} = {value}{end}"));
    let table = format!("[{}]{end}{}", dotted(&path), pairs.collect::<String>());
    let last = outline.parts.iter().rposition(|part| part.is_under(&path[..1]));
    let next = last.and_then(|last| outline.parts[last..].iter().skip(1).find(|part| part.is_header()));
    Ok(match next {
        Some(next) => {
            outline.with_lines(outline.with_comments_above(next.lines.start), &format!("{table}{end}"))
        }
        None => {
            let apart = text.trim().is_empty() || text.ends_with(&format!("{end}{end}"));
            outline.with_lines(text.len(), &format!("{}{table}", if apart { "" } else { end }))
        }
    })
}

/// Takes a client out: its tables and keys, and the comments directly above them.
///
/// # Errors
/// The text is no TOML, or has no client of this name.
pub fn remove_client(text: &str, name: &str) -> Result<String, EditError> {
    let outline = parse(text)?;
    let path = known_client(&outline, name)?;
    remove(&outline, &path, true)
}

/// The same registry with this client alone: what a backup of it keeps.
///
/// # Errors
/// The text is no TOML.
pub fn only_client(text: &str, name: &str) -> Result<String, EditError> {
    let mut document: toml_edit::DocumentMut =
        text.parse().map_err(|error: toml_edit::TomlError| EditError::NotToml(error.message().to_owned()))?;
    if let Some(clients) = document.get_mut("clients").and_then(toml_edit::Item::as_table_like_mut) {
        let others: Vec<String> =
            clients.iter().map(|(key, _)| key.to_owned()).filter(|key| key != name).collect();
        for other in others {
            clients.remove(&other);
        }
    }
    Ok(document.to_string())
}

/// Sets one value of a client; `key` is dotted, such as `sentry.environment`.
///
/// # Errors
/// The text is no TOML, has no such client, or has something else where a table is needed.
pub fn set_client_value(text: &str, client: &str, key: &str, value: &Value) -> Result<String, EditError> {
    let outline = parse(text)?;
    let path = known_client(&outline, client)?;
    set(&outline, path, key, value)
}

/// Sets one value of another table than a client's, such as `["sentry", "staging"]`; the table is made at the
/// end where there is none.
///
/// # Errors
/// The text is no TOML, or has something else where a table is needed.
pub fn set_value(text: &str, table: &[&str], key: &str, value: &Value) -> Result<String, EditError> {
    let outline = parse(text)?;
    let path: Vec<String> = table.iter().map(|step| (*step).to_owned()).collect();
    if is_written(&outline, &path) || container(&outline, &path).is_some() {
        return set(&outline, path, key, value);
    }
    let end = outline.line_end();
    let apart = match text {
        "" => "",
        text if text.ends_with(&format!("{end}{end}")) => "",
        text if text.ends_with('\n') => end,
        _ => &format!("{end}{end}"),
    };
    let line = assignment(&keys(key)?, value);
    Ok(format!("{text}{apart}[{}]{end}{line}{end}", dotted(&path)))
}

/// Sets a value below a table that is written.
fn set(outline: &Outline<'_>, table: Vec<String>, key: &str, value: &Value) -> Result<String, EditError> {
    let (text, base, mut path) = (outline.text, table.len(), table);
    path.extend(keys(key)?);
    if let Some((span, _)) = value_of(outline, &path) {
        return Ok(inline::replace(text, span.clone(), value.to_string().trim()));
    }
    if let Some((part, rest)) = container(outline, &path) {
        let found = part.value.as_ref().map(|(_, found)| inline::set(text, found, rest, value));
        return found.unwrap_or_else(|| Err(EditError::NotATable(key.to_owned())));
    }
    if outline.parts.iter().any(|part| part.is_under(&path)) {
        return Err(EditError::IsATable(key.to_owned()));
    }
    // The nearest table above that is written; the client itself always is.
    let depth = (base..path.len())
        .rev()
        .find(|depth| outline.parts.iter().any(|part| part.is_under(&path[..*depth])));
    Ok(insert(outline, &path, depth.unwrap_or(base), value))
}

/// Takes one value or table of a client out, so that `[defaults]` holds again. Comments above a
/// single key stay.
///
/// # Errors
/// The text is no TOML, has no such client, or the key is not written there.
pub fn unset_client_value(text: &str, client: &str, key: &str) -> Result<String, EditError> {
    let outline = parse(text)?;
    let mut path = known_client(&outline, client)?;
    path.extend(keys(key)?);
    remove(&outline, &path, false)
}

impl NewClient {
    fn pairs(&self) -> Vec<(&'static str, Value)> {
        let (kind, address) = match &self.address {
            Address::Ip(ip) => ("ip", ip.to_string()),
            Address::Host(host) => ("host", host.clone()),
        };
        let text = |text: &str| Value::from(text);
        let tags: toml_edit::Array = self.tags.iter().map(Tag::as_str).collect();
        let optional = [
            ("port", self.port.map(|port| Value::from(i64::from(port)))),
            ("user", self.user.as_deref().map(text)),
            ("jump", self.jump.as_ref().map(|jump| text(&jump.to_string()))),
            ("email", self.email.as_deref().map(text)),
            ("tags", (!tags.is_empty()).then_some(Value::Array(tags))),
            ("stack", self.stack.as_deref().map(text)),
        ];
        let needed = [("domain", text(&self.domain)), (kind, Value::from(address))];
        let given = optional.into_iter().filter_map(|(key, value)| Some((key, value?)));
        needed.into_iter().chain(given).collect()
    }
}

fn parse(text: &str) -> Result<Outline<'_>, EditError> {
    Outline::parse(text).map_err(|error| EditError::NotToml(error.message().to_owned()))
}

fn client_path(name: &str) -> Vec<String> {
    vec!["clients".to_owned(), name.to_owned()]
}

/// The value that is written for exactly this path.
fn value_of<'o>(outline: &'o Outline<'_>, path: &[String]) -> Option<&'o (std::ops::Range<usize>, Value)> {
    outline.parts.iter().find(|part| part.path == path)?.value.as_ref()
}

/// The written value that a path leads into, and the rest of the path.
fn container<'o, 'p>(outline: &'o Outline<'_>, path: &'p [String]) -> Option<(&'o Part, &'p [String])> {
    let part = outline
        .parts
        .iter()
        .find(|part| !part.is_header() && part.path.len() < path.len() && path.starts_with(&part.path))?;
    Some((part, &path[part.path.len()..]))
}

fn is_written(outline: &Outline<'_>, path: &[String]) -> bool {
    let inside = || match container(outline, path) {
        Some((Part { value: Some((_, Value::InlineTable(table))), .. }, rest)) => {
            rest.first().is_some_and(|name| table.contains_key(name))
        }
        _ => false,
    };
    outline.parts.iter().any(|part| part.is_under(path)) || inside()
}

fn known_client(outline: &Outline<'_>, name: &str) -> Result<Vec<String>, EditError> {
    let path = client_path(name);
    if is_written(outline, &path) {
        return Ok(path);
    }
    let names =
        outline.parts.iter().filter(|part| part.is_under(&path[..1])).filter_map(|part| part.path.get(1));
    let near = nearest(name, names.map(String::as_str)).map(str::to_owned);
    Err(EditError::UnknownClient { name: name.to_owned(), near })
}

/// The steps of a dotted key.
fn keys(key: &str) -> Result<Vec<String>, EditError> {
    let steps = toml_edit::Key::parse(key).map_err(|_| EditError::BadKey(key.to_owned()))?;
    Ok(steps.iter().map(|step| step.get().to_owned()).collect())
}

/// A path as TOML writes it.
fn dotted(path: &[String]) -> String {
    let step = |step: &String| toml_edit::Key::new(step.as_str()).display_repr().into_owned();
    path.iter().map(step).collect::<Vec<_>>().join(".")
}

/// `a = value`, or `a = { b = value }` for a path of two steps, and so on.
fn assignment(path: &[String], value: &Value) -> String {
    let (first, rest) = path.split_at(1);
    match rest {
        [] => format!("{} = {}", dotted(first), value.to_string().trim()),
        rest => format!("{} = {{ {} }}", dotted(first), assignment(rest, value)),
    }
}

/// Writes a value whose table, `depth` steps of the path, is spelled with headers or dots.
fn insert(outline: &Outline<'_>, path: &[String], depth: usize, value: &Value) -> String {
    let end = outline.line_end();
    let (table, rest) = path.split_at(depth);
    let header = outline.parts.iter().position(|part| part.is_header() && part.path == table);
    if let Some(header) = header {
        // Behind the last key of its section.
        let keys = outline.parts[header + 1..].iter().take_while(|part| !part.is_header());
        let lines = keys.last().unwrap_or(&outline.parts[header]).lines.clone();
        let indent = &outline.text[lines.start..];
        let indent = &indent[..indent.len() - indent.trim_start_matches([' ', '\t']).len()];
        return outline.with_lines(lines.end, &format!("{indent}{}{end}", assignment(rest, value)));
    }
    let spelled_with_dots = |(index, part): &(usize, &Part)| {
        !part.is_header() && part.is_under(table) && outline.section_of(*index) < depth
    };
    match outline.parts.iter().enumerate().rfind(spelled_with_dots) {
        // Behind the last of the dotted keys that make the table, spelled alike.
        Some((last, part)) => {
            let section = outline.section_of(last);
            let line = format!("{} = {}{end}", dotted(&path[section..]), value.to_string().trim());
            outline.with_lines(part.lines.end, &line)
        }
        // The table is only implied by tables inside it: it gets a header in front of them.
        None => {
            let first = outline.parts.iter().find(|part| part.is_under(table));
            let at = first.map_or(outline.text.len(), |part| part.lines.start);
            let lines = format!("[{}]{end}{}{end}{end}", dotted(table), assignment(rest, value));
            outline.with_lines(at, &lines)
        }
    }
}

/// Takes out everything at a path and below.
fn remove(outline: &Outline<'_>, path: &[String], with_comments: bool) -> Result<String, EditError> {
    if let Some((part, rest)) = container(outline, path) {
        let found = part.value.as_ref().map(|(_, found)| inline::remove(outline.text, found, rest));
        return found.unwrap_or_else(|| Err(EditError::NoSuchKey(dotted(path))));
    }
    let mut ranges = Vec::new();
    for (index, part) in outline.parts.iter().enumerate().filter(|(_, part)| part.is_under(path)) {
        let section = outline.section_of(index);
        if section < path.len() {
            // A key of a table that stays.
            let start = part.lines.start;
            let start = if with_comments { outline.with_comments_above(start) } else { start };
            ranges.push(start..part.lines.end);
        } else if part.is_header() {
            let keys = outline.parts[index + 1..].iter().take_while(|part| !part.is_header());
            let end = keys.last().unwrap_or(part).lines.end;
            ranges.push(outline.with_comments_above(part.lines.start)..outline.with_comments_below(end));
        }
    }
    if ranges.is_empty() {
        return Err(EditError::NoSuchKey(dotted(path)));
    }
    Ok(outline.without(&ranges))
}
