use anyhow::anyhow;

use super::super::style::tests::look;
use super::*;
use crate::diagnostic::Fault;

fn fault() -> Fault {
    Fault::new("`ville lyon` is not a domain name")
        .expected("letters, digits and dashes between dots")
        .hint("did you mean `ville-lyon.geoclic.example`?")
}

/// A problem whose mark begins at the column, from 1.
fn problem(line: usize, column: usize, width: usize, source: &str) -> Diagnostic {
    Diagnostic {
        file: "clients.toml".to_owned(),
        position: Some((line, column)),
        key: "clients.ville-lyon.domain".to_owned(),
        fault: fault(),
        snippet: Some(Snippet { text: source.to_owned(), start: column - 1, width }),
    }
}

#[test]
fn an_error_says_what_then_why_then_what_next() {
    let error = anyhow!("permission denied (os error 13)")
        .context("cannot read secrets/ville-lyon.age")
        .hint("the file belongs to another user: chown it, or run as that user")
        .context("cannot provision ville-lyon")
        .hint("nothing was touched; run the same command again afterwards, it will go on from there");
    insta::assert_snapshot!(render(&error, &look(80, 24)), @"
    error: cannot provision ville-lyon
      because: cannot read secrets/ville-lyon.age
      because: permission denied (os error 13)
      hint: the file belongs to another user: chown it, or run as that user
      hint: nothing was touched; run the same command again afterwards, it will go
            on from there
    ");
}

#[test]
fn a_cause_that_the_message_quotes_is_not_said_again() {
    let error = anyhow!("refused").context("cannot connect: refused").context("outer");
    insta::assert_snapshot!(render(&error, &look(80, 24)), @"
    error: outer
      because: cannot connect: refused
    ");
}

#[test]
fn a_hostile_or_endless_message_stays_harmless_and_short() {
    let lines: String = (1..=100).map(|at| format!("\u{1b}[3{}mline {at}\u{7}\r\n", at % 8)).collect();
    let error = anyhow!("{lines}").context("the \u{202e}host\u{9b}2J said");
    insta::assert_snapshot!(render(&error, &look(40, 24)), @"
    error: the �host said
      because: line 1�
               line 2�
               line 3�
               line 4�
               line 5�
               line 6�
               line 7�
               line 8�
               line 9�
               line 10�
               line 11�
               … 89 more lines
    ");
}

#[test]
fn findings_show_their_place_their_line_and_their_end() {
    let found = Diagnostics(vec![
        problem(12, 10, 12, "domain = \"ville lyon\""),
        Diagnostic { position: None, snippet: None, key: String::new(), ..problem(1, 1, 1, "") },
        Diagnostic { fault: Fault::new("no such key"), ..problem(7, 3, 1, "\tx = 1") },
    ]);
    let error = anyhow::Error::new(found).context("cannot read the registry");
    insta::assert_snapshot!(render(&error, &look(120, 40)), @r#"
    error: clients.toml:12:10:
      clients.ville-lyon.domain: `ville lyon` is not a domain name; expected letters, digits and dashes between dots
       |
    12 | domain = "ville lyon"
       |          ^^^^^^^^^^^^
      hint: did you mean `ville-lyon.geoclic.example`?

    error: clients.toml: `ville lyon` is not a domain name; expected letters, digits and dashes between dots
      hint: did you mean `ville-lyon.geoclic.example`?

    error: clients.toml:7:3: clients.ville-lyon.domain: no such key
      |
    7 |  x = 1
      |   ^

    3 problems in clients.toml; nothing was touched
    "#);
}

#[test]
fn a_hint_of_the_caller_follows_the_findings() {
    let error = anyhow::Error::new(Diagnostics(vec![problem(1, 1, 1, "x")])).hint("see `fleet doctor`");
    let text = render(&error, &look(80, 24));
    assert!(
        text.ends_with("1 problem in clients.toml; nothing was touched\nhint: see `fleet doctor`\n"),
        "{text}"
    );
}

#[test]
fn marks_stay_below_the_fault_in_long_and_in_wide_lines() {
    let long = format!("key = \"{}\" # {}", "日本".repeat(30), "x".repeat(200));
    let found = |column, width| {
        let error = anyhow::Error::new(Diagnostics(vec![problem(1, column, width, &long)]));
        let text = render(&error, &look(60, 24));
        for line in text.lines() {
            assert!(text::width(line) <= 60, "{line}");
        }
        let mut lines = text.lines().skip_while(|line| !line.starts_with("1 | "));
        format!("{}\n{}", lines.next().unwrap(), lines.next().unwrap())
    };
    insta::assert_snapshot!(found(7, 5), @r#"
    1 | key = "日本日本日本日本日本日本日本日本日本日本日本日本…
      |       ^^^^^^^^^
    "#);
    insta::assert_snapshot!(found(60, 3), @"
    1 | …日本日本日本日本日本日本日本日本日本日本日本日本日本日…
      |                                                  ^^^^^^
    ");
    insta::assert_snapshot!(found(100, 500), @"
    1 | …xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx…
      |                          ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
    ");
    insta::assert_snapshot!(found(9999, 1), @"
    1 | …xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx
      |                                                     ^
    ");
}

#[test]
fn colour_marks_place_fault_and_hint() {
    let error = anyhow::Error::new(Diagnostics(vec![problem(12, 10, 12, "domain = \"ville lyon\"")]));
    let colored = render(&error, &Look { color: true, ..look(120, 24) });
    insta::assert_snapshot!(colored.replace('\u{1b}', "ESC"), @r#"
    ESC[1mESC[31merror: ESC[0mESC[1mclients.toml:12:10ESC[0m:
      clients.ville-lyon.domain: `ville lyon` is not a domain name; expected letters, digits and dashes between dots
    ESC[2m   |ESC[0m
    ESC[2m12 | ESC[0mdomain = "ville lyon"
    ESC[2m   | ESC[0m         ESC[1mESC[31m^^^^^^^^^^^^ESC[0m
      ESC[36mhint: ESC[0mdid you mean `ville-lyon.geoclic.example`?

    ESC[1m1 problem in clients.toml; nothing was touchedESC[0m
    "#);
    let bare: String = colored.lines().map(|line| text::flat(line) + "\n").collect();
    assert_eq!(bare, render(&error, &look(120, 24)));
}

#[test]
fn hundreds_of_findings_are_counted() {
    let many = Diagnostics((1..=300).map(|at| problem(at, 1, 1, "x")).collect());
    let text = render(&anyhow::Error::new(many), &look(80, 24));
    assert_eq!(text.matches("error: ").count(), 20);
    assert!(text.contains("… and 280 more, shown once these are mended\n"), "{text}");
    assert!(text.ends_with("300 problems in clients.toml; nothing was touched\n"));
}

#[test]
fn programs_get_the_same_as_data() {
    let error = anyhow!("refused").context("cannot connect").hint("is it on?");
    insta::assert_snapshot!(serde_json::to_string_pretty(&to_json(&error)).unwrap(), @r#"
    {
      "schema": "fleet.error/1",
      "type": "error",
      "message": "cannot connect",
      "causes": [
        "refused"
      ],
      "hints": [
        "is it on?"
      ],
      "diagnostics": []
    }
    "#);
    let error = anyhow::Error::new(Diagnostics(vec![problem(12, 10, 12, "secret = \"x\"")])).hint("mend it");
    insta::assert_snapshot!(serde_json::to_string_pretty(&to_json(&error)).unwrap(), @r#"
    {
      "schema": "fleet.error/1",
      "type": "error",
      "message": "1 problem in clients.toml; nothing was touched",
      "causes": [],
      "hints": [
        "mend it"
      ],
      "diagnostics": [
        {
          "file": "clients.toml",
          "line": 12,
          "column": 10,
          "key": "clients.ville-lyon.domain",
          "message": "`ville lyon` is not a domain name",
          "expected": "letters, digits and dashes between dots",
          "hint": "did you mean `ville-lyon.geoclic.example`?"
        }
      ]
    }
    "#);
}
