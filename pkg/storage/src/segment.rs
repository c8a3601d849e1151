//! A segment as queries see it: its manifest entry, and its files opened when first needed.

mod cold;

use crate::cache::Cache;
use crate::damage::DamageLog;
use crate::manifest::{Location, SegmentEntry};
use crate::notes::Notes;
use crate::tier::{Demand, Meter};
use crate::view::Opener;
use cold::Cold;
pub use cold::{Gathered, Piece, SignedUrls, Wants, estimate, fetch, fetch_indexes};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use timberlog_disk::{Env, File, Open};
use timberlog_index::{SegmentIndex, TokenFilterGroup};
use timberlog_segment::{Column, ColumnKey, FilterGroup, SegmentReader};
use timberlog_types::{Day, Error, ErrorKind, Result};

/// The opened files of a segment.
pub struct Opened {
    /// The `.log`.
    pub reader: SegmentReader,
    /// The `.redb`; `None` for a small segment, or with the reason if it is damaged.
    pub index: Option<Result<SegmentIndex>>,
    /// What readers have found out about the files.
    pub notes: Notes,
    /// Bytes of a cold segment's index that are in memory because the disk had no room.
    memory_bytes: usize,
}

/// A segment that a snapshot pins.
pub struct Segment {
    /// What the manifest says of it.
    pub entry: Arc<SegmentEntry>,
    /// The day of its partition.
    pub day: Day,
    /// What readers have found out about the entry.
    pub notes: Notes,
    /// A number that no other segment of this process has: its key in the cache.
    number: u64,
    env: Env,
    log: PathBuf,
    redb: Option<PathBuf>,
    /// Where it is if its files are not local.
    cold: Option<Cold>,
    cache: Arc<Cache>,
    /// The opened files while anybody holds them: where all that queries look at does not fit into the cache, they
    /// share it all the same, and memory does not grow with their number.
    opened: Mutex<Weak<Opened>>,
    damage: Arc<DamageLog>,
}

impl Opened {
    /// Bytes of memory held, about.
    pub fn memory_bytes(&self) -> usize {
        let index = self.index.as_ref().and_then(|index| index.as_ref().ok());
        self.reader.memory_bytes() + index.map_or(0, SegmentIndex::memory_bytes) + self.memory_bytes + 1024
    }

    /// Whether the index gives no answers because a read failed, not because its bytes are wrong.
    fn has_index_read_failed(&self) -> bool {
        match &self.index {
            None => false,
            Some(Ok(index)) => index.has_read_failed(),
            Some(Err(error)) => !matches!(error.kind, ErrorKind::Corrupt | ErrorKind::NotFound),
        }
    }

    /// Whether the index was found damaged while it was read.
    fn is_index_damaged(&self) -> bool {
        matches!(&self.index, Some(Ok(index)) if index.is_damaged())
    }

    /// Files that are open.
    pub fn count(&self) -> usize {
        1 + usize::from(matches!(self.index, Some(Ok(_))))
    }
}

impl Segment {
    pub(crate) fn new(opener: &Opener, number: u64, day: Day, entry: Arc<SegmentEntry>) -> Result<Self> {
        let path = |relative: &str| {
            timberlog_disk::join(&opener.data_dir, relative).ok_or_else(|| {
                Error::corrupt(format!("manifest names the path `{relative}`, which leaves the data directory"))
            })
        };
        let log = path(&entry.log.path)?;
        let redb = entry.redb.as_ref().map(|file| path(&file.path)).transpose()?;
        let (env, cache, damage) = (opener.env.clone(), Arc::clone(&opener.cache), Arc::clone(&opener.damage));
        let cold = (entry.location == Location::Cold).then(|| Cold::new(opener.cold.as_ref(), &entry));
        let opened = Mutex::default();
        Ok(Self { entry, day, notes: Notes::default(), number, env, log, redb, cold, cache, opened, damage })
    }

    /// The path of the `.log`.
    pub fn log_path(&self) -> &std::path::Path {
        &self.log
    }

    /// The opened files; a damaged or missing `.redb` does not fail this. One whose reading failed is
    /// opened anew: only damage stays.
    pub fn open(&self) -> Result<Arc<Opened>> {
        self.open_for(&Demand::patient(&Meter::default()))
    }

    /// Opens the files on behalf of somebody.
    pub fn open_for(&self, demand: &Demand<'_>) -> Result<Arc<Opened>> {
        let mut is_fresh = false;
        let mut files = self.cache.files(self.number, || {
            let held = self.shared().upgrade();
            is_fresh = held.is_none();
            held.map_or_else(|| self.open_shared(demand), Ok)
        })?;
        let is_worth_another = files.has_index_read_failed() || (files.is_index_damaged() && self.forget_cold_index());
        if is_worth_another {
            *self.shared() = Weak::new();
            self.cache.forget_files(self.number, &files);
            if !is_fresh {
                files = self.cache.files(self.number, || self.open_shared(demand))?;
            }
        }
        Ok(files)
    }

    /// Opens the files for whoever else asks for them while they are held.
    fn open_shared(&self, demand: &Demand<'_>) -> Result<Arc<Opened>> {
        let files = Arc::new(self.open_files(demand)?);
        *self.shared() = Arc::downgrade(&files);
        Ok(files)
    }

    fn shared(&self) -> MutexGuard<'_, Weak<Opened>> {
        self.opened.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether a damaged index may come whole from the object store.
    fn forget_cold_index(&self) -> bool {
        self.cold.as_ref().is_some_and(Cold::forget_index)
    }

    /// Whether it can be opened without asking an object store.
    pub fn is_at_hand(&self) -> bool {
        self.cold.as_ref().is_none_or(|cold| cold.is_index_at_hand() || self.cache.has_files(self.number))
    }

    /// A column of a block, through the cache.
    pub fn column(&self, files: &Opened, block: u32, key: ColumnKey) -> Result<Arc<Column>> {
        self.column_for(files, block, key, &Demand::patient(&Meter::default()))
    }

    /// A column of a block, through the cache, on behalf of somebody.
    pub fn column_for(&self, files: &Opened, block: u32, key: ColumnKey, demand: &Demand<'_>) -> Result<Arc<Column>> {
        self.cache.column(self.number, block, key, || {
            let column = match &self.cold {
                Some(cold) => cold.column(files, block, key, demand),
                None => files.reader.column(block, key).map_err(Error::from),
            };
            column.map_err(|error| self.name(error))
        })
    }

    /// Weighs a column in the cache by what it holds now. Whoever has read a message column calls
    /// this when done: it is decompressed while it is read.
    pub fn settle(&self, block: u32, key: ColumnKey, column: &Arc<Column>) {
        self.cache.settle(self.number, block, key, column);
    }

    /// The token filter of a column of a block, through the cache; `None` if it has none.
    pub fn token_filter(&self, files: &Opened, block: u32, key: ColumnKey) -> Result<Option<Arc<[u8]>>> {
        self.token_filter_for(files, block, key, &Demand::patient(&Meter::default()))
    }

    /// The token filter of a column of a block, through the cache, on behalf of somebody; `None` if it has none.
    pub fn token_filter_for(
        &self,
        files: &Opened,
        block: u32,
        key: ColumnKey,
        demand: &Demand<'_>,
    ) -> Result<Option<Arc<[u8]>>> {
        self.cache.filter(self.number, block, key, || {
            let filter = match &self.cold {
                Some(cold) => cold.filter(files, block, key, demand),
                None => files.reader.filter(block, key).map_err(Error::from),
            };
            filter.map_err(|error| self.name(error))
        })
    }

    /// The token filters of a column of a group of blocks, through the cache; `None` if they are to
    /// be asked for one by one: what is cold is fetched so, and what cannot be read says there what is wrong.
    pub fn filter_group(&self, files: &Opened, group: u32, key: ColumnKey) -> Option<Arc<TokenFilterGroup>> {
        if self.is_cold() {
            return None;
        }
        let read = || {
            let filters = files.reader.filter_group(group, key)?.map(FilterGroup::into_parts);
            Ok(filters.map(|(bytes, places)| TokenFilterGroup::open(bytes, &places)))
        };
        self.cache.filters(self.number, group, key, read).ok()?
    }

    /// The same, if they are in the cache: nothing is read.
    pub fn filter_group_at_hand(&self, group: u32, key: ColumnKey) -> Option<Arc<TokenFilterGroup>> {
        if self.is_cold() { None } else { self.cache.filters_at_hand(self.number, group, key) }
    }

    fn open_files(&self, demand: &Demand<'_>) -> Result<Opened> {
        if let Some(cold) = &self.cold {
            let opened = cold.open(self.entry.redb.is_some(), demand).map_err(|error| self.name(error))?;
            let index = opened.index.map(|index| index.map_err(|error| self.name(error)));
            return Ok(Opened { index, ..opened });
        }
        let doing = |path: &std::path::Path| format!("segment `{}`: open `{}`", self.entry.id, path.display());
        let file = self.env.disk.open(&self.log, Open::Read).map_err(|error| Error::io(doing(&self.log), &error))?;
        let reader = SegmentReader::open(file).map_err(|error| self.name(error.into()))?;
        let index = match (&self.redb, reader.redb_pages()) {
            (Some(path), Some(pages)) => {
                Some(
                    self.env.disk.open(path, Open::Read).map_err(|error| Error::io(doing(path), &error)).and_then(
                        |file| SegmentIndex::open(file, pages.clone()).map_err(|error| self.name(error.into())),
                    ),
                )
            }
            (Some(_), None) => Some(Err(self.name(Error::corrupt("the footer has no page checksums of the index")))),
            (None, _) => None,
        };
        Ok(Opened { reader, index, notes: Notes::default(), memory_bytes: 0 })
    }

    /// Says which segment an error is about; damage is noted for the statistics.
    fn name(&self, error: Error) -> Error {
        self.damage.note_error(error.context(format!("segment `{}`", self.entry.id)))
    }
}

/// Opens the `.log` of a segment to read it front to back, wherever it is, past the caches of queries.
pub(crate) fn open_log(opener: &Opener, entry: &Arc<SegmentEntry>) -> Result<SegmentReader> {
    if entry.location == Location::Cold {
        let opened = Cold::new(opener.cold.as_ref(), entry).open(false, &Demand::patient(&Meter::default()))?;
        return Ok(opened.reader);
    }
    let path = timberlog_disk::join(&opener.data_dir, &entry.log.path)
        .ok_or_else(|| Error::corrupt(format!("the path `{}` leaves the data directory", entry.log.path)))?;
    let file = opener.env.disk.open(&path, Open::Read);
    Ok(SegmentReader::open(file.map_err(|error| Error::io(format!("open `{}`", entry.log.path), &error))?)?)
}

/// Forgets what is cached of a segment that is in the object store only: a crash may have damaged it. Whether it is such a
/// segment, and so may be whole when it is read again.
pub(crate) fn forget_cached(opener: &Opener, entry: &SegmentEntry) -> bool {
    entry.location == Location::Cold && Cold::new(opener.cold.as_ref(), entry).forget_all()
}

/// Opens a file of a segment that is in the object store only, its `.log` or its `.redb`, past all caches.
pub(crate) fn open_stored(opener: &Opener, entry: &SegmentEntry, path: &str) -> Result<Arc<dyn File>> {
    let cold = Cold::new(opener.cold.as_ref(), entry);
    if entry.log.path == path { cold.whole_log(&entry.log) } else { cold.whole_redb() }
}

impl std::fmt::Debug for Segment {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Segment").field("entry", &self.entry).finish_non_exhaustive()
    }
}
