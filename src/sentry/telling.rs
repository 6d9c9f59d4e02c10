//! Telling Sentry what waits in the ledger: releases first, then their deploys, each once.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};

use anyhow::Context as _;
use jiff::Timestamp;

use super::commits::{self, Commits};
use super::ledger::{Book, Deploy};
use super::{Api, ApiError, Kind, Whereabouts};
use crate::secret::Redactor;

/// Deploys told at once.
const WIDTH: usize = 8;

/// Message and hint of what did not go well.
pub type Warnings = Vec<(String, Option<String>)>;

/// Where the code of releases lies, by `ORG/STACK`.
#[derive(Clone, Debug, Default)]
pub struct Trees(BTreeMap<String, (PathBuf, BTreeSet<String>)>);

impl Trees {
    /// This version of a stack is made from a tree.
    pub fn add(&mut self, org: &str, stack: &str, version: &str, tree: PathBuf) {
        let known = self.0.entry(format!("{org}/{stack}")).or_insert_with(|| (tree, BTreeSet::new()));
        known.1.insert(version.to_owned());
    }

    /// What git says is new in a release that is made now, and under which name its newest is remembered.
    fn commits(
        &self,
        book: &Book,
        redactor: &Redactor,
        org: &str,
        version: &str,
    ) -> (Option<String>, Option<Commits>) {
        let of_org = |key: &str| key.split_once('/').is_some_and(|(of, _)| of == org);
        let found = self.0.iter().find(|(key, (_, versions))| of_org(key) && versions.contains(version));
        let Some((key, (tree, _))) = found else { return (None, None) };
        let last = book.ledger.commits.get(key).map(String::as_str);
        (Some(key.clone()), commits::of(tree, last, redactor))
    }
}

/// Everything that waits, as far as there is time for it.
///
/// # Errors
/// What keeps the rest from being told; it waits for the next time.
pub fn tell(
    api: &Api,
    book: &mut Book,
    trees: &Trees,
    wished: bool,
    redactor: &Redactor,
    warnings: &mut Warnings,
) -> anyhow::Result<()> {
    if api.kind()? == Kind::Bugsink {
        book.ledger.clients.values_mut().for_each(|client| client.waiting.clear());
        save(book)?;
        if wished {
            let why = "Bugsink keeps no releases and deploys: nothing was told".to_owned();
            warnings.push((why, Some("releases = false under [fleet.sentry]".to_owned())));
        }
        return Ok(());
    }
    let all: BTreeSet<(String, String)> =
        book.ledger.waiting().map(|(_, deploy)| (deploy.org.clone(), deploy.version.clone())).collect();
    for (org, version) in all {
        let told = release(api, book, trees, redactor, &org, &version)
            .and_then(|()| deploys(api, book, &org, &version));
        let Err(error) = told else { continue };
        if !error.downcast_ref::<ApiError>().is_some_and(is_lasting) {
            return Err(error);
        }
        // The same the next time: the others shall not wait for it.
        let clients = book.ledger.clients.values_mut();
        clients.for_each(|client| client.waiting.retain(|deploy| !is_of(deploy, &org, &version)));
        save(book)?;
        let hint = error.downcast_ref::<ApiError>().map(ApiError::hint);
        warnings.push((format!("Sentry was not told of {version}, and will not be: {error:#}"), hint));
    }
    Ok(())
}

/// Made and finalised once; projects that came later are added.
fn release(
    api: &Api,
    book: &mut Book,
    trees: &Trees,
    redactor: &Redactor,
    org: &str,
    version: &str,
) -> anyhow::Result<()> {
    let mut projects = BTreeSet::new();
    for (_, deploy) in book.ledger.waiting().filter(|(_, deploy)| is_of(deploy, org, version)) {
        projects.insert(deploy.project.clone());
    }
    let (key, now) = (format!("{org}/{version}"), Timestamp::now().to_string());
    let known = book.ledger.releases.get(&key).cloned().unwrap_or_default();
    let fresh = !projects.is_subset(&known.projects);
    if fresh {
        let (tree, commits) = match known.projects.is_empty() {
            true => trees.commits(book, redactor, org, version),
            false => (None, None),
        };
        let all: BTreeSet<String> = known.projects.union(&projects).cloned().collect();
        let slugs = all.iter().map(|project| slug(api, org, project)).collect::<anyhow::Result<_>>()?;
        let finalised = api.make_release(org, version, &slugs, &now, commits.as_ref())?;
        let release = book.ledger.releases.entry(key.clone()).or_default();
        (release.projects, release.finalised, release.at) = (all, finalised, now.clone());
        if let (Some(tree), Some(commits)) = (tree, commits) {
            book.ledger.commits.insert(tree, commits.head);
        }
        save(book)?;
    }
    let release = book.ledger.releases.entry(key).or_default();
    if !release.finalised {
        // A run that was killed may have done it.
        if fresh || !api.is_finalised(org, version)? {
            api.finalise(org, version, &now)?;
        }
        release.finalised = true;
        save(book)?;
    }
    Ok(())
}

/// Each once: those that may have been told are asked for first.
fn deploys(api: &Api, book: &mut Book, org: &str, version: &str) -> anyhow::Result<()> {
    let waiting = |book: &Book| -> Vec<Deploy> {
        let all = book.ledger.waiting().filter(|(_, deploy)| is_of(deploy, org, version));
        all.map(|(_, deploy)| deploy.clone()).collect()
    };
    if waiting(book).iter().any(|deploy| deploy.attempted) {
        let there = api.deploys(org, version)?;
        let told = |deploy: &Deploy| {
            let place = (deploy.environment.clone(), deploy.name.clone());
            is_of(deploy, org, version) && deploy.attempted && there.contains(&place)
        };
        let clients = book.ledger.clients.values_mut();
        clients.for_each(|client| client.waiting.retain(|deploy| !told(deploy)));
    }
    let all = book.ledger.clients.values_mut().flat_map(|client| &mut client.waiting);
    all.filter(|deploy| is_of(deploy, org, version)).for_each(|deploy| deploy.attempted = true);
    save(book)?;
    let left = waiting(book);
    let (queue, done, failed) = (Mutex::new(left.iter()), Mutex::new(Vec::new()), Mutex::new(None));
    std::thread::scope(|scope| {
        for _ in 0..WIDTH.min(left.len()) {
            scope.spawn(|| {
                loop {
                    let Some(deploy) = lock(&queue).next() else { return };
                    match api.deploy(deploy) {
                        Ok(()) => lock(&done).push(deploy),
                        Err(error) => {
                            lock(&failed).get_or_insert(error);
                            return;
                        }
                    }
                }
            });
        }
    });
    let done = std::mem::take(&mut *lock(&done));
    for client in book.ledger.clients.values_mut() {
        client.waiting.retain(|deploy| !done.contains(&deploy));
    }
    save(book)?;
    match lock(&failed).take() {
        Some(error) => Err(error).context(format!("{} of {} deploys", left.len() - done.len(), left.len())),
        None => Ok(()),
    }
}

/// Releases are made for short names, and a DSN tells a number only.
fn slug(api: &Api, org: &str, project: &str) -> anyhow::Result<String> {
    match project.parse() {
        Ok(number) => {
            let place = Whereabouts { org: Some(org.to_owned()), project: project.to_owned(), number };
            Ok(api.project(&place)?.slug)
        }
        Err(_) => Ok(project.to_owned()),
    }
}

fn is_of(deploy: &Deploy, org: &str, version: &str) -> bool {
    deploy.org == org && deploy.version == version
}

/// What asking again would not change.
fn is_lasting(error: &ApiError) -> bool {
    matches!(error, ApiError::Unknown { .. } | ApiError::Odd { status: 400..500, .. })
}

fn save(book: &mut Book) -> anyhow::Result<()> {
    book.save().map_err(|error| anyhow::anyhow!("what was told cannot be noted: {error}"))
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
