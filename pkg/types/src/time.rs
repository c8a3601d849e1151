//! Times: nanoseconds since 1970-01-01 UTC in an `i64` (1677 to 2262), their texts, and ranges.

use chrono::{DateTime, SecondsFormat};

/// Nanoseconds in a second.
pub const SECOND_NS: i64 = 1_000_000_000;
/// Nanoseconds in an hour.
pub const HOUR_NS: i64 = 3600 * SECOND_NS;
/// Nanoseconds in a day.
pub const DAY_NS: i64 = 24 * HOUR_NS;

/// A range of times in nanoseconds, both ends included, so that every `i64` can be in one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TimeRange {
    /// The first nanosecond.
    pub start: i64,
    /// The last nanosecond.
    pub end: i64,
}

impl TimeRange {
    /// All of time.
    pub const ALL: Self = Self { start: i64::MIN, end: i64::MAX };

    /// Whether no time is in the range.
    pub fn is_empty(self) -> bool {
        self.start > self.end
    }

    /// Whether a time is in the range.
    pub fn contains(self, time: i64) -> bool {
        self.start <= time && time <= self.end
    }

    /// Whether every time of `other` is in this range.
    pub fn covers(self, other: Self) -> bool {
        self.start <= other.start && other.end <= self.end
    }

    /// Whether the two ranges share a time.
    pub fn overlaps(self, other: Self) -> bool {
        self.start <= other.end && other.start <= self.end
    }

    /// The times in both ranges; empty if there are none.
    pub fn intersect(self, other: Self) -> Self {
        Self { start: self.start.max(other.start), end: self.end.min(other.end) }
    }
}

/// A UTC day: the number of days since 1970-01-01.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Day(pub i32);

impl Day {
    /// The day of a time.
    pub fn of(time: i64) -> Self {
        // |i64| / 86.4e12 is below 107,000.
        Self(time.div_euclid(DAY_NS) as i32)
    }

    /// The times of the day.
    pub fn range(self) -> TimeRange {
        let start = i64::from(self.0).saturating_mul(DAY_NS);
        TimeRange { start, end: start.saturating_add(DAY_NS - 1) }
    }

    /// Parses `2026-11-21`.
    pub fn parse(text: &str) -> Option<Self> {
        let date = chrono::NaiveDate::parse_from_str(text, "%Y-%m-%d").ok()?;
        let days = date.signed_duration_since(chrono::NaiveDate::default()).num_days();
        i32::try_from(days).ok().map(Self)
    }
}

impl std::fmt::Display for Day {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let date = chrono::NaiveDate::default() + chrono::TimeDelta::days(i64::from(self.0));
        write!(f, "{}", date.format("%Y-%m-%d"))
    }
}

/// Why a text or number is not a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TimeError {
    /// Neither RFC 3339 nor a number.
    #[error("expected RFC 3339 or a unix time in s, ms, µs or ns")]
    Malformed,
    /// Before 1677-09-21 or after 2262-04-11.
    #[error("outside of 1677-09-21 to 2262-04-11, which is what nanoseconds in 64 bits can hold")]
    OutOfRange,
}

/// Parses a timestamp as senders write it: RFC 3339 (the `T` may be a space; without an offset it
/// is UTC), or a decimal number whose unit is told by its magnitude (see [`parse_unix`]).
pub fn parse(text: &[u8]) -> Result<i64, TimeError> {
    match parse_rfc3339(text) {
        Err(TimeError::Malformed) => parse_unix(text),
        other => other,
    }
}

/// Parses a decimal unix time. Below 10¹¹ it is seconds (until the year 5138), below 10¹⁴
/// milliseconds, below 10¹⁷ microseconds, else nanoseconds. A fraction is exact to the nanosecond;
/// an exponent is understood.
pub fn parse_unix(text: &[u8]) -> Result<i64, TimeError> {
    let text = std::str::from_utf8(text).map_err(|_| TimeError::Malformed)?.trim();
    let (negative, digits) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text),
    };
    if digits.bytes().any(|b| b == b'e' || b == b'E') {
        return parse_unix_float(text);
    }
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let all_digits = |part: &str| part.bytes().all(|b| b.is_ascii_digit());
    if whole.is_empty() || !all_digits(whole) || !all_digits(fraction) {
        return Err(TimeError::Malformed);
    }
    let whole: u64 = whole.parse().map_err(|_| TimeError::OutOfRange)?;
    let unit = match whole {
        ..100_000_000_000 => SECOND_NS,
        100_000_000_000..100_000_000_000_000 => 1_000_000,
        100_000_000_000_000..100_000_000_000_000_000 => 1_000,
        _ => 1,
    };
    // Wider than the result: the first time of all has no positive counterpart.
    let mut ns = i128::from(whole) * i128::from(unit);
    let mut scale = unit / 10;
    for digit in fraction.bytes().take(9) {
        ns += i128::from(i64::from(digit - b'0') * scale);
        scale /= 10;
    }
    i64::try_from(if negative { -ns } else { ns }).map_err(|_| TimeError::OutOfRange)
}

fn parse_unix_float(text: &str) -> Result<i64, TimeError> {
    let number: f64 = text.parse().map_err(|_| TimeError::Malformed)?;
    if !number.is_finite() {
        return Err(TimeError::Malformed);
    }
    let unit = match number.abs() {
        m if m < 1e11 => 1e9,
        m if m < 1e14 => 1e6,
        m if m < 1e17 => 1e3,
        _ => 1.0,
    };
    let ns = number * unit;
    if ns.abs() < i64::MAX as f64 { Ok(ns as i64) } else { Err(TimeError::OutOfRange) }
}

/// Parses RFC 3339: `2026-11-21T10:15:00.123456789Z`, any offset, any number of fraction digits
/// (those behind the ninth are cut); a space for the `T` and a missing offset (UTC) are accepted.
pub fn parse_rfc3339(text: &[u8]) -> Result<i64, TimeError> {
    let fields = text.first_chunk::<19>().ok_or(TimeError::Malformed)?;
    let separators = [fields[4], fields[7], fields[13], fields[16]];
    if separators != *b"--::" || !matches!(fields[10], b'T' | b't' | b' ') {
        return Err(TimeError::Malformed);
    }
    let year = number(&fields[0..4])?;
    let month = number(&fields[5..7])?;
    let day = number(&fields[8..10])?;
    let hour = number(&fields[11..13])?;
    let minute = number(&fields[14..16])?;
    let second = number(&fields[17..19])?;
    // RFC 3339 allows a leap second; it is filed as the first nanosecond of the next minute.
    if !(1..=12).contains(&month)
        || !(1..=days_in(year, month)).contains(&day)
        || hour > 23
        || minute > 59
        || second > 60
    {
        return Err(TimeError::Malformed);
    }
    let mut rest = &text[19..];
    let mut fraction = 0;
    if let Some((b'.' | b',', digits)) = rest.split_first() {
        let len = digits.iter().take_while(|b| b.is_ascii_digit()).count();
        if len == 0 {
            return Err(TimeError::Malformed);
        }
        for digit in digits[..len].iter().chain(std::iter::repeat(&b'0')).take(9) {
            fraction = fraction * 10 + i64::from(digit - b'0');
        }
        rest = &digits[len..];
    }
    let offset = parse_offset(rest)?;
    let days = days_from_civil(year, month, day);
    let seconds = days * 86_400 + hour * 3600 + minute * 60 + second - offset;
    // Of the first second that has a number, the beginning has none.
    i64::try_from(i128::from(seconds) * i128::from(SECOND_NS) + i128::from(fraction)).map_err(|_| TimeError::OutOfRange)
}

fn parse_offset(text: &[u8]) -> Result<i64, TimeError> {
    let (sign, digits) = match text {
        [] | [b'Z' | b'z'] => return Ok(0),
        [b'+', digits @ ..] => (1, digits),
        [b'-', digits @ ..] => (-1, digits),
        _ => return Err(TimeError::Malformed),
    };
    let (hours, minutes) = match digits {
        [a, b, b':', c, d] | [a, b, c, d] => (number(&[*a, *b])?, number(&[*c, *d])?),
        [a, b] => (number(&[*a, *b])?, 0),
        _ => return Err(TimeError::Malformed),
    };
    if hours > 23 || minutes > 59 {
        return Err(TimeError::Malformed);
    }
    Ok(sign * (hours * 3600 + minutes * 60))
}

fn number(digits: &[u8]) -> Result<i64, TimeError> {
    digits.iter().try_fold(0, |number, &digit| match digit {
        b'0'..=b'9' => Ok(number * 10 + i64::from(digit - b'0')),
        _ => Err(TimeError::Malformed),
    })
}

fn days_in(year: i64, month: i64) -> i64 {
    match month {
        4 | 6 | 9 | 11 => 30,
        2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
        2 => 28,
        _ => 31,
    }
}

/// Days since 1970-01-01. Source: <https://howardhinnant.github.io/date_algorithms.html>.
fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year - era * 400;
    let day_of_year = (153 * (if month > 2 { month - 3 } else { month + 9 }) + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    era * 146_097 + day_of_era - 719_468
}

/// Writes a time as RFC 3339 in UTC with nanoseconds: `2026-11-21T10:15:00.123456789Z`.
pub fn format_rfc3339(time: i64) -> String {
    DateTime::from_timestamp_nanos(time).to_rfc3339_opts(SecondsFormat::Nanos, true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rfc3339_agrees_with_chrono() {
        for text in [
            "1970-01-01T00:00:00Z",
            "2026-11-21T10:15:00.123456789Z",
            "2024-02-29T23:59:59.5+01:30",
            "1969-12-31T23:59:59.999999999-00:00",
            "1700-03-01T00:00:00.1Z",
            "2262-04-11T23:47:16.854775807Z",
        ] {
            let expected = DateTime::parse_from_rfc3339(text).unwrap().timestamp_nanos_opt().unwrap();
            assert_eq!(parse(text.as_bytes()), Ok(expected), "{text}");
            assert_eq!(parse(format_rfc3339(expected).as_bytes()), Ok(expected));
        }
    }

    #[test]
    fn texts_that_are_no_time_are_refused() {
        for text in [
            "",
            "now",
            "2026-13-01T00:00:00Z",
            "2025-02-29T00:00:00Z",
            "2026-01-01T24:00:00Z",
            "2026-01-01T00:00:00.Z",
            "2026-01-01T00:00:00+1",
            "2026-01-01",
            "1.2.3",
            "--5",
            "1e",
            "NaN",
            "inf",
        ] {
            assert_eq!(parse(text.as_bytes()), Err(TimeError::Malformed), "{text}");
        }
        for ns in [i64::MIN, i64::MIN + 17_999, i64::MAX] {
            assert_eq!(parse(format_rfc3339(ns).as_bytes()), Ok(ns));
        }
        let years_5138 = ["99999999999", "99999999999999", "99999999999999999"];
        let far = [
            "0001-01-01T00:00:00Z",
            "9999-12-31T23:59:59Z",
            "9223372036854775808",
            "-9223372036854775809",
            "99999999999999999999",
            "1e40",
        ];
        for text in far.into_iter().chain(years_5138) {
            assert_eq!(parse(text.as_bytes()), Err(TimeError::OutOfRange), "{text}");
        }
    }

    #[test]
    fn the_magnitude_tells_the_unit() {
        let second = 1_735_689_600_i64;
        for (text, expected) in [
            ("1735689600", second * SECOND_NS),
            ("1735689600123", second * SECOND_NS + 123_000_000),
            ("1735689600123456", second * SECOND_NS + 123_456_000),
            ("1735689600123456789", second * SECOND_NS + 123_456_789),
            ("1735689600.123456789", second * SECOND_NS + 123_456_789),
            ("1735689600123.5", second * SECOND_NS + 123_500_000),
            ("9223372036854775807", i64::MAX),
            ("-9223372036854775807", -i64::MAX),
            ("-9223372036854775808", i64::MIN),
            ("100000000000", 100_000_000 * SECOND_NS),
            ("100000000000000", 100_000_000 * SECOND_NS),
            ("100000000000000000", 100_000_000 * SECOND_NS),
            ("1.7356896e9", second * SECOND_NS),
            ("-1.5", -1_500_000_000),
            ("0", 0),
        ] {
            assert_eq!(parse(text.as_bytes()), Ok(expected), "{text}");
        }
    }

    #[test]
    fn days_are_utc_days() {
        assert_eq!(Day::of(-1).to_string(), "1969-12-31");
        assert_eq!(Day::of(0), Day(0));
        let day = Day::parse("2026-11-21").unwrap();
        assert_eq!(Day::of(day.range().start), day);
        assert_eq!(Day::of(day.range().end), day);
        assert!(Day::of(i64::MAX).range().contains(i64::MAX));
        assert!(Day::of(i64::MIN).range().contains(i64::MIN));
    }
}
