//! Columns of a block as they are read: decoded, immutable, fit for a cache.

mod codes;
mod values;

pub use codes::Codes;
pub use values::{Dictionary, ValueColumn};
pub(crate) use values::{Kinds, Presence, Texts, Values};

use crate::message::MessageColumn;

/// A column of a block.
#[expect(clippy::large_enum_variant, reason = "columns live one by one behind an `Arc`, never in a list")]
pub enum Column {
    /// The timestamps in ns, one a row.
    Timestamps(Vec<i64>),
    /// The streams.
    Streams(StreamRuns),
    /// The level spellings.
    Levels(LevelColumn),
    /// The messages.
    Message(MessageColumn),
    /// A field.
    Field(ValueColumn),
}

/// Which stream each row is of, as runs of rows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StreamRuns {
    /// The stream id of each run; see [`crate::Directory::streams`].
    pub(crate) ids: Vec<u32>,
    /// The row behind each run, ascending; the last is the number of rows.
    pub(crate) ends: Vec<u32>,
}

/// Which level spelling each row has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LevelColumn {
    /// The spelling id that each code means; see [`crate::Directory::levels`].
    pub(crate) spellings: Vec<u32>,
    pub(crate) codes: Codes,
}

impl Column {
    /// An upper bound of the memory held once all of the column is decompressed: what a query that
    /// looks at it is charged.
    pub fn memory_bytes(&self) -> usize {
        match self {
            Self::Message(messages) => size_of::<Self>() + messages.memory_bytes(),
            _ => self.held_bytes(),
        }
    }

    /// Bytes of memory held now: what the column weighs in a cache. Those of messages grow while
    /// they are read; all others stay what they are.
    pub fn held_bytes(&self) -> usize {
        size_of::<Self>()
            + match self {
                Self::Timestamps(times) => times.len() * 8,
                Self::Streams(runs) => runs.ids.len() * 8,
                Self::Levels(levels) => levels.codes.memory_bytes() + levels.spellings.len() * 4,
                Self::Message(messages) => messages.held_bytes(),
                Self::Field(values) => values.memory_bytes(),
            }
    }
}

impl StreamRuns {
    /// The number of rows.
    pub fn rows(&self) -> usize {
        self.ends.last().map_or(0, |&end| end as usize)
    }

    /// The stream id of a row.
    ///
    /// # Panics
    /// If there is no such row.
    pub fn get(&self, row: usize) -> u32 {
        self.ids[self.ends.partition_point(|&end| end as usize <= row)]
    }

    /// The runs: stream id and rows.
    pub fn runs(&self) -> impl DoubleEndedIterator<Item = (u32, std::ops::Range<usize>)> + '_ {
        self.ids.iter().enumerate().map(|(run, &id)| {
            let start = if run == 0 { 0 } else { self.ends[run - 1] as usize };
            (id, start..self.ends[run] as usize)
        })
    }
}

impl LevelColumn {
    /// The number of rows.
    pub fn rows(&self) -> usize {
        self.codes.len()
    }

    /// The spelling id of each code: an index into [`crate::Directory::levels`].
    pub fn spellings(&self) -> &[u32] {
        &self.spellings
    }

    /// The code of each row: an index into [`LevelColumn::spellings`].
    pub fn codes(&self) -> &Codes {
        &self.codes
    }

    /// The spelling id of a row.
    ///
    /// # Panics
    /// If there is no such row.
    pub fn get(&self, row: usize) -> u32 {
        self.spellings[self.codes.get(row)]
    }
}
