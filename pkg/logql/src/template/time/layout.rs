//! Go's reference layout: what each part of `Mon Jan 2 15:04:05 MST 2006` stands for.

use super::{Civil, DAYS, MONTHS, Time};

/// An element of a layout.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Element {
    LongMonth,
    Month,
    NumberMonth,
    ZeroMonth,
    LongWeekday,
    Weekday,
    Day,
    UnderDay,
    ZeroDay,
    UnderYearDay,
    ZeroYearDay,
    Hour,
    Hour12,
    ZeroHour12,
    Minute,
    ZeroMinute,
    Second,
    ZeroSecond,
    LongYear,
    Year,
    UpperPm,
    LowerPm,
    ZoneName,
    Offset(Offset),
    /// Digits of a second behind `.` or `,`.
    Fraction(Fraction),
}

/// How an offset is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Offset {
    /// `Z` stands for none.
    pub z: bool,
    pub colon: bool,
    pub parts: Parts,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Parts {
    Hours,
    Minutes,
    Seconds,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Fraction {
    pub digits: usize,
    /// `.999`: zeros at the end are left out.
    pub trims: bool,
    pub comma: bool,
}

/// Elements by the text that stands for them; of two that fit, the first is meant.
const ELEMENTS: [(&[u8], Element); 24] = [
    (b"January", Element::LongMonth),
    (b"Jan", Element::Month),
    (b"Monday", Element::LongWeekday),
    (b"Mon", Element::Weekday),
    (b"MST", Element::ZoneName),
    (b"002", Element::ZeroYearDay),
    (b"01", Element::ZeroMonth),
    (b"02", Element::ZeroDay),
    (b"03", Element::ZeroHour12),
    (b"04", Element::ZeroMinute),
    (b"05", Element::ZeroSecond),
    (b"06", Element::Year),
    (b"15", Element::Hour),
    (b"1", Element::NumberMonth),
    (b"2006", Element::LongYear),
    (b"2", Element::Day),
    (b"_2006", Element::LongYear),
    (b"_2", Element::UnderDay),
    (b"__2", Element::UnderYearDay),
    (b"3", Element::Hour12),
    (b"4", Element::Minute),
    (b"5", Element::Second),
    (b"PM", Element::UpperPm),
    (b"pm", Element::LowerPm),
];

const OFFSETS: [(&[u8], bool, Parts); 5] = [
    (b"070000", false, Parts::Seconds),
    (b"07:00:00", true, Parts::Seconds),
    (b"0700", false, Parts::Minutes),
    (b"07:00", true, Parts::Minutes),
    (b"07", false, Parts::Hours),
];

/// Cuts a layout at its first element: the text before, the element with its length, the rest.
pub(super) fn next(layout: &[u8]) -> (&[u8], Option<(Element, usize)>, &[u8]) {
    for at in 0..layout.len() {
        let (before, rest) = layout.split_at(at);
        if let Some((element, length)) = element_at(rest) {
            // `_2006` is a text of its own and the year.
            let under = usize::from(element == Element::LongYear && rest.starts_with(b"_"));
            let before = layout.get(..at + under).unwrap_or(before);
            return (before, Some((element, length - under)), rest.get(length..).unwrap_or_default());
        }
    }
    (layout, None, &[])
}

fn element_at(rest: &[u8]) -> Option<(Element, usize)> {
    let first = *rest.first()?;
    match first {
        b'-' | b'Z' => {
            let rest = rest.get(1..)?;
            let &(text, colon, parts) = OFFSETS.iter().find(|(text, ..)| rest.starts_with(text))?;
            return Some((Element::Offset(Offset { z: first == b'Z', colon, parts }), text.len() + 1));
        }
        b'.' | b',' => {
            let digit = *rest.get(1).filter(|digit| matches!(digit, b'0' | b'9'))?;
            let digits = rest.iter().skip(1).take_while(|&&byte| byte == digit).count();
            if rest.get(1 + digits).is_some_and(u8::is_ascii_digit) {
                return None;
            }
            let fraction = Fraction { digits, trims: digit == b'9', comma: first == b',' };
            return Some((Element::Fraction(fraction), 1 + digits));
        }
        _ => {}
    }
    let found = ELEMENTS.iter().find(|(text, element)| {
        let word = matches!(element, Element::Month | Element::Weekday);
        rest.starts_with(text) && !(word && rest.get(3).is_some_and(u8::is_ascii_lowercase))
    })?;
    Some((found.1, found.0.len()))
}

/// A time by a layout.
pub(super) fn format(time: &Time, mut layout: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(layout.len() + 10);
    let civil = time.civil();
    loop {
        let (before, element, rest) = next(layout);
        out.extend_from_slice(before);
        let Some((element, _)) = element else { return out };
        append(&mut out, time, civil, element);
        layout = rest;
    }
}

fn append(out: &mut Vec<u8>, time: &Time, civil: Civil, element: Element) {
    let hour12 = (civil.hour + 11) % 12 + 1;
    let name = |names: &[&'static str], at: usize| names.get(at).copied().unwrap_or_default();
    let month = name(&MONTHS, usize::from(civil.month).wrapping_sub(1));
    let day = name(&DAYS, usize::from(civil.weekday));
    let text = match element {
        Element::LongMonth => month.to_owned(),
        Element::Month => month.get(..3).unwrap_or_default().to_owned(),
        Element::NumberMonth => civil.month.to_string(),
        Element::ZeroMonth => format!("{:02}", civil.month),
        Element::LongWeekday => day.to_owned(),
        Element::Weekday => day.get(..3).unwrap_or_default().to_owned(),
        Element::Day => civil.day.to_string(),
        Element::UnderDay => format!("{:2}", civil.day),
        Element::ZeroDay => format!("{:02}", civil.day),
        Element::UnderYearDay => format!("{:3}", civil.year_day),
        Element::ZeroYearDay => format!("{:03}", civil.year_day),
        Element::Hour => format!("{:02}", civil.hour),
        Element::Hour12 => hour12.to_string(),
        Element::ZeroHour12 => format!("{hour12:02}"),
        Element::Minute => civil.minute.to_string(),
        Element::ZeroMinute => format!("{:02}", civil.minute),
        Element::Second => civil.second.to_string(),
        Element::ZeroSecond => format!("{:02}", civil.second),
        Element::LongYear if civil.year < 0 => format!("-{:04}", civil.year.unsigned_abs()),
        Element::LongYear => format!("{:04}", civil.year),
        Element::Year => format!("{:02}", civil.year.unsigned_abs() % 100),
        Element::UpperPm => if civil.hour >= 12 { "PM" } else { "AM" }.to_owned(),
        Element::LowerPm => if civil.hour >= 12 { "pm" } else { "am" }.to_owned(),
        Element::ZoneName => {
            let (offset, name) = time.zone.offset(time.seconds);
            if name.is_empty() { offset_text(offset, false, Parts::Minutes) } else { name }
        }
        Element::Offset(how) => match time.zone.offset(time.seconds).0 {
            0 if how.z => "Z".to_owned(),
            offset => offset_text(offset, how.colon, how.parts),
        },
        Element::Fraction(fraction) => fraction_text(time.nanos, fraction),
    };
    out.extend_from_slice(text.as_bytes());
}

fn offset_text(offset: i32, colon: bool, parts: Parts) -> String {
    // Go takes the sign from whole minutes.
    let sign = if offset / 60 < 0 { '-' } else { '+' };
    let (minutes, seconds) = ((offset / 60).abs(), offset.abs() % 60);
    let colon = if colon { ":" } else { "" };
    match parts {
        Parts::Hours => format!("{sign}{:02}", minutes / 60),
        Parts::Minutes => format!("{sign}{:02}{colon}{:02}", minutes / 60, minutes % 60),
        Parts::Seconds => format!("{sign}{:02}{colon}{:02}{colon}{seconds:02}", minutes / 60, minutes % 60),
    }
}

fn fraction_text(nanos: u32, fraction: Fraction) -> String {
    if fraction.trims && nanos == 0 {
        return String::new();
    }
    let mut digits = format!("{nanos:09}");
    digits.truncate(fraction.digits);
    let digits = if fraction.trims { digits.trim_end_matches('0') } else { &digits };
    match (digits, fraction.comma) {
        ("", _) => String::new(),
        (digits, true) => format!(",{digits}"),
        (digits, false) => format!(".{digits}"),
    }
}
