//! Reads a text by Go's reference layout.

use super::layout::{Element, Fraction, Parts, next};
use super::{DAYS, MONTHS, Time, Zone, days_from_civil, days_in, is_leap};

/// What was read so far.
#[derive(Default)]
struct Read {
    year: i64,
    month: Option<u8>,
    day: Option<i64>,
    year_day: Option<i64>,
    hour: i64,
    minute: i64,
    second: i64,
    nanos: u32,
    afternoon: Option<bool>,
    utc: bool,
    offset: Option<i32>,
    zone_name: String,
}

/// The text as a time; `None` if it does not fit the layout or is no date.
pub(super) fn parse(mut layout: &[u8], text: &[u8], zone: Zone) -> Option<Time> {
    let mut input = Input(text);
    let mut read = Read::default();
    loop {
        let (before, element, rest) = next(layout);
        input.skip(before)?;
        let Some((element, _)) = element else { break };
        layout = rest;
        read.element(&mut input, element, layout)?;
    }
    if !input.0.is_empty() {
        return None;
    }
    read.time(zone)
}

struct Input<'a>(&'a [u8]);

impl<'a> Input<'a> {
    fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (head, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(head)
    }

    /// Passes what a layout has between elements; a space in it stands for any number of them.
    fn skip(&mut self, mut before: &[u8]) -> Option<()> {
        while let Some(&byte) = before.first() {
            if byte == b' ' {
                if self.0.first().is_some_and(|&byte| byte != b' ') {
                    return None;
                }
                before = before.trim_ascii_start_of_spaces();
                self.0 = self.0.trim_ascii_start_of_spaces();
            } else {
                self.0 = self.0.strip_prefix(&[byte])?;
                before = before.get(1..)?;
            }
        }
        Some(())
    }

    fn digits(&self) -> usize {
        self.0.iter().take_while(|byte| byte.is_ascii_digit()).count()
    }

    /// One or two digits, or just two.
    fn number(&mut self, fixed: bool) -> Option<i64> {
        let count = self.digits().min(2);
        if count == 0 || fixed && count != 2 { None } else { decimal(self.take(count)?) }
    }

    fn number3(&mut self, fixed: bool) -> Option<i64> {
        let count = self.digits().min(3);
        if count == 0 || fixed && count != 3 { None } else { decimal(self.take(count)?) }
    }

    fn name(&mut self, names: &[&str], length: Option<usize>) -> Option<u8> {
        let found = names.iter().position(|name| {
            let name = name.as_bytes();
            let name = name.get(..length.unwrap_or(name.len())).unwrap_or(name);
            self.0.get(..name.len()).is_some_and(|head| head.eq_ignore_ascii_case(name))
        })?;
        self.take(length.unwrap_or(names.get(found)?.len()))?;
        u8::try_from(found).ok()
    }
}

trait Spaces {
    fn trim_ascii_start_of_spaces(&self) -> &Self;
}

impl Spaces for [u8] {
    fn trim_ascii_start_of_spaces(&self) -> &[u8] {
        let spaces = self.iter().take_while(|&&byte| byte == b' ').count();
        self.get(spaces..).unwrap_or_default()
    }
}

/// Digits, with a sign in front if there is one.
fn decimal(digits: &[u8]) -> Option<i64> {
    std::str::from_utf8(digits).ok()?.parse().ok()
}

/// `.123` → nanoseconds; digits behind the ninth do not count.
fn nanos(text: &[u8]) -> Option<u32> {
    let digits = text.get(1..text.len().min(10)).filter(|_| matches!(text.first(), Some(b'.' | b',')))?;
    if !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let value = decimal(digits)?;
    let scale = 10i64.checked_pow(u32::try_from(9 - digits.len()).ok()?)?;
    u32::try_from(value * scale).ok()
}

impl Read {
    fn element(&mut self, input: &mut Input<'_>, element: Element, layout: &[u8]) -> Option<()> {
        let below = |value: i64, limit: i64| (value < limit).then_some(value);
        match element {
            Element::Year => {
                let year = decimal(input.take(2)?)?;
                self.year = if year >= 69 { year + 1900 } else { year + 2000 };
            }
            Element::LongYear => {
                input.0.first().filter(|byte| byte.is_ascii_digit())?;
                self.year = decimal(input.take(4)?)?;
            }
            Element::Month => self.month = Some(input.name(&MONTHS, Some(3))? + 1),
            Element::LongMonth => self.month = Some(input.name(&MONTHS, None)? + 1),
            Element::NumberMonth | Element::ZeroMonth => {
                let month = input.number(element == Element::ZeroMonth)?;
                self.month = Some(u8::try_from(month).ok().filter(|month| (1..=12).contains(month))?);
            }
            Element::Weekday => drop(input.name(&DAYS, Some(3))?),
            Element::LongWeekday => drop(input.name(&DAYS, None)?),
            Element::Day | Element::UnderDay | Element::ZeroDay => {
                if element == Element::UnderDay {
                    input.0 = input.0.strip_prefix(b" ").unwrap_or(input.0);
                }
                self.day = Some(input.number(element == Element::ZeroDay)?);
            }
            Element::UnderYearDay | Element::ZeroYearDay => {
                if element == Element::UnderYearDay {
                    for _ in 0..2 {
                        input.0 = input.0.strip_prefix(b" ").unwrap_or(input.0);
                    }
                }
                self.year_day = Some(input.number3(element == Element::ZeroYearDay)?);
            }
            Element::Hour => self.hour = below(input.number(false)?, 24)?,
            Element::Hour12 | Element::ZeroHour12 => {
                self.hour = below(input.number(element == Element::ZeroHour12)?, 13)?;
            }
            Element::Minute | Element::ZeroMinute => {
                self.minute = below(input.number(element == Element::ZeroMinute)?, 60)?;
            }
            Element::Second | Element::ZeroSecond => {
                self.second = below(input.number(element == Element::ZeroSecond)?, 60)?;
                // A fraction is read even if the layout has none.
                let follows = matches!(next(layout).1, Some((Element::Fraction(_), _)));
                if !follows {
                    self.fraction(input)?;
                }
            }
            Element::UpperPm | Element::LowerPm => {
                self.afternoon = Some(match (input.take(2)?, element) {
                    (b"PM", Element::UpperPm) | (b"pm", Element::LowerPm) => true,
                    (b"AM", Element::UpperPm) | (b"am", Element::LowerPm) => false,
                    _ => return None,
                });
            }
            Element::Offset(how) => {
                if how.z && input.0.first() == Some(&b'Z') {
                    input.take(1)?;
                    self.utc = true;
                } else {
                    self.offset = Some(offset(input, how.colon, how.parts)?);
                }
            }
            Element::ZoneName => {
                if input.0.starts_with(b"UTC") {
                    input.take(3)?;
                    self.utc = true;
                } else {
                    let name = input.take(zone_name_length(input.0)?)?;
                    self.zone_name = String::from_utf8_lossy(name).into_owned();
                }
            }
            Element::Fraction(Fraction { digits, trims: false, .. }) => {
                self.nanos = nanos(input.take(1 + digits)?)?;
            }
            Element::Fraction(_) => self.fraction(input)?,
        }
        Some(())
    }

    /// Reads a fraction if there is one.
    fn fraction(&mut self, input: &mut Input<'_>) -> Option<()> {
        if matches!(input.0.first(), Some(b'.' | b',')) && input.0.get(1).is_some_and(u8::is_ascii_digit) {
            let digits = input.0.iter().skip(1).take_while(|byte| byte.is_ascii_digit()).count();
            self.nanos = nanos(input.take(1 + digits)?)?;
        }
        Some(())
    }

    fn time(mut self, zone: Zone) -> Option<Time> {
        match self.afternoon {
            Some(true) if self.hour < 12 => self.hour += 12,
            Some(false) if self.hour == 12 => self.hour = 0,
            _ => {}
        }
        if let Some(year_day) = self.year_day {
            if year_day < 1 || year_day > 365 + i64::from(is_leap(self.year)) {
                return None;
            }
            let (mut month, mut day) = (1, year_day);
            while day > days_in(month, self.year) {
                day -= days_in(month, self.year);
                month += 1;
            }
            if self.month.is_some_and(|known| known != month) || self.day.is_some_and(|known| known != day) {
                return None;
            }
            (self.month, self.day) = (Some(month), Some(day));
        }
        let (month, day) = (self.month.unwrap_or(1), self.day.unwrap_or(1));
        if day < 1 || day > days_in(month, self.year) {
            return None;
        }
        let shown = days_from_civil(self.year, month, day) * 86_400 + self.hour * 3600 + self.minute * 60 + self.second;
        let (seconds, zone) = self.place(shown, zone);
        Some(Time { seconds, nanos: self.nanos, zone })
    }

    /// The instant that is shown so, and the zone it is in.
    fn place(&self, shown: i64, zone: Zone) -> (i64, Zone) {
        if self.utc {
            return (shown, Zone::Utc);
        }
        if let Some(offset) = self.offset {
            let seconds = shown - i64::from(offset);
            let (known, name) = zone.offset(seconds);
            if known == offset && (self.zone_name.is_empty() || self.zone_name == name) {
                return (seconds, zone);
            }
            return (seconds, Zone::Fixed(self.zone_name.as_str().into(), offset));
        }
        if self.zone_name.is_empty() {
            return (zone.instant(shown), zone);
        }
        if let Some(offset) = zone.offset_of(&self.zone_name, shown) {
            return (shown - i64::from(offset), zone);
        }
        // A name that is not known counts as UTC, but `GMT+3` says its offset.
        let hours: i32 = self.zone_name.strip_prefix("GMT").and_then(|hours| hours.parse().ok()).unwrap_or(0);
        (shown, Zone::Fixed(self.zone_name.as_str().into(), hours * 3600))
    }
}

fn offset(input: &mut Input<'_>, colon: bool, parts: Parts) -> Option<i32> {
    let sign = match input.take(1)? {
        b"+" => 1,
        b"-" => -1,
        _ => return None,
    };
    let mut part = |first: bool, limit: i64| {
        if colon && !first {
            input.0 = input.0.strip_prefix(b":")?;
        }
        let value = decimal(input.take(2).filter(|digits| digits.iter().all(u8::is_ascii_digit))?)?;
        i32::try_from(value).ok().filter(|_| value <= limit)
    };
    let hours = part(true, 24)?;
    let minutes = if parts == Parts::Hours { 0 } else { part(false, 60)? };
    let seconds = if parts == Parts::Seconds { part(false, 60)? } else { 0 };
    Some(sign * ((hours * 60 + minutes) * 60 + seconds))
}

/// How long the abbreviation of a zone is: three or four capitals, `GMT+3`, `+03`.
fn zone_name_length(text: &[u8]) -> Option<usize> {
    let signed = |text: &[u8]| -> usize {
        let digits = text.iter().skip(1).take_while(|byte| byte.is_ascii_digit()).count();
        let value = text.get(1..1 + digits).and_then(decimal);
        match text.first() {
            Some(b'+' | b'-') if value.is_some_and(|value| value <= 23) => 1 + digits,
            _ => 0,
        }
    };
    if text.len() < 3 {
        return None;
    }
    if text.starts_with(b"ChST") || text.starts_with(b"MeST") {
        return Some(4);
    }
    if let Some(rest) = text.strip_prefix(b"GMT") {
        return Some(3 + signed(rest));
    }
    if matches!(text.first(), Some(b'+' | b'-')) {
        return Some(signed(text)).filter(|&length| length > 0);
    }
    let capitals = text.iter().take(6).take_while(|byte| byte.is_ascii_uppercase()).count();
    match capitals {
        5 if text.get(4) == Some(&b'T') => Some(5),
        4 if text.get(3) == Some(&b'T') || text.starts_with(b"WITA") => Some(4),
        3 => Some(3),
        _ => None,
    }
}
