//! Literals in templates: numbers, characters and texts in quotes, with the meaning Go gives them.

use super::node::{Literal, Number};
use crate::units::{parse_float, quote};
use std::sync::OnceLock;

/// A text in `"` or `` ` ``.
pub(super) fn text(quoted: &str) -> Option<Literal> {
    Some(Literal { quoted: quoted.to_owned(), text: unquote(quoted)?, regex: OnceLock::new() })
}

/// What a text in `"` or `` ` `` means: bytes, since `\xff` is one.
pub(super) fn unquote(quoted: &str) -> Option<Vec<u8>> {
    if let Some(raw) = quoted.strip_prefix('`') {
        return Some(raw.strip_suffix('`')?.replace('\r', "").into_bytes());
    }
    let mut chars = quoted.strip_prefix('"')?.strip_suffix('"')?.chars();
    let mut out = Vec::with_capacity(quoted.len());
    while let Some(c) = chars.next() {
        match c {
            '\\' => match escape(&mut chars, '"')? {
                Escaped::Byte(byte) => out.push(byte),
                Escaped::Char(c) => out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes()),
            },
            '\n' => return None,
            c => out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes()),
        }
    }
    Some(out)
}

enum Escaped {
    Byte(u8),
    Char(char),
}

fn escape(chars: &mut std::str::Chars<'_>, quote: char) -> Option<Escaped> {
    let first = chars.next()?;
    let mut digits = |count: usize, radix: u32, first: Option<char>| -> Option<u32> {
        let mut value = first.map_or(Some(0), |c| c.to_digit(radix))?;
        for _ in 0..count {
            value = value.checked_mul(radix)?.checked_add(chars.next()?.to_digit(radix)?)?;
        }
        Some(value)
    };
    Some(Escaped::Byte(match first {
        'a' => 0x07,
        'b' => 0x08,
        'f' => 0x0c,
        'n' => b'\n',
        'r' => b'\r',
        't' => b'\t',
        'v' => 0x0b,
        '\\' => b'\\',
        c if c == quote => u8::try_from(c).ok()?,
        'x' => u8::try_from(digits(2, 16, None)?).ok()?,
        'u' => return char::from_u32(digits(4, 16, None)?).map(Escaped::Char),
        'U' => return char::from_u32(digits(8, 16, None)?).map(Escaped::Char),
        '0'..='7' => u8::try_from(digits(2, 8, Some(first))?).ok()?,
        _ => return None,
    }))
}

/// A number or character as Go reads it: it can be an integer, a float, or both.
pub(super) fn number(text: &str) -> Result<Number, String> {
    let number = |int, float| Ok(Number { text: text.to_owned(), int, float });
    if let Some(inner) = text.strip_prefix('\'') {
        let malformed = || format!("malformed character constant: {text}");
        let mut chars = inner.strip_suffix('\'').ok_or_else(malformed)?.chars();
        let code = match chars.next().ok_or("invalid syntax")? {
            '\\' => match escape(&mut chars, '\'').ok_or("invalid syntax")? {
                Escaped::Byte(byte) => i64::from(byte),
                Escaped::Char(c) => i64::from(u32::from(c)),
            },
            c => i64::from(u32::from(c)),
        };
        if chars.next().is_some() {
            return Err(malformed());
        }
        return number(Some(code), Some(code as f64));
    }
    if text.ends_with('i') {
        return Err(format!("complex numbers are not supported: {}", quote(text)));
    }
    if let Ok(int) = parse_int(text) {
        return number(Some(int), Some(int as f64));
    }
    if let Some(uint) = parse_uint(text) {
        // Go reads it, and complains where it is used as an int.
        return number(None, Some(uint as f64));
    }
    let Ok(float) = parse_float(&text.replace('_', "")) else {
        return Err(format!("illegal number syntax: {}", quote(text)));
    };
    if !text.contains(['.', 'e', 'E', 'p', 'P']) {
        return Err(format!("integer overflow: {}", quote(text)));
    }
    let int = float as i64;
    number((int as f64 == float).then_some(int), Some(float))
}

/// Go's `ParseInt(text, 0, 64)`: decimal, `0x`, `0o`, `0b`, a leading 0 for octal, underscores.
/// The error is the reason without what was parsed.
pub(super) fn parse_int(text: &str) -> Result<i64, &'static str> {
    let (negative, digits) = match text.strip_prefix(['+', '-']) {
        Some(digits) => (text.starts_with('-'), digits),
        None => (false, text),
    };
    match parse_magnitude(digits) {
        Some(Some(magnitude)) if negative => 0i64.checked_sub_unsigned(magnitude).ok_or("value out of range"),
        Some(Some(magnitude)) => i64::try_from(magnitude).map_err(|_| "value out of range"),
        Some(None) => Err("value out of range"),
        None => Err("invalid syntax"),
    }
}

fn parse_uint(text: &str) -> Option<u64> {
    parse_magnitude(text).flatten()
}

/// `None`: no number; `Some(None)`: too large.
fn parse_magnitude(text: &str) -> Option<Option<u64>> {
    let lower = |prefix: &str| text.get(..2).is_some_and(|start| start.eq_ignore_ascii_case(prefix));
    let (radix, digits, prefixed) = match text {
        _ if lower("0x") => (16, text.get(2..)?, true),
        _ if lower("0o") => (8, text.get(2..)?, true),
        _ if lower("0b") => (2, text.get(2..)?, true),
        _ if text.len() > 1 && text.starts_with('0') => (8, text.get(1..)?, true),
        _ => (10, text, false),
    };
    let mut value = Some(0u64);
    let mut last = if prefixed { '0' } else { '^' };
    let mut any = false;
    for c in digits.chars() {
        if c == '_' {
            if last == '_' || last == '^' {
                return None;
            }
        } else {
            let digit = u64::from(c.to_digit(radix)?);
            value = value.and_then(|value| value.checked_mul(u64::from(radix))?.checked_add(digit));
            any = true;
        }
        last = c;
    }
    (any && last != '_').then_some(value)
}
