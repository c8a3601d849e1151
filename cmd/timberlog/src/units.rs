//! Numbers for people.

use std::time::Duration;

/// `1,234,567`
pub fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// `12.5 MiB`
pub fn bytes(number: u64) -> String {
    const UNITS: [&str; 4] = ["KiB", "MiB", "GiB", "TiB"];
    let mut value = number as f64;
    let mut unit = "B";
    for larger in UNITS {
        if value < 1024.0 {
            break;
        }
        value /= 1024.0;
        unit = larger;
    }
    if unit == "B" { format!("{number} B") } else { format!("{value:.1} {unit}") }
}

/// `350 µs`, `12.5 ms`, `3.2 s`, `5m 12s`, `3h 4m`, `2d 5h`
pub fn duration(duration: Duration) -> String {
    let seconds = duration.as_secs();
    match duration {
        _ if seconds >= 86_400 => format!("{}d {}h", seconds / 86_400, seconds % 86_400 / 3600),
        _ if seconds >= 3600 => format!("{}h {}m", seconds / 3600, seconds % 3600 / 60),
        _ if seconds >= 60 => format!("{}m {}s", seconds / 60, seconds % 60),
        _ if seconds >= 1 => format!("{:.1} s", duration.as_secs_f64()),
        _ if duration.is_zero() => "0 s".to_owned(),
        _ if duration.as_millis() >= 1 => format!("{:.1} ms", duration.as_secs_f64() * 1e3),
        _ => format!("{:.1} µs", duration.as_secs_f64() * 1e6),
    }
}

/// `1 record`, `3 records`
pub fn records(number: u64) -> String {
    format!("{} {}", count(number), if number == 1 { "record" } else { "records" })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_grouped_and_scaled() {
        assert_eq!([count(0), count(999), count(1000), count(1_234_567)], ["0", "999", "1,000", "1,234,567"]);
        assert_eq!([bytes(1023), bytes(1024), bytes(13 << 20)], ["1023 B", "1.0 KiB", "13.0 MiB"]);
        let of = |micros| duration(Duration::from_micros(micros));
        assert_eq!([of(0), of(350), of(12_500), of(3_200_000)], ["0 s", "350.0 µs", "12.5 ms", "3.2 s"]);
        assert_eq!([of(312_000_000), of(86_400_000_000)], ["5m 12s", "1d 0h"]);
    }
}
