//! The manifest of a large database, on one thread: opening it, planning a query of one day, a
//! commit. Segments of all days but one are made up: entries without files.
//!
//!     cargo bench --bench manifest

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};
use timberlog_disk::Env;
use timberlog_filter::Filter;
use timberlog_query::{Query, explain, page};
use timberlog_storage::manifest::{
    Edit, FileRef, MANIFEST_DIR, Manifest, ManifestOptions, SegmentEntry, log_path, redb_path,
};
use timberlog_storage::{BufferedBatch, Options, Progress, Storage, Subscriber};
use timberlog_types::{Batch, BatchBuilder, Day, Tenant, TimeRange};

/// The day that is real.
const TODAY: Day = Day(20_778);
const DAYS: i32 = 3_650;
const SEGMENTS_A_DAY: i32 = 27;

struct Nobody;

impl Subscriber for Nobody {
    fn published(&self, _: &Tenant, _: &Arc<BufferedBatch>) {}
}

fn main() {
    if std::env::args().any(|argument| argument == "--test") {
        return;
    }
    if let [_, open, dir, ..] = &std::env::args().collect::<Vec<_>>()[..]
        && open == "--open"
    {
        return opened(Path::new(dir));
    }
    println!("| what | figure |\n|---|---|");
    one_tenant();
    many_tenants();
}

/// Ten years of one tenant, about 100,000 segments.
fn one_tenant() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let tenant = Tenant::default();
    let sample = real_day(dir.path(), &tenant);
    let env = Env::real();
    {
        let (manifest, _) = Manifest::open(&env, dir.path(), ManifestOptions::default()).expect("a manifest");
        let mut edit = Edit::default();
        let mut seq = manifest.state().flushed_seq;
        for day in (1..DAYS).map(|back| Day(TODAY.0 - back)) {
            for _ in 0..SEGMENTS_A_DAY {
                seq += 1;
                edit.add.push((tenant.clone(), day, made_up(&sample, &tenant, day, seq)));
            }
        }
        edit.flushed_seq = Some(seq);
        manifest.commit(edit).expect("a commit");
    }
    // A process of its own: its memory is that of the database.
    let this = std::env::current_exe().expect("this program");
    let child = std::process::Command::new(this).arg("--open").arg(dir.path()).status();
    assert!(child.expect("a second process").success());
}

/// Measures the database of [`one_tenant`].
fn opened(dir: &Path) {
    let tenant = Tenant::default();
    let before = resident_bytes();
    let started = Instant::now();
    let storage = open(dir);
    let opened = started.elapsed();
    let segments = storage.snapshot(&tenant).segments.len();
    row(&format!("opening {segments} segments in {DAYS} partitions"), &ms(opened));
    row("memory that it takes", &mb(resident_bytes() - before));
    let query = Query { range: TODAY.range(), ..Query::new(tenant.clone()) };
    let planned = best(|| explain(&storage.snapshot(&tenant), &query).expect("a plan"));
    row("planning a query of one day (explain)", &ms(planned));
    let answered = best(|| page(&storage.snapshot(&tenant), &query).expect("a page"));
    row("the newest 100 of one day", &ms(answered));
    let far = Query { range: Day(TODAY.0 - 700).range(), filter: Filter::eq("service", "nobody"), ..query };
    let planned = best(|| explain(&storage.snapshot(&tenant), &far).expect("a plan"));
    row("planning a query of a day where no segment can match", &ms(planned));
    let mut n = 0;
    let flushed = best(|| {
        n += 1;
        storage.append(&tenant, batch(n), None).expect("an append");
        storage.flush().expect("a flush");
    });
    row("an append and its flush: segment, commit, view", &ms(flushed));
    storage.close().expect("a clean end");
}

/// Ten years of a hundred tenants, a segment a day: what a commit writes.
fn many_tenants() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let tenants: Vec<Tenant> = (0..100).map(|n| Tenant::new(&format!("tenant-{n:03}")).expect("a name")).collect();
    let sample = real_day(dir.path(), &tenants[0]);
    let (manifest, _) = Manifest::open(&Env::real(), dir.path(), ManifestOptions::default()).expect("a manifest");
    let mut seq = manifest.state().flushed_seq;
    for tenant in &tenants {
        let mut edit = Edit::default();
        for day in (1..DAYS).map(|back| Day(TODAY.0 - back)) {
            seq += 1;
            edit.add.push((tenant.clone(), day, made_up(&sample, tenant, day, seq)));
        }
        edit.flushed_seq = Some(seq);
        manifest.commit(edit).expect("a commit");
    }
    let before = folder_files(dir.path());
    let (mut least, mut least_cpu) = (Duration::MAX, Duration::MAX);
    for _ in 0..10 {
        seq += 1;
        let add = vec![(tenants[50].clone(), TODAY, made_up(&sample, &tenants[50], TODAY, seq))];
        let (started, started_cpu) = (Instant::now(), cpu());
        manifest.commit(Edit { add, flushed_seq: Some(seq), ..Edit::default() }).expect("a commit");
        least = least.min(started.elapsed());
        least_cpu = least_cpu.min(cpu() - started_cpu);
    }
    row("a commit of one segment, 100 tenants of ten years", &ms(least));
    row("CPU that it takes", &ms(least_cpu));
    let after = folder_files(dir.path());
    let newest = after.iter().filter(|file| !before.contains(file)).map(|(name, len)| (name, *len));
    let of =
        |kind: &str| newest.clone().filter(|(name, _)| name.starts_with(kind)).map(|(_, len)| len).max().unwrap_or(0);
    row("bytes that it writes: root and node", &format!("{} and {}", mb(of("root-")), mb(of("month-"))));
}

/// A database with one day of real segments; returns the entry of one.
fn real_day(dir: &Path, tenant: &Tenant) -> SegmentEntry {
    let storage = open(dir);
    for n in 0..SEGMENTS_A_DAY {
        storage.append(tenant, batch(n.into()), None).expect("an append");
        storage.flush().expect("a flush");
    }
    let snapshot = storage.snapshot(tenant);
    let entry = snapshot.segments.iter().next().expect("a segment").entry.as_ref().clone();
    storage.close().expect("a clean end");
    entry
}

fn open(dir: &Path) -> Storage {
    let mut options = Options::new(dir);
    options.background = false;
    Storage::open(options, Env::real(), Arc::new(Nobody), &Progress::default()).expect("a storage")
}

fn batch(n: i64) -> Batch {
    let mut builder = BatchBuilder::new();
    for row in 0..2_000 {
        let service = ["web", "db", "queue", "mail"][row as usize % 4];
        let stream = builder.stream(service, &[("service", service)]).expect("a stream");
        let level = builder.level(Some("info")).expect("a level");
        let message = format!("request {row} of {n} took {} ms", row * 7 % 100);
        let time = TODAY.range().start + n * 1_000_000 + row;
        builder.finish_row(time, stream, level, message.as_bytes()).expect("a row");
    }
    builder.finish().expect("a batch")
}

fn made_up(sample: &SegmentEntry, tenant: &Tenant, day: Day, seq: u64) -> SegmentEntry {
    let id = format!("{seq:026}");
    let start = day.range().start;
    let redb = FileRef { path: redb_path(tenant, day, &id), len: 80_000, crc32c: 7 };
    SegmentEntry {
        seq_min: seq,
        seq_max: seq,
        range: TimeRange { start, end: start + 1_000_000 },
        log: FileRef { path: log_path(tenant, day, &id), ..sample.log.clone() },
        redb: Some(redb),
        id,
        ..sample.clone()
    }
}

fn best<T>(mut run: impl FnMut() -> T) -> Duration {
    let times = (0..10).map(|_| {
        let started = Instant::now();
        drop(run());
        started.elapsed()
    });
    times.min().unwrap_or_default()
}

/// CPU time of this thread.
fn cpu() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::try_from(time).expect("a time since the start")
}

fn folder_files(dir: &Path) -> Vec<(String, u64)> {
    let files = std::fs::read_dir(dir.join(MANIFEST_DIR)).expect("the folder of the manifest");
    files
        .map(|file| {
            let file = file.expect("a file");
            (file.file_name().to_string_lossy().into_owned(), file.metadata().expect("its length").len())
        })
        .collect()
}

fn resident_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kb = line.and_then(|line| line.trim().strip_suffix(" kB")).and_then(|kb| kb.parse::<u64>().ok());
    kb.unwrap_or_default() * 1024
}

fn row(what: &str, figure: &str) {
    println!("| {what} | {figure} |");
}

fn ms(time: Duration) -> String {
    format!("{:.1} ms", time.as_secs_f64() * 1e3)
}

fn mb(bytes: u64) -> String {
    format!("{:.2} MB", bytes as f64 / 1e6)
}
