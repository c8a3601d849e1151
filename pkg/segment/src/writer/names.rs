//! The tables of the directory while it is written, and what the ids of each batch mean in them.
//!
//! What rows name is learnt before their blocks are encoded, and only read then: blocks may be encoded side by side. What
//! is learnt of a batch is kept for the next blocks as long as they name the same batch at the same place.

use super::RowRef;
use crate::directory::{Directory, LevelSpelling, StreamEntry};
use crate::error::SegmentError;
use std::collections::HashMap;
use std::sync::Arc;
use timberlog_types::{Batch, Level, StreamRef};

/// An id that is not known yet.
pub(crate) const UNKNOWN: u32 = u32::MAX;

/// The most bytes of all stream encodings of a segment.
const STREAM_BYTES_MAX: usize = u32::MAX as usize;
/// Ids kept for batches; more than this, and all are forgotten before the next block.
const IDS_KEPT_MAX: usize = 16 << 20;

/// An id that was learnt.
pub(crate) fn learnt(id: u32) -> Result<u32, SegmentError> {
    if id == UNKNOWN { Err(not_learnt()) } else { Ok(id) }
}

/// Rows that are encoded before their names have ids.
pub(crate) fn not_learnt() -> SegmentError {
    SegmentError::corrupt("the writer has not learnt of these rows")
}

/// What the ids of batches mean in the segment.
#[derive(Default)]
pub(crate) struct Names {
    known: Known,
    /// Per batch of the last slice that rows were learnt of.
    batches: Vec<Option<(Arc<Batch>, Resolved)>>,
    /// The segment's ids, by batch and then by the batch's own ids.
    pub(crate) ids: Vec<u32>,
}

/// Finds the segment's id of a stream, level or field.
#[derive(Default)]
struct Known {
    streams: HashMap<u64, Vec<u32>>,
    services: HashMap<Box<str>, u32>,
    levels: HashMap<(Level, Option<Box<str>>), u32>,
    fields: HashMap<Box<str>, u32>,
}

/// Where the ids of a batch stand in [`Names::ids`], and how its fields are laid out.
#[derive(Debug)]
pub(crate) struct Resolved {
    pub(crate) streams: usize,
    pub(crate) levels: usize,
    pub(crate) fields: usize,
    /// The values of the fields that not all rows have, by row.
    pub(crate) sparse: Option<SparseRows>,
}

/// The sparse fields of a batch, by row.
#[derive(Debug)]
pub(crate) struct SparseRows {
    starts: Vec<u32>,
    /// Field and index of the value.
    entries: Vec<(u32, u32)>,
}

impl SparseRows {
    fn of(batch: &Batch) -> Option<Self> {
        let sparse = || batch.fields().enumerate().filter(|(_, field)| !field.is_dense());
        sparse().next()?;
        let mut starts = vec![0_u32; batch.rows() + 2];
        for (_, field) in sparse() {
            (0..field.len()).for_each(|index| starts[field.row(index) + 2] += 1);
        }
        let mut total = 0;
        for start in &mut starts {
            total += *start;
            *start = total;
        }
        let mut entries = vec![(0, 0); total as usize];
        for (number, field) in sparse() {
            for index in 0..field.len() {
                let next = &mut starts[field.row(index) + 1];
                // Fields and values of a batch are counted in 32 bits.
                entries[*next as usize] = (number as u32, index as u32);
                *next += 1;
            }
        }
        Some(Self { starts, entries })
    }

    /// The fields of a row, by their number in the batch, and the indexes of their values.
    pub(crate) fn row(&self, row: u32) -> &[(u32, u32)] {
        &self.entries[self.starts[row as usize] as usize..self.starts[row as usize + 1] as usize]
    }
}

impl Names {
    /// Learns what rows name, in their order: their streams, levels and fields.
    ///
    /// # Panics
    /// If a row is not in `batches`.
    pub(crate) fn learn(
        &mut self,
        batches: &[Arc<Batch>],
        rows: &[RowRef],
        to: &mut Directory,
    ) -> Result<(), SegmentError> {
        if self.ids.len() > IDS_KEPT_MAX {
            self.batches.clear();
            self.ids.clear();
        }
        self.batches.resize_with(batches.len(), || None);
        let mut is_used = vec![false; batches.len()];
        for row in rows {
            let (place, row) = (row.batch as usize, row.row);
            let batch = &batches[place];
            if !is_used[place] {
                is_used[place] = true;
                self.resolve(place, batch, to)?;
            }
            let Self { known, batches: resolved, ids } = self;
            let Some((_, resolved)) = &resolved[place] else { continue };
            let stream = batch.stream_id(row as usize);
            let id = &mut ids[resolved.streams + stream];
            if *id == UNKNOWN {
                *id = known.stream(batch.stream(stream), batch.stream_hash(stream), to)?;
            }
            let level = batch.level_id(row as usize);
            let id = &mut ids[resolved.levels + level];
            if *id == UNKNOWN {
                *id = known.level(batch, level, to)?;
            }
            for &(field, _) in resolved.sparse.iter().flat_map(|sparse| sparse.row(row)) {
                let id = &mut ids[resolved.fields + field as usize];
                if *id == UNKNOWN {
                    *id = known.field(batch.field_at(field as usize).name(), to)?;
                }
            }
        }
        Ok(())
    }

    /// Finds a place for the ids of a batch, and the ids of the fields that all its rows have.
    fn resolve(&mut self, place: usize, batch: &Arc<Batch>, to: &mut Directory) -> Result<(), SegmentError> {
        if self.batches[place].as_ref().is_some_and(|(same, _)| Arc::ptr_eq(same, batch)) {
            return Ok(());
        }
        let streams = self.ids.len();
        let levels = streams + batch.stream_count();
        let fields = levels + batch.level_count();
        self.ids.resize(fields + batch.field_count(), UNKNOWN);
        for (number, field) in batch.fields().enumerate().filter(|(_, field)| field.is_dense()) {
            self.ids[fields + number] = self.known.field(field.name(), to)?;
        }
        let resolved = Resolved { streams, levels, fields, sparse: SparseRows::of(batch) };
        self.batches[place] = Some((Arc::clone(batch), resolved));
        Ok(())
    }

    /// What was learnt of the batch at a place of the slice.
    pub(crate) fn resolved(&self, place: usize, batch: &Arc<Batch>) -> Option<&Resolved> {
        let (same, resolved) = self.batches.get(place)?.as_ref()?;
        Arc::ptr_eq(same, batch).then_some(resolved)
    }
}

impl Known {
    fn stream(&mut self, stream: StreamRef<'_>, hash: u64, to: &mut Directory) -> Result<u32, SegmentError> {
        let table = &mut to.streams;
        let same_hash = self.streams.entry(hash).or_default();
        for &id in same_hash.iter() {
            if table.get(id).is_some_and(|known| known.as_bytes() == stream.as_bytes()) {
                return Ok(id);
            }
        }
        let id = new_id("the number of streams", table.len())?;
        let end = table.bytes.len() + stream.as_bytes().len();
        if end > STREAM_BYTES_MAX {
            return Err(SegmentError::TooLarge {
                what: "the length of all streams",
                len: end as u64,
                max: STREAM_BYTES_MAX as u64,
            });
        }
        let service = match self.services.get(stream.service()) {
            Some(&service) => service,
            None => {
                let service = new_id("the number of services", to.services.len())?;
                self.services.insert(stream.service().into(), service);
                to.services.push(stream.service().to_owned());
                service
            }
        };
        table.bytes.extend_from_slice(stream.as_bytes());
        table.entries.push(StreamEntry { end: end as u32, service, hash });
        same_hash.push(id);
        Ok(id)
    }

    fn level(&mut self, batch: &Batch, level: usize, to: &mut Directory) -> Result<u32, SegmentError> {
        let level = batch.level(level);
        let key = (level.level, level.spelling.map(Box::from));
        if let Some(&id) = self.levels.get(&key) {
            return Ok(id);
        }
        let id = new_id("the number of level spellings", to.levels.len())?;
        to.levels.push(LevelSpelling { level: level.level, spelling: level.spelling.map(str::to_owned) });
        self.levels.insert(key, id);
        Ok(id)
    }

    fn field(&mut self, name: &str, to: &mut Directory) -> Result<u32, SegmentError> {
        if let Some(&id) = self.fields.get(name) {
            return Ok(id);
        }
        let id = new_id("the number of field names", to.field_names.len())?;
        to.field_names.push(name.to_owned());
        self.fields.insert(name.into(), id);
        Ok(id)
    }
}

/// The most entries of a table of the directory.
const IDS_MAX: usize = 1 << 24;

fn new_id(what: &'static str, len: usize) -> Result<u32, SegmentError> {
    u32::try_from(len).ok().filter(|_| len < IDS_MAX).ok_or(SegmentError::TooLarge {
        what,
        len: len as u64 + 1,
        max: IDS_MAX as u64,
    })
}
