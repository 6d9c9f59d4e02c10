//! A run on a terminal: finished clients above, the board of those that run below.
//!
//! Rule of this file: events only change the state; one thread draws it ten times a second, so that
//! neither a storm of events nor a slow terminal holds up the run.

use std::collections::VecDeque;
use std::io::{self, Write};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Instant;

use crate::event::{Event, EventKind, Report};

use super::Renderer;
use super::board::{Board, TICK};
use super::screen::Screen;
use super::style::{Look, Role, size_of};
use super::summary::summary;
use super::text::Line;

/// Lines that wait for the screen; beyond these, what hosts print is dropped here (the journal has it).
const MOST_WAITING: usize = 2_000;

/// What events change and the drawing thread reads.
struct State {
    board: Board,
    look: Look,
    /// Lines to print for good, and whether each may be dropped.
    above: VecDeque<(Line, bool)>,
    dropped: usize,
    stop: bool,
}

struct Shared {
    state: Mutex<State>,
    wake: Condvar,
    start: Instant,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn event(&mut self, event: &Event, start: Instant) {
        let spare = matches!(event.kind, EventKind::Output { .. });
        let look = self.look;
        for line in self.board.event(event, start.elapsed(), &look) {
            if spare && self.above.len() >= MOST_WAITING {
                self.dropped += 1;
            } else {
                self.above.push_back((line, spare));
            }
        }
    }

    fn take_above(&mut self) -> Vec<Line> {
        let mut lines: Vec<Line> = self.above.drain(..).map(|(line, _)| line).collect();
        if self.dropped > 0 {
            let text = format!("({} lines not shown; the journal has them)", self.dropped);
            lines.push(Line::new().with(Role::Faint, text));
            self.dropped = 0;
        }
        lines
    }
}

pub struct Terminal {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

impl Terminal {
    /// Draws on standard error.
    #[must_use]
    pub fn stderr(look: Look, verbose: bool) -> Self {
        let size = move || {
            let (columns, rows) = size_of(&io::stderr());
            let columns = if look.fixed { 0 } else { columns };
            (columns, rows)
        };
        Terminal::new(io::stderr(), size, look, verbose)
    }

    /// `size` is asked before each frame for columns and rows; zero leaves them as they are.
    fn new<W, S>(sink: W, size: S, look: Look, verbose: bool) -> Self
    where
        W: Write + Send + 'static,
        S: Fn() -> (usize, usize) + Send + 'static,
    {
        let board = Board::new(verbose);
        let state = State { board, look, above: VecDeque::new(), dropped: 0, stop: false };
        let shared =
            Arc::new(Shared { state: Mutex::new(state), wake: Condvar::new(), start: Instant::now() });
        let drawn = Arc::clone(&shared);
        let thread = std::thread::Builder::new()
            .name("screen".to_owned())
            .spawn(move || draw(&drawn, Screen::new(sink), &size))
            .ok();
        Terminal { shared, thread }
    }

    /// Takes the board off the screen; what was printed above it stays.
    fn stop(&mut self) {
        self.shared.lock().stop = true;
        self.shared.wake.notify_all();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn draw<W: Write>(shared: &Shared, mut screen: Screen<W>, size: &dyn Fn() -> (usize, usize)) {
    loop {
        let (columns, rows) = size();
        let mut state = shared.lock();
        if columns > 0 {
            state.look.width = columns.max(20);
        }
        if rows > 0 {
            state.look.rows = rows;
        }
        let look = state.look;
        let (stop, above) = (state.stop, state.take_above());
        let block = if stop { Vec::new() } else { state.board.lines(shared.start.elapsed(), &look) };
        // Nobody waits for the terminal but this thread.
        drop(state);
        if screen.frame(&above, &block, &look).is_err() || stop {
            return;
        }
        let state = shared.lock();
        if !state.stop {
            drop(shared.wake.wait_timeout(state, TICK));
        }
    }
}

impl Renderer for Terminal {
    fn event(&mut self, event: &Event) {
        self.shared.lock().event(event, self.shared.start);
    }

    fn finish(&mut self, report: &Report) {
        self.stop();
        let look = self.shared.lock().look;
        super::tell(&format!("\n{}", summary(report, &look, true)));
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        self.stop();
    }
}

#[cfg(test)]
mod tests;
