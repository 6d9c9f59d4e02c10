//! What a verb tells the channels of `[notify]` when it is done. It never fails for it.

use std::collections::BTreeMap;

use super::App;
use super::context::Fleet;
use crate::backup::State;
use crate::backup::state::Disproof;
use crate::event::{ExitKind, Outcome, Report};
use crate::notify::{Delivery, Entry, Level, Message, Notifier};
use crate::registry::Topic;
use crate::ui;

/// A run that is told of: its beginning, its end, and what went wrong.
pub struct Telling<'a> {
    app: &'a App,
    fleet: &'a Fleet,
    notifier: Notifier,
    topic: Topic,
}

impl<'a> Telling<'a> {
    /// `None` where there is no channel at all, so that nothing is spent on it.
    #[must_use]
    pub fn start(app: &'a App, fleet: &'a Fleet, topic: Topic) -> Option<Telling<'a>> {
        if fleet.registry.notify.is_empty() {
            return None;
        }
        let (notifier, warnings) = fleet.notifier();
        for warning in warnings {
            app.tell(&format!("warning: {}\n", ui::flat(&warning)));
        }
        let telling = Telling { app, fleet, notifier, topic };
        telling.warn(&telling.notifier.started(topic));
        Some(telling)
    }

    /// A message, if there is one, and how the run ended.
    pub fn end(&self, title: &str, entries: Vec<Entry>, exit: ExitKind) {
        let message = Message {
            fleet: self.fleet.registry.fleet.name.to_string(),
            topic: self.topic,
            title: title.to_owned(),
            entries,
            at: jiff::Timestamp::now(),
        };
        let text = message.text();
        let new = (!message.entries.is_empty()).then_some(&message);
        self.warn(&self.notifier.tell(new));
        self.warn(&self.notifier.finished(self.topic, exit as u8, &text));
    }

    /// The same from a run's report: clients that are not well are told of.
    pub fn report(&self, report: &Report, exit: ExitKind) {
        let entries = failures(report);
        let title = match entries.len() {
            0 => format!("{}: all well", report.verb),
            failed => format!("{}: {failed} of {} clients not well", report.verb, report.hosts.len()),
        };
        self.end(&title, entries, exit);
    }

    /// What a run of backups came to: a client is told of when its backup begins to fail, and when one is
    /// made again. `before` is what was remembered of each before the run.
    pub fn backups(&self, report: &Report, before: &BTreeMap<String, State>, exit: ExitKind) {
        let dir = self.fleet.state_dir();
        let (mut entries, mut told) = (Vec::new(), Vec::new());
        for host in &report.hosts {
            let client = host.client.as_str();
            let known = before.get(client).and_then(|state| state.failure.clone()).filter(|was| was.told);
            match (&host.outcome, State::read(&dir, client).failure) {
                (outcome, Some(failure)) if outcome.fault().is_some() && !failure.told => {
                    let text =
                        format!("backup {}: {} - fleet backup {client}", outcome.word(), failure.message);
                    entries.push(entry(Level::Problem, client, text));
                    told.push(client);
                }
                (Outcome::Changed { .. }, None) if known.is_some() => {
                    let at = known.map(|was| was.at).unwrap_or_default();
                    let text = format!("backed up again; the last that failed was at {at}");
                    entries.push(entry(Level::Recovered, client, text));
                }
                _ => {}
            }
        }
        let failed = report.hosts.iter().filter(|host| host.outcome.fault().is_some()).count();
        let title = match (failed, entries.len()) {
            (0, 0) => format!("backup: {} clients, all well", report.hosts.len()),
            (0, again) => format!("backup: {again} well again"),
            (failed, _) => format!("backup: {failed} of {} clients failed", report.hosts.len()),
        };
        self.end(&title, entries, exit);
        self.mark(&told, |state| state.failure.iter_mut().for_each(|failure| failure.told = true));
    }

    /// The same for proofs.
    pub fn proofs(&self, proofs: &[Proof], exit: ExitKind) {
        let dir = self.fleet.state_dir();
        let (mut entries, mut told) = (Vec::new(), Vec::new());
        for Proof { client, before } in proofs {
            let short = |id: &str| id.get(..8).unwrap_or(id).to_owned();
            match State::read(&dir, client).disproof {
                Some(now) if !now.told => {
                    let text = format!(
                        "snapshot {} does not restore: {} - fleet backups prove {client}",
                        short(&now.snapshot),
                        now.message
                    );
                    entries.push(entry(Level::Problem, client, text));
                    told.push(client.as_str());
                }
                None if before.as_ref().is_some_and(|before| before.told) => {
                    entries.push(entry(Level::Recovered, client, "its backup restores again".to_owned()));
                }
                _ => {}
            }
        }
        let title = match entries.iter().filter(|entry| entry.level == Level::Problem).count() {
            0 => format!("prove: {} clients", proofs.len()),
            bad => format!("prove: {bad} of {} backups do not restore", proofs.len()),
        };
        self.end(&title, entries, exit);
        self.mark(&told, |state| state.disproof.iter_mut().for_each(|disproof| disproof.told = true));
    }

    /// Told first, then remembered: a cut in between tells twice rather than never.
    fn mark(&self, clients: &[&str], change: impl Fn(&mut State)) {
        for client in clients {
            if let Err(error) = State::change(&self.fleet.state_dir(), client, &change) {
                self.app.tell(&format!("warning: {client} may be told of again: {error}\n"));
            }
        }
    }

    fn warn(&self, deliveries: &[Delivery]) {
        for (channel, why) in
            deliveries.iter().filter_map(|done| Some((&done.channel, done.result.as_ref().err()?)))
        {
            self.app.tell(&format!("warning: channel {channel} was not told: {}\n", ui::flat(why)));
        }
    }
}

/// A proof that ended, and how the one before it failed.
pub struct Proof {
    pub client: String,
    pub before: Option<Disproof>,
}

fn entry(level: Level, client: &str, text: String) -> Entry {
    Entry { level, client: Some(client.to_owned()), text }
}

fn failures(report: &Report) -> Vec<Entry> {
    let entry = |client: &str, text: String| entry(Level::Problem, client, text);
    let mut entries = Vec::new();
    for host in &report.hosts {
        let word = host.outcome.word();
        match &host.outcome {
            Outcome::Unchanged | Outcome::Changed { .. } | Outcome::Skipped { expected: true, .. } => {}
            Outcome::Skipped { reason, .. } => entries.push(entry(&host.client, format!("{word}: {reason}"))),
            Outcome::Locked { holder, .. } => {
                entries.push(entry(&host.client, format!("{word} by {holder}")));
            }
            Outcome::Failed { fault }
            | Outcome::RolledBack { fault, .. }
            | Outcome::Unreachable { fault }
            | Outcome::Unknown { fault } => {
                entries.push(entry(&host.client, format!("{word}: {}: {}", fault.step, fault.message)));
            }
        }
    }
    entries
}
