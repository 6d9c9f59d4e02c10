//! A whole screen that is redrawn in place, and keys that are read one by one.
//!
//! Rule of this file: what it changes about the terminal it puts back, however it ends. A frame is written at once over the
//! one before and never onto an emptied screen: that is what would flicker.

use std::io::{self, Read as _, Write as _};
use std::sync::mpsc::Sender;
use std::time::Duration;

use rustix::termios::{LocalModes, OptionalActions, SpecialCodeIndex, Termios, tcgetattr, tcsetattr};

use super::Out;
use super::style::size_of;

/// Another screen, no cursor on it.
const ENTER: &str = "\x1b[?1049h\x1b[?25l";
const LEAVE: &str = "\x1b[?25h\x1b[?1049l";
/// A terminal that knows them shows what is between the two as one change.
const BEGIN: &str = "\x1b[?2026h\x1b[H";
const END: &str = "\x1b[J\x1b[?2026l";

pub struct Screen {
    before: Option<Termios>,
}

impl Screen {
    /// Takes the terminal that standard output is.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn enter() -> io::Result<Screen> {
        let before = tcgetattr(io::stdin()).ok();
        if let Some(before) = &before {
            let mut keys = before.clone();
            // Ctrl-C stays a signal.
            keys.local_modes.remove(LocalModes::ECHO | LocalModes::ICANON);
            // A read ends after two tenths of a second without a key.
            keys.special_codes[SpecialCodeIndex::VMIN] = 0;
            keys.special_codes[SpecialCodeIndex::VTIME] = 2;
            let _ = tcsetattr(io::stdin(), OptionalActions::Now, &keys);
        }
        let screen = Screen { before };
        Out::stdout().write_all(ENTER.as_bytes())?;
        Ok(screen)
    }

    /// Shows these lines from the top; what does not fit below is left out.
    ///
    /// # Errors
    /// When the terminal cannot be written.
    pub fn draw(&self, lines: &[String]) -> io::Result<()> {
        let (_, rows) = size_of(&io::stdout());
        let mut frame = String::from(BEGIN);
        frame.push_str(&frame_of(lines, if rows == 0 { 24 } else { rows }));
        frame.push_str(END);
        let mut out = Out::stdout();
        out.write_all(frame.as_bytes())?;
        out.flush()
    }

    /// Columns and rows as they are now.
    #[must_use]
    pub fn size() -> (usize, usize) {
        size_of(&io::stdout())
    }
}

/// Each line behind the last, the rest of the old one wiped out.
fn frame_of(lines: &[String], rows: usize) -> String {
    let mut frame = String::new();
    for (at, line) in lines.iter().take(rows).enumerate() {
        if at > 0 {
            frame.push_str("\r\n");
        }
        frame.push_str(line);
        frame.push_str("\x1b[K");
    }
    frame
}

impl Drop for Screen {
    fn drop(&mut self) {
        // Nothing better can be done than to try.
        let _ = Out::stdout().write_all(LEAVE.as_bytes());
        if let Some(before) = &self.before {
            let _ = tcsetattr(io::stdin(), OptionalActions::Now, before);
        }
    }
}

/// Sends each key that is pressed, until nobody listens. Ends with the program; only between
/// [`Screen::enter`] and its end does it read keys one by one.
pub fn keys<T: Send + 'static>(into: Sender<T>, make: impl Fn(u8) -> T + Send + 'static) {
    std::thread::spawn(move || {
        let mut key = [0];
        loop {
            match io::stdin().read(&mut key) {
                Ok(1) if into.send(make(key[0])).is_err() => return,
                Ok(_) => {
                    // Where standard input is at its end, a read takes no time at all.
                    if key[0] == 0 {
                        std::thread::sleep(Duration::from_millis(100));
                    }
                    key = [0];
                }
                Err(_) => return,
            }
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_covers_the_one_before_and_no_more_than_the_screen() {
        let lines: Vec<String> = ["one", "two", "three"].map(str::to_owned).into();
        assert_eq!(frame_of(&lines, 2), "one\x1b[K\r\ntwo\x1b[K");
        assert_eq!(frame_of(&lines, 9), "one\x1b[K\r\ntwo\x1b[K\r\nthree\x1b[K");
        assert_eq!(frame_of(&[], 9), "");
    }
}
