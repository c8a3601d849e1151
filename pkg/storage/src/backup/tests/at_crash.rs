//! Power is lost at every step of archiving, and of a restore to an instant.

use super::at::*;
use super::*;
use timberlog_disk::sim::Sim;

/// What was there at each second, as far as it was acknowledged.
fn life(storage: &Storage, sim: &Sim, store: &MemoryStore) -> (Option<BackupRecord>, History) {
    let env = sim.env();
    let mut history = Vec::new();
    let record = back_up(&env, store, storage).ok();
    seconds(sim, 1);
    for number in 0..8u64 {
        let producer = ProducerBatch::new("shipper", number + 1).unwrap();
        let tenant = &tenants()[number as usize % 2];
        if storage.append(tenant, batch(DAY, number * 1_000, 5), Some(producer)).is_err() || sim.disk.is_crashed() {
            break;
        }
        history.push((env.clock.now_ns(), records(storage)));
        seconds(sim, 1);
        let done = if number % 3 == 1 { storage.flush() } else { Ok(()) };
        if done.and_then(|()| storage.archive()).is_err() {
            break;
        }
    }
    (record, history)
}

fn small(store: &MemoryStore) -> Options {
    Options { wal_file_bytes: 16 << 10, ..archived_options("/db", store) }
}

#[test]
fn power_lost_at_any_step_of_archiving_leaves_no_gap_and_every_second_that_was_acknowledged() {
    let mut crashes = 0;
    for step in (1..).step_by(if cfg!(debug_assertions) { 5 } else { 1 }) {
        let store = MemoryStore::default();
        let sim = Sim::new(step);
        let storage = Storage::open(small(&store), sim.env(), Arc::new(Nobody), &Progress::default()).unwrap();
        sim.disk.crash_at(sim.disk.steps() + step);
        let (record, history) = life(&storage, &sim, &store);
        if !sim.disk.is_crashed() {
            break;
        }
        for outcome in 0..2 {
            let store = store.fork();
            let after = sim.recover(outcome);
            let (env, context) = (after.env(), format!("step {step} outcome {outcome}"));
            let again = Storage::open(small(&store), env.clone(), Arc::new(Nobody), &Progress::default());
            let again = again.unwrap_or_else(|error| panic!("{context}: {error}"));
            again.archive().unwrap_or_else(|error| panic!("{context}: {error}"));
            append(&again, &tenants()[0], batch(DAY, 99_000, 5), 99_000);
            let end = (env.clock.now_ns(), records(&again));
            again.archive().unwrap();
            crashes += 1;
            let Some(record) = &record else { continue };
            assert_eq!(
                again.stats().archive.unwrap().line,
                *record.line.as_ref().unwrap(),
                "{context}: a line was left"
            );
            let verified = check(&store, &record.id, Depth::Full);
            assert_eq!(verified.damage, Vec::<String>::new(), "{context}");
            let some = history.iter().step_by(3).chain(history.last()).chain([&end]);
            for (number, (at, expected)) in some.enumerate() {
                let dir = format!("/to-{number}");
                restore_at_to(&env, &store, *at, &dir).unwrap_or_else(|error| panic!("{context}: {error}"));
                let found = restored(&env, &dir);
                // What was not acknowledged when the power went may be there, in the last second.
                let is_end = number + 1 >= history.len();
                let is_right = found == *expected || (is_end && contains(&found, expected));
                assert!(is_right, "{context}: second {number}: {found:?} {expected:?}");
            }
        }
    }
    assert!(crashes > 40, "{crashes}");
}

fn contains(all: &BTreeMap<String, Vec<String>>, some: &BTreeMap<String, Vec<String>>) -> bool {
    some.iter().all(|(tenant, rows)| rows.iter().all(|row| all.get(tenant).is_some_and(|all| all.contains(row))))
}

#[test]
fn a_store_that_fails_at_any_request_leaves_no_gap() {
    for step in 1.. {
        let store = MemoryStore::default();
        let sim = Sim::new(41);
        let storage = Storage::open(small(&store), sim.env(), Arc::new(Nobody), &Progress::default()).unwrap();
        let record = back_up(&sim.env(), &store, &storage).unwrap();
        seconds(&sim, 1);
        store.with(|inner| inner.fail_after = Some(step));
        let (mut failed, mut last) = (0, (0, BTreeMap::new()));
        for number in 0..6 {
            append(&storage, &tenants()[0], batch(DAY, number * 1_000, 5), number + 1);
            last = (sim.env().clock.now_ns(), records(&storage));
            failed += u64::from(storage.archive().is_err());
            storage.flush().unwrap();
            seconds(&sim, 1);
        }
        store.with(|inner| inner.fail_after = None);
        // As it was when the store came back, or after a restart.
        let storage = if step % 2 == 0 {
            storage
        } else {
            drop(storage);
            Storage::open(small(&store), sim.env(), Arc::new(Nobody), &Progress::default()).unwrap()
        };
        storage.archive().unwrap();
        let verified = check(&store, &record.id, Depth::Full);
        assert_eq!((verified.damage, verified.archive_batches), (Vec::new(), 6), "step {step}");
        restore_at_to(&sim.env(), &store, last.0, "/to").unwrap();
        assert_eq!(restored(&sim.env(), "/to"), last.1, "step {step}");
        if failed == 0 {
            assert!(step > 6, "{step}");
            return;
        }
    }
}

#[test]
fn power_lost_at_any_step_of_a_restore_to_an_instant_leaves_no_half_database() {
    let (machine, store) = (Sim::new(42), MemoryStore::default());
    let storage = open_archived(&machine.env(), "/db", &store);
    fill(&storage);
    back_up(&machine.env(), &store, &storage).unwrap();
    seconds(&machine, 1);
    let history = history(&machine, &storage, 0..6);
    let (at, expected) = &history[3];
    let mut crashes = 0;
    for step in (1..).step_by(if cfg!(debug_assertions) { 5 } else { 1 }) {
        let sim = Sim::new(step);
        sim.disk.crash_at(step);
        let first = restore_at_to(&sim.env(), &store, *at, "/to");
        if first.is_ok() && !sim.disk.is_crashed() {
            break;
        }
        for outcome in 0..3 {
            let after = sim.recover(outcome);
            let (env, context) = (after.env(), format!("step {step} outcome {outcome}"));
            match Storage::open(options("/to"), env.clone(), Arc::new(Nobody), &Progress::default()) {
                Ok(storage) => {
                    let found = records(&storage);
                    assert!(found.values().all(Vec::is_empty) || found == *expected, "{context}: half a restore opens");
                }
                Err(error) => {
                    assert!(error.message.contains("restore"), "{context}: {error}");
                    // Another instant is another restore.
                    assert!(restore_at_to(&env, &store, history[4].0, "/to").is_err(), "{context}");
                    restore_at_to(&env, &store, *at, "/to").unwrap_or_else(|error| panic!("{context}: {error}"));
                    assert_eq!(restored(&env, "/to"), *expected, "{context}");
                }
            }
            crashes += 1;
        }
    }
    assert!(crashes > 20, "{crashes}");
}
