//! Times, durations, months and weekdays as Go's `time` has them, without a clock.

mod layout;
mod parse;
mod zone;

pub(super) use zone::Zone;

use std::fmt;

/// An instant and the zone it is shown in.
#[derive(Clone, Debug)]
pub(super) struct Time {
    /// Seconds since 1970.
    pub seconds: i64,
    /// 0 to 999,999,999.
    pub nanos: u32,
    pub zone: Zone,
}

/// Go's `time.Duration`, in nanoseconds.
#[derive(Clone, Copy, Debug)]
pub(super) struct Duration(pub i64);

/// Go's `time.Month`: 1 is January.
#[derive(Clone, Copy, Debug)]
pub(super) struct Month(pub u8);

/// Go's `time.Weekday`: 0 is Sunday.
#[derive(Clone, Copy, Debug)]
pub(super) struct Weekday(pub u8);

pub(super) const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];
pub(super) const DAYS: [&str; 7] = ["Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"];

/// Seconds from year 1 to 1970.
const YEAR_ONE: i64 = -62_135_596_800;
const DAY: i64 = 86_400;

/// A time in the terms of the calendar and the clock of its zone.
#[derive(Clone, Copy, Debug)]
pub(super) struct Civil {
    pub year: i64,
    /// 1 to 12.
    pub month: u8,
    pub day: u8,
    pub hour: u8,
    pub minute: u8,
    pub second: u8,
    /// 0 is Sunday.
    pub weekday: u8,
    /// From 1.
    pub year_day: u16,
}

/// Days from 1970 to a date; the month may be any from 1 to 12, the day any number.
pub(super) fn days_from_civil(year: i64, month: u8, day: i64) -> i64 {
    // Years begin in March, so that the leap day is the last of them.
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let month_from_march = (i64::from(month) + 9) % 12;
    let day_of_year = (153 * month_from_march + 2) / 5 + day - 1;
    era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719_468
}

pub(super) fn is_leap(year: i64) -> bool {
    year % 4 == 0 && (year % 100 != 0 || year % 400 == 0)
}

pub(super) fn days_in(month: u8, year: i64) -> i64 {
    match month {
        2 if is_leap(year) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// The calendar and clock of seconds since 1970.
fn civil(seconds: i64) -> Civil {
    let days = seconds.div_euclid(DAY);
    let clock = seconds.rem_euclid(DAY);
    let shifted = days + 719_468;
    let era = shifted.div_euclid(146_097);
    let day_of_era = shifted.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    let small = |value: i64| u8::try_from(value).unwrap_or(0);
    Civil {
        year,
        month: small(month),
        day: small(day),
        hour: small(clock / 3600),
        minute: small(clock / 60 % 60),
        second: small(clock % 60),
        weekday: small((days + 4).rem_euclid(7)),
        year_day: u16::try_from(days - days_from_civil(year, 1, 1) + 1).unwrap_or(0),
    }
}

impl Time {
    pub fn from_ns(ns: i64) -> Self {
        let nanos = u32::try_from(ns.rem_euclid(1_000_000_000)).unwrap_or(0);
        Self { seconds: ns.div_euclid(1_000_000_000), nanos, zone: Zone::Utc }
    }

    pub fn from_seconds(seconds: i64) -> Self {
        Self { seconds, nanos: 0, zone: Zone::Utc }
    }

    /// Go's zero time: what cannot be read as one gives this.
    pub fn zero() -> Self {
        Self::from_seconds(YEAR_ONE)
    }

    pub fn is_zero(&self) -> bool {
        self.seconds == YEAR_ONE && self.nanos == 0
    }

    /// The same instant, shown in another zone.
    pub fn in_zone(&self, zone: Zone) -> Self {
        Self { zone, ..*self }
    }

    /// Nanoseconds since 1970; beyond 64 bits it wraps around, as in Go.
    pub fn unix_nanos(&self) -> i64 {
        self.seconds.wrapping_mul(1_000_000_000).wrapping_add(i64::from(self.nanos))
    }

    /// Seconds since 1970 in units of `per_second`, a power of ten up to 10^9.
    pub fn unix(&self, per_second: i64) -> i64 {
        self.seconds.wrapping_mul(per_second).wrapping_add(i64::from(self.nanos) / (1_000_000_000 / per_second.max(1)))
    }

    /// The Go expression that makes it, as `%#v` shows it. What is not in a zone of its own is in that of the server.
    pub fn as_source(&self) -> String {
        let Civil { year, month, day, hour, minute, second, .. } = self.civil();
        let zone = match &self.zone {
            Zone::Utc => "time.Local".to_owned(),
            Zone::Fixed(name, _) => format!("time.Location({})", crate::units::quote(name)),
            Zone::Named(zone) => {
                format!("time.Location({})", crate::units::quote(zone.iana_name().unwrap_or_default()))
            }
        };
        let month = Month(month);
        format!("time.Date({year}, time.{month}, {day}, {hour}, {minute}, {second}, {}, {zone})", self.nanos)
    }

    pub fn civil(&self) -> Civil {
        civil(self.seconds.saturating_add(i64::from(self.zone.offset(self.seconds).0)))
    }

    pub fn plus(&self, duration: Duration) -> Self {
        let nanos = i64::from(self.nanos) + duration.0.rem_euclid(1_000_000_000);
        let seconds = self.seconds.wrapping_add(duration.0.div_euclid(1_000_000_000));
        Self {
            seconds: seconds.wrapping_add(nanos / 1_000_000_000),
            nanos: u32::try_from(nanos % 1_000_000_000).unwrap_or(0),
            zone: self.zone.clone(),
        }
    }

    /// Time from another to this, within what a duration can hold.
    pub fn since(&self, other: &Time) -> Duration {
        let ns = (i128::from(self.seconds) - i128::from(other.seconds)) * 1_000_000_000 + i128::from(self.nanos)
            - i128::from(other.nanos);
        Duration(i64::try_from(ns).unwrap_or(if ns > 0 { i64::MAX } else { i64::MIN }))
    }

    /// By Go's reference layout (`2006-01-02 15:04:05`).
    pub fn format(&self, layout: &[u8]) -> Vec<u8> {
        layout::format(self, layout)
    }

    /// Reads a text by a layout; without an offset in it, it is of the zone.
    pub fn parse(layout: &[u8], text: &[u8], zone: Zone) -> Option<Self> {
        parse::parse(layout, text, zone)
    }
}

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&String::from_utf8_lossy(&self.format(b"2006-01-02 15:04:05.999999999 -0700 MST")))
    }
}

impl fmt::Display for Duration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&crate::units::print_go_duration(self.0))
    }
}

impl fmt::Display for Month {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(MONTHS.get(usize::from(self.0).wrapping_sub(1)).unwrap_or(&""))
    }
}

impl fmt::Display for Weekday {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(DAYS.get(usize::from(self.0)).unwrap_or(&""))
    }
}
