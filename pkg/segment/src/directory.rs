//! What a segment holds, without its rows: names, streams, services, levels and blocks.
//!
//! The directory stands in the footer of the `.log`, so that a segment can be read without its
//! `.redb`. Ids (of fields, streams, services, level spellings) are indexes into its tables, in
//! the order in which the writer first met them.

pub(crate) mod codec;

use std::fmt;
use timberlog_types::{Level, StreamRef, TimeRange};

/// What a segment holds, without its rows.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Directory {
    /// The segment's id.
    pub segment_id: String,
    /// The tenant whose records these are.
    pub tenant: String,
    /// The names of the fields; [`ColumnKey::Field`] is an index into it.
    pub field_names: Vec<String>,
    /// The derived services.
    pub services: Vec<String>,
    /// The levels as they were sent.
    pub levels: Vec<LevelSpelling>,
    /// The streams.
    pub streams: StreamTable,
    /// The blocks, by number.
    pub blocks: Vec<BlockMeta>,
}

/// A level as it was sent, and what it means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LevelSpelling {
    /// The normalised level.
    pub level: Level,
    /// The sender's spelling; `None` if no level was sent.
    pub spelling: Option<String>,
}

/// The streams of a segment.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct StreamTable {
    pub(crate) bytes: Vec<u8>,
    pub(crate) entries: Vec<StreamEntry>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct StreamEntry {
    pub(crate) end: u32,
    pub(crate) service: u32,
    pub(crate) hash: u64,
}

/// A block: where its bytes are and what they hold.
#[derive(Clone, Debug, PartialEq)]
pub struct BlockMeta {
    /// Its number, from 0.
    pub number: u32,
    /// Where it begins in the file.
    pub offset: u64,
    /// Its bytes in the file, block header included.
    pub len: u32,
    /// Its records.
    pub rows: u32,
    /// Bytes of its messages and field values before encoding.
    pub raw_bytes: u64,
    /// The first and last timestamp.
    pub range: TimeRange,
    /// Its columns, in the order of their keys; fields by id.
    pub columns: Vec<ColumnMeta>,
    /// Its services and how many rows each has, by service id; exact.
    pub services: Vec<(u32, u32)>,
    /// Its level spellings and how many rows each has, by spelling id; exact.
    pub levels: Vec<(u32, u32)>,
    /// The ids of its streams as ranges, ascending, both ends included. A superset if there were
    /// too many ranges to list ([`BlockMeta::streams_exact`]).
    pub streams: Vec<(u32, u32)>,
    /// Whether [`BlockMeta::streams`] holds no stream that the block has not.
    pub streams_exact: bool,
}

/// A column of a block: where its bytes are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ColumnMeta {
    /// Which column.
    pub key: ColumnKey,
    /// Where its chunk begins, in bytes from the start of the block.
    pub offset: u32,
    /// The bytes of its chunk, chunk header included.
    pub len: u32,
    /// Where its token filter is, if it has one.
    pub filter: Option<FilterPlace>,
}

/// Where a token filter is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FilterPlace {
    /// Where its unit begins in the file.
    pub offset: u64,
    /// The bytes of the unit, its header included.
    pub len: u32,
}

/// Which column of a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ColumnKey {
    /// The timestamps.
    Timestamp,
    /// The streams.
    Stream,
    /// The level spellings.
    Level,
    /// The messages.
    Message,
    /// A field: an index into [`Directory::field_names`].
    Field(u32),
}

/// The checksums of the `.redb`'s pages.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RedbPages {
    /// The bytes of a page; the last page may be shorter.
    pub page_size: u32,
    /// The bytes of the file.
    pub len: u64,
    /// The CRC32C of each page.
    pub crcs: Vec<u32>,
}

impl Directory {
    /// The id of a field name.
    pub fn field(&self, name: &str) -> Option<u32> {
        self.field_names.iter().position(|field| field == name).and_then(|id| u32::try_from(id).ok())
    }

    /// The number of records.
    pub fn rows(&self) -> u64 {
        self.blocks.iter().map(|block| u64::from(block.rows)).sum()
    }

    /// Bytes of the messages and field values before encoding.
    pub fn raw_bytes(&self) -> u64 {
        self.blocks.iter().map(|block| block.raw_bytes).sum()
    }

    /// The first and last timestamp; an empty range if there is no block.
    pub fn range(&self) -> TimeRange {
        let none = TimeRange { start: i64::MAX, end: i64::MIN };
        self.blocks.iter().fold(none, |range, block| TimeRange {
            start: range.start.min(block.range.start),
            end: range.end.max(block.range.end),
        })
    }

    /// Bytes of memory held, about.
    pub fn memory_bytes(&self) -> usize {
        let names: usize = self.field_names.iter().chain(&self.services).map(|name| name.len() + 24).sum();
        let levels: usize = self.levels.iter().map(|l| l.spelling.as_ref().map_or(0, String::len) + 32).sum();
        let streams = self.streams.bytes.len() + self.streams.entries.len() * size_of::<StreamEntry>();
        let blocks: usize = self
            .blocks
            .iter()
            .map(|block| {
                size_of::<BlockMeta>()
                    + block.columns.len() * size_of::<ColumnMeta>()
                    + (block.services.len() + block.levels.len() + block.streams.len()) * 8
            })
            .sum();
        names + levels + streams + blocks + size_of::<Self>()
    }
}

impl BlockMeta {
    /// A column, or `None` if no record of the block has it.
    pub fn column(&self, key: ColumnKey) -> Option<&ColumnMeta> {
        // A block that has all columns has it at its number, one that lacks some before that.
        let number = key.number() as usize;
        if let Some(column) = self.columns.get(number).filter(|column| column.key == key) {
            return Some(column);
        }
        let before = self.columns.get(..number).unwrap_or(&self.columns);
        let index = before.binary_search_by_key(&key, |column| column.key).ok()?;
        before.get(index)
    }

    /// Whether a stream may be in the block (is, if [`BlockMeta::streams_exact`]).
    pub fn may_have_stream(&self, id: u32) -> bool {
        let after = self.streams.partition_point(|&(first, _)| first <= id);
        after > 0 && self.streams.get(after - 1).is_some_and(|&(_, last)| id <= last)
    }
}

impl StreamTable {
    /// How many streams there are.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// A stream.
    pub fn get(&self, id: u32) -> Option<StreamRef<'_>> {
        let id = id as usize;
        let start = if id == 0 { 0 } else { self.entries.get(id - 1)?.end as usize };
        let end = self.entries.get(id)?.end as usize;
        self.bytes.get(start..end).map(StreamRef::parse_unchecked)
    }

    /// The id of a stream's derived service.
    pub fn service(&self, id: u32) -> Option<u32> {
        self.entries.get(id as usize).map(|entry| entry.service)
    }

    /// The hash of a stream, as [`StreamRef::hash`] gives it.
    pub fn hash(&self, id: u32) -> Option<u64> {
        self.entries.get(id as usize).map(|entry| entry.hash)
    }

    /// The streams, by id.
    pub fn iter(&self) -> impl Iterator<Item = StreamRef<'_>> {
        (0..self.entries.len()).map_while(|id| self.get(u32::try_from(id).ok()?))
    }
}

impl fmt::Display for ColumnKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Timestamp => f.write_str("column `timestamp`"),
            Self::Stream => f.write_str("column `stream`"),
            Self::Level => f.write_str("column `level`"),
            Self::Message => f.write_str("column `message`"),
            Self::Field(id) => write!(f, "column of field {id}"),
        }
    }
}
