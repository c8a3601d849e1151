//! Zones: UTC, fixed offsets, and those of the IANA database, which is part of the program.
//!
//! Nothing is read from the machine: "Local" is UTC.

use jiff::Timestamp;
use jiff::tz::TimeZone;
use std::rc::Rc;

#[derive(Clone, Debug)]
pub(in crate::template) enum Zone {
    Utc,
    /// An abbreviation, which may be empty, and seconds east of UTC.
    Fixed(Rc<str>, i32),
    Named(TimeZone),
}

impl Zone {
    /// The zone of a name; a name that is not known gives UTC, as in sprig and Loki.
    pub fn named(name: &[u8]) -> Self {
        let Ok(name) = std::str::from_utf8(name) else { return Zone::Utc };
        if matches!(name, "" | "UTC" | "Local") {
            return Zone::Utc;
        }
        match TimeZone::get(name) {
            // Go finds names in a file system: case counts.
            Ok(zone) if zone.iana_name() == Some(name) => Zone::Named(zone),
            _ => Zone::Utc,
        }
    }

    /// Seconds east of UTC at an instant, and the abbreviation.
    pub fn offset(&self, seconds: i64) -> (i32, String) {
        match self {
            Zone::Utc => (0, "UTC".to_owned()),
            Zone::Fixed(name, offset) => (*offset, name.to_string()),
            Zone::Named(zone) => {
                let range = Timestamp::MIN.as_second()..=Timestamp::MAX.as_second();
                let instant = Timestamp::from_second(seconds.clamp(*range.start(), *range.end())).unwrap_or_default();
                let info = zone.to_offset_info(instant);
                (info.offset().seconds(), info.abbreviation().to_owned())
            }
        }
    }

    /// The instant that a clock in the zone shows as this, read as if it were UTC. Of two such
    /// instants, or none, it is the one Go takes.
    pub fn instant(&self, shown: i64) -> i64 {
        let (first, _) = self.offset(shown);
        let guess = shown.saturating_sub(i64::from(first));
        let (second, _) = self.offset(guess);
        shown.saturating_sub(i64::from(if first == 0 { first } else { second }))
    }

    /// The offset that an abbreviation means in the zone about an instant, if it is one of the zone's.
    pub fn offset_of(&self, abbreviation: &str, shown: i64) -> Option<i32> {
        let half_year = 182 * 86_400;
        let mut fallback = None;
        for about in [shown, shown.saturating_sub(half_year), shown.saturating_add(half_year)] {
            let (offset, name) = self.offset(about);
            if name == abbreviation && !matches!(self, Zone::Utc) {
                if self.offset(shown.saturating_sub(i64::from(offset))).1 == abbreviation {
                    return Some(offset);
                }
                fallback = fallback.or(Some(offset));
            }
        }
        fallback
    }
}
