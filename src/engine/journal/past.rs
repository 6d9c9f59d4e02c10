//! What earlier runs left: clients that failed twice alike, runs that were cut, leases of the dead.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io;
use std::path::Path;

use sha2::{Digest as _, Sha256};

use super::{End, JournalError, list, paths, read, unfinished};
use crate::event::{Event, EventKind, Outcome, PLANNING};

/// Journals that are looked at, the newest first.
const LOOKED_AT: usize = 50;

/// A client that failed twice in a row in the same way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Repeated {
    /// Release that was tried.
    pub release: String,
    /// Where it failed.
    pub step: String,
    /// The two runs, the last one first.
    pub runs: [String; 2],
}

/// A run that was killed, or whose machine went down.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cut {
    pub run: String,
    pub verb: String,
    pub who: String,
    /// RFC 3339, UTC.
    pub started: String,
    /// Clients that it had begun and not ended, each with the step that it was in.
    pub clients: Vec<(String, String)>,
}

/// Stands for this machine since it was last started; `None` where the system does not tell.
#[must_use]
pub fn machine() -> Option<String> {
    let boot = std::fs::read("/proc/sys/kernel/random/boot_id").ok()?;
    Some(crate::shell::hex(&Sha256::digest(boot))[..16].to_owned())
}

/// Runs of the last journals that have certainly ended: they ran on this machine since it was
/// started, and nobody holds their journal. Another machine's run of the same folder is not among them.
///
/// # Errors
/// When the folder cannot be read.
pub fn dead(dir: &Path) -> io::Result<Vec<String>> {
    let Some(here) = machine() else { return Ok(Vec::new()) };
    let mut dead = Vec::new();
    for path in paths(dir)?.into_iter().take(LOOKED_AT) {
        // Only a lock that was really given proves anything.
        if !File::open(&path).is_ok_and(|file| file.try_lock_shared().is_ok()) {
            continue;
        }
        let first = read(&path).ok().and_then(|mut events| events.next()?.ok());
        if let Some(Event { run, kind: EventKind::RunStarted { machine: Some(machine), .. }, .. }) = first
            && machine == here
        {
            dead.push(run);
        }
    }
    Ok(dead)
}

/// How one client ended in one run that took it up, and the release that was tried.
fn attempts(path: &Path) -> io::Result<BTreeMap<String, (Option<String>, Outcome)>> {
    let mut events = read(path)?;
    events.wanted = Some(&[r#""type":"stage-planned""#, r#""type":"host-finished""#]);
    let (mut releases, mut ended) = (BTreeMap::new(), BTreeMap::new());
    for event in events {
        let event = match event {
            Ok(event) => event,
            Err(JournalError::Io(error)) => return Err(error),
            Err(JournalError::Line { .. }) => continue,
        };
        match (event.client, event.kind) {
            (Some(client), EventKind::StagePlanned { release: Some(release), .. }) => {
                releases.insert(client, release);
            }
            (Some(client), EventKind::HostFinished { outcome, .. }) => {
                let release = releases.remove(&client);
                ended.insert(client, (release, outcome));
            }
            _ => {}
        }
    }
    Ok(ended)
}

/// Of these clients, those whose last two attempts by a verb failed at one step with one release. A run
/// that never came to the client (skipped, unreachable, locked, refused) is no attempt.
///
/// # Errors
/// When the journals cannot be read.
pub fn repeated(
    dir: &Path,
    verb: &str,
    clients: &BTreeSet<String>,
) -> io::Result<BTreeMap<String, Repeated>> {
    let mut open = clients.clone();
    let mut last: BTreeMap<String, (String, String, String)> = BTreeMap::new();
    let mut found = BTreeMap::new();
    for run in list(dir)?.take(LOOKED_AT) {
        if open.is_empty() {
            break;
        }
        let run = run?;
        if run.verb != verb || !run.clients.iter().any(|client| open.contains(client)) {
            continue;
        }
        for (client, (release, outcome)) in attempts(&run.path)? {
            let fault = match &outcome {
                Outcome::Failed { fault } if fault.step == PLANNING => continue,
                Outcome::Failed { fault } | Outcome::RolledBack { fault, .. } => Some(fault),
                Outcome::Unchanged | Outcome::Changed { .. } | Outcome::Unknown { .. } => None,
                Outcome::Unreachable { .. } | Outcome::Skipped { .. } | Outcome::Locked { .. } => continue,
            };
            if !open.contains(&client) {
                continue;
            }
            let (Some(fault), Some(release)) = (fault, release) else {
                open.remove(&client);
                continue;
            };
            match last.get(&client) {
                None => drop(last.insert(client, (release, fault.step.clone(), run.run.clone()))),
                Some((before, step, newer)) => {
                    if (before, step) == (&release, &fault.step) {
                        let runs = [newer.clone(), run.run.clone()];
                        found.insert(client.clone(), Repeated { release, step: step.clone(), runs });
                    }
                    open.remove(&client);
                }
            }
        }
    }
    Ok(found)
}

/// Runs that were cut while they changed some of these clients, as far as no later run ended what they
/// began; the newest first.
///
/// # Errors
/// When the journals cannot be read.
pub fn cuts(dir: &Path, clients: &BTreeSet<String>) -> io::Result<Vec<Cut>> {
    let mut open = clients.clone();
    let mut found = Vec::new();
    for run in list(dir)?.take(LOOKED_AT) {
        if open.is_empty() {
            break;
        }
        let run = run?;
        if !run.clients.iter().any(|client| open.contains(client)) {
            continue;
        }
        let ended = attempts(&run.path)?;
        if run.end == End::Cut && unfinished(&run.path)? == End::Cut {
            let mut left = in_the_middle(&run.path)?;
            left.retain(|(client, _)| open.contains(client));
            for (client, _) in &left {
                open.remove(client);
            }
            if !left.is_empty() {
                let (verb, who, started) = (run.verb, run.who, run.started);
                found.push(Cut { run: run.run, verb, who, started, clients: left });
            }
        }
        for (client, (_, outcome)) in ended {
            if !matches!(
                outcome,
                Outcome::Skipped { .. } | Outcome::Unreachable { .. } | Outcome::Locked { .. }
            ) {
                open.remove(&client);
            }
        }
    }
    Ok(found)
}

/// Clients of which a step was begun, and that have no end; each with its last step.
fn in_the_middle(path: &Path) -> io::Result<Vec<(String, String)>> {
    let mut events = read(path)?;
    events.wanted = Some(&[r#""type":"step-started""#, r#""type":"host-finished""#]);
    let mut steps: BTreeMap<String, String> = BTreeMap::new();
    for event in events {
        match event {
            Ok(Event { client: Some(client), kind: EventKind::StepStarted { step, .. }, .. }) => {
                steps.insert(client, step);
            }
            Ok(Event { client: Some(client), kind: EventKind::HostFinished { .. }, .. }) => {
                steps.remove(&client);
            }
            Err(JournalError::Io(error)) => return Err(error),
            Ok(_) | Err(JournalError::Line { .. }) => {}
        }
    }
    Ok(steps.into_iter().collect())
}

#[cfg(test)]
mod tests;
