//! Text from a host is data: nothing of it may move a cursor, ring a bell or pass for ours.

/// Longest text of a host that goes into a message, in characters.
const LONGEST: usize = 300;

/// One harmless line: control and format characters become spaces, ends are trimmed, length is bounded.
#[must_use]
pub fn line(text: &str) -> String {
    let mut clean = String::new();
    for (count, word) in
        text.split(|c: char| c.is_whitespace() || hidden(c)).filter(|w| !w.is_empty()).enumerate()
    {
        if count > 0 {
            clean.push(' ');
        }
        clean.push_str(word);
    }
    match clean.char_indices().nth(LONGEST) {
        Some((cut, _)) => format!("{}...", &clean[..cut]),
        None => clean,
    }
}

/// The same for raw bytes.
#[must_use]
pub fn bytes(text: &[u8]) -> String {
    line(&String::from_utf8_lossy(text))
}

/// The last lines of a longer text, joined by `; `: where programs say why they failed.
#[must_use]
pub fn tail(text: &[u8], lines: usize) -> String {
    let text = String::from_utf8_lossy(text);
    let all: Vec<String> = text.split(['\n', '\r']).map(line).filter(|line| !line.is_empty()).collect();
    all[all.len().saturating_sub(lines)..].join("; ")
}

/// Characters that are not seen but act: C0 and C1 controls, direction overrides (Unicode Bidi
/// class), zero-width and tag characters.
fn hidden(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
        || matches!(c, '\u{e0000}'..='\u{e007f}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escape_sequences_lose_their_power() {
        assert_eq!(line("\x1b[2Jred\x07\r\nhost\u{202e}gnp"), "[2Jred host gnp");
        assert_eq!(bytes(b"\xff\x00ok\n"), "\u{fffd} ok");
    }

    #[test]
    fn long_text_is_cut() {
        assert_eq!(line(&"x".repeat(1000)).len(), LONGEST + 3);
    }

    #[test]
    fn the_tail_keeps_the_last_lines() {
        assert_eq!(tail(b"a\nb\r\n\nc\n", 2), "b; c");
        assert_eq!(tail(b"", 2), "");
    }
}
