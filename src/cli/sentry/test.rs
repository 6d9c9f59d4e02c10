//! `fleet sentry test`: an error that is made on purpose, followed as far as it can be.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use serde::Serialize;
use uuid::Builder;

use super::super::App;
use super::super::context::Fleet;
use super::super::exit::refused;
use super::super::global::{Limits, parse_duration};
use super::super::targets::Targets;
use super::{look, server};
use crate::event::ExitKind;
use crate::hint::HintExt as _;
use crate::http::Http;
use crate::registry::Client;
use crate::registry::values::Dsn;
use crate::sentry::{self, Api, ApiError, Seen, TestEvent, Whereabouts};
use crate::shell::{Cmd, quote};
use crate::status::sentry::State;
use crate::ui::{self, Role, Symbol};

/// Longest time that a server may take to answer an event.
const POST: Duration = Duration::from_secs(10);
/// Pause between two looks for an event.
const AGAIN: Duration = Duration::from_millis(700);

/// Make an error on purpose and follow it to the server
///
/// Where the stack names a request that provokes an error ([sentry] test), the client's own application is
/// asked for it, on its host: that proves the whole way. Elsewhere, or with --direct, fleet posts an event itself
/// with the client's DSN and environment: that proves the DSN and the server. Either is then read back from the
/// server, where [fleet.sentry] names a token. What was proved is said, and what was not.
///
/// The event is one that people are told of, like any other. The exit code is 0 when everything that could be
/// tried was proved, 1 when something was not, 4 when no client could be reached.
#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:
  fleet sentry test ville-lyon
  fleet sentry test ville-lyon --direct
  fleet sentry test --tag canary --wait 60s --json")]
pub struct Args {
    #[command(flatten)]
    pub targets: Targets,

    /// Post an event from here instead of asking the application for an error
    #[arg(long)]
    pub direct: bool,

    /// Longest time to wait for an event to be readable, such as 60s
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = parse_duration)]
    pub wait: Duration,

    #[command(flatten)]
    pub limits: Limits,
}

/// What became of one client's error.
#[derive(Serialize)]
struct Record {
    schema: &'static str,
    client: String,
    environment: String,
    /// `application` or `direct`.
    way: &'static str,
    /// Number of the event, where it is known.
    event: Option<String>,
    /// Everything that was tried was proved.
    ok: bool,
    /// The event was read back from the server.
    read_back: bool,
    steps: Vec<Step>,
}

#[derive(Serialize)]
struct Step {
    /// Null: it could not be tried.
    proved: Option<bool>,
    text: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    hint: Option<String>,
}

/// One client's test.
struct Trial<'a> {
    client: &'a Client,
    dsn: &'a Dsn,
    /// The request that provokes an error; none where an event is posted from here.
    path: Option<String>,
    /// Found again in the event: its number, or a word in the address that was asked for.
    mark: String,
    /// Events that were there before.
    before: Vec<String>,
    record: Record,
}

impl Step {
    fn yes(text: impl Into<String>) -> Step {
        Step { proved: Some(true), text: text.into(), hint: None }
    }

    fn no(text: impl Into<String>, hint: impl Into<String>) -> Step {
        Step { proved: Some(false), text: text.into(), hint: Some(hint.into()) }
    }

    fn untried(text: impl Into<String>, hint: impl Into<String>) -> Step {
        Step { proved: None, text: text.into(), hint: Some(hint.into()) }
    }
}

pub fn run(app: &App, args: &Args) -> anyhow::Result<ExitKind> {
    let fleet = Fleet::open(&app.global)?;
    let clients = args.targets.required(&fleet)?;
    let mut trials = Vec::new();
    for client in clients {
        trials.push(trial(&fleet, client, args.direct)?);
    }
    let count = u32::try_from(trials.len()).unwrap_or(u32::MAX);
    let api = server::open(&fleet, Duration::from_secs(30) + args.wait.saturating_mul(count))?;
    let mut reached = true;
    if trials.iter().any(|trial| trial.path.is_some()) {
        if let Some(api) = &api {
            for trial in trials.iter_mut().filter(|trial| trial.path.is_some()) {
                let at = Whereabouts::of(&trial.client.sentry, trial.dsn);
                trial.before = api.newest(&at).map(ids).unwrap_or_default();
            }
        }
        match provoke(app, &fleet, &mut trials, &args.limits)? {
            Some(any) => reached = any,
            None => return Ok(ExitKind::Interrupted),
        }
    }
    super::end_at_interrupt()?;
    for trial in &mut trials {
        if trial.path.is_none() {
            post(trial);
        }
        if trial.record.steps.iter().all(|step| step.proved != Some(false)) {
            read_back(api.as_ref(), trial, args.wait);
        }
        trial.record.ok = trial.record.steps.iter().all(|step| step.proved != Some(false));
        show(app, &trial.record)?;
    }
    Ok(match trials.iter().all(|trial| trial.record.ok) {
        true => ExitKind::Ok,
        false if !reached => ExitKind::NoneReachable,
        false => ExitKind::ClientFailed,
    })
}

fn trial<'a>(fleet: &Fleet, client: &'a Client, direct: bool) -> anyhow::Result<Trial<'a>> {
    let name = &client.name;
    let Some(dsn) = &client.sentry.dsn else {
        let (why, next) = match client.sentry.enabled {
            true => ("has no DSN", format!("fleet sentry set {name} --dsn-from FILE")),
            false => ("is disabled", format!("fleet sentry enable {name}")),
        };
        return Err(refused(format!("{name} {why}: nothing is sent")).hint(next));
    };
    let stack = fleet.stack(client)?;
    let path = stack.sentry.as_ref().and_then(|sentry| sentry.test_path.clone()).filter(|_| !direct);
    let id = Builder::from_random_bytes(rand::random()).into_uuid().simple().to_string();
    let record = Record {
        schema: "fleet.sentry-test/1",
        client: name.to_string(),
        environment: client.sentry.environment.to_string(),
        way: if path.is_some() { "application" } else { "direct" },
        event: None,
        ok: false,
        read_back: false,
        steps: Vec::new(),
    };
    Ok(Trial { client, dsn, path, mark: id, before: Vec::new(), record })
}

fn ids(events: Vec<Seen>) -> Vec<String> {
    events.into_iter().map(|seen| seen.id).collect()
}

/// Asks each application on its own host for its error. Gives whether any host was reached; nothing when it was
/// interrupted.
fn provoke(
    app: &App,
    fleet: &Fleet,
    trials: &mut [Trial<'_>],
    limits: &Limits,
) -> anyhow::Result<Option<bool>> {
    let clients: Vec<&Client> =
        trials.iter().filter(|trial| trial.path.is_some()).map(|trial| trial.client).collect();
    // What would keep the error from being sent is told before it is looked for in vain.
    let looked = look::look(app, fleet, "sentry test", &clients, limits)?;
    if looked.interrupted {
        return Ok(None);
    }
    let mut known: BTreeMap<&str, _> =
        clients.iter().map(|client| client.name.as_str()).zip(&looked.list).collect();
    let mut asked = Vec::new();
    let mut questions = Vec::new();
    for trial in trials.iter_mut() {
        let Some(path) = trial.path.clone() else { continue };
        let found = known.remove(trial.client.name.as_str());
        let fault = found.and_then(|found| found.problems.first());
        if let Some(problem) = fault {
            trial.record.steps.push(Step::no(problem.text.clone(), problem.remedy.clone()));
            continue;
        }
        if found.is_some_and(|found| found.state == State::On) {
            let environment = &trial.client.sentry.environment;
            trial
                .record
                .steps
                .push(Step::yes(format!("the application says that it reports as {environment}")));
        }
        let stack = fleet.stack(trial.client)?;
        let join = if path.contains('?') { '&' } else { '?' };
        let scheme = if stack.tls.is_some() { "https" } else { "http" };
        let domain = &trial.client.domain;
        let url = format!("{scheme}://{domain}{path}{join}fleet-test={}", trial.mark);
        let script = format!(
            "curl -sk --max-time 20 --max-filesize 1048576 -o /dev/null --resolve {domain}:443:127.0.0.1 --resolve {domain}:80:127.0.0.1 -w '%{{http_code}}' {}\n",
            quote(&url)
        );
        let cmd = Cmd::script(script, Vec::<String>::new()).timeout(Duration::from_secs(30));
        questions.push((fleet.target(trial.client), cmd));
        asked.push(trial);
    }
    let answers = app.ask(fleet, "sentry test", questions, limits)?;
    if answers.interrupted {
        return Ok(None);
    }
    for (trial, answer) in asked.into_iter().zip(answers.answers) {
        let path = trial.path.clone().unwrap_or_default();
        let name = &trial.client.name;
        let status = answer
            .result
            .ok()
            .and_then(|output| String::from_utf8_lossy(&output.stdout).trim().parse::<u16>().ok());
        trial.record.steps.push(match status {
            Some(status @ 500..) => Step::yes(format!("the application answers {status} to {path}")),
            Some(0) | None => {
                Step::no(format!("the application does not answer {path}"), format!("fleet status {name}"))
            }
            Some(status) => Step::no(
                format!("the application answers {status} to {path}, which is no error of its own"),
                "correct `test` under [sentry] of stack.toml, or post an event from here with --direct",
            ),
        });
    }
    Ok(Some(looked.list.iter().any(|one| one.state != State::Unreachable)))
}

/// Posts an event as the client's application would.
fn post(trial: &mut Trial<'_>) {
    let now = jiff::Timestamp::now();
    let by = crate::fs_atomic::operator();
    let event = TestEvent {
        id: &trial.mark,
        client: &trial.client.name,
        environment: &trial.client.sentry.environment,
        release: None,
        by: &by,
    };
    let posted = sentry::post(&Http::new(POST), trial.dsn, Some(&trial.mark), &[event.item(now)], now);
    match posted {
        Ok(posted) => {
            trial.record.event = Some(trial.mark.clone());
            let text = format!("accepted by {} (HTTP {})", trial.dsn.host(), posted.status);
            trial.record.steps.push(Step::yes(text));
            if let Some(pause) = posted.limited {
                trial.record.steps.push(Step::no(
                    format!("{} takes no more for {} s", trial.dsn.host(), pause.as_secs()),
                    "a rate limit or the quota is reached: errors are lost meanwhile",
                ));
            }
        }
        Err(error) => trial.record.steps.push(Step::no(error.to_string(), error.hint())),
    }
}

/// Looks for the event on the server until it is there or the time is over.
fn read_back(api: Option<&Api>, trial: &mut Trial<'_>, wait: Duration) {
    let Some(api) = api else {
        let hint = "name a token under [fleet.sentry], and it is read back from the server";
        trial.record.steps.push(Step::untried("not proved: that it can be read there", hint));
        return;
    };
    let at = Whereabouts::of(&trial.client.sentry, trial.dsn);
    let started = Instant::now();
    // An event that is not there (yet) and a project that is not there look alike.
    let there = api.project(&at);
    let found = loop {
        if let Err(error) = &there {
            break Err(error.clone());
        }
        match find(api, &at, trial) {
            Ok(Some(seen)) => break Ok(Some(seen)),
            Err(error) => break Err(error),
            Ok(None) if started.elapsed() >= wait => break Ok(None),
            Ok(None) => std::thread::sleep(AGAIN),
        }
    };
    let seconds = started.elapsed().as_secs_f64();
    let wanted = trial.client.sentry.environment.as_str();
    trial.record.steps.push(match found {
        Ok(Some(seen)) if seen.environment.as_deref() == Some(wanted) => {
            trial.record.event = Some(seen.id.clone());
            trial.record.read_back = true;
            Step::yes(format!("read back from {} as event {} in environment {wanted}, {seconds:.1} s later", api.name(), seen.id))
        }
        Ok(Some(seen)) => {
            let other = seen.environment.unwrap_or_else(|| "none".to_owned());
            trial.record.event = Some(seen.id.clone());
            Step::no(
                format!("read back as event {}, and its environment is {other}, not {wanted}", seen.id),
                format!("fleet update {}", trial.client.name),
            )
        }
        Ok(None) => Step::no(
            format!("not read back from {} within {} s", api.name(), wait.as_secs()),
            match trial.path {
                Some(_) => "does the host reach the server? `fleet doctor` tries it; a filter, a quota or a sample rate may drop it".to_owned(),
                None => "the server took it and may be slow, or drops it by a filter: --wait 2m".to_owned(),
            },
        ),
        Err(error) => Step::no(format!("not read back: {error}"), error.hint()),
    });
}

/// The event of this test: by its number, or by the word in the address that was asked for.
fn find(api: &Api, at: &Whereabouts, trial: &Trial<'_>) -> Result<Option<Seen>, ApiError> {
    if trial.path.is_none() {
        return api.event(at, &trial.mark);
    }
    let newest = api.newest(at)?;
    for seen in newest.into_iter().filter(|seen| !trial.before.contains(&seen.id)) {
        if seen.has(&trial.mark) {
            return Ok(Some(seen));
        }
        // A list tells less than the event itself.
        if let Some(whole) = api.event(at, &seen.id)?.filter(|whole| whole.has(&trial.mark)) {
            return Ok(Some(whole));
        }
    }
    Ok(None)
}

fn show(app: &App, record: &Record) -> anyhow::Result<()> {
    if app.global.json {
        return app.out(&serde_json::to_string(record)?);
    }
    let look = &app.stdout;
    app.out(&look.paint(Role::Strong, &format!("{} (environment {})", record.client, record.environment)))?;
    for step in &record.steps {
        let (symbol, role) = match step.proved {
            Some(true) => (Symbol::Changed, Role::Good),
            Some(false) => (Symbol::Failed, Role::Bad),
            None => (Symbol::Unknown, Role::Warn),
        };
        let mark = look.paint(role, look.symbol(symbol));
        let word = match (mark.is_empty(), step.proved) {
            (true, Some(true)) => "proved:",
            (true, Some(false)) => "failed:",
            (true, None) => "open:",
            (false, _) => mark.as_str(),
        };
        app.out(&format!("  {word} {}", ui::flat(&step.text)))?;
        if let Some(hint) = &step.hint {
            app.out(&format!("    {}", ui::flat(hint)))?;
        }
    }
    Ok(())
}
