//! Commands of the stack before and after the work on a client, as steps like any other.

use std::path::PathBuf;
use std::time::Duration;

use super::{Action, Change, Desired, Step};
use crate::facts::Facts;
use crate::ops::hook;
use crate::stack::{Hook, HookPlace, HookPoint};

/// Those that one verb runs.
#[derive(Clone, Debug, Default)]
pub struct Hooks {
    pub before: Vec<Hook>,
    pub after: Vec<Hook>,
    pub failed: Vec<Hook>,
    /// Where those of this machine run: the fleet directory.
    pub dir: PathBuf,
}

impl Hooks {
    /// Of all hooks of a stack; none for a verb that has none.
    #[must_use]
    pub fn of(all: &[Hook], verb: &str, dir: PathBuf) -> Self {
        let at = |point: HookPoint| all.iter().filter(|hook| hook.point == point).cloned().collect();
        let (before, after) = match verb {
            "update" => (HookPoint::PreUpdate, HookPoint::PostUpdate),
            "provision" => (HookPoint::PreProvision, HookPoint::PostProvision),
            _ => return Hooks::default(),
        };
        Hooks { before: at(before), after: at(after), failed: at(HookPoint::OnFailure), dir }
    }
}

/// A command of the operator's own machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Local {
    pub words: Vec<String>,
    /// What it is told beside the environment of the program.
    pub env: Vec<(String, String)>,
    pub dir: PathBuf,
    pub timeout: Duration,
}

/// What a client came to, for a hook after it.
#[derive(Clone, Debug, Default)]
pub struct Ended<'a> {
    pub outcome: &'a str,
    /// Where it failed, and how.
    pub step: &'a str,
    pub message: &'a str,
}

/// Characters of a message that a hook is told.
const MESSAGE: usize = 500;

pub(super) fn before(desired: &Desired, facts: &Facts) -> Vec<Step> {
    let previous = facts.state.as_ref().map(|state| state.release.as_str());
    steps(desired, &desired.hooks.before, previous, None)
}

pub(super) fn after(desired: &Desired, facts: &Facts) -> Vec<Step> {
    // Once it was committed, the state names the release before.
    let state = facts.state.as_ref();
    let previous = state.and_then(|state| match state.release == desired.release.id {
        true => state.previous.as_deref(),
        false => Some(state.release.as_str()),
    });
    let ended = Ended { outcome: "changed", ..Ended::default() };
    steps(desired, &desired.hooks.after, previous, Some(&ended))
}

/// What runs when the work on a client failed.
#[must_use]
pub fn failed(desired: &Desired, previous: Option<&str>, ended: &Ended<'_>) -> Vec<Step> {
    steps(desired, &desired.hooks.failed, previous, Some(ended))
}

fn steps(desired: &Desired, hooks: &[Hook], previous: Option<&str>, ended: Option<&Ended<'_>>) -> Vec<Step> {
    hooks.iter().map(|hook| step(desired, hook, environment(desired, hook, previous, ended))).collect()
}

/// What a hook may know. No value of the client's environment is among it: some are secrets.
fn environment(
    desired: &Desired,
    hook: &Hook,
    previous: Option<&str>,
    ended: Option<&Ended<'_>>,
) -> Vec<(String, String)> {
    let release = &desired.release;
    let mut env = vec![
        ("FLEET_HOOK", hook.point.name()),
        ("FLEET_CLIENT", &desired.client),
        ("FLEET_DOMAIN", &desired.domain),
        ("FLEET_STACK", &desired.layout.stack),
        ("FLEET_RELEASE", &release.id),
        ("FLEET_VERSION", &release.version),
        ("FLEET_PREVIOUS_RELEASE", previous.unwrap_or("")),
        ("FLEET_RUN", &desired.run),
        ("FLEET_WHO", &desired.who),
    ];
    let message: String = ended.map(|it| it.message.chars().take(MESSAGE).collect()).unwrap_or_default();
    if let Some(ended) = ended {
        env.push(("FLEET_OUTCOME", ended.outcome));
        env.push(("FLEET_STEP", ended.step));
        env.push(("FLEET_MESSAGE", &message));
    }
    // No environment can carry a NUL.
    env.into_iter().map(|(name, value)| (name.to_owned(), value.replace('\0', ""))).collect()
}

fn step(desired: &Desired, hook: &Hook, env: Vec<(String, String)>) -> Step {
    let layout = &desired.layout;
    let (place, action) = match &hook.place {
        HookPlace::Local => {
            let (words, dir) = (hook.command.clone(), desired.hooks.dir.clone());
            ("on this machine".to_owned(), Action::Local(Local { words, env, dir, timeout: hook.timeout }))
        }
        HookPlace::Host => {
            ("on the host".to_owned(), Action::Run(hook::on_host(layout, &hook.command, &env, hook.timeout)))
        }
        HookPlace::Service(service) => {
            let cmd = hook::inside(layout, service, &hook.command, &env, hook.timeout);
            (format!("in {service}"), Action::Run(cmd))
        }
    };
    let name = hook.command.first().map_or("", |word| word.rsplit('/').next().unwrap_or(word));
    let hint = match hook.point {
        HookPoint::PreUpdate | HookPoint::PreProvision => Some("nothing was changed on the client".to_owned()),
        HookPoint::PostUpdate | HookPoint::PostProvision => {
            Some("the new release serves all the same; a further run does not run the hook again unless something changes".to_owned())
        }
        HookPoint::OnFailure | HookPoint::PreBackup | HookPoint::PostBackup => None,
    };
    Step {
        title: format!("{} hook {name}", hook.point.name()),
        change: Change::Modify,
        details: vec![format!("{place}: {}", crate::shell::join(&hook.command))],
        action,
        hint,
    }
}
