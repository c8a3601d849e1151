//! `| json`: all members of the object that a line is, nested ones under joined names; and
//! `| unpack`, which reads what Promtail's `pack` wrote.

pub(super) mod path;
pub(super) mod scan;

use super::names::NameId;
use super::parse::Parsing;
use super::sanitize::{append_part, append_part_and, has_bad_bytes, sanitize_key, without_bad_bytes};
use scan::{JsonError, Kind, Member, Members, Value, unescape};

pub(super) const JSON_ERROR: &str = "JSONParserErr";

/// How deep objects may be nested within each other.
const DEPTH_MAX: usize = 128;

/// Why a walk over an object ended early.
enum Stop {
    Malformed(JsonError),
    /// All labels that are needed are found.
    FoundAll,
    /// A label has a value with which the line cannot pass.
    Drop,
}

impl From<JsonError> for Stop {
    fn from(error: JsonError) -> Self {
        Self::Malformed(error)
    }
}

/// Sets a label for each member. False: the line is dropped.
pub(super) fn parse_all(line: &[u8], parsing: &mut Parsing<'_>) -> bool {
    if parsing.is_idle() {
        return true;
    }
    let mut prefix = std::mem::take(parsing.text);
    prefix.clear();
    let outcome = object(line, &mut prefix, 0, parsing);
    *parsing.text = prefix;
    match outcome {
        Ok(()) | Err(Stop::FoundAll) => true,
        Err(Stop::Drop) => false,
        Err(Stop::Malformed(error)) => {
            parsing.fail(JSON_ERROR, Some(&error));
            true
        }
    }
}

fn object(data: &[u8], prefix: &mut String, depth: usize, parsing: &mut Parsing<'_>) -> Result<(), Stop> {
    let mut members = Members::new(data)?;
    let mut place = 0;
    while let Some(member) = members.next()? {
        match member.value.kind {
            Kind::String | Kind::Number | Kind::Boolean => {
                leaf(&member, prefix, depth, place, parsing)?;
                if parsing.labels.all_extracted() {
                    return Err(Stop::FoundAll);
                }
            }
            Kind::Object => nested(&member, prefix, depth, parsing)?,
            Kind::Array | Kind::Null => {
                if parsing.labels.all_extracted() {
                    return Err(Stop::FoundAll);
                }
            }
        }
        members.advance()?;
        place += 1;
    }
    Ok(())
}

fn nested(member: &Member<'_>, prefix: &mut String, depth: usize, parsing: &mut Parsing<'_>) -> Result<(), Stop> {
    if depth == DEPTH_MAX {
        return Err(JsonError::TooDeep.into());
    }
    let length = prefix.len();
    with_key(member, parsing, |key, _| append_part(key, prefix));
    let outcome = if parsing.labels.should_extract_prefix(prefix) {
        object(member.value.text, prefix, depth + 1, parsing)
    } else {
        Ok(())
    };
    prefix.truncate(length);
    outcome
}

fn leaf(
    member: &Member<'_>,
    prefix: &mut String,
    depth: usize,
    place: usize,
    parsing: &mut Parsing<'_>,
) -> Result<(), Stop> {
    let name = if depth == 0 {
        with_key(member, parsing, |key, parsing| parsing.keys.name(place, key, &mut parsing.labels.names))
            .and_then(|name| parsing.wanted(name))
    } else {
        nested_name(member, prefix, parsing)
    };
    let Some(name) = name else { return Ok(()) };
    set(&member.value, name, parsing);
    if parsing.may_pass(name) || parsing.labels.all_extracted() { Ok(()) } else { Err(Stop::Drop) }
}

/// The name of a member of a nested object: `prefix_key`, with a suffix behind the key if taken.
fn nested_name(member: &Member<'_>, prefix: &mut String, parsing: &mut Parsing<'_>) -> Option<NameId> {
    let length = prefix.len();
    with_key(member, parsing, |key, parsing| {
        append_part(key, prefix);
        let known = parsing.labels.names.find(prefix.as_bytes());
        if known.is_some_and(|name| parsing.labels.is_taken(name)) {
            prefix.truncate(length);
            append_part_and(key, b"_extracted", prefix);
        }
    });
    // A name that the query does not know is not among those it requires.
    let name = match parsing.labels.names.find(prefix.as_bytes()) {
        Some(name) => Some(name),
        None if parsing.labels.has_required() => None,
        None => Some(parsing.labels.names.intern(prefix)),
    };
    prefix.truncate(length);
    name.filter(|&name| parsing.labels.should_extract(name) && !parsing.labels.is_extracted(name))
}

/// Hands over the key of a member without its escapes.
fn with_key<'p, R>(member: &Member<'_>, parsing: &mut Parsing<'p>, f: impl FnOnce(&[u8], &mut Parsing<'p>) -> R) -> R {
    if !member.key_escaped {
        return f(member.key, parsing);
    }
    let mut key = std::mem::take(parsing.bytes);
    key.clear();
    // The scanner has checked the escapes.
    let _ = unescape(member.key, &mut key);
    let result = f(&key, parsing);
    *parsing.bytes = key;
    result
}

fn set(value: &Value<'_>, name: NameId, parsing: &mut Parsing<'_>) {
    if value.kind == Kind::String {
        set_string(value.text, name, parsing);
    } else {
        parsing.labels.set_text(name, value.text);
    }
}

/// Sets a label to a string: its escapes undone, a space for each byte that is not UTF-8; empty if
/// an escape is invalid.
fn set_string(text: &[u8], name: NameId, parsing: &mut Parsing<'_>) {
    if !text.contains(&b'\\') && !has_bad_bytes(text) {
        parsing.labels.set_text(name, text);
        return;
    }
    let mut plain = std::mem::take(parsing.bytes);
    plain.clear();
    if unescape(text, &mut plain).is_err() {
        plain.clear();
    }
    parsing.labels.set_text(name, &without_bad_bytes(&plain));
    *parsing.bytes = plain;
}

/// What became of a packed line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unpacked {
    Drop,
    Unchanged,
    /// The line that was packed is in the buffer.
    Changed,
}

/// Reads a packed line: its texts are labels, and `_entry` is the line. Nothing is set unless
/// there is a `_entry`.
pub(super) fn unpack(line: &[u8], parsing: &mut Parsing<'_>, entry: &mut Vec<u8>) -> Unpacked {
    if line.is_empty() || parsing.is_idle() {
        return Unpacked::Unchanged;
    }
    let outcome = match line.first() {
        Some(b'{') => unpack_members(line, parsing, entry),
        _ => Err(JsonError::NotAnObject.into()),
    };
    match outcome {
        Ok(true) => Unpacked::Changed,
        Ok(false) | Err(Stop::FoundAll) => Unpacked::Unchanged,
        Err(Stop::Drop) => Unpacked::Drop,
        Err(Stop::Malformed(error)) => {
            parsing.fail(JSON_ERROR, Some(&error));
            Unpacked::Unchanged
        }
    }
}

fn unpack_members(line: &[u8], parsing: &mut Parsing<'_>, entry: &mut Vec<u8>) -> Result<bool, Stop> {
    let mut packed = false;
    let mut found = Vec::new();
    let mut members = Members::new(line)?;
    while let Some(member) = members.next()? {
        if member.value.kind == Kind::String {
            let key = with_key(&member, parsing, |key, _| key.to_vec());
            if key == b"_entry" {
                entry.clear();
                unescape(member.value.text, entry)?;
                packed = true;
            } else if let Some(name) = unpacked_name(&key, parsing) {
                found.push((name, member.value.text));
            }
        }
        members.advance()?;
    }
    if packed {
        for (name, text) in found {
            set_string(text, name, parsing);
            if !parsing.may_pass(name) {
                return Err(Stop::Drop);
            }
        }
    }
    Ok(packed)
}

/// As in Loki, whether a key is taken or wanted is decided before it is made a valid name.
fn unpacked_name(key: &[u8], parsing: &mut Parsing<'_>) -> Option<NameId> {
    let known = parsing.labels.names.find(key);
    let known = known.map(|name| parsing.labels.free_name(name));
    match known {
        Some(name) if !parsing.labels.should_extract(name) || parsing.labels.is_extracted(name) => return None,
        None if parsing.labels.has_required() => return None,
        _ => {}
    }
    let mut text = String::new();
    match known {
        Some(name) => sanitize_key(parsing.labels.names.text(name).as_bytes(), &mut text),
        None => sanitize_key(key, &mut text),
    }
    Some(parsing.labels.names.intern(&text))
}
