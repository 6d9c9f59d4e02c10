//! Kinds: functions from a value to what it means, which report what they cannot accept.

use std::fmt::Display;
use std::ops::RangeInclusive;
use std::time::Duration;

use toml::de::DeValue;

use super::{Placed, Table, Value};
use crate::diagnostic::{Fault, is_plain, shown};

/// One line of text; control characters are refused, so that it is safe to show.
pub fn string(value: Value<'_>) -> Option<String> {
    one_line(&value).map(str::to_owned)
}

/// Text of any number of lines; control characters but line ends and tabs are refused.
pub fn text(value: Value<'_>) -> Option<String> {
    let DeValue::String(text) = value.item() else { return value.wrong_type("a string") };
    match text.chars().find(|c| !is_plain(*c) && !matches!(c, '\n' | '\r' | '\t')) {
        Some(c) => value.fault(control_character(c)),
        None => Some(text.clone().into_owned()),
    }
}

/// One line of text that a function understands or refuses.
pub fn parsed<'d, T>(parse: impl Fn(&str) -> Result<T, Fault>) -> impl Fn(Value<'d>) -> Option<T> {
    move |value| match parse(one_line(&value)?) {
        Ok(parsed) => Some(parsed),
        Err(fault) => value.fault(fault),
    }
}

/// `true` or `false`.
pub fn boolean(value: Value<'_>) -> Option<bool> {
    match value.item() {
        DeValue::Boolean(answer) => Some(*answer),
        _ => value.wrong_type("true or false"),
    }
}

/// An integer within bounds.
pub fn integer<'d, T>(range: RangeInclusive<T>) -> impl Fn(Value<'d>) -> Option<T>
where
    T: TryFrom<i64> + PartialOrd + Display,
{
    move |value| {
        let expected = format!("an integer from {} to {}", range.start(), range.end());
        let DeValue::Integer(integer) = value.item() else { return value.wrong_type(&expected) };
        let found = i64::from_str_radix(integer.as_str(), integer.radix()).ok();
        match found.and_then(|found| T::try_from(found).ok()).filter(|found| range.contains(found)) {
            Some(found) => Some(found),
            None => value.fault(Fault::new(format!("{integer} is out of range")).expected(expected)),
        }
    }
}

/// A finite number within bounds, with or without a fraction.
pub fn number<'d>(range: RangeInclusive<f64>) -> impl Fn(Value<'d>) -> Option<f64> {
    move |value| {
        let expected = format!("a number from {} to {}", range.start(), range.end());
        let (found, written) = match value.item() {
            DeValue::Integer(n) if n.radix() == 10 => (n.as_str().parse().ok(), n.as_str()),
            DeValue::Float(n) => (n.as_str().parse::<f64>().ok(), n.as_str()),
            _ => return value.wrong_type(&expected),
        };
        match found.filter(|found| range.contains(found)) {
            Some(found) => Some(found),
            None => value.fault(Fault::new(format!("{written} is out of range")).expected(expected)),
        }
    }
}

/// One of a few words.
pub fn one_of<'d, T: Clone>(choices: &'static [(&'static str, T)]) -> impl Fn(Value<'d>) -> Option<T> {
    let words = move || choices.iter().map(|(word, _)| *word);
    parsed(move |found| match choices.iter().find(|(word, _)| *word == found) {
        Some((_, meaning)) => Ok(meaning.clone()),
        None => {
            let quoted: Vec<_> = words().map(|word| format!("\"{word}\"")).collect();
            let fault = Fault::new(format!("found {}", shown(found)));
            Err(fault.expected(format!("one of {}", quoted.join(", "))).suggest(found, words()))
        }
    })
}

/// A length of time: "10s", "5m", "2h", "1d".
pub fn duration<'d>(range: RangeInclusive<Duration>) -> impl Fn(Value<'d>) -> Option<Duration> {
    let expected = "a time such as \"10s\", \"5m\" or \"2h\"";
    let written = parsed(move |found| {
        let refuse = |why: &str| Fault::new(format!("{} {why}", shown(found))).expected(expected);
        let digits = found.trim_end_matches(|c: char| !c.is_ascii_digit());
        let unit = match &found[digits.len()..] {
            "s" => 1,
            "m" => 60,
            "h" => 3600,
            "d" => 86400,
            "" => return Err(refuse("has no unit").hint(format!("did you mean \"{found}s\"?"))),
            _ => return Err(refuse("is no length of time")),
        };
        let seconds = digits.parse::<u64>().ok().and_then(|count| count.checked_mul(unit));
        let Some(length) = seconds.map(Duration::from_secs) else {
            return Err(refuse("is no length of time"));
        };
        if range.contains(&length) {
            return Ok(length);
        }
        let (least, most) = (in_words(*range.start()), in_words(*range.end()));
        Err(Fault::new(format!("{} is out of range", shown(found)))
            .expected(format!("a time from {least} to {most}")))
    });
    move |value| match value.item() {
        DeValue::String(_) => written(value),
        DeValue::Integer(count) => {
            let fault = Fault::new("found a number without a unit").expected(expected);
            value.fault(fault.hint(format!("did you mean \"{}s\"?", count.as_str())))
        }
        _ => value.wrong_type(expected),
    }
}

fn in_words(length: Duration) -> String {
    match length.as_secs() {
        0 => "0s".to_owned(),
        s if s % 86400 == 0 => format!("{}d", s / 86400),
        s if s % 3600 == 0 => format!("{}h", s / 3600),
        s if s % 60 == 0 => format!("{}m", s / 60),
        s => format!("{s}s"),
    }
}

/// A list whose elements are all of one kind. Every bad element is reported.
pub fn list<'d, T>(kind: impl Fn(Value<'d>) -> Option<T>) -> impl Fn(Value<'d>) -> Option<Vec<T>> {
    move |value| {
        let elements = value.into_elements()?;
        let count = elements.len();
        let good: Vec<T> = elements.into_iter().filter_map(&kind).collect();
        (good.len() == count).then_some(good)
    }
}

/// A table with known keys; those that `read` does not ask for are reported.
pub fn table<'d, T>(read: impl Fn(&mut Table<'d>) -> Option<T>) -> impl Fn(Value<'d>) -> Option<T> {
    move |value| {
        let mut table = value.into_table()?;
        let read = read(&mut table);
        table.finish();
        read
    }
}

/// A table with free keys, in the order of the file. Bad entries are reported and left out.
pub fn entries<'d, K, T>(
    key: impl Fn(&str) -> Result<K, Fault>,
    kind: impl Fn(Value<'d>) -> Option<T>,
) -> impl Fn(Value<'d>) -> Option<Vec<(K, T)>> {
    move |value| {
        let entry = |value: Value<'d>| {
            let key = key(value.key()).or_else(|fault| value.label().fault(fault).ok_or(())).ok();
            let meaning = kind(value);
            Some((key?, meaning?))
        };
        Some(value.into_table()?.take_all().into_iter().filter_map(entry).collect())
    }
}

/// Keeps the place beside the value, for checks across a document.
pub fn placed<'d, T>(kind: impl Fn(Value<'d>) -> Option<T>) -> impl Fn(Value<'d>) -> Option<Placed<'d, T>> {
    move |value| {
        let place = value.place().clone();
        kind(value).map(|value| Placed { value, place })
    }
}

/// A value that no source line may show. The kind's own messages must not quote it either.
pub fn secret<'d, T>(kind: impl Fn(Value<'d>) -> Option<T>) -> impl Fn(Value<'d>) -> Option<T> {
    move |value| {
        value.conceal();
        kind(value)
    }
}

fn one_line<'d>(value: &Value<'d>) -> Option<&'d str> {
    let DeValue::String(text) = value.item() else { return value.wrong_type("a string") };
    if text.bytes().all(|b| b.is_ascii_graphic() || b == b' ') {
        return Some(text);
    }
    match text.chars().find(|c| !is_plain(*c)) {
        Some(c) => value.fault(control_character(c)),
        None => Some(text),
    }
}

fn control_character(c: char) -> Fault {
    let name = match c {
        '\n' => "a line end".to_owned(),
        '\t' => "a tab".to_owned(),
        c => format!("the invisible character U+{:04X}", u32::from(c)),
    };
    Fault::new(format!("holds {name}")).expected("visible characters only")
}
