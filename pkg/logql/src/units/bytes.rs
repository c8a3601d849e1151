//! Sizes in bytes: `42`, `1.5kB`, `2 MiB`, as the humanize library of Go reads and prints them.

use super::{UnitError, parse_float};

/// Reads a size, whatever the case of its unit: `kB` and the like count 1,000, `KiB` and the like
/// 1,024. Commas between digits and spaces around the unit are allowed.
pub fn parse_bytes(text: &str) -> Result<u64, UnitError> {
    let digits = |c: char| c.is_numeric() || c == '.' || c == ',';
    let (number, unit) = text.split_at(text.find(|c| !digits(c)).unwrap_or(text.len()));
    let value = if number.contains(',') { parse_float(&number.replace(',', "")) } else { parse_float(number) }?;
    let unit = unit.trim();
    let Some(&(_, factor)) = UNITS.iter().find(|(name, _)| name.eq_ignore_ascii_case(unit)) else {
        return Err(UnitError(format!("unhandled size name: {}", unit.to_lowercase())));
    };
    let bytes = value * factor as f64;
    if bytes >= u64::MAX as f64 {
        return Err(UnitError(format!("too large: {text}")));
    }
    // The conversion saturates; what is behind the point is cut off, as in Go.
    Ok(bytes as u64)
}

/// Prints a size with a unit of 1,000s, rounded to two digits if it has one: `82 MB`, `8.2 kB`.
pub fn print_bytes(bytes: u64) -> String {
    if bytes < 10 {
        return format!("{bytes} B");
    }
    const NAMES: [&str; 7] = ["B", "kB", "MB", "GB", "TB", "PB", "EB"];
    let exponent = (bytes as f64).ln() / 1000f64.ln();
    let exponent = exponent.floor();
    let value = (bytes as f64 / 1000f64.powf(exponent) * 10.0 + 0.5).floor() / 10.0;
    // An exponent is 0 to 6 here.
    let name = NAMES.get(exponent as usize).copied().unwrap_or("EB");
    if value < 10.0 { format!("{value:.1} {name}") } else { format!("{value:.0} {name}") }
}

const UNITS: [(&str, u64); 26] = [
    ("", 1),
    ("b", 1),
    ("kib", 1 << 10),
    ("kb", 1_000),
    ("mib", 1 << 20),
    ("mb", 1_000_000),
    ("gib", 1 << 30),
    ("gb", 1_000_000_000),
    ("tib", 1 << 40),
    ("tb", 1_000_000_000_000),
    ("pib", 1 << 50),
    ("pb", 1_000_000_000_000_000),
    ("eib", 1 << 60),
    ("eb", 1_000_000_000_000_000_000),
    ("ki", 1 << 10),
    ("k", 1_000),
    ("mi", 1 << 20),
    ("m", 1_000_000),
    ("gi", 1 << 30),
    ("g", 1_000_000_000),
    ("ti", 1 << 40),
    ("t", 1_000_000_000_000),
    ("pi", 1 << 50),
    ("p", 1_000_000_000_000_000),
    ("ei", 1 << 60),
    ("e", 1_000_000_000_000_000_000),
];
