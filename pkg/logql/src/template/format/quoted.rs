//! Bytes in quotes, as Go's `strconv` and text/template's `js` escape them.

use super::first_char;

/// Close to Go's `IsPrint`.
pub(super) fn is_printable(c: char) -> bool {
    match c {
        ' '..='~' => true,
        '\u{ad}' => false,
        c => c.escape_debug().count() == 1 || crate::units::quote(c.encode_utf8(&mut [0; 4])).chars().count() == 3,
    }
}

/// Whether a text can stand in backquotes.
pub(super) fn can_backquote(text: &str) -> bool {
    text.chars().all(|c| c == '\t' || !(c.is_control() || c == '`' || c == '\u{feff}'))
}

/// Go's `Quote`; what is no UTF-8 becomes `\x…`.
pub(in crate::template) fn quote(mut text: &[u8], mark: char, ascii: bool) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push(mark);
    while let Some(&byte) = text.first() {
        let (c, length) = first_char(text);
        text = text.get(length..).unwrap_or_default();
        if c == char::REPLACEMENT_CHARACTER && length == 1 {
            out.push_str(&format!("\\x{byte:02x}"));
            continue;
        }
        match c {
            '\\' => out.push_str("\\\\"),
            c if c == mark => out.extend(['\\', c]),
            '\u{7}' => out.push_str("\\a"),
            '\u{8}' => out.push_str("\\b"),
            '\u{c}' => out.push_str("\\f"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\u{b}' => out.push_str("\\v"),
            c if c.is_ascii_control() => out.push_str(&format!("\\x{:02x}", u32::from(c))),
            c if is_printable(c) && (c.is_ascii() || !ascii) => out.push(c),
            c if u32::from(c) < 0x1_0000 => out.push_str(&format!("\\u{:04x}", u32::from(c))),
            c => out.push_str(&format!("\\U{:08x}", u32::from(c))),
        }
    }
    out.push(mark);
    out
}

/// What text/template's `js` makes of a text: it can stand in quotes in JavaScript.
pub(in crate::template) fn escape_js(mut text: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    while let Some(&byte) = text.first() {
        let (c, length) = first_char(text);
        let (head, rest) = text.split_at(length);
        text = rest;
        match c {
            '\\' => out.extend_from_slice(b"\\\\"),
            '\'' => out.extend_from_slice(b"\\'"),
            '"' => out.extend_from_slice(b"\\\""),
            '<' | '>' | '&' | '=' | '\0'..='\x1f' => out.extend_from_slice(format!("\\u{byte:04X}").as_bytes()),
            c if c.is_ascii() || is_printable(c) => out.extend_from_slice(head),
            c => out.extend_from_slice(format!("\\u{:04X}", u32::from(c)).as_bytes()),
        }
    }
    out
}
