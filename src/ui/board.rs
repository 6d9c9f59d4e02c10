//! The part of the screen that moves: which clients run, what each does, how far the run is.
//!
//! Rule of this file: pure. Events come in with the time since the start, rows go out; a client
//! keeps its row while it runs, so that nothing jumps.

use std::collections::HashMap;
use std::time::Duration;

use crate::event::{Event, EventKind, Outcome, StepResult};

use super::style::{Look, Role, of_outcome};
use super::summary;
use super::text::{self, Line};

/// What one client is doing.
#[derive(Clone, Debug, Default)]
struct Running {
    /// Such as `docker 3/14`.
    position: String,
    title: String,
    progress: Option<(u64, Option<u64>)>,
    since: Duration,
}

#[derive(Debug)]
struct Host {
    name: String,
    running: Option<Running>,
    done: bool,
}

/// The state of a run as the screen shows it.
#[derive(Debug, Default)]
pub struct Board {
    verb: String,
    hosts: Vec<Host>,
    index: HashMap<String, usize>,
    /// Columns of the longest name.
    longest: usize,
    /// Lines of the screen and the client that holds each.
    slots: Vec<Option<usize>>,
    /// Running without a line, the longest first.
    queue: Vec<usize>,
    counts: Vec<(Outcome, usize)>,
    done: usize,
    verbose: bool,
    /// Columns that the positions took so far; they only grow, so that the titles stay aligned.
    position_width: usize,
    started: Duration,
}

/// Whose row it is, so that a bar stays with its client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Who {
    Host(usize),
    /// Those that run without a row.
    More,
    /// The whole run.
    All,
}

/// One row that moves: text on both sides of what is drawn by `bars`. With that it fills the screen
/// but for one column.
#[derive(Clone, Debug)]
pub struct Row {
    pub who: Who,
    pub left: Line,
    pub right: Line,
    /// Bytes of a step, or clients of the run: done and total.
    pub progress: Option<(u64, u64)>,
}

/// Lines that the board leaves to what was printed above it.
const ABOVE: usize = 4;
/// Columns of the spinner and the space behind it.
pub const SPINNER: usize = 2;

/// Columns of the bar of a step that counts bytes.
pub fn step_bar(look: &Look) -> usize {
    if look.width >= 120 { 24 } else { 8 }
}

/// Columns of the bar of the whole run.
pub fn run_bar(look: &Look) -> usize {
    (look.width / 6).clamp(8, 30)
}

/// Columns of "41 MB/123 MB 4.1 MB/s".
pub const BYTES: usize = 23;

impl Board {
    #[must_use]
    pub fn new(verbose: bool) -> Self {
        Board { verbose, ..Board::default() }
    }

    /// Takes an event in; what it gives back is printed for good above the board.
    pub fn event(&mut self, event: &Event, now: Duration, look: &Look) -> Vec<Line> {
        let client = event.client.as_deref().and_then(|name| self.index.get(name).copied());
        match (&event.kind, client) {
            (EventKind::RunStarted { verb, clients, .. }, _) => self.start(verb, clients, now),
            (EventKind::HostFinished { outcome, seconds }, Some(at)) => {
                return self.finish(at, outcome, *seconds, look);
            }
            (EventKind::Output { line, .. }, Some(at)) if self.verbose => {
                return self.output(at, line, look);
            }
            (kind, Some(at)) => self.progress(at, kind, now),
            (kind @ (EventKind::ImageBuilding { .. } | EventKind::ImageBuilt { .. }), None) => {
                return vec![Line::new().with(Role::Text, summary::image(kind))];
            }
            (_, None) => {}
        }
        Vec::new()
    }

    fn start(&mut self, verb: &str, clients: &[String], now: Duration) {
        let verbose = self.verbose;
        *self = Board { verb: verb.to_owned(), verbose, started: now, ..Board::default() };
        self.hosts =
            clients.iter().map(|name| Host { name: name.clone(), running: None, done: false }).collect();
        self.index = clients.iter().cloned().zip(0..).collect();
        self.longest = clients.iter().map(|name| text::width(name)).max().unwrap_or(0);
    }

    fn progress(&mut self, at: usize, kind: &EventKind, now: Duration) {
        let host = &mut self.hosts[at];
        if host.done {
            return;
        }
        if host.running.is_none() {
            self.queue.push(at);
        }
        let running = host.running.get_or_insert_with(|| Running {
            title: "connecting".to_owned(),
            since: now,
            ..Running::default()
        });
        match kind {
            EventKind::HostConnected { .. } => {
                *running =
                    Running { title: "connected, looking".to_owned(), since: now, ..Running::default() };
            }
            EventKind::StagePlanned { stage, steps, .. } => {
                let title = format!("planned, {}", text::count(*steps, "step"));
                *running = Running { position: text::flat(stage), title, progress: None, since: now };
            }
            EventKind::StepStarted { stage, step, index, total } => {
                let position = text::flat(&format!("{stage} {index}/{total}"));
                *running = Running { position, title: text::flat(step), progress: None, since: now };
            }
            EventKind::StepProgress { done, total } => running.progress = Some((*done, *total)),
            EventKind::StepFinished { result: StepResult::Failed, .. } => {
                running.title.push_str(": failed, clearing up");
                running.progress = None;
            }
            _ => {}
        }
        self.position_width = self.position_width.max(text::width(&running.position));
    }

    fn finish(&mut self, at: usize, outcome: &Outcome, seconds: f64, look: &Look) -> Vec<Line> {
        let host = &mut self.hosts[at];
        if std::mem::replace(&mut host.done, true) {
            return Vec::new();
        }
        host.running = None;
        self.done += 1;
        self.queue.retain(|waiting| *waiting != at);
        for slot in &mut self.slots {
            if *slot == Some(at) {
                *slot = None;
            }
        }
        match self.counts.iter_mut().find(|(known, _)| known.word() == outcome.word()) {
            Some((_, count)) => *count += 1,
            None => self.counts.push((outcome.clone(), 1)),
        }
        let line = summary::line_of(&self.hosts[at].name, outcome, seconds, self.names(look), look);
        vec![line]
    }

    fn output(&mut self, at: usize, line: &str, look: &Look) -> Vec<Line> {
        let names = self.names(look);
        let name = text::fit(&text::flat(&self.hosts[at].name), names, look.ellipsis());
        let bar = if look.unicode { " │ " } else { " | " };
        let lead = Line::new().with(Role::Faint, text::pad(&name, names)).with(Role::Faint, bar);
        let room = look.width.saturating_sub(lead.width() + 1);
        text::wrap(&text::flat(line), room)
            .into_iter()
            .map(|part| lead.clone().with(Role::Text, part))
            .collect()
    }

    fn names(&self, look: &Look) -> usize {
        self.longest.min(summary::name_limit(look))
    }

    /// The rows that move.
    pub fn rows(&mut self, now: Duration, look: &Look) -> Vec<Row> {
        if self.hosts.is_empty() || self.done == self.hosts.len() {
            return Vec::new();
        }
        let room = look.rows.saturating_sub(ABOVE).max(1);
        self.seat(room);
        let mut shown: Vec<usize> = self.slots.iter().flatten().copied().collect();
        let mut hidden = self.queue.len();
        // The row that counts the hidden ones takes the place of one more.
        if hidden > 0 && shown.len() == room {
            shown.pop();
            hidden += 1;
        }
        let names = self.names(look);
        let mut rows: Vec<Row> = shown.iter().filter_map(|at| self.row(*at, names, now, look)).collect();
        if hidden > 0 {
            let more = format!("  {} and {hidden} more running", look.ellipsis());
            let left = Line::new().with(Role::Faint, more);
            rows.push(Row { who: Who::More, left, right: Line::new(), progress: None });
        }
        rows.push(self.overall(now, look));
        rows
    }

    /// Gives free lines to those who wait for one.
    fn seat(&mut self, room: usize) {
        for slot in self.slots.drain(room.min(self.slots.len())..).rev() {
            self.queue.splice(0..0, slot);
        }
        let mut waiting = std::mem::take(&mut self.queue).into_iter();
        for slot in &mut self.slots {
            if slot.is_none() {
                *slot = waiting.next();
            }
        }
        self.slots.retain(Option::is_some);
        while self.slots.len() < room {
            let Some(next) = waiting.next() else { break };
            self.slots.push(Some(next));
        }
        self.queue.extend(waiting);
    }

    fn row(&self, at: usize, names: usize, now: Duration, look: &Look) -> Option<Row> {
        let host = &self.hosts[at];
        let running = host.running.as_ref()?;
        let took = text::whole_seconds(now.saturating_sub(running.since).as_secs());
        let ellipsis = look.ellipsis();
        let progress = running.progress.and_then(|(done, total)| Some((done, total.filter(|all| *all > 0)?)));
        let drawn = if progress.is_some() { step_bar(look) + 1 + BYTES + 2 } else { 0 };
        let end = look.width.saturating_sub(1 + SPINNER + drawn + text::width(&took));
        let mut left = Line::new()
            .with(Role::Strong, text::fit(&text::flat(&host.name), names, ellipsis))
            .padded(names + 2);
        // On a narrow screen the title matters more than the number of the step.
        if self.position_width > 0 && look.width >= names + self.position_width + 34 {
            let column = left.width() + self.position_width + 2;
            left = left.with(Role::Faint, running.position.as_str()).padded(column);
        }
        let room = end.saturating_sub(left.width() + 2);
        let left = left.with(Role::Text, text::fit(&running.title, room, ellipsis)).padded(end);
        let left = left.fit(end, ellipsis);
        Some(Row { who: Who::Host(at), left, right: Line::new().with(Role::Faint, took), progress })
    }

    fn overall(&self, now: Duration, look: &Look) -> Row {
        let took = text::whole_seconds(now.saturating_sub(self.started).as_secs());
        let end = look.width.saturating_sub(1 + run_bar(look) + text::width(&took));
        let mut left = Line::new()
            .with(Role::Text, format!("  {} {}/{}", text::flat(&self.verb), self.done, self.hosts.len()));
        let counts =
            self.counts.iter().map(|(outcome, count)| (of_outcome(outcome).1, outcome.word(), *count));
        let running = self.hosts.iter().filter(|host| host.running.is_some()).count();
        let separator = if look.unicode { " · " } else { ", " };
        for (role, word, count) in counts.chain([(Role::Text, "running", running)]) {
            let piece = Line::new().with(Role::Text, separator).with(role, format!("{count} {word}"));
            // What does not fit whole is left out: half a number would mislead.
            if count > 0 && left.width() + piece.width() + 2 <= end {
                left.append(piece);
            }
        }
        let left = left.fit(end.saturating_sub(2), look.ellipsis()).padded(end);
        let progress = Some((self.done as u64, self.hosts.len() as u64));
        Row { who: Who::All, left, right: Line::new().with(Role::Faint, took), progress }
    }
}
