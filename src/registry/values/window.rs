//! When a client may be updated, and how much swap its server gets.

use std::fmt;

use super::checked_text;
use crate::diagnostic::{Fault, shown};

checked_text! {
    /// When a client may be updated: `22:00-05:00 Europe/Paris`, or `always`.
    UpdateWindow
}

impl UpdateWindow {
    /// # Errors
    /// Anything but two times of day and a time zone. Whether the zone exists is known where the
    /// clock is.
    pub fn parse(text: &str) -> Result<Self, Fault> {
        let refuse = |why: &str| {
            Fault::new(format!("{} {why}", shown(text)))
                .expected("two times and a zone, such as \"22:00-05:00 Europe/Paris\", or \"always\"")
        };
        if text == "always" {
            return Ok(UpdateWindow(text.to_owned()));
        }
        let (times, zone) = match text.split_once(' ') {
            Some((times, zone)) => (times, Some(zone)),
            None => (text, None),
        };
        let (from, to) = times.split_once('-').ok_or_else(|| refuse("is no span of time"))?;
        if !is_time(from) || !is_time(to) {
            return Err(refuse("has no good time of day"));
        }
        if from == to {
            return Err(refuse("ends when it begins").hint("for the whole day write \"always\""));
        }
        let zone = zone.ok_or_else(|| refuse("has no time zone"))?;
        let part = |part: &str| {
            part.starts_with(|c: char| c.is_ascii_alphabetic())
                && part.bytes().all(|b| b.is_ascii_alphanumeric() || b"_+-".contains(&b))
        };
        if !zone.split('/').all(part) {
            return Err(refuse("has no good time zone"));
        }
        Ok(UpdateWindow(text.to_owned()))
    }
}

impl UpdateWindow {
    /// The zone's name; UTC for `always`, where it does not matter.
    #[must_use]
    pub fn zone(&self) -> &str {
        self.split_once(' ').map_or("UTC", |(_, zone)| zone)
    }

    /// Whether a time of day in that zone is within the window; its end is not.
    #[must_use]
    pub fn contains(&self, hour: u8, minute: u8) -> bool {
        let Some((from, to)) = self.split_once(' ').and_then(|(times, _)| times.split_once('-')) else {
            return true;
        };
        // `HH:MM` with leading zeros sorts as the times do.
        let now = format!("{hour:02}:{minute:02}");
        let (now, after_from) = (now.as_str(), now.as_str() >= from);
        if from < to { after_from && now < to } else { after_from || now < to }
    }
}

/// `HH:MM` of a day.
fn is_time(text: &str) -> bool {
    let Some((hour, minute)) = text.split_once(':') else { return false };
    let within = |text: &str, most: u8| {
        text.len() == 2
            && text.bytes().all(|b| b.is_ascii_digit())
            && text.parse::<u8>().is_ok_and(|value| value <= most)
    };
    within(hour, 23) && within(minute, 59)
}

/// Swap space of a server.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Swap {
    /// Made where memory is short.
    #[default]
    Auto,
    Off,
    /// Size in MiB.
    Mebibytes(u32),
}

impl Swap {
    /// # Errors
    /// Anything but `auto`, `off` or a size such as `2G` or `512M`, at most 64 GiB.
    pub fn parse(text: &str) -> Result<Self, Fault> {
        let refuse = || {
            Fault::new(format!("{} is no amount of swap", shown(text)))
                .expected("\"auto\", \"off\", or a size from \"64M\" to \"64G\"")
        };
        let size = |count: &str, unit: u32| {
            let digits = count.bytes().all(|b| b.is_ascii_digit());
            let count = digits.then(|| count.parse::<u32>().ok()).flatten()?;
            count.checked_mul(unit).filter(|size| (64..=64 * 1024).contains(size)).map(Swap::Mebibytes)
        };
        match text {
            "auto" => Ok(Swap::Auto),
            "off" => Ok(Swap::Off),
            _ => match text.split_at_checked(text.len().saturating_sub(1)) {
                Some((count, "G" | "g")) => size(count, 1024).ok_or_else(refuse),
                Some((count, "M" | "m")) => size(count, 1).ok_or_else(refuse),
                _ => Err(refuse()),
            },
        }
    }
}

impl fmt::Display for Swap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Swap::Auto => f.write_str("auto"),
            Swap::Off => f.write_str("off"),
            Swap::Mebibytes(size) if size % 1024 == 0 => write!(f, "{}G", size / 1024),
            Swap::Mebibytes(size) => write!(f, "{size}M"),
        }
    }
}

/// A number of bytes such as 500K, 20M, 100G or 1T; each letter is 1024 times the one before.
///
/// # Errors
/// What was expected.
pub fn byte_count(text: &str) -> Result<u64, Fault> {
    let split = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(split);
    let power = match unit {
        "K" => 1,
        "M" => 2,
        "G" => 3,
        "T" => 4,
        _ => 0,
    };
    let bytes = number.parse::<u64>().ok().and_then(|number| number.checked_mul(1024_u64.pow(power)));
    match bytes.filter(|bytes| *bytes > 0 && power > 0) {
        Some(bytes) => Ok(bytes),
        None => {
            Err(Fault::new(format!("{} is no size", shown(text))).expected("a size such as 20M, 100G or 1T"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_window_may_go_over_midnight() {
        let night = UpdateWindow::parse("22:00-05:00 Europe/Paris").unwrap();
        assert_eq!(night.zone(), "Europe/Paris");
        for (hour, minute, within) in
            [(22, 0, true), (23, 59, true), (4, 59, true), (5, 0, false), (21, 59, false)]
        {
            assert_eq!(night.contains(hour, minute), within, "{hour}:{minute}");
        }
        let day = UpdateWindow::parse("09:30-17:00 UTC").unwrap();
        assert!(day.contains(9, 30) && !day.contains(17, 0) && !day.contains(3, 0));
        assert!(UpdateWindow::parse("always").unwrap().contains(12, 0));
    }
}
