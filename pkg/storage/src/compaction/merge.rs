//! Merges the runs of one slice: rows in order of (service, stream, timestamp), equal ones in order
//! of sequence, cut into blocks.
//!
//! A run has one decoded block at a time. Rows that wait for their block to be full keep theirs:
//! at most one more of each run, and as many as a block's text fills.

use super::inputs::Failed;
use super::run::{Key, Loaded, Run, Shared};
use crate::order::BLOCK_ROWS_MAX;
use std::sync::Arc;
use timberlog_segment::RowRef;
use timberlog_types::{Batch, BatchBuilder};

/// What a merge holds in memory, in decoded blocks.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Usage {
    pub(super) bytes: u64,
    pub(super) bytes_peak: u64,
    pub(super) block_bytes_max: u64,
    pub(super) runs_max: u64,
}

/// The batches that rows refer to, at places that stay while they do.
#[derive(Default)]
pub(super) struct Places {
    pub(super) batches: Vec<Arc<Batch>>,
    bytes: Vec<usize>,
    free: Vec<u32>,
    /// Read to the end; rows that are not written yet may refer to them.
    done: Vec<u32>,
    pub(super) usage: Usage,
}

impl Places {
    fn put(&mut self, loaded: &Loaded) -> u32 {
        let bytes = loaded.memory_bytes();
        let place = self.free.pop().unwrap_or_else(|| {
            self.batches.push(Arc::clone(&loaded.batch));
            self.bytes.push(0);
            // Far less than 2^32 blocks are in memory.
            self.batches.len() as u32 - 1
        });
        self.batches[place as usize] = Arc::clone(&loaded.batch);
        self.bytes[place as usize] = bytes;
        let usage = &mut self.usage;
        usage.bytes += bytes as u64;
        usage.bytes_peak = usage.bytes_peak.max(usage.bytes);
        usage.block_bytes_max = usage.block_bytes_max.max(bytes as u64);
        place
    }

    /// Lets batches go that were read to the end: all rows that refer to them are written.
    fn let_go(&mut self, empty: &Arc<Batch>) {
        for place in self.done.drain(..) {
            self.batches[place as usize] = Arc::clone(empty);
            self.usage.bytes -= std::mem::take(&mut self.bytes[place as usize]) as u64;
            self.free.push(place);
        }
    }
}

/// A run with its block under way.
struct Open<'a> {
    run: Run<'a>,
    loaded: Loaded,
    place: u32,
    row: usize,
}

impl Open<'_> {
    fn key(&self) -> Key {
        self.loaded.keys[self.row]
    }
}

/// Takes a block: batches, and rows of them in their final order.
pub(super) type Write<'a> = dyn FnMut(&[Arc<Batch>], &[RowRef]) -> Result<(), Failed> + 'a;

/// How rows are cut into blocks.
pub(super) struct Cut<'a> {
    /// Raw bytes of a block.
    pub(super) target: usize,
    /// Stands for a batch that is not needed any more.
    pub(super) empty: &'a Arc<Batch>,
    /// Takes each block.
    pub(super) write: &'a mut Write<'a>,
}

/// Merges runs, given in order of sequence.
pub(super) fn merge(
    runs: Vec<Run<'_>>,
    shared: &Shared<'_>,
    places: &mut Places,
    cut: &mut Cut<'_>,
) -> Result<(), Failed> {
    let mut builder = BatchBuilder::new();
    let mut open = Vec::with_capacity(runs.len());
    for mut run in runs {
        if let Some(loaded) = run.next(shared, &mut builder)? {
            let place = places.put(&loaded);
            open.push(Open { run, loaded, place, row: 0 });
        }
    }
    places.usage.runs_max = places.usage.runs_max.max(open.len() as u64);
    let mut rows: Vec<RowRef> = Vec::new();
    let mut bytes = 0;
    while let Some((first, until)) = lowest(&open) {
        let Open { run, loaded, place, row } = &mut open[first];
        // Rows of this run up to the first one of another that comes before.
        while *row < loaded.keys.len() && until.is_none_or(|until| (loaded.keys[*row], first) < until) {
            // Rows of a block are counted in 32 bits.
            rows.push(RowRef { batch: *place, row: *row as u32 });
            bytes += loaded.batch.message(*row).len() + loaded.overhead;
            *row += 1;
            if bytes >= cut.target || rows.len() == BLOCK_ROWS_MAX {
                (cut.write)(&places.batches, &rows)?;
                places.let_go(cut.empty);
                rows.clear();
                bytes = 0;
            }
        }
        if *row == loaded.keys.len() {
            places.done.push(*place);
            match run.next(shared, &mut builder)? {
                Some(next) => {
                    *place = places.put(&next);
                    (*loaded, *row) = (next, 0);
                }
                None => drop(open.remove(first)),
            }
        }
    }
    if !rows.is_empty() {
        (cut.write)(&places.batches, &rows)?;
    }
    places.let_go(cut.empty);
    Ok(())
}

/// The run whose row comes first, and the key and number of the one that comes next.
fn lowest(open: &[Open<'_>]) -> Option<(usize, Option<(Key, usize)>)> {
    let mut lowest: Option<(Key, usize)> = None;
    let mut second = None;
    for candidate in open.iter().enumerate().map(|(number, run)| (run.key(), number)) {
        if lowest.is_none_or(|lowest| candidate < lowest) {
            second = lowest;
            lowest = Some(candidate);
        } else if second.is_none_or(|second| candidate < second) {
            second = Some(candidate);
        }
    }
    lowest.map(|(_, number)| (number, second))
}
