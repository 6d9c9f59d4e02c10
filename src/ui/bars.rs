//! The board on a terminal, drawn by indicatif: a bar for each row that moves.
//!
//! Rule of this file: one forced draw a frame, so that all rows are of the same moment. Lines for good
//! are written while the bars are away: indicatif's own `println` fills each line with spaces up to
//! the edge, where a later resize wraps it and a copy of it runs into the next line.

use std::fmt;
use std::io::{self, Write};

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressState, ProgressStyle};

use super::board::{BYTES, Row, Who, run_bar, step_bar};
use super::style::Look;
use super::text::{self, Line};

/// Draws a second that indicatif makes of its own; a frame is forced.
pub const OWN_DRAWS: u8 = 1;

const SPINNER: [&str; 11] = ["⠋", "⠙", "⠹", "⠸", "⠼", "⠴", "⠦", "⠧", "⠇", "⠏", " "];
const SPINNER_ASCII: [&str; 5] = ["|", "/", "-", "\\", " "];

pub struct Bars {
    all: MultiProgress,
    sink: Box<dyn Write + Send>,
    shown: Vec<Shown>,
}

struct Shown {
    who: Who,
    bar: ProgressBar,
    /// What its style was made for: whether it counts, and the columns of the screen.
    style: Option<(bool, usize)>,
}

impl Bars {
    /// `sink` writes to the same terminal as `target`.
    pub fn new(target: ProgressDrawTarget, sink: Box<dyn Write + Send>) -> Self {
        Bars { all: MultiProgress::with_draw_target(target), sink, shown: Vec::new() }
    }

    /// Writes `above` for good and shows the rows below.
    pub fn frame(&mut self, above: &[Line], rows: &[Row], look: &Look) -> io::Result<()> {
        if above.is_empty() && rows.is_empty() && self.shown.is_empty() {
            return Ok(());
        }
        if !above.is_empty() || rows.is_empty() {
            self.all.clear()?;
        }
        let fit = |line: &Line| line.clone().fit(look.width - 1, look.ellipsis()).paint(look) + "\r\n";
        let text: String = above.iter().map(fit).collect();
        self.sink.write_all(text.as_bytes())?;
        self.shown.retain(|shown| {
            let stays = rows.iter().any(|row| row.who == shown.who);
            if !stays {
                self.all.remove(&shown.bar);
            }
            stays
        });
        for (at, row) in rows.iter().enumerate() {
            if self.shown.get(at).is_none_or(|shown| shown.who != row.who) {
                let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::hidden());
                let bar = self.all.insert(at, bar);
                self.shown.insert(at, Shown { who: row.who, bar, style: None });
            }
            self.shown[at].show(row, look);
        }
        if let Some(last) = self.shown.last() {
            last.bar.force_draw();
        }
        Ok(())
    }
}

impl Shown {
    fn show(&mut self, row: &Row, look: &Look) {
        let wanted = (row.progress.is_some(), look.width);
        if self.style != Some(wanted) {
            self.style = Some(wanted);
            self.bar.set_style(style(row, look));
            self.bar.reset_eta();
        }
        if let Some((done, total)) = row.progress {
            self.bar.set_length(total);
            self.bar.set_position(done.min(total));
        }
        self.bar.set_prefix(row.left.paint(look));
        self.bar.set_message(row.right.paint(look));
        self.bar.tick();
    }
}

fn style(row: &Row, look: &Look) -> ProgressStyle {
    let colors = if look.color { ".green/dim" } else { "" };
    let template = match (row.who, row.progress) {
        (Who::All, _) => format!("{{bar:{}{colors}}}{{prefix}}{{msg}}", run_bar(look)),
        (Who::More, _) => "{prefix}".to_owned(),
        (Who::Host(_), None) => "{spinner} {prefix}{msg}".to_owned(),
        (Who::Host(_), Some(_)) => {
            format!("{{spinner}} {{prefix}}{{bar:{}{colors}}} {{rate:>{BYTES}}}  {{msg}}", step_bar(look))
        }
    };
    let spinner: &[&str] = if look.unicode { &SPINNER } else { &SPINNER_ASCII };
    ProgressStyle::with_template(&template)
        .unwrap_or_else(|_| ProgressStyle::default_spinner())
        .tick_strings(spinner)
        .progress_chars(if look.unicode { "━─" } else { "#-" })
        .with_key("rate", |state: &ProgressState, out: &mut dyn fmt::Write| {
            let (done, total) = (text::bytes(state.pos()), text::bytes(state.len().unwrap_or_default()));
            let _ = write!(out, "{done}/{total} {}/s", text::bytes(state.per_sec() as u64));
        })
}
