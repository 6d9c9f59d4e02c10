//! The help of every command, word for word: it is the manual.

use std::collections::BTreeSet;

use super::support::Fleet;

/// Every command and subcommand, by the words that call it.
fn commands(command: &clap::Command, words: &[String], found: &mut Vec<Vec<String>>) {
    found.push(words.to_vec());
    for inner in command.get_subcommands().filter(|inner| !inner.is_hide_set()) {
        let words: Vec<String> = words.iter().cloned().chain([inner.get_name().to_owned()]).collect();
        commands(inner, &words, found);
    }
}

fn all() -> Vec<Vec<String>> {
    let mut found = Vec::new();
    commands(&fleet::cli::command(), &[], &mut found);
    found
}

#[test]
fn every_command_explains_itself() {
    let fleet = Fleet::empty();
    for words in all() {
        let help = fleet.run(words.iter().map(String::as_str).chain(["--help"])).ok();
        let name = if words.is_empty() { "fleet".to_owned() } else { words.join("-") };
        // The global options are the same everywhere; they are shown once.
        let shown = match help.out.split_once("Global options:") {
            Some((own, rest)) if !words.is_empty() => {
                let after = rest.split_once("Examples:").map_or("", |(_, examples)| examples);
                format!("{own}(global options)\n\nExamples:{after}")
            }
            _ => help.out.clone(),
        };
        insta::assert_snapshot!(format!("help-{name}"), shown);
        assert_eq!(help.err, "");
    }
}

#[test]
fn every_option_with_a_value_has_an_example() {
    let shows = |help: &str| ["such as", "[default", "example"].iter().any(|word| help.contains(word));
    let mut without = BTreeSet::new();
    fn walk(command: &clap::Command, name: &str, check: &mut dyn FnMut(&str, &clap::Arg)) {
        for argument in command.get_arguments() {
            check(name, argument);
        }
        for inner in command.get_subcommands().filter(|inner| !inner.is_hide_set()) {
            walk(inner, &format!("{name} {}", inner.get_name()), check);
        }
    }
    walk(&fleet::cli::command(), "fleet", &mut |name, argument| {
        let takes_value = argument.get_long().is_some() && argument.get_action().takes_values();
        // The words to choose from, or the default, are examples too.
        let chosen = !argument.get_possible_values().is_empty() || !argument.get_default_values().is_empty();
        let repeated = ["client", "exclude"].contains(&argument.get_id().as_str());
        let path = ["directory", "config", "identity"].contains(&argument.get_id().as_str());
        let help = argument.get_help().map(ToString::to_string).unwrap_or_default();
        if takes_value && !chosen && !repeated && !path && !shows(&help) {
            without.insert(format!("{name} --{}: {help}", argument.get_long().unwrap_or_default()));
        }
    });
    assert!(without.is_empty(), "{without:#?}");
}

#[test]
fn completions_and_manual_pages_are_made() {
    let fleet = Fleet::empty();
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let script = fleet.run(["completions", shell]).ok();
        assert!(script.out.contains("provision") && script.out.contains("fleet"), "{shell}");
        assert!(!script.out.contains("test-progress"), "{shell} offers what is hidden");
    }
    assert!(fleet.run(["man"]).ok().out.contains(".TH fleet 1"));
    fleet.run(["man", "--out", "man1"]).ok();
    for page in ["fleet.1", "fleet-provision.1", "fleet-secrets-set.1"] {
        assert!(fleet.read(&format!("man1/{page}")).contains(".TH"), "{page}");
    }
}

#[test]
fn the_shell_takes_the_completions() {
    let fleet = Fleet::empty();
    fleet.write("completions.bash", fleet.run(["completions", "bash"]).ok().out);
    let bash = std::process::Command::new("bash").arg("-n").arg(fleet.path("completions.bash")).status();
    assert!(bash.unwrap().success());
}
