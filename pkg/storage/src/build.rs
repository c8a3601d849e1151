//! Builds one segment: blocks in, `.log` and `.redb` out, complete and durable.
//!
//! Flush, repair and compaction differ in where rows come from; from here on they are
//! the same. The files do not exist for anyone until a manifest commit names them.

use crate::manifest::{FileRef, LevelCounts, Location, SEGMENT_SERVICES_MAX, SegmentEntry, log_path, redb_path};
use crate::options::Options;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use timberlog_disk::{Env, File, Open};
use timberlog_index::{TokenFilter, UserIndexInput};
use timberlog_segment::{Directory, RowRef, SegmentWriter, WriterOptions};
use timberlog_types::{Batch, Day, Error, FieldColumn, Result, Seq, Tenant};
use xxhash_rust::xxh3::xxh3_64;

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
    blocks: u32,
    indexes: Vec<UserIndexInput>,
}

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
        Ok(Self { env, options, id, log_path, redb_path, folder, file, writer, blocks: 0, indexes })
    }

    /// Writes a block of rows in their final order; returns its bytes in the file. `fields` is of the
    /// same batches.
    pub(crate) fn block(&mut self, batches: &[Arc<Batch>], rows: &[RowRef], fields: &IndexedFields<'_>) -> Result<u64> {
        let written = self.writer.write_block(batches, rows)?;
        for (column, mut hashes) in written.tokens {
            self.writer.add_filter(self.blocks, column, &TokenFilter::build(&mut hashes));
        }
        for (index, field) in self.indexes.iter_mut().zip(&fields.fields) {
            field.add(&mut index.entries, self.blocks, batches, rows);
        }
        self.blocks += 1;
        Ok(u64::from(written.meta.len))
    }

    /// Writes index and footer, and makes both files durable.
    pub(crate) fn finish(mut self, seqs: (Seq, Seq)) -> Result<SegmentEntry> {
        // The index names the places of the token filters.
        self.writer.write_filters()?;
        let directory = self.writer.directory();
        let built = if directory.raw_bytes() >= INDEX_RAW_BYTES_MIN || !self.indexes.is_empty() {
            Some(timberlog_index::build(directory, &mut self.indexes)?)
        } else {
            None
        };
        let finished = self.writer.finish(built.as_ref().map(|built| built.pages.clone()))?;
        self.file.sync_data().map_err(|error| doing("fsync", Path::new(&self.log_path), &error))?;
        let redb = match &built {
            Some(built) => {
                let path = self.options.data_dir.join(&self.redb_path);
                timberlog_disk::atomic::write_new(&*self.env.disk, &path, &built.bytes)
                    .map_err(|error| doing("write", &path, &error))?;
                let (len, crc32c) = (built.bytes.len() as u64, crc32c::crc32c(&built.bytes));
                Some(FileRef { path: self.redb_path, len, crc32c })
            }
            None => None,
        };
        self.env.disk.sync_dir(&self.folder).map_err(|error| doing("fsync", &self.folder, &error))?;
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

/// Where the fields that have an index of their own are in a list of batches. A name means the
/// stream label where the stream has one, the field otherwise; a record with neither is not in the
/// index.
pub(crate) struct IndexedFields<'a> {
    fields: Vec<IndexedField<'a>>,
}

struct IndexedField<'a> {
    /// Per batch: its field of this name.
    columns: Vec<Option<FieldColumn<'a>>>,
    /// Per batch and stream: the hash of the label of this name.
    labels: Vec<Vec<Option<u64>>>,
}

impl<'a> IndexedFields<'a> {
    pub(crate) fn new(names: &[String], batches: &'a [Arc<Batch>]) -> Self {
        let label = |batch: &Batch, id, name: &str| batch.stream(id).label(name).map(|value| xxh3_64(value.as_bytes()));
        let labels = |batch: &Batch, name: &str| (0..batch.stream_count()).map(|id| label(batch, id, name)).collect();
        let fields = names.iter().map(|name| IndexedField {
            columns: batches.iter().map(|batch| batch.field(name)).collect(),
            labels: batches.iter().map(|batch| labels(batch, name)).collect(),
        });
        Self { fields: fields.collect() }
    }
}

impl IndexedField<'_> {
    /// Adds (value hash, block) of the rows, each once.
    fn add(&self, entries: &mut Vec<(u64, u32)>, block: u32, batches: &[Arc<Batch>], rows: &[RowRef]) {
        let from = entries.len();
        // Neighbours often share a value; comparing is cheaper than hashing.
        let mut last: (&[u8], u64) = (&[], xxh3_64(&[]));
        for &RowRef { batch, row } in rows {
            let (batch, row) = (batch as usize, row as usize);
            let hash = match self.labels[batch][batches[batch].stream_id(row)] {
                Some(hash) => hash,
                None => {
                    let Some(value) = self.columns[batch].and_then(|column| column.get(row)) else { continue };
                    if value.text != last.0 {
                        last = (value.text, xxh3_64(value.text));
                    }
                    last.1
                }
            };
            if entries.last() != Some(&(hash, block)) {
                entries.push((hash, block));
            }
        }
        let mut of_block = entries.split_off(from);
        of_block.sort_unstable();
        of_block.dedup();
        entries.append(&mut of_block);
    }
}
