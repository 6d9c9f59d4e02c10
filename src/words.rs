//! How numbers are said to people.

/// A size, by thousands.
#[must_use]
pub fn bytes(bytes: u64) -> String {
    let (mut size, mut unit) = (bytes as f64, "B");
    for larger in ["kB", "MB", "GB", "TB"] {
        if size >= 999.5 {
            (size, unit) = (size / 1000.0, larger);
        }
    }
    let digits = usize::from(size < 9.95 && unit != "B");
    format!("{size:.digits$} {unit}")
}

/// A length of time in seconds, by its two largest units.
#[must_use]
pub fn lasted(seconds: i64) -> String {
    let minutes = seconds.div_euclid(60);
    let (days, hours, minutes) = (minutes / 1440, minutes / 60 % 24, minutes % 60);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{seconds} s"),
        (0, 0, minutes) => format!("{minutes} min"),
        (0, hours, minutes) => format!("{hours} h {minutes} min"),
        (days, hours, _) => format!("{days} d {hours} h"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_and_times_have_a_unit() {
        assert_eq!(
            [0, 999, 1_000, 9_960, 12_345_678].map(bytes),
            ["0 B", "999 B", "1.0 kB", "10 kB", "12 MB"]
        );
        assert_eq!([0, 59, 60, 3_700, 90_061].map(lasted), ["0 s", "59 s", "1 min", "1 h 1 min", "1 d 1 h"]);
    }
}
