//! Which keys of a record mean what. A key with a role has a slot; slots of one role stand in the
//! order of their priority.

use std::ops::Range;

/// Slots by role.
pub(crate) const TIMES: Range<usize> = 0..5;
pub(crate) const MESSAGES: Range<usize> = 5..11;
pub(crate) const LEVELS: Range<usize> = 11..15;
pub(crate) const SERVICES: Range<usize> = 15..20;
/// Objects whose members become fields without a prefix.
pub(crate) const MERGED: Range<usize> = 20..22;
pub(crate) const SLOTS: usize = 22;

/// `service.name`, which may come as a nested object too.
pub(crate) const SERVICE_NAME: usize = 16;

/// The key of each slot.
pub(crate) const KEYS: [&str; SLOTS] = [
    "timestamp",
    "time",
    "ts",
    "@timestamp",
    "_time",
    "message",
    "msg",
    "_msg",
    "body",
    "log",
    "line",
    "level",
    "severity",
    "severity_text",
    "lvl",
    "service",
    "service.name",
    "service_name",
    "app",
    "job",
    "metadata",
    "Properties",
];

/// The first key of each role. A field of that name could not be asked for, so there is none.
pub(crate) const RESERVED: [usize; 4] = [TIMES.start, MESSAGES.start, LEVELS.start, SERVICES.start];

/// Slots by the length of their keys.
const BY_LENGTH: [&[usize]; 14] = [
    &[],
    &[],
    &[2],
    &[6, 9, 14, 18, 19],
    &[1, 7, 8, 10],
    &[4, 11],
    &[],
    &[5, 15],
    &[12, 20],
    &[0],
    &[3, 21],
    &[],
    &[16, 17],
    &[13],
];

/// How the keys of a body are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Schema {
    /// Any logger's JSON.
    Any,
    /// TimberLog's original record, whose keys Go's decoder took in any case.
    Write,
}

/// What a key is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    Slot(usize),
    /// A field that is stored under this name.
    Renamed(&'static str),
    Field,
}

const WRITE: [(&str, Role); 7] = [
    ("Timestamp", Role::Slot(TIMES.start)),
    ("Message", Role::Slot(MESSAGES.start)),
    ("Level", Role::Slot(LEVELS.start)),
    ("Service", Role::Slot(SERVICES.start)),
    ("Properties", Role::Slot(MERGED.start + 1)),
    ("Host", Role::Renamed("host")),
    ("StackTrace", Role::Renamed("stacktrace")),
];

impl Schema {
    #[inline]
    pub fn role(self, key: &str) -> Role {
        match self {
            Self::Any => {
                let slots = BY_LENGTH.get(key.len()).copied().unwrap_or_default();
                // The first byte rules nearly all of them out without a call.
                let first = key.as_bytes().first();
                let found = slots.iter().find(|&&slot| KEYS[slot].as_bytes().first() == first && KEYS[slot] == key);
                found.map_or(Role::Field, |&slot| Role::Slot(slot))
            }
            Self::Write => {
                WRITE.iter().find(|(name, _)| name.eq_ignore_ascii_case(key)).map_or(Role::Field, |&(_, role)| role)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_finds_its_slot() {
        for (slot, key) in KEYS.iter().enumerate() {
            assert_eq!(Schema::Any.role(key), Role::Slot(slot), "{key}");
        }
        assert_eq!(KEYS[SERVICE_NAME], "service.name");
        for key in ["", "x", "Message", "messages", "severity_texts", &"x".repeat(100)] {
            assert_eq!(Schema::Any.role(key), Role::Field, "{key}");
        }
        assert_eq!(Schema::Write.role("message"), Role::Slot(MESSAGES.start));
        assert_eq!(Schema::Write.role("HOST"), Role::Renamed("host"));
        assert_eq!(Schema::Write.role("msg"), Role::Field);
    }
}
