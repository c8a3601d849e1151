//! The cache of decoded columns, token filters and opened segments: bounded by bytes, shared by
//! all queries.
//!
//! An entry weighs what it holds. A message column is decompressed stream by stream while it is
//! read, so it grows; whoever has read one settles it ([`Cache::settle`]), and the bound is
//! overstepped by what queries under way have decompressed, never for longer.

use crate::segment::Opened;
use quick_cache::sync::{Cache as Inner, DefaultLifecycle};
use quick_cache::{DefaultHashBuilder, OptionsBuilder, Weighter};
use std::sync::Arc;
use timberlog_index::TokenFilterGroup;
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
    /// The token filters of a column of a group of blocks.
    Filters(u32, ColumnKey),
}

/// A cached part.
#[derive(Clone)]
enum Entry {
    Files(Arc<Opened>),
    /// With the bytes that it weighs: the cache's own sums need a weight that does not change
    /// while the column grows.
    Column(Arc<Column>, usize),
    Filter(Option<Arc<[u8]>>),
    Filters(Option<Arc<TokenFilterGroup>>),
}

/// What an open file counts beside its memory: handles are few too, and many small segments must
/// not hold thousands of them.
const OPEN_FILE_BYTES: usize = 32 << 10;

/// A shard takes no entry that is larger than itself, and a message column may be some MB.
const SHARD_BYTES_MIN: u64 = 8 << 20;
/// More shards than this make no lock shorter.
const SHARDS_MAX: u64 = 64;

#[derive(Clone)]
struct Weight;

impl Weighter<(u64, Part), Entry> for Weight {
    fn weight(&self, _: &(u64, Part), entry: &Entry) -> u64 {
        let bytes = match entry {
            Entry::Files(files) => files.memory_bytes() + files.count() * OPEN_FILE_BYTES,
            Entry::Column(_, bytes) => *bytes,
            Entry::Filter(filter) => filter.as_ref().map_or(0, |filter| filter.len()),
            Entry::Filters(filters) => filters.as_ref().map_or(0, |filters| filters.memory_bytes()),
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
        let shards = 1 << (bytes / SHARD_BYTES_MIN).clamp(1, SHARDS_MAX).ilog2();
        let mut options = OptionsBuilder::new();
        options.estimated_items_capacity(entries).weight_capacity(bytes).shards(shards);
        let inner = match options.build() {
            Ok(options) => {
                Inner::with_options(options, Weight, DefaultHashBuilder::default(), DefaultLifecycle::default())
            }
            // Only an option that was left out can be wrong.
            Err(_) => Inner::with_weighter(entries, bytes, Weight),
        };
        Self { inner }
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
    pub(crate) fn files(&self, segment: u64, open: impl FnOnce() -> Result<Arc<Opened>>) -> Result<Arc<Opened>> {
        let entry = self.get((segment, Part::Files), || open().map(Entry::Files))?;
        match entry {
            Entry::Files(files) => Ok(files),
            _ => Err(mixed_up()),
        }
    }

    /// Whether the opened files of a segment are there.
    pub(crate) fn has_files(&self, segment: u64) -> bool {
        self.inner.contains_key(&(segment, Part::Files))
    }

    /// Forgets opened files, if they are these: they are opened anew when they are asked for.
    pub(crate) fn forget_files(&self, segment: u64, files: &Arc<Opened>) {
        let is_same = |entry: &Entry| matches!(entry, Entry::Files(cached) if Arc::ptr_eq(cached, files));
        let _ = self.inner.remove_if(&(segment, Part::Files), is_same);
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
        let make = || {
            let column = Arc::new(read()?);
            let bytes = column.held_bytes();
            Ok(Entry::Column(column, bytes))
        };
        match self.get((segment, part), make)? {
            Entry::Column(column, _) => Ok(column),
            _ => Err(mixed_up()),
        }
    }

    /// Weighs a column anew that was read and may have grown. One that is no longer cached stays
    /// outside.
    pub(crate) fn settle(&self, segment: u64, block: u32, key: ColumnKey, column: &Arc<Column>) {
        let key = (segment, Part::Column(block, key));
        loop {
            let held = column.held_bytes();
            match self.inner.peek(&key) {
                Some(Entry::Column(cached, bytes)) if Arc::ptr_eq(&cached, column) && bytes < held => {}
                // Weighed already, evicted, or decoded anew since: then its own readers settle it.
                _ => return,
            }
            // Another reader may have decompressed more and settled that in between: look again.
            let _ = self.inner.replace(key, Entry::Column(Arc::clone(column), held), true);
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
            _ => Err(mixed_up()),
        }
    }

    /// The token filters of a column of a group of blocks; `None` if they are read one by one.
    pub(crate) fn filters(
        &self,
        segment: u64,
        group: u32,
        key: ColumnKey,
        read: impl FnOnce() -> Result<Option<TokenFilterGroup>>,
    ) -> Result<Option<Arc<TokenFilterGroup>>> {
        let part = Part::Filters(group, key);
        match self.get((segment, part), || read().map(|filters| Entry::Filters(filters.map(Arc::new))))? {
            Entry::Filters(filters) => Ok(filters),
            _ => Err(mixed_up()),
        }
    }

    /// The same, if they are there.
    pub(crate) fn filters_at_hand(&self, segment: u64, group: u32, key: ColumnKey) -> Option<Arc<TokenFilterGroup>> {
        let key = (segment, Part::Filters(group, key));
        // Who does not find them will ask again, and is a miss then.
        match self.inner.contains_key(&key).then(|| self.inner.get(&key))? {
            Some(Entry::Filters(filters)) => filters,
            _ => None,
        }
    }

    fn get(&self, key: (u64, Part), make: impl FnOnce() -> Result<Entry>) -> Result<Entry> {
        self.inner.get_or_insert_with(&key, make)
    }
}

fn mixed_up() -> timberlog_types::Error {
    timberlog_types::Error::internal("a cached part is not what its key says")
}

#[cfg(test)]
mod tests {
    use super::*;
    use timberlog_segment::{MessageColumn, MessageEncoder};
    use timberlog_types::RowSet;

    const ROWS: usize = 500;

    fn messages(block: u32) -> Column {
        let texts: Vec<String> =
            (0..ROWS).map(|n| format!("request {n} of session s{block}k{} took {} ms", n * 7919, n % 97)).collect();
        let (mut payload, mut tokens) = (Vec::new(), Vec::new());
        MessageEncoder::new(1).encode(texts.iter().map(String::as_bytes), &mut payload, &mut tokens);
        Column::Message(MessageColumn::open(payload, ROWS).unwrap())
    }

    /// Reads a block's messages as a query does, settles them, and checks the sums.
    fn read(cache: &Cache, block: u32) {
        let column = cache.column(1, block, ColumnKey::Message, || Ok(messages(block))).unwrap();
        let Column::Message(texts) = &*column else { panic!("not messages") };
        let mut rows = 0;
        texts.read(&RowSet::all(ROWS), &mut |_, _| rows += 1).unwrap();
        assert_eq!(rows, ROWS);
        cache.settle(1, block, ColumnKey::Message, &column);
    }

    /// The bytes that the cached columns hold, and what each counts besides.
    fn held(cache: &Cache) -> u64 {
        let bytes = |entry: Entry| match entry {
            Entry::Column(column, _) => column.held_bytes() as u64 + 64,
            Entry::Files(_) | Entry::Filter(_) | Entry::Filters(_) => 0,
        };
        cache.inner.iter().map(|(_, entry)| bytes(entry)).sum()
    }

    #[test]
    fn a_column_weighs_what_reading_it_has_decompressed() {
        let cache = Cache::new(64 << 20);
        let column = cache.column(1, 0, ColumnKey::Message, || Ok(messages(0))).unwrap();
        let unread = cache.bytes();
        assert_eq!(unread, held(&cache));
        read(&cache, 0);
        assert!(cache.bytes() > 2 * unread, "{} after {unread}", cache.bytes());
        assert_eq!(cache.bytes(), held(&cache));
        assert!(column.held_bytes() <= column.memory_bytes());
        let (read_once, (_, misses)) = (cache.bytes(), cache.hits_and_misses());
        read(&cache, 0);
        assert_eq!((cache.bytes(), cache.hits_and_misses().1), (read_once, misses));
    }

    #[test]
    fn growing_columns_stay_within_the_bound() {
        let one = {
            let cache = Cache::new(64 << 20);
            read(&cache, 0);
            cache.bytes()
        };
        // Unread, all would fit.
        let bytes_max = one * 4;
        let cache = Cache::new(bytes_max);
        std::thread::scope(|scope| {
            for thread in 0..4 {
                let cache = &cache;
                scope.spawn(move || (0..40).for_each(|turn| read(cache, (turn * (thread + 1)) % 9)));
            }
        });
        assert_eq!(cache.bytes(), held(&cache));
        assert!((one..=bytes_max).contains(&cache.bytes()), "{} of {bytes_max}", cache.bytes());
        // One that went is not brought back by who still holds it.
        let gone = Arc::new(messages(20));
        cache.settle(1, 20, ColumnKey::Message, &gone);
        assert_eq!(cache.bytes(), held(&cache));
        assert!(cache.inner.peek(&(1, Part::Column(20, ColumnKey::Message))).is_none());
    }
}
