//! Keys of lines made into label names: letters, digits and `_`.

use std::borrow::Cow;

/// Appends what a key becomes: without spaces around it, `_` for what a name cannot have and before
/// a leading digit. Nothing if the key is blank.
pub(super) fn sanitize_key(key: &[u8], out: &mut String) {
    append(key, true, out);
}

/// Appends the last part of a path of keys; `_` is put before it if something precedes it. A blank
/// part appends nothing.
pub(super) fn append_part(part: &[u8], out: &mut String) {
    append_part_and(part, b"", out);
}

/// Appends a part with something behind it.
pub(super) fn append_part_and(part: &[u8], suffix: &[u8], out: &mut String) {
    if suffix.is_empty() {
        let part = trimmed(part);
        if part.is_empty() {
            return;
        }
        if !out.is_empty() {
            out.push('_');
        }
        append(part, out.is_empty(), out);
    } else {
        append_part(&[part, suffix].concat(), out);
    }
}

fn append(key: &[u8], leading: bool, out: &mut String) {
    let key = trimmed(key);
    let Some(first) = key.first() else { return };
    if leading && first.is_ascii_digit() {
        out.push('_');
    }
    if key.is_ascii() {
        out.extend(key.iter().map(|&byte| if is_name_byte(byte) { char::from(byte) } else { '_' }));
        return;
    }
    for chunk in key.utf8_chunks() {
        for c in chunk.valid().chars() {
            out.push(if c == '_' || c.is_ascii_alphanumeric() { c } else { '_' });
        }
        // Go counts each byte that is not UTF-8 as a character.
        out.extend(chunk.invalid().iter().map(|_| '_'));
    }
}

fn is_name_byte(byte: u8) -> bool {
    byte == b'_' || byte.is_ascii_alphanumeric()
}

/// Without Unicode's spaces around it.
fn trimmed(key: &[u8]) -> &[u8] {
    let plain = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_graphic);
    if plain(key.first()) && plain(key.last()) {
        return key;
    }
    let Ok(text) = std::str::from_utf8(key) else { return trimmed_around_bad_bytes(key) };
    text.trim().as_bytes()
}

fn trimmed_around_bad_bytes(key: &[u8]) -> &[u8] {
    let leading = key.utf8_chunks().next().map_or(0, |chunk| chunk.valid().len() - chunk.valid().trim_start().len());
    let key = key.get(leading..).unwrap_or_default();
    let tail = key.utf8_chunks().last().filter(|chunk| chunk.invalid().is_empty());
    let trailing = tail.map_or(0, |chunk| chunk.valid().len() - chunk.valid().trim_end().len());
    key.get(..key.len() - trailing).unwrap_or_default()
}

/// A text with a space for each byte that is not UTF-8 and for each replacement character.
pub(super) fn without_bad_bytes(text: &[u8]) -> Cow<'_, [u8]> {
    if text.is_ascii() || std::str::from_utf8(text).is_ok_and(|text| !text.contains('\u{fffd}')) {
        return Cow::Borrowed(text);
    }
    let mut out = Vec::with_capacity(text.len());
    for chunk in text.utf8_chunks() {
        out.extend_from_slice(chunk.valid().replace('\u{fffd}', " ").as_bytes());
        out.extend(chunk.invalid().iter().map(|_| b' '));
    }
    Cow::Owned(out)
}

/// Whether a text has a byte that is not UTF-8, or a replacement character.
pub(super) fn has_bad_bytes(text: &[u8]) -> bool {
    !text.is_ascii() && !std::str::from_utf8(text).is_ok_and(|text| !text.contains('\u{fffd}'))
}
