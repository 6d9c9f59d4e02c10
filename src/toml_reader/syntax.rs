//! Texts that are no TOML: the parser's findings in the words of the operator.

use std::ops::Range;

use super::Document;
use crate::diagnostic::{Fault, is_plain};

/// More findings than this say nothing new.
const MOST: usize = 20;

/// Reports what the parser found, at most one fault a line: the rest of a line that is cut short is
/// noise, and so are the keys below a header that is written twice.
pub(super) fn explain(document: &Document<'_>, errors: &[toml::de::Error]) {
    let mut lines = Vec::new();
    for error in errors {
        let span = whole_word(document, error.span().unwrap_or(0..0));
        let line = document.source.line(span.start);
        let below_twin = error.message() == DUPLICATE && lines.contains(&header_of(document, line));
        if lines.len() < MOST && !lines.contains(&line) && !below_twin {
            lines.push(line);
            conceal_values(document, line);
            document.report(Some(span.clone()), String::new(), fault(error, document, &span));
        }
    }
}

const DUPLICATE: &str = "duplicate key";

fn fault(error: &toml::de::Error, document: &Document<'_>, span: &Range<usize>) -> Fault {
    let (message, expected) = match error.message().split_once(", expected ") {
        Some((message, expected)) => (message, Some(expected)),
        None => (error.message(), None),
    };
    let marked = document.source.text.get(span.clone()).unwrap_or_default().trim();
    let line = document.source.line(span.start);
    match message {
        DUPLICATE => {
            let fault = Fault::new("this name is already taken");
            match first_definition(document, marked, line) {
                Some(first) => fault.hint(format!("it is first written on line {first}; merge the two")),
                None => fault.hint("each key and table is written once; merge the two"),
            }
        }
        "string values must be quoted" if marked.is_empty() => Fault::new("the value is missing"),
        "string values must be quoted" | "invalid float" | "unexpected leading zero" => {
            let fault = Fault::new("text without quotes");
            match marked.to_ascii_lowercase().as_str() {
                "yes" | "no" | "on" | "off" | "true" | "false" => {
                    fault.hint("a boolean is written true or false")
                }
                _ if is_secret(document, span.start) || !marked.chars().all(is_plain) => {
                    fault.hint("put it in quotes")
                }
                _ => fault.hint(format!("write \"{marked}\"")),
            }
        }
        "invalid basic string" | "invalid literal string" => Fault::new("the string is not closed"),
        "invalid multi-line basic string" | "invalid multi-line literal string" => {
            Fault::new("the text over several lines is not closed")
        }
        "missing escaped value" => {
            Fault::new("unknown escape").hint("write \\\\ for a backslash, or put the text in single quotes")
        }
        "key with no value" => Fault::new("a key without a value").expected("key = value"),
        "unexpected key or value" => {
            Fault::new("unexpected text after the value").hint("each key stands on a line of its own")
        }
        _ => Fault {
            message: message.to_owned(),
            expected: expected.filter(|what| *what != "nothing").map(|what| what.replace("literal ", "")),
            hint: None,
            secret: false,
        },
    }
}

/// The parser marks from the first letter that it cannot take, a person means the whole word.
fn whole_word(document: &Document<'_>, span: Range<usize>) -> Range<usize> {
    let before = document.source.text.get(..span.start).unwrap_or_default();
    let word =
        before.rsplit(|c: char| c.is_whitespace() || "=,[]{}\"'#".contains(c)).next().unwrap_or_default();
    if span.is_empty() { span } else { span.start - word.len()..span.end }
}

/// The line of the header that a line stands under; 0 where there is none.
fn header_of(document: &Document<'_>, line: usize) -> usize {
    let header = |line: &usize| document.source.line_text(*line).trim_start().starts_with('[');
    (1..line).rev().find(header).unwrap_or(0)
}

/// The line that first has this key of the same table, or this table's header.
fn first_definition(document: &Document<'_>, key: &str, line: usize) -> Option<usize> {
    let text = |line: usize| document.source.line_text(line).trim_start();
    let header = |line: &usize| text(*line).starts_with('[');
    if header(&line) {
        let name = text(line).split(']').next();
        return (1..line).find(|earlier| header(earlier) && text(*earlier).split(']').next() == name);
    }
    let defines = |earlier: &usize| {
        let rest = text(*earlier).strip_prefix(key).map(str::trim_start);
        rest.is_some_and(|rest| rest.starts_with(['=', '.']))
    };
    (1..line).rev().take_while(|earlier| !header(earlier)).filter(defines).last()
}

/// What stands in a broken line is not known: where it may be a secret, letters and digits after
/// the first `=` are hidden.
fn conceal_values(document: &Document<'_>, line: usize) {
    let text = document.source.line_text(line);
    let start = text.as_ptr() as usize - document.source.text.as_ptr() as usize;
    if !is_secret(document, start) {
        return;
    }
    let after = text.find('=').unwrap_or(0);
    for (at, c) in text.char_indices().filter(|(at, c)| *at >= after && c.is_alphanumeric()) {
        document.conceal(start + at..start + at + c.len_utf8());
    }
}

/// Whether the line of an offset, or the table that it stands in, is named like a secret.
fn is_secret(document: &Document<'_>, offset: usize) -> bool {
    const NAMES: [&str; 8] = ["dsn", "env", "key", "secret", "passw", "token", "auth", "://"];
    let named = |line: &str| NAMES.iter().any(|name| line.to_ascii_lowercase().contains(name));
    let line = document.source.line(offset);
    let before = || (1..line).rev().map(|line| document.source.line_text(line));
    let header = before().find(|line| line.trim_start().starts_with('['));
    let odd = |quotes: &str| before().map(|line| line.matches(quotes).count()).sum::<usize>() % 2 == 1;
    named(document.source.line_text(line)) || header.is_some_and(named) || odd("\"\"\"") || odd("'''")
}
