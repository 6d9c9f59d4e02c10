//! Lines of many into one order, with little held back.

use std::collections::{BTreeSet, VecDeque};
use std::time::Duration;

use jiff::Timestamp;

/// How long a line that is followed waits for older ones of others.
const HOLD: Duration = Duration::from_millis(400);
/// A line that waited so long goes first, whatever its time: nobody's backlog keeps another's line.
const FAIR: Duration = Duration::from_secs(1);

/// Lanes of lines, each in the order of time, merged by time.
pub struct Merge<T> {
    lanes: Vec<Lane<T>>,
    /// First line of each lane that has one, by time and by arrival.
    by_time: BTreeSet<(Timestamp, usize)>,
    by_arrival: BTreeSet<(Duration, usize)>,
    /// Lanes that may still get lines and have none.
    awaited: usize,
    follow: bool,
}

struct Lane<T> {
    queue: VecDeque<(Timestamp, Duration, T)>,
    open: bool,
}

/// What to do next.
#[derive(Debug, PartialEq, Eq)]
pub enum Next<T> {
    Line(T),
    /// A line is there, and goes out when so much time has passed.
    After(Duration),
    /// Nothing until more comes.
    Nothing,
}

impl<T> Merge<T> {
    /// Of lanes that end: a line goes out when no lane can have an older one.
    #[must_use]
    pub fn whole() -> Self {
        Merge {
            lanes: Vec::new(),
            by_time: BTreeSet::new(),
            by_arrival: BTreeSet::new(),
            awaited: 0,
            follow: false,
        }
    }

    /// Of lanes that do not end: a line waits a moment for older ones.
    #[must_use]
    pub fn following() -> Self {
        Merge { follow: true, ..Merge::whole() }
    }

    pub fn lane(&mut self) -> usize {
        self.lanes.push(Lane { queue: VecDeque::new(), open: true });
        self.awaited += 1;
        self.lanes.len() - 1
    }

    /// `now` never goes back.
    pub fn push(&mut self, lane: usize, at: Timestamp, now: Duration, item: T) {
        let place = &mut self.lanes[lane];
        if place.queue.is_empty() {
            self.awaited -= usize::from(place.open);
            self.by_time.insert((at, lane));
            self.by_arrival.insert((now, lane));
        }
        place.queue.push_back((at, now, item));
    }

    /// No more comes in this lane.
    pub fn end(&mut self, lane: usize) {
        let place = &mut self.lanes[lane];
        if std::mem::take(&mut place.open) && place.queue.is_empty() {
            self.awaited -= 1;
        }
    }

    /// With `pressed` somebody has no room for more lines: the oldest one goes out at once.
    pub fn next(&mut self, now: Duration, pressed: bool) -> Next<T> {
        let (Some((_, oldest)), Some((arrived, patient))) = (self.by_time.first(), self.by_arrival.first())
        else {
            return Next::Nothing;
        };
        let waited = now.saturating_sub(*arrived);
        let lane = match self.follow {
            false if self.awaited > 0 => return Next::Nothing,
            true if waited >= FAIR => *patient,
            true if waited < HOLD && !pressed => return Next::After(HOLD - waited),
            _ => *oldest,
        };
        self.pop(lane).map_or(Next::Nothing, Next::Line)
    }

    fn pop(&mut self, lane: usize) -> Option<T> {
        let place = &mut self.lanes[lane];
        let (at, arrived, item) = place.queue.pop_front()?;
        self.by_time.remove(&(at, lane));
        self.by_arrival.remove(&(arrived, lane));
        match place.queue.front() {
            Some((at, arrived, _)) => {
                self.by_time.insert((*at, lane));
                self.by_arrival.insert((*arrived, lane));
            }
            None => self.awaited += usize::from(place.open),
        }
        Some(item)
    }
}
