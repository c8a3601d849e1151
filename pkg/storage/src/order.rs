//! The order of rows in a segment: (time slice, service, stream, timestamp), equal rows in order of
//! arrival; and the cut into blocks.
//!
//! A slice is one or several hours of the day: at most one hour where there is enough text, at
//! least a block. So rows of one stream stand together and compress, and "the newest 100" still
//! touches only the blocks of the last slice.

use std::cmp::Ordering;
use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;
use timberlog_segment::RowRef;
use timberlog_types::stream::StreamRef;
use timberlog_types::time::HOUR_NS;
use timberlog_types::{Batch, Day};

/// Hours of a day.
pub(crate) const HOURS: usize = 24;
/// Buckets (slice × stream) that are sorted by counting; above, by comparison.
const COUNTED_BUCKETS_MAX: usize = 1 << 20;

/// The rows of one partition in their final order, cut into blocks.
pub(crate) struct Ordered {
    pub(crate) rows: Vec<RowRef>,
    pub(crate) blocks: Vec<Range<usize>>,
}

#[derive(Clone, Copy)]
struct Row {
    timestamp: i64,
    row: RowRef,
}

/// Orders `rows`, given in order of arrival, of one day.
pub(crate) fn order(batches: &[Arc<Batch>], rows: &[RowRef], day: Day, block_bytes: usize) -> Ordered {
    let ranks = stream_ranks(batches);
    let overheads: Vec<usize> = batches.iter().map(|batch| row_overhead(batch)).collect();
    let raw = |row: RowRef| {
        let batch = row.batch as usize;
        batches[batch].message(row.row as usize).len() + overheads[batch]
    };
    let mut hour_bytes = [0_usize; HOURS];
    for &row in rows {
        hour_bytes[hour(day, batches[row.batch as usize].timestamp(row.row as usize))] += raw(row);
    }
    let slices = slices(&hour_bytes, block_bytes);
    let streams = ranks.count.max(1);
    let bucket = |row: RowRef, timestamp: i64| {
        let batch = row.batch as usize;
        let rank = ranks.of[batch][batches[batch].stream_id(row.row as usize)] as usize;
        slices.of_hour[hour(day, timestamp)] * streams + rank
    };
    let (sorted, slice_ends) = sort(batches, rows, slices.count, streams, bucket);
    let mut blocks = Vec::new();
    let mut from = 0;
    for end in slice_ends {
        cut(&sorted[from..end], from, block_bytes, &raw, &mut blocks);
        from = end;
    }
    Ordered { rows: sorted, blocks }
}

/// The order of streams: by service, then by labels.
pub(crate) fn compare(a: StreamRef<'_>, b: StreamRef<'_>) -> Ordering {
    a.service().cmp(b.service()).then_with(|| a.labels().cmp(b.labels()))
}

/// The hour of the day of a timestamp; the nearest one of that day if it is on another.
pub(crate) fn hour(day: Day, timestamp: i64) -> usize {
    (timestamp.saturating_sub(day.range().start) / HOUR_NS).clamp(0, HOURS as i64 - 1) as usize
}

/// How many bytes a block of a slice of `bytes` has, for blocks of nearly equal size.
pub(crate) fn block_target(bytes: usize, block_bytes: usize) -> usize {
    let count = bytes.saturating_add(block_bytes / 2) / block_bytes.max(1);
    bytes.div_ceil(count.max(1)).max(1)
}

/// Bytes of field text a row has on average beside its message.
pub(crate) fn row_overhead(batch: &Batch) -> usize {
    let fields: usize = batch.fields().map(|field| field.text_bytes()).sum();
    fields / batch.rows().max(1)
}

struct Ranks {
    /// Per batch: the rank of each of its streams in the order of (service, labels).
    of: Vec<Vec<u32>>,
    count: usize,
}

fn stream_ranks(batches: &[Arc<Batch>]) -> Ranks {
    let mut ids: HashMap<&[u8], u32> = HashMap::new();
    let mut of: Vec<Vec<u32>> = Vec::with_capacity(batches.len());
    for batch in batches {
        let stream = |id| {
            let next = ids.len() as u32;
            *ids.entry(batch.stream(id).as_bytes()).or_insert(next)
        };
        of.push((0..batch.stream_count()).map(stream).collect());
    }
    let mut streams: Vec<(&[u8], u32)> = ids.into_iter().collect();
    streams.sort_unstable_by(|(a, _), (b, _)| compare(StreamRef::parse_unchecked(a), StreamRef::parse_unchecked(b)));
    let mut rank_of_id = vec![0; streams.len()];
    for (rank, &(_, id)) in streams.iter().enumerate() {
        rank_of_id[id as usize] = rank as u32;
    }
    of.iter_mut().flatten().for_each(|id| *id = rank_of_id[*id as usize]);
    Ranks { of, count: streams.len() }
}

struct Slices {
    of_hour: [usize; HOURS],
    count: usize,
}

/// Joins neighbouring hours until each slice has at least a block of text.
fn slices(hour_bytes: &[usize; HOURS], block_bytes: usize) -> Slices {
    let mut of_hour = [0; HOURS];
    let (mut slice, mut bytes) = (0, 0);
    let mut left: usize = hour_bytes.iter().sum();
    for (hour, &hour_bytes) in hour_bytes.iter().enumerate() {
        of_hour[hour] = slice;
        bytes += hour_bytes;
        left -= hour_bytes;
        if bytes >= block_bytes && left >= block_bytes {
            slice += 1;
            bytes = 0;
        }
    }
    Slices { of_hour, count: slice + 1 }
}

/// Sorts stably by (bucket, timestamp); returns the end of each slice too.
fn sort(
    batches: &[Arc<Batch>],
    rows: &[RowRef],
    slices: usize,
    streams: usize,
    bucket: impl Fn(RowRef, i64) -> usize,
) -> (Vec<RowRef>, Vec<usize>) {
    let timestamp = |row: RowRef| batches[row.batch as usize].timestamp(row.row as usize);
    let buckets = slices * streams;
    if buckets > COUNTED_BUCKETS_MAX {
        let mut keyed: Vec<(usize, Row)> = rows
            .iter()
            .map(|&row| {
                let timestamp = timestamp(row);
                (bucket(row, timestamp), Row { timestamp, row })
            })
            .collect();
        keyed.sort_by_key(|(bucket, row)| (*bucket, row.timestamp));
        let ends = (1..=slices).map(|slice| keyed.partition_point(|(bucket, _)| *bucket < slice * streams)).collect();
        return (keyed.into_iter().map(|(_, row)| row.row).collect(), ends);
    }
    let mut ends = vec![0_usize; buckets + 1];
    for &row in rows {
        ends[bucket(row, timestamp(row)) + 1] += 1;
    }
    for index in 1..ends.len() {
        ends[index] += ends[index - 1];
    }
    // `ends[b]` is where bucket b begins; after placing it is where it ends.
    let mut placed = vec![Row { timestamp: 0, row: RowRef { batch: 0, row: 0 } }; rows.len()];
    for &row in rows {
        let timestamp = timestamp(row);
        let at = &mut ends[bucket(row, timestamp)];
        placed[*at] = Row { timestamp, row };
        *at += 1;
    }
    let mut from = 0;
    for &end in &ends[..buckets] {
        placed[from..end].sort_by_key(|row| row.timestamp);
        from = end;
    }
    let slice_ends = (1..=slices).map(|slice| ends[slice * streams - 1]).collect();
    (placed.into_iter().map(|row| row.row).collect(), slice_ends)
}

/// Cuts a slice into blocks of nearly equal raw bytes, about `block_bytes` each.
fn cut(
    rows: &[RowRef],
    offset: usize,
    block_bytes: usize,
    raw: &impl Fn(RowRef) -> usize,
    blocks: &mut Vec<Range<usize>>,
) {
    let total: usize = rows.iter().map(|&row| raw(row)).sum();
    let target = block_target(total, block_bytes);
    let (mut start, mut bytes) = (0, 0);
    for (index, &row) in rows.iter().enumerate() {
        bytes += raw(row);
        if bytes >= target || index + 1 - start == BLOCK_ROWS_MAX {
            blocks.push(offset + start..offset + index + 1);
            (start, bytes) = (index + 1, 0);
        }
    }
    if start < rows.len() {
        blocks.push(offset + start..offset + rows.len());
    }
}

/// Rows of a block: records of a few bytes must not make blocks of a million rows.
pub(crate) const BLOCK_ROWS_MAX: usize = 1 << 16;

#[cfg(test)]
mod tests {
    use super::*;
    use timberlog_types::BatchBuilder;

    fn rows_of(batches: &[Arc<Batch>]) -> Vec<RowRef> {
        let rows =
            |(batch, rows): (usize, usize)| (0..rows).map(move |row| RowRef { batch: batch as u32, row: row as u32 });
        batches.iter().map(|batch| batch.rows()).enumerate().flat_map(rows).collect()
    }

    /// Every row once, sorted by (slice, service, timestamp), ties in order of arrival; whatever
    /// the number of streams, so by counting and by comparing.
    #[test]
    fn rows_are_ordered_and_cut() {
        for services in [3, 60_000] {
            let mut random = 1_u64;
            let mut next = |below: u64| {
                random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                (random >> 33) % below
            };
            let mut builder = BatchBuilder::new();
            let mut batches = Vec::new();
            for _ in 0..20 {
                for _ in 0..500 {
                    let service = format!("{:05}", next(services));
                    let stream = builder.stream(&service, &[]).unwrap();
                    let level = builder.level(None).unwrap();
                    let timestamp = next(24 * 60) as i64 * 60 * 1_000_000_000;
                    builder.finish_row(timestamp, stream, level, &[b'x'; 100]).unwrap();
                }
                batches.push(Arc::new(builder.finish().unwrap()));
            }
            let rows = rows_of(&batches);
            let ordered = order(&batches, &rows, Day(0), 10_000);
            assert_eq!(ordered.blocks.iter().map(|block| block.len()).sum::<usize>(), rows.len());
            let mut sorted = ordered.rows.clone();
            sorted.sort_by_key(|row| (row.batch, row.row));
            assert_eq!(sorted, rows);
            let key = |row: &RowRef| {
                let batch = &batches[row.batch as usize];
                let timestamp = batch.timestamp(row.row as usize);
                let service = batch.stream(batch.stream_id(row.row as usize)).service().to_owned();
                (timestamp / HOUR_NS, service, timestamp, row.batch, row.row)
            };
            let mut last_slice_start = 0;
            for block in &ordered.blocks {
                let keys: Vec<_> = ordered.rows[block.clone()].iter().map(key).collect();
                assert!(keys.is_sorted_by_key(|key| (&key.1, key.2, key.3, key.4)));
                let hours: Vec<_> = keys.iter().map(|key| key.0).collect();
                assert!(hours.iter().all(|&hour| hour >= last_slice_start));
                last_slice_start = *hours.iter().min().unwrap();
                assert!((50..=160).contains(&block.len()), "{}", block.len());
            }
        }
    }
}
