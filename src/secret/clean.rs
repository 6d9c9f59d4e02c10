//! Output of a host is data: nothing in it may move a cursor, set a title or reorder a line here.

use std::borrow::Cow;
use std::iter::Peekable;
use std::str::Chars;

/// Text of a host with its escape sequences removed, carriage returns turned into line ends, and every
/// other control or direction-changing character replaced by U+FFFD. Tabs and line ends stay.
///
/// Clean before redacting: a sequence in the middle of a secret would hide it from the search.
#[must_use]
pub fn clean(text: &str) -> Cow<'_, str> {
    let Some(first) = text.find(is_unsafe) else { return Cow::Borrowed(text) };
    let mut out = String::with_capacity(text.len());
    out.push_str(&text[..first]);
    let mut rest = text[first..].chars().peekable();
    while let Some(char) = rest.next() {
        match char {
            '\u{1b}' => escape(&mut rest),
            '\u{9b}' => control_sequence(&mut rest),
            '\u{90}' | '\u{98}' | '\u{9d}'..='\u{9f}' => control_string(&mut rest),
            '\r' => {
                rest.next_if_eq(&'\n');
                out.push('\n');
            }
            char if is_unsafe(char) => out.push(char::REPLACEMENT_CHARACTER),
            char => out.push(char),
        }
    }
    Cow::Owned(out)
}

/// The same for raw bytes; what is not UTF-8 becomes U+FFFD.
#[must_use]
pub fn clean_bytes(bytes: &[u8]) -> String {
    match String::from_utf8_lossy(bytes) {
        Cow::Borrowed(text) => clean(text).into_owned(),
        Cow::Owned(text) => clean(&text).into_owned(),
    }
}

/// C0 and C1 controls, DEL, and what Unicode uses to change direction (UAX #9, section 2) or line.
fn is_unsafe(char: char) -> bool {
    match char {
        '\n' | '\t' => false,
        '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => true,
        char => char.is_control(),
    }
}

/// After ESC (ECMA-48, 5.2 to 5.4 and 8.3): what it introduces decides how much belongs to it.
fn escape(rest: &mut Peekable<Chars<'_>>) {
    match rest.next_if(|char| matches!(char, '\u{20}'..='\u{7e}')) {
        Some('[') => control_sequence(rest),
        Some('P' | 'X' | ']' | '^' | '_') => control_string(rest),
        Some('\u{20}'..='\u{2f}') => {
            while rest.next_if(|char| matches!(char, '\u{20}'..='\u{2f}')).is_some() {}
            rest.next_if(|char| matches!(char, '\u{30}'..='\u{7e}'));
        }
        _ => {}
    }
}

/// CSI: parameters, intermediates, one final character.
fn control_sequence(rest: &mut Peekable<Chars<'_>>) {
    while rest.next_if(|char| matches!(char, '\u{20}'..='\u{3f}')).is_some() {}
    rest.next_if(|char| matches!(char, '\u{40}'..='\u{7e}'));
}

/// OSC and its like: up to their terminator, but never past the end of the line, so that a host cannot
/// hide the rest of its output behind one that it does not close.
fn control_string(rest: &mut Peekable<Chars<'_>>) {
    while let Some(char) = rest.next_if(|char| !matches!(char, '\n' | '\r')) {
        match char {
            '\u{7}' | '\u{9c}' => return,
            '\u{1b}' => {
                rest.next_if_eq(&'\\');
                return;
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_text_is_not_copied() {
        assert!(matches!(clean("déjà\tvu\n日本 🏛️"), Cow::Borrowed(_)));
    }

    #[test]
    fn sequences_vanish_and_the_text_around_them_stays() {
        for (given, wanted) in [
            ("\u{1b}[1;31mred\u{1b}[0m end", "red end"),
            ("a\u{1b}[2J\u{1b}[Hb", "ab"),
            ("a\u{1b}]0;title\u{7}b", "ab"),
            ("a\u{1b}]52;c;ZXZpbA==\u{1b}\\b", "ab"),
            ("a\u{1b}Pq#0;1\u{1b}\\b", "ab"),
            ("a\u{1b}(Bb\u{1b}7c\u{1b}cd", "abcd"),
            ("a\u{9b}31mb\u{9d}0;t\u{9c}c", "abc"),
            ("a\u{1b}]0;unclosed\nnext line", "a\nnext line"),
            ("a\u{1b}", "a"),
            ("a\u{1b}[31", "a"),
            ("a\u{1b}é", "aé"),
            ("a\u{1b}\u{1b}[0mb", "ab"),
        ] {
            assert_eq!(clean(given), wanted, "{given:?}");
        }
    }

    #[test]
    fn a_carriage_return_cannot_overwrite_a_line() {
        assert_eq!(clean("10%\r100%\r\ndone\r"), "10%\n100%\ndone\n");
    }

    #[test]
    fn other_controls_become_visible() {
        assert_eq!(clean("a\0b\u{8}c\u{7f}d\u{85}e"), "a\u{fffd}b\u{fffd}c\u{fffd}d\u{fffd}e");
        assert_eq!(clean("user\u{202e}gnp.exe\u{2066}"), "user\u{fffd}gnp.exe\u{fffd}");
        assert_eq!(clean_bytes(b"\xff\x1b[1mok"), "\u{fffd}ok");
    }

    #[test]
    fn nothing_unsafe_survives_any_pair_or_triple() {
        let pieces =
            ["\u{1b}", "[", "]", "\u{9b}", "\u{7}", "\\", "3", "m", "\r", "\n", "\u{202e}", "x", "P"];
        for a in pieces {
            for b in pieces {
                for c in pieces {
                    let text = format!("{a}{b}{c}{a}");
                    let out = clean(&text);
                    assert!(!out.contains(is_unsafe), "{text:?} gave {out:?}");
                }
            }
        }
    }
}
