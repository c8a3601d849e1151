//! Allocations of a record on its way in, counted in this process: decoding, the WAL and the buffer, the flush.

use crate::Bench;
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};
use std::alloc::System;
use std::sync::Arc;
use timberlog_db::{CompactionOptions, Env, Options, Progress, Storage};
use timberlog_ingest::{DecodeOptions, Decoder, Limits, NoStreamLimit};
use timberlog_storage::{BufferedBatch, Subscriber};
use timberlog_types::Tenant;

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// Requests that fill scratch buffers before anything counts, and those that count.
const WARMING: usize = 10;
const COUNTED: usize = 50;

struct Nobody;

impl Subscriber for Nobody {
    fn published(&self, _: &Tenant, _: &Arc<BufferedBatch>) {}
}

/// What was allocated, an addition to an allocation included.
#[derive(Clone, Copy, Default)]
struct Allocated {
    count: usize,
    bytes: usize,
}

impl Allocated {
    fn by<T>(&mut self, work: impl FnOnce() -> T) -> T {
        let region = Region::new(ALLOCATOR);
        let done = work();
        let change = region.change();
        self.count += change.allocations + change.reallocations;
        self.bytes += change.bytes_allocated;
        done
    }
}

pub fn measure(bench: &mut Bench<'_>) {
    let data = bench.empty("allocations");
    let options = Options {
        background: false,
        compaction: CompactionOptions { enabled: false, ..CompactionOptions::default() },
        ..Options::new(&data)
    };
    let progress = Progress::default();
    let storage = Storage::open(options, Env::real(), Arc::new(Nobody), &progress).expect("an empty database");
    let (labels, limits) = (["service".to_owned()], Limits { max_future_ns: i64::MAX, ..Limits::default() });
    let options = DecodeOptions {
        now_ns: bench.scale.facts.newest,
        keep_from_ns: i64::MIN,
        stream_labels: &labels,
        default_service: "",
        strict: false,
        limits: &limits,
        streams: &NoStreamLimit,
    };
    let mut decoder = Decoder::new();
    let (mut decode, mut append, mut flush) = (Allocated::default(), Allocated::default(), Allocated::default());
    let (mut records, mut stored) = (0, 0);
    for (at, body) in bench.corpus.bodies(bench.options.batch).take(WARMING + COUNTED).enumerate() {
        let (before, mut of_decode, mut of_append) = (records, Allocated::default(), Allocated::default());
        let decoded = of_decode.by(|| decoder.json(&body, &options)).expect("JSON lines");
        records += decoded.accepted;
        let batch = decoded.batch.expect("records");
        of_append.by(|| storage.append(&Tenant::default(), batch, None)).expect("room");
        if at >= WARMING {
            for (sum, one) in [(&mut decode, of_decode), (&mut append, of_append)] {
                sum.count += one.count;
                sum.bytes += one.bytes;
            }
            stored += records - before;
        }
    }
    flush.by(|| storage.flush()).expect("a flush");
    let part = "Allocations of a record";
    for (name, allocated, of) in
        [("decoding", decode, stored), ("WAL and buffer", append, stored), ("flush", flush, records)]
    {
        bench.scale.cost(part, name, "", allocated.count as f64 / of.max(1) as f64);
        bench.scale.cost(part, &format!("{name}: bytes"), "B", allocated.bytes as f64 / of.max(1) as f64);
    }
}
