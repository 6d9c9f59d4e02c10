//! Lines of logs on the screen: whose they are, in front of what they say.

use std::io::{self, Write as _};
use std::thread::JoinHandle;

use regex::bytes::Regex;
use tokio::sync::mpsc::{Receiver, Sender, channel};

use super::super::App;
use super::super::context::Fleet;
use crate::ops::logs::Line;
use crate::registry::Client;
use crate::secret::Redactor;
use crate::ui::{self, Look, Out, Role};

/// Lines on the way to the printer.
const WAITING: usize = 64;
/// Written at once at most, in bytes.
const AT_ONCE: usize = 64 << 10;
/// A longer name of a service moves only its own line.
const WIDEST_SERVICE: usize = 20;

/// How lines are shown.
pub struct Shown {
    look: Look,
    json: bool,
    timestamps: bool,
    grep: Option<Regex>,
    names: Vec<String>,
    redactors: Vec<Redactor>,
    /// Columns of names of clients (none when there is one client) and services.
    columns: (usize, usize),
}

impl Shown {
    pub fn new(
        app: &App,
        fleet: &Fleet,
        clients: &[&Client],
        services: &[String],
        grep: Option<Regex>,
        timestamps: bool,
    ) -> Shown {
        let names: Vec<String> = clients.iter().map(|client| client.name.to_string()).collect();
        let longest = |names: &[String]| names.iter().map(String::len).max().unwrap_or(0);
        let many = if names.len() > 1 { longest(&names) } else { 0 };
        let columns = (many, longest(services).min(WIDEST_SERVICE));
        // Without the key to the secrets there is nothing to compare with; the hosts answer all the same.
        let vault = fleet.vault().ok();
        let secrets = |name: &String| vault.as_ref()?.read_optional(name).ok()?;
        let redactors =
            names.iter().map(|name| secrets(name).map(|known| known.redactor()).unwrap_or_default());
        let redactors = redactors.collect();
        Shown { look: app.stdout, json: app.global.json, timestamps, grep, names, redactors, columns }
    }

    /// `None` for a line that was not asked for.
    pub fn line(&self, client: usize, line: &Line) -> Option<String> {
        let text = self.redactors[client].redact(&line.text);
        if self.grep.as_ref().is_some_and(|grep| !grep.is_match(text.as_bytes())) {
            return None;
        }
        let at = line.at.strftime("%Y-%m-%dT%H:%M:%S.%3fZ").to_string();
        let name = &self.names[client];
        if self.json {
            let record = serde_json::json!({ "schema": "fleet.log/1", "client": name, "service": line.service,
                "container": line.container, "at": at, "line": text });
            return Some(record.to_string());
        }
        let mut out = String::new();
        let at = if self.timestamps { self.look.paint(Role::Faint, &at) + " " } else { String::new() };
        if self.look.plain {
            let whose = if self.columns.0 > 0 { format!("{name} ") } else { String::new() };
            return Some(format!("{at}{whose}{}: {text}", line.service));
        }
        // Colours tell clients apart, or services where there is one client.
        let (whose, which) = self.columns;
        let service = format!("{:which$}", line.service);
        if whose > 0 {
            out.push_str(&self.look.paint(Role::hue(client), &format!("{name:whose$}")));
            out.push(' ');
            out.push_str(&service);
        } else {
            let hue = line.service.bytes().map(usize::from).sum();
            out.push_str(&self.look.paint(Role::hue(hue), &service));
        }
        Some(format!("{out} | {at}{text}"))
    }

    pub fn cut(&self, client: usize, why: &str) {
        ui::tell(&format!("{}: {}; trying again\n", self.names[client], ui::flat(why)));
    }

    pub fn there(&self, client: usize, seconds: u64) {
        ui::tell(&format!("{}: connected after {}\n", self.names[client], ui::whole_seconds(seconds)));
    }

    pub fn again(&self, client: usize, seconds: u64) {
        let name = &self.names[client];
        ui::tell(&format!(
            "{name}: connected again after {}; its logs go on where they were cut\n",
            ui::whole_seconds(seconds)
        ));
    }
}

/// Writes in a thread of its own, so that a slow reader holds up nothing but the lines.
pub struct Printer(JoinHandle<io::Result<()>>);

impl Printer {
    pub fn start() -> (Printer, Sender<String>) {
        let (into, lines) = channel(WAITING);
        (Printer(std::thread::spawn(move || print(lines, Out::stdout()))), into)
    }

    /// Waits until all is written.
    ///
    /// # Errors
    /// When standard output cannot be written.
    pub fn end(self) -> io::Result<()> {
        self.0.join().unwrap_or_else(|_| Err(io::Error::other("the printer of log lines ended by a fault")))
    }
}

/// Ends when nothing more comes, or when the reader is gone.
fn print(mut lines: Receiver<String>, mut out: Out) -> io::Result<()> {
    while let Some(line) = lines.blocking_recv() {
        let mut text = line + "\n";
        while text.len() < AT_ONCE
            && let Ok(line) = lines.try_recv()
        {
            text.push_str(&line);
            text.push('\n');
        }
        out.write_all(text.as_bytes())?;
        out.flush()?;
        if out.closed() {
            break;
        }
    }
    Ok(())
}
