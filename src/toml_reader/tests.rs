use std::time::Duration;

use insta::assert_snapshot;

use super::*;

fn faults(text: &str, reader: impl for<'d> FnOnce(&mut Table<'d>) -> Option<()>) -> String {
    match Document::parse(text, "a.toml").and_then(|document| document.read(reader)) {
        Ok(()) => "no fault".to_owned(),
        Err(found) => found.to_string(),
    }
}

/// First lines only: places and words without the source lines.
fn heads(text: &str, reader: impl for<'d> FnOnce(&mut Table<'d>) -> Option<()>) -> String {
    let all = faults(text, reader);
    let head = |line: &&str| line.starts_with("a.toml") || line.starts_with("  hint");
    all.lines().filter(head).collect::<Vec<_>>().join("\n")
}

fn nothing(_: &mut Table<'_>) -> Option<()> {
    Some(())
}

#[test]
fn text_that_is_no_toml_is_explained_in_plain_words() {
    assert_snapshot!(faults("ip = 51.210.42.100\nb = yes", nothing), @r#"
    a.toml:1:6: text without quotes
      |
    1 | ip = 51.210.42.100
      |      ^^^^^^^^^^^^^
      hint: write "51.210.42.100"

    a.toml:2:5: text without quotes
      |
    2 | b = yes
      |     ^^^
      hint: a boolean is written true or false
    "#);
    let heads = |text| heads(text, nothing);
    assert_snapshot!(heads("a = \"x\nb = 1"), @"a.toml:1:7: the string is not closed");
    assert_snapshot!(heads("a = '''\nx"), @"a.toml:2:2: the text over several lines is not closed");
    assert_snapshot!(heads("a = \"\\d\""), @r"
    a.toml:1:7: unknown escape
      hint: write \\ for a backslash, or put the text in single quotes
    ");
    assert_snapshot!(heads("a ="), @"a.toml:1:4: the value is missing");
    assert_snapshot!(heads("a: 1"), @"a.toml:1:4: a key without a value; expected key = value");
    assert_snapshot!(heads("[a\nb = 1"), @"a.toml:1:3: unclosed table; expected `]`");
    assert_snapshot!(heads("a = lyon"), @r#"
    a.toml:1:5: text without quotes
      hint: write "lyon"
    "#);
    assert_snapshot!(heads("a = 'x' 'y'"), @r"
    a.toml:1:9: unexpected text after the value
      hint: each key stands on a line of its own
    ");
}

#[test]
fn a_name_written_twice_names_the_first_line() {
    assert_snapshot!(heads("[a]\nx = 1\ny = 2\nx = 3\n[b]\n[a]\n", nothing), @r"
    a.toml:4:1: this name is already taken
      hint: it is first written on line 2; merge the two
    a.toml:6:2: this name is already taken
      hint: it is first written on line 1; merge the two
    ");
    assert_snapshot!(heads("[a]\nx = 1\n[a]\nx = 2\n[b]\ny = 1\ny = 2", nothing), @r"
    a.toml:3:2: this name is already taken
      hint: it is first written on line 1; merge the two
    a.toml:7:1: this name is already taken
      hint: it is first written on line 6; merge the two
    ");
}

#[test]
fn all_faults_are_told_at_once_in_the_order_of_the_file() {
    let text = "naem = \"x\"\n[web]\nport = \"80\"\ntags = [\"a\", 1]\nmode = \"fats\"\n\"odd key\" = 1\n";
    let read = |root: &mut Table<'_>| {
        root.required("name", string);
        root.optional(
            "web",
            table(|web| {
                web.required("host", string);
                web.optional("port", integer(1..=65535_u16));
                web.optional("tags", list(string));
                web.optional("mode", one_of(&[("fast", 1), ("safe", 2)]));
                Some(())
            }),
        )
    };
    assert_snapshot!(faults(text, read), @r#"
    a.toml: name: is missing

    a.toml:1:1: naem: unknown key
      |
    1 | naem = "x"
      | ^^^^
      hint: did you mean `name`?

    a.toml:2:2: web.host: is missing
      |
    2 | [web]
      |  ^^^

    a.toml:3:8: web.port: found a string; expected an integer from 1 to 65535
      |
    3 | port = "80"
      |        ^^^^
      hint: write it without quotes

    a.toml:4:14: web.tags[1]: found an integer; expected a string
      |
    4 | tags = ["a", 1]
      |              ^
      hint: put it in quotes

    a.toml:5:8: web.mode: found `fats`; expected one of "fast", "safe"
      |
    5 | mode = "fats"
      |        ^^^^^^
      hint: did you mean `fast`?

    a.toml:6:1: web."odd key": unknown key
      |
    6 | "odd key" = 1
      | ^^^^^^^^^
      hint: known here: host, port, tags, mode
    "#);
}

#[test]
fn numbers_and_times_stay_within_bounds() {
    let read = |root: &mut Table<'_>| {
        root.optional("a", integer(1..=10_u8));
        root.optional("b", integer(0..=i64::MAX));
        root.optional("c", number(0.0..=1.0));
        root.optional("d", number(0.0..=1.0));
        root.optional("e", duration(Duration::from_secs(1)..=Duration::from_secs(7200)));
        root.optional("f", duration(Duration::ZERO..=Duration::MAX));
        root.optional("g", duration(Duration::ZERO..=Duration::MAX));
        root.optional("h", duration(Duration::ZERO..=Duration::MAX));
        Some(())
    };
    let text =
        "a = 0x0B\nb = 99999999999999999999\nc = 1.5\nd = nan\ne = '3h'\nf = '10'\ng = 'é9m'\nh = 10\n";
    assert_snapshot!(heads(text, read), @r#"
    a.toml:1:5: a: 0x0B is out of range; expected an integer from 1 to 10
    a.toml:2:5: b: 99999999999999999999 is out of range; expected an integer from 0 to 9223372036854775807
    a.toml:3:5: c: 1.5 is out of range; expected a number from 0 to 1
    a.toml:4:5: d: nan is out of range; expected a number from 0 to 1
    a.toml:5:5: e: `3h` is out of range; expected a time from 1s to 2h
    a.toml:6:5: f: `10` has no unit; expected a time such as "10s", "5m" or "2h"
      hint: did you mean "10s"?
    a.toml:7:5: g: `é9m` is no length of time; expected a time such as "10s", "5m" or "2h"
    a.toml:8:5: h: found a number without a unit; expected a time such as "10s", "5m" or "2h"
      hint: did you mean "10s"?
    "#);
}

#[test]
fn good_values_are_read_from_tables_of_every_spelling() {
    let text = "a = 1_000\nb.c = 'x'\nd = { e = '5m' }\n[[f]]\ng = true\n[[f]]\ng = false\n[free.z]\n[free.y]\n[free]\n";
    let read = Document::parse(text, "a.toml").and_then(|document| {
        document.read(|root| {
            Some((
                root.required("a", integer(0..=5000_u32))?,
                root.required("b", table(|b| b.required("c", string)))?,
                root.required("d", table(|d| d.required("e", duration(Duration::ZERO..=Duration::MAX))))?,
                root.required("f", list(table(|f| f.required("g", boolean))))?,
                root.required("free", entries(|key| Ok(key.to_owned()), table(|_| Some(()))))?,
            ))
        })
    });
    let (a, b, d, f, free) = read.unwrap();
    assert_eq!((a, b.as_str(), d, f), (1000, "x", Duration::from_secs(300), vec![true, false]));
    let names: Vec<_> = free.iter().map(|(name, ())| name.as_str()).collect();
    assert_eq!(names, ["z", "y"]);
}

#[test]
fn entries_report_bad_keys_and_bad_values_and_arrays_of_tables_count() {
    let text = "[[f]]\nx = 1\n[m]\nBAD = 1\nok = 'x'\n";
    let read = |root: &mut Table<'_>| {
        root.optional("f", list(table(|f| f.required("g", boolean))));
        let lower = |key: &str| match key.chars().any(char::is_uppercase) {
            true => Err(Fault::new("has capitals").expected("lower case")),
            false => Ok(key.to_owned()),
        };
        root.optional("m", entries(lower, integer(0..=9_u8))).map(drop)
    };
    assert_snapshot!(heads(text, read), @r"
    a.toml:1:1: f[0].g: is missing
    a.toml:2:1: f[0].x: unknown key
      hint: known here: g
    a.toml:4:1: m.BAD: has capitals; expected lower case
    a.toml:5:6: m.ok: found a string; expected an integer from 0 to 9
    ");
}

#[test]
fn control_characters_are_refused_and_never_shown() {
    let text = "a = \"\\u001b[2J\"\n\"b\\u0007\" = 1\nc = \"x\\ny\"\nd = \"x\\ny\"\n";
    let read = |root: &mut Table<'_>| {
        root.optional("a", string);
        root.optional("c", string);
        root.optional("d", text_of_lines);
        Some(())
    };
    fn text_of_lines(value: Value<'_>) -> Option<String> {
        super::text(value)
    }
    let found = faults(text, read);
    assert!(!found.contains(['\u{1b}', '\u{7}']));
    assert!(!faults("a = x\u{202e}y\n\u{1b}[31m = 2", nothing).contains(['\u{1b}', '\u{202e}']));
    assert_snapshot!(heads(text, read), @r#"
    a.toml:1:5: a: holds the invisible character U+001B; expected visible characters only
    a.toml:2:1: "b\u{7}": unknown key
      hint: known here: a, c, d
    a.toml:3:5: c: holds a line end; expected visible characters only
    "#);
}

#[test]
fn a_secret_is_hidden_in_the_lines_of_other_faults_too() {
    let text = "s = { dsn = \"hunter2\", rate = 7 }\n";
    let read = |root: &mut Table<'_>| {
        root.optional(
            "s",
            table(|s| {
                s.optional("rate", number(0.0..=1.0));
                s.optional("dsn", secret(parsed(|_| Err::<(), _>(Fault::new("is no DSN")))))
            }),
        )
    };
    let found = faults(text, read);
    assert!(!found.contains("hunter2"));
    assert_snapshot!(found, @r"
    a.toml:1:13: s.dsn: is no DSN
      |
    1 | s = { dsn = *********, rate = 7 }
      |             ^^^^^^^^^

    a.toml:1:31: s.rate: 7 is out of range; expected a number from 0 to 1
      |
    1 | s = { dsn = *********, rate = 7 }
      |                               ^
    ");
}

#[test]
fn a_broken_line_that_may_hold_a_secret_is_hidden() {
    for text in [
        "dsn = \"https://hunter2@x",
        "[a.env]\nPW = hunter2",
        "env = { PW = hunter2 }",
        "x = \"https://hunter2@x",
        "pem = \"\"\"\nhunter2\n",
        "pem = \"\"\"\n\\hunter2\n\"\"\"\n",
    ] {
        let found = faults(text, nothing);
        assert!(found.starts_with("a.toml:"), "{found}");
        assert!(!found.contains("hunter2"), "{found}");
    }
    assert!(faults("title = hunter2", nothing).contains("hunter2"), "elsewhere the line is shown");
}

#[test]
fn a_reader_that_gives_up_without_a_reason_is_no_panic() {
    assert_eq!(faults("", |_| None), "a.toml: it cannot be read");
}
