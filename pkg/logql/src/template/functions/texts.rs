//! Functions over texts. Lengths count bytes where Go's do, characters where Go's count runes.

use super::{int, part, text};
use crate::template::evaluate::Scope;
use crate::template::format::{char_offset, count_chars, first_char};
use crate::template::value::Value;
use crate::template::{base64, json};
use memchr::memmem;
use std::borrow::Cow;

type Result<'a> = std::result::Result<Value<'a>, String>;

pub fn line<'a>(scope: &mut Scope<'a>, _: &mut [Value<'a>]) -> Result<'a> {
    let context = scope.context;
    Ok(Value::text(context.line()))
}

/// Appends a text with each character replaced; what is no UTF-8 becomes U+FFFD, as in Go.
pub(in crate::template) fn map_chars(text: &[u8], out: &mut Vec<u8>, mut map: impl FnMut(char) -> char) {
    for chunk in text.utf8_chunks() {
        for c in chunk.valid().chars() {
            out.extend_from_slice(map(c).encode_utf8(&mut [0; 4]).as_bytes());
        }
        for _ in chunk.invalid() {
            out.extend_from_slice(map(char::REPLACEMENT_CHARACTER).encode_utf8(&mut [0; 4]).as_bytes());
        }
    }
}

/// The one lower-case character of another; those with several stay, but for `İ`.
pub(in crate::template) fn to_lower(c: char) -> char {
    let mut lower = c.to_lowercase();
    match (lower.next(), lower.next()) {
        (Some(lower), None) => lower,
        _ if c == 'İ' => 'i',
        _ => c,
    }
}

/// The one upper-case character of another; those with several stay.
pub(in crate::template) fn to_upper(c: char) -> char {
    let mut upper = c.to_uppercase();
    match (upper.next(), upper.next()) {
        (Some(upper), None) => upper,
        _ => c,
    }
}

fn mapped<'a>(scope: &mut Scope<'a>, arguments: &mut [Value<'a>], map: impl FnMut(char) -> char) -> Result<'a> {
    let text = text(arguments, 0);
    scope.spend(text.len())?;
    let mut out = Vec::with_capacity(text.len());
    map_chars(&text, &mut out, map);
    Ok(Value::text(out))
}

pub fn lower<'a>(scope: &mut Scope<'a>, arguments: &mut [Value<'a>]) -> Result<'a> {
    mapped(scope, arguments, to_lower)
}

pub fn upper<'a>(scope: &mut Scope<'a>, arguments: &mut [Value<'a>]) -> Result<'a> {
    mapped(scope, arguments, to_upper)
}

/// Each word's first character as a capital; digits and `_` are parts of words.
pub fn title<'a>(scope: &mut Scope<'a>, arguments: &mut [Value<'a>]) -> Result<'a> {
    let mut before = ' ';
    mapped(scope, arguments, |c| {
        let separated = match before {
            before if before.is_ascii() => !(before.is_ascii_alphanumeric() || before == '_'),
            before => !before.is_alphanumeric() && before.is_whitespace(),
        };
        before = c;
        if separated { to_upper(c) } else { c }
    })
}

/// Takes characters off the ends of a text.
fn trimmed<'a>(text: Cow<'a, [u8]>, left: bool, right: bool, goes: impl Fn(char) -> bool) -> Value<'a> {
    let (mut from, mut to) = (0, text.len());
    while left && from < to {
        let (c, length) = first_char(text.get(from..to).unwrap_or_default());
        if !goes(c) {
            break;
        }
        from += length;
    }
    while right && from < to {
        let rest = text.get(from..to).unwrap_or_default();
        let continued = rest.iter().rev().take(3).take_while(|&&byte| byte & 0xc0 == 0x80).count();
        // The last character, or the last byte if it is none.
        let start = rest.len().saturating_sub(continued + 1);
        let tail = rest.get(start..).unwrap_or_default();
        let (c, length) = first_char(tail);
        let (c, length) = if length == tail.len() { (c, length) } else { (char::REPLACEMENT_CHARACTER, 1) };
        if !goes(c) {
            break;
        }
        to -= length;
    }
    Value::Text(part(text, from, to))
}

pub fn trim<'a>(_: &mut Scope<'a>, arguments: &mut [Value<'a>]) -> Result<'a> {
    Ok(trimmed(text(arguments, 0), true, true, char::is_whitespace))
}

fn trim_by<'a>(scope: &mut Scope<'a>, shown: Cow<'a, [u8]>, set: &[u8], left: bool, right: bool) -> Result<'a> {
    let mut characters = Vec::new();
    map_chars(set, &mut characters, |c| c);
    let set = String::from_utf8(characters).unwrap_or_default();
    scope.spend(set.len().saturating_mul(shown.len().min(1024)))?;
    Ok(trimmed(shown, left, right, |c| set.contains(c)))
}

/// `Trim text set`.
pub fn trim_set<'a>(scope: &mut Scope<'a>, arguments: &mut [Value<'a>]) -> Result<'a> {
    let (text, set) = (text(arguments, 0), text(arguments, 1));
    trim_by(scope, text, &set, true, true)
}

pub fn trim_left_set<'a>(scope: &mut Scope<'a>, arguments: &mut [Value<'a>]) -> Result<'a> {
    let (text, set) = (text(arguments, 0), text(arguments, 1));
    trim_by(scope, text, &set, true, false)
}

pub fn trim_right_set<'a>(scope: &mut Scope<'a>, arguments: &mut [Value<'a>]) -> Result<'a> {
    let (text, set) = (text(arguments, 0), text(arguments, 1));
    trim_by(scope, text, &set, false, true)
}

/// `trimAll set text`.
pub fn trim_all<'a>(scope: &mut Scope<'a>, arguments: &mut [Value<'a>]) -> Result<'a> {
    let (set, text) = (text(arguments, 0), text(arguments, 1));
    trim_by(scope, text, &set, true, true)
}

fn without_prefix<'a>(text: Cow<'a, [u8]>, prefix: &[u8]) -> Value<'a> {
    let (length, cut) = (text.len(), if text.starts_with(prefix) { prefix.len() } else { 0 });
    Value::Text(part(text, cut, length))
}

fn without_suffix<'a>(text: Cow<'a, [u8]>, suffix: &[u8]) -> Value<'a> {
    let end = text.len() - if text.ends_with(suffix) { suffix.len() } else { 0 };
    Value::Text(part(text, 0, end))
}

/// `TrimPrefix text prefix`.
pub fn trim_prefix_of<'a>(_: &mut Scope<'a>, arguments: &mut [Value<'a>]) -> Result<'a> {
    let (text, prefix) = (text(arguments, 0), text(arguments, 1));
    Ok(without_prefix(text, &prefix))
}

pub fn trim_suffix_of<'a>(_: &mut Scope<'a>, arguments: &mut [Value<'a>]) -> Result<'a> {
    let (text, suffix) = (text(arguments, 0), text(arguments, 1));
    Ok(without_suffix(text, &suffix))
}

/// `trimPrefix prefix text`.
pub fn trim_prefix<'a>(_: &mut Scope<'a>, arguments: &mut [Value<'a>]) -> Result<'a> {
    let (prefix, text) = (text(arguments, 0), text(arguments, 1));
    Ok(without_prefix(text, &prefix))
}

pub fn trim_suffix<'a>(_: &mut Scope<'a>, arguments: &mut [Value<'a>]) -> Result<'a> {
    let (suffix, text) = (text(arguments, 0), text(arguments, 1));
    Ok(without_suffix(text, &suffix))
}

/// Replaces the first so many occurrences; an empty text occurs before each character and at the end.
fn replaced<'a>(scope: &mut Scope<'a>, text: Cow<'a, [u8]>, old: &[u8], new: &[u8], limit: usize) -> Result<'a> {
    scope.spend(text.len())?;
    let occurrences = if old.is_empty() { count_chars(&text) + 1 } else { memmem::find_iter(&text, old).count() };
    let count = occurrences.min(limit);
    if count == 0 || old == new {
        return Ok(Value::Text(text));
    }
    let length = text.len().saturating_sub(count * old.len()).saturating_add(count.saturating_mul(new.len()));
    scope.spend(length)?;
    let mut out = Vec::with_capacity(length);
    let mut rest = text.as_ref();
    for at in 0..count {
        let found = match old.is_empty() {
            true if at == 0 => 0,
            true => first_char(rest).1,
            false => memmem::find(rest, old).unwrap_or(rest.len()),
        };
        let (before, behind) = rest.split_at(found.min(rest.len()));
        out.extend_from_slice(before);
        out.extend_from_slice(new);
        rest = behind.get(old.len()..).unwrap_or_default();
    }
    out.extend_from_slice(rest);
    Ok(Value::text(out))
}

/// `Replace text old new count`; a negative count is all.
pub fn replace_some<'a>(scope: &mut Scope<'a>, arguments: &mut [Value<'a>]) -> Result<'a> {
    let limit = usize::try_from(int(arguments, 3)).unwrap_or(usize::MAX);
    let (text, old, new) = (text(arguments, 0), text(arguments, 1), text(arguments, 2));
    replaced(scope, text, &old, &new, limit)
}

/// `replace old new text`.
pub fn replace<'a>(scope: &mut Scope<'a>, arguments: &mut [Value<'a>]) -> Result<'a> {
    let (old, new, text) = (text(arguments, 0), text(arguments, 1), text(arguments, 2));
    replaced(scope, text, &old, &new, usize::MAX)
}

pub fn contains<'a>(scope: &mut Scope<'a>, arguments: &mut [Value<'a>]) -> Result<'a> {
    let (part, text) = (text(arguments, 0), text(arguments, 1));
    scope.spend(text.len())?;
    Ok(Value::Bool(memmem::find(&text, &part).is_some()))
}

pub fn has_prefix<'a>(_: &mut Scope<'a>, arguments: &mut [Value<'a>]) -> Result<'a> {
    let (prefix, text) = (text(arguments, 0), text(arguments, 1));
    Ok(Value::Bool(text.starts_with(&prefix)))
}

pub fn has_suffix<'a>(_: &mut Scope<'a>, arguments: &mut [Value<'a>]) -> Result<'a> {
    let (suffix, text) = (text(arguments, 0), text(arguments, 1));
    Ok(Value::Bool(text.ends_with(&suffix)))
}

/// The first so many bytes, or the last if the number is negative.
pub fn trunc<'a>(_: &mut Scope<'a>, arguments: &mut [Value<'a>]) -> Result<'a> {
    let (count, text) = (int(arguments, 0), text(arguments, 1));
    let length = text.len();
    let wanted = usize::try_from(count.unsigned_abs()).unwrap_or(usize::MAX);
    Ok(match (count < 0, wanted < length) {
        (_, false) => Value::Text(text),
        (true, true) => Value::Text(part(text, length - wanted, length)),
        (false, true) => Value::Text(part(text, 0, wanted)),
    })
}

/// Bytes from start to end; beyond the text it is the error that Go's runtime gives.
pub fn substr<'a>(_: &mut Scope<'a>, arguments: &mut [Value<'a>]) -> Result<'a> {
    let (start, end, text) = (int(arguments, 0), int(arguments, 1), text(arguments, 2));
    let length = text.len();
    let beyond = |bounds: String| Err(format!("runtime error: slice bounds out of range [{bounds}"));
    let (from, to) = match (usize::try_from(start), usize::try_from(end)) {
        (Err(_), Err(_)) => return beyond(format!(":{end}]")),
        (Err(_), Ok(end)) if end > length => return beyond(format!(":{end}] with length {length}")),
        (Err(_), Ok(end)) => (0, end),
        (Ok(start), Ok(end)) if end <= length => (start, end),
        (Ok(start), _) => (start, length),
    };
    if from > to {
        return beyond(format!("{from}:{to}]"));
    }
    Ok(Value::Text(part(text, from, to)))
}

/// A text so many times; the error is that of Go's `strings.Repeat`.
fn repeated(scope: &mut Scope<'_>, text: &[u8], count: i64) -> std::result::Result<Vec<u8>, String> {
    let count = usize::try_from(count).map_err(|_| "strings: negative Repeat count".to_owned())?;
    scope.spend(text.len().saturating_mul(count))?;
    Ok(text.repeat(count))
}

pub fn repeat<'a>(scope: &mut Scope<'a>, arguments: &mut [Value<'a>]) -> Result<'a> {
    let (count, text) = (int(arguments, 0), text(arguments, 1));
    Ok(Value::text(repeated(scope, &text, count)?))
}

fn indented<'a>(scope: &mut Scope<'a>, arguments: &mut [Value<'a>], start: &str) -> Result<'a> {
    let pad = repeated(scope, b" ", int(arguments, 0))?;
    let text = text(arguments, 1);
    let lines = memchr::memchr_iter(b'\n', &text).count() + 1;
    scope.spend(text.len().saturating_add(lines.saturating_mul(pad.len())))?;
    let mut out = Vec::with_capacity(text.len() + lines * pad.len() + start.len());
    out.extend_from_slice(start.as_bytes());
    for (at, line) in text.split(|&byte| byte == b'\n').enumerate() {
        if at > 0 {
            out.push(b'\n');
        }
        out.extend_from_slice(&pad);
        out.extend_from_slice(line);
    }
    Ok(Value::text(out))
}

pub fn indent<'a>(scope: &mut Scope<'a>, arguments: &mut [Value<'a>]) -> Result<'a> {
    indented(scope, arguments, "")
}

pub fn nindent<'a>(scope: &mut Scope<'a>, arguments: &mut [Value<'a>]) -> Result<'a> {
    indented(scope, arguments, "\n")
}

/// Pads or cuts a text to so many characters; `left` keeps its beginning.
fn aligned<'a>(scope: &mut Scope<'a>, arguments: &mut [Value<'a>], left: bool) -> Result<'a> {
    let (count, text) = (int(arguments, 0), text(arguments, 1));
    scope.spend(text.len())?;
    let length = count_chars(&text);
    let Ok(count) = usize::try_from(count) else { return Ok(Value::Text(text)) };
    if count <= length {
        let bytes = text.len();
        let (from, to) =
            if left { (0, char_offset(&text, count)) } else { (char_offset(&text, length - count), bytes) };
        return Ok(Value::Text(part(text, from, to)));
    }
    let pad = repeated(scope, b" ", i64::try_from(count - length).unwrap_or(i64::MAX))?;
    Ok(Value::text(if left { [&text, pad.as_slice()].concat() } else { [pad.as_slice(), &text].concat() }))
}

pub fn align_left<'a>(scope: &mut Scope<'a>, arguments: &mut [Value<'a>]) -> Result<'a> {
    aligned(scope, arguments, true)
}

pub fn align_right<'a>(scope: &mut Scope<'a>, arguments: &mut [Value<'a>]) -> Result<'a> {
    aligned(scope, arguments, false)
}

pub fn b64enc<'a>(scope: &mut Scope<'a>, arguments: &mut [Value<'a>]) -> Result<'a> {
    let text = text(arguments, 0);
    scope.spend(text.len().saturating_mul(2))?;
    Ok(Value::text(base64::encode(&text)))
}

/// What cannot be decoded gives the error as the text, as in Loki.
pub fn b64dec<'a>(scope: &mut Scope<'a>, arguments: &mut [Value<'a>]) -> Result<'a> {
    let text = text(arguments, 0);
    scope.spend(text.len())?;
    let mut padded = text.into_owned();
    if padded.len() % 4 > 1 {
        padded.resize(padded.len().next_multiple_of(4), b'=');
    }
    Ok(Value::text(base64::decode(&padded).unwrap_or_else(String::into_bytes)))
}

/// Go's `url.QueryEscape`.
pub(super) fn escape_query(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len() * 3);
    for &byte in text {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => out.push(byte),
            b' ' => out.push(b'+'),
            byte => out.extend_from_slice(format!("%{byte:02X}").as_bytes()),
        }
    }
    out
}

pub fn urlencode<'a>(scope: &mut Scope<'a>, arguments: &mut [Value<'a>]) -> Result<'a> {
    let text = text(arguments, 0);
    scope.spend(text.len().saturating_mul(3))?;
    Ok(Value::text(escape_query(&text)))
}

/// Go's `url.QueryUnescape`.
pub fn urldecode<'a>(scope: &mut Scope<'a>, arguments: &mut [Value<'a>]) -> Result<'a> {
    let text = text(arguments, 0);
    scope.spend(text.len())?;
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text.as_ref();
    while let Some((&byte, behind)) = rest.split_first() {
        let digit = |at: usize| behind.get(at).and_then(|&byte| char::from(byte).to_digit(16));
        rest = match byte {
            b'%' => {
                let (Some(high), Some(low)) = (digit(0), digit(1)) else {
                    let shown = rest.get(..rest.len().min(3)).unwrap_or_default();
                    let shown = crate::template::format::quote(shown, '"', false);
                    return Err(format!("invalid URL escape {shown}"));
                };
                out.push(u8::try_from(high * 16 + low).unwrap_or(0));
                behind.get(2..).unwrap_or_default()
            }
            b'+' => {
                out.push(b' ');
                behind
            }
            byte => {
                out.push(byte);
                behind
            }
        };
    }
    Ok(Value::text(out))
}

/// What is no JSON gives no value.
pub fn from_json<'a>(scope: &mut Scope<'a>, arguments: &mut [Value<'a>]) -> Result<'a> {
    let text = text(arguments, 0);
    // Values in memory are larger than their text.
    scope.spend(text.len())?;
    scope.spend(text.len())?;
    Ok(json::parse(&text).map_or(Value::Boxed(None), |value| Value::boxed(&value)))
}
