//! Makes blocks from rows: their bytes, their token filters, and their entries of user-defined indexes.
//!
//! No file is touched here, and nothing is shared but what is read: blocks of a segment are made side by side.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use timberlog_index::TokenFilter;
use timberlog_segment::{BlockEncoder, ColumnKey, EncodedBlock, RowRef, Tables};
use timberlog_types::{Batch, FieldColumn, Result};
use xxhash_rust::xxh3::xxh3_64;

/// What blocks are made of.
#[derive(Clone, Copy)]
pub(super) struct Source<'a> {
    pub(super) batches: &'a [Arc<Batch>],
    pub(super) fields: &'a IndexedFields<'a>,
    pub(super) tables: Tables<'a>,
}

impl Source<'_> {
    pub(super) fn make(&self, encoder: &mut BlockEncoder, number: u32, rows: &[RowRef]) -> Result<Made> {
        let mut block = encoder.encode(self.tables, number, self.batches, rows)?;
        let tokens = std::mem::take(&mut block.tokens).into_iter();
        let filters = tokens.map(|(column, mut hashes)| (column, TokenFilter::build(&mut hashes))).collect();
        let entries = self.fields.fields.iter().map(|field| field.entries(number, self.batches, rows)).collect();
        Ok(Made { block, filters, entries })
    }

    /// Makes blocks in this thread, and in one more for each further encoder; the first of them is `number`.
    pub(super) fn make_all(
        &self,
        encoder: &mut BlockEncoder,
        encoders: &mut [BlockEncoder],
        number: u32,
        blocks: &[&[RowRef]],
    ) -> Result<Vec<Made>> {
        let next = AtomicUsize::new(0);
        let made = Mutex::new(Vec::with_capacity(blocks.len()));
        let work = |encoder: &mut BlockEncoder| {
            loop {
                let index = next.fetch_add(1, Ordering::Relaxed);
                let Some(rows) = blocks.get(index) else { return };
                // A segment has less than 2³² blocks.
                let one = self.make(encoder, number + index as u32, rows);
                made.lock().unwrap_or_else(PoisonError::into_inner).push((index, one));
            }
        };
        std::thread::scope(|scope| {
            for encoder in encoders {
                // Without it the others make its blocks.
                let _ = std::thread::Builder::new()
                    .name("timberlog-flush".to_owned())
                    .spawn_scoped(scope, || work(encoder));
            }
            work(encoder);
        });
        let mut made = made.into_inner().unwrap_or_else(PoisonError::into_inner);
        made.sort_unstable_by_key(|(index, _)| *index);
        made.into_iter().map(|(_, one)| one).collect()
    }
}

/// A block with what belongs to it.
pub(super) struct Made {
    pub(super) block: EncodedBlock,
    pub(super) filters: Vec<(ColumnKey, Vec<u8>)>,
    /// Per user-defined index: (value hash, block).
    pub(super) entries: Vec<Vec<(u64, u32)>>,
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
    /// (Value hash, block) of the rows, each once.
    fn entries(&self, block: u32, batches: &[Arc<Batch>], rows: &[RowRef]) -> Vec<(u64, u32)> {
        let mut entries = Vec::new();
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
        entries.sort_unstable();
        entries.dedup();
        entries
    }
}
