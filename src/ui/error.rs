//! The one renderer of errors, for people and for programs.
//!
//! Rule of this file: an error says what, then why, then what next, in one screen. Everything in
//! it may come from a hostile host or a broken file: nothing is printed that was not cleaned.

use std::fmt::Write as _;

use serde_json::{Value, json};

use crate::diagnostic::{Diagnostic, Diagnostics, Snippet};
pub use crate::hint::{HintExt, find, hints};

use super::style::{Look, Role};
use super::text::{self, Line};

/// Name and version of the JSON form.
pub const SCHEMA: &str = "fleet.error/1";

/// Findings shown in full; the rest are counted.
const MOST: usize = 20;
/// Lines of one message; a cause that quotes a whole file does not push the rest off the screen.
const MOST_LINES: usize = 12;

/// The error as lines for a person, with its line end.
#[must_use]
pub fn render(error: &anyhow::Error, look: &Look) -> String {
    let mut out = String::new();
    if let Some(found) = find::<Diagnostics>(error) {
        diagnostics(&mut out, found, look);
        paragraphs(&mut out, &hints(error), ("hint: ", Role::Note), 0, look);
        return out;
    }
    let messages = messages(error);
    for (at, message) in messages.iter().enumerate() {
        match at {
            0 => paragraphs(&mut out, &[message], ("error: ", Role::Bad), 0, look),
            _ => paragraphs(&mut out, &[message], ("because: ", Role::Faint), 2, look),
        }
    }
    paragraphs(&mut out, &hints(error), ("hint: ", Role::Note), 2, look);
    out
}

/// The error for programs, as one JSON object.
#[must_use]
pub fn to_json(error: &anyhow::Error) -> Value {
    let found = find::<Diagnostics>(error);
    let mut messages = messages(error);
    let message = match found {
        Some(found) => closing(found),
        None if messages.is_empty() => String::new(),
        None => messages.remove(0),
    };
    let each = |one: &Diagnostic| {
        json!({
            "file": one.file,
            "line": one.position.map(|position| position.0),
            "column": one.position.map(|position| position.1),
            "key": one.key,
            "message": one.fault.message,
            "expected": one.fault.expected,
            "hint": one.fault.hint,
        })
    };
    json!({
        "schema": SCHEMA,
        "type": "error",
        "message": message,
        "causes": if found.is_some() { Vec::new() } else { messages },
        "hints": hints(error),
        "diagnostics": found.map_or(&[][..], |found| &found.0).iter().map(each).collect::<Vec<_>>(),
    })
}

/// What happened and its causes, without those that the message above already quotes; not cleaned.
#[must_use]
pub fn messages(error: &anyhow::Error) -> Vec<String> {
    let mut messages: Vec<String> = Vec::new();
    for cause in error.chain() {
        let message = cause.to_string();
        let said = messages.last().is_some_and(|above| above.ends_with(message.trim()));
        if !said {
            messages.push(message);
        }
    }
    messages
}

/// Each text behind its label, wrapped, its later lines aligned below the first.
fn paragraphs<S: AsRef<str>>(
    out: &mut String,
    texts: &[S],
    (label, role): (&str, Role),
    indent: usize,
    look: &Look,
) {
    let column = indent + text::width(label);
    for text in texts {
        let lines = text::clean(text.as_ref());
        let mut lines: Vec<String> =
            lines.iter().flat_map(|line| text::wrap(line, look.width.saturating_sub(column))).collect();
        if lines.len() > MOST_LINES {
            let left = lines.len() - MOST_LINES + 1;
            lines.truncate(MOST_LINES - 1);
            lines.push(format!("{} {left} more lines", look.ellipsis()));
        }
        if lines.is_empty() {
            lines.push("unknown".to_owned());
        }
        for (at, line) in lines.iter().enumerate() {
            let lead = match at {
                0 => Line::new().padded(indent).with(role, label),
                _ => Line::new(),
            };
            let _ = writeln!(out, "{}", lead.padded(column).with(Role::Text, line).paint(look));
        }
    }
}

fn diagnostics(out: &mut String, found: &Diagnostics, look: &Look) {
    for diagnostic in found.0.iter().take(MOST) {
        one(out, diagnostic, look);
        out.push('\n');
    }
    if let Some(more) = found.0.len().checked_sub(MOST).filter(|more| *more > 0) {
        let _ = writeln!(out, "{} and {more} more, shown once these are mended\n", look.ellipsis());
    }
    let _ = writeln!(out, "{}", look.paint(Role::Strong, &text::flat(&closing(found))));
}

fn one(out: &mut String, diagnostic: &Diagnostic, look: &Look) {
    let mut place = text::flat(&diagnostic.file);
    if let Some((line, column)) = diagnostic.position {
        let _ = write!(place, ":{line}:{column}");
    }
    let mut what = String::new();
    if !diagnostic.key.is_empty() {
        what = format!("{}: ", diagnostic.key);
    }
    let _ = write!(what, "{}", diagnostic.fault);
    // The place stays whole and alone at the beginning, where editors look for it.
    let lead = Line::new().with(Role::Bad, "error: ").with(Role::Strong, place).with(Role::Text, ": ");
    let what = text::flat(&what);
    let room = look.width.saturating_sub(lead.width());
    if text::width(&what) <= room {
        let _ = writeln!(out, "{}", lead.with(Role::Text, what).paint(look));
    } else {
        let _ = writeln!(out, "{}", lead.paint(look).trim_end());
        for line in text::wrap(&what, look.width.saturating_sub(2)) {
            let _ = writeln!(out, "  {line}");
        }
    }
    if let (Some(snippet), Some((line, _))) = (&diagnostic.snippet, diagnostic.position) {
        excerpt(out, snippet, line, look);
    }
    if let Some(hint) = &diagnostic.fault.hint {
        paragraphs(out, &[hint], ("hint: ", Role::Note), 2, look);
    }
}

/// The line of the file with its marks below. A long line shows the part around the fault.
fn excerpt(out: &mut String, snippet: &Snippet, line: usize, look: &Look) {
    let marked = snippet.width.max(1);
    let number = line.to_string();
    let room = look.width.saturating_sub(number.len() + 3).max(16);
    // One column a character or two: each stays in its place, so that the marks stay below it.
    let chars: Vec<char> = snippet.text.chars().map(one_column_at_least).collect();
    let start = snippet.start.min(chars.len());
    let mut from = 0;
    while from < start && columns(&chars[from..start]) + marked.min(room / 2) + 4 > room {
        from += 1;
    }
    let mut shown: String = chars[from..].iter().collect();
    let mut before = columns(&chars[from..start]);
    if from > 0 {
        shown.insert_str(0, look.ellipsis());
        before += text::width(look.ellipsis());
    }
    let end = (start + marked).min(chars.len());
    let marks = columns(&chars[start..end]).max(1).min(room.saturating_sub(before).max(1));
    let gutter = " ".repeat(number.len());
    let bar = |lead: &str| Line::new().with(Role::Faint, format!("{lead} | "));
    let _ = writeln!(out, "{}", look.paint(Role::Faint, &format!("{gutter} |")));
    let shown = text::fit(shown.trim_end(), room, look.ellipsis());
    let _ = writeln!(out, "{}", bar(&number).with(Role::Text, shown).paint(look));
    let marks = Line::new().padded(before).paint(look) + &look.paint(Role::Bad, &"^".repeat(marks));
    let _ = writeln!(out, "{}{marks}", bar(&gutter).paint(look));
}

fn one_column_at_least(char: char) -> char {
    match char {
        '\t' => ' ',
        char => {
            let mut buffer = [0; 4];
            let clean = text::flat(char.encode_utf8(&mut buffer));
            match clean.chars().next() {
                Some(clean) if text::width(&clean.to_string()) > 0 => clean,
                _ if char == ' ' => ' ',
                _ => char::REPLACEMENT_CHARACTER,
            }
        }
    }
}

fn columns(chars: &[char]) -> usize {
    chars.iter().map(|char| text::width(char.encode_utf8(&mut [0; 4]))).sum()
}

/// "3 problems in clients.toml; nothing was touched".
fn closing(found: &Diagnostics) -> String {
    let mut files: Vec<&str> = Vec::new();
    for diagnostic in &found.0 {
        if !files.contains(&diagnostic.file.as_str()) {
            files.push(&diagnostic.file);
        }
    }
    let problems = text::count(found.0.len(), "problem");
    let files = match files.as_slice() {
        [one] => (*one).to_owned(),
        [first, second] => format!("{first} and {second}"),
        many => format!("{} files", many.len()),
    };
    format!("{problems} in {files}; nothing was touched")
}

#[cfg(test)]
mod tests;
