//! Which snapshots stay. Pure: counts only, since a span of time forgets everything when one clock is
//! wrong.

use std::collections::HashSet;

use jiff::{Timestamp, tz::TimeZone};

use crate::registry::Keep;

/// How far ahead of us another clock may be.
const AHEAD: i64 = 600;

/// One snapshot, as far as keeping it goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dated {
    pub id: String,
    pub at: Timestamp,
}

/// A snapshot of the future: nothing may be forgotten by a clock that is wrong.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("snapshot {id} is dated {at}, which is in the future")]
pub struct Future {
    pub id: String,
    pub at: Timestamp,
}

/// The snapshots that may go. `proved` is the one that a restore proved last: it stays, and so does
/// the newest.
///
/// # Errors
/// A snapshot that is dated in the future.
pub fn forget(
    snapshots: &[Dated],
    keep: &Keep,
    proved: Option<&str>,
    now: Timestamp,
) -> Result<Vec<String>, Future> {
    if let Some(ahead) = snapshots.iter().find(|one| one.at.as_second() > now.as_second() + AHEAD) {
        return Err(Future { id: ahead.id.clone(), at: ahead.at });
    }
    let mut newest_first: Vec<&Dated> = snapshots.iter().collect();
    newest_first.sort_by(|a, b| b.at.cmp(&a.at).then(b.id.cmp(&a.id)));
    let mut stays: HashSet<&str> = newest_first.first().map(|one| one.id.as_str()).into_iter().collect();
    stays.extend(proved);
    let last = keep.last.unwrap_or(0) as usize;
    stays.extend(newest_first.iter().take(last).map(|one| one.id.as_str()));
    let periods = [
        (keep.hourly, "%Y%m%d%H"),
        (keep.daily, "%Y%m%d"),
        (keep.weekly, "%G%V"),
        (keep.monthly, "%Y%m"),
        (keep.yearly, "%Y"),
    ];
    for (count, form) in periods {
        let mut seen = HashSet::new();
        for one in &newest_first {
            let period = one.at.to_zoned(TimeZone::UTC).strftime(form).to_string();
            if seen.len() == count.unwrap_or(0) as usize {
                break;
            }
            // The newest of each period.
            if seen.insert(period) {
                stays.insert(&one.id);
            }
        }
    }
    Ok(newest_first.iter().filter(|one| !stays.contains(one.id.as_str())).map(|one| one.id.clone()).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    /// A snapshot each night at two for `days` days up to `end`.
    fn nights(days: i64, end: &str) -> Vec<Dated> {
        let end = at(end);
        (0..days)
            .map(|back| {
                let at = Timestamp::from_second(end.as_second() - back * 86_400).unwrap();
                Dated { id: at.to_string(), at }
            })
            .collect()
    }

    fn kept(snapshots: &[Dated], keep: &Keep, proved: Option<&str>, now: &str) -> Vec<String> {
        let gone = forget(snapshots, keep, proved, at(now)).unwrap();
        let mut kept: Vec<String> =
            snapshots.iter().map(|one| one.id.clone()).filter(|id| !gone.contains(id)).collect();
        kept.sort();
        kept
    }

    #[test]
    fn two_years_of_nights_come_down_to_the_usual() {
        let kept = kept(&nights(730, "2026-11-20T02:00:00Z"), &Keep::USUAL, None, "2026-11-20T03:00:00Z");
        // 7 days, 4 weeks of which 2 are new, 12 months of which 11 are new.
        assert_eq!(kept.len(), 20, "{kept:#?}");
        assert_eq!(kept.last().unwrap(), "2026-11-20T02:00:00Z");
        assert_eq!(kept.first().unwrap(), "2025-12-31T02:00:00Z");
    }

    #[test]
    fn the_newest_and_the_proved_one_always_stay() {
        let nothing = Keep::default();
        let nights = nights(30, "2026-11-20T02:00:00Z");
        let proved = nights[20].id.clone();
        let kept = kept(&nights, &nothing, Some(&proved), "2026-11-20T03:00:00Z");
        assert_eq!(kept, [proved, "2026-11-20T02:00:00Z".to_owned()]);
    }

    #[test]
    fn of_several_in_a_period_the_newest_stays() {
        let dated = |text: &str| Dated { id: text.into(), at: at(text) };
        let list =
            [dated("2026-11-20T02:00:00Z"), dated("2026-11-20T12:00:00Z"), dated("2026-11-19T23:59:59Z")];
        let keep = Keep { daily: Some(2), ..Keep::default() };
        assert_eq!(
            kept(&list, &keep, None, "2026-11-20T13:00:00Z"),
            ["2026-11-19T23:59:59Z", "2026-11-20T12:00:00Z"]
        );
    }

    #[test]
    fn a_clock_that_went_back_forgets_nothing() {
        let nights = nights(30, "2026-11-20T02:00:00Z");
        let error = forget(&nights, &Keep::USUAL, None, at("2026-11-19T02:00:00Z")).unwrap_err();
        assert_eq!(error.id, "2026-11-20T02:00:00Z");
    }
}
