//! What `provision` and `update` share: survey, show the plan, ask, execute, sum up.

use std::sync::Arc;

use super::App;
use super::assemble::{Assembler, NewSecrets};
use super::context::Fleet;
use super::exit::{refused, usage};
use super::global::Limits;
use super::preview;
use super::running::{Run, new_run};
use crate::engine::{Job, Surveyed};
use crate::event::{ExitKind, Fault, Outcome, PLANNING, Report};
use crate::hint::HintExt as _;
use crate::plan::{Desired, Stage};
use crate::registry::Client;

/// How a change is asked for.
#[derive(clap::Args, Clone, Debug, Default)]
pub struct Options {
    /// Show what would be done and touch nothing
    #[arg(long)]
    pub dry_run: bool,

    /// Do not ask for confirmation (needed without a terminal)
    #[arg(short, long, env = "FLEET_YES", value_parser = clap::builder::FalseyValueParser::new())]
    pub yes: bool,

    #[command(flatten)]
    pub limits: Limits,
}

pub struct Wish<'a> {
    pub verb: &'static str,
    pub stages: &'static [Stage],
    pub needs_provision: bool,
    /// Only these services; all when empty.
    pub services: &'a [String],
    /// A client that is refused by its plan stops the run before any other is touched.
    pub all_or_none: bool,
    /// In a rollback, the release to go back to; without it the one before.
    pub rollback_to: Option<String>,
    /// Say with exit code 5 whether anything would change, and change nothing.
    pub check: bool,
}

impl Options {
    /// Refuses what nobody could confirm, before anything is done for it.
    ///
    /// # Errors
    /// No `--yes` and no terminal.
    pub fn confirmable(&self, app: &App, verb: &str, previewing: bool) -> anyhow::Result<()> {
        if previewing || self.yes || app.can_ask() {
            return Ok(());
        }
        Err(usage(format!("{verb} changes clients and there is no terminal to confirm it on"))
            .hint("add --yes to go on without being asked, or --dry-run to see the plan"))
    }
}

pub fn run(
    app: &App,
    fleet: &Fleet,
    clients: &[&Client],
    options: &Options,
    wish: &Wish<'_>,
) -> anyhow::Result<ExitKind> {
    let previewing = options.dry_run || wish.check;
    options.confirmable(app, wish.verb, previewing)?;
    let info = new_run();
    let new_secrets = if previewing { NewSecrets::Pretend } else { NewSecrets::Keep };
    let mut assembler = Assembler::new(fleet, info.clone(), new_secrets)?;
    let mut jobs = Vec::new();
    for client in clients {
        let assembled = assembler.assemble(client, wish.services)?;
        jobs.push(Job {
            verb: wish.verb,
            target: fleet.target(client),
            desired: Arc::new(Desired { rollback_to: wish.rollback_to.clone(), ..assembled.desired }),
            stages: wish.stages.to_vec(),
            redactor: Arc::new(assembled.redactor),
            needs_provision: wish.needs_provision,
            first_secrets: assembled.first_secrets,
        });
    }
    let names = clients.iter().map(|client| client.name.to_string()).collect();
    let runtime = super::running::runtime()?;
    let result = runtime.block_on(async {
        let mut run = if previewing {
            Run::look(app, fleet, &info, wish.verb, names, &options.limits)
        } else {
            Run::start(app, fleet, &info, wish.verb, names, &options.limits)?
        };
        let survey = run.drive(async |engine| engine.survey(jobs).await).await;
        if previewing {
            return Ok(show_only(app, run, survey.hosts, wish.check, &info.run).await);
        }
        let refused_by_plan = |report: &Report| {
            report.hosts.iter().any(|host| host.outcome.fault().is_some_and(|fault| fault.step == PLANNING))
        };
        if wish.all_or_none && refused_by_plan(&run.report) {
            let reason = "another client cannot; none was touched";
            let outcome = |_: &Surveyed| Outcome::Skipped { reason: reason.into() };
            run.drive(async |engine| engine.dismiss(survey.hosts, outcome).await).await;
            run.finish();
            return Ok(ExitKind::Refused);
        }
        let asked = if options.yes || !survey.hosts.iter().any(Surveyed::pending) {
            false
        } else {
            let confirmed = run.between(|| {
                app.tell(&preview::text(&survey.hosts, &app.stderr, app.global.verbose));
                app.confirm(&question(wish.verb, &survey.hosts))
            })?;
            if !confirmed {
                let outcome = |_: &Surveyed| Outcome::Skipped { reason: "not confirmed".into() };
                run.drive(async |engine| engine.dismiss(survey.hosts, outcome).await).await;
                run.finish();
                return Err(refused("not confirmed; nothing was touched"));
            }
            true
        };
        run.drive(async |engine| engine.execute(survey.hosts, asked).await).await;
        for source in assembler.sources() {
            if let Some(path) = source.changed_since()? {
                app.tell(&format!(
                    "warning: {path} changed in {} while it was being sent; run the same command again\n",
                    source.root.display()
                ));
            }
        }
        settle(fleet, &run.report)?;
        Ok(run.finish())
    });
    super::running::shut_down(runtime);
    result
}

/// Values that were replaced are let go of once the client's host runs with the new ones.
fn settle(fleet: &Fleet, report: &Report) -> anyhow::Result<()> {
    let vault = fleet.vault()?;
    for host in &report.hosts {
        if !matches!(host.outcome, Outcome::Changed { .. } | Outcome::Unchanged) {
            continue;
        }
        let Some(secrets) = vault.read_optional(&host.client)? else { continue };
        let replaced: Vec<String> = secrets.unconfirmed().map(str::to_owned).collect();
        if !replaced.is_empty() {
            vault.confirm(&host.client, &replaced, jiff::Timestamp::now())?;
        }
    }
    Ok(())
}

/// The plan is the answer; clients that could not be planned are named with their remedy.
async fn show_only(app: &App, mut run: Run, hosts: Vec<Surveyed>, check: bool, id: &str) -> ExitKind {
    let pending = hosts.iter().any(Surveyed::pending);
    if app.global.json {
        for host in &hosts {
            let _ = app.out(&preview::record(host, id).to_string());
        }
    } else {
        let _ = app.out(preview::text(&hosts, &app.stdout, app.global.verbose).trim_end());
    }
    run.drive(async |engine| engine.dismiss(hosts, |_| Outcome::Unchanged).await).await;
    for host in &run.report.hosts {
        if let Some(Fault { message, hint, .. }) = host.outcome.fault() {
            app.tell(&format!("{}: {}: {message}\n", host.client, host.outcome.word()));
            if let Some(hint) = hint {
                app.tell(&format!("  hint: {hint}\n"));
            }
        }
    }
    run.report.interrupted = run.interrupted();
    let exit = run.report.exit();
    run.end();
    match exit {
        ExitKind::Ok if check && pending => ExitKind::PendingChanges,
        other => other,
    }
}

fn question(verb: &str, hosts: &[Surveyed]) -> String {
    let pending = hosts.iter().filter(|host| host.pending()).count();
    let noun = if pending == 1 { "client" } else { "clients" };
    format!("{verb} {pending} {noun}?")
}
