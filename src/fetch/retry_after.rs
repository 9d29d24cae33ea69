//! How long a server wants to be left alone.

use std::time::Duration;

use time::OffsetDateTime;
use time::format_description::well_known::Rfc2822;

/// What a `Retry-After` says: seconds, or a date. `None` where it says neither.
pub(super) fn retry_after(value: &str, now: OffsetDateTime) -> Option<Duration> {
    let value = value.trim();
    if !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit()) {
        // More digits than a number holds are more than anybody waits.
        return Some(Duration::from_secs(value.parse().unwrap_or(u64::from(u32::MAX))));
    }
    let until = OffsetDateTime::parse(value, &Rfc2822).ok()?;
    Some(Duration::try_from(until - now).unwrap_or(Duration::ZERO))
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::*;

    #[test]
    fn seconds_and_dates_are_understood_and_nothing_else() {
        let after = |value: &str| retry_after(value, datetime!(2026-08-02 12:00:00 UTC)).map(|time| time.as_secs());
        assert_eq!([after("3574"), after(" 0 "), after("99999999999999999999")], [Some(3574), Some(0), Some(u64::from(u32::MAX))]);
        assert_eq!(after("Sun, 02 Aug 2026 13:00:05 GMT"), Some(3605));
        assert_eq!(after("Sun, 02 Aug 2026 11:00:00 GMT"), Some(0));
        for none in ["", "soon", "-1", "1.5", "2026-08-02"] {
            assert_eq!(after(none), None, "{none}");
        }
    }
}
