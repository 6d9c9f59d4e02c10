//! What holds for every command of every plan: limits, secrets, the shell that must read it.

use std::io::Write as _;
use std::process::{Command, Stdio};

use super::{STAGES, hosts, wish};
use crate::plan::{Action, Desired, Stage, Step, plan, question};
use crate::shell::{Cmd, Stdin};

/// Every step that any host of the tests is given.
fn steps(desired: &Desired) -> Vec<Step> {
    let mut all = Vec::new();
    for name in hosts::NAMES {
        let facts = hosts::facts(name, desired);
        for stage in STAGES {
            if let Ok(plan) = plan(stage, desired, &facts) {
                all.extend(plan.steps);
                all.extend(plan.undo.into_iter().flat_map(|undo| undo.steps));
            }
        }
        all.extend(plan(Stage::Rollback, desired, &facts).map(|plan| plan.steps).unwrap_or_default());
    }
    assert!(all.len() > 100, "{}", all.len());
    all
}

fn commands(desired: &Desired) -> Vec<(String, Cmd)> {
    let mut all = vec![("probe".to_owned(), question(desired))];
    for step in steps(desired) {
        match step.action {
            Action::Run(cmd) => all.push((step.title, cmd)),
            Action::Await(gate) => all.push((step.title, gate.look())),
            Action::Rsync(_) | Action::Local(_) | Action::Save => {}
            Action::Send(_, cmd) => all.push((step.title, cmd)),
            Action::Ship(what) => {
                all.push((step.title.clone(), what.ask()));
                all.push((step.title, what.load()));
            }
        }
    }
    all
}

#[test]
fn no_secret_is_in_a_line_a_detail_or_a_debug_form() {
    let desired = wish::desired();
    let mut sent = false;
    for step in steps(&desired) {
        let shown = format!("{step:?} {step:#?} {:?}", step.details);
        assert!(!shown.contains(wish::SECRET), "{}", step.title);
        if let Action::Run(cmd) = &step.action {
            assert!(!cmd.line().contains(wish::SECRET), "{}", step.title);
            let holds = String::from_utf8_lossy(cmd.input().bytes()).contains(wish::SECRET);
            assert!(!holds || matches!(cmd.input(), Stdin::Secret(_)), "{}", step.title);
            sent |= holds;
        }
    }
    assert!(sent, "the search finds what is sent, so it would find what is shown");
    assert!(!format!("{desired:?}").contains(wish::SECRET));
}

#[test]
fn every_command_has_a_limit_or_is_a_put() {
    for (title, cmd) in commands(&wish::desired()) {
        let is_put =
            matches!(cmd.words(), [sh, c, text] if sh == "sh" && c == "-c" && text.contains("mktemp"));
        assert!(cmd.limit().is_some() || is_put, "{title}: {}", cmd.line());
    }
}

#[test]
fn every_script_is_read_by_dash_and_holds_nothing_of_bash() {
    let desired = wish::desired();
    let mut scripts: Vec<(String, String)> = commands(&desired)
        .into_iter()
        .filter_map(|(title, cmd)| match cmd.words() {
            [sh, s, ..] if sh == "sh" && s == "-s" => {
                Some((title, String::from_utf8(cmd.input().bytes().to_vec()).unwrap()))
            }
            [sh, c, text] if sh == "sh" && c == "-c" => Some((title, text.clone())),
            _ => None,
        })
        .collect();
    for file in desired.managed_files() {
        if file.content.starts_with(b"#!/bin/sh\n") {
            scripts.push((file.path, String::from_utf8(file.content).unwrap()));
        }
    }
    scripts.sort();
    scripts.dedup();
    assert!(scripts.len() > 20, "{}", scripts.len());
    for (title, text) in scripts {
        let mut child =
            Command::new("dash").arg("-n").stdin(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success(), "{title}: {}", String::from_utf8_lossy(&output.stderr));
        // Read by dash, understood by bash alone.
        for word in ["[[ ", "<<<", "&>", "function ", " == ", "pipefail", "$'", "declare ", "${!"] {
            let code = text.lines().filter(|line| !line.trim_start().starts_with(['#', '/']));
            for line in code.filter(|line| line.contains(word)) {
                // awk and nft have an "==" of their own, and the word may be English.
                assert!(line.contains("awk") || line.contains('\''), "{title}: {word:?} in {line}");
            }
        }
    }
}

/// A host's answer ends in a plan's text only as something that a terminal may be shown.
#[test]
fn nothing_that_a_host_says_moves_a_cursor() {
    let desired = wish::desired();
    for name in hosts::NAMES {
        let text = super::shown(&desired, &hosts::facts(name, &desired));
        let bad = text.chars().find(|char| (char.is_control() && *char != '\n') || *char == '\u{202e}');
        assert_eq!(bad, None, "{name}: {text:?}");
    }
}

/// Whatever a host answers, it is parsed and planned without a panic, and quickly.
#[test]
fn torn_and_twisted_answers_are_survived() {
    let desired = wish::desired();
    for name in ["current", "older-release", "hostile"] {
        let text = hosts::text(name, &desired);
        for at in (0..text.len()).step_by((text.len() / 100).max(1)).filter(|at| text.is_char_boundary(*at)) {
            let cut = crate::facts::Facts::parse(&text.as_bytes()[..at]);
            assert!(cut.is_err(), "cut at {at} of {name} passes for whole");
            let twisted = format!("{}\u{0}{}", &text[..at], &text[at..]);
            let facts = crate::facts::Facts::parse(twisted.as_bytes()).unwrap_or_default();
            for stage in STAGES {
                let _ = plan(stage, &desired, &facts);
            }
            assert_eq!(facts.basis().len(), 64);
        }
    }
}
