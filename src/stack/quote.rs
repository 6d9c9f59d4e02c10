//! Text made safe for the formats that stacks write. Each function's answer, read by the format's
//! own reader, is the text again; what a format cannot carry is an error, never a changed value.
//!
//! Messages never quote the text: it may be a secret.

use std::fmt::Write as _;

/// A text that the format cannot carry. The message does not hold the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{format} cannot carry {what}")]
pub struct Unquotable {
    pub format: &'static str,
    pub what: &'static str,
}

/// A value of a `.env` file, with its quotes and what else must follow it on its line.
///
/// Docker Compose reads back every value exactly (2.26 measured). python-dotenv does too, but for what
/// its format cannot say: it replaces `${NAME}` in any quotes unless it is told `interpolate=False`,
/// and it misreads a value that has a backslash before a quote, a backslash or the end together with a
/// `$`, or at the end of a value with blanks, quotes or `#`. Whatever a value is, the others are safe.
///
/// # Errors
/// A line end or a NUL.
pub fn dotenv(text: &str) -> Result<String, Unquotable> {
    refuse(text, ".env", &[('\n', "a line end"), ('\r', "a line end"), ('\0', "a NUL")])?;
    // In single quotes only `\'` is an escape for Compose, but `\\` is another for python-dotenv.
    if !ambiguous_backslash(text) {
        return Ok(format!("'{}'", text.replace('\'', r"\'")));
    }
    // python-dotenv takes `\"` for an escape even where its backslash is escaped, and reads on to the
    // next `"`, on any line. Without quotes a backslash is a letter for both.
    let last = text.ends_with('\\');
    let bare = |c: char| !c.is_whitespace() && !c.is_control() && !matches!(c, '\'' | '"' | '`' | '#' | '$');
    if last && text.chars().all(bare) {
        return Ok(text.to_owned());
    }
    // In double quotes `\\` is an escape for both, `\$` for Compose alone.
    let mut quoted = String::with_capacity(text.len() + 8);
    quoted.push('"');
    for c in text.chars() {
        if matches!(c, '\\' | '"' | '$') {
            quoted.push('\\');
        }
        quoted.push(c);
    }
    // The comment's `"` ends what python-dotenv has begun, so that no other line is lost.
    quoted.push_str(if last { "\" # \"" } else { "\"" });
    Ok(quoted)
}

/// A backslash before a quote, another backslash or the end.
fn ambiguous_backslash(text: &str) -> bool {
    let bytes = text.as_bytes();
    bytes.iter().enumerate().any(|(index, byte)| {
        *byte == b'\\' && matches!(bytes.get(index + 1), None | Some(b'\\' | b'\'' | b'"'))
    })
}

/// A double-quoted YAML scalar (YAML 1.2.2, 7.3.1): always a string, on one line, in ASCII controls escaped.
#[must_use]
pub fn yaml(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => {
                quoted.push('\\');
                quoted.push(c);
            }
            '\n' => quoted.push_str("\\n"),
            '\t' => quoted.push_str("\\t"),
            // What YAML does not print, and the breaks of old versions of it.
            '\u{feff}' | '\u{2028}' | '\u{2029}' | '\u{fffe}' | '\u{ffff}' => escape(&mut quoted, c),
            c if c.is_control() => escape(&mut quoted, c),
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}

fn escape(out: &mut String, c: char) {
    write!(out, "\\u{:04X}", u32::from(c)).unwrap_or_default();
}

/// The same for a Compose file, which replaces `$NAME` after YAML has been read.
#[must_use]
pub fn compose(text: &str) -> String {
    yaml(text).replace('$', "$$")
}

/// Percent-encoding of all but RFC 3986's unreserved characters: safe in every part of a URL.
#[must_use]
pub fn urlencode(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            write!(encoded, "%{byte:02X}").unwrap_or_default();
        }
    }
    encoded
}

/// One word for a POSIX shell.
///
/// # Errors
/// A NUL.
pub fn shell(text: &str) -> Result<String, Unquotable> {
    refuse(text, "a shell word", &[('\0', "a NUL")])?;
    Ok(crate::shell::quote(text).into_owned())
}

/// One parameter of an nginx directive, in double quotes.
///
/// # Errors
/// A `$`, which nginx takes for a variable and has no escape for; a line end; a NUL.
pub fn nginx(text: &str) -> Result<String, Unquotable> {
    let refused =
        [('$', "`$`, which starts a variable"), ('\n', "a line end"), ('\r', "a line end"), ('\0', "a NUL")];
    refuse(text, "an nginx parameter", &refused)?;
    Ok(format!("\"{}\"", text.replace('\\', r"\\").replace('"', "\\\"")))
}

fn refuse(text: &str, format: &'static str, refused: &[(char, &'static str)]) -> Result<(), Unquotable> {
    match refused.iter().find(|(c, _)| text.contains(*c)) {
        Some((_, what)) => Err(Unquotable { format, what }),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dotenv_chooses_the_quotes_that_both_readers_agree_on() {
        let cases = [
            ("", "''"),
            ("a$b ${c} #d", "'a$b ${c} #d'"),
            ("it's", r"'it\'s'"),
            (r"C:\new", r"'C:\new'"),
            (r"a\\b", r#""a\\\\b""#),
            (r"a\", r"a\"),
            (r"a b\", r#""a b\\" # ""#),
            (r#"a\"$b"#, r#""a\\\"\$b""#),
        ];
        for (text, quoted) in cases {
            assert_eq!(dotenv(text).unwrap(), quoted, "{text}");
        }
        assert_eq!(dotenv("a\nb").unwrap_err().to_string(), ".env cannot carry a line end");
        assert!(dotenv("a\rb").is_err() && dotenv("a\0b").is_err());
    }

    #[test]
    fn yaml_is_one_line_and_compose_doubles_the_dollar() {
        assert_eq!(yaml("a\"b\\c\nd\u{7}\u{2028}é"), r#""a\"b\\c\nd\u0007\u2028é""#);
        assert_eq!(compose("a$b"), "\"a$$b\"");
    }

    #[test]
    fn urls_carry_bytes_and_shells_carry_words() {
        assert_eq!(urlencode("a/b@c%é~"), "a%2Fb%40c%25%C3%A9~");
        assert_eq!(shell("it's").unwrap(), r"'it'\''s'");
        assert!(shell("\0").is_err());
    }

    #[test]
    fn nginx_has_no_way_to_write_a_dollar() {
        assert_eq!(nginx(r#"a "b" \c; }"#).unwrap(), r#""a \"b\" \\c; }""#);
        assert_eq!(
            nginx("a$b").unwrap_err().to_string(),
            "an nginx parameter cannot carry `$`, which starts a variable"
        );
        assert!(nginx("a\nb").is_err());
    }
}
