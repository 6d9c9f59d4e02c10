//! The shapes that one value takes on its way through encoders, quoters and logs.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE};
use zeroize::{Zeroize, Zeroizing};

/// Shortest piece worth hiding: shorter ones would blank out ordinary text.
pub(super) const MIN_LEN: usize = 6;
/// Shortest line of a value of several lines that is hidden by itself.
const MIN_LINE: usize = 8;

/// What percent-encoders leave as it is besides letters and digits: RFC 3986's unreserved characters,
/// Python's `quote`, JavaScript's `encodeURIComponent`, HTML forms, RFC 3986's user part with and without
/// `;=`, and the WHATWG URL standard's user part and query, which leave a percent sign too.
const KEPT: [&str; 8] = [
    "-_.~",
    "-_.~/",
    "-_.!~*'()",
    "-_.*",
    "-_.~!$&'()*+,;=",
    "-_.~!$&'()*+,",
    "-_.~!$&'()*+,%",
    "-_.~!$&()*+,%/:;=?@[\\]^`{|}",
];

/// Every known form of a value, of [`MIN_LEN`] bytes at least. May hold the same form twice.
pub(super) fn forms(value: &str) -> Vec<Zeroizing<Vec<u8>>> {
    let mut out = Collector(Vec::new());
    out.encoded(value);
    let trimmed = value.trim();
    if trimmed != value {
        out.encoded(trimmed);
    }
    if trimmed.contains('\n') {
        // Logs and prefixes cut such a value at its line ends. Armor lines (`-----BEGIN`) are public.
        for line in trimmed.lines().map(str::trim) {
            if line.len() >= MIN_LINE && !line.starts_with("-----") {
                out.encoded(line);
            }
        }
    }
    out.0
}

struct Collector(Vec<Zeroizing<Vec<u8>>>);

impl Collector {
    fn push(&mut self, form: impl Into<Vec<u8>>) {
        let mut form = form.into();
        if form.len() >= MIN_LEN {
            self.0.push(Zeroizing::new(form));
        } else {
            form.zeroize();
        }
    }

    fn encoded(&mut self, value: &str) {
        if value.len() < MIN_LEN {
            return;
        }
        self.push(value);
        self.base64(value.as_bytes());
        for upper in [false, true] {
            self.push(value.bytes().map(|byte| hex(byte, upper)).collect::<String>());
        }
        self.percent(value);
        self.quoted(value);
    }

    /// Alone, or anywhere inside a longer encoded text: there are three alignments, and the characters
    /// that also carry bits of the neighbours are left out.
    fn base64(&mut self, value: &[u8]) {
        for engine in [&STANDARD, &URL_SAFE] {
            let whole = Zeroizing::new(engine.encode(value));
            self.push(whole.trim_end_matches('='));
            // As `base64`, `openssl base64` and PEM wrap their lines.
            for width in [64, 76] {
                if whole.len() > width {
                    whole.as_bytes().chunks(width).for_each(|line| self.push(line));
                }
            }
            self.push(whole.as_bytes());
            for shift in 0..3 {
                let mut shifted = Zeroizing::new(vec![0; shift]);
                shifted.extend_from_slice(value);
                let text = Zeroizing::new(engine.encode(&*shifted));
                let (from, to) = ((8 * shift).div_ceil(6), 8 * shifted.len() / 6);
                self.push(&text.as_bytes()[from..to]);
            }
        }
    }

    /// RFC 3986, with the characters that each common encoder leaves as they are.
    fn percent(&mut self, value: &str) {
        for keep in KEPT {
            for upper in [false, true] {
                let encode = |byte: u8| match byte {
                    byte if byte.is_ascii_alphanumeric() || keep.as_bytes().contains(&byte) => {
                        char::from(byte).to_string()
                    }
                    byte => format!("%{}", hex(byte, upper)),
                };
                let text: String = value.bytes().map(encode).collect();
                if text.contains("%20") {
                    self.push(text.replace("%20", "+"));
                }
                self.push(text);
            }
        }
    }

    fn quoted(&mut self, value: &str) {
        // JSON as serde and Python's `ensure_ascii=False` write it, with only ASCII, with `\/` (PHP), for
        // HTML (Go), and JSON inside JSON.
        let json = json(value, false, "");
        self.push(json.replace('/', "\\/"));
        for special in ["", "<>&"] {
            self.push(self::json(value, true, special));
            self.push(self::json(value, false, special));
        }
        self.push(self::json(&json, false, ""));
        // Shell words, SQL and YAML in single quotes, `.env` in single and double ones, Compose's `$$`,
        // Rust's and Python's debug forms.
        self.push(value.replace('\'', r"'\''"));
        self.push(value.replace('\'', r#"'"'"'"#));
        self.push(value.replace('\'', "''"));
        self.push(value.replace('\'', r"\'"));
        self.push(value.replace('$', "$$"));
        self.push(value.replace('\'', r"\'").replace('$', "$$"));
        self.push(backslashed(value, "\\'"));
        self.push(backslashed(value, "\\\""));
        self.push(backslashed(value, "\\\"$`"));
        self.push(backslashed(value, " \t!\"#$&'()*,;<>?[\\]^`{|}~=%"));
        self.push(value.escape_debug().to_string());
        self.push(value.escape_default().to_string());
    }
}

fn hex(byte: u8, upper: bool) -> String {
    if upper { format!("{byte:02X}") } else { format!("{byte:02x}") }
}

/// A backslash before each of the `special` characters; a line end becomes `\n`.
fn backslashed(value: &str, special: &str) -> String {
    let mut out = String::with_capacity(value.len() + 8);
    for char in value.chars() {
        match char {
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            char => {
                if special.contains(char) {
                    out.push('\\');
                }
                out.push(char);
            }
        }
    }
    out
}

/// The inside of a JSON string (RFC 8259, section 7).
fn json(value: &str, ascii: bool, special: &str) -> String {
    let mut out = String::with_capacity(value.len() + 8);
    for char in value.chars() {
        match char {
            '"' | '\\' => out.extend(['\\', char]),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\u{8}' => out.push_str("\\b"),
            '\u{c}' => out.push_str("\\f"),
            char if char < ' ' || special.contains(char) || (ascii && !char.is_ascii()) => {
                let mut units = [0; 2];
                for unit in char.encode_utf16(&mut units) {
                    out.push_str(&format!("\\u{unit:04x}"));
                }
            }
            char => out.push(char),
        }
    }
    out
}
