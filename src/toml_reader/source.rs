//! Where things stand in a text: lines and columns counted in characters, and the line to show.
//!
//! Line starts are found once, when the first is asked for: a file without a fault pays nothing, ten
//! thousand findings cost ten thousand binary searches.

use std::cell::OnceCell;
use std::ops::Range;

use crate::diagnostic::{Snippet, is_plain};

/// Longest line that is shown whole, in characters.
const LINE: usize = 120;
/// Characters kept before the mark when a line is cut.
const BEFORE: usize = 50;

pub(crate) struct Source<'i> {
    pub(crate) text: &'i str,
    starts: OnceCell<Vec<usize>>,
}

impl<'i> Source<'i> {
    pub(crate) fn new(text: &'i str) -> Self {
        Source { text, starts: OnceCell::new() }
    }

    fn starts(&self) -> &[usize] {
        self.starts.get_or_init(|| {
            // A byte order mark is no column.
            let first = if self.text.starts_with('\u{feff}') { '\u{feff}'.len_utf8() } else { 0 };
            let ends = self.text.bytes().enumerate().filter(|(_, byte)| *byte == b'\n');
            std::iter::once(first).chain(ends.map(|(at, _)| at + 1)).collect()
        })
    }

    /// One-based line of a byte offset.
    pub(crate) fn line(&self, offset: usize) -> usize {
        self.starts().partition_point(|start| *start <= offset).max(1)
    }

    /// One-based line and column of a byte offset.
    pub(crate) fn position(&self, offset: usize) -> (usize, usize) {
        let line = self.line(offset);
        let start = self.starts()[line - 1];
        (line, self.slice(start..offset).chars().count() + 1)
    }

    /// A one-based line without its end.
    pub(crate) fn line_text(&self, line: usize) -> &'i str {
        &self.text[self.line_span(line)]
    }

    fn line_span(&self, line: usize) -> Range<usize> {
        let start = self.starts()[line - 1];
        let end = self.starts().get(line).map_or(self.text.len(), |next| next - 1);
        let text = &self.text[start..end];
        start..start + text.strip_suffix('\r').unwrap_or(text).len()
    }

    /// The line that holds the start of `span`, with everything inside `secrets` masked.
    pub(crate) fn snippet(&self, span: &Range<usize>, secrets: &[Range<usize>]) -> Snippet {
        let line = self.line_span(self.line(span.start));
        let masked = |offset: usize| secrets.iter().any(|secret| secret.contains(&offset));
        let text: Vec<char> = self.text[line.clone()]
            .char_indices()
            .map(|(at, c)| match c {
                _ if masked(line.start + at) => '*',
                '\t' => '\t',
                c if is_plain(c) => c,
                _ => char::REPLACEMENT_CHARACTER,
            })
            .collect();
        let start = self.slice(line.start..span.start).chars().count().min(text.len());
        let width = self.slice(span.start..span.end.min(line.end)).chars().count();
        cut(&text, start, width.max(1))
    }

    /// A slice that forgives a range which ends before it starts.
    fn slice(&self, range: Range<usize>) -> &'i str {
        self.text.get(range).unwrap_or_default()
    }
}

fn cut(text: &[char], start: usize, width: usize) -> Snippet {
    if text.len() <= LINE {
        return Snippet { text: text.iter().collect(), start, width };
    }
    let from = start.saturating_sub(BEFORE).min(text.len() - LINE);
    let mut shown = String::new();
    let ellipsis = usize::from(from > 0);
    if from > 0 {
        shown.push('…');
    }
    shown.extend(&text[from..from + LINE]);
    if from + LINE < text.len() {
        shown.push('…');
    }
    Snippet { text: shown, start: start - from + ellipsis, width: width.min(from + LINE - start).max(1) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_count_characters_and_lines_end_in_either_way() {
        let source = Source::new("\u{feff}é = 1\r\nb = \"漢\" # x\n");
        assert_eq!(source.position(source.text.find('1').unwrap()), (1, 5));
        assert_eq!(source.position(source.text.find('x').unwrap()), (2, 11));
        assert_eq!(source.line_text(1), "é = 1");
        assert_eq!(source.position(source.text.len()), (3, 1));
        assert_eq!(source.line_text(3), "");
    }

    #[test]
    fn a_secret_on_the_line_is_masked_wherever_the_fault_is() {
        let source = Source::new("a = { dsn = \"key\", rate = 7 }");
        let at = source.text.find('7').unwrap();
        let secret = source.text.find("\"key").unwrap();
        let snippet = source.snippet(&(at..at + 1), std::slice::from_ref(&(secret..secret + 5)));
        assert_eq!(snippet.text, "a = { dsn = *****, rate = 7 }");
        assert_eq!((snippet.start, snippet.width), (at, 1));
    }

    #[test]
    fn a_long_line_is_cut_around_the_mark() {
        let text = format!("x = \"{}!{}\"", "a".repeat(300), "b".repeat(300));
        let source = Source::new(&text);
        let at = text.find('!').unwrap();
        let snippet = source.snippet(&(at..at + 1), &[]);
        assert_eq!(snippet.text.chars().nth(snippet.start), Some('!'));
        assert_eq!(snippet.text.chars().count(), LINE + 2);
    }
}
