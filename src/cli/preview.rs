//! The plan, shown before anything is touched: what is printed is what the engine gets.

mod changes;

use serde_json::{Value, json};

use crate::engine::Surveyed;
use crate::ops::backup::restore::Parcel;
use crate::plan::{Action, Change, Step};
use crate::ui::{Look, Role};

/// Name and version of the JSON form.
const SCHEMA: &str = "fleet.plan/1";

/// Clients with the same steps are shown once, under all their names; of what differs between them,
/// only what is the same for all or, of a file, the difference that most of them share.
#[must_use]
pub fn text(hosts: &[Surveyed], look: &Look, verbose: bool) -> String {
    let mut groups: Vec<(Vec<&str>, Vec<&Surveyed>)> = Vec::new();
    for host in hosts {
        let titles: Vec<&str> = steps(host).map(|(_, step)| step.title.as_str()).collect();
        match groups.iter_mut().find(|(known, _)| *known == titles) {
            Some((_, members)) => members.push(host),
            None => groups.push((titles, vec![host])),
        }
    }
    let mut out = String::new();
    for (titles, members) in groups {
        out.push_str(&look.paint(Role::Strong, &who(members.iter().map(|host| name(host)))));
        out.push_str(if titles.is_empty() { ": nothing to do\n" } else { "\n" });
        for (index, (stage, step)) in steps(members[0]).enumerate() {
            let same = |host: &&Surveyed| {
                steps(host).nth(index).is_some_and(|(_, other)| other.details == step.details)
            };
            line(&mut out, stage, step, look);
            if members.iter().all(same) && (verbose || step.details.len() <= 3) {
                for detail in &step.details {
                    out.push_str(&look.paint(Role::Faint, &format!("             {detail}")));
                    out.push('\n');
                }
            }
        }
        changes::text(&mut out, &members, look, verbose);
    }
    out
}

fn name(host: &Surveyed) -> &str {
    host.job.target.name.as_str()
}

/// Some names, and how many there are beyond them.
fn who<'a>(names: impl Iterator<Item = &'a str>) -> String {
    let names: Vec<&str> = names.collect();
    match names.len() {
        0..=6 => names.join(", "),
        count => format!("{} and {} more", names[..5].join(", "), count - 5),
    }
}

/// Who comes when, where there is more than one wave.
#[must_use]
pub fn waves(hosts: &[Surveyed], waves: &[Vec<usize>]) -> String {
    if waves.len() < 2 {
        return String::new();
    }
    let mut out = String::new();
    for (number, wave) in waves.iter().enumerate() {
        let who = who(wave.iter().map(|index| name(&hosts[*index])));
        out.push_str(&format!("wave {}: {who}\n", number + 1));
    }
    out
}

fn steps(host: &Surveyed) -> impl Iterator<Item = (&'static str, &Step)> {
    host.plans.iter().flat_map(|plan| plan.steps.iter().map(|step| (plan.stage.name(), step)))
}

fn line(out: &mut String, stage: &str, step: &Step, look: &Look) {
    let (mark, role) = match step.change {
        Change::Create => ("+", Role::Good),
        Change::Modify => ("~", Role::Warn),
        Change::Destroy => ("-", Role::Bad),
        Change::Nothing => (" ", Role::Faint),
    };
    let stage = format!("{stage:<8}");
    out.push_str(&format!(
        "  {} {} {}\n",
        look.paint(role, mark),
        look.paint(Role::Faint, &stage),
        step.title
    ));
}

/// One record for one client.
#[must_use]
pub fn record(host: &Surveyed, run: &str) -> Value {
    let stages: Vec<Value> = host
        .plans
        .iter()
        .map(|plan| json!({ "stage": plan.stage.name(), "steps": plan.steps.iter().map(step).collect::<Vec<_>>() }))
        .collect();
    json!({
        "schema": SCHEMA,
        "type": "plan",
        "run": run,
        "client": host.job.target.name,
        "release": host.job.desired.release.id,
        "pending": host.pending(),
        "basis": host.facts.basis(),
        "stages": stages,
        "files": host.changes.files.iter().map(changes::file).collect::<Vec<_>>(),
        "services": host.changes.services.iter().map(changes::service).collect::<Vec<_>>(),
        "migrations": host.changes.migrations,
    })
}

fn sent(parcel: &Parcel) -> String {
    match parcel {
        Parcel::Dump { path } => format!("send {path}"),
        Parcel::Files { place, only } if only.is_empty() => format!("send {place}"),
        Parcel::Files { place, only } => format!("send {} of {place}", only.join(", ")),
    }
}

fn step(step: &Step) -> Value {
    let change = match step.change {
        Change::Create => "create",
        Change::Modify => "modify",
        Change::Destroy => "destroy",
        Change::Nothing => "none",
    };
    let command = match &step.action {
        Action::Run(cmd) => cmd.line(),
        Action::Local(local) => crate::shell::join(&local.words),
        Action::Rsync(what) => format!("rsync {} {}", what.source.display(), what.destination),
        Action::Ship(what) => format!("rsync {} {}; docker load", what.store.display(), what.folder()),
        Action::Send(parcel, cmd) => format!("{}: {}", sent(parcel), cmd.line()),
        Action::Save => "fleet backup, without forgetting old snapshots".to_owned(),
        Action::Await(gate) => format!("wait for health, at most {} s", gate.deadline.as_secs()),
    };
    json!({ "title": step.title, "change": change, "details": step.details, "command": command })
}

#[cfg(test)]
mod tests;
