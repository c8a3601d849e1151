//! Crashes at every step: of the store's requests, and of the disk.

use super::*;

/// What was in the store before.
#[derive(Clone, Copy, PartialEq)]
enum Before {
    Nothing,
    ASegment,
}

/// A machine with two segments, one of them perhaps in the store, and one that is too young.
fn machine(seed: u64, was: Before) -> (Sim, FaultStore, Storage) {
    let (sim, store) = (Sim::new(seed), FaultStore::new());
    let storage = open(&sim.env(), &store);
    append(&storage, 0);
    storage.flush().unwrap();
    if was == Before::ASegment {
        storage.tier().unwrap();
    }
    append(&storage, 10);
    storage.flush().unwrap();
    append_on(&storage, Day(DAY.0 + 5_000), 20);
    storage.flush().unwrap();
    append(&storage, 30);
    (sim, store, storage)
}

/// What holds after any crash, and after the next pass.
fn check(env: &Env, store: &FaultStore, before: &[(i64, String)], context: &str) {
    let storage = open(env, store);
    assert_eq!(records(&storage), before, "{context}");
    if let Some(bucket) = bucket::load(store, None).unwrap() {
        check_bucket(store, bucket.segments().map(|(_, _, entry)| entry.rows).sum());
    }
    storage.tier().unwrap_or_else(|error| panic!("{context}: {error}"));
    assert_eq!(records(&storage), before, "{context}");
    let cold = locations(&storage).iter().filter(|location| **location == Location::Cold).count();
    assert!(cold >= 2, "{context}: {:?}", locations(&storage));
    let rows = storage.snapshot(&Tenant::default());
    let stored = rows.segments.iter().filter(|segment| segment.entry.location == Location::Cold);
    check_bucket(store, stored.map(|segment| segment.entry.rows).sum());
    check_only_named(env, store);
    assert_eq!(records(&storage), before, "{context}");
}

#[test]
fn a_crash_at_any_request_of_a_pass_loses_and_doubles_nothing() {
    let mut crashes = 0;
    for was in [Before::Nothing, Before::ASegment] {
        for step in 0.. {
            let (sim, store, storage) = machine(step, was);
            let before = records(&storage);
            store.with(|inner| inner.fail_after = Some(step));
            let passed = storage.tier();
            if store.with(|inner| !inner.is_down) {
                passed.unwrap();
                break;
            }
            // The process goes on, or it ends.
            if step % 2 == 0 {
                store.heal();
                storage.tier().unwrap();
                assert_eq!(records(&storage), before, "step {step}");
            }
            let after = sim.recover(step);
            drop(storage);
            store.heal();
            check(&after.env(), &store, &before, &format!("request {step}"));
            crashes += 1;
        }
    }
    assert!(crashes >= 10, "{crashes}");
}

#[test]
fn power_lost_at_any_step_of_the_disk_loses_and_doubles_nothing() {
    let mut crashes = 0;
    for step in 1.. {
        let (sim, store, storage) = machine(1, Before::ASegment);
        let before = records(&storage);
        sim.disk.crash_at(sim.disk.steps() + step);
        let passed = storage.tier();
        if !sim.disk.is_crashed() {
            passed.unwrap();
            break;
        }
        for outcome in 0..2 {
            let after = sim.recover(outcome);
            // Each outcome has a store of its own.
            let fork = FaultStore::new();
            let objects = store.with(|inner| inner.objects.clone());
            let now_ns = store.with(|inner| inner.now_ns);
            fork.with(|inner| (inner.objects, inner.now_ns) = (objects, now_ns));
            check(&after.env(), &fork, &before, &format!("step {step} outcome {outcome}"));
            crashes += 1;
        }
    }
    assert!(crashes >= 20, "{crashes}");
}

#[test]
fn a_crash_at_any_request_of_a_collection_removes_nothing_that_is_named() {
    let mut crashes = 0;
    for step in 0.. {
        let (sim, store, storage) = machine(1, Before::ASegment);
        storage.tier().unwrap();
        let before = records(&storage);
        store.put("segments/default/2025-12-20/01KABZZZZZZZZZZZZZZZZZZZZZ.log", b"orphan").unwrap();
        store.advance(7_300);
        store.with(|inner| inner.fail_after = Some(step));
        let collected = gc::collect(&sim.env(), &store, GRACE, GcMode::Delete, None);
        let is_down = store.with(|inner| inner.is_down);
        store.heal();
        assert_eq!(records(&storage), before);
        check_only_named(&sim.env(), &store);
        assert_eq!(records(&storage), before);
        if !is_down {
            collected.unwrap();
            break;
        }
        crashes += 1;
    }
    assert!(crashes >= 4, "{crashes}");
}
