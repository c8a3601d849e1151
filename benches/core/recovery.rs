//! Recovery: a start that finds everything in the WAL, and one that finds many segments.

use crate::files::{all, evict};
use crate::load::Protocol;
use crate::process::Process;
use crate::report::Better;
use crate::{Bench, ingest};
use std::path::Path;
use std::time::Instant;

/// Records of the replay at most: the server that is killed holds all of them in memory.
const REPLAYED_MAX: usize = 2_000_000;

pub fn measure(bench: &mut Bench<'_>) {
    for _ in bench.rounds() {
        let data = bench.empty("recovery");
        replay(bench, &data);
    }
    let data = bench.empty("recovery");
    // A flush of 1 MiB is about 6,000 records.
    ingest::store(bench, &data, &["--flush-bytes", "1MiB", "--buffer-bytes-max", "2MiB", "--compaction", "off"]);
    for _ in bench.rounds() {
        start(bench, &data);
    }
    let _ = std::fs::remove_dir_all(data);
}

/// `kill -9` with everything still in the WAL, and a start with the default bounds on memory.
fn replay(bench: &mut Bench<'_>, data: &Path) {
    let requests = REPLAYED_MAX / bench.options.batch;
    let server = Process::start(data, &["--flush-bytes", "8GiB", "--buffer-bytes-max", "9GiB"]);
    let bodies = bench.corpus.bodies(bench.options.batch).take(requests);
    let sent = ingest::load(bench, Protocol::Http).run(&server, bodies);
    let bytes = server.engine()["bytes_appended"].as_u64().unwrap_or(0) as f64;
    server.kill();
    evict(data);
    let started = Instant::now();
    let server = Process::start(data, &[]);
    let seconds = started.elapsed().as_secs_f64();
    let (usage, engine) = (server.usage(), server.engine());
    // Names are the same at every number of records: so they are compared, and their growth is seen.
    let part = "Replay of the WAL after `kill -9`";
    let of = |name: &str| engine[name].as_u64().unwrap_or(0);
    let scale = &mut bench.scale;
    scale.check("records after the replay", of("segment_records") + of("buffer_records"), sent.records);
    scale.add(part, "records", "", Better::None, sent.records as f64);
    scale.cost(part, "time until ready, cold", "s", seconds);
    scale.add(part, "speed", "MB/s", Better::Higher, bytes / 1e6 / seconds);
    scale.cost(part, "the replay, flushes included", "s CPU", usage.cpu_seconds);
    scale.cost(part, "peak memory", "MB", usage.memory_bytes as f64 / 1e6);
    scale.disk(part, "", &usage, Some(server.fsyncs()));
}

fn start(bench: &mut Bench<'_>, data: &Path) {
    let segments = all(data).iter().filter(|path| path.extension().is_some_and(|end| end == "log")).count();
    let part = "Start with many segments";
    bench.scale.add(part, "segments", "", Better::None, segments as f64);
    for temperature in ["cold", "warm"] {
        if temperature == "cold" {
            evict(data);
        }
        let started = Instant::now();
        let server = Process::start(data, &["--compaction", "off"]);
        let seconds = started.elapsed().as_secs_f64();
        bench.scale.cost(part, &format!("time until ready, {temperature}"), "ms", seconds * 1e3);
        let usage = server.usage();
        let scale = &mut bench.scale;
        scale.cost(part, &format!("memory, {temperature}"), "MB", usage.memory_bytes as f64 / 1e6);
        scale.cost(part, &format!("{temperature}: CPU"), "s CPU", usage.cpu_seconds);
        scale.disk(part, &format!("{temperature}: "), &usage, Some(server.fsyncs()));
    }
}
