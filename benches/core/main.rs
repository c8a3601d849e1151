//! The benchmark of the whole: a real server process, real sockets, real files.
//!
//!     cargo bench --bench core                                  # 1,000,000 made-up records
//!     TIMBERLOG_BENCH_CORPUS=corpus.jsonl cargo bench --bench core
//!
//! CPU is given in units of Z, the CPU time of `zstd -1` over the same bytes in the same run, so
//! that figures of different machines can be compared. Query times are medians of 7 warm requests
//! over one HTTP connection. Prints a Markdown table.

mod corpus;
mod logql;
mod process;
mod queries;

use process::Process;
use std::path::Path;
use timberlog_client::Client;
use timberlog_types::Tenant;

fn main() {
    // `cargo bench` and `cargo test --benches` pass flags of the standard harness.
    if std::env::args().any(|argument| argument == "--test") {
        return;
    }
    let folder = tempfile::tempdir().expect("a temporary folder");
    let corpus = corpus::Corpus::load(folder.path());
    let z = corpus.zstd_seconds();
    println!("corpus: {} records, {:.0} MB; Z = {z:.3} s\n", corpus.records, corpus.bytes as f64 / 1e6);
    println!("| what | figure | in Z |\n|---|---|---|");
    let data = folder.path().join("data");
    ingest(&corpus, &data, z, &[]);
    restart_and_query(&corpus, &data, &[]);
    let data = folder.path().join("indexed");
    ingest(&corpus, &data, z, &["--index", "trace_id"]);
    let server = Process::start(&data, &["--index", "trace_id"]);
    queries::trace(&server, &corpus, "one trace id, with an index of its own");
    drop(server);
    println!("\nCompaction, replay and start:\n\n| what | figure | in Z |\n|---|---|---|");
    compaction(&corpus, &folder.path().join("compaction"), z);
    replay(&corpus, &folder.path().join("replay"));
    start(&corpus, &folder.path().join("segments"));
}

/// Segments of a sixteenth of the corpus, merged into one.
fn compaction(corpus: &corpus::Corpus, data: &Path, z: f64) {
    let flush_bytes = corpus.bytes / 26;
    let (flush_bytes, buffer_bytes) = (flush_bytes.to_string(), (flush_bytes * 2).to_string());
    let flags = ["--compaction", "off", "--flush-bytes", &flush_bytes, "--buffer-bytes-max", &buffer_bytes];
    let server = Process::start(data, &flags);
    let before = server.cpu_seconds();
    process::loadgen(&server, &corpus.path);
    let written = server.stop() - before;
    let flags = ["--compaction-bytes-per-second", "0", "--compaction-fan-in", "16"];
    let server = Process::start(data, &flags);
    let client = client(&server.http);
    let mut engine = serde_json::Value::Null;
    for _ in 0..300 {
        engine = client.get("/stats").expect("statistics")["engine"].take();
        if engine["compaction"]["jobs"].as_u64() > Some(0) && engine["compaction"]["segments_waiting"] == 0 {
            break;
        }
        std::thread::sleep(std::time::Duration::from_millis(100));
    }
    // Work since the start, which is next to nothing with an empty WAL.
    let merged = server.cpu_seconds();
    let of = |key: &str| engine["compaction"][key].as_u64().unwrap_or(0);
    row(
        &format!("merging {} segments into {}, {} records: CPU", of("segments_merged"), of("jobs"), of("records")),
        format!("{merged:.2} s, {:.2} of writing them first", merged / written),
        Some(merged / z),
    );
    let bytes = engine["segment_bytes"].as_u64().unwrap_or(0);
    row("bytes a record afterwards", format!("{:.1}", bytes as f64 / corpus.records as f64), None);
    row("peak resident memory of the merge", format!("{:.0} MB", server.resident_peak_bytes() as f64 / 1e6), None);
}

/// A crash with everything still in the WAL, and a start with the default bounds on memory.
fn replay(corpus: &corpus::Corpus, data: &Path) {
    let server = Process::start(data, &["--flush-bytes", "2GiB", "--buffer-bytes-max", "4GiB"]);
    process::loadgen(&server, &corpus.path);
    let bytes =
        client(&server.http).get("/stats").expect("statistics")["engine"]["bytes_appended"].as_u64().unwrap_or(0);
    server.kill();
    let started = std::time::Instant::now();
    let server = Process::start(data, &[]);
    let seconds = started.elapsed().as_secs_f64();
    let rate = bytes as f64 / 1e6 / seconds;
    row(
        "replay, flushes included",
        format!("{:.0} MB of WAL in {seconds:.2} s: {rate:.0} MB/s", bytes as f64 / 1e6),
        None,
    );
    row("peak resident memory of the replay", format!("{:.0} MB", server.resident_peak_bytes() as f64 / 1e6), None);
}

/// A start with many segments.
fn start(corpus: &corpus::Corpus, data: &Path) {
    let server = Process::start(data, &["--flush-bytes", "1MiB", "--buffer-bytes-max", "2MiB"]);
    process::loadgen(&server, &corpus.path);
    server.stop();
    let started = std::time::Instant::now();
    let server = Process::start(data, &[]);
    let seconds = started.elapsed().as_secs_f64();
    let stats = client(&server.http).get("/stats").expect("statistics");
    row(&format!("start with {} segments", stats["engine"]["segments"]), format!("{:.0} ms", seconds * 1e3), None);
}

fn row(what: &str, figure: String, z: Option<f64>) {
    println!("| {what} | {figure} | {} |", z.map_or(String::new(), |z| format!("{z:.2}")));
}

fn ingest(corpus: &corpus::Corpus, data: &Path, z: f64, flags: &[&str]) {
    let with = if flags.is_empty() { String::new() } else { format!(" ({})", flags.join(" ")) };
    let server = Process::start(data, flags);
    let before = server.cpu_seconds();
    let report = process::loadgen(&server, &corpus.path);
    let acknowledged = server.cpu_seconds() - before;
    let resident = server.resident_peak_bytes();
    let rate = report["records_per_second"].as_f64().unwrap_or(0.0);
    let latency = &report["latency_ms"];
    let sealed = server.stop() - before;
    let bytes = process::bytes_of(data);
    row(&format!("records a second, 4 connections, 1,000 a request{with}"), format!("{rate:.0}"), None);
    let ms = |key: &str| latency[key].as_f64().unwrap_or(0.0);
    row(
        &format!("latency p50 / p99 / max{with}"),
        format!("{:.1} / {:.1} / {:.1} ms", ms("p50"), ms("p99"), ms("max")),
        None,
    );
    row(
        &format!("server CPU to the last acknowledgement{with}"),
        format!("{acknowledged:.2} s"),
        Some(acknowledged / z),
    );
    row(&format!("server CPU until all is sealed{with}"), format!("{sealed:.2} s"), Some(sealed / z));
    row(&format!("bytes a record on disk{with}"), format!("{:.1}", bytes as f64 / corpus.records as f64), None);
    row(&format!("peak resident memory{with}"), format!("{:.0} MB", resident as f64 / 1e6), None);
}

fn restart_and_query(corpus: &corpus::Corpus, data: &Path, flags: &[&str]) {
    let started = std::time::Instant::now();
    let server = Process::start(data, flags);
    row("start", format!("{:.0} ms", started.elapsed().as_secs_f64() * 1e3), None);
    queries::all(&server, corpus);
    logql::all(&server, corpus);
    row("peak resident memory of the queries", format!("{:.0} MB", server.resident_peak_bytes() as f64 / 1e6), None);
    drop(server);
    let server = Process::start(data, &["--cache-bytes", "0"]);
    println!("\nWithout a chunk cache (`--cache-bytes 0`):\n\n| what | figure | in Z |\n|---|---|---|");
    queries::all(&server, corpus);
}

/// A client of a server of this benchmark.
fn client(http: &str) -> Client {
    Client::new(http, Tenant::default(), std::time::Duration::from_secs(600)).expect("an address")
}
