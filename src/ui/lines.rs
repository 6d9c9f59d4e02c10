//! A run where nothing can be redrawn: a log, a pipe, a screen reader.
//!
//! Rule of this file: a line once written stays true by itself: each names its client and its step,
//! because lines of many clients are mixed.

use std::collections::HashMap;
use std::io::{self, Write};

use crate::event::{Event, EventKind, Outcome, Report, StepResult};

use super::Renderer;
use super::style::{Look, Role, of_outcome};
use super::summary::{self, detail, summary};
use super::text::{self, Line};

/// With more clients than this, only what goes wrong and what ends is told, unless asked for more.
const CHATTY: usize = 20;

pub struct Lines {
    sink: Box<dyn Write + Send>,
    look: Look,
    verbose: bool,
    /// Columns of the prefixes.
    names: usize,
    clients: usize,
    done: usize,
    /// Position of the running step of each client, such as `docker 3/14`.
    positions: HashMap<String, String>,
}

impl Lines {
    #[must_use]
    pub fn stderr(look: Look, verbose: bool) -> Self {
        Lines::new(Box::new(io::stderr()), look, verbose)
    }

    #[must_use]
    pub fn new(sink: Box<dyn Write + Send>, look: Look, verbose: bool) -> Self {
        Lines { sink, look, verbose, names: 0, clients: 0, done: 0, positions: HashMap::new() }
    }

    fn line(&mut self, client: Option<&str>, line: Line) {
        let lead = match client {
            Some(client) => {
                let client = text::fit(&text::flat(client), self.names, self.look.ellipsis());
                Line::new().with(Role::Faint, text::pad(&client, self.names) + " | ")
            }
            None => Line::new(),
        };
        let text = lead.paint(&self.look) + &line.paint(&self.look) + "\n";
        // A log that cannot be written must not end the run.
        let _ = self.sink.write_all(text.as_bytes());
    }

    fn started(&mut self, run: &str, verb: &str, clients: &[String]) {
        self.names = summary::name_columns(clients.iter().map(String::as_str), &self.look);
        self.clients = clients.len();
        let what = format!("{}: {}", text::flat(verb), text::count(clients.len(), "client"));
        self.line(
            None,
            Line::new().with(Role::Strong, what).with(Role::Faint, format!(", run {}", text::flat(run))),
        );
    }

    fn step_finished(&mut self, client: &str, step: &str, seconds: f64, result: StepResult) {
        let took = text::seconds(seconds);
        let (role, word) = match result {
            StepResult::Done => (Role::Good, format!("ok, {took}")),
            StepResult::Failed => (Role::Bad, format!("failed after {took}")),
            StepResult::Unknown => (Role::Warn, format!("no answer after {took}, its end is unknown")),
            StepResult::Skipped => (Role::Faint, "skipped".to_owned()),
        };
        let quiet = matches!(result, StepResult::Done | StepResult::Skipped) && !self.chatty();
        if !quiet {
            let line = self.step(client, step).with(Role::Text, ": ").with(role, word);
            self.line(Some(client), line);
        }
    }

    fn step(&self, client: &str, step: &str) -> Line {
        let position = self.positions.get(client).map_or("", String::as_str);
        let gap = if position.is_empty() { "" } else { " " };
        Line::new().with(Role::Faint, position).with(Role::Text, gap).with(Role::Text, text::flat(step))
    }

    fn finished(&mut self, client: &str, outcome: &Outcome, seconds: f64) {
        self.done += 1;
        let after = if outcome.fault().is_some() { "after" } else { "in" };
        let mut said = format!(" {after} {}", text::seconds(seconds));
        let detail = detail(outcome);
        if !detail.is_empty() {
            said = format!("{said}: {detail}");
        }
        let count = format!(" [{}/{}]", self.done, self.clients);
        let line = summary::mark(outcome, &self.look).with(of_outcome(outcome).1, outcome.word());
        self.line(Some(client), line.with(Role::Text, said).with(Role::Faint, count));
    }

    fn chatty(&self) -> bool {
        self.verbose || self.clients <= CHATTY
    }

    fn of_client(&mut self, client: &str, kind: &EventKind) {
        let said = match kind {
            EventKind::HostStarted if self.chatty() => "connecting ...".to_owned(),
            EventKind::HostConnected { host_key, recorded, seconds } if *recorded || self.chatty() => {
                let key = if *recorded { format!(", new host key {host_key}") } else { String::new() };
                format!("connected in {}{key}", text::seconds(*seconds))
            }
            EventKind::StepStarted { stage, step, index, total } => {
                let position = text::flat(&format!("{stage} {index}/{total}")).trim_start().to_owned();
                self.positions.insert(client.to_owned(), position);
                if self.chatty() {
                    let line = self.step(client, step).with(Role::Faint, " ...");
                    self.line(Some(client), line);
                }
                return;
            }
            EventKind::StepFinished { step, seconds, result } => {
                return self.step_finished(client, step, *seconds, *result);
            }
            EventKind::Output { line, .. } if self.verbose => format!("  {line}"),
            EventKind::ServiceAway { service, seconds } if self.chatty() => {
                format!("{service} was away for {}", text::seconds(*seconds))
            }
            EventKind::Warning { message, hint } => {
                return self.warning(Some(client), message, hint.as_deref());
            }
            EventKind::HostFinished { outcome, seconds } => return self.finished(client, outcome, *seconds),
            _ => return,
        };
        self.line(Some(client), Line::new().with(Role::Text, text::flat(&said)));
    }

    fn warning(&mut self, client: Option<&str>, message: &str, hint: Option<&str>) {
        self.line(client, Line::new().with(Role::Warn, "warning: ").with(Role::Text, text::flat(message)));
        if let Some(hint) = hint {
            self.line(client, Line::new().with(Role::Note, "next: ").with(Role::Text, text::flat(hint)));
        }
    }
}

impl Renderer for Lines {
    fn event(&mut self, event: &Event) {
        match (&event.kind, &event.client) {
            (EventKind::RunStarted { verb, clients, .. }, _) => self.started(&event.run, verb, clients),
            (kind, Some(client)) => self.of_client(client, kind),
            (kind @ (EventKind::ImageBuilding { .. } | EventKind::ImageBuilt { .. }), None) => {
                let said = summary::image(kind);
                self.line(None, Line::new().with(Role::Text, said));
            }
            (EventKind::Warning { message, hint }, None) => self.warning(None, message, hint.as_deref()),
            (_, None) => {}
        }
    }

    fn say(&mut self, text: &str) {
        for line in text::clean(text.trim()) {
            self.line(None, Line::new().with(Role::Warn, line));
        }
    }

    fn finish(&mut self, report: &Report) {
        let text = format!("\n{}", summary(report, &self.look, false));
        let _ = self.sink.write_all(text.as_bytes());
        let _ = self.sink.flush();
    }
}

#[cfg(test)]
mod tests {
    use std::io::ErrorKind;

    use super::super::demo;
    use super::super::out::tests::Sink;
    use super::super::style::tests::look;
    use super::*;

    fn play(clients: usize, verbose: bool, look: Look) -> String {
        let sink = Sink::new(usize::MAX, ErrorKind::BrokenPipe);
        let mut lines = Lines::new(Box::new(sink.clone()), look, verbose);
        let mut report = Report::default();
        for beat in demo::script(clients) {
            report.fold(&beat.event);
            lines.event(&beat.event);
        }
        lines.finish(&report);
        sink.text()
    }

    fn away() -> Look {
        Look { terminal: false, animate: false, clip: false, ..look(80, 50) }
    }

    #[test]
    fn every_line_says_whose_it_is() {
        insta::assert_snapshot!(play(3, false, away()), @r#"
        provision: 3 clients, run 20261120-101500-demo
        client-1 | connecting ...
        client-2 | connecting ...
        client-3 | connecting ...
        client-1 | connected in 0.4 s, new host key SHA256:vJ4wvJ4wvJ4wvJ4wvJ4wvJ4wvJ4wvJ4wvJ4wvJ4w
        client-1 | base 1/3 wait for cloud-init ...
        client-2 | connected in 0.6 s
        client-2 | base 1/3 wait for cloud-init ...
        client-1 | base 1/3 wait for cloud-init: ok, 0.3 s
        client-1 | base 2/3 install packages ...
        client-3 | connected in 0.8 s
        client-3 | base 1/3 wait for cloud-init ...
        client-2 | base 1/3 wait for cloud-init: ok, 0.5 s
        client-2 | base 2/3 install packages ...
        client-3 | base 1/3 wait for cloud-init: ok, 0.4 s
        client-3 | base 2/3 install packages ...
        client-2 | base 2/3 install packages: ok, 2.2 s
        client-2 | base 3/3 open the firewall ...
        client-1 | base 2/3 install packages: ok, 2.9 s
        client-1 | base 3/3 open the firewall ...
        client-2 | base 3/3 open the firewall: ok, 0.5 s
        client-2 | docker 1/2 install docker ...
        client-1 | base 3/3 open the firewall: ok, 0.6 s
        client-1 | docker 1/2 install docker ...
        client-3 | base 2/3 install packages: ok, 3.7 s
        client-3 | base 3/3 open the firewall ...
        client-3 | base 3/3 open the firewall: ok, 0.3 s
        client-3 | docker 1/2 install docker ...
        client-2 | docker 1/2 install docker: ok, 4.5 s
        client-2 | docker 2/2 start docker ...
        client-3 | docker 1/2 install docker: failed after 3.7 s
        client-1 | docker 1/2 install docker: ok, 5.3 s
        client-1 | docker 2/2 start docker ...
        client-2 | docker 2/2 start docker: ok, 1.2 s
        client-2 | release 1/7 push the source ...
        client-3 | ✗ failed after 9.5 s: install docker: apt-get ended with status 100 [1/3]
        client-1 | docker 2/2 start docker: ok, 0.8 s
        client-1 | release 1/7 push the source ...
        client-2 | release 1/7 push the source: ok, 2.0 s
        client-2 | release 2/7 write the rendered files ...
        client-2 | release 2/7 write the rendered files: ok, 0.3 s
        client-2 | release 3/7 build the images ...
        client-1 | release 1/7 push the source: ok, 2.5 s
        client-1 | release 2/7 write the rendered files ...
        client-1 | release 2/7 write the rendered files: ok, 0.4 s
        client-1 | release 3/7 build the images ...
        client-1 | release 3/7 build the images: ok, 4.1 s
        client-1 | release 4/7 dump the database ...
        client-1 | release 4/7 dump the database: ok, 0.8 s
        client-1 | release 5/7 apply the migrations ...
        client-2 | release 3/7 build the images: ok, 6.5 s
        client-2 | release 4/7 dump the database ...
        client-1 | release 5/7 apply the migrations: ok, 0.7 s
        client-1 | release 6/7 roll out api ...
        client-2 | release 4/7 dump the database: ok, 0.6 s
        client-2 | release 5/7 apply the migrations ...
        client-2 | release 5/7 apply the migrations: ok, 0.6 s
        client-2 | release 6/7 roll out api ...
        client-1 | release 6/7 roll out api: ok, 1.3 s
        client-1 | release 7/7 wait until healthy ...
        client-2 | release 6/7 roll out api: ok, 2.2 s
        client-2 | release 7/7 wait until healthy ...
        client-1 | release 7/7 wait until healthy: ok, 2.0 s
        client-1 | ✓ changed in 22 s: release 20261120-101500 serves [2/3]
        client-2 | release 7/7 wait until healthy: ok, 1.5 s
        client-2 | warning: the disk is 91 % full
        client-2 | next: free some space: `fleet ssh client-2 -- docker system df`
        client-2 | ✓ changed in 23 s: release 20261120-101500 serves [3/3]

        ✗ client-3 failed at "install docker" after 9.5 s
            apt-get ended with status 100
            │ Reading package lists...
            │ E: Could not get lock /var/lib/dpkg/lock-frontend. It is held by process 812
            │ E: Unable to acquire the dpkg frontend lock
            next: wait for the other package manager to end, then run the same command
                  again

        ✓ client-1  changed           22 s  release 20261120-101500 serves
        ✓ client-2  changed           23 s  release 20261120-101500 serves

        1 new host key recorded in known_hosts:
          client-1  SHA256:vJ4wvJ4wvJ4wvJ4wvJ4wvJ4wvJ4wvJ4wvJ4wvJ4w

        ! client-2: the disk is 91 % full
          next: free some space: `fleet ssh client-2 -- docker system df`

        3 clients: 2 changed, 1 failed in 23 s (fleet runs show 20261120-101500-demo)
        "#);
    }

    #[test]
    fn what_hosts_print_is_shown_when_asked_for() {
        let quiet = play(3, false, away());
        let verbose = play(3, true, away());
        assert!(!quiet.contains("Get:1"));
        assert!(verbose.contains("client-1 |   Get:1"), "{verbose}");
    }

    #[test]
    fn many_clients_are_told_of_by_what_goes_wrong_and_what_ends() {
        let text = play(60, false, away());
        let (run, _) = text.split_once("\n\n").unwrap();
        assert!(run.lines().all(|line| !line.ends_with("...") && !line.contains(": ok,")), "{run}");
        assert_eq!(run.lines().filter(|line| line.ends_with("/60]")).count(), 60);
        assert!(run.contains(": failed after"));
    }

    #[test]
    fn plain_words_alone_carry_the_meaning() {
        let plain = Look { plain: true, unicode: false, ..away() };
        let text = play(8, false, plain);
        assert!(text.is_ascii(), "{text}");
        assert!(!text.lines().any(|line| line.starts_with(['+', 'x', '=', '!', '?'])), "{text}");
    }

    #[test]
    fn a_hostile_name_or_line_stays_harmless() {
        let sink = Sink::new(usize::MAX, ErrorKind::BrokenPipe);
        let mut lines = Lines::new(Box::new(sink.clone()), away(), true);
        let mut report = Report::default();
        for mut beat in demo::script(8) {
            let text = serde_json::to_string(&beat.event).unwrap();
            let text = text
                .replace("install", "\\u001b[2J\\u001b]0;x\\u0007\\r\\u202e")
                .replace("Get:1", "\\u009b2J");
            beat.event = serde_json::from_str(&text).unwrap();
            report.fold(&beat.event);
            lines.event(&beat.event);
        }
        lines.finish(&report);
        let bad: Vec<char> = sink.text().chars().filter(|char| char.is_control() && *char != '\n').collect();
        assert!(bad.is_empty(), "{bad:?}");
        assert!(!sink.text().contains('\u{202e}'));
    }
}
