//! Reads everything that a storage shows, and checks what must hold of it by itself.

use crate::model::{Arrivals, Contents};
use crate::records::{arrivals, lines};
use std::collections::BTreeMap;
use std::sync::Arc;
use timberlog_filter::{BatchColumns, evaluate};
use timberlog_storage::manifest::LevelCounts;
use timberlog_storage::{Hide, Segment, Snapshot, Storage};
use timberlog_types::{Batch, Day, Result, RowSet, Seq, Tenant};

/// What a storage shows: the records of each tenant.
#[derive(Default)]
pub struct Shown {
    pub contents: Contents,
    /// The records that are equal in time and stream, in the order in which they are shown.
    pub arrivals: Arrivals,
    /// What must hold of any storage and does not.
    pub wrong: Option<String>,
    /// An index that cannot be used: slow, but not wrong, if a read failed.
    pub index_damage: Option<String>,
}

/// Reads every record of the given tenants. `Err` is a read that failed.
pub fn read(storage: &Storage, tenants: &[Tenant]) -> Result<Shown> {
    let mut shown = Shown::default();
    let (mut buffered, mut stored) = (0, 0);
    for tenant in tenants {
        let (in_buffer, in_segments) = read_snapshot(tenant, &storage.snapshot(tenant), &mut shown)?;
        buffered += in_buffer;
        stored += in_segments;
    }
    let stats = storage.stats();
    let counted = (stats.buffer_records, stats.segment_records);
    if counted != (buffered, stored) {
        let wrong =
            format!("statistics say {counted:?} records in buffer and segments, there are {buffered}, {stored}");
        shown.wrong.get_or_insert(wrong);
    }
    if stats.flushed_seq > stats.visible_seq || stats.flushed_seq > stats.synced_seq {
        let (flushed, visible, synced) = (stats.flushed_seq, stats.visible_seq, stats.synced_seq);
        shown.wrong.get_or_insert(format!("{flushed} is flushed, {visible} visible, {synced} synced"));
    }
    Ok(shown)
}

/// Reads what a snapshot shows; returns the number of records in buffer and segments, hidden or not.
pub fn read_snapshot(tenant: &Tenant, snapshot: &Snapshot, shown: &mut Shown) -> Result<(u64, u64)> {
    let (mut buffered, mut stored) = (0, 0);
    let mut records = Vec::new();
    let start = snapshot.hidden.start();
    let mut note = |batch: &Batch, hides: &mut dyn Iterator<Item = &Arc<Hide>>, records: &mut Vec<String>| {
        let mut hidden = RowSet::from_fn(batch.rows(), |row| batch.timestamp(row) < start);
        for hide in hides {
            let within = RowSet::from_fn(batch.rows(), |row| hide.range.contains(batch.timestamp(row)));
            hidden.union(&evaluate(&hide.filter, &BatchColumns::new(batch), within)?);
        }
        let is_shown = |row: &usize| !hidden.contains(*row);
        records.extend(lines(batch).enumerate().filter(|(row, _)| is_shown(row)).map(|(_, line)| line));
        for (_, (place, arrival)) in arrivals(batch).enumerate().filter(|(row, _)| is_shown(row)) {
            shown.arrivals.entry((tenant.clone(), place)).or_default().push(arrival);
        }
        Ok(())
    };
    for segment in snapshot.segments.iter() {
        let mut note = |batch: &Batch| note(batch, &mut snapshot.hidden.of_segment(&segment.entry), &mut records);
        let wrong = read_segment(segment, &mut note, &mut shown.index_damage)?;
        stored += segment.entry.rows;
        shown.wrong = shown.wrong.take().or(wrong);
    }
    for batch in &snapshot.batches {
        note(&batch.batch, &mut snapshot.hidden.of_batch(batch), &mut records)?;
        buffered += batch.batch.rows() as u64;
    }
    shown.wrong = shown.wrong.take().or(sequences(snapshot));
    shown.contents.insert(tenant.clone(), records);
    Ok((buffered, stored))
}

/// Reads the blocks of a segment; returns where its manifest entry is wrong.
fn read_segment(
    segment: &Segment,
    note: &mut impl FnMut(&Batch) -> Result<()>,
    index_damage: &mut Option<String>,
) -> Result<Option<String>> {
    let (entry, mut rows) = (&segment.entry, 0);
    let files = segment.open()?;
    if let Some(Err(error)) = &files.index {
        *index_damage = Some(error.to_string());
    }
    let mut wrong = None;
    let (mut levels, mut services) = (LevelCounts::default(), BTreeMap::new());
    for block in &files.reader.directory().blocks {
        let batch = files.reader.read_block_as_batch(block.number).map_err(timberlog_types::Error::from)?;
        if batch.timestamps().any(|time| !entry.range.contains(time) || Day::of(time) != segment.day) {
            wrong = Some(format!("segment {} has records outside of its time range", entry.id));
        }
        if batch.timestamps().any(|time| !block.range.contains(time)) {
            wrong =
                Some(format!("block {} of segment {} has records outside of its time range", block.number, entry.id));
        }
        for row in 0..batch.rows() {
            levels.add(batch.level(batch.level_id(row)).level, 1);
            *services.entry(batch.stream(batch.stream_id(row)).service().to_owned()).or_default() += 1;
        }
        rows += batch.rows() as u64;
        note(&batch)?;
    }
    if rows != entry.rows {
        wrong = Some(format!("segment {} does not have {} records", entry.id, entry.rows));
    }
    if entry.levels != levels || entry.services != Some(services) {
        wrong = Some(format!("segment {} counts its levels or services wrong", entry.id));
    }
    Ok(wrong)
}

/// Segments of a partition, and then the buffer, have sequence numbers one after the other.
fn sequences(snapshot: &Snapshot) -> Option<String> {
    let mut last_of: BTreeMap<Day, Seq> = BTreeMap::new();
    for segment in snapshot.segments.iter() {
        let (first, last) = (segment.entry.seq_min, segment.entry.seq_max);
        let before = last_of.insert(segment.day, last).unwrap_or(0);
        if first <= before || last < first {
            return Some(format!("segment {} has {first} to {last}, behind {before}", segment.entry.id));
        }
    }
    let mut before = last_of.into_values().max().unwrap_or(0);
    for batch in &snapshot.batches {
        if batch.seq_min <= before || batch.seq_max < batch.seq_min {
            return Some(format!("buffer has {} to {}, behind {before}", batch.seq_min, batch.seq_max));
        }
        before = batch.seq_max;
    }
    None
}
