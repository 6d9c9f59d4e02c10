//! Stages "prepare" and "rollout": one release comes to a host, and then serves.
//!
//! A release's id is its content's digest: a run that was cut goes on in the same folder, and a
//! release that is there already is not sent again.

use std::time::Duration;

use super::health::Gate;
use super::system::differs;
use super::{Action, Change, Desired, Refusal, Step};
use crate::facts::{Facts, State};
use crate::ops::postgres::Migration;
use crate::ops::{compose, files, release};
use crate::ssh::Rsync;

/// Longest time of one source push.
const PUSH_LIMIT: Duration = Duration::from_secs(1800);
/// Longest time until all services are healthy, when none asks for more.
const GATE_LIMIT: Duration = Duration::from_secs(180);

pub(super) fn prepare(desired: &Desired, facts: &Facts) -> Result<Vec<Step>, Refusal> {
    let mut steps = Vec::new();
    if !up_to_date(desired, facts) {
        push(desired, facts, &mut steps);
        images(desired, facts, &mut steps);
        let seal = release::complete_mark(&desired.layout, &desired.release.id);
        steps.push(Step::run("seal the release", Change::Create, files::put(&[seal])));
    }
    placeholder(desired, facts, &mut steps);
    database(desired, facts, &mut steps);
    Ok(steps)
}

pub(super) fn rollout(desired: &Desired, facts: &Facts) -> Result<Vec<Step>, Refusal> {
    let mut steps = Vec::new();
    migrations(desired, facts, &mut steps)?;
    let fresh = up_to_date(desired, facts);
    password(desired, facts, &mut steps);
    if !fresh || !all_well(desired, facts) {
        services(desired, fresh, &mut steps);
    }
    if !fresh {
        let state = state(desired, facts);
        steps.push(Step::run("commit", Change::Modify, release::commit(&desired.layout, &state)).detail(
            format!(
                "current -> {}{}",
                state.release,
                state.previous.as_ref().map_or(String::new(), |id| format!(", before: {id}"))
            ),
        ));
    }
    certificate(desired, facts, &mut steps);
    if !fresh && facts.state.is_some() {
        let previous = facts.state.as_ref().map(|state| state.release.as_str());
        let id = &desired.release.id;
        steps.push(Step::run(
            "remove old releases",
            Change::Destroy,
            release::prune(&desired.layout, desired.release.keep, id, previous),
        ));
    }
    Ok(steps)
}

/// Whether the wanted release is the one that was committed last.
fn up_to_date(desired: &Desired, facts: &Facts) -> bool {
    let wanted = &desired.release;
    facts.state.as_ref().is_some_and(|state| {
        state.digest == wanted.digest
            && facts.current() == Some(state.release.as_str())
            && facts.releases.get(&state.release) == Some(&true)
    }) && wanted.mounts.iter().all(|file| !differs(file, facts))
}

fn all_well(desired: &Desired, facts: &Facts) -> bool {
    !facts.containers.is_empty()
        && facts.containers.iter().all(crate::facts::Container::well)
        && desired
            .release
            .health
            .iter()
            .all(|(service, _)| facts.containers.iter().any(|container| container.service == *service))
}

fn push(desired: &Desired, facts: &Facts, steps: &mut Vec<Step>) {
    let (layout, wanted) = (&desired.layout, &desired.release);
    steps.push(
        Step::run("open the release", Change::Create, release::open(layout, &wanted.id)).detail(&wanted.id),
    );
    if let Some(source) = &wanted.source {
        let before = facts.current().filter(|id| *id != wanted.id).map(|id| layout.source(id));
        steps.push(Step {
            title: "push source".into(),
            change: Change::Create,
            details: vec![format!("{} -> {}", source.path.display(), layout.source(&wanted.id))],
            action: Action::Rsync(Rsync {
                source: source.path.clone(),
                destination: layout.source(&wanted.id),
                exclude: source.exclude.clone(),
                link_dest: before,
                sudo: true,
                timeout: PUSH_LIMIT,
            }),
            hint: None,
        });
    }
    let mut list: Vec<_> = wanted.mounts.iter().filter(|file| differs(file, facts)).cloned().collect();
    list.extend(wanted.files.iter().cloned());
    list.push(desired.images_file());
    let names: Vec<String> = list.iter().map(|file| format!("{} {}", file.mode, file.path)).collect();
    steps.push(Step::run("write rendered files", Change::Create, files::put(&list)).details(names));
    steps.push(
        Step::run("check the Compose file", Change::Nothing, wanted.project.check())
            .hint("`fleet render CLIENT` shows the file as it was sent"),
    );
}

fn images(desired: &Desired, facts: &Facts, steps: &mut Vec<Step>) {
    let wanted = &desired.release;
    for build in wanted.builds.iter().filter(|build| !facts.images.contains_key(&build.tag)) {
        let context = format!("{}/{}", desired.layout.source(&wanted.id), build.context);
        steps.push(
            Step::run(
                format!("build {}", build.service),
                Change::Create,
                compose::build(&context, &build.tag),
            )
            .detail(build.tag.clone()),
        );
    }
    let tags: Vec<String> = wanted.images.values().cloned().collect();
    steps.push(Step::run("pull images", Change::Create, wanted.project.pull_missing(&tags)).hint(
        "the host must reach the image registry; `docker = { registry_mirrors }` under [fleet] names mirrors",
    ));
}

fn placeholder(desired: &Desired, facts: &Facts, steps: &mut Vec<Step>) {
    if let Some(tls) = &desired.tls
        && facts.value("disk_serial").is_none()
    {
        steps.push(
            Step::run("make a placeholder certificate", Change::Create, tls.placeholder())
                .detail("self-signed, so that the proxy can start and answer the ACME challenge"),
        );
    }
}

fn database(desired: &Desired, facts: &Facts, steps: &mut Vec<Step>) {
    let Some(database) = &desired.release.database else { return };
    if facts.migrations.is_some() {
        return;
    }
    let up = desired.release.project.up(std::slice::from_ref(&database.service));
    steps.push(Step::run(format!("start {}", database.service), Change::Create, up));
    steps.push(Step::run("wait for the database", Change::Nothing, database.wait_ready()));
}

fn migrations(desired: &Desired, facts: &Facts, steps: &mut Vec<Step>) -> Result<(), Refusal> {
    let Some(database) = &desired.release.database else { return Ok(()) };
    let none = Default::default();
    let applied = facts.migrations.as_ref().unwrap_or(&none);
    let mut pending: Vec<&Migration> = Vec::new();
    for migration in &desired.release.migrations {
        match applied.get(&migration.name) {
            None => pending.push(migration),
            Some(hash) if *hash == migration.sha256 => {}
            Some(_) => {
                return Err(Refusal {
                    message: format!("migration {} was edited after it was applied here", migration.name),
                    hint: "put the file back as it was and write the change as a new migration".into(),
                });
            }
        }
    }
    if pending.is_empty() {
        return Ok(());
    }
    if !applied.is_empty() {
        steps.push(Step::run("dump the database first", Change::Create, database.dump_before(&desired.run)));
    }
    for migration in pending {
        // Planned again once the database answers, so this shows in a preview only.
        let unsure = facts.migrations.is_none() && facts.state.is_some();
        steps.push(
            Step::run(
                format!("migrate {}", migration.name),
                Change::Modify,
                database.migrate(migration, &desired.who),
            )
            .details(unsure.then(|| "unless it is applied: the database does not answer now".to_owned()))
            .hint("the migration was undone as a whole; the release before still serves"),
        );
    }
    Ok(())
}

/// A password that was rotated is changed in the database just before the services that use it
/// start anew; connections that are open stay.
fn password(desired: &Desired, facts: &Facts, steps: &mut Vec<Step>) {
    let changed = facts.state.as_ref().is_some_and(|state| state.env_digest != desired.release.env_digest);
    if let (true, Some(database), Some(password)) =
        (changed, &desired.release.database, &desired.release.password)
    {
        steps.push(Step::run("set the database password", Change::Modify, database.set_password(password)));
    }
}

fn services(desired: &Desired, fresh: bool, steps: &mut Vec<Step>) {
    let wanted = &desired.release;
    let title = if fresh { "start services that are down" } else { "start services" };
    let named =
        if wanted.services.is_empty() { "all that changed".into() } else { wanted.services.join(" ") };
    steps.push(Step::run(title, Change::Modify, wanted.project.up(&wanted.services)).detail(named));
    steps.push(Step {
        title: "wait until healthy".into(),
        change: Change::Nothing,
        details: wanted.health.iter().map(|(service, _)| service.clone()).collect(),
        action: Action::Await(gate(desired)),
        hint: Some(format!("`fleet logs {}` shows more of what the services say", desired.client)),
    });
}

fn gate(desired: &Desired) -> Gate {
    let wanted = &desired.release;
    let slowest = wanted.health.iter().map(|(_, health)| health.deadline).max().unwrap_or(GATE_LIMIT);
    let quickest = wanted.health.iter().map(|(_, health)| health.interval).min();
    Gate {
        stack: desired.layout.stack.clone(),
        services: wanted.health.clone(),
        front: wanted
            .front
            .clone()
            .and_then(|front| Some((desired.domain.clone(), desired.schedule.health_url.clone()?, front))),
        interval: quickest.unwrap_or(Duration::from_secs(2)),
        deadline: slowest.max(GATE_LIMIT),
        times: 2,
    }
}

fn certificate(desired: &Desired, facts: &Facts, steps: &mut Vec<Step>) {
    let Some(tls) = &desired.tls else { return };
    // Renewal is the host's own affair until it has failed for so long that nothing is left.
    let issued = facts.value("live_serial").is_some()
        && !facts.expired("live")
        && facts.value("live_server") == Some(tls.server.as_str())
        && facts.value("live_names").is_some_and(|names| {
            names.split(',').any(|name| name.trim() == format!("DNS:{}", desired.domain))
        });
    let installed = facts.value("live_serial") == facts.value("disk_serial");
    let served = facts.value("served_serial") == facts.value("disk_serial");
    if !(issued && installed && served) {
        steps.push(
            Step::run("obtain and serve the certificate", Change::Create, tls.obtain())
                .detail(format!("{} from {}", desired.domain, tls.server))
                .hint(format!(
                    "{} must point to this host and port 80 must be reachable from outside; then run the same command again",
                    desired.domain
                )),
        );
    }
}

fn state(desired: &Desired, facts: &Facts) -> State {
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
        who: desired.who.clone(),
        run: desired.run.clone(),
        at: desired.at.clone(),
        previous: before
            .map(|state| state.release.clone())
            .filter(|id| *id != wanted.id)
            .or_else(|| before.and_then(|state| state.previous.clone())),
    }
}
