//! The way in: a JSON body to columns, and a batch into the WAL.

use crate::sample;
use criterion::{Criterion, Throughput};
use std::sync::Arc;
use std::time::Duration;
use timberlog_disk::Env;
use timberlog_ingest::Decoder;
use timberlog_storage::Durability;
use timberlog_storage::wal::{Append, Body, Frame, Publish, Threading, Wal, WalOptions};
use timberlog_types::{Seq, Tenant};

const RECORDS: usize = 1_000;

/// 1,000 JSON lines to a batch.
pub fn decode(criterion: &mut Criterion) {
    let body = sample::body(RECORDS);
    let mut decoder = Decoder::new();
    let mut group = criterion.benchmark_group("decode");
    group.throughput(Throughput::Bytes(body.len() as u64));
    group.bench_function("json_lines", |bencher| bencher.iter(|| sample::decode(&mut decoder, &body)));
    group.finish();
}

struct Nobody;

impl Publish for Nobody {
    fn publish(&self, _: Vec<Frame>) {}

    fn synced(&self, _: Seq) {}
}

/// A batch of 1,000 records into the WAL, without its fsync: the checksum, the frame, the write into the page cache.
pub fn wal(criterion: &mut Criterion) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let options = WalOptions {
        durability: Durability::Async { interval: Duration::from_secs(86_400) },
        threading: Threading::Stepped,
        ..WalOptions::new(folder.path().join("wal"), "0".repeat(32))
    };
    let opened = Wal::open(&Env::real(), options, 0, Arc::new(Nobody), &mut |_| Ok(()), &|_, _| {});
    let (wal, _) = opened.expect("an empty WAL");
    let batch = sample::batch(RECORDS);
    let mut group = criterion.benchmark_group("wal");
    group.throughput(Throughput::Bytes(batch.as_bytes().len() as u64));
    let mut appended = 0;
    group.bench_function("append", |bencher| {
        bencher.iter(|| {
            let body = Body::from(Arc::clone(&batch));
            let append = Append { tenant: Tenant::default(), body, producer: None, done: Box::new(|_| {}) };
            wal.append(append).expect("room");
            wal.step();
            appended += 1;
            // The files would fill the disk.
            if appended % 256 == 0 {
                let synced = wal.sync().expect("a disk");
                wal.truncate(synced).expect("files that may go");
            }
        });
    });
    group.finish();
}
