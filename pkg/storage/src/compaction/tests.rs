//! Merges held against the rows that went in, on a simulated machine.

mod reindex;

use super::*;
use crate::engine::{Storage, Subscriber};
use crate::options::Options;
use crate::order::{compare, hour};
use crate::snapshot::{BufferedBatch, Snapshot};
use crate::stats::Progress;
use std::sync::Arc;
use timberlog_disk::sim::{Rng, Sim};
use timberlog_types::stream::StreamRef;
use timberlog_types::time::HOUR_NS;
use timberlog_types::{Batch, BatchBuilder, Day, Tenant, ValueKind};

struct Nobody;

impl Subscriber for Nobody {
    fn published(&self, _: &Tenant, _: &Arc<BufferedBatch>) {}
}

const DAY: Day = Day(20_454);

fn options(block_bytes: usize) -> Options {
    let compaction = CompactionOptions {
        fan_in: 64,
        sealed_segments_max: 1,
        sealed_quiet: Duration::ZERO,
        ..CompactionOptions::default()
    };
    // A small WAL: the machine keeps every byte in memory.
    let wal_file_bytes = 64 << 10;
    Options {
        background: false,
        disk_free_bytes_min: 0,
        block_bytes,
        wal_file_bytes,
        compaction,
        ..Options::new("/data")
    }
}

fn open(sim: &Sim, options: &Options) -> Storage {
    Storage::open(options.clone(), sim.env(), Arc::new(Nobody), &Progress::default()).unwrap()
}

/// Random records of some hours; messages begin with a number that grows.
fn batch(rng: &mut Rng, number: &mut u64, rows: u64, hours: std::ops::Range<u64>) -> Batch {
    let mut builder = BatchBuilder::new();
    for _ in 0..rows {
        let hour = (hours.start + rng.below(hours.end - hours.start)) as i64;
        // Few distinct times: many records are equal in time and stream.
        let timestamp = DAY.range().start + hour * HOUR_NS + rng.below(20) as i64 * 1_000_000_000;
        let service = ["web", "db", "", "cache"][rng.below(4) as usize];
        let pod = format!("pod-{}", rng.below(3));
        let labels = [("pod", pod.as_str())];
        let stream = builder.stream(service, &labels[rng.below(2) as usize..]).unwrap();
        let level = builder.level([None, Some("info"), Some("ERROR")][rng.below(3) as usize]).unwrap();
        if rng.percent(50) {
            builder.field("trace_id", ValueKind::String, format!("{:016x}", rng.next()).as_bytes()).unwrap();
        }
        if rng.percent(10) {
            builder.field("flag", ValueKind::Bool, b"true").unwrap();
        }
        builder.field("n", ValueKind::Number, number.to_string().as_bytes()).unwrap();
        let message = format!("{number} request from 10.0.0.{} took {} ms", rng.below(9), rng.below(999));
        builder.finish_row(timestamp, stream, level, message.as_bytes()).unwrap();
        *number += 1;
    }
    builder.finish().unwrap()
}

/// The blocks of all segments.
fn blocks(snapshot: &Snapshot) -> Vec<Batch> {
    let mut blocks = Vec::new();
    for segment in snapshot.segments.iter() {
        let files = segment.open().unwrap();
        let numbers = 0..files.reader.directory().blocks.len() as u32;
        blocks.extend(numbers.map(|number| files.reader.read_block_as_batch(number).unwrap()));
    }
    blocks
}

/// A record as a line: equal lines, equal records.
fn line(batch: &Batch, row: usize) -> String {
    let stream = batch.stream(batch.stream_id(row));
    let fields = batch.fields().filter_map(|field| Some((field.name(), field.get(row)?)));
    let fields: Vec<_> = fields.map(|(name, value)| (name, value.kind, value.text.to_vec())).collect();
    let message = String::from_utf8_lossy(batch.message(row));
    format!(
        "{message} {} {:?} {:?} {fields:?}",
        batch.timestamp(row),
        stream.as_bytes(),
        batch.level(batch.level_id(row))
    )
}

fn number(batch: &Batch, row: usize) -> u64 {
    let message = std::str::from_utf8(batch.message(row)).unwrap();
    message.split(' ').next().unwrap().parse().unwrap()
}

fn lines(blocks: &[Batch]) -> Vec<String> {
    let mut lines: Vec<String> =
        blocks.iter().flat_map(|batch| (0..batch.rows()).map(|row| line(batch, row))).collect();
    lines.sort();
    lines
}

/// Rows of a slice are in order, equal ones in order of arrival; slices are whole hours, one behind
/// the other.
fn check_order(blocks: &[Batch]) {
    let mut streams: Vec<&[u8]> =
        blocks.iter().flat_map(|batch| (0..batch.stream_count()).map(|id| batch.stream(id).as_bytes())).collect();
    streams.sort_unstable();
    streams.dedup();
    streams.sort_by(|a, b| compare(StreamRef::parse_unchecked(a), StreamRef::parse_unchecked(b)));
    let key = |batch: &Batch, row: usize| {
        let stream = batch.stream(batch.stream_id(row)).as_bytes();
        let rank = streams.iter().position(|other| *other == stream).unwrap();
        (rank, batch.timestamp(row), number(batch, row))
    };
    let keys = |batch| (0..Batch::rows(batch)).map(move |row| key(batch, row));
    let keys: Vec<_> = blocks.iter().flat_map(keys).collect();
    let hours: Vec<usize> = keys.iter().map(|key| hour(DAY, key.1)).collect();
    for at in (1..keys.len()).filter(|&at| keys[at - 1] > keys[at]) {
        assert!(hours[..at].iter().max() < hours[at..].iter().min(), "{:?} {:?}", keys[at - 1], keys[at]);
    }
}

fn compact_all(storage: &Storage) -> Vec<Compacted> {
    std::iter::from_fn(|| storage.compact().unwrap()).collect()
}

#[test]
fn a_merge_has_all_rows_in_order() {
    let mut merged_whole = 0;
    for seed in 0..12 {
        let mut rng = Rng::new(seed);
        let sim = Sim::new(seed);
        let options = options(1_000 << rng.below(5));
        let storage = open(&sim, &options);
        let tenant = Tenant::default();
        let mut number = 0;
        let segments = 3 + rng.below(10);
        for segment in 0..segments {
            let first = if rng.percent(50) { segment } else { rng.below(24) }.min(23);
            let hours = first..(first + 1 + rng.below(4)).min(24);
            let rows = 1 + rng.below(80);
            storage.append(&tenant, batch(&mut rng, &mut number, rows, hours), None).unwrap();
            storage.flush().unwrap();
        }
        let before = storage.snapshot(&tenant);
        let before_lines = lines(&blocks(&before));
        // Made of wall-clock time, the day is over now.
        sim.clock.set_wall(DAY.range().end + 1_000_000_000);
        let done = compact_all(&storage);
        let after = storage.snapshot(&tenant);
        merged_whole += u64::from(after.segments.len() == 1);
        let after_blocks = blocks(&after);
        assert_eq!(lines(&after_blocks), before_lines, "seed {seed}");
        if after.segments.len() == 1 {
            check_order(&after_blocks);
        }
        for one in &done {
            let bound = (2 * one.runs_max + 2) * one.block_memory_bytes_max;
            assert!(one.runs_max <= 2 * one.segments, "seed {seed}: {one:?}");
            assert!(one.memory_bytes_peak <= bound, "seed {seed}: {one:?}, bound {bound}");
        }
        assert_eq!(lines(&blocks(&before)), before_lines, "seed {seed}: a snapshot goes on reading");
        drop((before, after));
        storage.close().unwrap();
        drop(storage);
        let report = crate::verify::verify(&sim.env(), std::path::Path::new("/data"), &|_, _| {}).unwrap();
        assert_eq!(report.damage, Vec::<String>::new(), "seed {seed}");
    }
    assert!(merged_whole >= 6, "{merged_whole}");
}

/// A storage with six segments, and what is in it.
fn six(sim: &Sim, options: &Options) -> (Storage, Vec<String>) {
    let mut rng = Rng::new(7);
    let storage = open(sim, options);
    let mut number = 0;
    for _ in 0..6 {
        storage.append(&Tenant::default(), batch(&mut rng, &mut number, 20, 3..5), None).unwrap();
        storage.flush().unwrap();
    }
    sim.clock.set_wall(DAY.range().end + 1_000_000_000);
    let lines = lines(&blocks(&storage.snapshot(&Tenant::default())));
    (storage, lines)
}

fn six_options() -> Options {
    let mut options = options(500);
    options.user_indexes = vec!["trace_id".to_owned()];
    options
}

/// The files of segments.
fn segment_files(sim: &Sim) -> usize {
    let files = sim.disk.files();
    files.iter().filter(|(path, _)| path.components().any(|part| part.as_os_str() == "segments")).count()
}

#[test]
fn a_crash_at_any_step_leaves_all_or_nothing_of_a_merge() {
    let options = six_options();
    let (mut step, mut merged) = (1, 0);
    loop {
        let sim = Sim::new(1);
        let (storage, before) = six(&sim, &options);
        sim.disk.crash_at(sim.disk.steps() + step);
        let done = storage.compact();
        drop(storage);
        for seed in 0..3 {
            let sim = sim.recover(seed);
            let storage = open(&sim, &options);
            let snapshot = storage.snapshot(&Tenant::default());
            assert_eq!(lines(&blocks(&snapshot)), before, "step {step}, seed {seed}");
            let segments = snapshot.segments.len();
            assert!(segments == 1 || segments == 6 && done.is_err(), "step {step}, seed {seed}: {segments}");
            merged += u64::from(segments == 1 && done.is_err());
            // Older roots name the inputs as long as they are kept; nothing else is there.
            assert_eq!(segment_files(&sim), if segments == 1 { 14 } else { 12 }, "step {step}, seed {seed}");
            assert_eq!(storage.stats().damage, Vec::<String>::new());
            let again = storage.compact().unwrap();
            assert_eq!(again.is_some(), segments == 6);
            assert_eq!(lines(&blocks(&storage.snapshot(&Tenant::default()))), before);
        }
        if done.is_ok() {
            break;
        }
        step += 1;
    }
    assert!(step > 10 && merged > 0, "{step} steps, {merged} times the commit was there");
}

#[test]
fn a_full_disk_ends_a_merge_and_leaves_nothing_behind() {
    let options = six_options();
    let sim = Sim::new(2);
    let (storage, before) = six(&sim, &options);
    let used: u64 = sim.disk.files().into_iter().map(|(_, len)| len).sum();
    for room in [0, 300, 2_000, 4_000] {
        sim.disk.set_capacity(Some(used + room));
        let error = storage.compact().unwrap_err();
        assert_eq!(error.kind, timberlog_types::ErrorKind::Unavailable, "{error}");
        assert_eq!(segment_files(&sim), 12, "{room}");
        assert!(storage.compact().unwrap().is_none(), "it rests");
        assert!(storage.stats().compaction.last_error.is_some());
        sim.clock.advance(Duration::from_secs(300));
    }
    sim.disk.set_capacity(None);
    assert_eq!(storage.compact().unwrap().unwrap().segments, 6);
    let stats = storage.stats().compaction;
    assert_eq!((stats.jobs, stats.jobs_failed, stats.last_error), (1, 4, None));
    assert_eq!(lines(&blocks(&storage.snapshot(&Tenant::default()))), before);
}

/// What comes while a job runs is neither lost nor merged over: the edit names its inputs alone.
#[test]
fn inputs_go_when_no_root_and_no_snapshot_names_them() {
    let options = Options { manifest_history: 1, ..six_options() };
    let sim = Sim::new(3);
    let (storage, before) = six(&sim, &options);
    let snapshot = storage.snapshot(&Tenant::default());
    storage.compact().unwrap().unwrap();
    let mut rng = Rng::new(8);
    for _ in 0..3 {
        storage.append(&Tenant::default(), batch(&mut rng, &mut 1_000, 1, 3..4), None).unwrap();
        storage.flush().unwrap();
    }
    assert_eq!(segment_files(&sim), 12 + 2 + 6, "the snapshot pins them");
    assert_eq!(lines(&blocks(&snapshot)), before);
    drop(snapshot);
    storage.append(&Tenant::default(), batch(&mut rng, &mut 1_000, 1, 3..4), None).unwrap();
    storage.flush().unwrap();
    assert_eq!(segment_files(&sim), 2 + 8);
}
