//! The masking, tried on every form and on every way to cut a stream.

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::*;
use crate::secret::{Generator, generate};

const NASTY: &str = r#"p@ss 'w"rd$\/<é>+%"#;

fn redactor(secrets: &[(&str, &str)]) -> Redactor {
    let owned: Vec<_> = secrets.iter().map(|(name, value)| (*name, Secret::from(*value))).collect();
    Redactor::new(owned.iter().map(|(name, value)| (*name, value)))
}

#[test]
fn every_form_is_masked() {
    use base64::Engine as _;
    use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
    let redactor = redactor(&[("PW", NASTY)]);
    let json = serde_json::to_string(NASTY).unwrap();
    let url = {
        let mut url = url::Url::parse("postgres://host/db").unwrap();
        url.set_password(Some(NASTY)).unwrap();
        url.to_string()
    };
    let query: String = url::form_urlencoded::Serializer::new(String::new()).append_pair("k", NASTY).finish();
    for (form, text) in [
        ("raw", NASTY.to_owned()),
        ("shell", crate::shell::quote(NASTY).into_owned()),
        ("shell, double", NASTY.replace('\'', r#"'"'"'"#)),
        ("dotenv", format!("PW='{}'", NASTY.replace('\'', r"\'"))),
        ("compose", NASTY.replace('$', "$$")),
        ("sql", NASTY.replace('\'', "''")),
        ("json", json.clone()),
        ("json in json", serde_json::to_string(&json).unwrap()),
        ("json, ascii", r#"p@ss 'w\"rd$\\/<\u00e9>+%"#.to_owned()),
        ("json, go", r#"p@ss 'w\"rd$\\/\u003cé\u003e+%"#.to_owned()),
        ("debug", format!("{NASTY:?}")),
        ("url", url),
        ("query", query),
        ("base64", STANDARD.encode(NASTY)),
        ("base64url", URL_SAFE_NO_PAD.encode(NASTY)),
        ("basic auth", STANDARD.encode(format!("user:{NASTY}"))),
        ("basic auth, other alignment", STANDARD.encode(format!("users:{NASTY}; and more"))),
        ("hex", NASTY.bytes().map(|byte| format!("{byte:02X}")).collect()),
    ] {
        let text = format!("before {text} after");
        let out = redactor.redact(&text);
        assert!(out.contains("[secret PW]"), "{form}: {text} gave {out}");
        assert!(out.starts_with("before ") && out.ends_with(" after"), "{form}: {out}");
        // What may stay of a secret inside longer base64 is the two characters it shares.
        assert!(!out.contains("rd") && !out.contains("cmQ"), "{form}: {out}");
    }
}

#[test]
fn what_is_no_secret_stays() {
    let redactor = redactor(&[("SHORT", "abc12"), ("LONG", "correct-horse")]);
    let text = "abc12 correct-horsf correct horse";
    assert!(matches!(redactor.redact(text), Cow::Borrowed(_)));
    assert!(!Redactor::default().finds(b"anything at all"));
    assert_eq!(Redactor::default().redact("anything at all"), "anything at all");
}

#[test]
fn names_tell_secrets_apart_and_overlaps_leave_nothing() {
    let redactor =
        redactor(&[("A", "abcdefgh"), ("B", "efghijkl"), ("SAME", "abcdefgh"), ("LONGER", "abcdefghZZ")]);
    assert_eq!(redactor.redact("1 abcdefgh 2 efghijkl 3"), "1 [secret A] 2 [secret B] 3");
    assert_eq!(redactor.redact("1 abcdefghijkl 2"), "1 [secret A] 2");
    assert_eq!(redactor.redact("1 abcdefghZZ 2"), "1 [secret LONGER] 2");
    assert_eq!(redactor.redact("abcdefghefghijkl"), "[secret A][secret B]");
}

#[test]
fn a_value_of_several_lines_is_masked_line_by_line() {
    let key = "-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQYDK2VwBCIEIA\nq83vEjRWeJASNFZ4kBI0Vg==\n-----END PRIVATE KEY-----\n";
    let redactor = redactor(&[("KEY", key)]);
    assert_eq!(redactor.redact(&format!("<{}>", key.trim())), "<[secret KEY]>");
    let prefixed: String = key.lines().map(|line| format!("api | {line}\n")).collect();
    assert_eq!(
        redactor.redact(&prefixed),
        "api | -----BEGIN PRIVATE KEY-----\napi | [secret KEY]\napi | [secret KEY]\napi | -----END PRIVATE KEY-----\n"
    );
}

#[test]
fn wrapped_base64_is_masked() {
    use base64::Engine as _;
    let value = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ-and-more-of-it";
    let encoded = base64::engine::general_purpose::STANDARD.encode(value);
    let wrapped = format!("{}\n{}\n", &encoded[..76], &encoded[76..]);
    let redactor = redactor(&[("LONG", value)]);
    assert_eq!(redactor.redact(&wrapped), "[secret LONG]\n[secret LONG]\n");
}

/// However a stream is cut, what comes out is what the whole text would have given.
#[test]
fn chunks_give_what_the_whole_gives() {
    let redactor = redactor(&[
        ("A", "abcabcabd"),
        ("B", "cabdab"),
        ("C", "aaaaaa"),
        ("D", "bdabaaaa"),
        ("E", "abdabab"),
    ]);
    let mut rng = StdRng::seed_from_u64(7);
    let mut masked = 0;
    for _ in 0..5000 {
        let mut text = String::new();
        for _ in 0..rng.random_range(1..8) {
            text.push_str(
                ["abcabcabd", "cabdab", "aaaaaa", "bdabaaaa", "ab", "x", "abc"][rng.random_range(0..7)],
            );
        }
        let whole = redactor.redact(&text).into_owned();
        masked += usize::from(whole != text);
        let mut chunks = redactor.chunks();
        let mut out = Vec::new();
        let mut rest = text.as_bytes();
        while !rest.is_empty() {
            let (chunk, tail) = rest.split_at(rng.random_range(1..=rest.len().min(5)));
            out.extend(chunks.push(chunk));
            rest = tail;
        }
        out.extend(chunks.finish());
        assert_eq!(String::from_utf8(out).unwrap(), whole, "{text}");
    }
    assert!(masked > 1000, "the texts hold secrets");
}

#[test]
fn a_stream_waits_only_where_a_secret_may_begin() {
    let redactor = redactor(&[("PW", "correct-horse-battery")]);
    let mut chunks = redactor.chunks();
    assert_eq!(chunks.push(b"Password for bob: "), b"Password for bob: ");
    assert_eq!(chunks.push(b"so corr"), b"so ");
    assert_eq!(chunks.push(b"ect-horse-"), b"");
    assert_eq!(chunks.push(b"battery\n"), b"[secret PW]\n");
    assert_eq!(chunks.push(b"correct"), b"");
    assert_eq!(chunks.finish(), b"correct");
}

#[test]
fn thousands_of_secrets_cost_little() {
    let mut rng = StdRng::seed_from_u64(9);
    let secrets: Vec<_> = (0..5000).map(|_| generate(&Generator::Alnum(32), &mut rng)).collect();
    let redactor = Redactor::new(secrets.iter().map(|secret| ("S", secret)));
    let text =
        "2026-11-20T07:16:00Z api INFO request served in 12 ms status=200 path=/api/health\n".repeat(12_000);
    assert!(!redactor.finds(text.as_bytes()), "a megabyte of innocent log");
    let planted = format!("{text}{}{text}", secrets[4321].reveal());
    assert_eq!(redactor.redact(&planted), format!("{text}[secret S]{text}"));
}

#[test]
fn the_debug_form_shows_no_value() {
    let redactor = redactor(&[("PW", "correct-horse-battery")]);
    assert_eq!(format!("{redactor:?}"), "Redactor(1 secrets)");
}
