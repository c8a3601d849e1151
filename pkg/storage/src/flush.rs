//! A flush: one frozen generation of the buffer becomes segments, and one manifest commit.
//!
//!     generation → per tenant and day: order rows → blocks + token filters → .log
//!                                                 → B+trees               → .redb → entries → edit
//!
//! Files are written here, and then fsynced, many together: a file system with a journal commits it
//! once for all of them. They do not exist for anyone until the caller commits the edit. A flush that
//! fails leaves files that no manifest names: the caller removes them, or the next start.

use crate::buffer::Generation;
use crate::build::{IndexedFields, NotDurable, SegmentBuild};
use crate::manifest::{SegmentEntry, segment_folder};
use crate::options::Options;
use crate::order::order;
use crate::snapshot::BufferedBatch;
use std::collections::BTreeMap;
use std::sync::Arc;
use timberlog_disk::Env;
use timberlog_segment::RowRef;
use timberlog_types::{Batch, Day, Error, Result, Seq, Tenant};

/// Files that are written before they are synced together. They are open meanwhile.
const FILES_AT_ONCE: usize = 32;

/// A new segment, written and fsynced.
pub(crate) struct NewSegment {
    pub(crate) tenant: Tenant,
    pub(crate) day: Day,
    pub(crate) entry: SegmentEntry,
}

/// Writes the segments of a generation. `files` is told each file before it is made.
pub(crate) fn write(
    env: &Env,
    options: &Options,
    generation: &Generation,
    files: &mut Vec<String>,
) -> Result<Vec<NewSegment>> {
    let mut tenants: Vec<_> = generation.tenants.iter().collect();
    // The order of a hash map is not reproducible, that of file operations must be.
    tenants.sort_unstable_by_key(|(tenant, _)| *tenant);
    let tenants: Vec<_> =
        tenants.into_iter().map(|(tenant, buffered)| (tenant, buffered, split_by_day(buffered))).collect();
    let days = tenants.iter().flat_map(|(tenant, _, days)| days.keys().map(move |&day| (*tenant, day)));
    let folders: Vec<_> = days.map(|(tenant, day)| options.data_dir.join(segment_folder(tenant, day))).collect();
    env.disk.create_dirs(&folders).map_err(|error| Error::io("create the folders of segments", &error))?;
    let (mut segments, mut written) = (Vec::with_capacity(folders.len()), NotDurable::default());
    for (tenant, buffered, days) in tenants {
        let batches: Vec<Arc<Batch>> = buffered.iter().map(|batch| Arc::clone(&batch.batch)).collect();
        let fields = IndexedFields::new(&options.user_indexes, &batches);
        for (day, rows) in days {
            let ordered = order(&batches, &rows, day, options.block_bytes);
            let mut build = SegmentBuild::new(env, options, tenant, day, options.zstd_level, files)?;
            build.blocks(&batches, &ordered.rows, &ordered.blocks, &fields, options.flush_threads)?;
            let entry = build.finish_later(seq_range(buffered, &rows), &mut written)?;
            segments.push(NewSegment { tenant: tenant.clone(), day, entry });
            if written.files() >= FILES_AT_ONCE {
                written.make_durable(env)?;
            }
        }
    }
    written.make_durable(env)?;
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

/// From the first to the last sequence number that the rows can have.
fn seq_range(batches: &[Arc<BufferedBatch>], rows: &[RowRef]) -> (Seq, Seq) {
    let of = |row: Option<&RowRef>| row.and_then(|row| batches.get(row.batch as usize));
    (of(rows.first()).map_or(0, |batch| batch.seq_min), of(rows.last()).map_or(0, |batch| batch.seq_max))
}
