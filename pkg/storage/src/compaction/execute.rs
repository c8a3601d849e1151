//! Runs a job: its inputs become one new segment, complete and durable, that no manifest names yet.
//!
//! Memory: a decoded block of each run, one more of each that rows still wait in, and the block
//! that is written: (2 × runs + 2) decoded blocks, with at most 2 runs of each input; token filters
//! (2 to 3 % of the text) and entries of user-defined indexes of one segment; the inputs' footers.

use super::Compacted;
use super::inputs::{Failed, Inputs};
use super::merge::{self, Cut, Places, Usage};
use super::plan::{Job, Tier};
use super::run::{Run, Shared};
use super::slices::{overlap, slices};
use crate::build::{IndexedFields, SegmentBuild};
use crate::manifest::{Edit, SegmentEntry};
use crate::options::Options;
use crate::order::block_target;
use std::sync::Arc;
use timberlog_disk::Env;
use timberlog_segment::RowRef;
use timberlog_types::{Batch, Error, Result};

/// Merges the inputs of a job. `files` is told each file before it is made, relative to the data
/// directory. `pace` is told bytes before they are read or written; it may wait, and its error ends
/// the job.
pub(crate) fn run(
    env: &Env,
    options: &Options,
    job: &Job,
    pace: &dyn Fn(u64) -> Result<()>,
    files: &mut Vec<String>,
) -> Result<(Edit, Compacted), Failed> {
    let inputs = Inputs::open(env, &options.data_dir, job)?;
    let (entry, usage) = merge(env, options, job, &inputs, pace, files)?;
    let expected: u64 = job.inputs.iter().map(|input| input.rows).sum();
    if entry.rows != expected {
        let message = format!("compaction made {} records of {expected}; nothing has changed", entry.rows);
        return Err(Error::internal(message).into());
    }
    let bytes = |entry: &SegmentEntry| entry.files().map(|file| file.len).sum::<u64>();
    let compacted = Compacted {
        segments: job.inputs.len() as u64,
        rows_removed: 0,
        records: expected,
        bytes_read: job.inputs.iter().map(|input| bytes(input)).sum(),
        bytes_written: bytes(&entry),
        memory_bytes_peak: usage.bytes_peak,
        block_memory_bytes_max: usage.block_bytes_max,
        runs_max: usage.runs_max,
    };
    Ok((edit(job, entry), compacted))
}

/// Writes what is left of opened inputs as one segment.
pub(super) fn merge(
    env: &Env,
    options: &Options,
    job: &Job,
    inputs: &Inputs,
    pace: &dyn Fn(u64) -> Result<()>,
    files: &mut Vec<String>,
) -> Result<(SegmentEntry, Usage), Failed> {
    let (Some(first), Some(last)) = (job.inputs.first(), job.inputs.last()) else {
        return Err(Error::internal("a compaction without inputs").into());
    };
    let shared = Shared { day: job.day, ranks: inputs.ranks(), pace };
    let zstd_level = match job.tier {
        Tier::Middle => options.zstd_level,
        Tier::Last => options.compaction.zstd_level.max(options.zstd_level),
    };
    let mut build = SegmentBuild::new(env, options, &job.tenant, job.day, zstd_level, files)?;
    let mut places = Places::default();
    let empty = Arc::new(empty_batch()?);
    let mut write = |batches: &[Arc<Batch>], rows: &[RowRef]| -> Result<(), Failed> {
        let bytes = build.block(batches, rows, &IndexedFields::new(&options.user_indexes, batches))?;
        Ok(pace(bytes)?)
    };
    for slice in slices(inputs, options.block_bytes) {
        let bytes = slice.clone().fold(0_usize, |sum, hour| sum.saturating_add(inputs.hour_bytes[hour]));
        let mut runs = Vec::new();
        for input in &inputs.inputs {
            let groups = input.groups.iter().filter(|group| overlap(&group.hours, &slice));
            runs.extend(groups.map(|group| Run::new(input, group, &slice)));
        }
        let mut cut = Cut { target: block_target(bytes, options.block_bytes), empty: &empty, write: &mut write };
        merge::merge(runs, &shared, &mut places, &mut cut)?;
    }
    pace(0)?;
    let entry = build.finish((first.seq_min, last.seq_max))?;
    let purged_seq = job.inputs.iter().map(|input| input.purged_seq).min().unwrap_or(0);
    let entry = SegmentEntry { purged_seq, ..entry };
    Ok((entry, places.usage))
}

fn edit(job: &Job, entry: SegmentEntry) -> Edit {
    let remove = job.inputs.iter().map(|input| (job.tenant.clone(), job.day, input.id.clone()));
    Edit::merge(remove.collect(), (job.tenant.clone(), job.day, entry))
}

/// Stands where a batch was that is not needed any more.
fn empty_batch() -> Result<Batch> {
    Batch::decode(vec![0; 16].into_boxed_slice()).map_err(|error| Error::internal(error.to_string()))
}
