//! Compaction: sixteen segments become one.

use crate::files::sealed_bytes;
use crate::load::Protocol;
use crate::process::Process;
use crate::{Bench, ingest};
use std::time::{Duration, Instant};

const PART: &str = "Compaction: 16 segments become one";
const SEGMENTS: usize = 16;
/// A merge that takes longer does not end.
const PATIENCE: Duration = Duration::from_secs(900);

/// Segments of a sixteenth of the records each, one a process, and then the merge.
pub fn measure(bench: &mut Bench<'_>) {
    let requests = (bench.corpus.records as usize).div_ceil(bench.options.batch);
    if requests < SEGMENTS {
        bench.scale.skip(PART, "there are fewer requests than segments");
        return;
    }
    for _ in bench.rounds() {
        let data = bench.empty("compaction");
        let mut bodies = bench.corpus.bodies(bench.options.batch);
        let mut writing = 0.0;
        for segment in 0..SEGMENTS {
            let flags = ["--compaction", "off", "--flush-bytes", "8GiB", "--buffer-bytes-max", "9GiB"];
            let server = Process::start(&data, &flags);
            let before = server.usage();
            let requests = requests * (segment + 1) / SEGMENTS - requests * segment / SEGMENTS;
            let bodies = bodies.by_ref().take(requests);
            ingest::load(bench, Protocol::Http).run(&server, bodies);
            writing += server.stop().cpu_seconds - before.cpu_seconds;
        }
        let before = sealed_bytes(&data);
        merge(bench, &data, writing);
        bench.scale.cost(PART, "size of a record before", "B", before as f64 / bench.corpus.records as f64);
    }
    let _ = std::fs::remove_dir_all(bench.folder.join("compaction"));
}

fn merge(bench: &mut Bench<'_>, data: &std::path::Path, writing: f64) {
    let segments = SEGMENTS.to_string();
    let unbounded = ["--compaction-bytes-per-second", "0", "--compaction-segment-bytes", "1TiB"];
    let flags = [&unbounded[..], &["--compaction-fan-in", &segments, "--manifest-history", "1"]].concat();
    // The merge begins when the server does.
    let started = Instant::now();
    let server = Process::start(data, &flags);
    let engine = loop {
        let engine = server.engine();
        if engine["compaction"]["jobs"].as_u64() > Some(0) && engine["compaction"]["segments_waiting"] == 0 {
            break engine;
        }
        assert!(started.elapsed() < PATIENCE, "no merge ends: {engine}");
        std::thread::sleep(Duration::from_millis(10));
    };
    let seconds = started.elapsed().as_secs_f64();
    let usage = server.usage();
    let of = |value: &serde_json::Value| value.as_u64().unwrap_or(0);
    let scale = &mut bench.scale;
    scale.check("segments that were merged", of(&engine["compaction"]["segments_merged"]), SEGMENTS as u64);
    scale.check("merges", of(&engine["compaction"]["jobs"]), 1);
    scale.check("segments afterwards", of(&engine["segments"]), 1);
    scale.check("records afterwards", of(&engine["segment_records"]), bench.corpus.records);
    let records = bench.corpus.records as f64;
    let bytes = of(&engine["segment_bytes"]) as f64;
    scale.cost(PART, "the merge", "s CPU", usage.cpu_seconds);
    scale.cost(PART, "the merge beside writing them first", "×", usage.cpu_seconds / writing);
    scale.cost(PART, "writing them and merging them", "s CPU", writing + usage.cpu_seconds);
    scale.cost(PART, "time, the start of the server included", "s", seconds);
    scale.cost(PART, "peak memory", "MB", usage.memory_bytes as f64 / 1e6);
    scale.cost(PART, "read from disk for a record", "B", usage.read_bytes as f64 / records);
    scale.cost(PART, "written to disk for a record", "B", usage.written_bytes as f64 / records);
    scale.cost(PART, "fsyncs", "", server.fsyncs() as f64);
    scale.cost(PART, "size of a record afterwards", "B", bytes / records);
    scale.cost(PART, "size afterwards beside `zstd -1`", "×", bytes / scale.facts.zstd_bytes as f64);
}
