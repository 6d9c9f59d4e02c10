//! How many bytes a second may come over the wire, for all hosts of a run together.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Longest single wait: whoever gives up is heard soon.
const NAP: Duration = Duration::from_millis(500);

pub struct Throttle {
    /// Bytes a second; none: as fast as it goes.
    rate: Option<u64>,
    /// When the bytes taken so far are paid for.
    paid: Mutex<Instant>,
}

impl Throttle {
    #[must_use]
    pub fn new(rate: Option<u64>) -> Self {
        Throttle { rate: rate.filter(|rate| *rate > 0), paid: Mutex::new(Instant::now()) }
    }

    /// Waits until so many bytes are within the rate.
    pub fn take(&self, bytes: u64) {
        let Some(rate) = self.rate else { return };
        let cost = Duration::from_secs_f64(bytes as f64 / rate as f64);
        let due = {
            let mut paid = self.paid.lock().unwrap_or_else(PoisonError::into_inner);
            // Idle time is not saved up.
            *paid = (*paid).max(Instant::now()) + cost;
            *paid
        };
        // A piece may be a little early, never the sum of them.
        while let Some(left) =
            due.checked_duration_since(Instant::now()).filter(|left| *left > Duration::from_millis(50))
        {
            std::thread::sleep(left.min(NAP));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_is_kept_and_none_costs_nothing() {
        let start = Instant::now();
        let none = Throttle::new(None);
        (0..1000).for_each(|_| none.take(1 << 30));
        assert!(start.elapsed() < Duration::from_millis(200));
        let start = Instant::now();
        let some = Throttle::new(Some(1000));
        (0..10).for_each(|_| some.take(50));
        assert!(start.elapsed() >= Duration::from_millis(400), "{:?}", start.elapsed());
    }
}
