//! Images that this machine builds once for all: before the first host is contacted, whether it can;
//! before the first is changed, the builds themselves.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Instant;

use super::context::Fleet;
use super::exit::refused;
use super::running::Run;
use crate::engine::{Job, Surveyed};
use crate::event::{EventKind, Fault, Outcome, PLANNING};
use crate::hint::HintExt as _;
use crate::ops::ship::Ship;
use crate::plan::{Action, Build, BuiltHere, Stage};
use crate::ship::{BuildError, Docker, Order, Record, Store};
use crate::source::Snapshot;
use crate::stack::{BuildPlace, Stack};

/// Builds of each image that stay on this machine, as releases do on a host.
const KEPT_BUILDS: usize = 5;

/// What is built already of the images that this machine builds; `None` where each host builds its own.
pub fn built_here(stack: &Stack, builds: &[Build], fleet: &Fleet) -> Option<BuiltHere> {
    stack.source.as_ref().filter(|source| source.build == BuildPlace::Operator)?;
    let store = Store::new(fleet.images_dir());
    let known = builds.iter().map(|build| (build.tag.clone(), store.known(&build.tag))).collect();
    Some(BuiltHere { store: store.dir().to_owned(), known })
}

/// Refuses a run that would have to build and cannot.
///
/// # Errors
/// No Docker on this machine.
pub async fn check(jobs: &[Job]) -> anyhow::Result<()> {
    let to_build = |job: &Job| {
        let here = job.desired.release.built_here.as_ref();
        here.is_some_and(|here| here.known.values().any(BTreeMap::is_empty))
            && job.stages.contains(&Stage::Prepare)
    };
    let Some(job) = jobs.iter().find(|job| to_build(job)) else { return Ok(()) };
    let Err(error) = Docker::find().await else { return Ok(()) };
    let stack = &job.desired.layout.stack;
    Err(refused(format!("the images of stack {stack} are built on this machine, and {error}"))
        .hint("install Docker here and start it, or say `build = \"host\"` under [source] in stack.toml"))
}

/// Builds what the plans of these hosts send and what is not built yet. A client whose image cannot be
/// built ends here; the others go on.
pub async fn build(run: &mut Run, hosts: Vec<Surveyed>, sources: &[Arc<Snapshot>]) -> Vec<Surveyed> {
    let mut docker = None;
    let mut failed: BTreeMap<(String, String), Fault> = BTreeMap::new();
    for order in orders(&hosts, sources) {
        let store = store_of(&hosts);
        let Some(store) = store.filter(|store| store.record(&order.platform, &order.tag).is_none()) else {
            continue;
        };
        if run.interrupted() {
            break;
        }
        let (image, platform) = (order.tag.clone(), order.platform.clone());
        let key = (platform.clone(), image.clone());
        run.engine
            .emitter
            .emit(None, EventKind::ImageBuilding { image: image.clone(), platform: platform.clone() });
        let started = Instant::now();
        let known = docker.clone();
        let (result, found) = run
            .drive(async |engine| {
                tokio::select! {
                    done = one(known, &store, &order) => done,
                    () = engine.cancel.abandoned() => (Err(BuildError::Other("interrupted".into())), None),
                }
            })
            .await;
        docker = found;
        match result {
            Ok(record) => {
                let seconds = started.elapsed().as_secs_f64();
                let (layers, bytes) = (record.layers.len(), record.size());
                run.engine
                    .emitter
                    .emit(None, EventKind::ImageBuilt { image, platform, seconds, layers, bytes });
            }
            Err(error) => {
                failed.insert(key, fault(&image, error));
            }
        }
    }
    let ends = |host: &Surveyed| {
        let mut ships = ships(host).flat_map(|ship| ship.lacking.iter().map(|tag| (&ship.platform, tag)));
        ships.find_map(|(platform, tag)| failed.get(&(platform.clone(), tag.clone())).cloned())
    };
    let (bad, good): (Vec<Surveyed>, Vec<Surveyed>) =
        hosts.into_iter().partition(|host| ends(host).is_some());
    if !bad.is_empty() {
        let outcome = |host: &Surveyed| match ends(host) {
            Some(fault) => Outcome::Failed { fault },
            None => Outcome::skipped("its image could not be built"),
        };
        run.drive(async |engine| engine.dismiss(bad, outcome).await).await;
    }
    good
}

/// Lets go of builds beyond the newest ones.
pub async fn prune(fleet: &Fleet) -> anyhow::Result<()> {
    let store = Store::new(fleet.images_dir());
    let gone = store.prune(KEPT_BUILDS)?;
    if !gone.is_empty() {
        Docker::forget(&gone).await;
    }
    Ok(())
}

async fn one(
    known: Option<Docker>,
    store: &Store,
    order: &Order,
) -> (Result<Record, BuildError>, Option<Docker>) {
    let docker = match known {
        Some(docker) => docker,
        None => match Docker::find().await {
            Ok(docker) => docker,
            Err(error) => return (Err(error), None),
        },
    };
    (docker.build(store, order).await, Some(docker))
}

fn fault(image: &str, error: BuildError) -> Fault {
    let message = format!("{image} could not be built on this machine: {error}");
    let (lines, hint) = match error {
        BuildError::Failed { lines, .. } => (lines, "mend what docker says, then run the same command again"),
        BuildError::NoDocker | BuildError::Silent(_) => (Vec::new(), "install Docker here and start it"),
        _ => (Vec::new(), "run the same command again"),
    };
    Fault { step: PLANNING.into(), message, lines, hint: Some(hint.into()) }
}

fn ships(host: &Surveyed) -> impl Iterator<Item = &Ship> {
    host.plans.iter().flat_map(|plan| &plan.steps).filter_map(|step| match &step.action {
        Action::Ship(ship) => Some(ship),
        _ => None,
    })
}

fn store_of(hosts: &[Surveyed]) -> Option<Store> {
    hosts.iter().find_map(|host| ships(host).next()).map(|ship| Store::new(&ship.store))
}

/// Each image once for each platform that a host of the run has.
fn orders(hosts: &[Surveyed], sources: &[Arc<Snapshot>]) -> Vec<Order> {
    let mut seen = BTreeSet::new();
    let mut orders = Vec::new();
    for host in hosts {
        let release = &host.job.desired.release;
        let root = release.source.as_ref().map(|source| &source.path);
        let Some(source) = sources.iter().find(|source| Some(&source.root) == root) else { continue };
        for ship in ships(host) {
            for build in release.builds.iter().filter(|build| ship.lacking.contains(&build.tag)) {
                if seen.insert((ship.platform.clone(), build.tag.clone())) {
                    orders.push(Order {
                        tag: build.tag.clone(),
                        platform: ship.platform.clone(),
                        context: build.context.clone(),
                        source: Arc::clone(source),
                    });
                }
            }
        }
    }
    orders
}
