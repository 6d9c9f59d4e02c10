//! Which clients are changed when: canaries first, then growing batches, and when to stop.

use std::fmt;
use std::str::FromStr;

/// A part of the clients: `3` or `10%`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Share {
    Count(usize),
    Percent(usize),
}

impl Share {
    /// Clients that it means out of `total`, rounded up, at least one.
    #[must_use]
    pub fn of(self, total: usize) -> usize {
        match self {
            Share::Count(count) => count,
            Share::Percent(percent) => (total * percent).div_ceil(100),
        }
        .max(1)
    }
}

impl FromStr for Share {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let expected =
            || format!("{text:?} is neither a number of clients, such as 3, nor a share, such as 10%");
        match text.strip_suffix('%') {
            Some(digits) => match digits.parse() {
                Ok(percent @ 1..=100) => Ok(Share::Percent(percent)),
                _ => Err(expected()),
            },
            None => match text.parse() {
                Ok(count @ 1..) => Ok(Share::Count(count)),
                _ => Err(expected()),
            },
        }
    }
}

impl fmt::Display for Share {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Share::Count(count) => write!(f, "{count}"),
            Share::Percent(percent) => write!(f, "{percent}%"),
        }
    }
}

/// Batch sizes in order; the last one is used again until every client had its turn.
#[must_use]
pub fn usual_batches(total: usize) -> Vec<Share> {
    match total {
        0..=3 => vec![Share::Percent(100)],
        4..=10 => vec![Share::Count(1), Share::Percent(100)],
        _ => vec![Share::Count(1), Share::Percent(10), Share::Percent(25)],
    }
}

/// Splits clients into waves, as indices. The canaries, where there are any, are the first wave and
/// the batches share out the rest.
#[must_use]
pub fn waves(canary: &[bool], batches: &[Share]) -> Vec<Vec<usize>> {
    let (first, mut rest): (Vec<usize>, Vec<usize>) = (0..canary.len()).partition(|index| canary[*index]);
    let mut waves = Vec::new();
    if !first.is_empty() {
        waves.push(first);
    }
    let total = rest.len();
    let mut sizes = batches.iter().chain(batches.last().into_iter().cycle());
    while !rest.is_empty() {
        let size = sizes.next().map_or(rest.len(), |share| share.of(total)).min(rest.len());
        waves.push(rest.drain(..size).collect());
    }
    waves
}

/// How many clients may end badly before no further one is started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Budget {
    /// Nobody said: one client in ten, and any at all in the first of several waves. Unreachable
    /// clients do not count, since one dead server shall not stop the others.
    Usual,
    /// Stop as soon as so many failed or were unreachable, over the whole run.
    Given(Share),
}

/// Clients that ended badly so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    pub failed: usize,
    pub unreachable: usize,
}

impl Budget {
    /// Why no further wave is begun; `None` to go on.
    #[must_use]
    pub fn spent(self, tally: Tally, total: usize, first_wave: bool) -> Option<String> {
        match self {
            Budget::Usual if first_wave && tally.failed > 0 => Some("the first wave failed".to_owned()),
            Budget::Usual if tally.failed >= Share::Percent(10).of(total).max(1) && tally.failed > 0 => {
                Some(format!("{} of {total} clients failed", tally.failed))
            }
            Budget::Usual => None,
            Budget::Given(share) => {
                let bad = tally.failed + tally.unreachable;
                (bad >= share.of(total)).then(|| {
                    format!("{bad} of {total} clients failed or were unreachable (--max-failures {share})")
                })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sizes(canaries: usize, total: usize, batches: &str) -> Vec<usize> {
        let canary: Vec<bool> = (0..total).map(|index| index < canaries).collect();
        let batches: Vec<Share> = batches.split(',').map(|text| text.parse().unwrap()).collect();
        waves(&canary, &batches).iter().map(Vec::len).collect()
    }

    #[test]
    fn the_last_batch_is_used_again_until_all_had_their_turn() {
        assert_eq!(sizes(0, 40, "1,10%,25%"), [1, 4, 10, 10, 10, 5]);
        assert_eq!(sizes(2, 40, "1,10%,25%"), [2, 1, 4, 10, 10, 10, 3]);
        assert_eq!(sizes(1, 1, "1,10%"), [1]);
        assert_eq!(sizes(0, 0, "1"), Vec::<usize>::new());
        assert_eq!(sizes(0, 3, "100%"), [3]);
        assert_eq!(sizes(0, 1000, "1,10%,25%").iter().sum::<usize>(), 1000);
    }

    #[test]
    fn every_client_is_in_exactly_one_wave() {
        let canary = [false, true, false, true, false];
        let mut seen: Vec<usize> = waves(&canary, &[Share::Count(2)]).into_iter().flatten().collect();
        assert_eq!(seen[..2], [1, 3]);
        seen.sort_unstable();
        assert_eq!(seen, [0, 1, 2, 3, 4]);
    }

    #[test]
    fn a_budget_given_is_inclusive_and_counts_the_unreachable() {
        let budget = Budget::Given(Share::Percent(10));
        let tally = |failed, unreachable| Tally { failed, unreachable };
        assert_eq!(budget.spent(tally(1, 2), 40, false), None);
        assert!(budget.spent(tally(1, 3), 40, false).is_some());
        assert_eq!(Budget::Usual.spent(tally(0, 30), 40, true), None);
        assert!(Budget::Usual.spent(tally(1, 0), 40, true).is_some());
        assert_eq!(Budget::Usual.spent(tally(3, 0), 40, false), None);
        assert!(Budget::Usual.spent(tally(4, 0), 40, false).is_some());
    }

    #[test]
    fn shares_that_mean_nothing_are_refused() {
        for bad in ["", "0", "0%", "101%", "-1", "1.5%", "ten"] {
            assert!(bad.parse::<Share>().is_err(), "{bad}");
        }
    }
}
