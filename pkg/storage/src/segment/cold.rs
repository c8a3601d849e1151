//! A segment that is in the object store only: its index from the cache or with one request, its columns and token
//! filters by range.
//!
//! What comes is checked as what is read from a disk is; what is wrong is asked for once more, and then it is damaged.

use super::{Opened, Segment};
use crate::manifest::{FileRef, SegmentEntry};
use crate::notes::Notes;
use crate::tier::coalesce::{Want, coalesce};
use crate::tier::{Demand, IndexFile, Reader, Remote, cold_log};
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;
use timberlog_disk::File;
use timberlog_index::SegmentIndex;
use timberlog_segment::{BlockMeta, Column, ColumnKey, SegmentReader};
use timberlog_types::{Error, ErrorKind, Result};

/// A block up to this length comes whole when a part of it is needed that nobody asked for before.
const BLOCK_BYTES_AT_ONCE: u64 = 1 << 20;

/// What of a block is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Piece {
    /// A column.
    Column(ColumnKey),
    /// The token filter of a column.
    Filter(ColumnKey),
    /// All columns.
    Block,
}

/// Where a cold segment is.
pub(crate) struct Cold {
    reader: Option<Arc<Reader>>,
    remote: Remote,
    /// Bytes of its `.log`.
    log_len: u64,
    index: Option<FileRef>,
    /// Whether its cached index was found damaged once: what comes damaged again stays so.
    has_forgotten: AtomicBool,
}

impl Cold {
    pub(super) fn new(reader: Option<&Arc<Reader>>, entry: &SegmentEntry) -> Self {
        Self {
            reader: reader.cloned(),
            remote: Remote { id: Arc::from(entry.id.as_str()), key: Arc::from(entry.log.path.as_str()) },
            log_len: entry.log.len,
            index: entry.index_object.clone(),
            has_forgotten: AtomicBool::new(false),
        }
    }

    fn reader(&self) -> Result<&Arc<Reader>> {
        let none = || Error::new(ErrorKind::Unavailable, "it is in an object store, and none is configured");
        self.reader.as_ref().ok_or_else(none)
    }

    fn index(&self) -> Result<&FileRef> {
        self.index.as_ref().ok_or_else(|| Error::corrupt("the manifest names no index object"))
    }

    /// Opens it; an index that is damaged in the cache is asked for once more. Without one its `.log` has all records.
    pub(super) fn open(&self, has_redb: bool, demand: &Demand<'_>) -> Result<Opened> {
        let opened = self.try_open(has_redb, demand);
        let is_damaged = match &opened {
            Ok(opened) => matches!(&opened.index, Some(Err(error)) if error.kind == ErrorKind::Corrupt),
            Err(error) => error.kind == ErrorKind::Corrupt,
        };
        let opened = if is_damaged && self.forget_index() { self.try_open(has_redb, demand) } else { opened };
        match opened {
            Err(error) if matches!(error.kind, ErrorKind::Corrupt | ErrorKind::NotFound) => self.open_log_alone(error),
            opened => opened,
        }
    }

    fn open_log_alone(&self, error: Error) -> Result<Opened> {
        let log = cold_log::open(self.reader()?, &self.remote, &IndexFile::none(self.log_len)?);
        // What says more is why it has no index.
        let reader = SegmentReader::open(log).map_err(|_| error.clone())?;
        Ok(Opened { reader, index: Some(Err(error)), notes: Notes::default(), memory_bytes: 0 })
    }

    fn try_open(&self, has_redb: bool, demand: &Demand<'_>) -> Result<Opened> {
        let (store, object) = (self.reader()?, self.index()?);
        let index = store.index(object, demand)?;
        let log = cold_log::open(store, &self.remote, &index);
        let reader = SegmentReader::open_with_tail(log, index.tail_len())?;
        let redb = match (has_redb, reader.redb_pages()) {
            (false, _) => None,
            (true, Some(pages)) => Some(SegmentIndex::open(index.redb(), pages.clone()).map_err(Error::from)),
            (true, None) => Some(Err(Error::corrupt("the footer has no page checksums of the index"))),
        };
        Ok(Opened { reader, index: redb, notes: Notes::default(), memory_bytes: index.memory_bytes })
    }

    /// Its `.log`, to be read whole: from the store, since what is cached is not synced and may be damaged.
    pub(super) fn whole_log(&self, log: &FileRef) -> Result<Arc<dyn File>> {
        Ok(self.reader()?.uncached_log(log))
    }

    /// Its `.redb`, to be read whole: from the store, too.
    pub(super) fn whole_redb(&self) -> Result<Arc<dyn File>> {
        self.reader()?.uncached_redb(self.index()?)
    }

    /// Forgets the cached index, unless that was done before.
    pub(super) fn forget_index(&self) -> bool {
        let (Ok(store), Ok(object)) = (self.reader(), self.index()) else { return false };
        if self.has_forgotten.swap(true, Relaxed) {
            return false;
        }
        store.forget_index(object);
        true
    }

    /// Forgets whatever is cached of it; whether there is a store to read it from again.
    pub(super) fn forget_all(&self) -> bool {
        let store = self.reader().ok();
        store.into_iter().for_each(|store| store.forget_all(&self.remote, self.index.as_ref()));
        store.is_some()
    }

    /// Whether its index is in the cache on disk.
    pub(super) fn is_index_at_hand(&self) -> bool {
        matches!((self.reader(), self.index()), (Ok(store), Ok(object)) if store.has_index(object))
    }

    pub(super) fn column(&self, files: &Opened, block: u32, key: ColumnKey, demand: &Demand<'_>) -> Result<Column> {
        let place =
            files.reader.column_place(block, key).ok_or_else(|| Error::corrupt("the block has no such column"))?;
        self.unit(files, block, &place, demand, &|bytes| Ok(files.reader.column_of(block, key, bytes)?))
    }

    pub(super) fn filter(
        &self,
        files: &Opened,
        block: u32,
        key: ColumnKey,
        demand: &Demand<'_>,
    ) -> Result<Option<Vec<u8>>> {
        let Some(place) = files.reader.filter_place(block, key) else { return Ok(None) };
        let store = self.reader()?;
        let read = |bytes| Ok(files.reader.filter_of(block, key, bytes)?);
        twice(&|| read(store.read(&self.remote, &place, &place, demand)?), &|| store.forget(&self.remote, &place))
            .map(Some)
    }

    /// Reads a unit of a block; with it comes the whole block, if it is of a usual length.
    fn unit<T>(
        &self,
        files: &Opened,
        block: u32,
        place: &Range<u64>,
        demand: &Demand<'_>,
        decode: &dyn Fn(Vec<u8>) -> Result<T>,
    ) -> Result<T> {
        let store = self.reader()?;
        let whole = files.reader.directory().blocks.get(block as usize);
        let whole = whole.map(|meta| meta.offset..meta.offset + u64::from(meta.len));
        let around = whole.filter(|whole| whole.end - whole.start <= BLOCK_BYTES_AT_ONCE);
        let around = around.unwrap_or_else(|| place.clone());
        let read = || decode(store.read(&self.remote, place, &around, demand)?);
        twice(&read, &|| store.forget(&self.remote, place))
    }
}

/// Does something once more after it has met damage; damaged bytes are forgotten each time.
fn twice<T>(run: &dyn Fn() -> Result<T>, forget: &dyn Fn()) -> Result<T> {
    let is_damage = |error: &Error| error.kind == ErrorKind::Corrupt;
    let once = || {
        let result = run();
        if result.as_ref().is_err_and(is_damage) {
            forget();
        }
        result
    };
    match once() {
        Err(error) if is_damage(&error) => once(),
        result => result,
    }
}

/// What is wanted of a segment.
pub struct Wants<'a> {
    /// The segment; one whose files are local is left alone.
    pub segment: &'a Segment,
    /// Its opened files.
    pub files: &'a Opened,
    /// By block.
    pub pieces: Vec<(u32, Piece)>,
}

impl Wants<'_> {
    /// The requests that would bring what is not at hand.
    fn requests(&self) -> Option<(&Reader, &Remote, Vec<Range<u64>>)> {
        let cold = self.segment.cold.as_ref()?;
        let store = cold.reader.as_ref()?;
        let reader = &self.files.reader;
        let want = |&(block, piece): &(u32, Piece)| match piece {
            Piece::Column(key) => reader.column_place(block, key).map(|range| Want { range, block: Some(block) }),
            Piece::Filter(key) => reader.filter_place(block, key).map(|range| Want { range, block: None }),
            Piece::Block => {
                let meta = reader.directory().blocks.get(block as usize)?;
                Some(Want { range: meta.offset..meta.offset + u64::from(meta.len), block: Some(block) })
            }
        };
        let wants = self.pieces.iter().filter_map(want).collect();
        Some((store, &cold.remote, store.missing(&cold.remote, wants)))
    }
}

/// Brings what is wanted and not at hand, in few requests, all of them at once. An error is that of the demand: what
/// cannot be had is found out by who reads it.
pub fn fetch(wants: &[Wants<'_>], demand: &Demand<'_>) -> Result<()> {
    let all: Vec<_> = wants.iter().filter_map(Wants::requests).collect();
    let Some((store, ..)) = all.first() else { return Ok(()) };
    let requests: Vec<(&Remote, Range<u64>)> =
        all.iter().flat_map(|(_, remote, ranges)| ranges.iter().map(|range| (*remote, range.clone()))).collect();
    store.fetch(&requests, demand)
}

/// The ranges of a `.log` that hold some blocks, neighbours together.
pub struct Gathered {
    /// Ascending.
    pub ranges: Vec<Range<u64>>,
}

impl Gathered {
    /// Of blocks of one segment.
    pub fn blocks<'a>(blocks: impl Iterator<Item = &'a BlockMeta>) -> Self {
        let want = |meta: &BlockMeta| {
            let range = meta.offset..meta.offset + u64::from(meta.len);
            Want { range, block: Some(meta.number) }
        };
        Self { ranges: coalesce(blocks.map(want).collect()) }
    }
}

/// How many requests [`fetch`] would make, and the bytes that would come.
pub fn estimate(wants: &[Wants<'_>]) -> (u64, u64) {
    let requests = wants.iter().filter_map(Wants::requests).flat_map(|(.., ranges)| ranges);
    requests.fold((0, 0), |(count, bytes), range| (count + 1, bytes + (range.end - range.start)))
}

/// Brings the indexes of segments that are not at hand, all of them at once.
pub fn fetch_indexes<'a>(segments: impl Iterator<Item = &'a Arc<Segment>>, demand: &Demand<'_>) -> Result<()> {
    let cold: Vec<&Cold> = segments.filter_map(|segment| segment.cold.as_ref()).collect();
    let Some(store) = cold.iter().find_map(|cold| cold.reader.as_ref()) else { return Ok(()) };
    store.fetch_indexes(cold.iter().filter_map(|cold| cold.index.as_ref()), demand)
}

/// Signed URLs of a cold segment's objects.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignedUrls {
    /// Of the `.log`.
    pub log: String,
    /// Of the index object.
    pub index: String,
}

impl Segment {
    /// Whether its data is in the object store only.
    pub fn is_cold(&self) -> bool {
        self.cold.is_some()
    }

    /// URLs by which anybody can read a cold segment for a while; `None` if it is not cold, or the store has no such
    /// thing.
    pub fn presign(&self, expires_in: Duration) -> Result<Option<SignedUrls>> {
        let Some(cold) = &self.cold else { return Ok(None) };
        let store = cold.reader()?;
        let (log, index) =
            (store.presign(&cold.remote.key, expires_in)?, store.presign(&cold.index()?.path, expires_in)?);
        Ok(log.zip(index).map(|(log, index)| SignedUrls { log, index }))
    }
}
