//! A run: the rows of one group of an input that are in one time slice, block by block, in order.

use super::inputs::{Failed, Group, HourSet, Input};
use crate::order::{hour, row_overhead};
use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;
use timberlog_types::batch::BuildError;
use timberlog_types::{Batch, BatchBuilder, Day, Error};

/// Where a row stands within its slice: the place of its stream, and its timestamp.
pub(super) type Key = (u32, i64);

/// What all runs of a job share.
pub(super) struct Shared<'a> {
    pub(super) day: Day,
    pub(super) ranks: HashMap<&'a [u8], u32>,
    /// Told the bytes that are read before they are.
    pub(super) pace: &'a dyn Fn(u64) -> timberlog_types::Result<()>,
}

/// A decoded block, or what of it is in the slice.
pub(super) struct Loaded {
    pub(super) batch: Arc<Batch>,
    pub(super) keys: Vec<Key>,
    /// Bytes of text that a row has on average beside its message.
    pub(super) overhead: usize,
}

impl Loaded {
    pub(super) fn memory_bytes(&self) -> usize {
        self.batch.memory_bytes() + self.keys.capacity() * size_of::<Key>()
    }
}

/// The rows of a group in a slice.
pub(super) struct Run<'a> {
    input: &'a Input,
    /// Blocks that are still to be read.
    blocks: Range<u32>,
    slice: HourSet,
    last: Option<Key>,
}

impl<'a> Run<'a> {
    pub(super) fn new(input: &'a Input, group: &Group, slice: &Range<usize>) -> Self {
        let slice = slice.clone().fold(0, |set, hour| set | 1 << hour);
        Self { input, blocks: group.blocks.clone(), slice, last: None }
    }

    /// The next block that has rows of the slice.
    pub(super) fn next(&mut self, shared: &Shared<'_>, builder: &mut BatchBuilder) -> Result<Option<Loaded>, Failed> {
        let hours = |block: u32| self.input.hours.get(block as usize).copied().unwrap_or(0);
        let hidden = |block: u32| self.input.hidden.get(&block);
        let is_wanted =
            |block: u32| hours(block) & self.slice != 0 && !hidden(block).is_some_and(|hidden| hidden.is_full());
        let failed = |error: Error| Failed::of(&self.input.entry, error);
        let mut read = None;
        while let Some(block) = self.blocks.find(|&block| is_wanted(block)) {
            let len = self.input.reader.directory().blocks.get(block as usize).map_or(0, |meta| meta.len);
            (shared.pace)(u64::from(len))?;
            let batch = self.input.reader.read_block_with(block, builder).map_err(|error| failed(error.into()))?;
            if hours(block) & !self.slice == 0 && hidden(block).is_none() {
                read = Some(batch);
                break;
            }
            let is_wanted = |row: usize| {
                self.slice >> hour(shared.day, batch.timestamp(row)) & 1 != 0
                    && !hidden(block).is_some_and(|hidden| hidden.contains(row))
            };
            // What is not wanted must not stay in memory as long as what is.
            read = select(&batch, &is_wanted, builder).map_err(|error| failed(Error::internal(error)))?;
            if read.is_some() {
                break;
            }
            if hidden(block).is_none() {
                return Err(failed(Error::internal("the block has no record of an hour that it should have")));
            }
        }
        let Some(batch) = read else { return Ok(None) };
        let overhead = row_overhead(&batch);
        let keys = self.keys(&batch, shared).map_err(failed)?;
        Ok(Some(Loaded { batch: Arc::new(batch), keys, overhead }))
    }

    /// The keys of the rows, which must be in order.
    fn keys(&mut self, batch: &Batch, shared: &Shared<'_>) -> Result<Vec<Key>, Error> {
        let rank = |id: usize| shared.ranks.get(batch.stream(id).as_bytes()).copied();
        let ranks: Option<Vec<u32>> = (0..batch.stream_count()).map(rank).collect();
        let ranks = ranks.ok_or_else(|| Error::corrupt("a stream is not in the directory"))?;
        let keys: Vec<Key> =
            batch.timestamps().enumerate().map(|(row, timestamp)| (ranks[batch.stream_id(row)], timestamp)).collect();
        let follows = self.last.is_none_or(|last| keys.first().is_none_or(|&first| last <= first));
        if !follows || !keys.is_sorted() {
            return Err(Error::corrupt("the records are not in order"));
        }
        self.last = keys.last().copied().or(self.last);
        Ok(keys)
    }
}

/// Copies the wanted rows of a batch; `None` if there are none.
fn select(
    batch: &Batch,
    is_wanted: &dyn Fn(usize) -> bool,
    builder: &mut BatchBuilder,
) -> Result<Option<Batch>, String> {
    builder.clear();
    copy(batch, is_wanted, builder).map_err(|error| error.to_string())?;
    Ok(builder.finish())
}

fn copy(batch: &Batch, is_wanted: &dyn Fn(usize) -> bool, builder: &mut BatchBuilder) -> Result<(), BuildError> {
    let mut labels = Vec::new();
    // The next value of each field that not every record has.
    let mut next = vec![0; batch.field_count()];
    for row in 0..batch.rows() {
        let is_wanted = is_wanted(row);
        for (field, next) in batch.fields().zip(&mut next) {
            if *next < field.len() && field.row(*next) == row {
                if is_wanted {
                    let value = field.value(*next);
                    builder.field(field.name(), value.kind, value.text)?;
                }
                *next += 1;
            }
        }
        if is_wanted {
            let stream = batch.stream(batch.stream_id(row));
            labels.clear();
            labels.extend(stream.labels());
            let stream = builder.stream(stream.service(), &labels)?;
            let level = builder.level_of(batch.level(batch.level_id(row)))?;
            builder.finish_row(batch.timestamp(row), stream, level, batch.message(row))?;
        }
    }
    Ok(())
}
