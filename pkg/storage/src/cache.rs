//! The cache of decoded columns, token filters and opened segments: bounded by bytes, shared by
//! all queries.

use crate::segment::Opened;
use quick_cache::Weighter;
use quick_cache::sync::Cache as Inner;
use std::sync::Arc;
use timberlog_segment::{Column, ColumnKey};
use timberlog_types::Result;

/// What of a segment is cached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Part {
    /// The opened files.
    Files,
    /// A decoded column of a block.
    Column(u32, ColumnKey),
    /// The token filter of a column of a block.
    Filter(u32, ColumnKey),
}

/// A cached part.
#[derive(Clone)]
enum Entry {
    Files(Arc<Opened>),
    Column(Arc<Column>),
    Filter(Option<Arc<[u8]>>),
}

/// What an open file counts beside its memory: handles are few too, and many small segments must
/// not hold thousands of them.
const OPEN_FILE_BYTES: usize = 32 << 10;

#[derive(Clone)]
struct Weight;

impl Weighter<(u64, Part), Entry> for Weight {
    fn weight(&self, _: &(u64, Part), entry: &Entry) -> u64 {
        let bytes = match entry {
            Entry::Files(files) => files.memory_bytes() + files.count() * OPEN_FILE_BYTES,
            Entry::Column(column) => column.memory_bytes(),
            Entry::Filter(filter) => filter.as_ref().map_or(0, |filter| filter.len()),
        };
        bytes as u64 + 64
    }
}

/// The cache.
pub struct Cache {
    inner: Inner<(u64, Part), Entry, Weight>,
}

impl Cache {
    /// A cache of at most `bytes`.
    pub fn new(bytes: u64) -> Self {
        // An entry is some 10 KB to 1 MB; the estimate only sizes the table.
        let entries = usize::try_from(bytes / 16_384).unwrap_or(usize::MAX).max(64);
        Self { inner: Inner::with_weighter(entries, bytes, Weight) }
    }

    /// Bytes held.
    pub fn bytes(&self) -> u64 {
        self.inner.weight()
    }

    /// How often a part was there, and how often not.
    pub fn hits_and_misses(&self) -> (u64, u64) {
        (self.inner.hits(), self.inner.misses())
    }

    /// The opened files of a segment.
    pub(crate) fn files(&self, segment: u64, open: impl FnOnce() -> Result<Opened>) -> Result<Arc<Opened>> {
        let entry = self.get((segment, Part::Files), || open().map(|files| Entry::Files(Arc::new(files))))?;
        match entry {
            Entry::Files(files) => Ok(files),
            Entry::Column(_) | Entry::Filter(_) => Err(mixed_up()),
        }
    }

    /// A column.
    pub(crate) fn column(
        &self,
        segment: u64,
        block: u32,
        key: ColumnKey,
        read: impl FnOnce() -> Result<Column>,
    ) -> Result<Arc<Column>> {
        let part = Part::Column(block, key);
        match self.get((segment, part), || read().map(|column| Entry::Column(Arc::new(column))))? {
            Entry::Column(column) => Ok(column),
            Entry::Files(_) | Entry::Filter(_) => Err(mixed_up()),
        }
    }

    /// A token filter.
    pub(crate) fn filter(
        &self,
        segment: u64,
        block: u32,
        key: ColumnKey,
        read: impl FnOnce() -> Result<Option<Vec<u8>>>,
    ) -> Result<Option<Arc<[u8]>>> {
        let part = Part::Filter(block, key);
        match self.get((segment, part), || read().map(|bytes| Entry::Filter(bytes.map(Arc::from))))? {
            Entry::Filter(filter) => Ok(filter),
            Entry::Files(_) | Entry::Column(_) => Err(mixed_up()),
        }
    }

    fn get(&self, key: (u64, Part), make: impl FnOnce() -> Result<Entry>) -> Result<Entry> {
        self.inner.get_or_insert_with(&key, make)
    }
}

fn mixed_up() -> timberlog_types::Error {
    timberlog_types::Error::internal("a cached part is not what its key says")
}
