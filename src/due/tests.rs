use super::*;

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn paris() -> TimeZone {
    TimeZone::get("Europe/Paris").unwrap()
}

fn slots(line: &str) -> Slots {
    Slots::of(&CronLine::parse(line).unwrap())
}

/// Every slot from one time to another.
fn all(line: &str, from: &str, to: &str) -> Vec<String> {
    let (slots, zone, mut now) = (slots(line), paris(), at(from));
    let mut found = Vec::new();
    while let Some(next) = slots.next(now, &zone).filter(|next| *next <= at(to)) {
        assert_eq!(slots.latest(next, &zone), Some(next));
        found.push(next.to_string());
        now = next;
    }
    found
}

fn first() -> Place {
    Place { share: 0.0, spread: Duration::from_secs(7200) }
}

fn known(last: &str) -> Known {
    Known { last: Some(at(last)), failed: None }
}

fn now_since(text: &str) -> Due {
    Due::Now { since: at(text) }
}

#[test]
fn every_night_comes_once_also_when_the_clocks_change() {
    // 02:30 does not exist on 29 March and comes twice on 25 October 2026.
    let spring = all("30 2 * * *", "2026-03-27T12:00:00Z", "2026-03-30T12:00:00Z");
    assert_eq!(spring, ["2026-03-28T01:30:00Z", "2026-03-29T01:30:00Z", "2026-03-30T00:30:00Z"]);
    let autumn = all("30 2 * * *", "2026-10-23T12:00:00Z", "2026-10-26T12:00:00Z");
    assert_eq!(autumn, ["2026-10-24T00:30:00Z", "2026-10-25T00:30:00Z", "2026-10-26T01:30:00Z"]);
}

#[test]
fn every_hour_comes_each_hour_also_when_the_clocks_change() {
    for (from, to) in
        [("2026-03-28T20:00:00Z", "2026-03-29T08:00:00Z"), ("2026-10-24T20:00:00Z", "2026-10-25T08:00:00Z")]
    {
        let found = all("0 * * * *", from, to);
        assert_eq!(found.len(), 12, "{found:?}");
        let seconds: Vec<i64> = found.iter().map(|text| at(text).as_second()).collect();
        assert!(seconds.windows(2).all(|pair| pair[1] - pair[0] == 3600), "{found:?}");
    }
}

#[test]
fn days_and_weekdays_are_as_cron_has_them() {
    // The first of the month, or a Monday.
    let either = all("0 3 1 * 1", "2026-11-01T12:00:00Z", "2026-12-02T00:00:00Z");
    assert_eq!(either.len(), 6, "{either:?}");
    assert_eq!(all("0 3 * * 7", "2026-11-01T12:00:00Z", "2026-11-15T12:00:00Z").len(), 2);
    assert_eq!(all("*/20 3-4 * * *", "2026-11-01T12:00:00Z", "2026-11-02T12:00:00Z").len(), 6);
    assert_eq!(
        slots("0 0 29 2 *").next(at("2026-03-01T00:00:00Z"), &paris()),
        Some(at("2028-02-28T23:00:00Z"))
    );
    assert_eq!(
        slots("0 0 29 2 *").latest(at("2027-06-01T00:00:00Z"), &paris()),
        Some(at("2024-02-28T23:00:00Z"))
    );
}

#[test]
fn a_backup_is_due_once_a_slot() {
    let (slots, zone) = (slots("0 2 * * *"), paris());
    let ask = |known, now| due(&slots, &first(), &zone, known, at(now));
    let yesterday = known("2026-11-19T01:00:05Z");
    assert_eq!(ask(yesterday, "2026-11-20T00:59:59Z"), Due::At(at("2026-11-20T01:00:00Z")));
    assert_eq!(ask(yesterday, "2026-11-20T01:00:00Z"), now_since("2026-11-20T01:00:00Z"));
    assert_eq!(
        ask(known("2026-11-20T01:00:05Z"), "2026-11-20T01:05:00Z"),
        Due::At(at("2026-11-21T01:00:00Z"))
    );
}

#[test]
fn what_was_missed_is_made_up_for_once() {
    let (slots, zone) = (slots("0 2 * * *"), paris());
    let ask = |known, now| due(&slots, &first(), &zone, known, at(now));
    // The machine was off for a week.
    let now = "2026-11-20T14:00:00Z";
    assert_eq!(ask(known("2026-11-13T01:00:00Z"), now), now_since("2026-11-20T01:00:00Z"));
    assert_eq!(ask(known(now), now), Due::At(at("2026-11-21T01:00:00Z")));
    assert_eq!(ask(Known::default(), now), now_since("2026-11-20T01:00:00Z"));
}

#[test]
fn one_that_failed_is_tried_again_after_a_while() {
    let (slots, zone) = (slots("0 2 * * *"), paris());
    let failed = Known { last: Some(at("2026-11-19T01:00:00Z")), failed: Some(at("2026-11-20T01:10:00Z")) };
    let ask = |now| due(&slots, &first(), &zone, failed, at(now));
    assert_eq!(ask("2026-11-20T01:39:00Z"), Due::At(at("2026-11-20T01:40:00Z")));
    assert_eq!(ask("2026-11-20T01:40:00Z"), now_since("2026-11-20T01:00:00Z"));
}

#[test]
fn a_clock_that_went_back_or_was_ahead_stops_no_backup_for_long() {
    let (slots, zone) = (slots("0 2 * * *"), paris());
    let ask = |known, now| due(&slots, &first(), &zone, known, at(now));
    // The last one is dated a day, or years, ahead: that clock was wrong.
    for last in ["2026-11-21T01:00:00Z", "2031-01-01T00:00:00Z"] {
        assert_eq!(ask(known(last), "2026-11-20T01:30:00Z"), now_since("2026-11-20T01:00:00Z"));
    }
    // A failure of the future holds nothing up either.
    let failed = Known { last: None, failed: Some(at("2031-01-01T00:00:00Z")) };
    assert_eq!(ask(failed, "2026-11-20T01:30:00Z"), now_since("2026-11-20T01:00:00Z"));
    // A few seconds are no matter.
    assert_eq!(
        ask(known("2026-11-20T01:30:20Z"), "2026-11-20T01:30:00Z"),
        Due::At(at("2026-11-21T01:00:00Z"))
    );
}

#[test]
fn a_fleet_is_spread_and_every_client_keeps_its_place() {
    let (slots, zone, spread) = (slots("0 2 * * *"), paris(), Duration::from_secs(7200));
    let slot = at("2026-11-20T01:00:00Z");
    let turn = |client: &str| Place::of("geoclic", client, spread).behind(slot, &slots, &zone);
    let mut quarters = [0; 8];
    for n in 0..1000 {
        let client = format!("ville-{n}");
        let seconds = turn(&client).as_second() - slot.as_second();
        assert!((0..7200).contains(&seconds), "{seconds}");
        assert_eq!(turn(&client), turn(&client));
        quarters[usize::try_from(seconds / 900).unwrap()] += 1;
    }
    assert!(quarters.iter().all(|count| (90..=160).contains(count)), "{quarters:?}");
    // Of an hourly schedule it takes no more than half.
    let hourly = Slots::of(&CronLine::parse("0 * * * *").unwrap());
    let latest =
        (0..200).map(|n| Place::of("geoclic", &format!("ville-{n}"), spread).behind(slot, &hourly, &zone));
    assert!(latest.max().unwrap() <= at("2026-11-20T01:30:00Z"));
}

#[test]
fn before_its_turn_the_slot_before_counts() {
    let (slots, zone) = (slots("0 2 * * *"), paris());
    let late = Place { share: 0.5, spread: Duration::from_secs(7200) };
    let ask = |known, now| due(&slots, &late, &zone, known, at(now));
    // Its turn is at 03:00, 02:00Z.
    let yesterday = known("2026-11-19T02:00:03Z");
    assert_eq!(ask(yesterday, "2026-11-20T01:30:00Z"), Due::At(at("2026-11-20T02:00:00Z")));
    assert_eq!(ask(yesterday, "2026-11-20T02:00:00Z"), now_since("2026-11-20T02:00:00Z"));
    // The night before was missed too: no need to wait for the turn.
    assert_eq!(ask(known("2026-11-18T02:00:03Z"), "2026-11-20T01:30:00Z"), now_since("2026-11-19T02:00:00Z"));
    // One by hand between the slot and the turn is this night's.
    assert_eq!(
        ask(known("2026-11-20T01:20:00Z"), "2026-11-20T01:30:00Z"),
        Due::At(at("2026-11-21T02:00:00Z"))
    );
}
