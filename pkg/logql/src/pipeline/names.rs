//! Label names as numbers, and keys of lines as label names.
//!
//! A [`Names`] gives each name one number; those of the query come first and keep theirs. A
//! [`Keys`] remembers which name a key of a line becomes once it is made valid, so that a key seen
//! before costs one hash, or one comparison when lines repeat their order of keys. Both are
//! bounded: lines with ever new keys make them start over, never grow.

use hashbrown::HashTable;

use super::sanitize::sanitize_key;

/// The number of a label name within one runner.
pub(super) type NameId = usize;

/// Names a runner remembers beyond those of its query before it starts over.
const NAMES_MAX: usize = 8192;
/// Keys of lines that are remembered.
const KEYS_MAX: usize = 2048;
/// Bytes of keys of lines that are remembered.
const KEY_BYTES_MAX: usize = 128 << 10;
/// What a parsed label's name gets when a label of the stream or the metadata has it already.
const DUPLICATE_SUFFIX: &str = "_extracted";

/// Names and their numbers.
#[derive(Clone, Debug, Default)]
pub(super) struct Names {
    entries: Vec<Name>,
    table: HashTable<NameId>,
}

#[derive(Clone, Debug)]
struct Name {
    text: Box<str>,
    suffixed: Option<NameId>,
}

impl Names {
    /// The number of a name, given now if it has none.
    pub(super) fn intern(&mut self, text: &str) -> NameId {
        if let Some(id) = self.find(text.as_bytes()) {
            return id;
        }
        let id = self.entries.len();
        self.entries.push(Name { text: text.into(), suffixed: None });
        let entries = &self.entries;
        self.table.insert_unique(hash(text.as_bytes()), id, |&id| {
            hash(entries.get(id).map_or(&[][..], |name| name.text.as_bytes()))
        });
        id
    }

    /// The number of a name that has one.
    pub(super) fn find(&self, text: &[u8]) -> Option<NameId> {
        self.table
            .find(hash(text), |&id| self.entries.get(id).is_some_and(|name| name.text.as_bytes() == text))
            .copied()
    }

    /// The name of a number.
    pub(super) fn text(&self, id: NameId) -> &str {
        self.entries.get(id).map_or("", |name| &name.text)
    }

    /// The name that a parsed label gets when its own is taken.
    pub(super) fn suffixed(&mut self, id: NameId) -> NameId {
        if let Some(Some(known)) = self.entries.get(id).map(|name| name.suffixed) {
            return known;
        }
        let text = format!("{}{DUPLICATE_SUFFIX}", self.text(id));
        let suffixed = self.intern(&text);
        if let Some(name) = self.entries.get_mut(id) {
            name.suffixed = Some(suffixed);
        }
        suffixed
    }

    /// How many names there are.
    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there are so many more than those of the query that they had better be forgotten.
    pub(super) fn is_full(&self, of_query: &Self) -> bool {
        self.len() > of_query.len() + NAMES_MAX
    }
}

/// Keys of lines and the label names that they become; `None` for keys that become no label.
#[derive(Debug, Default)]
pub(super) struct Keys {
    entries: Vec<Key>,
    bytes: Vec<u8>,
    table: HashTable<usize>,
    /// The entry seen last at each place in the line.
    guesses: Vec<usize>,
    scratch: String,
}

#[derive(Clone, Copy, Debug)]
struct Key {
    start: usize,
    end: usize,
    name: Option<NameId>,
}

impl Keys {
    /// The name that the key at a place in the line (0 for the first key) becomes.
    pub(super) fn name(&mut self, place: usize, key: &[u8], names: &mut Names) -> Option<NameId> {
        if let Some(entry) = self.guesses.get(place).and_then(|&guess| self.entries.get(guess))
            && self.bytes.get(entry.start..entry.end) == Some(key)
        {
            return entry.name;
        }
        self.look_up(place, key, names)
    }

    fn look_up(&mut self, place: usize, key: &[u8], names: &mut Names) -> Option<NameId> {
        let (entries, bytes) = (&self.entries, &self.bytes);
        let text = |at: usize| entries.get(at).and_then(|entry| bytes.get(entry.start..entry.end)).unwrap_or_default();
        let key_hash = hash(key);
        if let Some(&at) = self.table.find(key_hash, |&at| text(at) == key) {
            self.guess(place, at);
            return self.entries.get(at).and_then(|entry| entry.name);
        }
        self.scratch.clear();
        sanitize_key(key, &mut self.scratch);
        let name = (!self.scratch.is_empty()).then(|| names.intern(&self.scratch));
        if self.entries.len() >= KEYS_MAX || self.bytes.len().saturating_add(key.len()) > KEY_BYTES_MAX {
            return name;
        }
        let at = self.entries.len();
        let start = self.bytes.len();
        self.bytes.extend_from_slice(key);
        self.entries.push(Key { start, end: self.bytes.len(), name });
        let (entries, bytes) = (&self.entries, &self.bytes);
        let text = |at: usize| entries.get(at).and_then(|entry| bytes.get(entry.start..entry.end)).unwrap_or_default();
        self.table.insert_unique(key_hash, at, |&at| hash(text(at)));
        self.guess(place, at);
        name
    }

    fn guess(&mut self, place: usize, at: usize) {
        if let Some(guess) = self.guesses.get_mut(place) {
            *guess = at;
        } else if place < KEYS_MAX {
            self.guesses.resize(place + 1, at);
        }
    }

    /// Forgets all, because the names were given anew.
    pub(super) fn clear(&mut self) {
        self.entries.clear();
        self.bytes.clear();
        self.table.clear();
        self.guesses.clear();
    }
}

fn hash(text: &[u8]) -> u64 {
    xxhash_rust::xxh3::xxh3_64(text)
}
