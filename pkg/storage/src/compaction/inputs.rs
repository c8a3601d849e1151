//! The inputs of a job: opened segments, where each hour of the day stands in them, and one order
//! of the streams of all.
//!
//! A segment is a row of *groups* of blocks: each group is sorted by (service, stream, timestamp),
//! and its hours are all behind those of the group before. A group is a time slice, or a part of
//! one.

use super::plan::Job;
use crate::manifest::SegmentEntry;
use crate::order::{HOURS, hour};
use std::collections::HashMap;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;
use timberlog_disk::{Env, Open};
use timberlog_segment::{Column, ColumnKey, SegmentReader};
use timberlog_types::stream::StreamRef;
use timberlog_types::{Day, Error, Result, RowSet};

/// Why a job failed.
#[derive(Debug)]
pub(crate) struct Failed {
    /// The segment that could not be read, if it was one of the inputs.
    pub(crate) input: Option<String>,
    pub(crate) error: Error,
}

impl From<Error> for Failed {
    fn from(error: Error) -> Self {
        Self { input: None, error }
    }
}

impl Failed {
    /// A failure that is an input's.
    pub(super) fn of(entry: &SegmentEntry, error: impl Into<Error>) -> Self {
        let error = error.into().context(format!("segment `{}`", entry.id));
        Self { input: Some(entry.id.clone()), error }
    }
}

/// Hours of a day, one bit each.
pub(super) type HourSet = u32;

/// An opened segment.
pub(super) struct Input {
    pub(super) entry: Arc<SegmentEntry>,
    pub(super) reader: SegmentReader,
    /// The hours of the rows of each block.
    pub(super) hours: Vec<HourSet>,
    pub(super) groups: Vec<Group>,
    /// Rows that are left out, by block.
    pub(super) hidden: HashMap<u32, RowSet>,
}

/// Neighbouring blocks of a segment that are sorted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Group {
    pub(super) blocks: Range<u32>,
    /// The hours that its rows may be in.
    pub(super) hours: Range<usize>,
    pub(super) raw_bytes: u64,
}

/// All inputs.
pub(super) struct Inputs {
    /// In order of sequence.
    pub(super) inputs: Vec<Input>,
    /// Raw bytes of each hour, about.
    pub(super) hour_bytes: [usize; HOURS],
}

impl Inputs {
    pub(super) fn open(env: &Env, data_dir: &Path, job: &Job) -> Result<Self, Failed> {
        let mut inputs = Self { inputs: Vec::with_capacity(job.inputs.len()), hour_bytes: [0; HOURS] };
        for entry in &job.inputs {
            let reader = open(env, data_dir, entry).map_err(|error| Failed::of(entry, error))?;
            inputs.push(job.day, entry, reader, HashMap::new())?;
        }
        Ok(inputs)
    }

    /// One opened segment, without the rows that are `hidden`, by block.
    pub(super) fn of_one(
        day: Day,
        entry: &Arc<SegmentEntry>,
        reader: SegmentReader,
        hidden: HashMap<u32, RowSet>,
    ) -> Result<Self, Failed> {
        let mut inputs = Self { inputs: Vec::new(), hour_bytes: [0; HOURS] };
        inputs.push(day, entry, reader, hidden)?;
        Ok(inputs)
    }

    fn push(
        &mut self,
        day: Day,
        entry: &Arc<SegmentEntry>,
        reader: SegmentReader,
        hidden: HashMap<u32, RowSet>,
    ) -> Result<(), Failed> {
        let rows = reader.directory().rows();
        if rows != entry.rows {
            let message = format!("has {rows} records, the manifest says {}", entry.rows);
            return Err(Failed::of(entry, Error::corrupt(message)));
        }
        let hours = hours(&reader, day, &mut self.hour_bytes).map_err(|error| Failed::of(entry, error))?;
        let groups = groups(&reader, &hours);
        self.inputs.push(Input { entry: Arc::clone(entry), reader, hours, groups, hidden });
        Ok(())
    }

    /// The place of each stream, by its encoding, in the order of (service, labels).
    pub(super) fn ranks(&self) -> HashMap<&[u8], u32> {
        let all = self.inputs.iter().flat_map(|input| input.reader.directory().streams.iter());
        let mut streams: Vec<&[u8]> = all.map(|stream| stream.as_bytes()).collect();
        streams.sort_unstable();
        streams.dedup();
        streams.sort_by(|a, b| crate::order::compare(StreamRef::parse_unchecked(a), StreamRef::parse_unchecked(b)));
        // A directory has less than 2^24 streams, and a job few inputs.
        streams.into_iter().zip(0..).collect()
    }
}

/// Opens the `.log` of a segment.
fn open(env: &Env, data_dir: &Path, entry: &SegmentEntry) -> Result<SegmentReader> {
    let path = timberlog_disk::join(data_dir, &entry.log.path)
        .ok_or_else(|| Error::corrupt(format!("the path `{}` leaves the data directory", entry.log.path)))?;
    let file =
        env.disk.open(&path, Open::Read).map_err(|error| Error::io(format!("open `{}`", entry.log.path), &error))?;
    Ok(SegmentReader::open(file)?)
}

/// The hours of each block; adds its raw bytes to those of its hours.
fn hours(reader: &SegmentReader, day: Day, hour_bytes: &mut [usize; HOURS]) -> Result<Vec<HourSet>> {
    let mut hours = Vec::with_capacity(reader.directory().blocks.len());
    for block in &reader.directory().blocks {
        let (first, last) = (hour(day, block.range.start), hour(day, block.range.end));
        let raw_bytes = usize::try_from(block.raw_bytes).unwrap_or(usize::MAX);
        if first == last {
            hour_bytes[first] = hour_bytes[first].saturating_add(raw_bytes);
            hours.push(1 << first);
            continue;
        }
        let Column::Timestamps(timestamps) = reader.column(block.number, ColumnKey::Timestamp)? else {
            return Err(Error::corrupt(format!("block {}: the timestamps are of another kind", block.number)));
        };
        let mut rows = [0_usize; HOURS];
        timestamps.iter().for_each(|&timestamp| rows[hour(day, timestamp)] += 1);
        let each = raw_bytes / timestamps.len().max(1);
        let mut set = 0;
        for (hour, &rows) in rows.iter().enumerate().filter(|&(_, &rows)| rows > 0) {
            set |= 1 << hour;
            hour_bytes[hour] = hour_bytes[hour].saturating_add(rows.saturating_mul(each));
        }
        hours.push(set);
    }
    Ok(hours)
}

/// Cuts blocks where all hours before are before all hours behind.
fn groups(reader: &SegmentReader, hours: &[HourSet]) -> Vec<Group> {
    let lowest = |set: HourSet| set.trailing_zeros() as usize;
    let end = |set: HourSet| (HourSet::BITS - set.leading_zeros()) as usize;
    // The lowest hour of each block and all behind it.
    let mut behind = vec![HOURS; hours.len() + 1];
    for (at, &set) in hours.iter().enumerate().rev() {
        behind[at] = behind[at + 1].min(lowest(set));
    }
    let mut groups: Vec<Group> = Vec::new();
    let mut end_before = 0;
    for (block, &set) in reader.directory().blocks.iter().zip(hours) {
        let at = block.number as usize;
        match groups.last_mut() {
            Some(group) if behind[at] < end_before => {
                group.blocks.end = block.number + 1;
                group.hours = group.hours.start.min(lowest(set))..group.hours.end.max(end(set));
                group.raw_bytes += block.raw_bytes;
            }
            _ => groups.push(Group {
                blocks: block.number..block.number + 1,
                hours: lowest(set)..end(set),
                raw_bytes: block.raw_bytes,
            }),
        }
        end_before = end_before.max(end(set));
    }
    groups
}
