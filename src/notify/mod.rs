//! Tells people and other programs what happened, over the channels of `[notify.NAME]`.
//!
//! Rules of this room:
//! 1. Telling never fails a command: what could not be sent is a warning, and is kept for the next run.
//! 2. One attempt per channel and run, bounded in time; nothing is tried again at once.
//! 3. What was kept goes out together with what is new, as one message.
//! 4. Addresses and keys are secrets: no warning, no message and no kept file holds one.
//!
//! Other verbs use [`Notifier`] alone: `fleet.notifier()?`, then `started`, `tell` and `finished`.

mod channel;
mod mail;
mod message;
mod ping;
mod program;
mod spool;
mod webhook;

use std::path::Path;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use jiff::Timestamp;

pub use channel::{Opened, Refusal, Vars};
pub use message::{Entry, Level, Message};

use crate::registry::Topic;
use crate::secret::Redactor;
use spool::{Kept, Spool};

/// Longest time for one request of a channel.
pub const LIMIT: Duration = Duration::from_secs(5);
/// Longest time for a channel as a whole: a mail takes several requests.
const CHANNEL_LIMIT: Duration = Duration::from_secs(10);

/// A run as a dead man's switch hears of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    Started,
    /// With the command's exit code.
    Finished(u8),
}

/// What came of one channel.
#[derive(Clone, Debug, PartialEq)]
pub struct Delivery {
    pub channel: String,
    pub result: Result<(), String>,
    pub seconds: f64,
    /// Messages that went out, or stay for the next run.
    pub messages: usize,
}

/// All channels of a fleet, ready to be used.
pub struct Notifier {
    channels: Vec<Opened>,
    spool: Spool,
    redactor: Redactor,
    now: fn() -> Timestamp,
}

impl Notifier {
    /// `state` is the fleet directory's `.fleet`.
    #[must_use]
    pub fn new(channels: Vec<Opened>, state: &Path, now: fn() -> Timestamp) -> Notifier {
        let redactor = Redactor::new(channels.iter().flat_map(Opened::secrets));
        let spool = Spool::new(state);
        Notifier { channels, spool, redactor, now }
    }

    /// Tells channels that count runs that one begins.
    pub fn started(&self, topic: Topic) -> Vec<Delivery> {
        self.signal(topic, Signal::Started, "")
    }

    /// Tells channels that count runs how one ended; `summary` is a line or a few.
    pub fn finished(&self, topic: Topic, exit: u8, summary: &str) -> Vec<Delivery> {
        self.signal(topic, Signal::Finished(exit), summary)
    }

    /// One message to every channel that wants to hear of its topic, and to each what was kept for it.
    /// Without a message only what was kept goes out.
    pub fn tell(&self, message: Option<&Message>) -> Vec<Delivery> {
        let message = message.map(|message| message.redacted(&self.redactor));
        let now = (self.now)();
        let mut begun = Vec::new();
        for channel in self.channels.iter().filter(|channel| !channel.counts_runs()) {
            let new = message.clone().filter(|message| channel.wants(message.topic));
            let kept = self.spool.take(channel.name(), new, now);
            if kept.messages().is_empty() || channel.is_quiet(now) && kept.fault.is_none() {
                continue;
            }
            let work = self.begin(channel, Message::joined(kept.messages()));
            begun.push((channel, kept, work));
        }
        let finish = |(channel, kept, work): (&Opened, Kept, Begun)| {
            let messages = kept.messages().len();
            let mut delivery = self.ended(channel, work);
            let kept_well = kept.fault.as_ref().map(ToString::to_string);
            match (&mut delivery.result, kept_well) {
                (Ok(()), _) => {
                    if let Err(error) = kept.sent() {
                        delivery.result = Err(format!("it was sent, but {error}"));
                    }
                }
                (Err(why), Some(fault)) => why.push_str(&format!("; nor can it be kept: {fault}")),
                (Err(why), None) => why.push_str("; it is kept for the next run"),
            }
            Delivery { messages, ..delivery }
        };
        begun.into_iter().map(finish).collect()
    }

    /// Sends to every channel at once, or to the named one, whatever it wants to hear of; keeps nothing.
    pub fn test(&self, name: Option<&str>, message: &Message) -> Vec<Delivery> {
        let chosen = self.channels.iter().filter(|channel| name.is_none_or(|name| channel.name() == name));
        let begun: Vec<_> =
            chosen.map(|channel| (channel, self.begin(channel, message.redacted(&self.redactor)))).collect();
        begun.into_iter().map(|(channel, begun)| self.ended(channel, begun)).collect()
    }

    fn signal(&self, topic: Topic, signal: Signal, summary: &str) -> Vec<Delivery> {
        let summary = self.redactor.redact(summary).into_owned();
        let begun: Vec<_> = self
            .channels
            .iter()
            .filter(|channel| channel.counts_runs() && channel.wants(topic))
            .map(|channel| {
                let (channel_, summary) = (channel.clone(), summary.clone());
                (channel, Begun::run(move || channel_.signal(signal, &summary)))
            })
            .collect();
        begun.into_iter().map(|(channel, begun)| self.ended(channel, begun)).collect()
    }

    fn begin(&self, channel: &Opened, message: Message) -> Begun {
        let (channel, now) = (channel.clone(), (self.now)());
        Begun::run(move || channel.send(&message, now))
    }

    fn ended(&self, channel: &Opened, begun: Begun) -> Delivery {
        let (result, seconds) = begun.wait();
        let result = result.map_err(|why| self.redactor.redact(&why).into_owned());
        Delivery { channel: channel.name().to_owned(), result, seconds, messages: 1 }
    }
}

/// Work of one channel on a thread of its own, which is left behind when it takes too long: names that
/// do not resolve and servers that send a byte a second cannot be interrupted.
struct Begun {
    result: mpsc::Receiver<Result<(), String>>,
    started: Instant,
}

impl Begun {
    fn run(work: impl FnOnce() -> Result<(), String> + Send + 'static) -> Begun {
        let (sender, result) = mpsc::sync_channel(1);
        std::thread::spawn(move || drop(sender.send(work())));
        Begun { result, started: Instant::now() }
    }

    fn wait(self) -> (Result<(), String>, f64) {
        let left = CHANNEL_LIMIT.saturating_sub(self.started.elapsed());
        let result = match self.result.recv_timeout(left) {
            Ok(result) => result,
            Err(_) => Err(format!("not done after {} s", CHANNEL_LIMIT.as_secs())),
        };
        (result, self.started.elapsed().as_secs_f64())
    }
}

#[cfg(test)]
mod tests;
