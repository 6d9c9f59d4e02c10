//! One look at clients: what their hosts say of Sentry.

use super::super::App;
use super::super::context::Fleet;
use super::super::global::Limits;
use super::super::looking;
use crate::event::ExitKind;
use crate::ops::probe::Reporter;
use crate::registry::Client;
use crate::stack::Stack;
use crate::status::sentry::{Problem, Sentry, State};

pub struct Looked {
    /// In the order of the clients.
    pub list: Vec<Sentry>,
    pub interrupted: bool,
}

/// Asks each client in one round trip.
///
/// # Errors
/// A stack that cannot be read.
pub fn look(
    app: &App,
    fleet: &Fleet,
    verb: &str,
    clients: &[&Client],
    limits: &Limits,
) -> anyhow::Result<Looked> {
    let mut questions = Vec::new();
    for client in clients {
        let stack = fleet.stack(client)?;
        let mut question = looking::question(&stack, client, &[]);
        question.reporter = reporter(&stack);
        questions.push((fleet.target(client), looking::Look(question)));
    }
    let answers = app.ask(fleet, verb, questions, limits)?;
    let mut list = Vec::new();
    for (client, answer) in clients.iter().zip(&answers.answers) {
        let stack = fleet.stack(client)?;
        list.push(match looking::facts(answer) {
            Ok(facts) => waits(fleet, client, Sentry::of(client, &stack, &facts)),
            Err((message, hint)) => {
                let hint = hint.unwrap_or_else(|| format!("fleet test-ssh {}", client.name));
                Sentry::unreachable(client, Problem::new(message, hint))
            }
        });
    }
    Ok(Looked { list, interrupted: answers.interrupted })
}

/// A client of a project that is not there yet sends nothing, and was not meant to.
fn waits(fleet: &Fleet, client: &Client, mut found: Sentry) -> Sentry {
    let named = client.sentry.uses.as_ref();
    let named = named.and_then(|name| fleet.registry.sentry.iter().find(|project| project.name == *name));
    if let Some(project) = named.filter(|project| project.dsn.is_none())
        && client.sentry.dsn.is_none()
        && client.sentry.enabled
    {
        let name = &project.name;
        found.add(Problem::new(
            format!("it uses [sentry.{name}], which has no DSN yet"),
            format!("fleet sentry setup {name}, or write its dsn"),
        ));
    }
    found
}

fn reporter(stack: &Stack) -> Option<Reporter> {
    let spec = stack.sentry.as_ref()?;
    Some(Reporter {
        service: spec.service.clone()?,
        dsn: spec.names.dsn.clone()?,
        release: spec.names.release.clone(),
        log: spec.log.clone(),
    })
}

/// The exit code of a look: 0 when nothing disagrees.
#[must_use]
pub fn exit(looked: &Looked) -> ExitKind {
    let unreachable = |one: &Sentry| one.state == State::Unreachable;
    if looked.interrupted {
        ExitKind::Interrupted
    } else if !looked.list.is_empty() && looked.list.iter().all(unreachable) {
        ExitKind::NoneReachable
    } else if looked.list.iter().all(|one| one.problems.is_empty()) {
        ExitKind::Ok
    } else {
        ExitKind::ClientFailed
    }
}
