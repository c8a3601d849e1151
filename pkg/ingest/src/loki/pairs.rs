//! Names and values in one text that is filled again and again.

use std::ops::Range;

/// Pairs of texts.
#[derive(Default)]
pub(crate) struct Pairs {
    text: String,
    spans: Vec<Pair>,
}

#[derive(Clone, Copy)]
struct Pair {
    start: usize,
    middle: usize,
    end: usize,
}

impl Pairs {
    pub fn clear(&mut self) {
        self.text.clear();
        self.spans.clear();
    }

    pub fn len(&self) -> usize {
        self.spans.len()
    }

    /// Bytes of all names and values.
    pub fn bytes(&self) -> usize {
        self.text.len()
    }

    /// Adds a pair that the two functions append.
    pub fn push_with(&mut self, name: impl FnOnce(&mut String), value: impl FnOnce(&mut String)) {
        let start = self.text.len();
        name(&mut self.text);
        let middle = self.text.len();
        value(&mut self.text);
        self.spans.push(Pair { start, middle, end: self.text.len() });
    }

    pub fn push(&mut self, name: &str, value: &str) {
        self.push_with(|out| out.push_str(name), |out| out.push_str(value));
    }

    pub fn iter(&self) -> impl DoubleEndedIterator<Item = (&str, &str)> + ExactSizeIterator + Clone {
        self.spans.iter().map(|pair| (self.slice(pair.start..pair.middle), self.slice(pair.middle..pair.end)))
    }

    pub fn get(&self, name: &str) -> Option<&str> {
        self.iter().find(|&(other, _)| other == name).map(|(_, value)| value)
    }

    /// Sorts by name, those of one name in the order in which they came.
    pub fn sort(&mut self) {
        let Self { text, spans } = self;
        spans.sort_by(|a, b| text.get(a.start..a.middle).cmp(&text.get(b.start..b.middle)));
    }

    /// Removes pairs without a value.
    pub fn drop_empty(&mut self) {
        self.spans.retain(|pair| pair.middle < pair.end);
    }

    /// Of sorted pairs of one name, keeps the last.
    pub fn keep_last(&mut self) {
        let Self { text, spans } = self;
        spans.dedup_by(|later, kept| {
            let same = text.get(later.start..later.middle) == text.get(kept.start..kept.middle);
            if same {
                *kept = *later;
            }
            same
        });
    }

    fn slice(&self, range: Range<usize>) -> &str {
        self.text.get(range).unwrap_or_default()
    }
}
