//! Ingestion: how fast, at which latency, and what it costs until everything is sealed.

use crate::Bench;
use crate::files::sealed_bytes;
use crate::load::{Load, Protocol, Sent};
use crate::process::{Process, Usage};
use crate::report::Better;
use std::path::Path;
use std::time::Instant;

/// Closed loops: as fast as the answers come.
pub fn closed(bench: &mut Bench<'_>) {
    for (protocol, part) in [(Protocol::Http, "Ingestion over HTTP"), (Protocol::Grpc, "Ingestion over gRPC")] {
        for _ in bench.rounds() {
            let data = bench.empty("ingest");
            round(bench, part, protocol, &data);
        }
    }
    let _ = std::fs::remove_dir_all(bench.folder.join("ingest"));
}

/// Open loops: a fixed rate.
pub fn open(bench: &mut Bench<'_>) {
    let rate = bench.options.rate;
    for (protocol, what) in [(Protocol::Http, "HTTP"), (Protocol::Grpc, "gRPC")] {
        for _ in bench.rounds() {
            let data = bench.empty("open");
            let server = Process::start(&data, &[]);
            let most = rate as usize * bench.options.open_seconds as usize / bench.options.batch;
            let bodies = bench.corpus.bodies(bench.options.batch).take(most.max(1));
            let before = server.usage();
            let sent = Load { rate: Some(rate), ..load(bench, protocol) }.run(&server, bodies);
            let part = format!("Open loop over {what}, {rate} records a second");
            let (usage, fsyncs) = (server.usage().since(&before), server.fsyncs());
            let of_record = |of_all: f64| of_all / sent.records as f64;
            bench.scale.add(&part, "records a second", "", Better::None, sent.records as f64 / sent.seconds);
            latencies(bench, &part, &sent);
            let scale = &mut bench.scale;
            scale.cost(&part, "server CPU of a record", "µs", of_record(usage.cpu_seconds * 1e6));
            scale.cost(&part, "peak memory", "MB", usage.memory_bytes as f64 / 1e6);
            scale.cost(&part, "written to disk for a record", "B", of_record(usage.written_bytes as f64));
            scale.cost(&part, "read from disk for a record", "B", of_record(usage.read_bytes as f64));
            scale.cost(&part, "fsyncs", "", fsyncs as f64);
            scale.cost(&part, "requests put off by the server", "", sent.retries as f64);
        }
    }
    let _ = std::fs::remove_dir_all(bench.folder.join("open"));
}

/// Stores the records over HTTP and seals them; what the server used.
pub fn store(bench: &Bench<'_>, data: &Path, flags: &[&str]) -> Usage {
    let server = Process::start(data, flags);
    load(bench, Protocol::Http).run(&server, bench.corpus.bodies(bench.options.batch));
    server.stop()
}

/// The closed loop that the options describe.
pub fn load(bench: &Bench<'_>, protocol: Protocol) -> Load {
    Load { protocol, connections: bench.options.connections, batch: bench.options.batch, rate: None }
}

fn round(bench: &mut Bench<'_>, part: &str, protocol: Protocol, data: &Path) {
    let server = Process::start(data, &[]);
    let (before, started) = (server.usage(), Instant::now());
    let sent = load(bench, protocol).run(&server, bench.corpus.bodies(bench.options.batch));
    let acknowledged = server.usage();
    let fsyncs = server.fsyncs();
    let sealed = server.stop();
    let seconds = started.elapsed().as_secs_f64();
    let records = bench.corpus.records as f64;
    bench.scale.check(&format!("{part}: records acknowledged"), sent.records, bench.corpus.records);
    let bytes = sealed_bytes(data) as f64;
    let zstd_bytes = bench.scale.facts.zstd_bytes as f64;
    bench.scale.add(part, "records a second", "", Better::Higher, sent.records as f64 / sent.seconds);
    latencies(bench, part, &sent);
    let scale = &mut bench.scale;
    scale.cost(part, "server until the last acknowledgement", "s CPU", acknowledged.cpu_seconds - before.cpu_seconds);
    scale.cost(part, "server until all is sealed", "s CPU", sealed.cpu_seconds - before.cpu_seconds);
    scale.cost(part, "time until all is sealed", "s", seconds);
    scale.cost(part, "peak memory", "MB", sealed.memory_bytes as f64 / 1e6);
    scale.cost(part, "size of a record", "B", bytes / records);
    scale.cost(part, "size beside `zstd -1`", "×", bytes / zstd_bytes);
    scale.cost(
        part,
        "written to disk for a record",
        "B",
        (sealed.written_bytes - before.written_bytes) as f64 / records,
    );
    scale.cost(part, "read from disk for a record", "B", (sealed.read_bytes - before.read_bytes) as f64 / records);
    scale.cost(part, "fsyncs until the last acknowledgement", "", fsyncs as f64);
    scale.cost(part, "requests put off by the server", "", sent.retries as f64);
    scale.add(part, "the load itself (generating and sending)", "s CPU", Better::None, sent.own_cpu_seconds);
}

fn latencies(bench: &mut Bench<'_>, part: &str, sent: &Sent) {
    for (name, share) in [("latency p50", 0.5), ("latency p99", 0.99), ("latency p99.9", 0.999), ("latency max", 1.0)] {
        bench.scale.cost(part, name, "ms", sent.percentile(share));
    }
}
