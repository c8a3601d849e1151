//! The records: made up, or of a file of JSON lines.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

pub struct Corpus {
    pub path: PathBuf,
    pub records: usize,
    pub bytes: usize,
    /// The time of the newest record in ns.
    pub newest: i64,
    /// The trace id of a record in the middle.
    pub trace: String,
    /// The service of a record in the middle.
    pub service: String,
    text: Vec<u8>,
}

impl Corpus {
    /// The file that `TIMBERLOG_BENCH_CORPUS` names, or `TIMBERLOG_BENCH_RECORDS` (1,000,000)
    /// made-up records of one day.
    pub fn load(folder: &Path) -> Self {
        let (path, text) = match std::env::var_os("TIMBERLOG_BENCH_CORPUS") {
            Some(path) => {
                let path = PathBuf::from(path);
                let text = std::fs::read(&path).expect("TIMBERLOG_BENCH_CORPUS names a readable file");
                (path, text)
            }
            None => {
                let records = std::env::var("TIMBERLOG_BENCH_RECORDS").ok().and_then(|text| text.parse().ok());
                let mut text = Vec::new();
                let start = timberlog_types::time::parse(b"2026-01-01T00:00:00Z").expect("a time");
                let records = records.unwrap_or(1_000_000);
                let step = timberlog_types::time::DAY_NS / records.max(1) as i64;
                timberlog_ingest::demo::Traffic::new(1).records(records, start, step, &mut text);
                let path = folder.join("corpus.jsonl");
                std::fs::write(&path, &text).expect("room for the corpus");
                (path, text)
            }
        };
        let lines = || text.split(|&byte| byte == b'\n').filter(|line| !line.is_empty());
        let records = lines().count();
        let parse = |line: &[u8]| serde_json::from_slice::<serde_json::Value>(line).expect("JSON lines");
        let middle = lines().nth(records / 2).map(parse).expect("records");
        let time = |line: &[u8]| {
            timberlog_types::time::parse(parse(line)["timestamp"].as_str().expect("a timestamp").as_bytes())
                .expect("a time")
        };
        let newest = lines().skip(records.saturating_sub(10_000)).map(time).max().expect("records");
        let text_of = |key: &str| middle[key].as_str().expect("a text").to_owned();
        Self { records, bytes: text.len(), newest, trace: text_of("trace_id"), service: text_of("service"), path, text }
    }

    /// Z: the CPU time of zstd level 1 over the corpus, the best of three.
    pub fn zstd_seconds(&self) -> f64 {
        (0..3).map(|_| self.zstd_once()).min().unwrap_or_default().as_secs_f64()
    }

    fn zstd_once(&self) -> Duration {
        let before = thread_cpu();
        let mut encoder = zstd::stream::write::Encoder::new(std::io::sink(), 1).expect("a zstd context");
        for chunk in self.text.chunks(128 << 10) {
            encoder.write_all(chunk).expect("a sink takes all");
        }
        encoder.finish().expect("a sink takes all");
        thread_cpu() - before
    }
}

fn thread_cpu() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}
