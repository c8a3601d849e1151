//! Calendar months in UTC: the unit of one file of the manifest.

use timberlog_types::Day;

/// A month of the proleptic Gregorian calendar, counted from January of the year 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Month(i32);

impl Month {
    /// The month that a day is in.
    pub fn of(day: Day) -> Self {
        // Source: https://howardhinnant.github.io/date_algorithms.html (civil_from_days).
        let days = i64::from(day.0) + 719_468;
        let era = days.div_euclid(146_097);
        let day_of_era = days.rem_euclid(146_097);
        let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
        let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let month_from_march = (5 * day_of_year + 2) / 153;
        // The calendar year starts in January, the algorithm's in March: months 10 and 11 are
        // January and February of the next year, which the sum of months gets right by itself.
        let months = (era * 400 + year_of_era) * 12 + month_from_march + 2;
        // An i32 of days has at most 71 million months.
        Self(i32::try_from(months).unwrap_or(i32::MAX))
    }

    /// Parses `2026-11`.
    pub fn parse(text: &str) -> Option<Self> {
        let (year, month) = text.split_once('-')?;
        let digits = |part: &str, len: usize| part.len() == len && part.bytes().all(|b| b.is_ascii_digit());
        if !digits(year, 4) || !digits(month, 2) {
            return None;
        }
        let (year, month): (i32, i32) = (year.parse().ok()?, month.parse().ok()?);
        (1..=12).contains(&month).then_some(Self(year * 12 + month - 1))
    }
}

impl std::fmt::Display for Month {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:04}-{:02}", self.0.div_euclid(12), self.0.rem_euclid(12) + 1)
    }
}

#[cfg(test)]
mod tests {
    use super::Month;
    use timberlog_types::Day;

    #[test]
    fn a_month_is_the_first_seven_characters_of_its_days() {
        for day in (Day::of(i64::MIN).0..=Day::of(i64::MAX).0).map(Day) {
            let month = Month::of(day);
            let text = month.to_string();
            assert_eq!(text, day.to_string()[..7]);
            assert_eq!(Month::parse(&text), Some(month));
        }
        for text in ["", "2026", "2026-13", "2026-00", "2026-1", "+026-01", "2026-01-01"] {
            assert_eq!(Month::parse(text), None, "{text}");
        }
    }
}
