//! How long a server wants to be left alone.

use std::time::Duration;

use crate::http::Answer;

/// What 429 means where no more is said.
const BARE: u64 = 60;

/// The pause that an answer asks for; none where it asks for none. `category` is what was sent, such as `error`;
/// empty for what is no event.
#[must_use]
pub fn pause(answer: &Answer, category: &str) -> Option<Duration> {
    of(answer.status, |name| answer.header(name), category)
}

/// `X-Sentry-Rate-Limits` wins over `Retry-After`, and that over nothing at all
/// (<https://develop.sentry.dev/sdk/expected-features/rate-limiting/>).
fn of<'a>(status: u16, header: impl Fn(&str) -> Option<&'a str>, category: &str) -> Option<Duration> {
    if let Some(limits) = header("x-sentry-rate-limits") {
        let seconds = limits.split(',').filter_map(|limit| applies(limit.trim(), category)).max();
        return seconds.filter(|seconds| *seconds > 0).map(Duration::from_secs);
    }
    if status != 429 {
        return None;
    }
    let seconds = header("retry-after").and_then(|text| text.trim().parse().ok()).unwrap_or(BARE);
    Some(Duration::from_secs(seconds))
}

/// Seconds of one limit, `60:error;default:organization`, where it is about this category or about all.
fn applies(limit: &str, category: &str) -> Option<u64> {
    let mut parts = limit.split(':');
    let seconds = parts.next()?.trim();
    let categories = parts.next().unwrap_or_default();
    let about = categories.is_empty() || categories.split(';').any(|one| one == category);
    // A number that is none is a limit all the same.
    about.then(|| seconds.parse::<f64>().ok().filter(|n| *n >= 0.0).map_or(BARE, |n| n.ceil() as u64))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seconds(status: u16, headers: &[(&str, &str)], category: &str) -> Option<u64> {
        let find = |name: &str| headers.iter().find(|(known, _)| *known == name).map(|(_, value)| *value);
        of(status, find, category).map(|pause| pause.as_secs())
    }

    #[test]
    fn each_way_to_ask_for_a_pause_is_understood() {
        let limits = "x-sentry-rate-limits";
        assert_eq!(seconds(200, &[], "error"), None);
        assert_eq!(seconds(429, &[], "error"), Some(60));
        assert_eq!(seconds(429, &[("retry-after", "7")], "error"), Some(7));
        assert_eq!(seconds(429, &[("retry-after", "Fri, 20 Nov 2026 10:00:00 GMT")], "error"), Some(60));
        // Also an answer that was accepted may announce one.
        assert_eq!(seconds(200, &[(limits, "30:error:key")], "error"), Some(30));
        assert_eq!(seconds(200, &[(limits, "30:transaction:key")], "error"), None);
        assert_eq!(seconds(429, &[(limits, "30:transaction:key"), ("retry-after", "9")], "error"), None);
        assert_eq!(seconds(429, &[(limits, "5::organization, 90:transaction;error:key")], "error"), Some(90));
        assert_eq!(seconds(429, &[(limits, "2.5::organization:quota_exceeded")], ""), Some(3));
        assert_eq!(seconds(429, &[(limits, "soon:error:key")], "error"), Some(60));
        assert_eq!(seconds(429, &[(limits, "-5:error:key")], "error"), Some(60));
        assert_eq!(seconds(200, &[(limits, "0::")], "error"), None);
    }
}
