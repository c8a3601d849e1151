//! Floats as Go's `strconv` reads and prints them.

use super::{UnitError, quote};

/// Go's `ParseFloat(text, 64)`: decimal, hexadecimal with a `p` exponent, `inf`, `infinity` and
/// `nan` in any case, `_` between digits. No spaces.
pub fn parse_float(text: &str) -> Result<f64, UnitError> {
    if !text.contains('_') {
        return parse_plain(text, text);
    }
    if !underscores_separate(text.strip_prefix(['+', '-']).unwrap_or(text)) {
        return Err(UnitError(format!("strconv.ParseFloat: parsing {}: invalid syntax", quote(text))));
    }
    parse_plain(&text.replace('_', ""), text)
}

/// Reads a number without underscores; errors show it as it was `written`.
fn parse_plain(text: &str, written: &str) -> Result<f64, UnitError> {
    let invalid = || UnitError(format!("strconv.ParseFloat: parsing {}: invalid syntax", quote(written)));
    let (negative, body) = match text.as_bytes().first() {
        Some(b'-') => (true, text.get(1..).unwrap_or_default()),
        Some(b'+') => (false, text.get(1..).unwrap_or_default()),
        _ => (false, text),
    };
    let magnitude = if body.eq_ignore_ascii_case("inf") || body.eq_ignore_ascii_case("infinity") {
        f64::INFINITY
    } else if text.eq_ignore_ascii_case("nan") {
        return Ok(f64::NAN);
    } else {
        let parsed = match body.strip_prefix("0x").or_else(|| body.strip_prefix("0X")) {
            Some(hexadecimal) => parse_hexadecimal(hexadecimal),
            None if body.starts_with(|c: char| c == '.' || c.is_ascii_digit()) => body.parse().ok(),
            None => None,
        };
        let parsed: f64 = parsed.ok_or_else(invalid)?;
        if parsed.is_infinite() {
            return Err(UnitError(format!("strconv.ParseFloat: parsing {}: value out of range", quote(written))));
        }
        parsed
    };
    Ok(if negative { -magnitude } else { magnitude })
}

/// Go's `FormatFloat(value, 'f', -1, 64)`: the shortest digits that read as the same float, never
/// with an exponent; `NaN`, `+Inf`, `-Inf`.
pub fn print_float(value: f64) -> String {
    if value.is_nan() {
        "NaN".to_owned()
    } else if value.is_infinite() {
        if value > 0.0 { "+Inf" } else { "-Inf" }.to_owned()
    } else {
        format!("{value}")
    }
}

/// Go's `%v` of a float: as [`print_float`], but below 1e-4 and from 1e6 on with an exponent of
/// at least two digits.
pub fn print_float_general(value: f64) -> String {
    let magnitude = value.abs();
    if !value.is_finite() || magnitude == 0.0 || (1e-4..1e6).contains(&magnitude) {
        return print_float(value);
    }
    let text = format!("{value:e}");
    let (digits, exponent) = text.split_once('e').unwrap_or((&text, "0"));
    let (sign, exponent) = exponent.strip_prefix('-').map_or(('+', exponent), |exponent| ('-', exponent));
    format!("{digits}e{sign}{exponent:0>2}")
}

/// What is behind `0x`: digits, a point, and the exponent of 2 that Go demands.
fn parse_hexadecimal(text: &str) -> Option<f64> {
    let (digits, exponent) = text.split_once(['p', 'P'])?;
    let exponent_digits = exponent.strip_prefix(['+', '-']).unwrap_or(exponent);
    if exponent_digits.is_empty() || !exponent_digits.bytes().all(|digit| digit.is_ascii_digit()) {
        return None;
    }
    // An exponent that no i32 holds is as good as a huge one.
    let exponent = exponent.parse().unwrap_or(if exponent.starts_with('-') { -100_000 } else { 100_000 });
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    if whole.is_empty() && fraction.is_empty() {
        return None;
    }
    let (mut mantissa, mut shift, mut sticky) = (0u64, 0i64, false);
    for (index, digit) in whole.chars().chain(fraction.chars()).enumerate() {
        let digit = u64::from(digit.to_digit(16)?);
        let is_fraction = index >= whole.len();
        if mantissa >> 58 == 0 {
            mantissa = mantissa << 4 | digit;
            shift -= if is_fraction { 4 } else { 0 };
        } else {
            sticky |= digit != 0;
            shift += if is_fraction { 0 } else { 4 };
        }
    }
    Some(scale(mantissa | u64::from(sticky), shift.saturating_add(exponent)))
}

/// `mantissa * 2^exponent`, rounded once, to even.
fn scale(mantissa: u64, exponent: i64) -> f64 {
    if mantissa == 0 {
        return 0.0;
    }
    let bits = 64 - i64::from(mantissa.leading_zeros());
    // The power of 2 of the last bit that the float can hold.
    let last = (bits + exponent - 53).max(-1074);
    let drop = last - exponent;
    let rounded = match u32::try_from(drop) {
        Err(_) | Ok(0) => return (mantissa as f64) * two_to(exponent),
        Ok(drop @ 1..=63) => {
            let (kept, rest, half) = (mantissa >> drop, mantissa & ((1 << drop) - 1), 1u64 << (drop - 1));
            kept + u64::from(rest > half || (rest == half && kept & 1 == 1))
        }
        Ok(64) => u64::from(mantissa > 1 << 63),
        Ok(_) => 0,
    };
    rounded as f64 * two_to(last)
}

/// A power of 2, in two steps where one would not be a normal float.
fn two_to(exponent: i64) -> f64 {
    let exponent = i32::try_from(exponent.clamp(-2_000, 2_000)).unwrap_or(0);
    if exponent < -1000 { 2f64.powi(-1000) * 2f64.powi(exponent + 1000) } else { 2f64.powi(exponent) }
}

/// Whether each `_` is between digits, or between a prefix and a digit.
pub(crate) fn underscores_separate(text: &str) -> bool {
    let lower = text.to_ascii_lowercase();
    let has_prefix = ["0x", "0o", "0b"].iter().any(|prefix| lower.starts_with(prefix));
    let is_hexadecimal = lower.starts_with("0x");
    let is_digit = |c: char| c.is_ascii_digit() || (is_hexadecimal && c.is_ascii_hexdigit());
    let mut before = if has_prefix { '0' } else { '.' };
    for c in lower.chars().skip(if has_prefix { 2 } else { 0 }) {
        let class = match c {
            '_' => '_',
            c if is_digit(c) => '0',
            _ => '.',
        };
        if (class == '_' && before != '0') || (class == '.' && before == '_') {
            return false;
        }
        before = class;
    }
    before != '_'
}
