//! The only room that a person sees: renderers of the one event stream, tables, errors.
//!
//! Rule of this room: standard output is data, standard error is progress. How a stream may look
//! is decided once in [`style`]; renderers read events and know nothing of what emits them.

use std::io::Write;

use crate::event::{Event, Report};

mod bars;
mod board;
mod demo;
pub mod error;
pub mod json;
pub mod lines;
pub mod out;
mod screen;
pub mod style;
pub mod summary;
pub mod table;
pub mod terminal;
mod text;

pub use demo::{demo, demo_with};
pub use error::HintExt;
pub use out::Out;
pub use screen::{Screen, keys};
pub use style::{ColorChoice, Look, Role, Symbol, Wanted};
pub use summary::{detail, summary};
pub use table::{Cell, Column, Table};
pub use text::{bytes, fit as fitted, flat, names, seconds, whole_seconds, wrap as wrapped};

/// Shows a run while it happens, then what it came to.
pub trait Renderer: Send {
    fn event(&mut self, event: &Event);

    /// Clears what moves, so that a plan and a question can be shown; returns once it is gone.
    fn pause(&mut self) {}

    /// Goes on after [`Renderer::pause`].
    fn resume(&mut self) {}

    /// Says something that is no event, such as the answer to a signal. Never written into the
    /// middle of what moves.
    fn say(&mut self, text: &str) {
        tell(&format!("{}\n", text.trim_end()));
    }

    /// After the last event; called once.
    fn finish(&mut self, report: &Report);
}

/// What decides how a run is shown.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// Events as JSON on standard output, and nothing else.
    pub json: bool,
    /// What hosts print is shown too.
    pub verbose: bool,
    /// How standard error may look.
    pub look: Look,
}

#[must_use]
pub fn renderer(settings: &Settings) -> Box<dyn Renderer> {
    if settings.json {
        Box::new(json::Json::new(Out::stdout()))
    } else if settings.look.animate {
        Box::new(terminal::Terminal::stderr(settings.look, settings.verbose))
    } else {
        Box::new(lines::Lines::stderr(settings.look, settings.verbose))
    }
}

/// For commands that only look and answer with a table of their own: bars while it lasts, and
/// nothing that stays.
#[must_use]
pub fn glance(look: Look) -> Box<dyn Renderer> {
    if look.animate { Box::new(terminal::Terminal::stderr(look, false).fleeting()) } else { silent() }
}

/// Shows nothing of a run.
#[must_use]
pub fn silent() -> Box<dyn Renderer> {
    Box::new(Silent)
}

struct Silent;

impl Renderer for Silent {
    fn event(&mut self, _event: &Event) {}

    fn finish(&mut self, _report: &Report) {}
}

/// Says something on standard error. That nobody can hear it is no reason to fail.
pub fn tell(text: &str) {
    tell_bytes(text.as_bytes());
}

/// The same for what is no text.
pub fn tell_bytes(bytes: &[u8]) {
    let _ = std::io::stderr().write_all(bytes);
}
