//! A run on a terminal: finished clients above, the board of those that run below.
//!
//! Rule of this file: events only change the state; one thread draws it ten times a second, so that
//! neither a storm of events nor a slow terminal holds up the run.

use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use indicatif::ProgressDrawTarget;

use crate::event::{Event, EventKind, Report};

use super::Renderer;
use super::bars::{Bars, OWN_DRAWS};
use super::board::Board;
use super::style::{Look, Role, size_of};
use super::summary::summary;
use super::text::{self, Line};

/// Time between two frames.
const TICK: Duration = Duration::from_millis(100);
/// Longest wait for a terminal that does not take what is written to it, such as one held by Ctrl-S.
const PATIENCE: Duration = Duration::from_secs(2);
/// Lines that wait for the screen; beyond these, what hosts print is dropped here (the journal has it).
const MOST_WAITING: usize = 2_000;

/// What events change and the drawing thread reads.
struct State {
    board: Board,
    look: Look,
    /// Lines to print for good.
    above: VecDeque<Line>,
    dropped: usize,
    /// Nothing is printed for good.
    fleeting: bool,
    paused: bool,
    /// The board is off the screen, as asked for, or the screen itself is gone.
    cleared: bool,
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
    fn new(board: Board, look: Look) -> Self {
        let above = VecDeque::new();
        State { board, look, above, dropped: 0, fleeting: false, paused: false, cleared: false, stop: false }
    }

    fn event(&mut self, event: &Event, start: Instant) {
        let spare = matches!(event.kind, EventKind::Output { .. });
        let look = self.look;
        for line in self.board.event(event, start.elapsed(), &look) {
            if self.fleeting {
                continue;
            }
            if spare && self.above.len() >= MOST_WAITING {
                self.dropped += 1;
            } else {
                self.above.push_back(line);
            }
        }
    }

    fn take_above(&mut self) -> Vec<Line> {
        let mut lines: Vec<Line> = self.above.drain(..).collect();
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
    /// Draws on standard error, whose width is asked for before each frame.
    #[must_use]
    pub fn stderr(look: Look, verbose: bool) -> Self {
        let bars = Bars::new(ProgressDrawTarget::stderr_with_hz(OWN_DRAWS), Box::new(io::stderr()));
        Terminal::new(bars, || size_of(&io::stderr()), look, verbose)
    }

    /// `size` is asked for columns and rows; zero leaves them as they are.
    fn new<S>(bars: Bars, size: S, look: Look, verbose: bool) -> Self
    where
        S: Fn() -> (usize, usize) + Send + 'static,
    {
        let state = State::new(Board::new(verbose), look);
        let shared =
            Arc::new(Shared { state: Mutex::new(state), wake: Condvar::new(), start: Instant::now() });
        let drawn = Arc::clone(&shared);
        let thread = std::thread::Builder::new()
            .name("screen".to_owned())
            .spawn(move || draw(&drawn, bars, &size))
            .ok();
        Terminal { shared, thread }
    }

    /// Leaves nothing on the screen at its end, not even a summary.
    #[must_use]
    pub fn fleeting(self) -> Self {
        self.shared.lock().fleeting = true;
        self
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

fn draw(shared: &Shared, mut bars: Bars, size: &dyn Fn() -> (usize, usize)) {
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
        let (stop, paused) = (state.stop, state.paused);
        // Nothing is printed into the middle of a question either.
        let above = if paused && state.cleared && !stop { Vec::new() } else { state.take_above() };
        let rows = if stop || paused { Vec::new() } else { state.board.rows(shared.start.elapsed(), &look) };
        // Nobody waits for the terminal but this thread.
        drop(state);
        let gone = bars.frame(&above, &rows, &look).is_err();
        let mut state = shared.lock();
        state.cleared = gone || paused;
        shared.wake.notify_all();
        if gone || stop {
            return;
        }
        if !state.stop {
            drop(shared.wake.wait_timeout(state, TICK));
        }
    }
}

impl Renderer for Terminal {
    fn event(&mut self, event: &Event) {
        self.shared.lock().event(event, self.shared.start);
    }

    fn pause(&mut self) {
        let mut state = self.shared.lock();
        (state.paused, state.cleared) = (true, self.thread.as_ref().is_none_or(JoinHandle::is_finished));
        self.shared.wake.notify_all();
        drop(self.shared.wake.wait_timeout_while(state, PATIENCE, |state| !state.cleared));
    }

    fn resume(&mut self) {
        self.shared.lock().paused = false;
        self.shared.wake.notify_all();
    }

    fn say(&mut self, text: &str) {
        let mut state = self.shared.lock();
        let room = state.look.width.saturating_sub(1);
        let lines = text::clean(text.trim()).into_iter().flat_map(|line| text::wrap(&line, room));
        state.above.extend(lines.map(|line| Line::new().with(Role::Warn, line)));
    }

    fn finish(&mut self, report: &Report) {
        self.resume();
        self.stop();
        let (look, fleeting) = {
            let state = self.shared.lock();
            (state.look, state.fleeting)
        };
        if fleeting {
            return;
        }
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
