//! The tables of the directory while it is written, and what the ids of each batch mean in them.
//!
//! A batch is resolved when a block first uses it; what is learnt is kept for the next blocks as
//! long as they name the same batch at the same place.

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

/// Finds the segment's id of a stream, level or field.
#[derive(Default)]
pub(crate) struct Names {
    streams: HashMap<u64, Vec<u32>>,
    services: HashMap<Box<str>, u32>,
    levels: HashMap<(Level, Option<Box<str>>), u32>,
    fields: HashMap<Box<str>, u32>,
    /// Per batch of the last block's slice.
    batches: Vec<Option<(Arc<Batch>, Resolved)>>,
    /// The segment's ids, by batch and then by the batch's own ids.
    pub(crate) ids: Vec<u32>,
}

/// Where the ids of a batch stand in [`Names::ids`], and how its fields are laid out.
#[derive(Clone, Debug)]
pub(crate) struct Resolved {
    pub(crate) streams: usize,
    pub(crate) levels: usize,
    pub(crate) fields: usize,
    /// The values of the fields that not all rows have, by row.
    pub(crate) sparse: Option<Arc<SparseRows>>,
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
    /// Forgets batches that are not in the slice any more.
    pub(crate) fn keep(&mut self, batches: usize) {
        if self.ids.len() > IDS_KEPT_MAX {
            self.batches.clear();
            self.ids.clear();
        }
        self.batches.resize_with(batches, || None);
    }

    /// What is known of the batch at a place of the slice.
    pub(crate) fn resolve(&mut self, place: usize, batch: &Arc<Batch>) -> Resolved {
        if let Some((same, resolved)) = &self.batches[place]
            && Arc::ptr_eq(same, batch)
        {
            return resolved.clone();
        }
        let streams = self.ids.len();
        let levels = streams + batch.stream_count();
        let fields = levels + batch.level_count();
        self.ids.resize(fields + batch.field_count(), UNKNOWN);
        let resolved = Resolved { streams, levels, fields, sparse: SparseRows::of(batch).map(Arc::new) };
        self.batches[place] = Some((Arc::clone(batch), resolved.clone()));
        resolved
    }

    pub(crate) fn stream(&mut self, stream: StreamRef<'_>, hash: u64, to: &mut Directory) -> Result<u32, SegmentError> {
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

    pub(crate) fn level(&mut self, batch: &Batch, level: usize, to: &mut Directory) -> Result<u32, SegmentError> {
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

    pub(crate) fn field(&mut self, name: &str, to: &mut Directory) -> Result<u32, SegmentError> {
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
