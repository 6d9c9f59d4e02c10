//! What went wrong, where, why and what next, as much of it as the screen holds.
//!
//! Clients with the very same fault share one paragraph. When the paragraphs do not fit, first the
//! lines that hosts printed give way, then the paragraphs become one line each.

use crate::event::{HostReport, Outcome, Report};

use super::super::style::{Look, Role, of_outcome};
use super::super::text::{self, Line};
use super::{FEW, detail, each, faulty, finish, mark, nameless, paragraph, rank};

/// Lines of a host's output that a fault shows, the fullest form first.
const LEVELS: [usize; 5] = [12, 6, 3, 1, 0];
/// Faults shown one a line before the rest is counted.
const MOST: usize = 20;
/// Faults shown even on the smallest screen.
const LEAST: usize = 3;

/// One fault and everyone who has it.
struct Group<'a> {
    key: String,
    outcome: &'a Outcome,
    seconds: f64,
    clients: Vec<&'a str>,
}

/// The faults in at most about `room` lines. `listed` when each has a line on the screen already.
pub fn render(report: &Report, look: &Look, room: usize, listed: bool) -> String {
    let groups = groups(report);
    if groups.is_empty() {
        return String::new();
    }
    for lines in LEVELS {
        if groups.len() > MOST {
            break;
        }
        let text: Vec<String> = groups.iter().map(|group| in_full(group, lines, look)).collect();
        let text = text.join("\n");
        if text.lines().count() <= room || (groups.len() == 1 && lines == 0) {
            return text;
        }
    }
    in_lines(&groups, look, room, report, listed)
}

fn groups(report: &Report) -> Vec<Group<'_>> {
    let mut hosts: Vec<&HostReport> = report.hosts.iter().filter(|host| faulty(&host.outcome)).collect();
    hosts.sort_by_key(|host| rank(&host.outcome));
    let mut groups: Vec<Group<'_>> = Vec::new();
    for host in hosts {
        let key = key(&host.outcome, &host.client);
        match groups.iter_mut().find(|group| group.key == key) {
            Some(group) => group.clients.push(&host.client),
            None => groups.push(Group {
                key,
                outcome: &host.outcome,
                seconds: host.seconds,
                clients: vec![&host.client],
            }),
        }
    }
    groups
}

/// What tells a fault from others: its words, but for the client's own name, and without what the
/// host printed, which may differ in a time or a process number.
fn key(outcome: &Outcome, client: &str) -> String {
    let hint = outcome.fault().and_then(|fault| fault.hint.as_deref()).unwrap_or_default();
    nameless(&format!("{}\n{}\n{hint}", outcome.word(), detail(outcome)), Some(client))
}

fn title(group: &Group<'_>, look: &Look) -> Line {
    let (_, role) = of_outcome(group.outcome);
    let line = mark(group.outcome, look);
    let line = match group.clients.as_slice() {
        [one] => line.with(Role::Strong, text::flat(one)).with(Role::Text, " "),
        many => line.with(Role::Strong, format!("{} clients", many.len())).with(Role::Text, " "),
    };
    let at = |step: &str| format!(" at \"{}\"", text::flat(step));
    let line = match group.outcome {
        Outcome::Failed { fault } => line.with(role, "failed").with(Role::Text, at(&fault.step)),
        Outcome::RolledBack { fault, .. } => line.with(role, "rolled back").with(Role::Text, at(&fault.step)),
        Outcome::Unknown { fault } => line.with(role, "unknown").with(Role::Text, at(&fault.step)),
        outcome => line.with(role, outcome.word()),
    };
    match group.clients.as_slice() {
        [_] => line.with(Role::Faint, format!(" after {}", text::seconds(group.seconds))),
        _ => line,
    }
}

fn message_and_hint(outcome: &Outcome) -> (String, Option<String>) {
    match (outcome, outcome.fault()) {
        (_, Some(fault)) => (fault.message.clone(), fault.hint.clone()),
        _ => (
            format!("the lease is held {}", detail(outcome)),
            Some("wait until then, or look at it with `fleet lock`".to_owned()),
        ),
    }
}

fn in_full(group: &Group<'_>, most_lines: usize, look: &Look) -> String {
    let mut out = finish(vec![title(group, look)], look);
    let (message, hint) = message_and_hint(group.outcome);
    let indent = || Line::new().padded(4);
    match group.clients.as_slice() {
        [_] => {}
        few if few.len() <= FEW => paragraph(&mut out, &indent(), &text::flat(&few.join(", ")), look),
        many => {
            let room = look.width.saturating_sub(4);
            paragraph(&mut out, &indent(), &text::flat(&text::names(many, room)), look);
        }
    }
    for line in text::clean(&message) {
        paragraph(&mut out, &indent(), &line, look);
    }
    if let Outcome::RolledBack { release, .. } = group.outcome {
        paragraph(&mut out, &indent(), &text::flat(&format!("{release} serves again")), look);
    }
    let printed: Vec<String> = group
        .outcome
        .fault()
        .map_or(&[][..], |fault| &fault.lines)
        .iter()
        .flat_map(|line| text::clean(line))
        .collect();
    let bar = if look.unicode { "│ " } else { "| " };
    let shown = &printed[printed.len().saturating_sub(most_lines)..];
    let lines = shown.iter().map(|line| indent().with(Role::Faint, bar).with(Role::Text, line.as_str()));
    out.push_str(&finish(lines.collect(), look));
    if let Some(hint) = hint {
        paragraph(&mut out, &indent().with(Role::Note, "next: "), &text::flat(&hint), look);
    }
    out
}

/// One line for each fault, then what to do next, once for all.
fn in_lines(groups: &[Group<'_>], look: &Look, room: usize, report: &Report, listed: bool) -> String {
    let mut hints: Vec<String> = Vec::new();
    for group in groups {
        let hint = message_and_hint(group.outcome).1.map(|hint| text::flat(&hint));
        hints.extend(hint.filter(|hint| !hints.contains(hint)));
    }
    let mut below = String::new();
    for hint in hints.iter().take(LEAST) {
        paragraph(&mut below, &Line::new().with(Role::Note, "next: "), hint, look);
    }
    let taken = below.lines().count() + 1;
    let shown = room.saturating_sub(taken).clamp(LEAST, MOST).min(groups.len());
    let lines = match report.hosts.len() {
        0..=FEW if listed => Vec::new(),
        0..=FEW => {
            let mut hosts: Vec<&HostReport> = report.hosts.iter().collect();
            hosts.retain(|host| faulty(&host.outcome));
            hosts.sort_by_key(|host| rank(&host.outcome));
            each(&hosts, look)
        }
        _ => of_groups(groups, shown, look, report),
    };
    finish(lines, look) + &below
}

fn of_groups(groups: &[Group<'_>], shown: usize, look: &Look, report: &Report) -> Vec<Line> {
    let (groups, rest) = groups.split_at(shown);
    let label = |group: &Group<'_>| match group.clients.as_slice() {
        [one] => text::flat(one),
        many => format!("{} and {} more", text::flat(many[0]), many.len() - 1),
    };
    let labels: Vec<String> = groups.iter().map(label).collect();
    let names = super::name_columns(labels.iter().map(String::as_str), look);
    let word = groups.iter().map(|group| group.outcome.word().len()).max().unwrap_or(0);
    let mut lines: Vec<Line> = groups
        .iter()
        .zip(&labels)
        .map(|(group, label)| {
            let start = mark(group.outcome, look);
            let at = start.width();
            start
                .with(Role::Strong, text::fit(label, names, look.ellipsis()))
                .padded(at + names + 2)
                .with(of_outcome(group.outcome).1, group.outcome.word())
                .padded(at + names + 2 + word + 2)
                .with(Role::Text, detail(group.outcome))
        })
        .collect();
    let left: usize = rest.iter().map(|group| group.clients.len()).sum();
    if left > 0 {
        let run = text::flat(&report.run);
        let more = format!("{} and {left} more, each in `fleet runs show {run}`", look.ellipsis());
        lines.push(Line::new().with(Role::Faint, more));
    }
    lines
}
