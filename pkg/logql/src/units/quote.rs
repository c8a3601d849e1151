//! Go's quoted texts: `"…"` with escapes and `` `…` `` without.

use super::UnitError;

/// Go's `strconv.Quote`: in `"`, what is not printable escaped.
pub fn quote(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\u{7}' => out.push_str("\\a"),
            '\u{8}' => out.push_str("\\b"),
            '\u{c}' => out.push_str("\\f"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\u{b}' => out.push_str("\\v"),
            ' '..='~' => out.push(c),
            '\0'..='\x1f' | '\x7f' => out.push_str(&format!("\\x{:02x}", u32::from(c))),
            c if is_printable(c) => out.push(c),
            c if u32::from(c) < 0x1_0000 => out.push_str(&format!("\\u{:04x}", u32::from(c))),
            c => out.push_str(&format!("\\U{:08x}", u32::from(c))),
        }
    }
    out.push('"');
    out
}

/// Reads a text in `"` (with Go's escapes) or `` ` ``, as Prometheus does: a carriage return stays.
///
/// # Errors
/// It is no such text; or, other than in Go, its escapes do not spell UTF-8.
pub fn unquote(text: &str) -> Result<String, UnitError> {
    let invalid = || UnitError("invalid syntax".to_owned());
    if let Some(raw) = text.strip_prefix('`').and_then(|text| text.strip_suffix('`')) {
        return if raw.contains('`') { Err(invalid()) } else { Ok(raw.to_owned()) };
    }
    let inner = text.strip_prefix('"').and_then(|text| text.strip_suffix('"')).ok_or_else(invalid)?;
    let mut out = Vec::with_capacity(inner.len());
    let mut chars = inner.chars();
    while let Some(c) = chars.next() {
        match c {
            '\\' => escape(&mut chars, &mut out).ok_or_else(invalid)?,
            '"' | '\n' => return Err(invalid()),
            c => out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes()),
        }
    }
    String::from_utf8(out).map_err(|_| UnitError("escapes do not spell UTF-8".to_owned()))
}

/// What is behind a backslash; `None` if Go knows no such escape.
fn escape(chars: &mut std::str::Chars<'_>, out: &mut Vec<u8>) -> Option<()> {
    let first = chars.next()?;
    let byte = match first {
        'a' => 0x07,
        'b' => 0x08,
        'f' => 0x0c,
        'n' => b'\n',
        'r' => b'\r',
        't' => b'\t',
        'v' => 0x0b,
        '\\' => b'\\',
        '"' => b'"',
        'x' => u8::try_from(number(chars, 0, 2, 16)?).ok()?,
        '0'..='7' => u8::try_from(number(chars, first.to_digit(8)?, 2, 8)?).ok()?,
        'u' | 'U' => {
            let code = number(chars, 0, if first == 'u' { 4 } else { 8 }, 16)?;
            // Half of a surrogate pair is no character.
            let c = if code > u32::from(char::MAX) { return None } else { char::from_u32(code) };
            let c = c.unwrap_or(char::REPLACEMENT_CHARACTER);
            out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
            return Some(());
        }
        _ => return None,
    };
    out.push(byte);
    Some(())
}

/// A number of so many digits, `start` being what was read of it already.
fn number(chars: &mut std::str::Chars<'_>, start: u32, digits: usize, radix: u32) -> Option<u32> {
    (0..digits).try_fold(start, |value, _| value.checked_mul(radix)?.checked_add(chars.next()?.to_digit(radix)?))
}

/// Close to Go's `IsPrint`: all but control characters, separators other than the space, and
/// what is not assigned.
fn is_printable(c: char) -> bool {
    // Behind another character marks are printed as they are.
    format!("a{c}").escape_debug().count() == 2
}
