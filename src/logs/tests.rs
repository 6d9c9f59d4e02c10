use std::time::Duration;

use super::*;

fn at(millis: i64) -> Timestamp {
    Timestamp::from_millisecond(1_793_960_000_000 + millis).unwrap()
}

fn line(millis: i64, text: &str) -> Said {
    let (container, service) = ("c0ffee".to_owned(), "api".to_owned());
    Said::Line(Line { container, service, at: at(millis), text: text.to_owned() })
}

fn attached() -> Said {
    Said::Attached { container: "c0ffee".into(), at: at(0) }
}

fn numbered(numbers: impl Iterator<Item = i64>) -> impl Iterator<Item = Said> {
    numbers.map(|number| line(number, &format!("line {number}")))
}

fn texts(seen: &mut Seen, said: impl IntoIterator<Item = Said>) -> Vec<String> {
    said.into_iter().filter_map(|said| seen.take(said)).map(|line| line.text).collect()
}

#[test]
fn what_comes_again_after_a_cut_is_dropped_and_nothing_else() {
    // Cut behind any line, asked again from where it says, or from any earlier time.
    for cut in (1..2000).step_by(13).chain([2, 511, 512, 513, 514]) {
        let mut seen = Seen::default();
        let mut all = texts(&mut seen, std::iter::once(attached()).chain(numbered(1..cut)));
        let from = seen.resume().containers[0].1;
        let first = (1..2000).find(|number| at(*number) >= from).unwrap_or(1);
        let first = if cut % 3 == 0 { (first - 40).max(1) } else { first };
        all.extend(texts(&mut seen, std::iter::once(attached()).chain(numbered(first..2000))));
        let wanted: Vec<String> = (1..2000).map(|number| format!("line {number}")).collect();
        assert!(all == wanted, "cut before {cut}: {} lines", all.len());
    }
}

#[test]
fn equal_lines_of_one_moment_are_counted() {
    let mut seen = Seen::default();
    let three = || [attached(), line(5, "same"), line(5, "same"), line(5, "same")];
    assert_eq!(texts(&mut seen, three()).len(), 3, "they are not taken for repeats");
    assert_eq!(texts(&mut seen, three().into_iter().chain([line(5, "same")])).len(), 1, "one was missed");
}

#[test]
fn lines_of_two_streams_that_are_out_of_order_are_kept() {
    let mut seen = Seen::default();
    texts(&mut seen, [attached(), line(6, "out"), line(8, "out 2")]);
    // What the other stream wrote at 7 came later.
    assert_eq!(
        texts(&mut seen, [attached(), line(6, "out"), line(8, "out 2"), line(7, "err"), line(9, "on")]),
        ["err", "on"]
    );
}

#[test]
fn a_clock_that_is_set_back_hides_nothing() {
    let mut seen = Seen::default();
    texts(&mut seen, std::iter::once(attached()).chain(numbered(5000..6000)));
    assert_eq!(texts(&mut seen, numbered(0..3)).len(), 3);
    assert_eq!(
        texts(&mut seen, [attached(), line(5999, "line 5999"), line(6001, "on"), line(10, "back")]),
        ["on", "back"]
    );
}

#[test]
fn a_container_that_said_nothing_goes_on_from_where_it_was_attached_to() {
    let mut seen = Seen::default();
    seen.take(attached());
    assert_eq!(seen.resume(), Resume { containers: vec![("c0ffee".into(), at(0))], began: Some(at(0)) });
    assert_eq!(texts(&mut seen, [attached(), line(1, "first")]), ["first"]);
}

fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

#[test]
fn whole_logs_are_in_the_order_of_time() {
    let mut merge = Merge::whole();
    let (one, two) = (merge.lane(), merge.lane());
    merge.push(one, at(5), ms(0), 5);
    merge.push(one, at(1), ms(0), 1);
    assert_eq!(merge.next(ms(9_000), true), Next::Nothing, "the other may have an older one");
    merge.push(two, at(3), ms(9_000), 3);
    assert_eq!(merge.next(ms(9_000), false), Next::Line(3));
    assert_eq!(merge.next(ms(9_000), false), Next::Nothing);
    merge.end(two);
    // Within a lane nothing is moved.
    assert_eq!(merge.next(ms(9_000), false), Next::Line(5));
    assert_eq!(merge.next(ms(9_000), false), Next::Line(1));
    assert_eq!(merge.next(ms(9_000), false), Next::Nothing);
    merge.end(one);
}

#[test]
fn a_line_that_is_followed_waits_for_older_ones_and_not_for_long() {
    let mut merge = Merge::following();
    let (one, two) = (merge.lane(), merge.lane());
    merge.push(one, at(5), ms(0), "later");
    assert_eq!(merge.next(ms(100), false), Next::After(ms(300)));
    merge.push(two, at(3), ms(200), "older");
    assert_eq!(merge.next(ms(400), false), Next::Line("older"));
    assert_eq!(merge.next(ms(400), false), Next::Line("later"));
    merge.push(two, at(9), ms(500), "room is short");
    assert_eq!(merge.next(ms(500), true), Next::Line("room is short"));
}

#[test]
fn a_backlog_of_one_does_not_keep_anothers_line() {
    let mut merge = Merge::following();
    let (chatty, quiet) = (merge.lane(), merge.lane());
    for number in 0..10_000 {
        merge.push(chatty, at(number), ms(number as u64 / 10), "chatty");
    }
    merge.push(quiet, at(50_000), ms(0), "quiet");
    let mut before = 0;
    // The chatty one's first lines came as early; each that follows came later.
    while merge.next(ms(1_000 + before / 10), false) == Next::Line("chatty") {
        before += 1;
    }
    assert!(before < 100, "{before} lines went first");
}
