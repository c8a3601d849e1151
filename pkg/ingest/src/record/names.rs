//! A set of names that is filled and emptied for each record.

use hashbrown::HashTable;
use xxhash_rust::xxh3::xxh3_64;

/// A set of names in one allocation.
#[derive(Default)]
pub(super) struct Names {
    text: String,
    spans: HashTable<(usize, usize)>,
}

impl Names {
    pub fn clear(&mut self) {
        self.text.clear();
        self.spans.clear();
    }

    pub fn insert(&mut self, name: &str) {
        if !self.contains(name) {
            let start = self.text.len();
            self.text.push_str(name);
            let Self { text, spans } = self;
            let hash = |&(start, end): &(usize, usize)| xxh3_64(text.as_bytes().get(start..end).unwrap_or_default());
            spans.insert_unique(xxh3_64(name.as_bytes()), (start, text.len()), hash);
        }
    }

    pub fn contains(&self, name: &str) -> bool {
        let is_name = |&(start, end): &(usize, usize)| self.text.get(start..end) == Some(name);
        !self.spans.is_empty() && self.spans.find(xxh3_64(name.as_bytes()), is_name).is_some()
    }
}
