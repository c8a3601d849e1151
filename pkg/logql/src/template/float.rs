//! Floats as Go's `strconv.AppendFloat` prints them.

/// Digits behind the point that a float can have; zeros follow.
const FRACTION_DIGITS_MAX: usize = 1100;

/// Prints by one of `b e E f g G x X`; no precision asks for the shortest digits that read as the float.
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
        'b' => binary(value),
        'x' | 'X' => hexadecimal(value, precision, verb == 'X'),
        _ => general(value, precision, verb),
    }
}

/// Bits of a float's fraction, and what its exponent is stored with.
const FRACTION_BITS: u32 = 52;
const BIAS: i64 = 1023;

/// The digits of a float as a whole number of `FRACTION_BITS` and one bits, and its exponent.
fn parts(value: f64) -> (u64, i64) {
    let bits = value.to_bits();
    let fraction = bits & ((1 << FRACTION_BITS) - 1);
    match i64::try_from((bits >> FRACTION_BITS) & 0x7ff).unwrap_or_default() {
        0 => (fraction, 1 - BIAS),
        stored => (fraction | 1 << FRACTION_BITS, stored - BIAS),
    }
}

/// As `-4503599627370496p-52`.
fn binary(value: f64) -> String {
    let (digits, exponent) = parts(value);
    let sign = if value.is_sign_negative() { "-" } else { "" };
    format!("{sign}{digits}p{:+}", exponent - i64::from(FRACTION_BITS))
}

/// As `-0x1.8p+00`.
fn hexadecimal(value: f64, precision: Option<usize>, upper: bool) -> String {
    /// Where the bit before the point stands, and how many hexadecimal digits stand behind it.
    const POINT: u32 = 60;
    const DIGITS: usize = 15;
    let (mut digits, mut exponent) = parts(value);
    if digits == 0 {
        exponent = 0;
    } else {
        digits <<= POINT - FRACTION_BITS;
        let missing = digits.leading_zeros().saturating_sub(63 - POINT);
        digits <<= missing;
        exponent -= i64::from(missing);
    }
    let kept = precision.and_then(|precision| u32::try_from(precision).ok()).filter(|&kept| (kept as usize) < DIGITS);
    if let Some(kept) = kept {
        let cut = POINT - 4 * kept;
        // To the nearest, and of two as near to the even one.
        let rest = digits & ((1 << cut) - 1);
        digits >>= cut;
        if (rest | (digits & 1)) > 1 << (cut - 1) {
            digits += 1;
        }
        digits <<= cut;
        if digits >> (POINT + 1) != 0 {
            digits >>= 1;
            exponent += 1;
        }
    }
    let behind = format!("{:015x}", digits & ((1 << POINT) - 1));
    let behind = match precision {
        None => behind.trim_end_matches('0').to_owned(),
        Some(precision) if precision < DIGITS => behind.chars().take(precision).collect(),
        Some(precision) => padded(behind, precision - DIGITS),
    };
    let point = if behind.is_empty() { "" } else { "." };
    let (sign, direction) = (if value.is_sign_negative() { "-" } else { "" }, if exponent < 0 { '-' } else { '+' });
    let text = format!("{sign}0x{}{point}{behind}p{direction}{:02}", digits >> POINT, exponent.abs());
    if upper { text.to_uppercase() } else { text }
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
