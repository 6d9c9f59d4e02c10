//! What Sentry is told of an update: a release, and a deploy for each client that runs it. It never fails the update:
//! what cannot be told now is told by the next one.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use jiff::Timestamp;

use super::assemble::{Assembled, RunInfo};
use super::context::Fleet;
use super::running::Run;
use crate::engine::Engine;
use crate::event::{EventKind, Outcome, Report};
use crate::held;
use crate::registry::Client;
use crate::secret::Secret;
use crate::sentry::ledger::{Book, Deploy};
use crate::sentry::releases::{deploy_name, is_version};
use crate::sentry::telling::{Trees, Warnings, tell};
use crate::sentry::{Api, ApiError, Whereabouts};

/// Longest time that an update waits for Sentry, all in all.
const LIMIT: Duration = Duration::from_secs(60);

/// What a run may have to tell.
pub struct Deploys {
    state: PathBuf,
    url: String,
    token: Result<Secret<String>, String>,
    /// The operator asked for it in so many words.
    wished: bool,
    run: RunInfo,
    /// A rollback is no new release.
    back: bool,
    clients: BTreeMap<String, Deploy>,
    trees: Trees,
    warnings: Warnings,
}

impl Deploys {
    /// `None` where Sentry is not to be told.
    pub fn of(fleet: &Fleet, verb: &str, run: &RunInfo) -> Option<Deploys> {
        let settings = &fleet.registry.fleet.sentry;
        let reference = settings.token.as_ref().filter(|_| settings.releases != Some(false))?;
        if !matches!(verb, "update" | "provision" | "rollback") {
            return None;
        }
        Some(Deploys {
            state: fleet.state_dir(),
            url: settings.url.to_string(),
            token: fleet.secret(reference, "fleet.sentry.token").map_err(|error| error.to_string()),
            wished: settings.releases == Some(true),
            run: run.clone(),
            back: verb == "rollback",
            clients: BTreeMap::new(),
            trees: Trees::default(),
            warnings: Vec::new(),
        })
    }

    /// A client that takes part. Nothing is told of one without Sentry, nor where the service that reports its
    /// release stays as it is.
    pub fn add(
        &mut self,
        fleet: &Fleet,
        client: &Client,
        made: &Assembled,
        services: &[String],
    ) -> anyhow::Result<()> {
        let Some(dsn) = &client.sentry.dsn else { return Ok(()) };
        let stack = fleet.stack(client)?;
        let reporter = stack.sentry.as_ref().and_then(|sentry| sentry.service.as_ref());
        if !services.is_empty() && !reporter.is_some_and(|reporter| services.contains(reporter)) {
            return Ok(());
        }
        let place = Whereabouts::of(&client.sentry, dsn);
        let Some(org) = place.org else {
            if self.wished {
                let why =
                    format!("{}: Sentry is told of no release: its organisation is not known", client.name);
                self.warnings.push((why, Some("write org = \"...\" beside its dsn".to_owned())));
            }
            return Ok(());
        };
        let version = made.sentry_release.clone();
        if !is_version(&version) {
            let why = format!("{}: {version:?} is no name of a release for Sentry", client.name);
            self.warnings.push((why, Some("change the file VERSION of the source".to_owned())));
            return Ok(());
        }
        if let Some(source) = fleet.registry.fleet.source.as_ref().filter(|_| stack.source.is_some()) {
            self.trees.add(&org, &stack.name, &version, fleet.path(source.as_str()));
        }
        let deploy = Deploy {
            org,
            project: place.project,
            version,
            environment: client.sentry.environment.to_string(),
            name: deploy_name(&self.run.run, &client.name),
            url: format!("https://{}", client.domain),
            started: self.run.at.clone(),
            ..Deploy::default()
        };
        self.clients.insert(client.name.to_string(), deploy);
        Ok(())
    }

    /// Written before any host is touched.
    pub fn begins<'c>(&mut self, clients: impl Iterator<Item = &'c str>) {
        if self.back {
            return;
        }
        let noted = Book::open(&self.state).map_err(|error| error.to_string()).and_then(|mut book| {
            for client in clients {
                if let Some(deploy) = self.clients.get(client) {
                    book.ledger.begins(client, &deploy.version);
                }
            }
            book.save()
        });
        if let Err(error) = noted {
            self.warnings.push((format!("what Sentry is to be told is not noted: {error}"), None));
        }
    }

    /// Tells what the run came to, and what waits from others; what did not go well, as events.
    #[must_use]
    pub fn end(mut self, report: &Report) -> Vec<EventKind> {
        if let Err(error) = self.tell(report) {
            let message = format!(
                "Sentry was not told of releases and deploys: {error:#}; the next update tries again"
            );
            let hint = error.downcast_ref::<ApiError>().map(ApiError::hint);
            self.warnings.push((message, hint));
        }
        self.warnings.into_iter().map(|(message, hint)| EventKind::Warning { message, hint }).collect()
    }

    fn tell(&mut self, report: &Report) -> anyhow::Result<()> {
        let mut book = Book::open(&self.state)?;
        for host in &report.hosts {
            let changed = matches!(host.outcome, Outcome::Changed { .. });
            match self.clients.remove(&host.client) {
                Some(_) if self.back && changed => book.ledger.went_back(&host.client),
                Some(mut deploy) if !self.back && (changed || host.outcome == Outcome::Unchanged) => {
                    deploy.finished = Timestamp::now().to_string();
                    book.ledger.runs(&host.client, changed, deploy);
                }
                _ => {}
            }
        }
        book.save().map_err(anyhow::Error::msg)?;
        if book.ledger.waiting().next().is_none() {
            return Ok(());
        }
        let token = self.token.clone().map_err(anyhow::Error::msg)?;
        let api = Api::new(&self.url, token, LIMIT, |_| {});
        tell(&api, &mut book, &self.trees, self.wished, &held::redactor(), &mut self.warnings)
    }
}

/// Releases and deploys of a run that is over; whoever insists on an end does not wait for Sentry.
pub async fn tell_of(run: &mut Run, deploys: Deploys) {
    let report = run.report.clone();
    let told = async |engine: Engine| {
        let telling = tokio::task::spawn_blocking(move || deploys.end(&report));
        tokio::select! {
            told = telling => told.unwrap_or_default(),
            () = engine.cancel.abandoned() => Vec::new(),
        }
    };
    let events = run.drive(told).await;
    events.into_iter().for_each(|event| run.engine.emitter.emit(None, event));
}
