//! Floats as Go's `strconv.AppendFloat` prints them.

/// Digits behind the point that a float can have; zeros follow.
const FRACTION_DIGITS_MAX: usize = 1100;

/// Prints by one of `e E f g G`; no precision asks for the shortest digits that read as the float.
pub(super) fn print(value: f64, verb: char, precision: Option<usize>) -> String {
    if value.is_nan() {
        return "NaN".to_owned();
    }
    if value.is_infinite() {
        return if value > 0.0 { "+Inf" } else { "-Inf" }.to_owned();
    }
    match verb {
        'e' | 'E' => scientific(value, precision, verb),
        'f' => fixed(value, precision),
        _ => general(value, precision, verb),
    }
}

fn padded(text: String, missing: usize) -> String {
    text + &"0".repeat(missing)
}

fn fixed(value: f64, precision: Option<usize>) -> String {
    match precision {
        None => format!("{value}"),
        Some(precision) => {
            let shown = precision.min(FRACTION_DIGITS_MAX);
            padded(format!("{value:.shown$}"), precision - shown)
        }
    }
}

fn scientific(value: f64, precision: Option<usize>, verb: char) -> String {
    let shown = precision.map(|precision| precision.min(FRACTION_DIGITS_MAX));
    let text = match shown {
        None => format!("{value:e}"),
        Some(shown) => format!("{value:.shown$e}"),
    };
    let (digits, exponent) = text.split_once('e').unwrap_or((&text, "0"));
    let digits = padded(digits.to_owned(), precision.unwrap_or(0) - shown.unwrap_or(0));
    let (sign, exponent) = match exponent.strip_prefix('-') {
        Some(exponent) => ('-', exponent),
        None => ('+', exponent),
    };
    format!("{digits}{verb}{sign}{exponent:0>2}")
}

fn general(value: f64, precision: Option<usize>, verb: char) -> String {
    let digits_max = precision.map(|precision| precision.clamp(1, FRACTION_DIGITS_MAX));
    let text = match digits_max {
        None => format!("{value:e}"),
        Some(digits) => format!("{value:.*e}", digits - 1),
    };
    let (mantissa, exponent) = text.split_once('e').unwrap_or((&text, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    let (sign, mantissa) = mantissa.strip_prefix('-').map_or(("", mantissa), |mantissa| ("-", mantissa));
    let digits: String = mantissa.chars().filter(|&c| c != '.').collect();
    let digits = digits.trim_end_matches('0');
    let digits = if digits.is_empty() { "0" } else { digits };
    let count = i32::try_from(digits.len()).unwrap_or(i32::MAX);
    let limit = match digits_max {
        None => SHORTEST_EXPONENT_MAX,
        // As many digits as there are, if they reach behind the point.
        Some(limit) => {
            let limit = i32::try_from(limit).unwrap_or(i32::MAX);
            if limit > count && count > exponent { count } else { limit }
        }
    };
    if exponent < -4 || exponent >= limit {
        let (first, rest) = digits.split_at(1);
        let point = if rest.is_empty() { "" } else { "." };
        let letter = if verb == 'G' { 'E' } else { 'e' };
        let direction = if exponent < 0 { '-' } else { '+' };
        return format!("{sign}{first}{point}{rest}{letter}{direction}{:02}", exponent.abs());
    }
    match usize::try_from(exponent) {
        Err(_) => {
            let zeros = "0".repeat(usize::try_from(-exponent - 1).unwrap_or(0));
            format!("{sign}0.{zeros}{digits}")
        }
        Ok(exponent) if digits.len() > exponent + 1 => {
            let (whole, fraction) = digits.split_at(exponent + 1);
            format!("{sign}{whole}.{fraction}")
        }
        Ok(exponent) => format!("{sign}{digits}{}", "0".repeat(exponent + 1 - digits.len())),
    }
}

/// From this exponent on the shortest form is written with one.
const SHORTEST_EXPONENT_MAX: i32 = 6;
