//! What an event must not hold, taken out of every text in it, wherever it stands.

use std::sync::LazyLock;

use regex::Regex;
use serde_json::Value;

use crate::secret::{Redactor, clean};

/// Longest text that is kept, in characters.
const LONGEST: usize = 8_000;

/// Secrets by their form, for those that nobody knows: keys of age and of SSH, what stands in front of the host of
/// an address, and what follows the words that announce one.
static FORMS: LazyLock<Vec<(Regex, &str)>> = LazyLock::new(|| {
    [
        (r"AGE-SECRET-KEY-1[0-9A-Za-z]+", "[secret]"),
        (r"(?s)-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|\z)", "[secret]"),
        (r"([A-Za-z][A-Za-z0-9+.-]*://)[^\s/@]+@", "$1[secret]@"),
        (r"(?i-u:\b(bearer|basic))\s+[A-Za-z0-9._~+/=-]{8,}", "$1 [secret]"),
        (r#"\b(\w*(?i-u:password|passwd|secret|token|api_?key))(["']?\s*[=:]\s*)("[^"]*"|'[^']*'|[^\s"',;&\[][^\s"',;&]{3,})"#, "$1$2[secret]"),
        // Where this program was built says something of who built it.
        (r"/\S*?/registry/src/[^/\s]+/", ""),
        (r"/rustc/[0-9a-f]{40}/", "rustc/"),
    ]
    .into_iter()
    .filter_map(|(form, instead)| Some((Regex::new(form).ok()?, instead)))
    .collect()
});

/// Masks every text of a value. `home` is the folder of who runs this: it is shown as `~`.
pub fn scrub(value: &mut Value, redactor: &Redactor, home: Option<&str>) {
    match value {
        Value::String(string) => *string = text(string, redactor, home),
        Value::Array(list) => list.iter_mut().for_each(|item| scrub(item, redactor, home)),
        Value::Object(fields) => fields.values_mut().for_each(|item| scrub(item, redactor, home)),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

/// One text: cleaned first, since a control character would hide a secret from the search.
pub fn text(text: &str, redactor: &Redactor, home: Option<&str>) -> String {
    let mut text = redactor.redact(&clean(text)).into_owned();
    for (form, instead) in FORMS.iter() {
        if form.is_match(&text) {
            text = form.replace_all(&text, *instead).into_owned();
        }
    }
    if let Some(home) = home.map(|home| home.trim_end_matches('/')).filter(|home| home.len() > 1) {
        text = text.replace(&format!("{home}/"), "~/");
    }
    if let Some((cut, _)) = text.char_indices().nth(LONGEST) {
        text.truncate(cut);
        text.push('…');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::secret::Secret;

    #[test]
    fn every_form_is_understood() {
        assert_eq!(FORMS.len(), 7);
    }

    #[test]
    fn secrets_go_and_the_rest_stays() {
        let known = Secret::from("Poison7Q2xK9");
        let redactor = Redactor::new([("SMTP_PASSWORD", &known)]);
        let shown = |said: &str| text(said, &redactor, Some("/home/alice"));
        for (said, expected) in [
            ("no secret at /home/alice/fleet/clients.toml", "no secret at ~/fleet/clients.toml"),
            ("login Poison\u{1b}[1m7Q2xK9 refused", "login [secret SMTP_PASSWORD] refused"),
            ("base64 UG9pc29uN1EyeEs5", "base64 [secret SMTP_PASSWORD]"),
            ("postgres://api:hunter2@db/x?y=1", "postgres://[secret]@db/x?y=1"),
            ("https://abc123@o1.ingest.sentry.io/42", "https://[secret]@o1.ingest.sentry.io/42"),
            ("Authorization: Bearer sntrys_abcdefgh", "Authorization: Bearer [secret]"),
            ("DB_PASSWORD=hunter2 and more", "DB_PASSWORD=[secret] and more"),
            (r#"{"api_key": "hunter2 x"}"#, r#"{"api_key": [secret]}"#),
            ("AGE-SECRET-KEY-1QQQQ.", "[secret]."),
            (
                "x -----BEGIN OPENSSH PRIVATE KEY-----\nb3Bl\n-----END OPENSSH PRIVATE KEY----- y",
                "x [secret] y",
            ),
            ("at /root/.cargo/registry/src/index.crates.io-1/russh-0.65/src/a.rs", "at russh-0.65/src/a.rs"),
            ("user@host: the password is not accepted", "user@host: the password is not accepted"),
        ] {
            assert_eq!(shown(said), expected);
        }
    }

    #[test]
    fn a_value_is_masked_wherever_it_stands() {
        let known = Secret::from("Poison7Q2xK9");
        let redactor = Redactor::new([("X", &known)]);
        let mut value = serde_json::json!({ "a": ["Poison7Q2xK9", { "b": "xPoison7Q2xK9y" }], "c": 1 });
        scrub(&mut value, &redactor, None);
        assert_eq!(value, serde_json::json!({ "a": ["[secret X]", { "b": "x[secret X]y" }], "c": 1 }));
    }
}
