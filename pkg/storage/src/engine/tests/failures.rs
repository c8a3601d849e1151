//! What becomes of appends and files when a flush fails or the storage closes.

use super::*;
use std::sync::mpsc;
use timberlog_disk::sim::{Fault, Op, Sim, SimDisk};

fn simulated(sim: &Sim, options: Options) -> Storage {
    Storage::open(options, sim.env(), Arc::new(Nobody), &Progress::default()).unwrap()
}

fn stepped() -> Options {
    Options { background: false, wal_file_bytes: 1 << 20, ..Options::new("/data") }
}

/// The files below a folder.
fn files(disk: &SimDisk, folder: &std::path::Path) -> Vec<String> {
    let mut found = Vec::new();
    for entry in timberlog_disk::Disk::list(disk, folder).unwrap_or_default() {
        let path = folder.join(&entry.name);
        if entry.is_dir { found.extend(files(disk, &path)) } else { found.push(path.display().to_string()) }
    }
    found
}

/// Tried again every second, a flush that cannot succeed must not fill the disk.
#[test]
fn a_flush_that_fails_leaves_no_files_and_loses_nothing() {
    for (op, part) in [
        (Op::Sync, ".log"),
        (Op::SyncDir, "segments"),
        (Op::Sync, "producers"),
        (Op::Write, "manifest/"),
        (Op::Write, ".log"),
    ] {
        let sim = Sim::new(7);
        let storage = simulated(&sim, stepped());
        let tenant = Tenant::default();
        let producer = || Some(ProducerBatch::new("shipper", 1).unwrap());
        storage.append(&tenant, batch(&[1, Day(3).range().start]), producer()).unwrap();
        let before = [files(&sim.disk, "/data/segments".as_ref()), files(&sim.disk, "/data/producers".as_ref())];
        sim.disk.inject(op, part, 0, Fault::Io);
        assert!(storage.flush().is_err(), "{op:?} {part}");
        let after = [files(&sim.disk, "/data/segments".as_ref()), files(&sim.disk, "/data/producers".as_ref())];
        assert_eq!(before, after, "{op:?} {part}");
        assert_eq!(buffered(&storage.snapshot(&tenant)), 2);
        storage.flush().unwrap();
        let snapshot = storage.snapshot(&tenant);
        assert_eq!((buffered(&snapshot), stored(&snapshot)), (0, 2));
        assert!(storage.append(&tenant, batch(&[1]), producer()).unwrap().duplicate);
    }
}

/// After a commit of which nobody knows whether it is durable, its files stay: a start may need
/// them.
#[test]
fn a_commit_of_unknown_outcome_keeps_its_files_and_writes_no_more() {
    let sim = Sim::new(7);
    let storage = simulated(&sim, stepped());
    let tenant = Tenant::default();
    storage.append(&tenant, batch(&[1, 2]), None).unwrap();
    sim.disk.inject(Op::Rename, "manifest.json", 0, Fault::DoneButError);
    assert_eq!(storage.failure(), None);
    assert!(storage.flush().is_err());
    // Memory will be full: whoever looks after the server must learn why before.
    assert!(storage.failure().is_some_and(|reason| reason.contains("may or may not be durable")));
    let left = files(&sim.disk, "/data/segments".as_ref());
    assert!(!left.is_empty());
    assert!(storage.flush().is_err());
    assert_eq!(files(&sim.disk, "/data/segments".as_ref()), left);
    for seed in 0..20 {
        let sim = sim.recover(seed);
        let storage = simulated(&sim, stepped());
        let snapshot = storage.snapshot(&tenant);
        assert_eq!(buffered(&snapshot) as u64 + stored(&snapshot), 2, "seed {seed}");
        assert!(storage.stats().damage.is_empty(), "seed {seed}");
    }
}

#[test]
fn an_append_that_comes_while_the_storage_closes_is_answered() {
    let folder = tempfile::tempdir().unwrap();
    // Full at once, and nothing flushes.
    let options = Options { buffer_bytes_max: 0, ..options(&folder) };
    let tenant = Tenant::default();
    let storage = open(&options).unwrap();
    storage.append(&tenant, batch(&[1]), None).unwrap();
    let (sender, receiver) = mpsc::channel();
    // The line has been emptied already when this one, which saw the storage open, comes into it.
    let pending = |sender: mpsc::Sender<Result<Appended>>| PendingAppend {
        tenant: tenant.clone(),
        batch: Arc::new(batch(&[2])),
        producer: None,
        done: Box::new(move |result| drop(sender.send(result))),
    };
    storage.core.closed.store(true, Ordering::SeqCst);
    storage.core.refuse_waiting();
    storage.core.admit(pending(sender), 1_000);
    assert_eq!(receiver.try_recv().unwrap().unwrap_err().kind, ErrorKind::Closed);
}

/// A flood over many partitions freezes small generations, which count while the WAL is replayed.
#[test]
fn replay_keeps_to_the_bound_of_memory_whatever_the_partitions() {
    let sim = Sim::new(7);
    let tenant = Tenant::default();
    let options = Options { partitions_per_flush_max: 2, ..stepped() };
    let storage = simulated(&sim, options.clone());
    for day in 0..60 {
        storage.append(&tenant, batch(&[Day(day).range().start; 20]), None).unwrap();
    }
    assert_eq!(storage.stats().flushes, 0);
    let bytes = storage.stats().buffer_bytes as usize;
    let sim = sim.recover(1);
    let storage = simulated(&sim, Options { flush_bytes: bytes / 10, ..options });
    let left = storage.stats().buffer_bytes as usize;
    assert!(left <= bytes / 5, "{left} of {bytes} bytes");
    let snapshot = storage.snapshot(&tenant);
    assert_eq!(buffered(&snapshot) as u64 + stored(&snapshot), 1200);
}

struct Panics(std::sync::atomic::AtomicBool);

impl timberlog_disk::Random for Panics {
    fn fill(&self, buf: &mut [u8]) {
        assert!(!self.0.load(Ordering::SeqCst), "on purpose");
        timberlog_disk::Random::fill(&timberlog_disk::real::RealRandom, buf);
    }
}

#[test]
fn a_flush_that_panics_is_an_error_and_the_next_one_works() {
    let folder = tempfile::tempdir().unwrap();
    let options = Options { background: true, ..options(&folder) };
    let tenant = Tenant::default();
    let random = Arc::new(Panics(false.into()));
    let env = Env { random: Arc::clone(&random) as _, ..Env::real() };
    let storage = Storage::open(options, env, Arc::new(Nobody), &Progress::default()).unwrap();
    storage.append(&tenant, batch(&[1, 2]), None).unwrap();
    random.0.store(true, Ordering::SeqCst);
    assert_eq!(storage.flush().unwrap_err().kind, ErrorKind::Internal);
    assert!(storage.stats().flush_error.is_some_and(|error| error.contains("panicked")));
    assert_eq!(buffered(&storage.snapshot(&tenant)), 2);
    random.0.store(false, Ordering::SeqCst);
    storage.flush().unwrap();
    let snapshot = storage.snapshot(&tenant);
    assert_eq!((buffered(&snapshot), stored(&snapshot)), (0, 2));
}
