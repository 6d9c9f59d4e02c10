//! What happened, as Sentry's events: an error that ended a command, a client that failed, a panic
//! (<https://develop.sentry.dev/sdk/data-model/event-payloads/>).
//!
//! Nothing of the command line is in them but the verb: an argument may be a secret. Neither is the name of this
//! machine, nor of who runs it.

use serde_json::{Value as Json, json};

use crate::event::{HostReport, Outcome, PLANNING, Report};

/// Sentry cuts a tag here.
const TAG: usize = 200;
/// Last lines of a host that go along.
const LINES: usize = 20;
/// Most events of one run: a fleet that fails as a whole shall not spend a quota.
const MOST: usize = 100;

/// A command that ended with an error: what happened, then its causes.
pub fn error(verb: &str, messages: &[String]) -> Json {
    // Sentry wants the cause first, and shows the last one.
    let chain: Vec<Json> =
        messages.iter().rev().map(|message| exception(&format!("fleet {verb}"), message)).collect();
    json!({ "level": "error", "exception": { "values": chain }, "tags": { "verb": tag(verb) } })
}

/// One for each client that failed, and none for what was refused before anything was touched, for what the
/// operator stopped, and for hosts that were not reached: channels and monitors tell of those.
pub fn clients(report: &Report) -> Vec<Json> {
    if report.interrupted {
        return Vec::new();
    }
    let mut events: Vec<Json> = report.hosts.iter().filter_map(|host| client(report, host)).collect();
    if events.len() > MOST {
        let rest = events.split_off(MOST - 1).len();
        events.push(more(report, rest));
    }
    events
}

fn client(report: &Report, host: &HostReport) -> Option<Json> {
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
    let mut extra = serde_json::Map::new();
    if let Some(hint) = &fault.hint {
        extra.insert("hint".to_owned(), hint.as_str().into());
    }
    if !fault.lines.is_empty() {
        let last = &fault.lines[fault.lines.len().saturating_sub(LINES)..];
        extra.insert("last lines of the host".to_owned(), last.join("\n").into());
    }
    if let Outcome::RolledBack { release, .. } = &host.outcome {
        extra.insert("serves again".to_owned(), release.as_str().into());
    }
    Some(json!({
        "level": "error",
        "exception": { "values": [exception(&format!("{verb}: {}", fault.step), &fault.message)] },
        // Whichever client it is, one step of one command is one problem.
        "fingerprint": ["fleet", verb, fault.step],
        "tags": {
            "client": tag(&host.client),
            "step": tag(&fault.step),
            "verb": tag(verb),
            "run": tag(&report.run),
            "outcome": host.outcome.word(),
        },
        "extra": extra,
    }))
}

/// How many more clients failed than are told of one by one.
fn more(report: &Report, count: usize) -> Json {
    let verb = report.verb.as_str();
    let text = format!("{count} more clients failed in this run");
    json!({
        "level": "error",
        "exception": { "values": [exception(&format!("{verb}: more"), &text)] },
        "fingerprint": ["fleet", verb, "more"],
        "tags": { "verb": tag(verb), "run": tag(&report.run) },
    })
}

/// A fault of this program itself: what it said, and where in its source.
pub fn panic(verb: &str, message: &str, place: Option<(&str, u32, u32)>) -> Json {
    let mut exception = exception("panic", message);
    exception["mechanism"] = json!({ "type": "panic", "handled": false });
    if let Some((file, line, column)) = place {
        let frame = json!({ "filename": file, "lineno": line, "colno": column, "in_app": true });
        exception["stacktrace"] = json!({ "frames": [frame] });
    }
    json!({ "level": "fatal", "exception": { "values": [exception] }, "tags": { "verb": tag(verb) } })
}

/// What every event has.
pub fn complete(event: &mut Json, id: &str, at: &str, fleet: Option<&str>, environment: Option<&str>) {
    event["event_id"] = id.into();
    event["timestamp"] = at.into();
    event["platform"] = "native".into();
    event["logger"] = "fleet".into();
    event["release"] = concat!("fleet@", env!("CARGO_PKG_VERSION")).into();
    event["sdk"] = json!({ "name": "fleet", "version": env!("CARGO_PKG_VERSION") });
    if let Some(verb) = event["tags"]["verb"].as_str() {
        event["transaction"] = format!("fleet {verb}").into();
    }
    if let Some(fleet) = fleet {
        event["tags"]["fleet"] = tag(fleet).into();
    }
    if let Some(environment) = environment.or(fleet) {
        event["environment"] = environment.into();
    }
}

fn exception(kind: &str, value: &str) -> Json {
    json!({ "type": kind, "value": value })
}

/// A tag is one line.
fn tag(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(TAG).collect()
}

#[cfg(test)]
#[path = "event_tests.rs"]
mod tests;
