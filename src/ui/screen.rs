//! Puts lines on a terminal: some for good, below them a block that is redrawn in place.
//!
//! Rule of this file: one write a frame, wrapped in the marks of a synchronized update, each line
//! overwritten before the rest of it is erased, so that nothing flickers. What the block took on
//! the screen is measured again with the present width: a narrowed window wraps what it holds.

use std::fmt::Write as _;
use std::io::{self, Write};

use super::style::Look;
use super::text::Line;

const BEGIN: &str = "\x1b[?2026h";
const END: &str = "\x1b[?2026l";
const ERASE_LINE: &str = "\x1b[K";
const ERASE_BELOW: &str = "\x1b[J";

pub struct Screen<W> {
    pub(super) sink: W,
    /// Columns of each line of the block that is on the screen.
    block: Vec<usize>,
}

impl<W: Write> Screen<W> {
    pub fn new(sink: W) -> Self {
        Screen { sink, block: Vec::new() }
    }

    /// Prints `above` for good and redraws the block below. Every line is narrower than the screen.
    pub fn frame(&mut self, above: &[Line], block: &[Line], look: &Look) -> io::Result<()> {
        if above.is_empty() && block.is_empty() && self.block.is_empty() {
            return Ok(());
        }
        let mut out = String::from(BEGIN);
        let rows = |columns: &usize| columns.div_ceil(look.width.max(1)).max(1);
        let up = self.block.iter().map(rows).sum::<usize>().saturating_sub(1);
        out.push('\r');
        if up > 0 {
            let _ = write!(out, "\x1b[{up}A");
        }
        let fit = |line: &Line| line.clone().fit(look.width - 1, look.ellipsis());
        for line in above {
            let _ = write!(out, "{}{ERASE_LINE}\r\n", fit(line).paint(look));
        }
        for (at, line) in block.iter().enumerate() {
            let end = if at + 1 < block.len() { "\r\n" } else { "" };
            let _ = write!(out, "{}{ERASE_LINE}{end}", fit(line).paint(look));
        }
        out.push_str(ERASE_BELOW);
        out.push_str(END);
        self.block = block.iter().map(|line| fit(line).width()).collect();
        self.sink.write_all(out.as_bytes())?;
        self.sink.flush()
    }
}
