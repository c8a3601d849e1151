//! A flush: one frozen generation of the buffer becomes segments, and one manifest commit.
//!
//!     generation → per tenant and day: order rows → blocks + token filters → .log
//!                                                 → B+trees               → .redb → entries → edit
//!
//! Files are written and fsynced here; they do not exist for anyone until the caller commits the
//! edit. A flush that fails leaves files that no manifest names; the next start removes them.

use crate::buffer::Generation;
use crate::manifest::{FileRef, LevelCounts, Location, SEGMENT_SERVICES_MAX, SegmentEntry, log_path, redb_path};
use crate::options::Options;
use crate::order::order;
use crate::snapshot::BufferedBatch;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use timberlog_disk::{Env, Open};
use timberlog_index::{TokenFilter, UserIndexInput};
use timberlog_segment::{Directory, RowRef, SegmentWriter, WriterOptions};
use timberlog_types::{Batch, Day, Error, FieldColumn, Result, Seq, Tenant};
use xxhash_rust::xxh3::xxh3_64;

/// Raw bytes below which a segment has no `.redb`: its directory suffices.
pub(crate) const INDEX_RAW_BYTES_MIN: u64 = 1 << 20;

/// A new segment, written and fsynced.
pub(crate) struct NewSegment {
    pub(crate) tenant: Tenant,
    pub(crate) day: Day,
    pub(crate) entry: SegmentEntry,
}

/// Writes the segments of a generation.
pub(crate) fn write(env: &Env, options: &Options, generation: &Generation) -> Result<Vec<NewSegment>> {
    let mut tenants: Vec<_> = generation.tenants.iter().collect();
    // The order of a hash map is not reproducible, that of file operations must be.
    tenants.sort_unstable_by_key(|(tenant, _)| *tenant);
    let mut segments = Vec::new();
    for (tenant, batches) in tenants {
        for (day, rows) in split_by_day(batches) {
            segments.push(Writing { env, options, tenant, day }.segment(batches, &rows)?);
        }
    }
    Ok(segments)
}

/// The rows of each day, in order of arrival.
fn split_by_day(batches: &[Arc<BufferedBatch>]) -> BTreeMap<Day, Vec<RowRef>> {
    let mut days: BTreeMap<Day, Vec<RowRef>> = BTreeMap::new();
    for (index, batch) in batches.iter().enumerate() {
        // A batch has less than 2³² rows, and a generation fewer batches.
        let row_ref = |row: usize| RowRef { batch: index as u32, row: row as u32 };
        let (first, last) = (Day::of(batch.range.start), Day::of(batch.range.end));
        if first == last {
            days.entry(first).or_default().extend((0..batch.batch.rows()).map(row_ref));
        } else {
            for (row, timestamp) in batch.batch.timestamps().enumerate() {
                days.entry(Day::of(timestamp)).or_default().push(row_ref(row));
            }
        }
    }
    days
}

struct Writing<'a> {
    env: &'a Env,
    options: &'a Options,
    tenant: &'a Tenant,
    day: Day,
}

impl Writing<'_> {
    fn segment(&self, buffered: &[Arc<BufferedBatch>], rows: &[RowRef]) -> Result<NewSegment> {
        let batches: Vec<Arc<Batch>> = buffered.iter().map(|batch| Arc::clone(&batch.batch)).collect();
        let ordered = order(&batches, rows, self.day, self.options.block_bytes);
        let id = segment_id(self.env);
        let (log_path, redb_path) = (log_path(self.tenant, self.day, &id), redb_path(self.tenant, self.day, &id));
        let log = self.options.data_dir.join(&log_path);
        let folder = log.parent().unwrap_or(&self.options.data_dir).to_path_buf();
        self.env.disk.create_dir_all(&folder).map_err(|error| doing("create", &folder, &error))?;

        let file = self.env.disk.open(&log, Open::CreateNew).map_err(|error| doing("create", &log, &error))?;
        let mut writer = SegmentWriter::new(Arc::clone(&file), self.writer_options(&id))?;
        let mut indexes = UserIndexes::new(&self.options.user_indexes, &batches);
        for (number, block) in ordered.blocks.iter().enumerate() {
            let rows = &ordered.rows[block.clone()];
            let written = writer.write_block(&batches, rows)?;
            for (column, mut hashes) in written.tokens {
                writer.add_filter(number as u32, column, &TokenFilter::build(&mut hashes));
            }
            indexes.add(number as u32, rows);
        }
        let directory = writer.directory();
        let built = if directory.raw_bytes() >= INDEX_RAW_BYTES_MIN || !indexes.is_empty() {
            Some(timberlog_index::build(directory, &mut indexes.finish())?)
        } else {
            None
        };
        let pages = built.as_ref().map(|built| built.pages.clone());
        let finished = writer.finish(pages)?;
        file.sync_data().map_err(|error| doing("fsync", &log, &error))?;
        let redb = match &built {
            Some(built) => Some(self.write_redb(redb_path, &built.bytes)?),
            None => None,
        };
        self.env.disk.sync_dir(&folder).map_err(|error| doing("fsync", &folder, &error))?;
        let log = FileRef { path: log_path, len: finished.len, crc32c: finished.crc32c };
        let entry = entry(id, seq_range(buffered, rows), &finished.directory, log, redb);
        Ok(NewSegment { tenant: self.tenant.clone(), day: self.day, entry })
    }

    fn writer_options(&self, id: &str) -> WriterOptions {
        WriterOptions { segment_id: id.to_owned(), tenant: self.tenant.clone(), zstd_level: self.options.zstd_level }
    }

    fn write_redb(&self, relative: String, bytes: &[u8]) -> Result<FileRef> {
        let path = self.options.data_dir.join(&relative);
        timberlog_disk::atomic::write_new(&*self.env.disk, &path, bytes)
            .map_err(|error| doing("write", &path, &error))?;
        Ok(FileRef { path: relative, len: bytes.len() as u64, crc32c: crc32c::crc32c(bytes) })
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
    }
}

/// From the first to the last sequence number that the rows can have.
fn seq_range(batches: &[Arc<BufferedBatch>], rows: &[RowRef]) -> (Seq, Seq) {
    let of = |row: Option<&RowRef>| row.and_then(|row| batches.get(row.batch as usize));
    (of(rows.first()).map_or(0, |batch| batch.seq_min), of(rows.last()).map_or(0, |batch| batch.seq_max))
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

/// Gathers (value hash, block) of the fields that have an index of their own.
struct UserIndexes<'a> {
    batches: &'a [Arc<Batch>],
    indexes: Vec<UserIndex<'a>>,
}

/// One of them. A name means the stream label where the stream has one, the field otherwise; a
/// record with neither is not in the index.
struct UserIndex<'a> {
    input: UserIndexInput,
    /// Per batch: its field of this name.
    fields: Vec<Option<FieldColumn<'a>>>,
    /// Per batch and stream: the hash of the label of this name.
    labels: Vec<Vec<Option<u64>>>,
}

impl<'a> UserIndexes<'a> {
    fn new(names: &[String], batches: &'a [Arc<Batch>]) -> Self {
        let label = |batch: &Batch, id, name: &str| batch.stream(id).label(name).map(|value| xxh3_64(value.as_bytes()));
        let labels = |batch: &Batch, name: &str| (0..batch.stream_count()).map(|id| label(batch, id, name)).collect();
        let indexes = names.iter().map(|name| UserIndex {
            input: UserIndexInput { name: name.clone(), entries: Vec::new() },
            fields: batches.iter().map(|batch| batch.field(name)).collect(),
            labels: batches.iter().map(|batch| labels(batch, name)).collect(),
        });
        Self { batches, indexes: indexes.collect() }
    }

    fn is_empty(&self) -> bool {
        self.indexes.is_empty()
    }

    fn add(&mut self, block: u32, rows: &[RowRef]) {
        for index in &mut self.indexes {
            index.add(block, self.batches, rows);
        }
    }

    fn finish(self) -> Vec<UserIndexInput> {
        self.indexes.into_iter().map(|index| index.input).collect()
    }
}

impl UserIndex<'_> {
    fn add(&mut self, block: u32, batches: &[Arc<Batch>], rows: &[RowRef]) {
        let entries = &mut self.input.entries;
        let from = entries.len();
        // Neighbours often share a value; comparing is cheaper than hashing.
        let mut last: (&[u8], u64) = (&[], xxh3_64(&[]));
        for &RowRef { batch, row } in rows {
            let (batch, row) = (batch as usize, row as usize);
            let hash = match self.labels[batch][batches[batch].stream_id(row)] {
                Some(hash) => hash,
                None => {
                    let Some(value) = self.fields[batch].and_then(|field| field.get(row)) else { continue };
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
