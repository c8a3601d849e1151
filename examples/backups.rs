//! Measures backups in a folder: how fast they are made, verified and restored, against `cp -r`, a sync
//! and one more reading for a checksum; what an incremental one copies after 1 % of new records; and what
//! thirty daily ones copy while compaction runs.
//!
//!     cargo run --release --example backups -- /tmp/new-folder [MB of segments]

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};
use timberlog_db::types::{Error, ErrorKind, Result, Tenant, time};
use timberlog_db::{CompactionOptions, Env, Options, Progress, Storage};
use timberlog_ingest::demo::Traffic;
use timberlog_ingest::{DecodeOptions, Decoder, Limits, NoStreamLimit};
use timberlog_objects::LocalStore;
use timberlog_storage::backup::{self, BackupRecord, ColdFiles, Depth, Event, Selection, StorageSource};
use timberlog_storage::objects::ObjectStore;
use timberlog_storage::{BufferedBatch, Subscriber};

const RECORDS_PER_BATCH: usize = 1_000;
const DAY_NS: i64 = 24 * 3600 * 1_000_000_000;

struct Nobody;

impl Subscriber for Nobody {
    fn published(&self, _: &Tenant, _: &Arc<BufferedBatch>) {}
}

fn silent(_: Event<'_>) {}

struct Writer {
    storage: Storage,
    traffic: Traffic,
    decoder: Decoder,
    now_ns: i64,
}

impl Writer {
    fn open(env: &Env, dir: &Path) -> Result<Self> {
        let compaction = CompactionOptions { enabled: false, fan_in: 8, ..CompactionOptions::default() };
        let options = Options { background: false, compaction, ..Options::new(dir) };
        let storage = Storage::open(options, env.clone(), Arc::new(Nobody), &Progress::default())?;
        let now_ns = time::parse(b"2026-01-01T00:00:00Z").map_err(|error| Error::invalid(error.to_string()))?;
        Ok(Self { storage, traffic: Traffic::new(1), decoder: Decoder::new(), now_ns })
    }

    /// Appends records with so much time between two.
    fn append(&mut self, records: usize, step_ns: i64) -> Result<()> {
        let (labels, limits) = (["service".to_owned()], Limits { max_future_ns: i64::MAX, ..Limits::default() });
        for _ in 0..records.div_ceil(RECORDS_PER_BATCH) {
            let mut body = Vec::new();
            self.traffic.records(RECORDS_PER_BATCH, self.now_ns, step_ns, &mut body);
            let options = DecodeOptions {
                now_ns: self.now_ns,
                keep_from_ns: i64::MIN,
                stream_labels: &labels,
                default_service: "",
                strict: false,
                limits: &limits,
                streams: &NoStreamLimit,
            };
            if let Some(batch) = self.decoder.json(&body, &options)?.batch {
                self.storage.append(&Tenant::default(), batch, None)?;
            }
            self.now_ns += step_ns * RECORDS_PER_BATCH as i64;
        }
        Ok(())
    }

    fn back_up(&self, env: &Env, store: &dyn ObjectStore) -> Result<BackupRecord> {
        let source = StorageSource::pin(&self.storage, Duration::from_secs(3600), ColdFiles::Refer)?;
        Ok(backup::create(env, store, &source, &silent)?.record)
    }
}

/// `cp -r`, everything on disk, and read once more for a CRC32C.
fn copy(from: &Path, to: &Path) -> Result<f64> {
    let start = Instant::now();
    let run = |command: &mut Command| command.status().map_err(|error| Error::io("run `cp` or `sync`", &error));
    let is_done = run(Command::new("cp").arg("-r").arg(from).arg(to))?.success()
        && run(Command::new("sync").arg("-f").arg(to))?.success();
    if !is_done {
        return Err(Error::new(ErrorKind::Unavailable, "`cp` or `sync` failed"));
    }
    sum(to)?;
    Ok(start.elapsed().as_secs_f64())
}

fn sum(dir: &Path) -> Result<u32> {
    let io = |error: std::io::Error| Error::io("read what was copied", &error);
    let (mut all, mut folders) = (0, vec![dir.to_path_buf()]);
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).map_err(io)? {
            let path: PathBuf = entry.map_err(io)?.path();
            if path.is_dir() {
                folders.push(path);
            } else {
                all ^= crc32c::crc32c(&std::fs::read(path).map_err(io)?);
            }
        }
    }
    Ok(all)
}

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let folder = PathBuf::from(arguments.first().ok_or_else(|| Error::invalid("name a new folder"))?);
    let wanted: u64 = arguments.get(1).and_then(|text| text.parse().ok()).unwrap_or(300) * 1_000_000;
    let env = Env::real();
    speed(&env, &folder, wanted)?;
    thirty_days(&env, &folder)
}

fn speed(env: &Env, folder: &Path, wanted: u64) -> Result<()> {
    let data = folder.join("data");
    let mut writer = Writer::open(env, &data)?;
    let mut records = 0;
    while writer.storage.stats().segment_bytes < wanted {
        writer.append(200_000, 1_000_000)?;
        records += 200_000;
        writer.storage.flush()?;
    }
    let bytes = writer.storage.stats().segment_bytes;
    println!("{bytes} bytes of segments, {records} records");
    let store: Arc<dyn ObjectStore> = Arc::new(LocalStore::new(env.clone(), folder.join("store")));
    // In turn, so that what else the machine does hits all.
    for round in 0..3 {
        let copied = copy(&data.join("segments"), &folder.join(format!("copy-{round}")))?;
        let round_store: Arc<dyn ObjectStore> =
            Arc::new(LocalStore::new(env.clone(), folder.join(format!("store-{round}"))));
        let start = Instant::now();
        let record = writer.back_up(env, &*round_store)?;
        let created = start.elapsed().as_secs_f64();
        let start = Instant::now();
        let verified = backup::verify(&round_store, &record, Depth::Full, &silent)?;
        let checked = start.elapsed().as_secs_f64();
        let start = Instant::now();
        let to = folder.join(format!("restored-{round}"));
        backup::restore(env, &*round_store, &record, &to, &Selection::default(), &silent)?;
        let restored = start.elapsed().as_secs_f64();
        println!(
            "cp + checksum {copied:.2} s; create {created:.2} s = {:.0} %, verify {checked:.2} s = {:.0} %, restore \
             {restored:.2} s = {:.0} % of its speed; damage: {}",
            copied / created * 100.0,
            copied / checked * 100.0,
            copied / restored * 100.0,
            verified.damage.len()
        );
    }
    let full = writer.back_up(env, &*store)?;
    writer.append(records / 100, 1_000_000)?;
    let next = writer.back_up(env, &*store)?;
    let share = next.copied_bytes as f64 / next.bytes() as f64 * 100.0;
    println!("after 1 % of new records: {} of {} bytes copied = {share:.2} %", next.copied_bytes, next.bytes());
    assert!(next.bytes() > full.bytes());
    writer.storage.close()
}

fn thirty_days(env: &Env, folder: &Path) -> Result<()> {
    let mut writer = Writer::open(env, &folder.join("month"))?;
    let store = LocalStore::new(env.clone(), folder.join("month-store"));
    let (mut copied, mut flushed, mut jobs) = (0, 0, 0);
    for _ in 0..30 {
        for _ in 0..8 {
            writer.append(10_000, DAY_NS / 80_000)?;
            writer.storage.flush()?;
        }
        while writer.storage.compact()?.is_some() {
            jobs += 1;
        }
        copied += writer.back_up(env, &store)?.copied_bytes;
        flushed = writer.storage.stats().compaction.bytes_flushed;
    }
    let ratio = copied as f64 / flushed as f64;
    println!("thirty daily backups, {jobs} merges: {copied} bytes copied for {flushed} new ones = {ratio:.2}");
    writer.storage.close()
}
