//! Tests of tiering: a simulated machine and a store in memory.

mod adopt;
mod backup;
mod crash;
mod golden;
mod life;
mod purge;
mod repair;
mod store;
mod writers;

use crate::manifest::Location;
use crate::objects::ObjectStore;
use crate::tier::TierOptions;
use crate::tier::bucket::{self, BucketState};
use crate::tier::gc::{self, GcMode, GcReport};
use crate::{BufferedBatch, Options, Progress, Storage, Subscriber};
use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};
use store::FaultStore;
use timberlog_disk::sim::Sim;
use timberlog_disk::{Env, Open};
use timberlog_types::{BatchBuilder, Day, ErrorKind, Result, Tenant, TimeRange};

/// 2025-12-20: some days before the clock of the simulation.
const DAY: Day = Day(20_442);
const GRACE: Duration = Duration::from_secs(3_600);

struct Nobody;

impl Subscriber for Nobody {
    fn published(&self, _: &Tenant, _: &Arc<BufferedBatch>) {}
}

fn tier(store: &FaultStore) -> TierOptions {
    let mut tier = TierOptions { after: Duration::ZERO, ..TierOptions::new(Arc::new(store.clone())) };
    tier.read.threads = 1;
    // The cache on disk is not synced; whoever asks it again after a crash is tested elsewhere.
    tier.read.data_bytes = 0;
    tier
}

fn options(store: &FaultStore) -> Options {
    Options {
        background: false,
        wal_file_bytes: 64 << 10,
        disk_free_bytes_min: 0,
        tier: Some(tier(store)),
        ..Options::new("/db")
    }
}

/// With caches of data on the disk, and so many bytes of it in memory.
fn with_cache(mut options: Options, memory_bytes: u64) -> Options {
    let read = &mut options.tier.as_mut().unwrap().read;
    (read.data_bytes, read.memory_bytes, read.disk_free_bytes_min) = (1 << 20, memory_bytes, 0);
    options
}

/// The cached files of a kind, `index` or `data`.
fn cached(sim: &Sim, kind: &str) -> Vec<String> {
    let of_kind = format!("/db/tier/{kind}/");
    let files = sim.disk.files().into_iter().map(|(path, _)| path.display().to_string());
    files.filter(|path| path.starts_with(&of_kind) && !path.ends_with(".tmp")).collect()
}

/// Waits until so many ranges are cached: they are written behind the answer.
fn wait_for_cached(sim: &Sim, ranges: usize) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while cached(sim, "data").len() != ranges {
        assert!(Instant::now() < deadline, "{:?}", cached(sim, "data"));
        std::thread::yield_now();
    }
}

/// What a power loss may leave of the caches, which nobody syncs: ranges without their bytes, indexes with a wrong one at
/// their end, where the `.redb` is.
fn damage_cache(sim: &Sim) {
    let open = |path: &String| sim.env().disk.open(Path::new(path), Open::Write).unwrap();
    for path in cached(sim, "data") {
        let file = open(&path);
        file.write_all_at(&vec![0; file.len().unwrap() as usize], 0).unwrap();
    }
    for path in cached(sim, "index") {
        let file = open(&path);
        let (mut byte, last) = ([0], file.len().unwrap() - 1);
        file.read_exact_at(&mut byte, last).unwrap();
        file.write_all_at(&[byte[0] ^ 1], last).unwrap();
    }
}

fn open_with(env: &Env, options: Options) -> Result<Storage> {
    Storage::open(options, env.clone(), Arc::new(Nobody), &Progress::default())
}

fn open(env: &Env, store: &FaultStore) -> Storage {
    open_with(env, options(store)).unwrap()
}

/// Appends ten records.
fn append(storage: &Storage, first: u64) {
    append_on(storage, DAY, first);
}

fn append_on(storage: &Storage, day: Day, first: u64) {
    let mut builder = BatchBuilder::new();
    let stream = builder.stream("web", &[("service", "web")]).unwrap();
    let level = builder.level(Some("info")).unwrap();
    for number in first..first + 10 {
        let text = format!("record {number}");
        builder.finish_row(day.range().start + number as i64, stream, level, text.as_bytes()).unwrap();
    }
    storage.append(&Tenant::default(), builder.finish().unwrap(), None).unwrap();
}

/// Every record, sorted.
fn records(storage: &Storage) -> Vec<(i64, String)> {
    let snapshot = storage.snapshot(&Tenant::default());
    let mut rows = Vec::new();
    let mut take = |batch: &timberlog_types::Batch| {
        let text = |row| String::from_utf8_lossy(batch.message(row)).into_owned();
        rows.extend((0..batch.rows()).map(|row| (batch.timestamp(row), text(row))));
    };
    for segment in snapshot.segments.iter() {
        let opened = segment.open().unwrap();
        for block in &opened.reader.directory().blocks {
            take(&opened.reader.read_block_as_batch(block.number).unwrap());
        }
    }
    snapshot.batches.iter().for_each(|batch| take(&batch.batch));
    rows.sort();
    rows
}

fn locations(storage: &Storage) -> Vec<Location> {
    let snapshot = storage.snapshot(&Tenant::default());
    snapshot.segments.iter().map(|segment| segment.entry.location).collect()
}

/// The local files of segments.
fn local_files(sim: &Sim) -> Vec<String> {
    let files = sim.disk.files().into_iter().map(|(path, _)| path.display().to_string());
    files.filter(|path| path.starts_with("/db/segments/")).collect()
}

fn bucket(store: &FaultStore) -> BucketState {
    bucket::load(store, None).unwrap().unwrap()
}

/// The bucket names what is there, whole, and each record once.
fn check_bucket(store: &FaultStore, rows: u64) {
    let bucket = bucket(store);
    for (_, _, entry) in bucket.segments() {
        assert_eq!(entry.location, Location::Cold);
        for object in entry.objects() {
            let bytes = store.with(|inner| inner.objects.get(&object.path).map(|(bytes, _)| bytes.clone()));
            let bytes = bytes.unwrap_or_else(|| panic!("`{}` is missing", object.path));
            assert_eq!((bytes.len() as u64, crc32c::crc32c(&bytes)), (object.len, object.crc32c), "{}", object.path);
        }
    }
    assert_eq!(bucket.segments().map(|(_, _, entry)| entry.rows).sum::<u64>(), rows);
}

fn collect(env: &Env, store: &FaultStore, mode: GcMode) -> GcReport {
    gc::collect(env, store, GRACE, mode, None).unwrap()
}

/// What is in the store when all that is old is gone: the newest root and what it names.
fn check_only_named(env: &Env, store: &FaultStore) {
    store.advance(7_300);
    collect(env, store, GcMode::Delete);
    let bucket = bucket(store);
    let named: BTreeSet<&str> = bucket.keys().collect();
    let keys = store.keys("");
    assert_eq!(keys.iter().map(String::as_str).collect::<BTreeSet<_>>(), named);
}
