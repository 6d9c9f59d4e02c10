//! Commands of the stack before and after the work on a client, as steps like any other.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::{Action, Change, Desired, Step};
use crate::facts::Facts;
use crate::ops::{Layout, hook};
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
    /// Of all hooks of a stack; none for a verb that has none. A restore and a purge have those of the backup
    /// that they begin with.
    #[must_use]
    pub fn of(all: &[Hook], verb: &str, dir: PathBuf) -> Self {
        let at = |point: HookPoint| all.iter().filter(|hook| hook.point == point).cloned().collect();
        let (before, after, failed) = match verb {
            "update" => (HookPoint::PreUpdate, HookPoint::PostUpdate, at(HookPoint::OnFailure)),
            "provision" => (HookPoint::PreProvision, HookPoint::PostProvision, at(HookPoint::OnFailure)),
            "backup" | "restore" | "remove" => (HookPoint::PreBackup, HookPoint::PostBackup, Vec::new()),
            _ => return Hooks::default(),
        };
        Hooks { before: at(before), after: at(after), failed, dir }
    }

    /// What they are, for whoever reads a plan in which they are no steps of their own.
    pub fn shown(&self) -> impl Iterator<Item = String> {
        let all = self.before.iter().chain(&self.after);
        all.map(|hook| format!("{} {}", hook.point.name(), shown(hook)))
    }
}

/// Whom a hook is about, and what each is told.
#[derive(Clone, Copy, Debug)]
pub struct About<'a> {
    pub layout: &'a Layout,
    /// Where those of this machine run.
    pub dir: &'a Path,
    pub client: &'a str,
    pub domain: &'a str,
    /// The release that comes; the one that serves where none does.
    pub release: &'a str,
    pub version: &'a str,
    /// The one that serves before it.
    pub previous: &'a str,
    pub run: &'a str,
    pub who: &'a str,
}

impl<'a> About<'a> {
    fn of(desired: &'a Desired, previous: Option<&'a str>) -> Self {
        About {
            layout: &desired.layout,
            dir: &desired.hooks.dir,
            client: &desired.client,
            domain: &desired.domain,
            release: &desired.release.id,
            version: &desired.release.version,
            previous: previous.unwrap_or(""),
            run: &desired.run,
            who: &desired.who,
        }
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
    /// What a backup made.
    pub snapshot: &'a str,
}

/// Characters of a message that a hook is told.
const MESSAGE: usize = 500;

pub(super) fn before(desired: &Desired, facts: &Facts) -> Vec<Step> {
    let previous = facts.state.as_ref().map(|state| state.release.as_str());
    steps(&About::of(desired, previous), &desired.hooks.before, None)
}

pub(super) fn after(desired: &Desired, facts: &Facts) -> Vec<Step> {
    // Once it was committed, the state names the release before.
    let state = facts.state.as_ref();
    let previous = state.and_then(|state| match state.release == desired.release.id {
        true => state.previous.as_deref(),
        false => Some(state.release.as_str()),
    });
    let ended = Ended { outcome: "changed", ..Ended::default() };
    steps(&About::of(desired, previous), &desired.hooks.after, Some(&ended))
}

/// What runs when the work on a client failed.
#[must_use]
pub fn failed(desired: &Desired, previous: Option<&str>, ended: &Ended<'_>) -> Vec<Step> {
    steps(&About::of(desired, previous), &desired.hooks.failed, Some(ended))
}

/// Hooks as steps; `ended` is what those behind the work are told of it.
#[must_use]
pub fn steps(about: &About<'_>, hooks: &[Hook], ended: Option<&Ended<'_>>) -> Vec<Step> {
    hooks.iter().map(|hook| step(about, hook, environment(about, hook, ended))).collect()
}

/// What a hook may know. No value of the client's environment is among it: some are secrets.
fn environment(about: &About<'_>, hook: &Hook, ended: Option<&Ended<'_>>) -> Vec<(String, String)> {
    let mut env = vec![
        ("FLEET_HOOK", hook.point.name()),
        ("FLEET_CLIENT", about.client),
        ("FLEET_DOMAIN", about.domain),
        ("FLEET_STACK", &about.layout.stack),
        ("FLEET_RELEASE", about.release),
        ("FLEET_VERSION", about.version),
        ("FLEET_PREVIOUS_RELEASE", about.previous),
        ("FLEET_RUN", about.run),
        ("FLEET_WHO", about.who),
    ];
    let message: String = ended.map(|it| it.message.chars().take(MESSAGE).collect()).unwrap_or_default();
    if let Some(ended) = ended {
        env.push(("FLEET_OUTCOME", ended.outcome));
        env.push(("FLEET_STEP", ended.step));
        env.push(("FLEET_MESSAGE", &message));
        if hook.point == HookPoint::PostBackup {
            env.push(("FLEET_SNAPSHOT", ended.snapshot));
        }
    }
    // No environment can carry a NUL.
    env.into_iter().map(|(name, value)| (name.to_owned(), value.replace('\0', ""))).collect()
}

/// What its step is called.
#[must_use]
pub fn title(hook: &Hook) -> String {
    let name = hook.command.first().map_or("", |word| word.rsplit('/').next().unwrap_or(word));
    format!("{} hook {name}", hook.point.name())
}

fn shown(hook: &Hook) -> String {
    let words = crate::shell::join(&hook.command);
    match &hook.place {
        HookPlace::Local => format!("on this machine: {words}"),
        HookPlace::Host => format!("on the host: {words}"),
        HookPlace::Service(service) => format!("in {service}: {words}"),
    }
}

fn step(about: &About<'_>, hook: &Hook, env: Vec<(String, String)>) -> Step {
    let layout = about.layout;
    let action = match &hook.place {
        HookPlace::Local => {
            let (words, dir) = (hook.command.clone(), about.dir.to_owned());
            Action::Local(Local { words, env, dir, timeout: hook.timeout })
        }
        HookPlace::Host => Action::Run(hook::on_host(layout, &hook.command, &env, hook.timeout)),
        HookPlace::Service(service) => {
            Action::Run(hook::inside(layout, service, &hook.command, &env, hook.timeout))
        }
    };
    let hint = match hook.point {
        HookPoint::PreUpdate | HookPoint::PreProvision => Some("nothing was changed on the client"),
        HookPoint::PostUpdate | HookPoint::PostProvision => Some(
            "the new release serves all the same; a further run does not run the hook again unless something changes",
        ),
        HookPoint::PreBackup => Some("nothing was read from the client, and there is no backup of it"),
        HookPoint::PostBackup => {
            Some("the backup itself was made and is whole; look at what the hook was to undo")
        }
        HookPoint::OnFailure => None,
    };
    Step {
        title: title(hook),
        change: Change::Modify,
        details: vec![shown(hook)],
        action,
        hint: hint.map(str::to_owned),
    }
}
