//! Five-field cron lines (POSIX `crontab`, with the steps and names that every cron knows).

use super::checked_text;
use crate::diagnostic::{Fault, shown};

checked_text! {
    /// When something runs, in the host's time zone: minute, hour, day of month, month, weekday.
    CronLine
}

struct Field {
    name: &'static str,
    least: u8,
    most: u8,
    /// Words for the numbers from `least` on.
    names: &'static [&'static str],
}

const FIELDS: [Field; 5] = [
    Field { name: "minute", least: 0, most: 59, names: &[] },
    Field { name: "hour", least: 0, most: 23, names: &[] },
    Field { name: "day of the month", least: 1, most: 31, names: &[] },
    Field {
        name: "month",
        least: 1,
        most: 12,
        names: &["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"],
    },
    // 0 and 7 are Sunday.
    Field { name: "weekday", least: 0, most: 7, names: &["sun", "mon", "tue", "wed", "thu", "fri", "sat"] },
];

/// Words that some crons know, and what they stand for.
const WORDS: [(&str, &str); 7] = [
    ("@hourly", "0 * * * *"),
    ("@daily", "0 0 * * *"),
    ("@midnight", "0 0 * * *"),
    ("@weekly", "0 0 * * 0"),
    ("@monthly", "0 0 1 * *"),
    ("@yearly", "0 0 1 1 *"),
    ("@annually", "0 0 1 1 *"),
];

impl CronLine {
    /// Blanks between the fields become one space each.
    ///
    /// # Errors
    /// Anything that is not five fields in range, and a day that never comes. Words such as
    /// `@daily` are refused with the line they stand for: Sentry's monitors take fields only.
    pub fn parse(text: &str) -> Result<Self, Fault> {
        let expected = "five fields: minute, hour, day of the month, month, weekday, such as \"0 2 * * *\"";
        if let Some(word) = text.trim().strip_prefix('@') {
            let fault = Fault::new(format!("{} is no line of five fields", shown(text))).expected(expected);
            let known = WORDS.iter().find(|(name, _)| name[1..].eq_ignore_ascii_case(word));
            return Err(match known {
                Some((_, line)) => fault.hint(format!("write \"{line}\"")),
                None => fault,
            });
        }
        let fields: Vec<&str> = text.split(' ').filter(|field| !field.is_empty()).collect();
        if fields.len() != 5 {
            let count = match fields.len() {
                0 => "is empty".to_owned(),
                1 => format!("{} has 1 field", shown(text)),
                n => format!("{} has {n} fields", shown(text)),
            };
            return Err(Fault::new(count).expected(expected));
        }
        let mut sets = [0_u64; 5];
        for ((field, text), set) in FIELDS.iter().zip(&fields).zip(&mut sets) {
            *set = field.parse(text)?;
        }
        if fields[4] == "*" && !some_day_exists(sets[2], sets[3]) {
            return Err(Fault::new(format!("{} never comes: no such month has that day", shown(text))));
        }
        Ok(CronLine(fields.join(" ")))
    }

    /// The numbers that each field names, one bit each.
    #[must_use]
    pub fn sets(&self) -> [u64; 5] {
        let mut sets = [0; 5];
        for ((field, text), set) in FIELDS.iter().zip(self.split(' ')).zip(&mut sets) {
            // It was checked when it was made.
            *set = field.parse(text).unwrap_or_default();
        }
        sets
    }
}

fn some_day_exists(days: u64, months: u64) -> bool {
    const LONGEST: [u32; 12] = [31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
    let first = days.trailing_zeros();
    LONGEST.iter().zip(1..).any(|(longest, month)| months >> month & 1 == 1 && first <= *longest)
}

impl Field {
    /// The numbers that the field names, one bit each.
    fn parse(&self, text: &str) -> Result<u64, Fault> {
        text.split(',').try_fold(0, |set, part| Ok(set | self.part(part)?))
    }

    /// `*`, `n` or `n-m`, and `/step` after a range.
    fn part(&self, part: &str) -> Result<u64, Fault> {
        let refuse = || {
            let example =
                self.names.get(1).map(|name| format!(", or names such as {name}")).unwrap_or_default();
            Fault::new(format!("{} is no {}", shown(part), self.name)).expected(format!(
                "numbers from {} to {}{example}, with *, ranges 1-5, lists 1,2 and steps */2",
                self.least, self.most
            ))
        };
        let (range, step) = match part.split_once('/') {
            Some((range, step)) => (range, Some(number(step).filter(|step| *step > 0).ok_or_else(refuse)?)),
            None => (part, None),
        };
        let (from, to) = match range.split_once('-') {
            _ if range == "*" => (self.least, self.most),
            Some((from, to)) => (self.value(from).ok_or_else(refuse)?, self.value(to).ok_or_else(refuse)?),
            // `5/10` means from 5 on in some crons and nothing in others.
            None if step.is_some() => return Err(refuse()),
            None => self.value(range).map(|value| (value, value)).ok_or_else(refuse)?,
        };
        if from > to || step.is_some_and(|step| step > self.most) {
            return Err(refuse());
        }
        Ok((from..=to).step_by(usize::from(step.unwrap_or(1))).fold(0, |set, value| set | 1 << value))
    }

    fn value(&self, text: &str) -> Option<u8> {
        let named = || self.names.iter().position(|name| text.eq_ignore_ascii_case(name));
        let value = match number(text) {
            Some(value) => value,
            None => u8::try_from(named()?).ok()? + self.least,
        };
        (self.least..=self.most).contains(&value).then_some(value)
    }
}

/// Digits only: `parse` alone would take a sign.
fn number(text: &str) -> Option<u8> {
    text.bytes().all(|b| b.is_ascii_digit()).then(|| text.parse().ok()).flatten()
}
