//! Bad input of every kind, with the exact words that answer it and the exit code: 2 for a command
//! line that is wrong in itself, 3 for one that is refused before anything was touched.

mod files;
mod flags;

use super::support::Fleet;

/// One thing that a person may do wrong.
pub struct Case {
    code: i32,
    /// Words behind `fleet`, split at blanks; `'` keeps words together.
    line: &'static str,
    /// What is on standard input, and what was done to the fleet directory before.
    input: &'static [u8],
    spoil: fn(&Fleet),
}

pub const fn usage(line: &'static str) -> Case {
    Case { code: 2, line, input: b"", spoil: |_| () }
}

pub const fn refused(line: &'static str) -> Case {
    Case { code: 3, line, input: b"", spoil: |_| () }
}

impl Case {
    pub const fn input(mut self, input: &'static [u8]) -> Case {
        self.input = input;
        self
    }

    pub const fn after(mut self, spoil: fn(&Fleet)) -> Case {
        self.spoil = spoil;
        self
    }
}

/// Words of a line; those in single quotes stay together.
fn words(line: &str) -> Vec<&str> {
    let mut words = Vec::new();
    for (index, part) in line.split('\'').enumerate() {
        match index % 2 {
            0 => words.extend(part.split_whitespace()),
            _ => words.push(part),
        }
    }
    words
}

/// Keys that are new in each run.
fn masked(text: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some(at) = rest.find("age1") {
        let (before, key) = rest.split_at(at);
        let len = key.bytes().take_while(u8::is_ascii_alphanumeric).count();
        out.push_str(before);
        out.push_str(if len > 10 { "age1..." } else { &key[..len] });
        rest = &key[len..];
    }
    out + rest
}

/// Every case on a fleet directory of its own; one snapshot of all.
fn answers(cases: &[Case]) -> String {
    let base = Fleet::with_clients();
    let mut all = String::new();
    let mut wrong = Vec::new();
    for case in cases {
        let fleet = base.copy();
        (case.spoil)(&fleet);
        let before = fleet.path("clients.toml").metadata().and_then(|file| file.modified()).ok();
        let done = fleet.with_input(words(case.line), case.input);
        let after = fleet.path("clients.toml").metadata().and_then(|file| file.modified()).ok();
        if done.code != case.code || !done.out.is_empty() || before != after {
            wrong.push(format!("{}: exit {} instead of {}\n{}", case.line, done.code, case.code, done.all()));
        }
        all.push_str(&format!("$ fleet {}\n{}exit {}\n\n", case.line, masked(&done.err), done.code));
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
    all
}

#[test]
fn flags_and_names() {
    insta::assert_snapshot!(answers(flags::FLAGS));
}

#[test]
fn values_of_a_new_client() {
    insta::assert_snapshot!(answers(flags::NEW_CLIENTS));
}

#[test]
fn secrets() {
    insta::assert_snapshot!(answers(flags::SECRETS));
}

#[test]
fn registries() {
    insta::assert_snapshot!(answers(files::REGISTRIES));
}

#[test]
fn stacks() {
    insta::assert_snapshot!(answers(files::STACKS));
}

#[test]
fn keys_and_sealed_files() {
    insta::assert_snapshot!(answers(files::KEYS));
}

#[test]
fn no_error_is_a_stack_trace() {
    for cases in
        [flags::FLAGS, flags::NEW_CLIENTS, flags::SECRETS, files::REGISTRIES, files::STACKS, files::KEYS]
    {
        let said = answers(cases);
        for word in ["panicked", "RUST_BACKTRACE", "src/", "stack backtrace", "Os {", "Some("] {
            assert!(!said.contains(word), "{word} in:\n{said}");
        }
    }
}

#[test]
fn the_table_is_long() {
    let tables =
        [flags::FLAGS, flags::NEW_CLIENTS, flags::SECRETS, files::REGISTRIES, files::STACKS, files::KEYS];
    assert!(tables.iter().map(|table| table.len()).sum::<usize>() >= 90);
}
