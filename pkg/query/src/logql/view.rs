//! What LogQL sees of a record: names it can write, levels as they were sent, and the labels that
//! Loki derives.

use std::borrow::Cow;
use timberlog_types::stream::{SERVICE_NAME_KEYS, SERVICE_NAME_UNKNOWN};
use timberlog_types::{Level, StreamRef, level};

/// The label that names a stream's service.
pub const SERVICE_NAME: &str = "service_name";
/// The metadata that names a record's level.
pub const DETECTED_LEVEL: &str = "detected_level";
/// The metadata that holds a level as it was sent.
pub const LEVEL: &str = "level";

/// A name as LogQL can write it: runs of what is no ASCII letter or digit become one `_`, and a
/// digit in front gets `key_` before it, as Loki does with metadata. A name that LogQL can write
/// stays as it was sent.
pub fn name(stored: &str) -> Cow<'_, str> {
    if is_plain(stored) {
        return Cow::Borrowed(stored);
    }
    let mut name = String::with_capacity(stored.len() + 4);
    if stored.as_bytes().first().is_some_and(u8::is_ascii_digit) {
        name.push_str("key_");
    }
    let mut is_run = false;
    for c in stored.chars() {
        match (c.is_ascii_alphanumeric(), is_run) {
            (true, _) => name.push(c),
            (false, false) => name.push('_'),
            (false, true) => {}
        }
        is_run = !c.is_ascii_alphanumeric();
    }
    Cow::Owned(name)
}

fn is_plain(stored: &str) -> bool {
    let bytes = stored.as_bytes();
    bytes.iter().all(|byte| byte.is_ascii_alphanumeric() || *byte == b'_')
        && !bytes.first().is_some_and(u8::is_ascii_digit)
}

/// Whether LogQL sees a stored name as `wanted`.
pub fn is_named(stored: &str, wanted: &str) -> bool {
    stored == wanted || (!is_plain(stored) && name(stored) == wanted)
}

/// The value of a stream's label as LogQL sees it; empty for `level` where another label tells it.
pub fn label<'a>(stream: StreamRef<'a>, wanted: &str, derived: bool) -> Option<&'a str> {
    let found = stream.labels().find(|&(stored, value)| is_named(stored, wanted) && !value.is_empty());
    match found {
        Some((_, value)) => Some(value),
        None if derived && wanted == SERVICE_NAME => Some(service_name(stream)),
        None if wanted == LEVEL && tells_level(stream) => Some(""),
        None => None,
    }
}

/// The name of a stream's service as Loki derives it from the stream's labels.
fn service_name<'a>(stream: StreamRef<'a>) -> &'a str {
    let of = |wanted: &&str| stream.labels().find(|&(stored, value)| is_named(stored, wanted) && !value.is_empty());
    SERVICE_NAME_KEYS.iter().find_map(of).map_or(SERVICE_NAME_UNKNOWN, |(_, value)| value)
}

/// Whether the level of records is that of a label of their stream: then it was not sent besides.
pub fn tells_level(stream: StreamRef<'_>) -> bool {
    stream.labels().any(|(name, value)| !value.is_empty() && is_level_key(name))
}

/// Whether a stored name is one of those under which senders tell a level.
pub fn is_level_key(stored: &str) -> bool {
    level::KEYS.contains(&stored)
}

/// The labels of a stream as LogQL sees them, sorted by name, each name once.
pub fn labels<'a>(stream: StreamRef<'a>, derived: bool, into: &mut Vec<(Cow<'a, str>, &'a str)>) {
    into.clear();
    into.extend(stream.labels().filter(|(_, value)| !value.is_empty()).map(|(stored, value)| (name(stored), value)));
    if derived && !into.iter().any(|(name, _)| name == SERVICE_NAME) {
        into.push((Cow::Borrowed(SERVICE_NAME), service_name(stream)));
    }
    into.sort_by(|a, b| a.0.cmp(&b.0));
    into.dedup_by(|later, first| later.0 == first.0);
}

/// The level of a record as Loki detects it, from the level as it was sent or filed. A record has a
/// field [`DETECTED_LEVEL`] instead if one was sent, or if a push found `critical` in its line, which is
/// filed as `fatal`.
pub fn detected_level(level: Level, spelling: Option<&str>) -> &str {
    match spelling {
        None => level.as_str(),
        Some(spelling) => level::detected(spelling.as_bytes()).unwrap_or(spelling),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_written_as_loki_writes_them() {
        for (stored, expected) in [
            ("a_b", "a_b"),
            ("a__b", "a__b"),
            ("_x", "_x"),
            ("k8s.pod-name", "k8s_pod_name"),
            ("a..b", "a_b"),
            ("9z", "key_9z"),
            ("ä", "_"),
        ] {
            assert_eq!(name(stored), expected);
            assert!(is_named(stored, expected) && !is_named(stored, "other"));
        }
    }
}
