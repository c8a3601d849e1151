//! Compaction: eight small segments become one, the fsyncs of its commit included.

use crate::sample;
use criterion::{BatchSize, Criterion, Throughput};
use std::path::Path;
use std::sync::Arc;
use timberlog_disk::Env;
use timberlog_storage::{BufferedBatch, CompactionOptions, Options, Progress, Storage, Subscriber};
use timberlog_types::Tenant;

const SEGMENTS: usize = 8;
const RECORDS: usize = 5_000;

struct Nobody;

impl Subscriber for Nobody {
    fn published(&self, _: &Tenant, _: &Arc<BufferedBatch>) {}
}

/// Segments of 5,000 records each, ready to be merged.
fn segments(folder: &Path) -> Storage {
    let compaction = CompactionOptions { enabled: false, fan_in: SEGMENTS, ..CompactionOptions::default() };
    let options = Options { background: false, compaction, ..Options::new(folder) };
    let storage = Storage::open(options, Env::real(), Arc::new(Nobody), &Progress::default()).expect("a database");
    for _ in 0..SEGMENTS {
        let batch = Arc::into_inner(sample::batch(RECORDS)).expect("nobody else has it");
        storage.append(&Tenant::default(), batch, None).expect("room");
        storage.flush().expect("a flush");
    }
    storage
}

/// One merge.
pub fn merge(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("merge");
    group.throughput(Throughput::Elements((SEGMENTS * RECORDS) as u64));
    group.sample_size(10);
    group.bench_function("8_segments", |bencher| {
        let prepare = || {
            let folder = tempfile::tempdir().expect("a temporary folder");
            (segments(folder.path()), folder)
        };
        let merge = |(storage, folder)| {
            let merged = Storage::compact(&storage).expect("a merge").expect("something to merge");
            assert_eq!(merged.segments, SEGMENTS as u64);
            (storage, folder)
        };
        bencher.iter_batched(prepare, merge, BatchSize::PerIteration);
    });
    group.finish();
}
