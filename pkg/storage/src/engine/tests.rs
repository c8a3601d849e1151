use super::*;
use crate::manifest::Edit;
use std::time::Duration;
use timberlog_types::{BatchBuilder, Day};

mod delete_crashes;
mod deletes;
mod durable_order;
mod failures;
mod full_disk;
mod hostile;
mod index_reads;
mod pressure;
mod retention;
mod wal_files;

struct Nobody;

impl Subscriber for Nobody {
    fn published(&self, _: &Tenant, _: &Arc<BufferedBatch>) {}
}

fn options(folder: &tempfile::TempDir) -> Options {
    Options { background: false, ..Options::new(folder.path().join("data")) }
}

fn open(options: &Options) -> Result<Storage> {
    Storage::open(options.clone(), Env::real(), Arc::new(Nobody), &Progress::default())
}

/// Records with the given timestamps, and their number in the message.
fn batch(timestamps: &[i64]) -> Batch {
    let mut builder = BatchBuilder::new();
    let stream = builder.stream("web", &[("service", "web")]).unwrap();
    let level = builder.level(Some("info")).unwrap();
    for (number, &timestamp) in timestamps.iter().enumerate() {
        builder.finish_row(timestamp, stream, level, format!("message {number}").as_bytes()).unwrap();
    }
    builder.finish().unwrap()
}

fn buffered(snapshot: &Snapshot) -> usize {
    snapshot.batches.iter().map(|batch| batch.batch.rows()).sum()
}

fn stored(snapshot: &Snapshot) -> u64 {
    snapshot.segments.iter().map(|segment| segment.entry.rows).sum()
}

/// A writer that came in between the two would wait for the first, and the second for the writer.
#[test]
#[cfg(debug_assertions)]
#[should_panic(expected = "the view is locked twice")]
fn a_thread_that_locks_the_view_twice_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let storage = open(&options(&folder)).unwrap();
    let _held = storage.core.read_view();
    storage.stats();
}

#[test]
fn a_batch_is_visible_before_and_after_a_flush_and_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let options = options(&folder);
    let tenant = Tenant::default();
    let storage = open(&options).unwrap();
    assert_eq!(storage.append(&tenant, batch(&[1, 2, 3]), None).unwrap().seq, 1);
    assert_eq!((buffered(&storage.snapshot(&tenant)), stored(&storage.snapshot(&tenant))), (3, 0));
    let before = storage.snapshot(&tenant);
    storage.flush().unwrap();
    assert_eq!((buffered(&storage.snapshot(&tenant)), stored(&storage.snapshot(&tenant))), (0, 3));
    assert_eq!((buffered(&before), stored(&before)), (3, 0), "a snapshot does not change");
    assert_eq!(storage.append(&tenant, batch(&[4]), None).unwrap().seq, 2);
    assert_eq!(buffered(&storage.snapshot(&Tenant::new("other").unwrap())), 0);
    storage.close().unwrap();
    drop(storage);
    let storage = open(&options).unwrap();
    assert_eq!((buffered(&storage.snapshot(&tenant)), stored(&storage.snapshot(&tenant))), (0, 4));
    assert_eq!(storage.append(&tenant, batch(&[5]), None).unwrap().seq, 3);
}

#[test]
fn what_was_not_flushed_is_replayed() {
    let folder = tempfile::tempdir().unwrap();
    let options = options(&folder);
    let tenant = Tenant::default();
    let storage = open(&options).unwrap();
    storage.append(&tenant, batch(&[1, 2]), None).unwrap();
    storage.flush().unwrap();
    storage.append(&tenant, batch(&[3]), None).unwrap();
    // As a crash leaves it: without `close`, but with the lock released.
    let copy = folder.path().join("copy");
    copy_folder(&options.data_dir, &copy);
    let options = Options { data_dir: copy, ..options.clone() };
    let storage = open(&options).unwrap();
    assert_eq!((buffered(&storage.snapshot(&tenant)), stored(&storage.snapshot(&tenant))), (1, 2));
}

fn copy_folder(from: &std::path::Path, to: &std::path::Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy_folder(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
}

#[test]
fn a_producers_batch_is_stored_once_also_after_flush_and_restart() {
    let folder = tempfile::tempdir().unwrap();
    let options = options(&folder);
    let tenant = Tenant::default();
    let number = |number| Some(ProducerBatch::new("shipper", number).unwrap());
    let storage = open(&options).unwrap();
    let first = storage.append(&tenant, batch(&[1, 2]), number(7)).unwrap();
    assert_eq!((first.rows, first.duplicate), (2, false));
    let again = storage.append(&tenant, batch(&[1, 2]), number(7)).unwrap();
    assert_eq!((again.seq, again.rows, again.duplicate), (first.seq, 2, true));
    storage.close().unwrap();
    drop(storage);
    let storage = open(&options).unwrap();
    assert!(storage.append(&tenant, batch(&[1, 2]), number(7)).unwrap().duplicate);
    assert_eq!(storage.append(&tenant, batch(&[1]), number(6)).unwrap_err().kind, ErrorKind::Conflict);
    assert!(!storage.append(&tenant, batch(&[1, 2]), number(8)).unwrap().duplicate);
    assert_eq!(stored(&storage.snapshot(&tenant)) as usize + buffered(&storage.snapshot(&tenant)), 4);
}

#[test]
fn a_flood_over_many_days_is_flushed_in_bounded_pieces() {
    let folder = tempfile::tempdir().unwrap();
    let options = Options { partitions_per_flush_max: 4, ..options(&folder) };
    let tenant = Tenant::default();
    let storage = open(&options).unwrap();
    for day in 0..10 {
        storage.append(&tenant, batch(&[Day(day).range().start]), None).unwrap();
    }
    storage.flush().unwrap();
    assert_eq!(storage.stats().flushes, 3);
    let snapshot = storage.snapshot(&tenant);
    assert_eq!((snapshot.segments.len(), stored(&snapshot)), (10, 10));
}

#[test]
fn the_wal_is_trimmed_by_a_flush() {
    let folder = tempfile::tempdir().unwrap();
    let options = Options { wal_file_bytes: 64 << 10, ..options(&folder) };
    let tenant = Tenant::default();
    let storage = open(&options).unwrap();
    let timestamps: Vec<i64> = (0..500).collect();
    let wal_bytes = || -> u64 {
        let files = std::fs::read_dir(options.data_dir.join("wal")).unwrap();
        files.map(|file| file.unwrap().metadata().unwrap().len()).sum()
    };
    for _ in 0..40 {
        storage.append(&tenant, batch(&timestamps), None).unwrap();
    }
    let before = wal_bytes();
    storage.flush().unwrap();
    assert_eq!(wal_bytes(), before, "the last flush stays, for a fallback to the root before it");
    storage.append(&tenant, batch(&timestamps), None).unwrap();
    storage.flush().unwrap();
    assert!(wal_bytes() < before / 2, "{} of {before} bytes are left", wal_bytes());
}

#[test]
fn appends_beyond_the_bound_wait_and_are_then_refused() {
    let folder = tempfile::tempdir().unwrap();
    // Nothing flushes here: the bound is reached and the wait runs out.
    let options = Options {
        background: true,
        flush_bytes: usize::MAX,
        buffer_bytes_max: 100_000,
        wait_max: Duration::ZERO,
        ..options(&folder)
    };
    let tenant = Tenant::default();
    let storage = open(&options).unwrap();
    let timestamps: Vec<i64> = (0..1000).collect();
    let mut refused = 0;
    let mut acknowledged = 0;
    for _ in 0..50 {
        match storage.append(&tenant, batch(&timestamps), None) {
            Ok(_) => acknowledged += 1000,
            Err(error) => {
                assert!(matches!(error.kind, ErrorKind::Overloaded { .. }), "{error}");
                refused += 1000;
            }
        }
        assert!(storage.stats().buffer_bytes <= 100_000);
    }
    let stats = storage.stats();
    assert_eq!((stats.records_appended, stats.records_refused), (acknowledged, refused));
    let snapshot = storage.snapshot(&tenant);
    assert_eq!(buffered(&snapshot) as u64 + stored(&snapshot), acknowledged);
}

#[test]
fn a_second_storage_on_the_same_directory_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let options = options(&folder);
    let _first = open(&options).unwrap();
    let error = open(&options).err().unwrap();
    assert_eq!(error.kind, ErrorKind::Conflict);
}

#[test]
fn a_damaged_newest_root_loses_nothing() {
    let folder = tempfile::tempdir().unwrap();
    // Each flush spans several WAL files: the newest one would stay in any case.
    let options = Options { wal_file_bytes: 64 << 10, ..options(&folder) };
    let timestamps: Vec<i64> = (0..500).collect();
    let tenant = Tenant::default();
    let storage = open(&options).unwrap();
    for _ in 0..3 {
        for _ in 0..20 {
            storage.append(&tenant, batch(&timestamps), None).unwrap();
        }
        storage.flush().unwrap();
    }
    let root = options.data_dir.join(&storage.core.read_view().state().root.path);
    storage.close().unwrap();
    drop(storage);
    let mut bytes = std::fs::read(&root).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&root, bytes).unwrap();
    let storage = open(&options).unwrap();
    assert!(!storage.stats().damage.is_empty());
    let snapshot = storage.snapshot(&tenant);
    assert_eq!((stored(&snapshot), buffered(&snapshot)), (20_000, 10_000));
    storage.append(&tenant, batch(&[9]), None).unwrap();
    storage.flush().unwrap();
    assert_eq!(stored(&storage.snapshot(&tenant)), 30_001);
}

#[test]
fn a_damaged_producers_file_is_reported_and_does_not_stop_the_start() {
    let folder = tempfile::tempdir().unwrap();
    let options = options(&folder);
    let tenant = Tenant::default();
    let storage = open(&options).unwrap();
    storage.append(&tenant, batch(&[1]), Some(ProducerBatch::new("shipper", 1).unwrap())).unwrap();
    storage.close().unwrap();
    let file = storage.core.read_view().state().producers.clone().unwrap();
    drop(storage);
    std::fs::write(options.data_dir.join(file.path), b"nonsense").unwrap();
    let storage = open(&options).unwrap();
    assert!(storage.stats().damage[0].contains("producers"), "{:?}", storage.stats().damage);
}

#[test]
fn records_are_refused_while_the_disk_is_nearly_full() {
    let folder = tempfile::tempdir().unwrap();
    let options = Options { disk_free_bytes_min: u64::MAX, background: true, ..options(&folder) };
    let tenant = Tenant::default();
    let storage = open(&options).unwrap();
    storage.core.look_at_disk();
    let error = storage.append(&tenant, batch(&[1]), None).unwrap_err();
    assert_eq!(error.kind, ErrorKind::Unavailable);
    assert!(error.message.contains("bytes free"), "{error}");
    assert_eq!(storage.stats().records_refused, 1);
}

#[test]
fn many_small_segments_do_not_hold_many_files_open() {
    let folder = tempfile::tempdir().unwrap();
    let options = Options { cache_bytes: 1 << 20, partitions_per_flush_max: 1000, ..options(&folder) };
    let tenant = Tenant::default();
    let storage = open(&options).unwrap();
    let timestamps: Vec<i64> = (0..200).map(|day| Day(day).range().start).collect();
    storage.append(&tenant, batch(&timestamps), None).unwrap();
    storage.flush().unwrap();
    let opened: Vec<_> =
        storage.snapshot(&tenant).segments.iter().map(|segment| Arc::downgrade(&segment.open().unwrap())).collect();
    let open = opened.iter().filter(|files| files.strong_count() > 0).count();
    assert!(opened.len() == 200 && open <= 32, "{open} of {}", opened.len());
}

/// A repair gives up what is damaged, not what it cannot judge.
#[test]
fn a_repair_stops_before_a_segment_that_it_may_not_read() {
    let sim = timberlog_disk::sim::Sim::new(3);
    let options = Options { background: false, wal_file_bytes: 1 << 20, ..Options::new("/data") };
    let tenant = Tenant::default();
    let open = || Storage::open(options.clone(), sim.env(), Arc::new(Nobody), &Progress::default()).unwrap();
    let storage = open();
    storage.append(&tenant, batch(&[1, 2]), None).unwrap();
    storage.close().unwrap();
    drop(storage);
    // What the simulated disk has of errors that are none of lost bytes.
    sim.disk.inject(timberlog_disk::sim::Op::Open, ".log", 0, timberlog_disk::sim::Fault::NoSpace);
    let error = Storage::repair(&options, &sim.env()).unwrap_err();
    assert_eq!(error.kind, ErrorKind::Unavailable, "{error}");
    let repaired = Storage::repair(&options, &sim.env()).unwrap();
    assert_eq!((repaired.records_lost, repaired.actions.len()), (0, 0), "{repaired:?}");
    assert_eq!(stored(&open().snapshot(&tenant)), 2);
}

/// As a compaction removes segments: queries that began before it read them to the end.
#[test]
fn the_files_of_a_snapshot_stay_until_it_is_dropped() {
    let folder = tempfile::tempdir().unwrap();
    let options = Options { manifest_history: 1, ..options(&folder) };
    let tenant = Tenant::default();
    let storage = open(&options).unwrap();
    storage.append(&tenant, batch(&[1, 2]), None).unwrap();
    storage.flush().unwrap();
    let snapshot = storage.snapshot(&tenant);
    let id = snapshot.segments.iter().next().unwrap().entry.id.clone();
    let core = &storage.core;
    let edit = Edit { remove: vec![(tenant.clone(), Day(0), id)], ..Edit::default() };
    let remove = |edit: Edit| {
        let state = core.manifest.commit(edit).unwrap();
        core.install(state).unwrap();
    };
    remove(edit);
    (0..5).for_each(|_| remove(Edit::default()));
    assert_eq!(stored(&storage.snapshot(&tenant)), 0);
    let log = snapshot.segments.iter().next().unwrap().log_path().to_owned();
    assert!(log.exists());
    drop(snapshot);
    core.manifest.collect().unwrap();
    assert!(!log.exists());
}
