//! What happened, as Sentry's events: an error that ended a command, a client that failed, a panic
//! (<https://develop.sentry.dev/sdk/data-model/event-payloads/>).
//!
//! Nothing of the command line is in them but the verb: an argument may be a secret. Neither is the name of this
//! machine, nor of who runs it.

use std::borrow::Cow;

use sentry::protocol::{ClientSdkInfo, Event, Exception, Frame, Level, Map, Mechanism, Stacktrace, Value};

use crate::event::{HostReport, Outcome, PLANNING, Report};

/// Sentry cuts a tag here.
const TAG: usize = 200;
/// Last lines of a host that go along.
const LINES: usize = 20;
/// Most events of one run: a fleet that fails as a whole shall not spend a quota.
const MOST: usize = 100;

/// A command that ended with an error: what happened, then its causes.
pub fn error(verb: &str, messages: &[String]) -> Event<'static> {
    // Sentry wants the cause first, and shows the last one.
    let chain: Vec<Exception> =
        messages.iter().rev().map(|message| exception(&format!("fleet {verb}"), message)).collect();
    Event { exception: chain.into(), tags: tags([("verb", verb)]), ..Event::default() }
}

/// One for each client that failed, and none for what was refused before anything was touched, for what the
/// operator stopped, and for hosts that were not reached: channels and monitors tell of those.
pub fn clients(report: &Report) -> Vec<Event<'static>> {
    if report.interrupted {
        return Vec::new();
    }
    let mut events: Vec<Event<'static>> =
        report.hosts.iter().filter_map(|host| client(report, host)).collect();
    if events.len() > MOST {
        let rest = events.split_off(MOST - 1).len();
        events.push(more(report, rest));
    }
    events
}

fn client(report: &Report, host: &HostReport) -> Option<Event<'static>> {
    let fault = match &host.outcome {
        Outcome::Failed { fault } | Outcome::RolledBack { fault, .. } | Outcome::Unknown { fault } => fault,
        Outcome::Unreachable { .. }
        | Outcome::Unchanged
        | Outcome::Changed { .. }
        | Outcome::Skipped { .. }
        | Outcome::Locked { .. } => return None,
    };
    if fault.step == PLANNING {
        return None;
    }
    let verb = report.verb.as_str();
    let mut extra = Map::new();
    let mut more = |name: &str, text: &str| drop(extra.insert(name.to_owned(), Value::from(text)));
    if let Some(hint) = &fault.hint {
        more("hint", hint);
    }
    if !fault.lines.is_empty() {
        let last = &fault.lines[fault.lines.len().saturating_sub(LINES)..];
        more("last lines of the host", &last.join("\n"));
    }
    if let Outcome::RolledBack { release, .. } = &host.outcome {
        more("serves again", release);
    }
    Some(Event {
        exception: vec![exception(&format!("{verb}: {}", fault.step), &fault.message)].into(),
        // Whichever client it is, one step of one command is one problem.
        fingerprint: fingerprint(verb, &fault.step),
        tags: tags([
            ("client", &host.client),
            ("step", &fault.step),
            ("verb", verb),
            ("run", &report.run),
            ("outcome", host.outcome.word()),
        ]),
        extra,
        ..Event::default()
    })
}

/// How many more clients failed than are told of one by one.
fn more(report: &Report, count: usize) -> Event<'static> {
    let verb = report.verb.as_str();
    let text = format!("{count} more clients failed in this run");
    Event {
        exception: vec![exception(&format!("{verb}: more"), &text)].into(),
        fingerprint: fingerprint(verb, "more"),
        tags: tags([("verb", verb), ("run", &report.run)]),
        ..Event::default()
    }
}

/// A fault of this program itself: what it said, and where in its source.
pub fn panic(verb: &str, message: &str, place: Option<(&str, u32, u32)>) -> Event<'static> {
    let mechanism = Mechanism { ty: "panic".to_owned(), handled: Some(false), ..Mechanism::default() };
    let frame = |(file, line, column): (&str, u32, u32)| Frame {
        filename: Some(file.to_owned()),
        lineno: Some(line.into()),
        colno: Some(column.into()),
        in_app: Some(true),
        ..Frame::default()
    };
    let stacktrace = place.map(|place| Stacktrace { frames: vec![frame(place)], ..Stacktrace::default() });
    let exception = Exception { mechanism: Some(mechanism), stacktrace, ..exception("panic", message) };
    Event {
        level: Level::Fatal,
        exception: vec![exception].into(),
        tags: tags([("verb", verb)]),
        ..Event::default()
    }
}

/// What every event has.
pub fn complete(event: &mut Event<'static>, fleet: Option<&str>, environment: Option<&str>) {
    event.platform = "native".into();
    event.logger = Some("fleet".to_owned());
    event.release = Some(concat!("fleet@", env!("CARGO_PKG_VERSION")).into());
    let (name, version) = ("fleet".to_owned(), env!("CARGO_PKG_VERSION").to_owned());
    let sdk = ClientSdkInfo { name, version, integrations: Vec::new(), packages: Vec::new() };
    event.sdk = Some(Cow::Owned(sdk));
    event.transaction = event.tags.get("verb").map(|verb| format!("fleet {verb}"));
    if let Some(fleet) = fleet {
        event.tags.extend(tags([("fleet", fleet)]));
    }
    event.environment = environment.or(fleet).map(|name| name.to_owned().into());
}

fn exception(kind: &str, value: &str) -> Exception {
    Exception { ty: kind.to_owned(), value: Some(value.to_owned()), ..Exception::default() }
}

fn fingerprint(verb: &str, step: &str) -> Cow<'static, [Cow<'static, str>]> {
    ["fleet", verb, step].map(|word| Cow::Owned(word.to_owned())).to_vec().into()
}

fn tags<const N: usize>(all: [(&str, &str); N]) -> Map<String, String> {
    all.into_iter().map(|(name, text)| (name.to_owned(), tag(text))).collect()
}

/// A tag is one line.
fn tag(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(TAG).collect()
}

#[cfg(test)]
#[path = "event_tests.rs"]
mod tests;
