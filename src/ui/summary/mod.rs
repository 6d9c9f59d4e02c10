//! What a run came to, for a person: faults first, then outcomes, then one line of totals.
//!
//! Rule of this room: pure, and it fits one screen. Clients that share a fate share a line; what
//! does not fit is counted, and the journal of the run has it all.

use std::fmt::Write as _;

use crate::event::{HostReport, Outcome, Report};

use super::style::{Look, Role, Symbol, of_outcome};
use super::text::{self, Line};

mod away;
mod faults;

pub(super) use away::image;

/// Up to so many clients, each has a line of its own.
const FEW: usize = 12;
/// The same for host keys and for warnings, of which a low screen shows fewer.
const MOST: usize = 10;

/// Each outcome at its place in every list: what needs a person first.
fn rank(outcome: &Outcome) -> u8 {
    match outcome {
        Outcome::Failed { .. } => 0,
        Outcome::RolledBack { .. } => 1,
        Outcome::Unknown { .. } => 2,
        Outcome::Unreachable { .. } => 3,
        Outcome::Locked { .. } => 4,
        Outcome::Skipped { .. } => 5,
        Outcome::Changed { .. } => 6,
        Outcome::Unchanged => 7,
    }
}

/// The report as text. `listed` when the line of each client is on the screen already.
#[must_use]
pub fn summary(report: &Report, look: &Look, listed: bool) -> String {
    let mut tail = String::new();
    let mut section = |text: String| {
        if !text.is_empty() {
            tail.push_str(&text);
            tail.push('\n');
        }
    };
    section(outcomes(report, look, listed));
    section(away::render(report, look));
    section(host_keys(report, look));
    section(warnings(report, look));
    tail.push_str(&totals(report, look));
    let room = look.rows.saturating_sub(tail.lines().count() + 2);
    let mut out = faults::render(report, look, room, listed);
    if !out.is_empty() {
        out.push('\n');
    }
    out.push_str(&tail);
    out
}

/// Whether a person has to look at it: such an outcome is told of first, and in full.
fn faulty(outcome: &Outcome) -> bool {
    outcome.fault().is_some() || matches!(outcome, Outcome::Locked { .. })
}

/// One line that says how a client ended, the same wherever it is shown.
#[must_use]
pub fn detail(outcome: &Outcome) -> String {
    match outcome {
        Outcome::Unchanged => String::new(),
        Outcome::Changed { summary } => text::flat(summary),
        Outcome::Skipped { reason, .. } => text::flat(reason),
        Outcome::Locked { holder, expires } => text::flat(&format!("by {holder} until {expires}")),
        Outcome::Unreachable { fault } => text::flat(&fault.message),
        Outcome::RolledBack { fault, release } => {
            text::flat(&format!("to {release} after \"{}\": {}", fault.step, fault.message))
        }
        Outcome::Failed { fault } | Outcome::Unknown { fault } => {
            text::flat(&format!("{}: {}", fault.step, fault.message))
        }
    }
}

/// The beginning of a line about an outcome: its symbol, or nothing where symbols are not wanted.
pub(super) fn mark(outcome: &Outcome, look: &Look) -> Line {
    let (symbol, role) = of_outcome(outcome);
    match look.symbol(symbol) {
        "" => Line::new(),
        symbol => Line::new().with(role, symbol).with(Role::Text, " "),
    }
}

/// Width of the longest outcome word.
pub(super) const WORD: usize = "rolled back".len();

/// The table of outcomes. With few clients it leaves out those that were told of above.
fn outcomes(report: &Report, look: &Look, listed: bool) -> String {
    let mut hosts: Vec<&HostReport> = report.hosts.iter().collect();
    hosts.sort_by_key(|host| rank(&host.outcome));
    let idle = hosts.iter().all(|host| host.outcome == Outcome::Unchanged);
    let lines = match hosts.len() {
        _ if idle || hosts.len() == 1 => Vec::new(),
        0..=FEW if listed => Vec::new(),
        0..=FEW => {
            hosts.retain(|host| !faulty(&host.outcome));
            each(&hosts, look)
        }
        _ => grouped(&hosts, look),
    };
    finish(lines, look)
}

/// Columns of a duration, right-aligned: "59 min 59 s".
const TOOK: usize = 11;

/// A line of one client, shared with the renderers that print it as soon as it is known.
pub(super) fn line_of(client: &str, outcome: &Outcome, seconds: f64, names: usize, look: &Look) -> Line {
    let (_, role) = of_outcome(outcome);
    let start = mark(outcome, look);
    let at = start.width();
    let start = start
        .with(Role::Strong, text::fit(&text::flat(client), names, look.ellipsis()))
        .padded(at + names + 2)
        .with(role, outcome.word())
        .padded(at + names + 2 + WORD)
        .with(Role::Faint, format!("{:>TOOK$}", text::seconds(seconds)));
    let detail = detail(outcome);
    let gap = if detail.is_empty() { "" } else { "  " };
    start.with(Role::Text, gap).with(Role::Text, detail)
}

/// Columns for names: those of the longest, within reason.
pub(super) fn name_columns<'a>(names: impl Iterator<Item = &'a str>, look: &Look) -> usize {
    names.map(text::width).max().unwrap_or(0).min(name_limit(look))
}

/// Columns that names may take.
pub(super) fn name_limit(look: &Look) -> usize {
    if look.clip { (look.width / 3).clamp(8, 32) } else { 63 }
}

fn each(hosts: &[&HostReport], look: &Look) -> Vec<Line> {
    let names = name_columns(hosts.iter().map(|host| host.client.as_str()), look);
    hosts.iter().map(|host| line_of(&host.client, &host.outcome, host.seconds, names, look)).collect()
}

/// One line for each outcome: how many, what they share, who.
fn grouped(hosts: &[&HostReport], look: &Look) -> Vec<Line> {
    let digits = hosts.len().to_string().len();
    hosts
        .chunk_by(|one, next| rank(&one.outcome) == rank(&next.outcome))
        .map(|group| {
            let outcome = &group[0].outcome;
            let (_, role) = of_outcome(outcome);
            let start = mark(outcome, look);
            let at = start.width();
            let start = start
                .with(role, format!("{:>digits$} {}", group.len(), outcome.word()))
                .padded(at + digits + 1 + WORD + 2);
            let mut room = look.clip_width().saturating_sub(start.width());
            let mut shared = match outcome {
                Outcome::Changed { .. } | Outcome::Skipped { .. } | Outcome::Locked { .. } => detail(outcome),
                _ => String::new(),
            };
            if group.iter().any(|host| detail(&host.outcome) != shared) || shared.len() > room / 2 {
                shared.clear();
            } else if !shared.is_empty() {
                shared.push_str(": ");
                room = room.saturating_sub(text::width(&shared));
            }
            let clients: Vec<&str> = group.iter().map(|host| host.client.as_str()).collect();
            // A list of hundreds helps nobody, even where nothing has to be cut.
            let names = text::names(&clients, room.min(look.width * 2));
            start.with(Role::Text, shared).with(Role::Faint, names)
        })
        .collect()
}

fn host_keys(report: &Report, look: &Look) -> String {
    let met: Vec<(&str, &str)> = report
        .hosts
        .iter()
        .filter_map(|host| Some((host.client.as_str(), host.recorded_host_key.as_deref()?)))
        .collect();
    if met.is_empty() {
        return String::new();
    }
    let shown = &met[..met.len().min(most(look))];
    let names = name_columns(shown.iter().map(|(client, _)| *client), look);
    let title = format!("{} recorded in known_hosts:", text::count(met.len(), "new host key"));
    let mut lines = vec![Line::new().with(Role::Text, title)];
    lines.extend(shown.iter().map(|(client, key)| {
        let client = text::fit(&text::flat(client), names, look.ellipsis());
        let start = Line::new().with(Role::Text, "  ").with(Role::Text, client).padded(names + 4);
        start.with(Role::Faint, text::flat(key))
    }));
    lines.extend(folded(met.len() - shown.len(), look));
    finish(lines, look)
}

/// A warning and everyone who has it.
struct Warning<'a> {
    /// What tells it from others: its words without the client's name.
    key: String,
    message: &'a str,
    hint: Option<&'a str>,
    clients: Vec<&'a str>,
}

/// Warnings, each said once for all the clients that share it.
fn warnings(report: &Report, look: &Look) -> String {
    let mut groups: Vec<Warning<'_>> = Vec::new();
    let of_hosts = report
        .hosts
        .iter()
        .flat_map(|host| host.warnings.iter().map(|warning| (warning, Some(host.client.as_str()))));
    for ((message, hint), client) in report.warnings.iter().map(|warning| (warning, None)).chain(of_hosts) {
        let key = nameless(&format!("{message}\n{}", hint.as_deref().unwrap_or_default()), client);
        match groups.iter_mut().find(|group| group.key == key) {
            Some(group) => group.clients.extend(client.filter(|client| !group.clients.contains(client))),
            None => groups.push(Warning {
                key,
                message,
                hint: hint.as_deref(),
                clients: client.into_iter().collect(),
            }),
        }
    }
    let shown = &groups[..groups.len().min(most(look))];
    let mut out = String::new();
    for warning in shown {
        let lead = match look.symbol(Symbol::Warning) {
            "" => Line::new().with(Role::Warn, "warning: "),
            symbol => Line::new().with(Role::Warn, format!("{symbol} ")),
        };
        let clients = text::names(&warning.clients, look.width / 2);
        let colon = if clients.is_empty() { "" } else { ": " };
        let said = format!("{}{colon}{}", text::flat(&clients), text::flat(warning.message));
        paragraph(&mut out, &lead, &said, look);
        if let Some(hint) = warning.hint {
            paragraph(&mut out, &Line::new().with(Role::Note, "  next: "), &text::flat(hint), look);
        }
    }
    out.push_str(&finish(folded(groups.len() - shown.len(), look).into_iter().collect(), look));
    out
}

/// The text without the client's own name, so that the same words about two clients are equal.
fn nameless(text: &str, client: Option<&str>) -> String {
    client
        .filter(|client| !client.is_empty())
        .map_or_else(|| text.to_owned(), |client| text.replace(client, "\0"))
}

fn most(look: &Look) -> usize {
    (look.rows / 6).clamp(3, MOST)
}

fn folded(more: usize, look: &Look) -> Option<Line> {
    (more > 0).then(|| Line::new().with(Role::Faint, format!("  {} and {more} more", look.ellipsis())))
}

fn totals(report: &Report, look: &Look) -> String {
    let mut counts: Vec<(u8, &Outcome, usize)> = Vec::new();
    for host in &report.hosts {
        match counts.iter_mut().find(|count| count.0 == rank(&host.outcome)) {
            Some(count) => count.2 += 1,
            None => counts.push((rank(&host.outcome), &host.outcome, 1)),
        }
    }
    // What went well, then what did not, the worst first.
    counts.sort_by_key(|count| (count.0 < 6, count.0));
    let colon = if counts.is_empty() { "" } else { ":" };
    let clients = text::count(report.hosts.len(), "client");
    let mut pieces = vec![Line::new().with(Role::Strong, clients).with(Role::Text, colon)];
    for (at, (_, outcome, number)) in counts.iter().enumerate() {
        let comma = if at + 1 < counts.len() { "," } else { "" };
        let count = format!("{number} {}", outcome.word());
        pieces.push(Line::new().with(of_outcome(outcome).1, count).with(Role::Text, comma));
    }
    let comma = if report.interrupted { "," } else { "" };
    pieces.push(Line::new().with(Role::Text, format!("in {}{comma}", text::seconds(report.seconds))));
    if report.interrupted {
        pieces.push(Line::new().with(Role::Warn, "interrupted"));
    }
    let journal = format!("(fleet runs show {})", text::flat(&report.run));
    pieces.push(Line::new().with(Role::Faint, journal));
    let mut out = flow(pieces, look);
    if report.interrupted {
        let again = "run the same command again; it goes on where it was";
        paragraph(&mut out, &Line::new().with(Role::Note, "next: "), again, look);
    }
    out
}

/// Pieces with a space between them, on as many lines as they need.
fn flow(pieces: Vec<Line>, look: &Look) -> String {
    let mut lines: Vec<Line> = Vec::new();
    for piece in pieces {
        match lines.last_mut() {
            Some(line) if line.width() + 1 + piece.width() <= look.width => {
                line.push(Role::Text, " ");
                line.append(piece);
            }
            Some(_) => lines.push(Line::new().padded(2).with_all(piece)),
            None => lines.push(piece),
        }
    }
    finish(lines, look)
}

/// A text wrapped behind its lead.
fn paragraph(out: &mut String, lead: &Line, said: &str, look: &Look) {
    let column = lead.width();
    for (at, line) in text::wrap(said, look.width.saturating_sub(column)).into_iter().enumerate() {
        let lead = if at == 0 { lead.clone() } else { Line::new().padded(column) };
        let _ = writeln!(out, "{}", lead.with(Role::Text, line).paint(look));
    }
}

fn finish(lines: Vec<Line>, look: &Look) -> String {
    let mut out = String::new();
    for line in lines {
        let _ = writeln!(out, "{}", line.fit(look.clip_width(), look.ellipsis()).paint(look));
    }
    out
}

#[cfg(test)]
mod tests;
