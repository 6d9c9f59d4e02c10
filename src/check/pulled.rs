//! The operator's own backups: made, and proved, not too long ago. The host has no word in it.

use super::{Finding, State, Wanted};

const HOUR: i64 = 3600;
const DAY: i64 = 24 * HOUR;

/// What is remembered of a client that was backed up at least once, or tried; times in seconds since the
/// epoch.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pulled {
    pub now: i64,
    pub first: Option<i64>,
    pub last: Option<i64>,
    pub proved: Option<i64>,
    /// Why the last run failed, when it did since.
    pub failure: Option<String>,
    /// Why the last proof failed, when it did since.
    pub disproof: Option<String>,
}

/// `pulled` and `proof` of a client whose backups the operator pulls.
#[must_use]
pub fn findings(wanted: &Wanted) -> Vec<Finding> {
    let Some(known) = &wanted.pulled else { return Vec::new() };
    let (client, limits) = (&wanted.client, &wanted.limits);
    let finding = |check: &str, fault: Option<String>, remedy: String| {
        let state = if fault.is_some() { State::Failing } else { State::Well };
        let remedy = if fault.is_some() { remedy } else { String::new() };
        Finding { check: check.to_owned(), state, text: fault.unwrap_or_default(), remedy }
    };
    // A clock that went back makes nothing old.
    let age = |at: i64| known.now.saturating_sub(at).max(0);
    let hours = known.last.map(|last| age(last) / HOUR);
    let late = hours.filter(|hours| *hours > i64::from(limits.pulled_age_hours));
    let pulled = match (&known.failure, late) {
        (Some(why), _) => Some(format!("backup failed: {why}")),
        (None, Some(hours)) => Some(format!("last pulled backup {hours} h ago")),
        (None, None) => None,
    };
    let days = known.proved.or(known.first).map(|since| age(since) / DAY);
    let overdue = days.filter(|days| *days > i64::from(limits.proof_age_days));
    let proof = match (&known.disproof, overdue, known.proved) {
        (Some(why), _, _) => Some(format!("a backup does not restore: {why}")),
        (None, Some(days), Some(_)) => Some(format!("last proof of a backup {days} d ago")),
        (None, Some(days), None) => Some(format!("backed up for {days} d, and never proved by a restore")),
        (None, None, _) => None,
    };
    let mut all = vec![
        finding("pulled", pulled, format!("fleet backup {client}")),
        finding("proof", proof, format!("fleet backups prove {client}")),
    ];
    all.retain(|finding| !limits.off.contains(&finding.check));
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: i64 = 1_800_000_000;

    fn faults(known: Pulled) -> Vec<String> {
        let wanted = Wanted {
            client: "ville-lyon".into(),
            pulled: Some(Pulled { now: NOW, ..known }),
            ..Wanted::default()
        };
        findings(&wanted).into_iter().map(|finding| finding.text).filter(|text| !text.is_empty()).collect()
    }

    #[test]
    fn old_failed_and_unproved_backups_are_found() {
        let (fresh, old) = (Some(NOW - 3 * HOUR), Some(NOW - 40 * DAY));
        let none: [&str; 0] = [];
        assert_eq!(faults(Pulled { first: old, last: fresh, proved: fresh, ..Pulled::default() }), none);
        // A new client has its first weeks before a proof is missed.
        assert_eq!(faults(Pulled { first: fresh, last: fresh, ..Pulled::default() }), none);
        assert_eq!(
            faults(Pulled { first: old, last: Some(NOW - 31 * HOUR), ..Pulled::default() }),
            ["last pulled backup 31 h ago", "backed up for 40 d, and never proved by a restore"]
        );
        assert_eq!(
            faults(Pulled { first: old, last: fresh, proved: Some(NOW - 36 * DAY), ..Pulled::default() }),
            ["last proof of a backup 36 d ago"]
        );
        let failing = Pulled {
            failure: Some("no route".into()),
            disproof: Some("table x has 1 rows".into()),
            first: old,
            last: fresh,
            proved: fresh,
            ..Pulled::default()
        };
        assert_eq!(
            faults(failing),
            ["backup failed: no route", "a backup does not restore: table x has 1 rows"]
        );
        assert_eq!(
            faults(Pulled { first: Some(NOW + DAY), last: Some(NOW + DAY), ..Pulled::default() }),
            none
        );
    }

    #[test]
    fn who_pulls_no_backups_is_asked_for_none() {
        assert_eq!(findings(&Wanted::default()), []);
    }
}
