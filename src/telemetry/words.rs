//! Numbers as people read them.

use std::time::Duration;

use indicatif::{BinaryBytes, HumanCount};

/// `1,234,567`.
pub fn count(number: u64) -> String {
    HumanCount(number).to_string()
}

/// `256.00 MiB`.
pub fn bytes(number: u64) -> String {
    BinaryBytes(number).to_string()
}

/// A rate with the digits that mean something: `38,123/s`, `2.5/s`.
pub fn rate(per_second: f64) -> String {
    match per_second {
        slow if slow < 10.0 => format!("{slow:.1}/s"),
        fast => format!("{}/s", count(fast.round() as u64)),
    }
}

/// Megabytes a second: `21.3 MB/s`.
pub fn byte_rate(per_second: f64) -> String {
    format!("{:.1} MB/s", per_second / 1e6)
}

/// How long something took: `0.8 s`, `42 s`, `3 min 20 s`, `2 h 05 min`.
pub fn duration(time: Duration) -> String {
    let seconds = time.as_secs();
    match seconds {
        0..10 => format!("{:.1} s", time.as_secs_f64()),
        10..60 => format!("{seconds} s"),
        60..3600 => format!("{} min {:02} s", seconds / 60, seconds % 60),
        _ => format!("{} h {:02} min", seconds / 3600, seconds / 60 % 60),
    }
}

/// How long something short took, with the digits that mean something: `840 µs`, `2.1 ms`, `38 ms`, `1.4 s`, `42 s`.
pub fn latency(seconds: f64) -> String {
    match seconds {
        ..0.000_999_5 => format!("{:.0} µs", seconds * 1e6),
        ..0.009_95 => format!("{:.1} ms", seconds * 1e3),
        ..0.999_5 => format!("{:.0} ms", seconds * 1e3),
        ..9.95 => format!("{seconds:.1} s"),
        _ => format!("{seconds:.0} s"),
    }
}

/// How long something will still take, no finer than it can be known: `about 3 min left`.
pub fn time_left(time: Duration) -> String {
    let seconds = time.as_secs();
    match seconds {
        0..90 => format!("about {} s left", seconds.max(1)),
        90..5400 => format!("about {} min left", (seconds + 30) / 60),
        _ => format!("about {} h {:02} min left", seconds / 3600, seconds / 60 % 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn large_counts_have_thousands_separators() {
        assert_eq!([count(0), count(999), count(1_234_567)], ["0", "999", "1,234,567"]);
        assert_eq!([rate(2.54), rate(38_123.4)], ["2.5/s", "38,123/s"]);
    }

    #[test]
    fn bytes_are_in_binary_units_and_their_rate_in_megabytes() {
        assert_eq!([bytes(512), bytes(256 << 20)], ["512 B", "256.00 MiB"]);
        assert_eq!(byte_rate(21_340_000.0), "21.3 MB/s");
    }

    #[test]
    fn latencies_are_told_in_the_unit_that_fits() {
        let said = [0.000_840_4, 0.002_14, 0.037_6, 0.999_4, 1.44, 9.96, 421.9].map(latency);
        assert_eq!(said, ["840 µs", "2.1 ms", "38 ms", "999 ms", "1.4 s", "10 s", "422 s"]);
    }

    #[test]
    fn durations_are_as_fine_as_they_are_short() {
        let said = |millis| duration(Duration::from_millis(millis));
        assert_eq!([said(840), said(42_000), said(200_000), said(7_500_000)], ["0.8 s", "42 s", "3 min 20 s", "2 h 05 min"]);
        let left = |seconds| time_left(Duration::from_secs(seconds));
        assert_eq!([left(0), left(170), left(7500)], ["about 1 s left", "about 3 min left", "about 2 h 05 min left"]);
    }
}
