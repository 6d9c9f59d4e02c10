//! When the operator's backup of a client is due. Pure: the clock, the zone and what is remembered come in
//! as values.
//!
//! A schedule names slots. Each client has its own place behind a slot, by its name, so that a fleet is not
//! backed up all at once. A slot that was missed is made up for by the next run, once, however many
//! were missed.

use std::time::Duration;

use jiff::civil::Date;
use jiff::tz::{AmbiguousOffset, TimeZone};
use jiff::{SignedDuration, Timestamp};
use sha2::{Digest as _, Sha256};

use crate::registry::values::CronLine;

/// How long after one that failed the same backup is tried again.
pub const RETRY: SignedDuration = SignedDuration::from_mins(30);
/// How far ahead of this clock what is remembered may be: more, and the clock was wrong then.
const AHEAD: SignedDuration = SignedDuration::from_mins(10);
/// Days that are looked through for a slot: 29 February may be 8 years away.
const FAR: u32 = 8 * 366 + 1;

/// The slots of a schedule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Slots {
    minutes: u64,
    hours: u64,
    days: u64,
    months: u64,
    weekdays: u64,
    /// Where both are restricted, either does; else both must.
    either: bool,
}

/// What is remembered of a client.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Known {
    /// When its last whole backup began.
    pub last: Option<Timestamp>,
    /// When the last one failed.
    pub failed: Option<Timestamp>,
}

/// What is to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Due {
    /// It should have run since then.
    Now {
        since: Timestamp,
    },
    At(Timestamp),
    /// No slot comes.
    Never,
}

impl Slots {
    #[must_use]
    pub fn of(line: &CronLine) -> Slots {
        let [minutes, hours, days, months, weekdays] = line.sets();
        let starred = |index: usize| {
            let field = line.as_str().split(' ').nth(index);
            field.is_some_and(|field| field.starts_with('*'))
        };
        // Sunday is 0 and 7.
        let weekdays = weekdays | (weekdays >> 7 & 1);
        Slots { minutes, hours, days, months, weekdays, either: !starred(2) && !starred(4) }
    }

    fn on(&self, date: Date) -> bool {
        let has = |set: u64, value: i8| set >> value & 1 == 1;
        let day = has(self.days, date.day());
        let weekday = has(self.weekdays, date.weekday().to_sunday_zero_offset());
        has(self.months, date.month()) && if self.either { day || weekday } else { day && weekday }
    }

    /// The slots of one day, in order. A time that the clocks skip comes as much later; one that they repeat
    /// comes once, but for a line of every hour, whose hours are all kept.
    fn of_day(&self, date: Date, zone: &TimeZone) -> Vec<Timestamp> {
        let mut slots = Vec::new();
        for hour in (0..24).filter(|hour| self.hours >> hour & 1 == 1) {
            for minute in (0..60).filter(|minute| self.minutes >> minute & 1 == 1) {
                let local = zone.to_ambiguous_timestamp(date.at(hour, minute, 0, 0));
                let twice = matches!(local.offset(), AmbiguousOffset::Fold { .. });
                if twice && self.hours == (1 << 24) - 1 {
                    slots.extend(local.later());
                }
                slots.extend(local.compatible());
            }
        }
        slots.sort_unstable();
        slots.dedup();
        slots
    }

    /// The last slot at or before a time.
    #[must_use]
    pub fn latest(&self, until: Timestamp, zone: &TimeZone) -> Option<Timestamp> {
        let mut date = until.to_zoned(zone.clone()).date();
        for _ in 0..FAR {
            if self.on(date)
                && let Some(slot) = self.of_day(date, zone).into_iter().rfind(|slot| *slot <= until)
            {
                return Some(slot);
            }
            date = date.yesterday().ok()?;
        }
        None
    }

    /// The first slot after a time.
    #[must_use]
    pub fn next(&self, after: Timestamp, zone: &TimeZone) -> Option<Timestamp> {
        let mut date = after.to_zoned(zone.clone()).date();
        for _ in 0..FAR {
            if self.on(date)
                && let Some(slot) = self.of_day(date, zone).into_iter().find(|slot| *slot > after)
            {
                return Some(slot);
            }
            date = date.tomorrow().ok()?;
        }
        None
    }
}

/// The place of a client behind each slot: the same every time, anywhere in the spread, which is cut
/// to half of the time between two slots.
#[derive(Clone, Debug, PartialEq)]
pub struct Place {
    /// From 0 to 1.
    share: f64,
    spread: Duration,
}

impl Place {
    #[must_use]
    pub fn of(fleet: &str, client: &str, spread: Duration) -> Place {
        let digest = Sha256::digest(format!("{fleet}/{client}"));
        let number = digest.iter().take(6).fold(0_u64, |sum, byte| sum << 8 | u64::from(*byte));
        Place { share: number as f64 / (1_u64 << 48) as f64, spread }
    }

    /// When the turn of this client is.
    fn behind(&self, slot: Timestamp, slots: &Slots, zone: &TimeZone) -> Timestamp {
        let room = slots.next(slot, zone).map_or(i64::MAX, |next| (next.as_second() - slot.as_second()) / 2);
        let spread = i64::try_from(self.spread.as_secs()).unwrap_or(i64::MAX).min(room);
        slot.saturating_add(SignedDuration::from_secs((self.share * spread as f64) as i64)).unwrap_or(slot)
    }
}

/// Whether a backup is due.
#[must_use]
pub fn due(slots: &Slots, place: &Place, zone: &TimeZone, known: Known, now: Timestamp) -> Due {
    // What is dated in the future was written by a clock that was wrong: to wait for that day would be to
    // make no backup until then.
    let past = |at: Option<Timestamp>| at.filter(|at| at.duration_since(now) <= AHEAD);
    let (last, failed) = (past(known.last), past(known.failed));
    let Some(newest) = slots.latest(now, zone) else {
        return slots.next(now, zone).map_or(Due::Never, |slot| Due::At(place.behind(slot, slots, zone)));
    };
    // Before its turn in the newest slot, the one before counts.
    let newest_turn = place.behind(newest, slots, zone);
    let slot = if newest_turn <= now {
        Some(newest)
    } else {
        slots.latest(newest.saturating_sub(SignedDuration::from_secs(1)).unwrap_or(newest), zone)
    };
    let missed = slot.filter(|slot| last.is_none_or(|last| last < *slot));
    let Some(missed) = missed else {
        return match newest_turn > now && last.is_none_or(|last| last < newest) {
            true => Due::At(newest_turn),
            false => {
                slots.next(now, zone).map_or(Due::Never, |slot| Due::At(place.behind(slot, slots, zone)))
            }
        };
    };
    match failed.and_then(|failed| failed.checked_add(RETRY).ok()).filter(|again| *again > now) {
        Some(again) => Due::At(again),
        None => Due::Now { since: place.behind(missed, slots, zone) },
    }
}

#[cfg(test)]
mod tests;
