//! Stage "rollout": a prepared release begins to serve, or the one before goes on serving.
//!
//! Order: migrations, start-first services one by one, all the rest, health gate, commit point. From the first service on until the commit point a
//! fault is answered by the undo steps, and a request to stop waits.

use std::collections::BTreeSet;
use std::time::Duration;

use super::health::Gate;
use super::release::{named_are_as_wanted, up_to_date};
use super::{Action, Change, Desired, Refusal, Step, Undo, changes, migrations};
use crate::facts::{Container, Facts, GateSpec, State};
use crate::ops::compose::Project;
use crate::ops::release;
use crate::ops::rollout::start_first;
use crate::secret::Secret;

/// Longest time until all services are healthy, when none asks for more.
const GATE_LIMIT: Duration = Duration::from_secs(180);

pub(super) fn plan(desired: &Desired, facts: &Facts) -> Result<(Vec<Step>, Option<Undo>), Refusal> {
    let mut steps = Vec::new();
    let mut undo = None;
    migrations::pending(desired, facts, &mut steps)?;
    if named_are_as_wanted(desired, facts) {
        return Ok((steps, undo));
    }
    let fresh = up_to_date(desired, facts);
    let from = steps.len();
    steps.extend(password(desired, facts)?);
    if !fresh || !all_well(desired, facts) || !as_released(facts) {
        steps.extend(turn(desired, facts, &desired.release.project));
        steps.push(wait(desired, &spec(desired)));
        if !fresh {
            steps.push(commit(desired, new_state(desired, facts)));
        }
        undo = back(desired, facts, from..steps.len());
    }
    certificate(desired, facts, &mut steps);
    if !fresh && let Some(state) = &facts.state {
        let id = &desired.release.id;
        let keep = desired.release.keep;
        let prune = release::prune(&desired.layout, keep, id, Some(state.release.as_str()));
        steps.push(Step::run("remove old releases", Change::Destroy, prune));
    }
    Ok((steps, undo))
}

/// The release that a rollback leads to: the one named, or the one before.
pub fn way_back<'a>(desired: &'a Desired, facts: &'a Facts) -> Option<&'a str> {
    desired.rollback_to.as_deref().or_else(|| facts.state.as_ref()?.previous.as_deref())
}

/// Back to a release that is kept.
pub(super) fn rollback(desired: &Desired, facts: &Facts) -> Result<Vec<Step>, Refusal> {
    let current = facts.state.as_ref().map(|state| state.release.as_str());
    let kept: Vec<&str> = facts
        .releases
        .iter()
        .filter(|(id, release)| release.kept() && Some(id.as_str()) != current)
        .map(|(id, _)| id.as_str())
        .collect();
    let there = if kept.is_empty() {
        "no other release is kept on this host".to_owned()
    } else {
        format!("kept on this host: {}", kept.join(", "))
    };
    let Some(wanted) = way_back(desired, facts) else {
        return Err(Refusal { message: "there is no release to go back to".into(), hint: there });
    };
    if Some(wanted) == current {
        return Ok(Vec::new());
    }
    let Some(state) =
        facts.releases.get(wanted).filter(|release| release.kept()).and_then(|it| it.state.as_ref())
    else {
        return Err(Refusal { message: format!("release {wanted} cannot be gone back to"), hint: there });
    };
    let mut steps: Vec<Step> = password_back(desired, password_now(facts), state)?.into_iter().collect();
    steps.extend(turn(desired, &Facts::default(), &project(desired, wanted)));
    steps.push(wait(desired, &spec_of(desired, state)));
    let state = State {
        previous: current.map(str::to_owned),
        who: desired.who.clone(),
        run: desired.run.clone(),
        at: desired.at.clone(),
        ..state.clone()
    };
    steps.push(commit(desired, state));
    Ok(steps)
}

fn all_well(desired: &Desired, facts: &Facts) -> bool {
    let there = |service: &str| facts.containers.iter().any(|container| container.service == service);
    !facts.containers.is_empty()
        && facts.containers.iter().all(Container::well)
        && desired.release.health.iter().all(|(service, _)| there(service))
}

/// Whether every container was made from what its release says.
fn as_released(facts: &Facts) -> bool {
    facts.containers.iter().all(|container| {
        facts.services.get(&container.service).is_none_or(|hash| container.config_hash == *hash)
    })
}

/// Brings the services to a release. What runs as it shall is not touched.
fn turn(desired: &Desired, facts: &Facts, project: &Project) -> Vec<Step> {
    let wanted = &desired.release;
    if facts.state.is_none() && project.release == wanted.id {
        return vec![Step::run("start services", Change::Modify, project.up())];
    }
    let mut steps = Vec::new();
    let named = |service: &String| wanted.services.is_empty() || wanted.services.contains(service);
    for (service, deadline) in wanted.start_first.iter().filter(|(service, _)| named(service)) {
        if changed(desired, facts, service) {
            let title = format!("replace {service}");
            let step = Step::run(title, Change::Modify, start_first(project, service, *deadline));
            steps.push(step.detail("the new container is healthy before the old one stops"));
        }
    }
    let others: Vec<String> =
        wanted.services.iter().filter(|service| !wanted.is_start_first(service)).cloned().collect();
    if wanted.services.is_empty() {
        steps.push(Step::run("start what else changed", Change::Modify, project.up_watched()));
    } else if !others.is_empty() {
        steps.push(
            Step::run("replace named services", Change::Modify, project.replace(&others))
                .detail(others.join(" ")),
        );
    }
    steps
}

/// Whether a service must be replaced, as far as can be known now: exactly once the release is on
/// the host, by image and environment before.
fn changed(desired: &Desired, facts: &Facts, service: &str) -> bool {
    let mut containers = facts.containers.iter().filter(|container| container.service == service);
    if let Some(hash) = facts.services.get(service) {
        return !containers.any(|container| container.config_hash == *hash && container.well());
    }
    if let Some(replaces) = changes::replaces(desired, facts, service) {
        return replaces || !containers.any(Container::well);
    }
    let Some(state) = &facts.state else { return true };
    state.images.get(service) != desired.release.images.get(service)
        || state.env_digest != desired.release.env_digest
        || !containers.any(Container::well)
}

/// The steps that bring back what served before, if anything did.
fn back(desired: &Desired, facts: &Facts, critical: std::ops::Range<usize>) -> Option<Undo> {
    let state = facts.state.as_ref().filter(|state| state.release != desired.release.id)?;
    if !facts.releases.get(&state.release).is_some_and(crate::facts::ReleaseFact::kept) {
        return None;
    }
    let mut steps = vec![Step::run(
        "mark the release as failed",
        Change::Modify,
        release::mark_failed(&desired.layout, &desired.release.id),
    )];
    let given = desired.release.password_digest();
    steps.extend(password_back(desired, given.as_deref(), state).ok()?);
    // Nothing is known of what the fault left behind, so each service is looked at.
    steps.extend(turn(desired, &Facts::default(), &project(desired, &state.release)));
    steps.push(wait(desired, &spec_of(desired, state)));
    // A commit that was cut may have moved `current` already: what starts at boot is what serves.
    steps.push(commit(desired, state.clone()));
    Some(Undo { critical, release: state.release.clone(), steps })
}

fn project(desired: &Desired, release: &str) -> Project {
    Project { release: release.to_owned(), ..desired.release.project.clone() }
}

/// What the wanted release is proved healthy by.
fn spec(desired: &Desired) -> GateSpec {
    let (wanted, url) = (&desired.release, desired.schedule.health_url.clone());
    GateSpec { services: wanted.health.clone(), front: wanted.front.clone(), url }
}

/// The same of a release that was committed: its own, where its state tells.
pub(super) fn spec_of(desired: &Desired, state: &State) -> GateSpec {
    state.gate.clone().unwrap_or_else(|| spec(desired))
}

pub(super) fn wait(desired: &Desired, spec: &GateSpec) -> Step {
    Step {
        title: "wait until healthy".into(),
        change: Change::Nothing,
        details: spec.services.iter().map(|(service, _)| service.clone()).collect(),
        action: Action::Await(gate(desired, spec)),
        hint: Some(format!("`fleet logs {}` shows more of what the services say", desired.client)),
    }
}

fn commit(desired: &Desired, state: State) -> Step {
    let before = state.previous.as_ref().map_or(String::new(), |id| format!(", before: {id}"));
    Step::run("commit", Change::Modify, release::commit(&desired.layout, &state))
        .detail(format!("current -> {}{before}", state.release))
}

/// Digest of the password that the server has now, when the state file tells.
fn password_now(facts: &Facts) -> Option<&str> {
    facts.state.as_ref()?.password_digest.as_deref()
}

/// A password that was rotated is changed in the database just before the services that use it
/// start anew; connections that are open stay.
fn password(desired: &Desired, facts: &Facts) -> Result<Option<Step>, Refusal> {
    let wanted = desired.release.password_digest();
    match (password_now(facts), &desired.release.password) {
        (Some(now), Some(password)) if Some(now) != wanted.as_deref() => {
            if desired.release.services.is_empty() {
                return Ok(set_password(desired, password));
            }
            Err(Refusal {
                message: "the database password was rotated, so every service that uses it must start anew"
                    .into(),
                hint: format!("fleet update {}   (without --services)", desired.client),
            })
        }
        _ => Ok(None),
    }
}

fn set_password(desired: &Desired, password: &Secret<String>) -> Option<Step> {
    let database = desired.release.database.as_ref()?.inside()?;
    Some(Step::run("set the database password", Change::Modify, database.set_password(password)))
}

/// The step that gives the server the password of another release, where it is not the same.
fn password_back(desired: &Desired, from: Option<&str>, state: &State) -> Result<Option<Step>, Refusal> {
    match (from, state.password_digest.as_deref()) {
        (Some(now), Some(then)) if now != then => match desired.release.password_of(then) {
            Some(password) => Ok(set_password(desired, password)),
            None => Err(Refusal {
                message: format!(
                    "release {} has a database password that was rotated away since",
                    state.release
                ),
                hint: "only releases made after the rotation can be gone back to".into(),
            }),
        },
        _ => Ok(None),
    }
}

fn gate(desired: &Desired, spec: &GateSpec) -> Gate {
    let slowest = spec.services.iter().map(|(_, health)| health.deadline).max().unwrap_or(GATE_LIMIT);
    let quickest = spec.services.iter().map(|(_, health)| health.interval).min();
    Gate {
        stack: desired.layout.stack.clone(),
        services: spec.services.clone(),
        front: spec.front.clone().and_then(|front| Some((desired.domain.clone(), spec.url.clone()?, front))),
        interval: quickest.unwrap_or(Duration::from_secs(2)),
        deadline: slowest.max(GATE_LIMIT),
        steady: desired.release.bake,
    }
}

fn certificate(desired: &Desired, facts: &Facts, steps: &mut Vec<Step>) {
    let Some(tls) = &desired.tls else { return };
    // Renewal is the host's own affair until it has failed for so long that nothing is left.
    let issued = facts.value("live_serial").is_some()
        && !facts.expired("live")
        && facts.value("live_server") == Some(tls.server.as_str())
        && facts.value("live_names").is_some_and(|names| {
            let named: BTreeSet<&str> =
                names.split(',').filter_map(|name| name.trim().strip_prefix("DNS:")).collect();
            named == tls.names().collect()
        });
    let installed = facts.value("live_serial") == facts.value("disk_serial");
    let served = facts.value("served_serial") == facts.value("disk_serial");
    if !(issued && installed && served) {
        let names = tls.names().collect::<Vec<_>>().join(", ");
        steps.push(
            Step::run("obtain and serve the certificate", Change::Create, tls.obtain())
                .detail(format!("{names} from {}", tls.server))
                .hint(format!(
                    "{names} must point to this host and port 80 must be reachable from outside; then run the same command again"
                )),
        );
    }
}

fn new_state(desired: &Desired, facts: &Facts) -> State {
    let wanted = &desired.release;
    // A release of which only some services were started is never taken for the whole one.
    let digest =
        if wanted.services.is_empty() { wanted.digest.clone() } else { format!("partial:{}", wanted.digest) };
    let before = facts.state.as_ref();
    State {
        schema: "fleet.state/1".into(),
        release: wanted.id.clone(),
        digest,
        version: wanted.version.clone(),
        client: desired.client.clone(),
        domain: desired.domain.clone(),
        images: wanted.images.clone(),
        env_digest: wanted.env_digest.clone(),
        password_digest: wanted.password_digest(),
        gate: Some(spec(desired)),
        who: desired.who.clone(),
        run: desired.run.clone(),
        at: desired.at.clone(),
        previous: before
            .map(|state| state.release.clone())
            .filter(|id| *id != wanted.id)
            .or_else(|| before.and_then(|state| state.previous.clone())),
    }
}
