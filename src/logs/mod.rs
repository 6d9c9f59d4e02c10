//! Following what containers say: what was seen, so that a cut loses nothing and repeats nothing, and the lines of many
//! clients in one order.
//!
//! Pure: lines come in as values, and the clock as a number.

mod merge;

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use jiff::Timestamp;

use crate::ops::logs::{Line, Resume, Said};

pub use merge::{Merge, Next};

/// Newest lines of a container that are remembered.
const WINDOW: usize = 512;

/// What one client's containers have said so far.
#[derive(Default)]
pub struct Seen {
    containers: BTreeMap<String, Container>,
    began: Option<Timestamp>,
}

#[derive(Default)]
struct Container {
    attached: Timestamp,
    /// Time and digest of the newest lines, and how often each came.
    recent: BTreeMap<(Timestamp, u64), u32>,
    /// Newest time that was forgotten of `recent`.
    floor: Option<Timestamp>,
    repeat: Option<Repeat>,
}

/// What may come again since the container was attached to once more.
struct Repeat {
    left: BTreeMap<(Timestamp, u64), u32>,
    newest: Timestamp,
}

impl Seen {
    /// A line, unless it was there before.
    pub fn take(&mut self, said: Said) -> Option<Line> {
        match said {
            Said::Alive => None,
            Said::Attached { container, at } => {
                self.began = Some(self.began.map_or(at, |began| began.min(at)));
                match self.containers.get_mut(&container) {
                    Some(known) => known.again(),
                    None => {
                        self.containers.insert(container, Container { attached: at, ..Container::default() });
                    }
                }
                None
            }
            Said::Line(line) => {
                let known = self.containers.entry(line.container.clone()).or_default();
                known.is_new(&line).then_some(line)
            }
        }
    }

    /// Where to go on after a cut.
    #[must_use]
    pub fn resume(&self) -> Resume {
        let from =
            |known: &Container| known.recent.first_key_value().map_or(known.attached, |((at, _), _)| *at);
        Resume {
            containers: self.containers.iter().map(|(id, known)| (id.clone(), from(known))).collect(),
            began: self.began,
        }
    }
}

impl Container {
    fn again(&mut self) {
        if let Some(((newest, _), _)) = self.recent.last_key_value() {
            self.repeat = Some(Repeat { left: self.recent.clone(), newest: *newest });
        }
    }

    fn is_new(&mut self, line: &Line) -> bool {
        let mut hasher = DefaultHasher::new();
        line.text.hash(&mut hasher);
        let key = (line.at, hasher.finish());
        if let Some(repeat) = &mut self.repeat {
            if self.floor.is_some_and(|floor| line.at <= floor) {
                return false;
            }
            if let Some(left) = repeat.left.get_mut(&key).filter(|left| **left > 0) {
                *left -= 1;
                return false;
            }
            if line.at > repeat.newest {
                // From here on all is new, whatever the clock of the host does.
                self.repeat = None;
            }
        }
        *self.recent.entry(key).or_default() += 1;
        while self.recent.len() > WINDOW {
            if let Some(((at, _), _)) = self.recent.pop_first() {
                self.floor = Some(self.floor.map_or(at, |floor| floor.max(at)));
            }
        }
        true
    }
}

#[cfg(test)]
mod tests;
