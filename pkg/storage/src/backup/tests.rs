//! Tests of backups: a simulated machine with the database, a store in memory, one to restore to.

mod at;
mod at_commit;
mod at_crash;
mod crash;
mod damage;
mod deletes;
mod given_up;
mod golden;
mod golden_archive;
mod life;
mod store;

use super::*;
use crate::objects::ObjectStore;
use crate::producers::ProducerBatch;
use crate::{BufferedBatch, Options, Progress, Storage, Subscriber};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use store::MemoryStore;
use timberlog_disk::Env;
use timberlog_disk::sim::Sim;
use timberlog_types::{Batch, BatchBuilder, Day, ErrorKind, Result, Tenant};

const TTL: Duration = Duration::from_secs(3600);
/// 2026-11-21.
const DAY: Day = Day(20_778);

struct Nobody;

impl Subscriber for Nobody {
    fn published(&self, _: &Tenant, _: &Arc<BufferedBatch>) {}
}

fn tenants() -> [Tenant; 2] {
    ["a", "b"].map(|name| Tenant::new(name).unwrap())
}

fn options(dir: &str) -> Options {
    Options { background: false, wal_file_bytes: 256 << 10, disk_free_bytes_min: 0, ..Options::new(dir) }
}

fn open(env: &Env, dir: &str) -> Storage {
    Storage::open(options(dir), env.clone(), Arc::new(Nobody), &Progress::default()).unwrap()
}

/// `rows` records of a day, told apart by their number.
fn batch(day: Day, first: u64, rows: u64) -> Batch {
    let mut builder = BatchBuilder::new();
    let start = day.range().start;
    for number in first..first + rows {
        let service = if number % 3 == 0 { "web" } else { "db" };
        let stream = builder.stream(service, &[("service", service)]).unwrap();
        let level = builder.level(Some("info")).unwrap();
        let time = start + (number % 7) as i64;
        builder.finish_row(time, stream, level, format!("record {number} of the test").as_bytes()).unwrap();
    }
    builder.finish().unwrap()
}

fn append(storage: &Storage, tenant: &Tenant, batch: Batch, number: u64) {
    let producer = ProducerBatch::new("shipper", number).unwrap();
    storage.append(tenant, batch, Some(producer)).unwrap();
}

/// Two tenants, two days, three flushes, and something in the buffer.
fn fill(storage: &Storage) {
    let [a, b] = tenants();
    for number in 0..3 {
        append(storage, &a, batch(DAY, number * 100, 40), number + 1);
        append(storage, &a, batch(Day(DAY.0 + 1), number * 100 + 50, 10), number + 100);
        append(storage, &b, batch(DAY, number * 1000, 20), number + 1);
        storage.flush().unwrap();
    }
    append(storage, &a, batch(DAY, 9_000, 5), 1_000);
}

/// Every record by tenant, in the order of answers: time, stream, arrival.
fn records(storage: &Storage) -> BTreeMap<String, Vec<String>> {
    let mut all = BTreeMap::new();
    for tenant in tenants() {
        let snapshot = storage.snapshot(&tenant);
        let mut rows = Vec::new();
        let mut take = |batch: &Batch, seq: u64| {
            for row in 0..batch.rows() {
                let stream = batch.stream(batch.stream_id(row));
                let message = String::from_utf8_lossy(batch.message(row)).into_owned();
                rows.push((batch.timestamp(row), stream.service().to_owned(), seq, rows.len(), message));
            }
        };
        for segment in snapshot.segments.iter() {
            let opened = segment.open().unwrap();
            for block in &opened.reader.directory().blocks {
                take(&opened.reader.read_block_as_batch(block.number).unwrap(), segment.entry.seq_min);
            }
        }
        snapshot.batches.iter().for_each(|batch| take(&batch.batch, batch.seq_min));
        rows.sort();
        let text = |(time, service, _, _, message)| format!("{time} {service} {message}");
        all.insert(tenant.to_string(), rows.into_iter().map(text).collect());
    }
    all
}

fn silent(_: Event<'_>) {}

fn back_up(env: &Env, store: &MemoryStore, storage: &Storage) -> Result<BackupRecord> {
    let source = StorageSource::pin(storage, TTL, ColdFiles::Refer)?;
    create(env, store, &source, &silent).map(|created| created.record)
}

fn restore_to(env: &Env, store: &MemoryStore, id: &str, dir: &str, selection: &Selection) -> Result<Restored> {
    let record = find(store, id)?;
    restore(env, store, &record, Path::new(dir), selection, &silent)
}

fn check(store: &MemoryStore, id: &str, depth: Depth) -> Verified {
    let shared: Arc<dyn ObjectStore> = Arc::new(store.clone());
    verify(&shared, &find(store, id).unwrap(), depth, &silent).unwrap()
}

/// What a restored directory holds; it passes `verify`.
fn restored(env: &Env, dir: &str) -> BTreeMap<String, Vec<String>> {
    let report = crate::verify::verify(env, Path::new(dir), &|_, _| {}).unwrap();
    assert!(report.damage.is_empty(), "{:?}", report.damage);
    let storage = open(env, dir);
    assert!(storage.stats().damage.is_empty());
    let records = records(&storage);
    storage.close().unwrap();
    records
}
