//! Events for programs: one JSON object a line on standard output, each flushed at once.
//!
//! Rule of this file: nothing but events is written there. A reader that goes away does not end
//! the run; a disk that is full is told once on standard error.

use std::io::{self, Write};

use crate::event::{Event, Report};

use super::Renderer;
use super::out::Out;

pub struct Json {
    out: Out,
    broken: Option<io::Error>,
    told: bool,
}

impl Json {
    #[must_use]
    pub fn new(out: Out) -> Self {
        Json { out, broken: None, told: false }
    }

    fn write(&mut self, event: &Event) -> io::Result<()> {
        self.out.line(&serde_json::to_string(event)?)?;
        self.out.flush()
    }
}

impl Renderer for Json {
    fn event(&mut self, event: &Event) {
        if self.broken.is_none() {
            self.broken = self.write(event).err();
        }
        if let (Some(error), false) = (&self.broken, self.told) {
            self.told = true;
            super::tell(&format!("error: cannot write events to standard output: {error}\n"));
        }
    }

    fn finish(&mut self, _report: &Report) {}
}

#[cfg(test)]
mod tests {
    use std::io::ErrorKind;

    use super::super::demo;
    use super::super::out::tests::Sink;
    use super::*;

    #[test]
    fn each_line_reads_back_as_the_event_that_it_was() {
        let sink = Sink::new(usize::MAX, ErrorKind::BrokenPipe);
        let mut json = Json::new(Out::new(Box::new(sink.clone())));
        let events: Vec<Event> = demo::script(8).into_iter().map(|beat| beat.event).collect();
        for event in &events {
            json.event(event);
        }
        let text = sink.text();
        let back: Vec<Event> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(back, events);
        for line in text.lines() {
            let value: serde_json::Value = serde_json::from_str(line).unwrap();
            for key in ["schema", "at", "run", "type"] {
                assert!(value[key].is_string(), "{key} in {line}");
            }
        }
        insta::assert_snapshot!(text.lines().next().unwrap(), @r#"{"schema":"fleet.event/1","at":"2026-11-20T10:15:00.000Z","run":"20261120-101500-demo","type":"run-started","verb":"provision","who":"marie@atelier","clients":["client-1","client-2","client-3","client-4","client-5","client-6","client-7","client-8"]}"#);
    }

    #[test]
    fn a_reader_that_leaves_ends_the_writing_and_nothing_else() {
        let sink = Sink::new(400, ErrorKind::BrokenPipe);
        let mut json = Json::new(Out::new(Box::new(sink.clone())));
        for beat in demo::script(8) {
            json.event(&beat.event);
        }
        assert!(json.out.closed() && json.broken.is_none());
        assert!(sink.text().lines().all(|line| serde_json::from_str::<Event>(line).is_ok()));
    }
}
