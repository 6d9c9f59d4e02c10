//! What is wrong in a file that a person wrote: where, what was expected, and what to do.
//!
//! All findings of a file are collected and shown together, never only the first. `Display` is
//! plain text: colour is added by `ui`. Text that comes from the file is shown through [`shown`],
//! so that no control character of a hostile file reaches a terminal.

use std::fmt;

use unicode_width::UnicodeWidthChar;

/// Why a value is refused, before anyone says where it stands. Each part is a lowercase fragment
/// without a final stop.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}{}", .expected.as_ref().map(|what| format!("; expected {what}")).unwrap_or_default())]
pub struct Fault {
    pub message: String,
    /// What was expected: "a domain name such as ville-lyon.example.fr".
    pub expected: Option<String>,
    /// What to do next.
    pub hint: Option<String>,
    /// The refused value may be a secret: no source line shows it.
    pub secret: bool,
}

impl Fault {
    pub fn new(message: impl Into<String>) -> Self {
        Fault { message: message.into(), expected: None, hint: None, secret: false }
    }

    /// Marks the refused value as one that may be a secret; the message must not quote it either.
    #[must_use]
    pub fn secret(mut self) -> Self {
        self.secret = true;
        self
    }

    #[must_use]
    pub fn expected(mut self, what: impl Into<String>) -> Self {
        self.expected = Some(what.into());
        self
    }

    #[must_use]
    pub fn hint(mut self, next: impl Into<String>) -> Self {
        self.hint = Some(next.into());
        self
    }

    /// Adds "did you mean" when one of the candidates is near to the word.
    #[must_use]
    pub fn suggest<'a>(self, word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Self {
        match nearest(word, candidates) {
            Some(near) => self.hint(format!("did you mean `{near}`?")),
            None => self,
        }
    }
}

/// One finding in a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnostic {
    /// The file as the operator named it.
    pub file: String,
    /// One-based line and column, counted in characters; `None` where the file as a whole is meant.
    pub position: Option<(usize, usize)>,
    /// Path of the key, such as `clients.ville-lyon.domain`; empty for a syntax error.
    pub key: String,
    pub fault: Fault,
    pub snippet: Option<Snippet>,
}

/// The line that holds a fault, fit to be shown: secrets masked, control characters replaced, cut
/// around the mark when it is long.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snippet {
    pub text: String,
    /// First marked character of `text`, from 0.
    pub start: usize,
    /// Number of marked characters, at least 1.
    pub width: usize,
}

impl Snippet {
    /// What stands under `text` to point at the fault: blanks of the same width, then carets.
    #[must_use]
    pub fn underline(&self) -> String {
        let cells = |c: char| c.width().unwrap_or(1);
        let mut line = String::new();
        for c in self.text.chars().take(self.start) {
            match c {
                '\t' => line.push('\t'),
                c => line.extend(std::iter::repeat_n(' ', cells(c))),
            }
        }
        let marked = self.text.chars().skip(self.start).take(self.width).map(cells).sum::<usize>();
        line.extend(std::iter::repeat_n('^', marked.max(1)));
        line
    }
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.file)?;
        if let Some((line, column)) = self.position {
            write!(f, ":{line}:{column}")?;
        }
        f.write_str(": ")?;
        if !self.key.is_empty() {
            write!(f, "{}: ", self.key)?;
        }
        write!(f, "{}", self.fault)?;
        if let (Some(snippet), Some((line, _))) = (&self.snippet, self.position) {
            let gutter = " ".repeat(line.to_string().len());
            write!(f, "\n{gutter} |\n{line} | {}\n{gutter} | {}", snippet.text, snippet.underline())?;
        }
        if let Some(hint) = &self.fault.hint {
            write!(f, "\n  hint: {hint}")?;
        }
        Ok(())
    }
}

/// All findings of one reading, in the order of the file; never empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnostics(pub Vec<Diagnostic>);

impl fmt::Display for Diagnostics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, diagnostic) in self.0.iter().enumerate() {
            if index > 0 {
                f.write_str("\n\n")?;
            }
            write!(f, "{diagnostic}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Diagnostics {}

/// Longest piece of a file that a message quotes, in characters.
const SHOWN: usize = 60;

/// A piece of untrusted text for a message: in backticks, escaped, shortened.
#[must_use]
pub fn shown(text: &str) -> String {
    let mut quoted = String::from("`");
    for (index, c) in text.chars().enumerate() {
        if index == SHOWN {
            quoted.push('…');
            break;
        }
        if is_plain(c) { quoted.push(c) } else { quoted.extend(c.escape_unicode()) }
    }
    quoted.push('`');
    quoted
}

/// Whether a character can be shown as it is: no control character, and none that reorders or
/// hides what stands around it (the "Trojan Source" set and the zero-width ones).
#[must_use]
pub fn is_plain(c: char) -> bool {
    !(c.is_control()
        || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}'))
}

/// The candidate that a mistyped word most likely means, if one is near enough.
#[must_use]
pub fn nearest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    // One slip in three letters, an exchange of two counting as one; `-`, `_` and case do not count.
    let fold = |text: &str| text.to_lowercase().replace('-', "_");
    let folded = fold(word);
    let limit = (folded.chars().count() / 3).clamp(1, 4);
    candidates
        .into_iter()
        .map(|candidate| (strsim::damerau_levenshtein(&folded, &fold(candidate)), candidate))
        .filter(|(distance, candidate)| *distance <= limit && *distance < candidate.chars().count())
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_near_word_is_found_and_a_far_one_is_not() {
        let keys = ["domain", "ip", "port", "ssh_key"];
        assert_eq!(nearest("domian", keys), Some("domain"));
        assert_eq!(nearest("SSH-Key", keys), Some("ssh_key"));
        assert_eq!(nearest("pi", keys), Some("ip"));
        assert_eq!(nearest("colour", keys), None);
        assert_eq!(nearest("x", keys), None);
    }

    #[test]
    fn hostile_text_is_escaped_and_cut() {
        assert_eq!(shown("a\u{1b}[31mb\u{202e}"), r"`a\u{1b}[31mb\u{202e}`");
        assert_eq!(shown(&"x".repeat(100)).chars().count(), SHOWN + 3);
    }

    #[test]
    fn the_mark_stands_under_wide_letters_and_tabs() {
        let snippet = Snippet { text: "\té漢x".to_owned(), start: 3, width: 1 };
        assert_eq!(snippet.underline(), "\t   ^");
    }
}
