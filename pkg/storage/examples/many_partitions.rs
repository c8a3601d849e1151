//! How long flushes take that touch many partitions: a few records of each of many tenants, twice, then a few of each of many
//! days of one tenant.
//!
//!     TMPDIR=/on/a/disk cargo run --release --package timberlog-storage --example many_partitions [partitions]

use std::sync::Arc;
use std::time::{Instant, SystemTime, UNIX_EPOCH};
use timberlog_disk::Env;
use timberlog_storage::{BufferedBatch, Options, Progress, Storage, Subscriber};
use timberlog_types::{Batch, BatchBuilder, Day, Tenant};

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

/// 2026-11-21.
const DAY: Day = Day(20_778);

struct Nobody;

impl Subscriber for Nobody {
    fn published(&self, _: &Tenant, _: &Arc<BufferedBatch>) {}
}

fn batch(days: impl Iterator<Item = Day>) -> Result<Batch> {
    let mut builder = BatchBuilder::new();
    let stream = builder.stream("web", &[("host", "h1"), ("service", "web")])?;
    let level = builder.level(Some("info"))?;
    for (number, day) in days.enumerate() {
        let text = format!("request {number} took {} ms", number * 7919 % 977);
        builder.finish_row(day.range().start + number as i64, stream, level, text.as_bytes())?;
    }
    Ok(builder.finish().ok_or("no records")?)
}

fn flush(storage: &Storage, what: &str, partitions: usize) -> Result<()> {
    let (syncs, started) = (timberlog_disk::real::fsyncs(), Instant::now());
    storage.flush()?;
    let (took, syncs) = (started.elapsed(), timberlog_disk::real::fsyncs() - syncs);
    println!("{what}: {partitions} partitions in {:.2} s, {syncs} fsyncs", took.as_secs_f64());
    Ok(())
}

fn main() -> Result<()> {
    let partitions = std::env::args().nth(1).and_then(|text| text.parse().ok()).unwrap_or(1_000);
    let name = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_nanos());
    let dir = std::env::temp_dir().join(format!("timberlog-many-partitions-{name}"));
    let mut options = Options::new(&dir);
    options.background = false;
    let storage = Storage::open(options, Env::real(), Arc::new(Nobody), &Progress::default())?;
    for what in ["tenants, their first day", "the same tenants again"] {
        for number in 0..partitions {
            storage.append(&Tenant::new(&format!("tenant-{number}"))?, batch([DAY; 3].into_iter())?, None)?;
        }
        flush(&storage, what, partitions)?;
    }
    let days = (0..partitions).map(|back| Day(DAY.0 - back as i32));
    storage.append(&Tenant::default(), batch(days)?, None)?;
    flush(&storage, "days of one tenant", partitions)?;
    storage.close()?;
    drop(storage);
    let _ = std::fs::remove_dir_all(dir);
    Ok(())
}
