//! `fleet doctor`: everything that a tool can find out before it hurts, each with its remedy.

mod files;
mod network;

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::App;
use super::assemble::{Assembler, NewSecrets};
use super::context::Fleet;
use super::global::Limits;
use super::running::new_run;
use super::targets::Targets;
use crate::check::{self, Clock};
use crate::doctor::{self, Area, Asked, Finding, Outside, Reach, SCHEMA, Severity};
use crate::event::{ExitKind, Outcome};
use crate::facts::Facts;
use crate::ops;
use crate::registry::Client;
use crate::ui::{self, Role};

/// Look for what is wrong, or will be: registry, stacks, secrets, keys, tools, DNS, ports, hosts, certificates
///
/// Nothing is changed. Each finding says what, why and what to do. The exit code is 0 without an error
/// (warnings may be there), 1 when some host or name has one, 3 when the registry, a stack or the
/// secrets have one, 4 when no host could be reached.
#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:
  fleet doctor
  fleet doctor --local
  fleet doctor ville-lyon --json")]
pub struct Args {
    #[command(flatten)]
    pub targets: Targets,

    /// Only this machine and its files: no DNS, no host
    #[arg(long)]
    pub local: bool,

    #[command(flatten)]
    pub limits: Limits,
}

pub fn run(app: &App, args: &Args) -> anyhow::Result<ExitKind> {
    let fleet = Fleet::open(&app.global)?;
    let clients = args.targets.or_all(&fleet)?;
    let mut findings = files::files(&fleet);
    findings.extend(files::secrets(&fleet, &clients));
    findings.extend(files::tools(&fleet, &clients));
    let (found, outside) = values(&fleet, &clients)?;
    findings.extend(found);
    let (mut asked, mut reached, mut interrupted) = (0, 0, false);
    if !args.local {
        let looked = hosts(app, &fleet, &clients, &outside, &args.limits)?;
        (asked, reached, interrupted) = (clients.len(), looked.reached, looked.interrupted);
        findings.extend(looked.findings);
    }
    doctor::sort(&mut findings);
    // What two looks find is one finding.
    findings.dedup();
    if app.global.json {
        for finding in &findings {
            app.out(&record(finding).to_string())?;
        }
    } else {
        show(app, &findings, clients.len())?;
    }
    Ok(if interrupted { ExitKind::Interrupted } else { doctor::exit(&findings, asked, reached) })
}

/// Services outside that a client's values name, by client.
type Outsides = BTreeMap<String, Vec<Outside>>;

/// What each client's files are made of: the stack, its values, its channels.
fn values(fleet: &Fleet, clients: &[&Client]) -> anyhow::Result<(Vec<Finding>, Outsides)> {
    let (mut findings, mut outsides) = (Vec::new(), Outsides::new());
    // What the fleet itself names is wrong for all: it is told once.
    let mut assembler = match Assembler::new(fleet, new_run(), NewSecrets::Pretend) {
        Ok(assembler) => assembler,
        Err(error) => {
            findings.extend(failed(Area::Registry, &error));
            return Ok((findings, outsides));
        }
    };
    let mut stacks: Vec<String> = Vec::new();
    for client in clients {
        let name = client.name.as_str();
        match fleet.stack(client) {
            Err(error) => {
                let stack = fleet.registry.stack_of(client).to_string();
                if !stacks.contains(&stack) {
                    findings.extend(failed(Area::Registry, &error));
                    stacks.push(stack);
                }
                continue;
            }
            Ok(stack) => findings.extend(doctor::settings(&fleet.registry, client, &stack)),
        }
        match assembler.make(client) {
            Ok(made) => drop(outsides.insert(name.to_owned(), doctor::outside(&made.env, &client.domain))),
            Err(error) => {
                let error = super::explain::explain(error);
                let sealed = crate::hint::find::<crate::vault::VaultError>(&error).is_some();
                let area = if sealed { Area::Secrets } else { Area::Registry };
                findings.extend(of_client(failed(area, &error), name));
            }
        }
        if let Err(error) = fleet.ping_of(client) {
            findings.extend(of_client(failed(Area::Secrets, &error), name));
        }
        if let Some(window) = &client.update_window
            && jiff::tz::TimeZone::get(window.zone()).is_err()
        {
            findings.push(
                Finding::error(Area::Registry, format!("update_window: time zone {} is not known here", window.zone()))
                    .remedy("write a zone of the tz database, such as Europe/Paris; on Debian: apt-get install tzdata")
                    .of(name),
            );
        }
    }
    let (_, lacking) = fleet.channels(|_| true);
    for (channel, why) in lacking {
        findings.push(
            Finding::warning(Area::Secrets, format!("channel {channel} cannot be used: {why}"))
                .why("nobody is told")
                .remedy(why.hint()),
        );
    }
    Ok((findings, outsides))
}

/// An error as findings: one for each place that it names, with its hint as the remedy.
fn failed(area: Area, error: &anyhow::Error) -> Vec<Finding> {
    let value = ui::error::to_json(error);
    let text = |value: &Value| value.as_str().map(ui::flat).unwrap_or_default();
    let each = value["diagnostics"].as_array().into_iter().flatten().map(|one| {
        let line = one["line"].as_u64().map(|line| format!(":{line}")).unwrap_or_default();
        let what = format!("{}{line}: {}: {}", text(&one["file"]), text(&one["key"]), text(&one["message"]));
        let why = one["expected"].as_str().map(|expected| format!("expected {expected}")).unwrap_or_default();
        Finding::error(area, what).why(why).remedy(text(&one["hint"]))
    });
    let each: Vec<Finding> = each.collect();
    if !each.is_empty() {
        return each;
    }
    let causes = value["causes"].as_array().into_iter().flatten().map(text);
    let what: Vec<String> = std::iter::once(text(&value["message"])).chain(causes).collect();
    vec![Finding::error(area, what.join(": ")).remedy(text(&value["hints"][0]))]
}

fn of_client(findings: Vec<Finding>, client: &str) -> impl Iterator<Item = Finding> {
    findings.into_iter().map(move |finding| finding.of(client))
}

struct Looked {
    findings: Vec<Finding>,
    reached: usize,
    interrupted: bool,
}

/// DNS and ports from here, and one look at each host.
fn hosts(
    app: &App,
    fleet: &Fleet,
    clients: &[&Client],
    outsides: &Outsides,
    limits: &Limits,
) -> anyhow::Result<Looked> {
    let acme = fleet.registry.fleet.acme.server.as_str();
    let mut questions = Vec::new();
    let mut stacks = Vec::new();
    for client in clients {
        // One that cannot be read was told of; its host is looked at all the same.
        let stack = fleet.stack(client).ok();
        let tls = stack.as_ref().is_some_and(|stack| stack.tls.is_some());
        let outside = outsides.get(client.name.as_str()).into_iter().flatten();
        let outside = outside.map(|one| (one.variable.as_str(), one.host.as_str(), one.port));
        let cmd = ops::doctor::look(&client.domain, if tls { acme } else { "" }, outside);
        questions.push((fleet.target(client), cmd));
        stacks.push(stack);
    }
    let answers = app.ask(fleet, "doctor", questions, limits)?;
    let mut looked = Looked { findings: Vec::new(), reached: 0, interrupted: answers.interrupted };
    let seen = network::look(clients);
    let mut without_certificate = Vec::new();
    for (((client, stack), answer), seen) in clients.iter().zip(&stacks).zip(&answers.answers).zip(&seen) {
        let name = client.name.as_str();
        looked.findings.extend(seen.findings(client));
        let output = match &answer.result {
            Ok(output) => output,
            Err(outcome) => {
                looked.findings.push(unreachable(name, outcome));
                // What a firewall lets through is worth knowing then, too.
                continue;
            }
        };
        looked.reached += 1;
        let Ok(facts) = Facts::parse(&output.stdout) else {
            looked.findings.push(
                Finding::error(Area::Host, "its answer was cut short")
                    .remedy(format!("fleet test-ssh {name}"))
                    .of(name),
            );
            continue;
        };
        let stack_name = stack.as_ref().map(|stack| stack.name.clone()).unwrap_or_default();
        let serves =
            facts.held_ports.values().any(|holder| holder.starts_with(&format!("docker {stack_name} ")));
        let tls = stack.as_ref().is_some_and(|stack| stack.tls.is_some());
        if tls && !serves {
            without_certificate.push(client.domain.as_str());
        }
        let limits = check::Limits::of(&client.checks);
        let asked = Asked {
            client: name.to_owned(),
            stack: stack_name,
            user: client.user.to_string(),
            memory_mb: stack.as_ref().and_then(|stack| stack.memory_mb),
            acme: if tls { acme.to_owned() } else { String::new() },
            disk_percent: limits.disk_percent,
            serves,
        };
        looked.findings.extend(doctor::host(&asked, &facts, &seen.ports));
        let outside = outsides.get(name).map(Vec::as_slice).unwrap_or_default();
        looked.findings.extend(doctor::unreached(name, outside, &facts));
        let begun = answer.ended.saturating_sub(answer.seconds.ceil() as i64);
        let skew = Clock { asked: begun, answered: answer.ended }.skew(&facts);
        looked.findings.extend(doctor::clock(name, skew, limits.clock_skew));
    }
    looked.findings.extend(doctor::budget(acme, &without_certificate));
    Ok(looked)
}

fn unreachable(name: &str, outcome: &Outcome) -> Finding {
    let (what, hint) = match (outcome.fault(), outcome) {
        (Some(fault), _) => (fault.message.clone(), fault.hint.clone()),
        (None, Outcome::Skipped { reason, .. }) => (reason.clone(), None),
        (None, other) => (other.word().to_owned(), None),
    };
    Finding::error(Area::Reach, what)
        .remedy(hint.unwrap_or_else(|| format!("fleet test-ssh {name}")))
        .of(name)
}

/// One finding, schema `fleet.doctor/1`.
fn record(finding: &Finding) -> Value {
    json!({
        "schema": SCHEMA,
        "severity": finding.severity,
        "area": finding.area,
        "client": finding.client,
        "what": finding.what,
        "why": finding.why,
        "remedy": finding.remedy,
    })
}

/// A finding is three lines, not a row: what to do must not be cut.
fn show(app: &App, findings: &[Finding], clients: usize) -> anyhow::Result<()> {
    for finding in findings {
        let (word, role) = match finding.severity {
            Severity::Error => ("error", Role::Bad),
            Severity::Warning => ("warning", Role::Warn),
        };
        let client = finding.client.as_deref().map(|name| format!("{name}: ")).unwrap_or_default();
        app.out(&format!("{}: {client}{}", app.stdout.paint(role, word), ui::flat(&finding.what)))?;
        if !finding.why.is_empty() {
            app.out(&format!("  why: {}", ui::flat(&finding.why)))?;
        }
        if !finding.remedy.is_empty() {
            app.out(&format!("  do: {}", ui::flat(&finding.remedy)))?;
        }
    }
    let errors = findings.iter().filter(|finding| finding.severity == Severity::Error).count();
    let counted = |count: usize, noun: &str| format!("{count} {noun}{}", if count == 1 { "" } else { "s" });
    app.tell(&format!(
        "{}, {} in {}\n",
        counted(errors, "error"),
        counted(findings.len() - errors, "warning"),
        counted(clients, "client")
    ));
    Ok(())
}

impl network::Seen {
    fn findings(&self, client: &Client) -> Vec<Finding> {
        let host = self.host.as_deref();
        let names = self.names.iter();
        let mut findings: Vec<Finding> = names
            .filter_map(|(name, found)| doctor::resolved(client, name, found.as_deref(), host))
            .collect();
        if self.ssh == Reach::Silent && client.jump.is_none() {
            findings.push(
                Finding::error(Area::Reach, format!("port {} does not answer from here", client.port))
                    .why("ssh comes in there")
                    .remedy("is the server on, the address right, the port open in the provider's firewall?")
                    .of(&client.name),
            );
        }
        findings
    }
}
