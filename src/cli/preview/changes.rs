//! What a new release changes, as text below the steps of a plan and as JSON.

use std::borrow::Cow;

use serde_json::{Value, json};

use super::{name, who};
use crate::engine::Surveyed;
use crate::plan::changes::{Action, FileChange, Image, Kind, ServiceChange};
use crate::ui::{Look, Role};

/// Lines of one file that are shown unless more was asked for.
const SHOWN: usize = 40;

/// The changes of clients whose steps are the same.
pub fn text(out: &mut String, members: &[&Surveyed], look: &Look, verbose: bool) {
    services(out, members, look);
    let mut paths: Vec<&str> = Vec::new();
    for file in members.iter().flat_map(|host| &host.changes.files) {
        if !paths.contains(&file.path.as_str()) {
            paths.push(&file.path);
        }
    }
    for path in paths {
        let mut alike: Vec<(String, Vec<(&Surveyed, &FileChange)>)> = Vec::new();
        for host in members {
            let Some(file) = host.changes.files.iter().find(|file| file.path == path) else { continue };
            let form = neutral(host, file);
            match alike.iter_mut().find(|(known, _)| *known == form) {
                Some((_, list)) => list.push((host, file)),
                None => alike.push((form, vec![(host, file)])),
            }
        }
        // The first of equally many: the order of the clients decides, not chance.
        let most = alike.iter().map(|(_, list)| list.len()).max().unwrap_or(0);
        let Some((_, list)) = alike.iter().find(|(_, list)| list.len() == most) else { continue };
        let (host, file) = list[0];
        let others: Vec<&str> = members
            .iter()
            .filter(|member| !list.iter().any(|(known, _)| name(known) == name(member)))
            .map(|member| name(member))
            .collect();
        self::file_text(out, file, look, verbose);
        if members.len() > 1 && !others.is_empty() {
            let said = format!("this is {}; different for {}", name(host), who(others.into_iter()));
            faint(out, look, &format!("    {said} (name one to see it)"));
        }
    }
}

/// The difference without what is this client's own, to tell whether two clients change alike.
fn neutral(host: &Surveyed, file: &FileChange) -> String {
    let desired = &host.job.desired;
    let mut own: Vec<(&str, &str)> = vec![
        (desired.client.as_str(), "CLIENT"),
        (desired.domain.as_str(), "DOMAIN"),
        (desired.release.id.as_str(), "RELEASE"),
    ];
    own.extend(host.facts.current().map(|id| (id, "RELEASE")));
    own.extend(desired.plain.iter().map(|(name, value)| (value.as_str(), name.as_str())));
    own.retain(|(value, _)| value.len() > 2);
    // The longest first: a domain holds its client's name.
    own.sort_by_key(|(value, _)| std::cmp::Reverse(value.len()));
    let mut text = format!("{:?} {:?}\n", file.kind, file.diff.note);
    for line in file.diff.lines.iter().filter(|line| line.starts_with(['+', '-'])) {
        let mut line: Cow<'_, str> = line.into();
        for (value, name) in &own {
            if line.contains(value) {
                line = line.replace(value, &format!("<{name}>")).into();
            }
        }
        text.push_str(&line);
        text.push('\n');
    }
    text
}

fn file_text(out: &mut String, file: &FileChange, look: &Look, verbose: bool) {
    let (mark, role) = match file.kind {
        Kind::New => ("+", Role::Good),
        Kind::Changed => ("~", Role::Warn),
        Kind::Removed => ("-", Role::Bad),
    };
    let count = match file.kind {
        Kind::Removed => String::new(),
        Kind::New | Kind::Changed => format!(" +{} -{}", file.diff.added, file.diff.removed),
    };
    let head = format!("  {} {} {}", look.paint(role, mark), look.paint(Role::Faint, "file    "), file.path);
    out.push_str(&head);
    out.push_str(&look.paint(Role::Faint, &count));
    out.push('\n');
    let most = if verbose { usize::MAX } else { SHOWN };
    for line in file.diff.lines.iter().take(most) {
        let role = match line.as_bytes().first() {
            Some(b'+') => Role::Good,
            Some(b'-') => Role::Bad,
            Some(b'@') => Role::Note,
            _ => Role::Faint,
        };
        out.push_str("    ");
        out.push_str(&look.paint(role, &line.replace('\t', "    ")));
        out.push('\n');
    }
    let left = file.diff.lines.len().saturating_sub(most);
    if left > 0 {
        faint(out, look, &format!("    {left} lines more with --verbose"));
    } else if let Some(note) = &file.diff.note {
        faint(out, look, &format!("    {note}"));
    }
}

fn faint(out: &mut String, look: &Look, text: &str) {
    out.push_str(&look.paint(Role::Faint, text));
    out.push('\n');
}

fn services(out: &mut String, members: &[&Surveyed], look: &Look) {
    if members[0].facts.state.is_none() {
        // All of them are started: the steps say so.
        return;
    }
    let first = &members[0].changes.services;
    let mut left: Vec<&str> = Vec::new();
    for change in first {
        let same = |host: &&&Surveyed| {
            host.changes.services.iter().any(|other| {
                (&other.service, other.action, &other.why) == (&change.service, change.action, &change.why)
            })
        };
        let differ = members.len() - members.iter().filter(same).count();
        if change.action == Action::Nothing && differ == 0 {
            left.push(&change.service);
            continue;
        }
        let role = match change.action {
            Action::Rebuild | Action::Replace => Role::Warn,
            Action::Start => Role::Good,
            Action::Remove => Role::Bad,
            Action::Nothing => Role::Faint,
        };
        let mut why = change.why.join("; ");
        if let (Some(from), Some(to)) = (&change.from, &change.to)
            && from.name != to.name
        {
            why.push_str(&format!(" ({} -> {})", from.name, to.name));
        }
        if differ > 0 {
            why.push_str(&format!(" [as for {}; {differ} of {} differ]", name(members[0]), members.len()));
        }
        if !why.is_empty() {
            why.insert_str(0, ": ");
        }
        out.push_str(&format!(
            "  {} {} {}: {}{}\n",
            look.paint(role, "*"),
            look.paint(Role::Faint, "service "),
            change.service,
            look.paint(role, change.action.word()),
            look.paint(Role::Faint, &why),
        ));
    }
    if !left.is_empty() && left.len() < first.len() {
        faint(out, look, &format!("    service  left alone: {}", left.join(", ")));
    }
}

/// One file of a plan as JSON.
pub fn file(file: &FileChange) -> Value {
    let change = match file.kind {
        Kind::New => "new",
        Kind::Changed => "changed",
        Kind::Removed => "removed",
    };
    let diff = (!file.diff.lines.is_empty()).then(|| file.diff.lines.join("\n"));
    json!({
        "path": file.path,
        "change": change,
        "secret": file.secret,
        "added": file.diff.added,
        "removed": file.diff.removed,
        "diff": diff,
        "note": file.diff.note,
    })
}

/// One service of a plan as JSON.
pub fn service(change: &ServiceChange) -> Value {
    let image = |image: &Option<Image>| {
        image.as_ref().map(|it| json!({ "name": it.name, "id": it.id, "digest": it.digest }))
    };
    json!({
        "service": change.service,
        "action": change.action.word(),
        "why": change.why,
        "from": image(&change.from),
        "to": image(&change.to),
    })
}
