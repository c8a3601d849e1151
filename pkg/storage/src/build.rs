//! Builds one segment: blocks in, `.log` and `.redb` out, complete and durable.
//!
//! Flush, repair and compaction differ in where rows come from; from here on they are
//! the same. The files do not exist for anyone until a manifest commit names them.

mod blocks;

use crate::manifest::{FileRef, LevelCounts, Location, SEGMENT_SERVICES_MAX, SegmentEntry, log_path, redb_path};
use crate::options::Options;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use timberlog_disk::{Env, File, Open, Unsynced};
use timberlog_index::UserIndexInput;
use timberlog_segment::{BlockEncoder, Directory, RowRef, SegmentWriter, WriterOptions};
use timberlog_types::{Batch, Day, Error, Result, Seq, Tenant};

pub(crate) use blocks::IndexedFields;
use blocks::{Made, Source};

/// Raw bytes below which a segment has no `.redb`: its directory suffices.
pub(crate) const INDEX_RAW_BYTES_MIN: u64 = 1 << 20;

/// A segment that is being written.
pub(crate) struct SegmentBuild<'a> {
    env: &'a Env,
    options: &'a Options,
    id: String,
    /// Relative to the data directory.
    log_path: String,
    redb_path: String,
    folder: PathBuf,
    file: Arc<dyn File>,
    writer: SegmentWriter,
    encoder: BlockEncoder,
    zstd_level: i32,
    indexes: Vec<UserIndexInput>,
}

/// What was written of segments and is not durable yet.
#[derive(Default)]
pub(crate) struct NotDurable {
    /// Open as they were written: a write that fails behind the call is told to those handles.
    files: Vec<Unsynced>,
    folders: BTreeSet<PathBuf>,
}

impl NotDurable {
    /// How many files are open.
    pub(crate) fn files(&self) -> usize {
        self.files.len()
    }

    /// Makes the files durable, and their names: several at a time, and each folder once.
    pub(crate) fn make_durable(&mut self, env: &Env) -> Result<()> {
        let mut all = std::mem::take(&mut self.files);
        all.extend(std::mem::take(&mut self.folders).into_iter().map(Unsynced::Folder));
        env.disk.sync_all(&all).map_err(|error| doing("fsync", &error.path, &error.source))
    }
}

/// Blocks that several threads encode before the first of them is written, for each of them: so many that none waits long
/// for the last, and not so many that they are much beside the buffer. One thread writes each at once.
const BLOCKS_PER_THREAD: usize = 8;

impl<'a> SegmentBuild<'a> {
    /// Starts a segment of a partition under a new id, compressed at `zstd_level`. `files` is told the files it may make,
    /// relative to the data directory.
    pub(crate) fn new(
        env: &'a Env,
        options: &'a Options,
        tenant: &Tenant,
        day: Day,
        zstd_level: i32,
        files: &mut Vec<String>,
    ) -> Result<Self> {
        let id = segment_id(env);
        let (log_path, redb_path) = (log_path(tenant, day, &id), redb_path(tenant, day, &id));
        files.extend([log_path.clone(), redb_path.clone()]);
        let log = options.data_dir.join(&log_path);
        let folder = log.parent().unwrap_or(&options.data_dir).to_path_buf();
        env.disk.create_dir_all(&folder).map_err(|error| doing("create", &folder, &error))?;
        let file = env.disk.open(&log, Open::CreateNew).map_err(|error| doing("create", &log, &error))?;
        let writer_options = WriterOptions { segment_id: id.clone(), tenant: tenant.clone(), zstd_level };
        let writer = SegmentWriter::new(Arc::clone(&file), writer_options)?;
        let index = |name: &String| UserIndexInput { name: name.clone(), entries: Vec::new() };
        let indexes = options.user_indexes.iter().map(index).collect();
        let encoder = BlockEncoder::new(zstd_level);
        Ok(Self { env, options, id, log_path, redb_path, folder, file, writer, encoder, zstd_level, indexes })
    }

    /// Writes a block of rows in their final order; returns its bytes in the file. `fields` is of the
    /// same batches.
    pub(crate) fn block(&mut self, batches: &[Arc<Batch>], rows: &[RowRef], fields: &IndexedFields<'_>) -> Result<u64> {
        self.writer.learn(batches, rows)?;
        let source = Source { batches, fields, tables: self.writer.tables() };
        let made = source.make(&mut self.encoder, self.writer.next_block(), rows)?;
        self.take(made)
    }

    /// Writes blocks of rows in their final order, `threads` of them encoded at a time: the file is the same however
    /// many these are. `fields` is of the same batches.
    pub(crate) fn blocks(
        &mut self,
        batches: &[Arc<Batch>],
        rows: &[RowRef],
        blocks: &[Range<usize>],
        fields: &IndexedFields<'_>,
        threads: usize,
    ) -> Result<()> {
        self.writer.learn(batches, rows)?;
        let threads = threads.clamp(1, blocks.len().max(1));
        let mut encoders: Vec<_> = (1..threads).map(|_| BlockEncoder::new(self.zstd_level)).collect();
        for blocks in blocks.chunks(if threads == 1 { 1 } else { threads * BLOCKS_PER_THREAD }) {
            let source = Source { batches, fields, tables: self.writer.tables() };
            let blocks: Vec<&[RowRef]> = blocks.iter().map(|block| &rows[block.clone()]).collect();
            for made in source.make_all(&mut self.encoder, &mut encoders, self.writer.next_block(), &blocks)? {
                self.take(made)?;
            }
        }
        Ok(())
    }

    fn take(&mut self, made: Made) -> Result<u64> {
        let Made { block, filters, entries } = made;
        let written = self.writer.append(block)?;
        for (column, filter) in filters {
            self.writer.add_filter(written.meta.number, column, filter);
        }
        for (index, mut entries) in self.indexes.iter_mut().zip(entries) {
            index.entries.append(&mut entries);
        }
        Ok(u64::from(written.meta.len))
    }

    /// Writes index and footer, and makes both files durable.
    pub(crate) fn finish(self, seqs: (Seq, Seq)) -> Result<SegmentEntry> {
        let (env, mut written) = (self.env, NotDurable::default());
        let entry = self.finish_later(seqs, &mut written)?;
        written.make_durable(env)?;
        Ok(entry)
    }

    /// Writes index and footer. Nothing may name the segment before what is `written` is durable.
    pub(crate) fn finish_later(mut self, seqs: (Seq, Seq), written: &mut NotDurable) -> Result<SegmentEntry> {
        // The index names the places of the token filters.
        self.writer.write_filters()?;
        let directory = self.writer.directory();
        let built = if directory.raw_bytes() >= INDEX_RAW_BYTES_MIN || !self.indexes.is_empty() {
            Some(timberlog_index::build(directory, &mut self.indexes)?)
        } else {
            None
        };
        let finished = self.writer.finish(built.as_ref().map(|built| built.pages.clone()))?;
        written.files.push(Unsynced::File(self.options.data_dir.join(&self.log_path), self.file));
        let redb = match &built {
            Some(built) => {
                let path = self.options.data_dir.join(&self.redb_path);
                let file = self.env.disk.open(&path, Open::CreateNew);
                let file = file.and_then(|file| file.write_all_at(&built.bytes, 0).map(|()| file));
                let file = file.map_err(|error| doing("write", &path, &error))?;
                written.files.push(Unsynced::File(path, file));
                let (len, crc32c) = (built.bytes.len() as u64, crc32c::crc32c(&built.bytes));
                Some(FileRef { path: self.redb_path, len, crc32c })
            }
            None => None,
        };
        written.folders.insert(self.folder);
        let log = FileRef { path: self.log_path, len: finished.len, crc32c: finished.crc32c };
        Ok(entry(self.id, seqs, &finished.directory, log, redb))
    }
}

fn entry(
    id: String,
    (seq_min, seq_max): (Seq, Seq),
    directory: &Directory,
    log: FileRef,
    redb: Option<FileRef>,
) -> SegmentEntry {
    let mut levels = LevelCounts::default();
    let mut services: BTreeMap<String, u64> = BTreeMap::new();
    for block in &directory.blocks {
        for &(spelling, rows) in &block.levels {
            levels.add(directory.levels[spelling as usize].level, u64::from(rows));
        }
        for &(service, rows) in &block.services {
            *services.entry(directory.services[service as usize].clone()).or_default() += u64::from(rows);
        }
    }
    SegmentEntry {
        id,
        seq_min,
        seq_max,
        range: directory.range(),
        rows: directory.rows(),
        raw_bytes: directory.raw_bytes(),
        log,
        redb,
        levels,
        services: (services.len() <= SEGMENT_SERVICES_MAX).then_some(services),
        location: Location::Local,
        purged_seq: 0,
        index_object: None,
    }
}

fn doing(what: &str, path: &Path, error: &std::io::Error) -> Error {
    Error::io(format!("{what} `{}`", path.display()), error)
}

/// A new segment id: a ULID, 48 bits of wall-clock ms and 80 random bits.
/// Source: <https://github.com/ulid/spec>.
pub(crate) fn segment_id(env: &Env) -> String {
    let mut random = [0; 10];
    env.random.fill(&mut random);
    let millis = u64::try_from(env.clock.now_ns() / 1_000_000).unwrap_or(0) & ((1 << 48) - 1);
    let random = random.iter().fold(0_u128, |number, &byte| number << 8 | u128::from(byte));
    let number = u128::from(millis) << 80 | random;
    let digit = |place: u32| char::from(b"0123456789ABCDEFGHJKMNPQRSTVWXYZ"[(number >> (place * 5)) as usize & 31]);
    (0..26).rev().map(digit).collect()
}

#[cfg(test)]
mod tests;
