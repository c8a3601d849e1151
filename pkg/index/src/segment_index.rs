//! A segment's index as queries see it: an opened `.redb`, every page of it checked.
//!
//! Whatever is wrong with the file ends as [`IndexError::Corrupt`]: redb's errors, values that are
//! malformed, and panics of redb, which are caught here. After a panic nothing more is asked of
//! that file. A read that fails ends as [`IndexError::Io`]: redb answers nothing more then either,
//! but the file may be opened anew.

mod check;
#[cfg(test)]
mod tests;

pub use check::damaged_pages;

use crate::backend::CheckedFile;
use crate::block_entry::{self, IndexedBlock};
use crate::error::IndexError;
use crate::tables::{self, Header};
use crate::{postings, user_index};
use redb::{Builder, ReadOnlyDatabase, ReadOnlyTable, ReadTransaction, ReadableDatabase};
use roaring::RoaringBitmap;
use std::fmt;
use std::ops::ControlFlow;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use timberlog_disk::File;
use timberlog_segment::{LevelSpelling, RedbPages};
use timberlog_types::{Level, TimeRange};

/// Memory in which redb keeps pages of an open index.
const CACHE_BYTES: usize = 256 << 10;
/// What an open index takes beside the pages: the striped locks of redb's cache, tables.
const FIXED_BYTES: usize = 48 << 10;

/// A segment's opened index.
pub struct SegmentIndex {
    /// Taken out by `drop` alone, so that a panic in redb's own `drop` can be caught.
    opened: Option<Opened>,
    header: Header,
    file_len: u64,
    fault: Arc<OnceLock<IndexError>>,
    has_panicked: AtomicBool,
}

struct Opened {
    blocks: ReadOnlyTable<u32, &'static [u8]>,
    ts: ReadOnlyTable<(i64, u32), (i64, i64)>,
    level: ReadOnlyTable<u8, &'static [u8]>,
    service: ReadOnlyTable<&'static str, &'static [u8]>,
    /// By name.
    user: Vec<(String, ReadOnlyTable<u64, &'static [u8]>)>,
    field_names: Vec<String>,
    levels: Vec<LevelSpelling>,
    /// Last, so that it is dropped last.
    _db: ReadOnlyDatabase,
}

/// Why redb's answer cannot be used.
enum Problem {
    Redb(String),
    Malformed(&'static str),
    Version(u32),
}

impl<E: Into<redb::Error>> From<E> for Problem {
    fn from(error: E) -> Self {
        Self::Redb(error.into().to_string())
    }
}

impl SegmentIndex {
    /// Opens a file with the checksums that the segment's footer has for it. Reads about ten
    /// pages.
    pub fn open(file: Arc<dyn File>, pages: RedbPages) -> Result<Self, IndexError> {
        let fault = Arc::new(OnceLock::new());
        let file_len = pages.len;
        let backend = CheckedFile::new(file, pages, Arc::clone(&fault))?;
        let opened = catch_unwind(AssertUnwindSafe(|| Opened::open(backend)));
        let (opened, header) = answer(&fault, opened)?;
        Ok(Self { opened: Some(opened), header, file_len, fault, has_panicked: AtomicBool::new(false) })
    }

    /// Whether a read has failed: this one gives no more answers, one that is opened anew may.
    pub fn has_read_failed(&self) -> bool {
        matches!(self.fault.get(), Some(IndexError::Io(_)))
    }

    /// Whether something in the file was found to be wrong: this one gives no more answers.
    pub fn is_damaged(&self) -> bool {
        matches!(self.fault.get(), Some(IndexError::Corrupt(_)))
    }

    /// The number of blocks of the segment.
    pub fn block_count(&self) -> u32 {
        self.header.blocks
    }

    /// The number of records of the segment.
    pub fn rows(&self) -> u64 {
        self.header.rows
    }

    /// The names of the segment's fields, by id.
    pub fn field_names(&self) -> &[String] {
        self.opened.as_ref().map_or(&[], |opened| &opened.field_names)
    }

    /// The level spellings of the segment, by id.
    pub fn levels(&self) -> &[LevelSpelling] {
        self.opened.as_ref().map_or(&[], |opened| &opened.levels)
    }

    /// The names of the user-defined indexes, ascending.
    pub fn user_indexes(&self) -> impl Iterator<Item = &str> {
        self.opened.iter().flat_map(|opened| opened.user.iter().map(|(name, _)| name.as_str()))
    }

    /// Bytes of memory that the open index holds at most, about.
    pub fn memory_bytes(&self) -> usize {
        let names: usize = self.field_names().iter().map(|name| name.len() + 24).sum();
        FIXED_BYTES + CACHE_BYTES.min(usize::try_from(self.file_len).unwrap_or(CACHE_BYTES)) + names
    }

    /// The blocks that may have a record in a time range: those whose first and last timestamps
    /// overlap it.
    pub fn blocks_in(&self, range: TimeRange) -> Result<RoaringBitmap, IndexError> {
        self.ask(|opened| {
            let mut found = RoaringBitmap::new();
            if range.is_empty() {
                return Ok(found);
            }
            for row in opened.ts.range(..=(range.end, u32::MAX))?.rev() {
                let (key, value) = row?;
                let ((_, block), (end, latest)) = (key.value(), value.value());
                if latest < range.start {
                    break;
                }
                if end >= range.start {
                    self.insert(&mut found, block)?;
                }
            }
            Ok(found)
        })
    }

    /// The blocks that have a record of a normalised level.
    pub fn blocks_with_level(&self, level: Level) -> Result<RoaringBitmap, IndexError> {
        self.ask(|opened| {
            let mut found = RoaringBitmap::new();
            if let Some(value) = opened.level.get(level as u8)? {
                self.add(value.value(), &mut found)?;
            }
            Ok(found)
        })
    }

    /// The blocks that have a record of a service.
    pub fn blocks_with_service(&self, service: &str) -> Result<RoaringBitmap, IndexError> {
        self.ask(|opened| {
            let mut found = RoaringBitmap::new();
            if let Some(value) = opened.service.get(service)? {
                self.add(split_service(value.value())?.1, &mut found)?;
            }
            Ok(found)
        })
    }

    /// The blocks that have a record of a service that begins with `prefix` and that `matches`
    /// takes.
    pub fn blocks_matching_service(
        &self,
        prefix: &str,
        matches: &dyn Fn(&str) -> bool,
    ) -> Result<RoaringBitmap, IndexError> {
        let mut found = RoaringBitmap::new();
        self.services(prefix, &mut |name, _, blocks| {
            if matches(name) {
                found |= blocks;
            }
            ControlFlow::Continue(())
        })?;
        Ok(found)
    }

    /// Calls `each` with the name, id and blocks of every service that begins with `prefix`, in
    /// the order of names.
    pub fn services(
        &self,
        prefix: &str,
        each: &mut dyn FnMut(&str, u32, &RoaringBitmap) -> ControlFlow<()>,
    ) -> Result<(), IndexError> {
        self.ask(|opened| {
            for row in opened.service.range(prefix..)? {
                let (key, value) = row?;
                let name = key.value();
                if !name.starts_with(prefix) {
                    break;
                }
                let (id, postings) = split_service(value.value())?;
                let mut blocks = RoaringBitmap::new();
                self.add(postings, &mut blocks)?;
                if each(name, id, &blocks).is_break() {
                    break;
                }
            }
            Ok(())
        })
    }

    /// The blocks that may have a value with this hash in a field with a user-defined index;
    /// `None` if the segment has no such index.
    pub fn user(&self, name: &str, hash: u64) -> Result<Option<RoaringBitmap>, IndexError> {
        self.ask(|opened| {
            let Ok(index) = opened.user.binary_search_by(|(index, _)| index.as_str().cmp(name)) else {
                return Ok(None);
            };
            let Some((_, table)) = opened.user.get(index) else { return Ok(None) };
            let mut found = RoaringBitmap::new();
            if let Some(row) = table.range(..=hash)?.next_back() {
                let (key, value) = row?;
                user_index::look_up(key.value(), value.value(), hash, self.header.blocks, &mut found)
                    .ok_or(Problem::Malformed("run of a user-defined index"))?;
            }
            Ok(Some(found))
        })
    }

    /// A block's metadata; `None` if there is no such block.
    pub fn block(&self, number: u32) -> Result<Option<IndexedBlock>, IndexError> {
        self.ask(|opened| match opened.blocks.get(number)? {
            None if number < self.header.blocks => Err(Problem::Malformed("a block is missing")),
            None => Ok(None),
            Some(value) => match block_entry::decode(number, value.value()) {
                Some(block) => Ok(Some(block)),
                None => Err(Problem::Malformed("entry of a block")),
            },
        })
    }

    /// Asks redb; its errors and panics, and our own complaints, are `Corrupt`, failed reads `Io`.
    fn ask<T>(&self, question: impl FnOnce(&Opened) -> Result<T, Problem>) -> Result<T, IndexError> {
        if self.has_panicked.load(Ordering::Acquire) {
            return Err(IndexError::Corrupt("an earlier lookup failed".to_owned()));
        }
        let Some(opened) = &self.opened else { return Err(IndexError::Corrupt("closed".to_owned())) };
        let asked = catch_unwind(AssertUnwindSafe(|| question(opened)));
        if asked.is_err() {
            self.has_panicked.store(true, Ordering::Release);
        }
        answer(&self.fault, asked)
    }

    fn add(&self, postings: &[u8], found: &mut RoaringBitmap) -> Result<(), Problem> {
        postings::decode(postings, self.header.blocks, found).ok_or(Problem::Malformed("postings"))
    }

    fn insert(&self, found: &mut RoaringBitmap, block: u32) -> Result<(), Problem> {
        if block >= self.header.blocks {
            return Err(Problem::Malformed("no such block"));
        }
        found.insert(block);
        Ok(())
    }
}

impl Opened {
    fn open(backend: CheckedFile) -> Result<(Self, Header), Problem> {
        let db = Builder::new().set_cache_size(CACHE_BYTES).open_read_only_with_backend(backend)?;
        let transaction = db.begin_read()?;
        let meta = transaction.open_table(tables::META)?;
        let row = |key: u8| match meta.get(key) {
            Ok(Some(value)) => Ok(value),
            Ok(None) => Err(Problem::Malformed("a row of `meta` is missing")),
            Err(error) => Err(error.into()),
        };
        let header = Header::decode(row(tables::HEADER)?.value()).ok_or(Problem::Malformed("header"))?;
        if header.version != tables::VERSION {
            return Err(Problem::Version(header.version));
        }
        let names = |key: u8| tables::decode_names(row(key)?.value()).ok_or(Problem::Malformed("names"));
        let field_names = names(tables::FIELD_NAMES)?;
        let user = names(tables::USER_INDEXES)?.into_iter().map(|name| open_user(&transaction, name));
        let user = user.collect::<Result<Vec<_>, _>>()?;
        if !user.is_sorted_by(|a, b| a.0 < b.0) {
            return Err(Problem::Malformed("names of user-defined indexes are not sorted"));
        }
        let levels = tables::decode_levels(row(tables::LEVEL_SPELLINGS)?.value());
        let opened = Self {
            blocks: transaction.open_table(tables::BLOCKS)?,
            ts: transaction.open_table(tables::TS)?,
            level: transaction.open_table(tables::LEVEL)?,
            service: transaction.open_table(tables::SERVICE)?,
            user,
            field_names,
            levels: levels.ok_or(Problem::Malformed("level spellings"))?,
            _db: db,
        };
        Ok((opened, header))
    }
}

type UserTable = (String, ReadOnlyTable<u64, &'static [u8]>);

fn open_user(transaction: &ReadTransaction, name: String) -> Result<UserTable, Problem> {
    let table = transaction.open_table(tables::user(&tables::user_table(&name)))?;
    Ok((name, table))
}

fn split_service(value: &[u8]) -> Result<(u32, &[u8]), Problem> {
    let (&id, postings) = value.split_first_chunk().ok_or(Problem::Malformed("entry of a service"))?;
    Ok((u32::from_le_bytes(id), postings))
}

fn answer<T>(fault: &OnceLock<IndexError>, asked: std::thread::Result<Result<T, Problem>>) -> Result<T, IndexError> {
    let problem = match asked {
        Ok(Ok(answer)) => return Ok(answer),
        Ok(Err(Problem::Version(version))) => return Err(IndexError::Version(version)),
        Ok(Err(Problem::Redb(error))) => error,
        Ok(Err(Problem::Malformed(what))) => format!("malformed: {what}"),
        Err(_) => "redb panicked".to_owned(),
    };
    // The backend knows better than redb what was wrong with a page.
    Err(fault.get().cloned().unwrap_or(IndexError::Corrupt(problem)))
}

impl Drop for SegmentIndex {
    fn drop(&mut self) {
        let opened = self.opened.take();
        let _ = catch_unwind(AssertUnwindSafe(|| drop(opened)));
    }
}

impl fmt::Debug for SegmentIndex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SegmentIndex").field("header", &self.header).finish_non_exhaustive()
    }
}
