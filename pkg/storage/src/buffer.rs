//! The memory buffer: published batches that no segment holds yet.
//!
//! Batches are appended in order of sequence. A *generation* is what one flush takes: the active
//! one grows, a frozen one waits for its flush and stays readable until the commit. Runs of small
//! batches are merged, so that a million single-record requests are not a million batches to scan;
//! a record is copied at most twice by that.

use crate::snapshot::BufferedBatch;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use timberlog_types::batch::BATCH_FIELDS_MAX;
use timberlog_types::{Batch, BatchBuilder, Day, Seq, Tenant, TimeRange};

/// A run of this many batches of one size class becomes one batch of the next.
const MERGE_RUN: usize = 32;
/// Upper ends, in bytes, of the size classes that are merged.
const MERGE_CLASSES: [usize; 2] = [4 << 10, 64 << 10];
/// Cells, rows times fields, that a merge looks at: it goes on while nothing can be read or
/// published, and hostile batches have thousands of both.
const MERGE_CELLS_MAX: usize = 1 << 18;

/// What one flush takes.
#[derive(Default)]
pub(crate) struct Generation {
    pub(crate) tenants: HashMap<Tenant, Vec<Arc<BufferedBatch>>>,
    /// Distinct partitions.
    partitions: HashSet<(Tenant, Day)>,
    /// Bytes of memory held by the batches.
    pub(crate) bytes: usize,
    pub(crate) rows: u64,
    /// The last sequence number in it; 0 if it is empty.
    pub(crate) seq_max: Seq,
    /// When the first batch came, in monotonic ns.
    pub(crate) since_ns: Option<u64>,
}

impl BufferedBatch {
    /// A batch with its sequence number.
    pub fn new(seq: Seq, batch: Arc<Batch>) -> Self {
        let range = time_range(&batch);
        Self { seq_min: seq, seq_max: seq, range, batch }
    }
}

fn time_range(batch: &Batch) -> TimeRange {
    let (start, end) = batch
        .timestamps()
        .fold((i64::MAX, i64::MIN), |(start, end), timestamp| (start.min(timestamp), end.max(timestamp)));
    TimeRange { start, end }
}

/// The distinct days of a batch's records.
fn days(batch: &BufferedBatch) -> Vec<Day> {
    let (first, last) = (Day::of(batch.range.start), Day::of(batch.range.end));
    if first == last {
        return vec![first];
    }
    let mut days: Vec<Day> = batch.batch.timestamps().map(Day::of).collect();
    days.sort_unstable();
    days.dedup();
    days
}

impl Generation {
    pub(crate) fn is_empty(&self) -> bool {
        self.rows == 0
    }

    /// How many partitions there would be with this batch.
    pub(crate) fn partitions_with(&self, tenant: &Tenant, batch: &BufferedBatch) -> usize {
        let new = days(batch).into_iter().filter(|&day| !self.partitions.contains(&(tenant.clone(), day))).count();
        self.partitions.len() + new
    }

    /// Appends a batch; returns the bytes of memory that merging has saved.
    pub(crate) fn push(
        &mut self,
        tenant: &Tenant,
        batch: Arc<BufferedBatch>,
        now_ns: u64,
        merger: &mut BatchBuilder,
    ) -> usize {
        for day in days(&batch) {
            if !self.partitions.contains(&(tenant.clone(), day)) {
                self.partitions.insert((tenant.clone(), day));
            }
        }
        self.bytes += batch.batch.memory_bytes();
        self.rows += batch.batch.rows() as u64;
        self.seq_max = batch.seq_max;
        self.since_ns.get_or_insert(now_ns);
        let batches = match self.tenants.get_mut(tenant) {
            Some(batches) => batches,
            None => self.tenants.entry(tenant.clone()).or_default(),
        };
        batches.push(batch);
        let mut saved = 0;
        for class_bytes in MERGE_CLASSES {
            saved += merge_tail(batches, class_bytes, merger);
        }
        self.bytes -= saved;
        saved
    }
}

/// Merges the last [`MERGE_RUN`] batches if all are of at most `class_bytes` and it is cheap.
fn merge_tail(batches: &mut Vec<Arc<BufferedBatch>>, class_bytes: usize, merger: &mut BatchBuilder) -> usize {
    let Some(start) = batches.len().checked_sub(MERGE_RUN) else { return 0 };
    let run = &batches[start..];
    if run.iter().any(|batch| batch.batch.as_bytes().len() > class_bytes) {
        return 0;
    }
    let cells: usize = run.iter().map(|batch| batch.batch.rows() * batch.batch.field_count()).sum();
    let fields: usize = run.iter().map(|batch| batch.batch.field_count()).sum();
    if cells > MERGE_CELLS_MAX || fields > BATCH_FIELDS_MAX {
        return 0;
    }
    let before: usize = run.iter().map(|batch| batch.batch.memory_bytes()).sum();
    let Some(merged) = merge(run, merger) else { return 0 };
    let after = merged.batch.memory_bytes();
    batches.truncate(start);
    batches.push(Arc::new(merged));
    before.saturating_sub(after)
}

fn merge(run: &[Arc<BufferedBatch>], merger: &mut BatchBuilder) -> Option<BufferedBatch> {
    merger.clear();
    for batch in run {
        if append(&batch.batch, merger).is_err() {
            merger.clear();
            return None;
        }
    }
    let (first, last) = (run.first()?, run.last()?);
    let range = run.iter().fold(first.range, |range, batch| TimeRange {
        start: range.start.min(batch.range.start),
        end: range.end.max(batch.range.end),
    });
    let batch = Arc::new(merger.finish()?);
    Some(BufferedBatch { seq_min: first.seq_min, seq_max: last.seq_max, range, batch })
}

/// Copies the records of a batch behind those of a builder.
fn append(batch: &Batch, builder: &mut BatchBuilder) -> Result<(), timberlog_types::batch::BuildError> {
    let mut streams = Vec::with_capacity(batch.stream_count());
    for id in 0..batch.stream_count() {
        let stream = batch.stream(id);
        let labels: Vec<(&str, &str)> = stream.labels().collect();
        streams.push(builder.stream(stream.service(), &labels)?);
    }
    let mut levels = Vec::with_capacity(batch.level_count());
    for id in 0..batch.level_count() {
        levels.push(builder.level_of(batch.level(id))?);
    }
    for row in 0..batch.rows() {
        for field in batch.fields() {
            if let Some(value) = field.get(row) {
                builder.field(field.name(), value.kind, value.text)?;
            }
        }
        let (stream, level) = (streams[batch.stream_id(row)], levels[batch.level_id(row)]);
        builder.finish_row(batch.timestamp(row), stream, level, batch.message(row))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use timberlog_types::ValueKind;

    fn single(seq: Seq) -> Arc<BufferedBatch> {
        let mut builder = BatchBuilder::new();
        let name = format!("s{}", seq % 3);
        let stream = builder.stream(&name, &[("service", &name)]).unwrap();
        let level = builder.level(Some("info")).unwrap();
        builder.field("n", ValueKind::Number, seq.to_string().as_bytes()).unwrap();
        builder.finish_row(seq as i64, stream, level, format!("message {seq}").as_bytes()).unwrap();
        Arc::new(BufferedBatch::new(seq, Arc::new(builder.finish().unwrap())))
    }

    /// Batches of many rows and sparse fields are small and dear to merge: they stay as they are.
    #[test]
    fn batches_of_many_fields_are_not_merged() {
        let mut builder = BatchBuilder::new();
        let mut generation = Generation::default();
        for seq in 1..=200 {
            for row in 0..900_u32 {
                let stream = builder.stream("s", &[]).unwrap();
                let level = builder.level(None).unwrap();
                builder.field(&format!("f{}", (row + seq * 450) % 1800), ValueKind::Number, b"1").unwrap();
                builder.finish_row(0, stream, level, b"").unwrap();
            }
            let batch = builder.finish().unwrap();
            assert!(batch.as_bytes().len() < MERGE_CLASSES[1]);
            let batch = Arc::new(BufferedBatch::new(u64::from(seq), Arc::new(batch)));
            generation.push(&Tenant::default(), batch, 0, &mut BatchBuilder::new());
        }
        assert_eq!(generation.tenants[&Tenant::default()].len(), 200);
    }

    #[test]
    fn small_batches_are_merged_and_keep_their_order() {
        let mut generation = Generation::default();
        let mut merger = BatchBuilder::new();
        let tenant = Tenant::default();
        for seq in 1..=5_000 {
            generation.push(&tenant, single(seq), 0, &mut merger);
        }
        let batches = &generation.tenants[&tenant];
        assert!(batches.len() < 100, "{}", batches.len());
        assert_eq!(generation.bytes, batches.iter().map(|batch| batch.batch.memory_bytes()).sum::<usize>());
        let mut seq = 0;
        for batch in batches {
            assert_eq!(batch.seq_min, seq + 1);
            for row in 0..batch.batch.rows() {
                seq += 1;
                assert_eq!(batch.batch.message(row), format!("message {seq}").as_bytes());
                assert_eq!(batch.batch.timestamp(row), seq as i64);
                assert_eq!(batch.batch.stream(batch.batch.stream_id(row)).service(), format!("s{}", seq % 3));
                assert_eq!(batch.batch.field("n").unwrap().get(row).unwrap().text, seq.to_string().as_bytes());
            }
            assert_eq!(batch.seq_max, seq);
            assert_eq!(batch.range, TimeRange { start: batch.seq_min as i64, end: seq as i64 });
        }
        assert_eq!((seq, generation.rows, generation.seq_max), (5_000, 5_000, 5_000));
    }
}
