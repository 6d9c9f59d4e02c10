//! What is told, and its form in each kind of channel. Nothing here has effects.

use std::fmt::Write as _;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::registry::Topic;
use crate::secret::{Redactor, clean};

/// Lines of a message that are told; the rest is counted.
const MOST_LINES: usize = 60;
/// Characters of a line that are told.
const MOST_CHARS: usize = 400;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Level {
    /// Good news.
    Recovered,
    Info,
    Problem,
}

/// All that one run has to tell, grouped: one message, however many clients.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Message {
    pub fleet: String,
    pub topic: Topic,
    /// One line.
    pub title: String,
    /// In the order they are to be read.
    pub entries: Vec<Entry>,
    pub at: Timestamp,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    pub level: Level,
    /// The client it is about; none for the fleet as a whole.
    pub client: Option<String>,
    /// One line.
    pub text: String,
}

impl Message {
    /// The worst of its entries.
    #[must_use]
    pub fn level(&self) -> Level {
        self.entries.iter().map(|entry| entry.level).max().unwrap_or(Level::Info)
    }

    /// Safe to send: harmless characters, bounded, without the secrets that `redactor` knows.
    #[must_use]
    pub fn redacted(&self, redactor: &Redactor) -> Message {
        let line = |text: &str| {
            let text = redactor.redact(text);
            let flat = clean(&text).split_whitespace().collect::<Vec<_>>().join(" ");
            match flat.char_indices().nth(MOST_CHARS) {
                Some((end, _)) => format!("{}...", &flat[..end]),
                None => flat,
            }
        };
        let mut entries: Vec<Entry> = self
            .entries
            .iter()
            .take(MOST_LINES)
            .map(|entry| Entry {
                level: entry.level,
                client: entry.client.as_deref().map(line),
                text: line(&entry.text),
            })
            .collect();
        let left = self.entries.len().saturating_sub(MOST_LINES);
        if left > 0 {
            entries.push(Entry { level: Level::Info, client: None, text: format!("and {left} more") });
        }
        Message { title: line(&self.title), entries, ..self.clone() }
    }

    /// Several messages as one, the oldest first. Of none, an empty one.
    #[must_use]
    pub fn joined(messages: &[Message]) -> Message {
        let Some(last) = messages.last() else {
            let (fleet, title) = (String::new(), String::new());
            return Message { fleet, title, topic: Topic::Check, entries: vec![], at: Timestamp::UNIX_EPOCH };
        };
        if messages.len() == 1 {
            return last.clone();
        }
        let mut entries = Vec::new();
        for message in messages {
            let when = message.at.strftime("%d %b %H:%M UTC");
            entries.push(Entry {
                level: Level::Info,
                client: None,
                text: format!("{when}: {}", message.title),
            });
            entries.extend(message.entries.iter().cloned());
        }
        let title = format!("{} messages; the last: {}", messages.len(), last.title);
        Message { title, entries, ..last.clone() }
    }

    /// Plain text, with a line end after each line.
    #[must_use]
    pub fn text(&self) -> String {
        let mut text = format!("{}\n", self.subject());
        for entry in &self.entries {
            let word = match entry.level {
                Level::Problem => "PROBLEM ",
                Level::Recovered => "RECOVERED ",
                Level::Info => "",
            };
            let client = entry.client.as_deref().map(|name| format!("{name}: ")).unwrap_or_default();
            let _ = writeln!(text, "{word}{client}{}", entry.text);
        }
        text
    }

    /// One line that says whose message this is.
    #[must_use]
    pub fn subject(&self) -> String {
        format!("[{}] {}", self.fleet, self.title)
    }

    /// The body of Slack's incoming webhook, whose markup is switched off where it matters.
    #[must_use]
    pub fn slack(&self) -> String {
        let text = self.text();
        let text = text.trim_end().replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
        json!({ "text": text, "mrkdwn": false }).to_string()
    }

    /// Schema `fleet.notification/1`.
    #[must_use]
    pub fn json(&self) -> String {
        json!({
            "schema": "fleet.notification/1",
            "fleet": self.fleet,
            "topic": self.topic,
            "level": self.level(),
            "title": self.title,
            "at": self.at.to_string(),
            "entries": self.entries,
        })
        .to_string()
    }
}
