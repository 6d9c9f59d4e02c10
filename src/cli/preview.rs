//! The plan, shown before anything is touched: what is printed is what the engine gets.

use serde_json::{Value, json};

use crate::engine::Surveyed;
use crate::plan::{Action, Change, StagePlan, Step};
use crate::ui::{Look, Role};

/// Name and version of the JSON form.
const SCHEMA: &str = "fleet.plan/1";

/// Clients with the same steps are shown once, under all their names.
#[must_use]
pub fn text(hosts: &[Surveyed], look: &Look, verbose: bool) -> String {
    let mut groups: Vec<(Vec<String>, Vec<&str>)> = Vec::new();
    for host in hosts {
        let lines = lines(&host.plans, look, verbose);
        let name = host.job.target.name.as_str();
        match groups.iter_mut().find(|(known, _)| *known == lines) {
            Some((_, names)) => names.push(name),
            None => groups.push((lines, vec![name])),
        }
    }
    let mut out = String::new();
    for (lines, names) in groups {
        let who = match names.len() {
            1..=4 => names.join(", "),
            count => format!("{}, ... ({count} clients)", names[..3].join(", ")),
        };
        out.push_str(&look.paint(Role::Strong, &who));
        if lines.is_empty() {
            out.push_str(": nothing to do\n");
            continue;
        }
        out.push('\n');
        for line in lines {
            out.push_str(&line);
            out.push('\n');
        }
    }
    out
}

fn lines(plans: &[StagePlan], look: &Look, verbose: bool) -> Vec<String> {
    let mut lines = Vec::new();
    for plan in plans {
        for step in &plan.steps {
            let (mark, role) = match step.change {
                Change::Create => ("+", Role::Good),
                Change::Modify => ("~", Role::Warn),
                Change::Destroy => ("-", Role::Bad),
                Change::Nothing => (" ", Role::Faint),
            };
            let stage = format!("{:<8}", plan.stage.name());
            lines.push(format!(
                "  {} {} {}",
                look.paint(role, mark),
                look.paint(Role::Faint, &stage),
                step.title
            ));
            for detail in step.details.iter().filter(|_| verbose || step.details.len() <= 3) {
                lines.push(look.paint(Role::Faint, &format!("             {detail}")));
            }
        }
    }
    lines
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
    })
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
        Action::Rsync(what) => format!("rsync {} {}", what.source.display(), what.destination),
        Action::Await(gate) => format!("wait for health, at most {} s", gate.deadline.as_secs()),
    };
    json!({ "title": step.title, "change": change, "details": step.details, "command": command })
}
