//! What a verb tells the channels of `[notify]` when it is done. It never fails for it.

use super::App;
use super::context::Fleet;
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

    fn warn(&self, deliveries: &[Delivery]) {
        for (channel, why) in
            deliveries.iter().filter_map(|done| Some((&done.channel, done.result.as_ref().err()?)))
        {
            self.app.tell(&format!("warning: channel {channel} was not told: {}\n", ui::flat(why)));
        }
    }
}

fn failures(report: &Report) -> Vec<Entry> {
    let entry =
        |client: &str, text: String| Entry { level: Level::Problem, client: Some(client.to_owned()), text };
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
