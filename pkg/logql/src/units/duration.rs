//! Durations in ns: Go's (`1h2m3.5s`), and Prometheus' whole ones with days, weeks and years.

use super::{UnitError, quote};

/// Reads a duration as Loki's lexer does: Prometheus', else Go's.
pub fn parse_duration(text: &str) -> Result<i64, UnitError> {
    parse_prometheus_duration(text).or_else(|_| parse_go_duration(text))
}

/// Go's `time.ParseDuration`: `[+-]1h2.5m3s4ms5us6ns`, or `0`.
pub fn parse_go_duration(text: &str) -> Result<i64, UnitError> {
    let invalid = || UnitError(format!("time: invalid duration {}", quote(text)));
    let (negative, mut rest) = match text.as_bytes().first() {
        Some(b'-') => (true, text.get(1..).unwrap_or_default()),
        Some(b'+') => (false, text.get(1..).unwrap_or_default()),
        _ => (false, text),
    };
    if rest == "0" {
        return Ok(0);
    }
    if rest.is_empty() {
        return Err(invalid());
    }
    // As a magnitude, so that i64::MIN can be read.
    const MAX: u64 = 1 << 63;
    let mut total: u64 = 0;
    while !rest.is_empty() {
        if !rest.starts_with(|first: char| first == '.' || first.is_ascii_digit()) {
            return Err(invalid());
        }
        let (whole_text, behind) = digits(rest);
        let whole = decimal(whole_text).filter(|&whole| whole <= MAX).ok_or_else(invalid)?;
        rest = behind;
        let mut fraction = (0, 1.0);
        let mut fraction_len = 0;
        if let Some(behind) = rest.strip_prefix('.') {
            let (fraction_text, behind) = digits(behind);
            fraction = leading_fraction(fraction_text);
            fraction_len = fraction_text.len();
            rest = behind;
        }
        if whole_text.is_empty() && fraction_len == 0 {
            return Err(invalid());
        }
        let unit_len = rest.find(|c: char| c == '.' || c.is_ascii_digit()).unwrap_or(rest.len());
        let (unit_text, behind) = rest.split_at(unit_len);
        rest = behind;
        if unit_text.is_empty() {
            return Err(UnitError(format!("time: missing unit in duration {}", quote(text))));
        }
        let unit: u64 = match unit_text {
            "ns" => 1,
            "us" | "µs" | "μs" => 1_000,
            "ms" => 1_000_000,
            "s" => 1_000_000_000,
            "m" => 60_000_000_000,
            "h" => 3_600_000_000_000,
            _ => {
                let (unit, text) = (quote(unit_text), quote(text));
                return Err(UnitError(format!("time: unknown unit {unit} in duration {text}")));
            }
        };
        let mut part = whole.checked_mul(unit).filter(|&part| part <= MAX).ok_or_else(invalid)?;
        if fraction.0 > 0 {
            // The conversion saturates; the fraction is less than one unit.
            part = part.saturating_add((fraction.0 as f64 * (unit as f64 / fraction.1)) as u64);
        }
        total = total.checked_add(part).filter(|&total| total <= MAX).ok_or_else(invalid)?;
    }
    if negative {
        return Ok(0i64.checked_sub_unsigned(total).unwrap_or(i64::MIN));
    }
    i64::try_from(total).map_err(|_| invalid())
}

/// Prometheus' `model.ParseDuration`: whole numbers with `y w d h m s ms`, largest unit first.
pub fn parse_prometheus_duration(text: &str) -> Result<i64, UnitError> {
    match text {
        "0" => return Ok(0),
        "" => return Err(UnitError("empty duration string".to_owned())),
        _ => {}
    }
    let mut rest = text;
    let mut total: u64 = 0;
    let mut last_unit = 0;
    while !rest.is_empty() {
        let (number, behind) = digits(rest);
        let invalid = || UnitError(format!("not a valid duration string: {}", quote(text)));
        let number: u64 = number.parse().map_err(|_| invalid())?;
        let unit_len = behind.find(|c: char| c.is_ascii_digit()).unwrap_or(behind.len());
        if unit_len == 0 {
            return Err(invalid());
        }
        let (unit_text, behind) = behind.split_at(unit_len);
        rest = behind;
        let Some((place, ms)) = PROMETHEUS_UNITS
            .iter()
            .enumerate()
            .find_map(|(place, &(unit, ms))| (unit == unit_text).then_some((place + 1, ms)))
        else {
            let (unit, text) = (quote(unit_text), quote(text));
            return Err(UnitError(format!("unknown unit {unit} in duration {text}")));
        };
        if place <= last_unit {
            return Err(invalid());
        }
        last_unit = place;
        let ns = ms.checked_mul(1_000_000).and_then(|ns| number.checked_mul(ns)).ok_or_else(out_of_range)?;
        total = total.checked_add(ns).filter(|&total| i64::try_from(total).is_ok()).ok_or_else(out_of_range)?;
    }
    i64::try_from(total).map_err(|_| out_of_range())
}

/// Go's `Duration.String`: `1h2m3.5s`, `1.5ms`, `0s`.
pub fn print_go_duration(ns: i64) -> String {
    let sign = if ns < 0 { "-" } else { "" };
    let magnitude = ns.unsigned_abs();
    let part = |unit: u64, name: &str| {
        let digits = unit.ilog10() as usize;
        let fraction = if unit == 1 { String::new() } else { format!(".{:0digits$}", magnitude % unit) };
        let fraction = fraction.trim_end_matches('0').trim_end_matches('.');
        format!("{sign}{}{fraction}{name}", magnitude / unit)
    };
    match magnitude {
        0 => "0s".to_owned(),
        1..1_000 => part(1, "ns"),
        1_000..1_000_000 => part(1_000, "µs"),
        1_000_000..1_000_000_000 => part(1_000_000, "ms"),
        _ => {
            let minutes = magnitude / 60_000_000_000;
            let fraction = format!(".{:09}", magnitude % 1_000_000_000);
            let fraction = fraction.trim_end_matches('0').trim_end_matches('.');
            let seconds = magnitude / 1_000_000_000 % 60;
            match (minutes / 60, minutes % 60) {
                (0, 0) => format!("{sign}{seconds}{fraction}s"),
                (0, minutes) => format!("{sign}{minutes}m{seconds}{fraction}s"),
                (hours, minutes) => format!("{sign}{hours}h{minutes}m{seconds}{fraction}s"),
            }
        }
    }
}

/// Prometheus' `model.Duration.String`: `1d2h`, `90m` as `1h30m`, whole weeks and years as such;
/// what is below a ms is dropped.
pub fn print_prometheus_duration(ns: i64) -> String {
    let ms = ns / 1_000_000;
    if ms == 0 {
        return "0s".to_owned();
    }
    let mut out = String::new();
    if ms < 0 {
        out.push('-');
    }
    let mut rest = ms.unsigned_abs();
    for (unit, unit_ms) in PROMETHEUS_UNITS {
        // Years and weeks only if nothing is left over, since they are rarely meant otherwise.
        let exact_only = matches!(unit, "y" | "w");
        if exact_only && !rest.is_multiple_of(unit_ms) {
            continue;
        }
        let count = rest / unit_ms;
        if count > 0 {
            out.push_str(&format!("{count}{unit}"));
            rest -= count * unit_ms;
        }
    }
    out
}

/// Units, largest first, in ms.
const PROMETHEUS_UNITS: [(&str, u64); 7] = [
    ("y", 365 * 86_400_000),
    ("w", 7 * 86_400_000),
    ("d", 86_400_000),
    ("h", 3_600_000),
    ("m", 60_000),
    ("s", 1_000),
    ("ms", 1),
];

fn out_of_range() -> UnitError {
    UnitError("duration out of range".to_owned())
}

fn digits(text: &str) -> (&str, &str) {
    text.split_at(text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len()))
}

/// Digits as a number; none are 0.
fn decimal(digits: &str) -> Option<u64> {
    if digits.is_empty() { Some(0) } else { digits.parse().ok() }
}

/// Digits behind a point: the number and its scale; digits that no i64 holds are dropped.
fn leading_fraction(digits: &str) -> (u64, f64) {
    let (mut number, mut scale) = (0u64, 1.0);
    for digit in digits.bytes() {
        let next = number.checked_mul(10).and_then(|number| number.checked_add(u64::from(digit - b'0')));
        let Some(next) = next.filter(|&next| next <= 1 << 63) else { break };
        number = next;
        scale *= 10.0;
    }
    (number, scale)
}
