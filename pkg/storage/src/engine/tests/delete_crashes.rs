//! A crash at every step of a delete, its purge and its end, and of an expiry: nothing that was
//! answered is undone, nothing else goes, and the next start finishes or undoes the step.

use super::deletes::{messages, selectors, shown};
use super::*;
use crate::deletes::DeleteState;
use crate::retention::RetentionRule;
use timberlog_disk::sim::Sim;
use timberlog_types::TimeRange;

const KEPT: [&str; 5] = ["a", "b", "c", "d", "e"];

fn options() -> Options {
    Options {
        background: false,
        wal_file_bytes: 64 << 10,
        disk_free_bytes_min: 0,
        selectors: selectors(),
        ..Options::new("/data")
    }
}

fn open(sim: &Sim, options: &Options) -> Storage {
    Storage::open(options.clone(), sim.env(), Arc::new(Nobody), &Progress::default()).unwrap()
}

fn files(sim: &Sim) -> usize {
    sim.disk.files().iter().filter(|(path, _)| path.extension().is_some_and(|end| end == "log")).count()
}

/// A segment that loses some rows, one that loses all, one that loses none, and a buffered batch.
fn prepared(sim: &Sim) -> Storage {
    let storage = open(sim, &options());
    let tenant = Tenant::default();
    for texts in [&["a", "secret 1", "b"][..], &["secret 2"], &["c", "d"]] {
        storage.append(&tenant, messages(texts), None).unwrap();
        storage.flush().unwrap();
    }
    storage.append(&tenant, messages(&["secret 3", "e"]), None).unwrap();
    storage
}

/// Runs `act` with a crash at each of its steps, and holds what each start finds against `check`,
/// which is told whether `act` was answered with success.
fn at_every_step(
    prepare: &dyn Fn(&Sim) -> Storage,
    act: &dyn Fn(&Storage) -> Result<()>,
    options: &Options,
    check: &dyn Fn(&Sim, &Storage, bool),
) {
    let mut step = 1;
    loop {
        let sim = Sim::new(3);
        let storage = prepare(&sim);
        sim.disk.crash_at(sim.disk.steps() + step);
        let done = act(&storage).is_ok();
        drop(storage);
        for seed in 0..3 {
            let sim = sim.recover(seed);
            let storage = open(&sim, options);
            assert_eq!(storage.stats().damage, Vec::<String>::new(), "step {step}, seed {seed}");
            check(&sim, &storage, done);
        }
        if done {
            assert!(step > 5, "{step}");
            return;
        }
        step += 1;
    }
}

#[test]
fn a_crash_at_any_step_of_a_delete_leaves_it_answered_or_not() {
    let tenant = Tenant::default();
    let delete = |storage: &Storage| storage.delete(&tenant, "secret", TimeRange::ALL).map(drop);
    at_every_step(&prepared, &delete, &options(), &|_, storage, done| {
        let is_there = !storage.deletes(&tenant).is_empty();
        assert!(is_there || !done);
        let count = if is_there { 5 } else { 8 };
        assert_eq!(shown(storage, &tenant).len(), count);
        // It stays as it was found.
        storage.flush().unwrap();
        while storage.compact().unwrap().is_some() {}
        assert_eq!(shown(storage, &tenant).len(), count);
        let ended = storage.deletes(&tenant).iter().all(|delete| delete.state == DeleteState::Processed);
        assert!(ended && storage.stats().segment_records == count as u64);
    });
}

#[test]
fn a_crash_at_any_step_of_a_cancellation_leaves_it_answered_or_not() {
    let tenant = Tenant::default();
    let prepare = |sim: &Sim| {
        let storage = prepared(sim);
        storage.delete(&tenant, "secret", TimeRange::ALL).unwrap();
        storage
    };
    let cancel = |storage: &Storage| storage.cancel_delete(&tenant, &storage.deletes(&tenant)[0].tombstone.id);
    at_every_step(&prepare, &cancel, &options(), &|_, storage, done| {
        let is_there = !storage.deletes(&tenant).is_empty();
        assert!(!is_there || !done);
        let count = if is_there { 5 } else { 8 };
        assert_eq!(shown(storage, &tenant).len(), count);
        storage.flush().unwrap();
        while storage.compact().unwrap().is_some() {}
        assert_eq!((shown(storage, &tenant).len(), storage.stats().segment_records), (count, count as u64));
    });
}

#[test]
fn a_crash_at_any_step_of_a_purge_is_finished_by_the_next_start() {
    let tenant = Tenant::default();
    let prepare = |sim: &Sim| {
        let storage = prepared(sim);
        storage.delete(&tenant, "secret", TimeRange::ALL).unwrap();
        storage.flush().unwrap();
        storage
    };
    let purge = |storage: &Storage| -> Result<()> {
        while storage.compact()?.is_some() {}
        Ok(())
    };
    at_every_step(&prepare, &purge, &options(), &|sim, storage, _| {
        assert_eq!(shown(storage, &tenant), KEPT);
        purge(storage).unwrap();
        assert_eq!(shown(storage, &tenant), KEPT);
        assert_eq!(storage.deletes(&tenant)[0].state, DeleteState::Processed);
        let stats = storage.stats();
        assert_eq!((stats.segment_records, files(sim) as u64), (5, stats.segments));
    });
}

#[test]
fn a_crash_at_any_step_of_an_expiry_is_finished_by_the_next_start() {
    let tenant = Tenant::default();
    let age = Duration::from_secs(48 * 3600);
    let options = Options { retention: vec![RetentionRule { tenant: None, selector: None, age }], ..options() };
    let at = |day: i32| Day(20_454 + day).range().start + 5;
    let prepare = |sim: &Sim| {
        sim.clock.set_wall(at(2));
        let storage = open(sim, &options);
        for day in 0..3 {
            storage.append(&tenant, batch(&[at(day), at(day) + 1]), None).unwrap();
            storage.flush().unwrap();
        }
        sim.clock.set_wall(at(3) - 1_000_000_000);
        storage
    };
    let expire = |storage: &Storage| storage.compact().map(drop);
    at_every_step(&prepare, &expire, &options, &|sim, storage, _| {
        assert_eq!(shown(storage, &tenant).len(), 4, "the oldest day is expired");
        storage.compact().unwrap();
        assert_eq!((shown(storage, &tenant).len(), storage.stats().segments), (4, 2));
        assert!(files(sim) == 2 || files(sim) == 3, "{} files", files(sim));
    });
}
