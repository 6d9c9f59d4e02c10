//! Changes inside one inline table, `{ a = 1, b.c = 2 }`, that leave the rest of it as it is.

use std::ops::Range;

use toml_edit::{InlineTable, Value};

use super::{EditError, assignment, dotted};

/// One value of an inline table, dotted keys followed.
struct Element {
    path: Vec<String>,
    value: Range<usize>,
}

/// The elements of an inline table in the order of the text.
fn elements(table: &InlineTable) -> Vec<Element> {
    fn walk(table: &InlineTable, path: &mut Vec<String>, found: &mut Vec<Element>) {
        for (key, value) in table {
            path.push(key.to_owned());
            match value {
                Value::InlineTable(inner) if inner.is_dotted() => walk(inner, path, found),
                value => found.push(Element { path: path.clone(), value: value.span().unwrap_or_default() }),
            }
            path.pop();
        }
    }
    let mut found = Vec::new();
    walk(table, &mut Vec::new(), &mut found);
    found.sort_by_key(|element| element.value.start);
    found
}

/// The value that stands at a path inside a table, as far as it exists; and the path from there.
fn descend<'t, 'p>(table: &'t InlineTable, path: &'p [String]) -> Option<(&'t Value, &'p [String])> {
    let (first, rest) = path.split_first()?;
    match table.get(first)? {
        Value::InlineTable(inner) if inner.is_dotted() => descend(inner, rest),
        value => Some((value, rest)),
    }
}

/// Sets a value inside the inline table that `value` is.
pub(super) fn set(text: &str, value: &Value, path: &[String], new: &Value) -> Result<String, EditError> {
    let Value::InlineTable(table) = value else { return Err(EditError::NotATable(dotted(path))) };
    if let Some((inner, rest)) = descend(table, path) {
        return match rest {
            [] => Ok(replace(text, inner.span().unwrap_or_default(), new.to_string().trim())),
            rest => set(text, inner, rest, new),
        };
    }
    let elements = elements(table);
    if elements.iter().any(|element| element.path.starts_with(path)) {
        return Err(EditError::IsATable(dotted(path)));
    }
    // A table that is already spelled with dots must go on so.
    let spelled = elements.iter().any(|element| path.len() > 1 && element.path[0] == path[0]);
    let new = if spelled {
        format!("{} = {}", dotted(path), new.to_string().trim())
    } else {
        assignment(path, new)
    };
    Ok(match elements.last() {
        Some(last) => replace(text, last.value.end..last.value.end, &format!(", {new}")),
        None => replace(text, inside(value), &format!(" {new} ")),
    })
}

/// Takes a value, or all below a dotted key, out of the inline table that `value` is.
pub(super) fn remove(text: &str, value: &Value, path: &[String]) -> Result<String, EditError> {
    let Value::InlineTable(table) = value else { return Err(EditError::NotATable(dotted(path))) };
    if let Some((inner, rest)) = descend(table, path).filter(|(_, rest)| !rest.is_empty()) {
        return remove(text, inner, rest);
    }
    let elements = elements(table);
    let goes = |element: &Element| element.path.starts_with(path);
    if !elements.iter().any(goes) {
        return Err(EditError::NoSuchKey(dotted(path)));
    }
    if elements.iter().all(goes) {
        return Ok(replace(text, inside(value), ""));
    }
    let mut left = text.to_owned();
    // From the end, so that the places in front stay true.
    for index in (0..elements.len()).rev().filter(|index| goes(&elements[*index])) {
        let before = index.checked_sub(1).map_or(inside(value).start, |before| elements[before].value.end);
        left.replace_range(cut(text, before, elements[index].value.end, index == 0), "");
    }
    Ok(left)
}

/// What goes with an element that ends at `end` and comes after `before`: its comma, and its whole
/// lines where it has them for itself.
fn cut(text: &str, before: usize, end: usize, first: bool) -> Range<usize> {
    let start = past(text, before, |c| c == ',');
    let line = text[..start].rfind('\n').map_or(0, |at| at + 1);
    let comma = past(text, end, char::is_whitespace);
    let after = if text[comma..].starts_with(',') { comma + 1 } else { end };
    let rest = text[after..].find('\n').map(|at| &text[after..after + at + 1]);
    let rest = rest.filter(|rest| rest.trim().is_empty() || rest.trim_start().starts_with('#'));
    match rest {
        Some(rest) if line >= before && text[line..start].trim().is_empty() => line..after + rest.len(),
        _ if first => start..after + blanks(&text[after..]),
        _ => before..end,
    }
}

/// Behind blanks, comments, and the characters that `also` takes.
fn past(text: &str, mut at: usize, also: impl Fn(char) -> bool) -> usize {
    while let Some(c) = text[at..].chars().next() {
        match c {
            '#' => at += text[at..].find('\n').unwrap_or(text.len() - at),
            c if c.is_whitespace() || also(c) => at += c.len_utf8(),
            _ => break,
        }
    }
    at
}

/// What stands between the braces.
fn inside(value: &Value) -> Range<usize> {
    let span = value.span().unwrap_or_default();
    span.start + 1..span.end - 1
}

fn blanks(text: &str) -> usize {
    text.len() - text.trim_start().len()
}

pub(super) fn replace(text: &str, range: Range<usize>, with: &str) -> String {
    format!("{}{with}{}", &text[..range.start], &text[range.end..])
}
