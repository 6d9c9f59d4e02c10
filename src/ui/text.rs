//! Text measured in columns: cleaned, cut, wrapped, aligned.
//!
//! Rule of this file: pure. What came from a host or a file passes through [`clean`] or [`flat`]
//! before it is laid out; colour is added last, by [`Line::paint`], and never measured.

use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

use super::style::{Look, Role};
pub use crate::words::bytes;

/// The lines of a text, harmless to a terminal: no control character, no tab, nothing that
/// changes direction.
pub fn clean(text: &str) -> Vec<String> {
    crate::secret::clean(text).lines().map(|line| line.replace('\t', " ").trim_end().to_owned()).collect()
}

/// The text as one harmless line.
pub fn flat(text: &str) -> String {
    if is_plain(text) {
        return text.trim_end().to_owned();
    }
    let clean = crate::secret::clean(text.trim_end());
    clean.trim_end().replace(['\n', '\t'], " ")
}

/// Columns that the text takes.
pub fn width(text: &str) -> usize {
    // Nearly all of it is, in tables of thousands of rows.
    if is_plain(text) { text.len() } else { text.width() }
}

/// Visible ASCII: harmless, one column a byte.
fn is_plain(text: &str) -> bool {
    text.bytes().all(|byte| matches!(byte, b' '..=b'~'))
}

/// The text in at most `max` columns, the cut shown by the ellipsis.
pub fn fit(text: &str, max: usize, ellipsis: &str) -> String {
    if width(text) <= max {
        return text.to_owned();
    }
    let ellipsis = if width(ellipsis) <= max { ellipsis } else { "" };
    let mut kept = prefix(text, max - width(ellipsis)).trim_end().to_owned();
    kept.push_str(ellipsis);
    kept
}

/// The longest beginning of the text that takes at most `max` columns.
fn prefix(text: &str, max: usize) -> &str {
    let mut used = 0;
    for (at, char) in text.char_indices() {
        used += char.width().unwrap_or(0);
        if used > max {
            return &text[..at];
        }
    }
    text
}

/// The text followed by spaces up to `columns`.
pub fn pad(text: &str, columns: usize) -> String {
    format!("{text}{}", " ".repeat(columns.saturating_sub(width(text))))
}

/// The text broken between words into lines of at most `max` columns; a longer word is broken
/// within. Never empty.
pub fn wrap(text: &str, max: usize) -> Vec<String> {
    let max = max.max(8);
    let body = text.trim_start_matches(' ');
    let mut lines = Vec::new();
    let mut line = " ".repeat((text.len() - body.len()).min(max / 2));
    for (at, mut word) in body.split(' ').enumerate() {
        if at > 0 && width(&line) + 1 + width(word) > max {
            lines.push(std::mem::take(&mut line));
        } else if at > 0 {
            line.push(' ');
        }
        while width(&line) + width(word) > max {
            let head = prefix(word, max - width(&line));
            line.push_str(head);
            word = &word[head.len()..];
            lines.push(std::mem::take(&mut line));
        }
        line.push_str(word);
    }
    lines.push(line);
    lines
}

/// Names one after the other as far as the columns go, then "and 37 more".
pub fn names(names: &[&str], max: usize) -> String {
    let more = |shown: usize| match names.len() - shown {
        0 => String::new(),
        left => format!(" and {left} more"),
    };
    let (mut text, mut best) = (String::new(), String::new());
    for (at, name) in names.iter().enumerate() {
        if at > 0 {
            text.push_str(", ");
        }
        text.push_str(name);
        if at > 0 && width(&text) > max {
            break;
        }
        let more = more(at + 1);
        if at == 0 || width(&text) + width(&more) <= max {
            best = format!("{text}{more}");
        }
    }
    best
}

/// "1 client", "3 clients".
pub fn count(number: usize, noun: &str) -> String {
    format!("{number} {noun}{}", if number == 1 { "" } else { "s" })
}

/// A duration as a person says it: "0.4 s", "48 s", "3 min 04 s", "1 h 02 min".
pub fn seconds(seconds: f64) -> String {
    let seconds = seconds.max(0.0);
    if seconds < 9.95 {
        return format!("{seconds:.1} s");
    }
    // A cast from a float saturates.
    whole_seconds(seconds.round() as u64)
}

/// The same for a clock that runs, where tenths would flicker.
pub fn whole_seconds(seconds: u64) -> String {
    match seconds {
        0..60 => format!("{seconds} s"),
        60..3600 => format!("{} min {:02} s", seconds / 60, seconds % 60),
        _ => format!("{} h {:02} min", seconds / 3600, seconds % 3600 / 60),
    }
}

/// One line of pieces, each in its role.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Line(Vec<(Role, String)>);

impl Line {
    pub fn new() -> Self {
        Line::default()
    }

    #[must_use]
    pub fn with(mut self, role: Role, text: impl Into<String>) -> Self {
        self.push(role, text);
        self
    }

    pub fn push(&mut self, role: Role, text: impl Into<String>) {
        let text = text.into();
        if !text.is_empty() {
            self.0.push((role, text));
        }
    }

    #[must_use]
    pub fn with_all(mut self, other: Line) -> Self {
        self.append(other);
        self
    }

    /// Adds all the pieces of another line.
    pub fn append(&mut self, mut other: Line) {
        self.0.append(&mut other.0);
    }

    pub fn width(&self) -> usize {
        self.0.iter().map(|(_, text)| width(text)).sum()
    }

    /// Adds spaces up to the column.
    #[must_use]
    pub fn padded(mut self, column: usize) -> Self {
        let missing = column.saturating_sub(self.width());
        self.push(Role::Text, " ".repeat(missing));
        self
    }

    /// Cut to at most `max` columns.
    #[must_use]
    pub fn fit(self, max: usize, ellipsis: &str) -> Self {
        if self.width() <= max {
            return self;
        }
        let mut out = Line::new();
        let mut left = max;
        for (role, text) in self.0 {
            let taken = width(&text);
            // A piece that fits exactly would leave no room for the ellipsis of what follows it.
            if taken + width(ellipsis) <= left {
                left -= taken;
                out.push(role, text);
            } else {
                let ellipsis = if width(ellipsis) <= left { ellipsis } else { "" };
                let kept = prefix(&text, left - width(ellipsis)).trim_end();
                out.push(role, format!("{kept}{ellipsis}"));
                break;
            }
        }
        out
    }

    pub fn paint(&self, look: &Look) -> String {
        self.0.iter().map(|(role, text)| look.paint(*role, text)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_of_a_hostile_line_reaches_the_terminal() {
        assert_eq!(flat("a\u{1b}[31;1mred\u{1b}[0m\tb\r\nc\n"), "ared b c");
        assert_eq!(flat("\u{1b}]0;title\u{7}x"), "x");
        assert_eq!(flat("\u{202e}txt.exe\u{9b}2J"), "\u{fffd}txt.exe");
        assert_eq!(flat("10 %\r20 %\u{7}"), "10 % 20 %\u{fffd}");
        assert_eq!(clean("one\n\ttwo \r\n"), ["one", " two"]);
    }

    #[test]
    fn a_cut_counts_columns_and_not_characters() {
        assert_eq!(fit("café crème", 10, "…"), "café crème");
        assert_eq!(fit("café crème", 7, "…"), "café c…");
        assert_eq!(fit("café crème", 6, "…"), "café…");
        assert_eq!(fit("日本語の町", 6, "…"), "日本…");
        assert_eq!(fit("abcdef", 2, "..."), "ab");
        assert_eq!(fit("abcdef", 0, "…"), "");
        for max in 0..12 {
            assert!(width(&fit("日a本b語c", max, "…")) <= max, "{max}");
        }
    }

    #[test]
    fn wrapping_keeps_every_word_and_stays_within_the_columns() {
        assert_eq!(wrap("the quick brown fox", 10), ["the quick", "brown fox"]);
        assert_eq!(wrap("abcdefghijklmnop", 8), ["abcdefgh", "ijklmnop"]);
        assert_eq!(wrap("", 10), [""]);
        assert_eq!(wrap("  indented", 20), ["  indented"]);
        let text = "une 日本語の長い町の名前 with_a_very_long_unbroken_word_inside and more";
        for max in 8..40 {
            let lines = wrap(text, max);
            assert!(lines.iter().all(|line| width(line) <= max), "{max}: {lines:?}");
            let squeeze = |text: &str| text.replace(' ', "");
            assert_eq!(squeeze(&lines.concat()), squeeze(text));
        }
    }

    #[test]
    fn names_are_folded_to_the_columns() {
        let list = ["client-1", "client-2", "client-3", "client-4"];
        assert_eq!(names(&list, 80), "client-1, client-2, client-3, client-4");
        assert_eq!(names(&list, 30), "client-1, client-2 and 2 more");
        assert_eq!(names(&list, 5), "client-1 and 3 more");
        assert_eq!(names(&list[..1], 2), "client-1");
    }

    #[test]
    fn durations_read_as_people_say_them() {
        let all = [0.04, 0.44, 9.94, 9.96, 48.2, 59.6, 184.0, 3599.0, 3720.0, -1.0, f64::NAN].map(seconds);
        assert_eq!(
            all.join(", "),
            "0.0 s, 0.4 s, 9.9 s, 10 s, 48 s, 1 min 00 s, 3 min 04 s, 59 min 59 s, 1 h 02 min, 0.0 s, 0.0 s"
        );
    }

    #[test]
    fn sizes_have_at_most_three_digits() {
        let all = [0, 999, 1_000, 9_940, 9_960, 999_499, 999_500, 4_100_000, 41_000_000, u64::MAX].map(bytes);
        assert_eq!(
            all.join(", "),
            "0 B, 999 B, 1.0 kB, 9.9 kB, 10 kB, 999 kB, 1.0 MB, 4.1 MB, 41 MB, 18446744 TB"
        );
    }

    #[test]
    fn a_line_is_cut_across_its_pieces() {
        let line = || Line::new().with(Role::Bad, "client-1").with(Role::Text, "  failed at once");
        assert_eq!(line().fit(40, "…"), line());
        let look = super::super::style::tests::look(80, 24);
        assert_eq!(line().fit(14, "…").paint(&look), "client-1  fai…");
        assert_eq!(line().fit(8, "…").paint(&look), "client-…");
        assert_eq!(line().fit(0, "…").paint(&look), "");
        for max in 0..30 {
            assert!(line().fit(max, "...").width() <= max, "{max}");
        }
    }
}
