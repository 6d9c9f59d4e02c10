//! What `provision` and `update` share: survey, show the plan, ask, execute, sum up.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;

use super::App;
use super::assemble::{Assembled, Assembler, NewSecrets, RunInfo};
use super::builds;
use super::context::Fleet;
use super::deploys::{self, Deploys};
use super::exit::{exit_of, refused, usage};
use super::global::Limits;
use super::past::Past;
use super::policy::Policy;
use super::preview;
use super::running::{Run, new_run};
use super::shelves;
use super::tell::Telling;
use crate::engine::{Job, Stock, Surveyed};
use crate::event::{EventKind, ExitKind, Fault, Outcome, PLANNING, Report};
use crate::hint::HintExt as _;
use crate::plan::hooks::Hooks;
use crate::plan::{Purge, Restore, Stage};
use crate::registry::{Client, Topic};

/// How a change is asked for.
#[derive(clap::Args, Clone, Debug, Default)]
pub struct Options {
    /// Show what would be done and touch nothing
    #[arg(long)]
    pub dry_run: bool,

    /// Do not ask for confirmation (needed without a terminal)
    #[arg(short, long, env = "FLEET_YES", value_parser = clap::builder::FalseyValueParser::new())]
    pub yes: bool,

    /// Take away what was edited on the host by hand
    #[arg(long)]
    pub overwrite_drift: bool,

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
    /// Migrations to apply at most: up to this one.
    pub migration: Option<String>,
    /// Clients that a rule of the operator leaves out, and why.
    pub left_out: BTreeMap<String, String>,
    /// Leave out who failed twice alike, but for these, which the operator named.
    pub wary: Option<BTreeSet<String>>,
    pub policy: Policy,
    /// Data that comes back to one client.
    pub restore: Option<Restore>,
    /// The clients' stacks are taken off their hosts.
    pub purge: Option<Purge>,
    /// What the run has of each client's backups.
    pub shelves: BTreeMap<String, Arc<dyn Stock>>,
    /// Text that a person must type instead of a yes.
    pub typed: Option<String>,
    /// Another tree than the registry's source.
    pub source: Option<PathBuf>,
    pub info: RunInfo,
    /// Say with exit code 5 whether anything would change, and change nothing.
    pub check: bool,
    /// Releases that clients must have now: where another one serves, more would change than is meant.
    pub from: BTreeMap<String, String>,
    /// What is done on this machine once it is sure that hosts are changed, and before the first is.
    pub first: Option<Box<dyn Fn() -> anyhow::Result<()> + 'a>>,
}

impl<'a> Wish<'a> {
    /// Every service of hosts that were provisioned, all at once, as the registry says.
    pub fn of(verb: &'static str, stages: &'static [Stage]) -> Wish<'a> {
        Wish {
            verb,
            stages,
            needs_provision: true,
            services: &[],
            all_or_none: false,
            rollback_to: None,
            migration: None,
            left_out: BTreeMap::new(),
            wary: None,
            policy: Policy::all_at_once(),
            restore: None,
            purge: None,
            shelves: BTreeMap::new(),
            typed: None,
            source: None,
            info: new_run(),
            check: false,
            from: BTreeMap::new(),
            first: None,
        }
    }

    /// Other changes wait for this host, which would go along.
    fn has_more(&self, host: &Surveyed) -> bool {
        let serves = host.facts.state.as_ref().map(|state| state.release.as_str());
        let Some((from, serves)) = self.from.get(&host.job.target.name).zip(serves) else { return false };
        serves != from && serves != host.job.desired.release.id
    }
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

impl Assembled {
    /// What the wish narrows a client's release to.
    fn with(mut self, wish: &Wish<'_>) -> Self {
        self.desired.rollback_to.clone_from(&wish.rollback_to);
        self.desired.restore.clone_from(&wish.restore);
        self.desired.purge.clone_from(&wish.purge);
        if let Some(last) = &wish.migration {
            self.desired.release.migrations.retain(|migration| migration.name <= *last);
        }
        self
    }
}

pub fn run(
    app: &App,
    fleet: &Fleet,
    clients: &[&Client],
    options: &Options,
    wish: &Wish<'_>,
) -> anyhow::Result<ExitKind> {
    ended(app, fleet, clients, options, wish).map(|(exit, _)| exit)
}

/// The same, and how each client ended.
pub fn ended(
    app: &App,
    fleet: &Fleet,
    clients: &[&Client],
    options: &Options,
    wish: &Wish<'_>,
) -> anyhow::Result<(ExitKind, Report)> {
    let previewing = options.dry_run || wish.check;
    options.confirmable(app, wish.verb, previewing)?;
    let info = wish.info.clone();
    let passing = previewing || wish.purge.is_some();
    let new_secrets = if passing { NewSecrets::Pretend } else { NewSecrets::Keep };
    let mut assembler = Assembler::new(fleet, info.clone(), new_secrets)?;
    assembler.source_at.clone_from(&wish.source);
    let past = Past::read(fleet, clients, wish, previewing)?;
    let mut deploys = if previewing { None } else { Deploys::of(fleet, wish.verb, &info) };
    let mut tired: BTreeMap<String, String> = BTreeMap::new();
    let mut jobs = Vec::new();
    let mut replaced: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for client in clients.iter().filter(|client| !wish.left_out.contains_key(client.name.as_str())) {
        let mut desired = assembler.assemble(client, wish.services)?.with(wish);
        if let Some(reason) = past.tired(client, &desired.desired.release.id) {
            tired.insert(client.name.to_string(), reason);
            continue;
        }
        if let Some(deploys) = &mut deploys {
            deploys.add(fleet, client, &desired, wish.services)?;
        }
        desired.desired.release.bake = wish.policy.bake;
        desired.desired.overwrite_drift = options.overwrite_drift;
        let stack = fleet.stack(client)?;
        desired.desired.hooks = Hooks::of(&stack.hooks, wish.verb, fleet.dir.clone());
        replaced.insert(client.name.to_string(), std::mem::take(&mut desired.replaced));
        jobs.push(Job {
            verb: wish.verb,
            target: fleet.target(client),
            desired: Arc::new(desired.desired),
            stages: wish.stages.to_vec(),
            dead: Arc::clone(&past.dead),
            redactor: Arc::new(desired.redactor),
            needs_provision: wish.needs_provision,
            stock: wish.shelves.get(client.name.as_str()).cloned(),
            first_secrets: desired.first_secrets && wish.purge.is_none(),
        });
    }
    let names: Vec<String> = clients.iter().map(|client| client.name.to_string()).collect();
    let told = wish.verb == "update" && !previewing;
    let telling = told.then(|| Telling::start(app, fleet, Topic::Update)).flatten();
    let runtime = super::running::runtime()?;
    let result = runtime.block_on(async {
        if !previewing {
            builds::check(&jobs).await?;
        }
        let mut run = if previewing {
            Run::look(app, fleet, &info, wish.verb, names, &options.limits)
        } else {
            Run::start(app, fleet, &info, wish.verb, names, &options.limits)?
        };
        for (message, hint) in past.cuts() {
            run.engine.emitter.emit(None, EventKind::Warning { message, hint: Some(hint) });
        }
        let by_rule = wish.left_out.iter().map(|left| (left, true));
        for ((name, reason), expected) in by_rule.chain(tired.iter().map(|left| (left, false))) {
            let outcome = Outcome::Skipped { reason: reason.clone(), expected };
            run.engine.emitter.emit(Some(name), EventKind::HostFinished { outcome, seconds: 0.0 });
        }
        let mut survey = run.drive(async |engine| engine.survey(jobs).await).await;
        if previewing {
            return Ok((show_only(app, run, survey.hosts, wish.check, &info.run).await, Report::default()));
        }
        let (more, fit) = survey.hosts.into_iter().partition(|host| wish.has_more(host));
        survey.hosts = fit;
        run.drive(async |engine| engine.dismiss(more, more_waits).await).await;
        for (host, outcome) in shelves::provide(fleet, clients, &info, &mut survey.hosts) {
            run.drive(async |engine| engine.dismiss(vec![host], |_| outcome.clone()).await).await;
        }
        if wish.all_or_none && refused_by_plan(&run.report) {
            let outcome = |_: &Surveyed| Outcome::skipped("another client cannot; none was touched");
            run.drive(async |engine| engine.dismiss(survey.hosts, outcome).await).await;
            run.finish();
            return Ok((ExitKind::Refused, Report::default()));
        }
        let plan_waves = |hosts: &[Surveyed]| {
            wish.policy.waves(hosts, |host| wish.policy.canary.contains(&host.job.target.name))
        };
        let asked = if options.yes || !survey.hosts.iter().any(Surveyed::pending) {
            false
        } else {
            let confirmed = run.between(|| {
                app.tell(&preview::text(&survey.hosts, &app.stderr, app.global.verbose));
                app.tell(&preview::waves(&survey.hosts, &plan_waves(&survey.hosts)));
                match &wish.typed {
                    Some(text) => app.confirm_by(&question(wish.verb, &survey.hosts), text),
                    None => app.confirm(&question(wish.verb, &survey.hosts)),
                }
            })?;
            if !confirmed {
                let outcome = |_: &Surveyed| Outcome::skipped("not confirmed");
                run.drive(async |engine| engine.dismiss(survey.hosts, outcome).await).await;
                run.finish();
                return Err(refused("not confirmed; nothing was touched"));
            }
            true
        };
        if let Some(first) = wish.first.as_ref().filter(|_| !survey.hosts.is_empty())
            && let Err(error) = first()
        {
            let outcome = |_: &Surveyed| Outcome::skipped("not begun");
            run.drive(async |engine| engine.dismiss(survey.hosts, outcome).await).await;
            run.finish();
            return Err(error);
        }
        let sources: Vec<_> = assembler.sources().cloned().collect();
        if let Some(deploys) = &mut deploys {
            let pending = survey.hosts.iter().filter(|host| host.pending());
            deploys.begins(pending.map(|host| host.job.target.name.as_str()));
        }
        let hosts = builds::build(&mut run, survey.hosts, &sources).await;
        let waves = plan_waves(&hosts);
        execute(&mut run, hosts, &waves, wish, clients.len(), asked).await;
        builds::prune(fleet).await?;
        for source in assembler.sources() {
            if let Some(path) = source.changed_since()? {
                app.tell(&format!(
                    "warning: {path} changed in {} while it was being sent; run the same command again\n",
                    source.root.display()
                ));
            }
        }
        // A rollback may run with the values from before, and so may a service that was left out.
        if wish.stages.contains(&Stage::Rollout) && wish.services.is_empty() {
            settle(fleet, &run.report, &replaced)?;
        }
        if let Some(deploys) = deploys {
            deploys::tell_of(&mut run, deploys).await;
        }
        let report = run.report.clone();
        Ok((run.finish(), report))
    });
    super::running::shut_down(runtime);
    match (telling, &result) {
        (Some(telling), Ok((exit, report))) if !report.run.is_empty() => telling.report(report, *exit),
        (Some(telling), Ok((exit, _))) => telling.end("update: not done", Vec::new(), *exit),
        (Some(telling), Err(error)) => telling.end("update: not done", Vec::new(), exit_of(error)),
        (None, _) => {}
    }
    result
}

/// One wave after the other, until all had their turn or the budget is spent.
async fn execute(
    run: &mut Run,
    hosts: Vec<Surveyed>,
    waves: &[Vec<usize>],
    wish: &Wish<'_>,
    total: usize,
    asked: bool,
) {
    let mut hosts: Vec<Option<Surveyed>> = hosts.into_iter().map(Some).collect();
    for (number, wave) in waves.iter().enumerate() {
        let members: Vec<Surveyed> = wave.iter().filter_map(|index| hosts[*index].take()).collect();
        // Later waves were looked at a while ago, whether or not somebody read the plan.
        let recheck = asked || number > 0;
        run.drive(async |engine| engine.execute(members, recheck).await).await;
        let first = number == 0 && waves.len() > 1;
        if let Some(reason) = wish.policy.budget.spent(run.report.tally(), total, first) {
            let left: Vec<Surveyed> = hosts.iter_mut().filter_map(Option::take).collect();
            if !left.is_empty() {
                let outcome = |_: &Surveyed| Outcome::skipped(format!("{reason}; --retry takes it later"));
                run.drive(async |engine| engine.dismiss(left, outcome).await).await;
            }
            return;
        }
    }
}

fn more_waits(host: &Surveyed) -> Outcome {
    let client = &host.job.target.name;
    Outcome::Failed {
        fault: Fault {
            step: PLANNING.to_owned(),
            message: "other changes wait for it, and would go along".to_owned(),
            lines: Vec::new(),
            hint: Some(format!(
                "see them with `fleet update {client} --dry-run`; `fleet update {client}` first"
            )),
        },
    }
}

fn refused_by_plan(report: &Report) -> bool {
    report.hosts.iter().any(|host| host.outcome.fault().is_some_and(|fault| fault.step == PLANNING))
}

/// Values that were replaced are let go of once the client's host runs with the new ones.
fn settle(fleet: &Fleet, report: &Report, replaced: &BTreeMap<String, Vec<String>>) -> anyhow::Result<()> {
    for host in &report.hosts {
        if let Some(names) = replaced.get(&host.client).filter(|names| !names.is_empty())
            && matches!(host.outcome, Outcome::Changed { .. } | Outcome::Unchanged)
        {
            fleet.vault()?.confirm(&host.client, names, jiff::Timestamp::now())?;
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
        if let Outcome::Skipped { reason, .. } = &host.outcome {
            app.tell(&format!("{}: skipped: {reason}\n", host.client));
        }
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
