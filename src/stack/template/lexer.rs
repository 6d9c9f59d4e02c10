//! Tera's tags as tokens with byte offsets. Only what lies between `{{ }}` and `{% %}` is of interest.
//!
//! The text has been accepted by Tera before it comes here, so that anything not understood is a
//! construct that this reader does not know: it is refused, never skipped.

#[derive(Clone, Debug, PartialEq)]
pub enum Kind<'a> {
    /// `{{` and `}}`.
    PrintStart,
    PrintEnd,
    /// `{%` and `%}`.
    TagStart,
    TagEnd,
    Ident(&'a str),
    /// A string; `None` where it holds an escape, so that its value is not taken for its text.
    Text(Option<&'a str>),
    Number,
    Op(&'static str),
}

#[derive(Clone, Debug, PartialEq)]
pub struct Token<'a> {
    pub kind: Kind<'a>,
    /// Byte offsets in the template.
    pub start: usize,
    pub end: usize,
}

/// Where reading stopped, and what was met there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NotUnderstood {
    pub start: usize,
    pub end: usize,
    pub what: String,
}

/// Longest first, so that `...` is not read as three dots.
const OPERATORS: [&str; 32] = [
    "...", "//", "**", "==", "!=", ">=", "<=", "</", "?.", "?[", "+", "-", "*", "/", "%", "!", ".", ",", ":",
    "~", "|", "=", ">", "<", "(", ")", "[", "]", "{", "}", "@", "?",
];

pub fn tokens(source: &str) -> Result<Vec<Token<'_>>, NotUnderstood> {
    let mut tokens = Vec::new();
    let mut at = 0;
    while let Some(found) = next_opening(source, at) {
        at = match &source[found..found + 2] {
            "{#" => match source[found..].find("#}") {
                Some(length) => found + length + 2,
                None => return Err(refuse(found, found + 2, "a comment that is never closed")),
            },
            "{%" if raw_tag(source, found, "raw").is_some() => skip_raw(source, found)?,
            opening => {
                let (start, end, closing) = match opening {
                    "{{" => (Kind::PrintStart, Kind::PrintEnd, "}}"),
                    _ => (Kind::TagStart, Kind::TagEnd, "%}"),
                };
                tokens.push(Token { kind: start, start: found, end: found + 2 });
                inside(source, found + 2, closing, end, &mut tokens)?
            }
        };
    }
    Ok(tokens)
}

fn refuse(start: usize, end: usize, what: impl Into<String>) -> NotUnderstood {
    NotUnderstood { start, end, what: what.into() }
}

fn next_opening(source: &str, from: usize) -> Option<usize> {
    let pairs = source.as_bytes()[from..].windows(2);
    pairs.enumerate().find(|(_, pair)| matches!(*pair, b"{{" | b"{%" | b"{#")).map(|(index, _)| from + index)
}

/// The end of `{% name %}` at `at`, if that is what stands there.
fn raw_tag(source: &str, at: usize, name: &str) -> Option<usize> {
    let rest = source[at..].strip_prefix("{%")?;
    let rest = rest.strip_prefix('-').unwrap_or(rest).trim_ascii_start();
    let rest = rest.strip_prefix(name)?.trim_ascii_start();
    let rest = rest.strip_prefix('-').unwrap_or(rest).strip_prefix("%}")?;
    Some(source.len() - rest.len())
}

fn skip_raw(source: &str, at: usize) -> Result<usize, NotUnderstood> {
    let starts = source[at + 2..].match_indices("{%").map(|(index, _)| at + 2 + index);
    let end = starts.filter_map(|start| raw_tag(source, start, "endraw")).next();
    end.ok_or_else(|| refuse(at, at + 2, "a raw block that is never closed"))
}

/// The tokens of one tag from `at` up to its closing; returns the offset behind it.
fn inside<'a>(
    source: &'a str,
    mut at: usize,
    closing: &str,
    end: Kind<'a>,
    tokens: &mut Vec<Token<'a>>,
) -> Result<usize, NotUnderstood> {
    // The dash that trims white space.
    if source[at..].starts_with('-') {
        at += 1;
    }
    loop {
        let rest = &source[at..];
        let Some(first) = rest.chars().next() else {
            return Err(refuse(at, at, "the end of the template inside a tag"));
        };
        if first.is_ascii_whitespace() {
            at += 1;
            continue;
        }
        let dashed = rest.strip_prefix('-').is_some_and(|rest| rest.starts_with(closing));
        if dashed || rest.starts_with(closing) {
            let stop = at + closing.len() + usize::from(dashed);
            tokens.push(Token { kind: end, start: at, end: stop });
            return Ok(stop);
        }
        let (kind, length) = one(rest, at)?;
        tokens.push(Token { kind, start: at, end: at + length });
        at += length;
    }
}

fn one(rest: &str, at: usize) -> Result<(Kind<'_>, usize), NotUnderstood> {
    let first = rest.as_bytes()[0];
    if let quote @ (b'\'' | b'"' | b'`') = first {
        return text(rest, quote, at);
    }
    if first.is_ascii_digit() {
        let mut dot = false;
        let length = rest
            .bytes()
            .take_while(|byte| byte.is_ascii_digit() || (*byte == b'.' && !std::mem::replace(&mut dot, true)))
            .count();
        return Ok((Kind::Number, length));
    }
    if first.is_ascii_alphabetic() || first == b'_' {
        let length = rest.bytes().take_while(|byte| byte.is_ascii_alphanumeric() || *byte == b'_').count();
        return Ok((Kind::Ident(&rest[..length]), length));
    }
    match OPERATORS.iter().find(|operator| rest.starts_with(**operator)) {
        Some(operator) => Ok((Kind::Op(operator), operator.len())),
        None => Err(refuse(at, at + 1, "a character that no expression holds")),
    }
}

fn text(rest: &str, quote: u8, at: usize) -> Result<(Kind<'_>, usize), NotUnderstood> {
    let mut escaped = false;
    let mut escapes = false;
    for (index, byte) in rest.bytes().enumerate().skip(1) {
        if escaped {
            escaped = false;
        } else if byte == b'\\' {
            (escaped, escapes) = (true, true);
        } else if byte == quote {
            let value = (!escapes).then(|| &rest[1..index]);
            return Ok((Kind::Text(value), index + 1));
        }
    }
    Err(refuse(at, at + 1, "a string that is never closed"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(source: &str) -> String {
        let tokens = tokens(source).unwrap();
        tokens.iter().map(|token| source[token.start..token.end].to_owned()).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn tags_are_cut_into_tokens_and_text_is_passed_over() {
        assert_eq!(
            shown("a {{ b.c }} { d {%- if e -%} f {% endif %}"),
            "{{ b . c }} {% if e -%} {% endif %}"
        );
        assert_eq!(shown("{{ x | f(a='}}', b=\"it's\") }}"), "{{ x | f ( a = '}}' , b = \"it's\" ) }}");
        assert_eq!(shown("{{ 1.5 // 2 ~ a?.b }}"), "{{ 1.5 // 2 ~ a ?. b }}");
    }

    #[test]
    fn comments_and_raw_blocks_hold_no_tokens() {
        assert_eq!(shown("{# {{ a }} #}{{ b }}{% raw %}{{ c }}{%- endraw -%}{{ d }}"), "{{ b }} {{ d }}");
        assert_eq!(shown("{%- raw -%}{% if x %}{% endraw %}"), "");
    }

    #[test]
    fn what_is_not_understood_is_refused() {
        for source in ["{{ a", "{# a", "{% raw %} a", "{{ 'a }}", "{{ a ; b }}", "{{ é }}"] {
            assert!(tokens(source).is_err(), "{source}");
        }
    }
}
