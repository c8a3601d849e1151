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
use std::sync::Arc;
use std::time::Duration;
use store::FaultStore;
use timberlog_disk::Env;
use timberlog_disk::sim::Sim;
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
