//! A start on a full disk: what is replayed is answered, nothing new is taken, and it goes on by
//! itself when there is room.

use super::*;
use std::time::Instant;
use timberlog_disk::sim::Sim;

const FLUSH_BYTES: usize = 64 << 10;

fn simulated(sim: &Sim, options: &Options) -> Result<Storage> {
    Storage::open(options.clone(), sim.env(), Arc::new(Nobody), &Progress::default())
}

fn stepped() -> Options {
    let options = Options::new("/data");
    Options { background: false, wal_file_bytes: 1 << 20, disk_free_bytes_min: 0, ..options }
}

/// A killed process has left `batches` batches of 100 records; how many bytes of memory they are.
fn left_behind(batches: usize) -> (Sim, usize) {
    let sim = Sim::new(7);
    let storage = simulated(&sim, &stepped()).unwrap();
    for _ in 0..batches {
        storage.append(&Tenant::default(), batch(&[7; 100]), None).unwrap();
    }
    let bytes = storage.stats().buffer_bytes as usize;
    assert_eq!(storage.stats().flushes, 0);
    let after = sim.recover(1);
    after.disk.set_capacity(Some(0));
    (after, bytes)
}

#[test]
fn a_start_on_a_full_disk_answers_and_refuses_and_goes_on_when_there_is_room() {
    let (sim, bytes) = left_behind(60);
    assert!(bytes > 2 * FLUSH_BYTES, "{bytes}");
    let options = Options { flush_bytes: FLUSH_BYTES, buffer_bytes_max: bytes * 2, ..stepped() };
    let storage = simulated(&sim, &options).unwrap();
    let tenant = Tenant::default();
    assert_eq!(buffered(&storage.snapshot(&tenant)), 6_000);
    assert!(storage.stats().flush_error.is_some_and(|error| error.contains("space")));
    assert!(storage.stats().damage.is_empty());
    let error = storage.append(&tenant, batch(&[1]), None).unwrap_err();
    assert_eq!(error.kind, ErrorKind::Unavailable);
    assert!(error.message.contains("space"), "{error}");
    sim.disk.set_capacity(None);
    storage.flush().unwrap();
    let snapshot = storage.snapshot(&tenant);
    assert_eq!((buffered(&snapshot), stored(&snapshot)), (0, 6_000));
    assert_eq!((storage.stats().flush_error, storage.stats().buffer_bytes), (None, 0));
    storage.append(&tenant, batch(&[1]), None).unwrap();
}

#[test]
fn the_flusher_resumes_by_itself() {
    let (sim, bytes) = left_behind(60);
    let disk_free_bytes_min = 64 << 10;
    let options = Options {
        background: true,
        flush_bytes: FLUSH_BYTES,
        buffer_bytes_max: bytes * 2,
        disk_free_bytes_min,
        ..stepped()
    };
    let storage = simulated(&sim, &options).unwrap();
    let tenant = Tenant::default();
    // Known from the first append on.
    let error = storage.append(&tenant, batch(&[1]), None).unwrap_err();
    assert!(error.kind == ErrorKind::Unavailable && error.message.contains("disk of `/data`"), "{error}");
    sim.disk.set_capacity(None);
    let deadline = Instant::now() + Duration::from_secs(60);
    // An append comes only then: it may wait for room on the clock that stands still.
    while buffered(&storage.snapshot(&tenant)) > 0 || storage.append(&tenant, batch(&[1]), None).is_err() {
        assert!(Instant::now() < deadline, "{:?}", storage.stats());
        // The simulated clock stands still; a failed flush waits on it.
        sim.clock.advance(Duration::from_secs(1));
        std::thread::yield_now();
    }
    assert_eq!(stored(&storage.snapshot(&tenant)), 6_000);
}

#[test]
fn what_memory_does_not_hold_is_no_start_and_the_error_says_what_to_do() {
    let (sim, bytes) = left_behind(60);
    let options = Options { flush_bytes: FLUSH_BYTES, buffer_bytes_max: bytes / 2, ..stepped() };
    let error = simulated(&sim, &options).map(|_| ()).unwrap_err();
    assert_eq!(error.kind, ErrorKind::Unavailable);
    assert!(error.message.contains("make room on the disk of `/data`"), "{error}");
    // Nothing is lost by trying.
    sim.disk.set_capacity(None);
    let storage = simulated(&sim, &options).unwrap();
    let snapshot = storage.snapshot(&Tenant::default());
    assert_eq!(buffered(&snapshot) as u64 + stored(&snapshot), 6_000);
}

#[test]
fn near_the_floor_a_backup_that_holds_back_files_ends_before_records_are_refused() {
    let sim = Sim::new(9);
    let floor = 1 << 20;
    let options = Options { background: true, flush_bytes: 1 << 30, disk_free_bytes_min: floor, ..stepped() };
    let mut compaction = options.compaction.clone();
    compaction.enabled = false;
    let options = Options { compaction, manifest_history: 1, buffer_bytes_max: 1 << 30, ..options };
    let storage = simulated(&sim, &options).unwrap();
    let tenant = Tenant::default();
    storage.append(&tenant, batch(&[7; 1_000]), None).unwrap();
    let pinned = storage.pin_backup(Duration::from_secs(3600), crate::backup::ColdFiles::Refer).unwrap();
    // What the pin holds is in no root any more.
    for _ in 0..3 {
        storage.append(&tenant, batch(&[7; 1_000]), None).unwrap();
        storage.flush().unwrap();
    }
    let used = || sim.disk.files().iter().map(|(_, len)| len).sum::<u64>();
    let look = |free: u64| {
        sim.disk.set_capacity(Some(used() + free));
        storage.core.look_at_disk();
    };
    look(3 * floor);
    assert!(storage.renew_pin(&pinned.id, Duration::from_secs(3600)).is_ok());
    storage.append(&tenant, batch(&[7]), None).unwrap();
    // Near it: the backup is cancelled, and says so; records are still taken.
    look(floor + floor / 2);
    let error = storage.renew_pin(&pinned.id, Duration::from_secs(3600)).unwrap_err();
    assert!(error.message.contains("nearly full"), "{error}");
    storage.append(&tenant, batch(&[7]), None).unwrap();
    look(floor - 1);
    let error = storage.append(&tenant, batch(&[7]), None).unwrap_err();
    assert!(error.kind == ErrorKind::Unavailable && error.message.contains("no new records are taken"), "{error}");
    look(3 * floor);
    storage.append(&tenant, batch(&[7]), None).unwrap();
}

#[test]
fn near_the_floor_what_retention_lets_go_goes_before_backups_do() {
    let sim = Sim::new(10);
    let floor = 1 << 20;
    let age = Duration::from_secs(3600);
    let rule = crate::RetentionRule { tenant: None, selector: None, age };
    let options = Options { disk_free_bytes_min: floor, retention: vec![rule], manifest_history: 1, ..stepped() };
    let storage = simulated(&sim, &options).unwrap();
    let tenant = Tenant::default();
    // 1970: expired long ago.
    storage.append(&tenant, batch(&[7; 1_000]), None).unwrap();
    storage.flush().unwrap();
    let logs = || sim.disk.files().iter().filter(|(path, _)| path.extension().is_some_and(|end| end == "log")).count();
    assert_eq!(logs(), 1);
    let used: u64 = sim.disk.files().iter().map(|(_, len)| len).sum();
    sim.disk.set_capacity(Some(used + floor + floor / 2));
    storage.core.look_at_disk();
    assert_eq!(logs(), 0);
    storage.append(&tenant, batch(&[7]), None).unwrap();
}
