//! Stage "prepare": everything of a release that does not touch what serves.
//!
//! A release's id is its content's digest: a run that was cut goes on in the same folder, and a
//! release that is there already is not sent again.

use std::time::Duration;

use super::system::differs;
use super::{Action, BuiltHere, Change, Desired, Refusal, Step, changes};
use crate::facts::{Facts, ReleaseMark};
use crate::ops::ship::{self, Ship};
use crate::ops::{compose, files, release};
use crate::ssh::Rsync;

/// Longest time of one source push.
const PUSH_LIMIT: Duration = Duration::from_secs(1800);

pub(super) fn prepare(desired: &Desired, facts: &Facts) -> Result<Vec<Step>, Refusal> {
    let mut steps = Vec::new();
    drift(desired, facts)?;
    if named_are_as_wanted(desired, facts) {
        return Ok(steps);
    }
    if sealed(desired, facts) {
        images(desired, facts, &mut steps);
    } else if !up_to_date(desired, facts) {
        push(desired, facts, &mut steps);
        images(desired, facts, &mut steps);
        let seal = release::complete_mark(&desired.layout, &desired.release.id);
        steps.push(Step::run("seal the release", Change::Create, files::put(&[seal])));
    }
    placeholder(desired, facts, &mut steps);
    database(desired, facts, &mut steps);
    Ok(steps)
}

/// Whether the wanted release is the one that was committed last.
pub(super) fn up_to_date(desired: &Desired, facts: &Facts) -> bool {
    let wanted = &desired.release;
    facts.state.as_ref().is_some_and(|state| {
        state.digest == wanted.digest
            && facts.current() == Some(state.release.as_str())
            && facts.releases.get(&state.release).is_some_and(|release| release.mark == ReleaseMark::Complete)
    }) && facts.drift.is_empty()
        && wanted.mounts.iter().all(|file| !differs(file, facts))
}

/// Whether the wanted release is on the host as it was sealed, and not the one that was committed
/// last: it was tried before, or gone back from. It is not sent again.
fn sealed(desired: &Desired, facts: &Facts) -> bool {
    let wanted = &desired.release;
    !up_to_date(desired, facts)
        && facts.value("sealed") == Some(wanted.id.as_str())
        && wanted.mounts.iter().all(|file| !differs(file, facts))
        && wanted.builds.iter().all(|build| facts.images.contains_key(&build.tag))
}

/// Whether the operator named services of which none would change.
pub(super) fn named_are_as_wanted(desired: &Desired, facts: &Facts) -> bool {
    let named = &desired.release.services;
    let well = |service: &String| {
        let mut containers = facts.containers.iter().filter(|container| container.service == *service);
        containers.clone().next().is_some()
            && containers.all(|container| {
                container.well()
                    && match facts.services.get(service) {
                        Some(hash) => container.config_hash == *hash,
                        None => changes::replaces(desired, facts, service) == Some(false),
                    }
            })
    };
    !named.is_empty() && facts.state.is_some() && facts.drift.is_empty() && named.iter().all(well)
}

/// Edits by hand are not lost without a word: they are refused until the operator says so.
fn drift(desired: &Desired, facts: &Facts) -> Result<(), Refusal> {
    if facts.drift.is_empty() || desired.overwrite_drift {
        return Ok(());
    }
    let list = facts.drift.iter().map(String::as_str).collect::<Vec<_>>().join(", ");
    Err(Refusal {
        message: format!("edited on the host since it was written: {list}"),
        hint:
            "take the edit over into the template or the client's env, or give it up with --overwrite-drift"
                .into(),
    })
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
    list.push(desired.digests_file());
    let names: Vec<String> = list.iter().map(|file| format!("{} {}", file.mode, file.path)).collect();
    steps.push(Step::run("write rendered files", Change::Create, files::put(&list)).details(names));
    steps.push(
        Step::run("check the Compose file", Change::Nothing, wanted.project.check())
            .hint("`fleet render CLIENT` shows the file as it was sent"),
    );
}

fn images(desired: &Desired, facts: &Facts, steps: &mut Vec<Step>) {
    let wanted = &desired.release;
    if let Some(here) = &wanted.built_here {
        steps.extend(shipped(desired, facts, here));
    }
    let here = wanted.built_here.is_some();
    for build in wanted.builds.iter().filter(|build| !here && !facts.images.contains_key(&build.tag)) {
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

/// The step that sends what was built on the operator's machine, where the host lacks any of it.
fn shipped(desired: &Desired, facts: &Facts, here: &BuiltHere) -> Option<Step> {
    let all: Vec<String> = desired.release.builds.iter().map(|build| build.tag.clone()).collect();
    let lacking: Vec<String> = all.iter().filter(|tag| !facts.images.contains_key(*tag)).cloned().collect();
    let platform = ship::platform(facts.value("arch").unwrap_or("amd64"));
    let detail = |tag: &String| match here.known.get(tag).and_then(|of| of.get(&platform)) {
        Some((layers, bytes)) => {
            format!(
                "{tag}, {platform}: {layers} layers, {}; only what the host lacks travels",
                megabytes(*bytes)
            )
        }
        None => format!("{tag}, {platform}: built on this machine first, once for all clients"),
    };
    let details: Vec<String> = lacking.iter().map(detail).collect();
    (!lacking.is_empty()).then(|| Step {
        title: "ship images".into(),
        change: Change::Create,
        details,
        action: Action::Ship(Ship {
            layout: desired.layout.clone(),
            store: here.store.clone(),
            platform,
            lacking,
            all,
        }),
        hint: Some("run the same command again: what arrived is not sent twice".into()),
    })
}

fn megabytes(bytes: u64) -> String {
    format!("{}.{} MB", bytes / 1_000_000, bytes / 100_000 % 10)
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
    if let Some(inside) = database.inside() {
        let up = desired.release.project.start(std::slice::from_ref(&inside.service));
        steps.push(Step::run(format!("start {}", inside.service), Change::Create, up));
    } else if desired.release.migrations.is_empty() {
        return;
    }
    steps.push(Step::run("wait for the database", Change::Nothing, database.wait_ready()));
}
