//! `fleet sentry set`, `enable` and `disable`: clients.toml first, then the hosts, then the proof.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use super::super::App;
use super::super::add::value;
use super::super::ask;
use super::super::assemble::{Assembler, NewSecrets};
use super::super::change::{self, Options, Wish};
use super::super::context::Fleet;
use super::super::exit::{refused, usage};
use super::super::targets::Targets;
use super::edit::{self, Change};
use super::look::{self, Looked};
use super::status;
use crate::diagnostic::Fault;
use crate::event::{ExitKind, Outcome, Report};
use crate::hint::HintExt as _;
use crate::plan::Stage;
use crate::registry::Client;
use crate::registry::edit::Value;
use crate::registry::values::{Dsn, Environment, Name, Slug};
use crate::secret::Secret;
use crate::status::sentry::Sentry;

/// Longest time that a service which was just replaced may take to say what it reports as.
const PROOF: Duration = Duration::from_secs(30);

/// Give clients a DSN, an environment, a rate, or another project
///
/// Writes the keys into each client's own table of clients.toml (comments and order stay), shows the lines and
/// the plan, asks, brings them to the hosts as `fleet update` does (only services that read a changed variable
/// are replaced), and then asks the application whether it reports as it shall. A host that other changes wait
/// for is refused before anything is touched.
///
/// The key in a DSN lets anybody send events to the project, and nothing more. Where other users of this machine
/// shall not read it among its processes, give it with --dsn-from.
#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:
  fleet sentry set ville-lyon --dsn https://KEY@o1.ingest.sentry.io/42
  fleet sentry set ville-lyon --dsn-from dsn.txt
  echo 'https://KEY@o1.ingest.sentry.io/42' | fleet sentry set ville-lyon --dsn-from - --yes
  fleet sentry set --tag test --use staging
  fleet sentry set ville-lyon --environment lyon --traces-rate 0.05
  fleet sentry set ville-lyon --org geoclic --project geoclic-api --no-apply")]
pub struct SetArgs {
    #[command(flatten)]
    pub targets: Targets,

    /// The DSN, such as https://KEY@o1.ingest.sentry.io/42, as the project's settings show it
    // Understood later: no message repeats one that is wrong.
    #[arg(long, value_name = "DSN")]
    pub dsn: Option<String>,

    /// Take the DSN from this file, such as dsn.txt, or from standard input (-)
    #[arg(long, value_name = "FILE", conflicts_with = "dsn")]
    pub dsn_from: Option<PathBuf>,

    /// Name of a [sentry.NAME] whose DSN and project hold, such as staging; takes the client's own ones away
    #[arg(long = "use", value_name = "NAME", value_parser = value(Name::parse))]
    pub uses: Option<Name>,

    /// What the client is called in Sentry, such as lyon
    #[arg(long, value_name = "NAME", value_parser = value(Environment::parse))]
    pub environment: Option<Environment>,

    /// Share of requests that are traced, 0 to 1, such as 0.1
    #[arg(long, value_name = "RATE", value_parser = value(rate))]
    pub traces_rate: Option<f64>,

    /// Organisation on the server, by its short name, such as geoclic
    #[arg(long, value_name = "SLUG", value_parser = value(Slug::parse))]
    pub org: Option<Slug>,

    /// Project on the server, by its short name, such as geoclic-api
    #[arg(long, value_name = "SLUG", value_parser = value(Slug::parse))]
    pub project: Option<Slug>,

    #[command(flatten)]
    pub apply: Apply,
}

/// Let clients report again that were disabled
#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:
  fleet sentry enable ville-lyon
  fleet sentry enable --all --yes")]
pub struct EnableArgs {
    #[command(flatten)]
    pub targets: Targets,

    #[command(flatten)]
    pub apply: Apply,
}

/// Let clients report nothing, and keep their DSN for later
///
/// Writes `enabled = false` into the client's `sentry`; `fleet sentry enable` takes it away again.
#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:
  fleet sentry disable ville-lyon
  fleet sentry disable --tag test --no-apply")]
pub struct DisableArgs {
    #[command(flatten)]
    pub targets: Targets,

    #[command(flatten)]
    pub apply: Apply,
}

#[derive(clap::Args, Clone, Debug)]
pub struct Apply {
    /// Change clients.toml alone; `fleet update` brings it to the hosts
    #[arg(long)]
    pub no_apply: bool,

    #[command(flatten)]
    pub options: Options,
}

fn rate(text: &str) -> Result<f64, Fault> {
    let refuse = || Fault::new(format!("{text:?} is no rate")).expected("a number from 0 to 1, such as 0.1");
    text.parse().ok().filter(|rate| (0.0..=1.0).contains(rate)).ok_or_else(refuse)
}

pub fn set(app: &App, args: &SetArgs) -> anyhow::Result<ExitKind> {
    let fleet = Fleet::open(&app.global)?;
    let clients = args.targets.required(&fleet)?;
    let mut changes = Vec::new();
    if let Some(name) = &args.uses {
        // What is written beside it would win over it.
        changes.extend([
            Change::Unset("sentry.dsn"),
            Change::Unset("sentry.project"),
            Change::Unset("sentry.org"),
        ]);
        changes.push(Change::Set("sentry.use", name.as_str().into()));
    }
    let given = match (&args.dsn, &args.dsn_from) {
        (Some(dsn), _) => Some(("--dsn".to_owned(), Secret::from(dsn.as_str()))),
        (None, Some(path)) if path.as_os_str() == "-" => Some(("-".to_owned(), ask::secret(app, "DSN")?)),
        (None, Some(path)) => Some((path.display().to_string(), ask::secret_file(path)?)),
        (None, None) => None,
    };
    if let Some((from, text)) = given {
        let dsn = Dsn::parse(text.reveal().trim()).map_err(|fault| {
            let told = format!("{from}: {fault}");
            let error = if args.dsn.is_some() { usage(told) } else { refused(told) };
            fault.hint.into_iter().fold(error, |error, hint| error.hint(hint))
        })?;
        changes.push(Change::Set("sentry.dsn", dsn.reveal().into()));
    }
    let environment =
        args.environment.as_ref().map(|name| Change::Set("sentry.environment", name.as_str().into()));
    let rate = args.traces_rate.map(|rate| Change::Set("sentry.traces_rate", Value::from(rate)));
    let org = args.org.as_ref().map(|org| Change::Set("sentry.org", org.as_str().into()));
    let project = args.project.as_ref().map(|slug| Change::Set("sentry.project", slug.as_str().into()));
    changes.extend([environment, rate, org, project].into_iter().flatten());
    if changes.is_empty() {
        return Err(usage("nothing to set was given")
            .hint("such as --dsn DSN, --environment NAME, --traces-rate 0.1 or --use NAME"));
    }
    if args.environment.is_some() && clients.len() > 1 {
        return Err(usage(format!(
            "one environment was given for {} clients, which it tells apart",
            clients.len()
        ))
        .hint("set it client by client; without one a client's environment is its name"));
    }
    let sends = args.uses.is_some();
    change_all(app, &fleet, &clients, &args.apply, sends, |_| changes.as_slice().into())
}

pub fn disable(app: &App, args: &DisableArgs) -> anyhow::Result<ExitKind> {
    let fleet = Fleet::open(&app.global)?;
    let clients = args.targets.required(&fleet)?;
    let changes = [Change::Set("sentry.enabled", false.into())];
    change_all(app, &fleet, &clients, &args.apply, false, |_| changes.as_slice().into())
}

pub fn enable(app: &App, args: &EnableArgs) -> anyhow::Result<ExitKind> {
    let fleet = Fleet::open(&app.global)?;
    let clients = args.targets.required(&fleet)?;
    let changes = |client: &Client| {
        let mut changes = vec![Change::Unset("sentry.enabled")];
        let own = edit::written(&fleet.text, &client.name, &["dsn"]);
        if own.is_some_and(|dsn| dsn.as_str() == Some("")) {
            changes.push(Change::Unset("sentry.dsn"));
        }
        // [defaults] may say it too.
        let text = edit::apply(&fleet.text, &client.name, &changes).ok();
        let after = text.and_then(|text| crate::registry::Registry::parse(&text, "").ok());
        if after
            .as_ref()
            .and_then(|after| after.client(&client.name))
            .is_some_and(|after| !after.sentry.enabled)
        {
            changes.push(Change::Set("sentry.enabled", true.into()));
        }
        changes.into()
    };
    change_all(app, &fleet, &clients, &args.apply, true, changes)
}

/// The changes of one client.
enum Changes<'c> {
    Shared(&'c [Change]),
    Own(Vec<Change>),
}

impl<'c> From<&'c [Change]> for Changes<'c> {
    fn from(shared: &'c [Change]) -> Self {
        Changes::Shared(shared)
    }
}

impl From<Vec<Change>> for Changes<'_> {
    fn from(own: Vec<Change>) -> Self {
        Changes::Own(own)
    }
}

impl Changes<'_> {
    fn list(&self) -> &[Change] {
        match self {
            Changes::Shared(list) => list,
            Changes::Own(list) => list,
        }
    }
}

/// `sends`: a client without a DSN afterwards is not what was meant.
fn change_all<'c>(
    app: &App,
    fleet: &Fleet,
    clients: &[&Client],
    apply: &Apply,
    sends: bool,
    changes: impl Fn(&Client) -> Changes<'c>,
) -> anyhow::Result<ExitKind> {
    let mut text = fleet.text.clone();
    for client in clients {
        let shown = fleet.file.display();
        text = edit::apply(&text, &client.name, changes(client).list())
            .map_err(|error| refused(format!("{shown} cannot be edited: {error}")))?;
    }
    let after = Fleet::of(&app.global, fleet.dir.clone(), fleet.file.clone(), text)?;
    let (clients, names) = same_clients(fleet, &after, clients)?;
    let nothing = |client: &&&Client| client.sentry.enabled && client.sentry.dsn.is_none();
    if let Some(client) = clients.iter().find(nothing).filter(|_| sends) {
        return Err(refused(format!(
            "{} would have no DSN: there is none to send its errors with",
            client.name
        ))
        .hint(format!(
            "fleet sentry set {} --dsn-from FILE, or `fleet sentry setup` makes a project",
            client.name
        )));
    }
    if after.text == fleet.text {
        return already(app, &after, &clients, apply);
    }
    let shown = fleet.file.display();
    let difference = format!("{shown}:\n{}", edit::difference(&fleet.text, &after.text));
    let options = &apply.options;
    if options.dry_run {
        if app.global.json {
            app.tell(&difference)
        } else {
            app.out(difference.trim_end())?
        }
        if apply.no_apply {
            return Ok(ExitKind::Ok);
        }
        let wish = Wish::of("update", STAGES);
        return change::run(app, &after, &clients, options, &wish);
    }
    app.tell(&difference);
    if apply.no_apply {
        edit::write(fleet, &fleet.text, &after.text)?;
        let records: Vec<Sentry> = clients.iter().map(|client| Sentry::configured(client)).collect();
        if app.global.json {
            status::show(app, &records, false)?;
        }
        app.tell(&format!("changed {shown}; `fleet update {}` brings it to the hosts\n", names.join(" ")));
        return Ok(ExitKind::Ok);
    }
    let written = std::cell::Cell::new(false);
    let wish = Wish {
        all_or_none: true,
        from: releases(fleet, &names)?,
        first: Some(Box::new(|| {
            edit::write(fleet, &fleet.text, &after.text)?;
            written.set(true);
            Ok(())
        })),
        ..Wish::of("update", STAGES)
    };
    let (exit, report) = change::ended(app, &after, &clients, options, &wish)?;
    if !written.get() {
        app.tell(&format!("{shown} was not changed, and no client was touched\n"));
        return Ok(exit);
    }
    proof(app, &after, &clients, options, &report, exit)
}

const STAGES: &[Stage] = &[Stage::Before, Stage::Prepare, Stage::Rollout, Stage::After];

/// The clients as they are now, where the edit changed these and no other.
fn same_clients<'a>(
    before: &Fleet,
    after: &'a Fleet,
    clients: &[&Client],
) -> anyhow::Result<(Vec<&'a Client>, Vec<String>)> {
    let names: Vec<String> = clients.iter().map(|client| client.name.to_string()).collect();
    let others = |fleet: &'a Fleet| {
        fleet.registry.clients.iter().filter(|client| !names.contains(&client.name.to_string()))
    };
    let untouched = before.registry.clients.iter().filter(|client| !names.contains(&client.name.to_string()));
    let now: Vec<&Client> = names.iter().filter_map(|name| after.registry.client(name)).collect();
    if !others(after).eq(untouched) || now.len() != names.len() {
        anyhow::bail!("the edited registry does not read back as it should; nothing was written");
    }
    Ok((now, names))
}

/// The release that each client has as clients.toml stands: what else changed since its last update shows in it.
fn releases(fleet: &Fleet, names: &[String]) -> anyhow::Result<BTreeMap<String, String>> {
    let info = super::super::running::new_run();
    let mut assembler = Assembler::new(fleet, info, NewSecrets::Pretend)?;
    let mut releases = BTreeMap::new();
    for client in names.iter().filter_map(|name| fleet.registry.client(name)) {
        let release = assembler.assemble(client, &[])?.desired.release.id;
        releases.insert(client.name.to_string(), release);
    }
    Ok(releases)
}

/// clients.toml says it: what the hosts say is the answer.
fn already(app: &App, fleet: &Fleet, clients: &[&Client], apply: &Apply) -> anyhow::Result<ExitKind> {
    app.tell(&format!("{} says so already\n", fleet.file.display()));
    if apply.no_apply || apply.options.dry_run {
        return Ok(ExitKind::Ok);
    }
    let looked = look::look(app, fleet, "sentry status", clients, &apply.options.limits)?;
    status::show(app, &looked.list, false)?;
    Ok(look::exit(&looked))
}

/// Asks the applications whether they report as they shall now, and says where each client stands.
fn proof(
    app: &App,
    fleet: &Fleet,
    clients: &[&Client],
    options: &Options,
    report: &Report,
    exit: ExitKind,
) -> anyhow::Result<ExitKind> {
    let done = |client: &Client| {
        let ended = report.hosts.iter().find(|host| host.client == *client.name);
        ended.is_some_and(|host| matches!(host.outcome, Outcome::Changed { .. } | Outcome::Unchanged))
    };
    let (updated, left): (Vec<&Client>, Vec<&Client>) =
        clients.iter().copied().partition(|client| done(client));
    for client in left {
        let name = &client.name;
        let ended = report.hosts.iter().find(|host| host.client == **name);
        let word = ended.map_or("not reached", |host| host.outcome.word());
        app.tell(&format!(
            "{name}: {} has it now; the host is {word} and runs as before: fleet update {name}\n",
            fleet.file.display()
        ));
    }
    if updated.is_empty() {
        return Ok(exit);
    }
    super::end_at_interrupt()?;
    let until = Instant::now() + PROOF;
    let looked = loop {
        let looked = look::look(app, fleet, "sentry status", &updated, &options.limits)?;
        let Looked { list, interrupted } = &looked;
        if *interrupted || list.iter().all(|one| one.problems.is_empty()) || Instant::now() >= until {
            break looked;
        }
        std::thread::sleep(Duration::from_secs(2));
    };
    status::show(app, &looked.list, false)?;
    match (exit, look::exit(&looked)) {
        (ExitKind::Ok, ExitKind::NoneReachable) => Ok(ExitKind::ClientFailed),
        (ExitKind::Ok, looked) => Ok(looked),
        (exit, _) => Ok(exit),
    }
}
