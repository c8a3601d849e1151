//! Measures compaction: the CPU time of writing made-up records the first time, as 16 segments, and
//! that of merging these into one; and the bytes of a record before and afterwards.
//!
//!     cargo run --release --package timberlog-db --example compaction -- /tmp/new-folder [records] [step in ms]

use std::path::Path;
use timberlog_db::types::{Error, ErrorKind, Result, Tenant, time};
use timberlog_db::{CompactionOptions, Database, Env, Options, Progress};
use timberlog_ingest::demo::Traffic;
use timberlog_ingest::{DecodeOptions, Decoder, Limits, NoStreamLimit};

const SEGMENTS: usize = 16;
const RECORDS_PER_BATCH: usize = 1_000;

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let number = |at: usize, default| arguments.get(at).and_then(|text| text.parse().ok()).unwrap_or(default);
    let folder = arguments.first().ok_or_else(|| Error::invalid("name a new folder"))?;
    let (records, step_ms): (usize, usize) = (number(1, 1_000_000), number(2, 86));
    let mut options = Options {
        background: false,
        flush_bytes: usize::MAX / 4,
        buffer_bytes_max: usize::MAX / 2,
        compaction: CompactionOptions { fan_in: SEGMENTS, ..CompactionOptions::default() },
        ..Options::new(Path::new(folder))
    };
    let database = Database::open(options.clone(), Env::real(), &Progress::default())?;
    let (mut traffic, mut decoder, mut body) = (Traffic::new(1), Decoder::new(), Vec::new());
    let start = time::parse(b"2026-01-01T00:00:00Z").map_err(|error| Error::invalid(error.to_string()))?;
    let (mut text_bytes, mut ingest, mut flush) = (0, 0.0, 0.0);
    let (labels, limits) = (["service".to_owned()], Limits { max_future_ns: i64::MAX, ..Limits::default() });
    let per_segment = records.div_ceil(SEGMENTS);
    for segment in 0..SEGMENTS {
        let now_ns = start + (segment * per_segment * step_ms) as i64 * 1_000_000;
        body.clear();
        traffic.records(per_segment, now_ns, step_ms as i64 * 1_000_000, &mut body);
        text_bytes += body.len();
        let before = cpu_seconds()?;
        let options = DecodeOptions {
            now_ns,
            keep_from_ns: i64::MIN,
            stream_labels: &labels,
            default_service: "",
            strict: false,
            limits: &limits,
            streams: &NoStreamLimit,
        };
        for lines in body.split_inclusive(|&byte| byte == b'\n').collect::<Vec<_>>().chunks(RECORDS_PER_BATCH) {
            let decoded = decoder.json(&lines.concat(), &options)?;
            if let Some(batch) = decoded.batch {
                database.append(&Tenant::default(), batch, None)?;
            }
        }
        let acknowledged = cpu_seconds()?;
        database.flush()?;
        (ingest, flush) = (ingest + acknowledged - before, flush + cpu_seconds()? - acknowledged);
    }
    let before = database.stats();
    database.close()?;
    drop(database);
    // So that the result is full, and compressed as what stays.
    options.compaction.segment_raw_bytes_max = before.segment_raw_bytes / 2 * 3;
    let database = Database::open(options, Env::real(), &Progress::default())?;
    let cpu = cpu_seconds()?;
    let merged = database.compact()?;
    let cpu = cpu_seconds()? - cpu;
    let after = database.stats();
    let each = |bytes: u64| bytes as f64 / after.segment_records as f64;
    println!(
        "{} records, {text_bytes} bytes of JSON, {} segments → {}",
        after.segment_records, before.segments, after.segments
    );
    println!("CPU: decode and WAL {ingest:.2} s, flush {flush:.2} s, compaction {cpu:.2} s");
    println!("compaction / first writing: {:.2}; compaction / flush: {:.2}", cpu / (ingest + flush), cpu / flush);
    println!("bytes a record: {:.1} → {:.1}", each(before.segment_bytes), each(after.segment_bytes));
    if let Some(merged) = merged {
        let (peak, runs) = (merged.memory_bytes_peak >> 20, merged.runs_max);
        println!("decoded blocks in memory: {peak} MiB at most, {runs} runs");
    }
    database.close()
}

/// CPU time of the process, by the kernel's count of 10 ms.
fn cpu_seconds() -> Result<f64> {
    let failed = || Error::new(ErrorKind::Unavailable, "`/proc/self/stat` cannot be read");
    let text = std::fs::read_to_string("/proc/self/stat").map_err(|_| failed())?;
    let fields: Vec<&str> = text.rsplit(')').next().ok_or_else(failed)?.split_whitespace().collect();
    let ticks = |at: usize| fields.get(at).and_then(|field| field.parse::<f64>().ok()).ok_or_else(failed);
    Ok((ticks(11)? + ticks(12)?) / 100.0)
}
