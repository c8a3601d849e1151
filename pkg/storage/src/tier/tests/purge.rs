//! Deletes of records that are in the object store only: they are gone from there, too.

use super::*;
use crate::deletes::Selectors;
use timberlog_filter::Filter;
use timberlog_types::Error;

pub(super) fn with_deletes(store: &FaultStore) -> Options {
    let selectors = Selectors::new(|text| match text {
        "" => Err(Error::invalid("an empty selector")),
        text => Ok(Filter::contains(text)),
    });
    Options { selectors, ..options(store) }
}

fn cold_database() -> (Sim, FaultStore, Storage) {
    let (sim, store) = (Sim::new(1), FaultStore::new());
    let storage = open_with(&sim.env(), with_deletes(&store)).unwrap();
    append(&storage, 0);
    storage.flush().unwrap();
    storage.tier().unwrap();
    (sim, store, storage)
}

#[test]
fn a_delete_takes_records_out_of_the_store() {
    let (sim, store, storage) = cold_database();
    let old: Vec<String> = store.keys("segments/");
    storage.delete(&Tenant::default(), "record 3", TimeRange::ALL).unwrap();
    storage.flush().unwrap();
    storage.tier().unwrap();
    // Whoever reads the bucket alone must not see it either.
    assert_eq!(bucket(&store).tombstones.len(), 1);
    while storage.compact().unwrap().is_some() {}
    assert_eq!(records(&storage).len(), 9);
    assert_eq!(locations(&storage), [Location::Local]);
    let done = storage.tier().unwrap();
    assert_eq!(done.segments_uploaded, 1);
    check_bucket(&store, 9);
    assert!(bucket(&store).tombstones.is_empty());
    check_only_named(&sim.env(), &store);
    assert!(store.keys("segments/").iter().all(|key| !old.contains(key)));
    assert_eq!(records(&storage).len(), 9);
}

/// A cancelled delete hides nothing from whoever reads the bucket alone, and takes nothing away where somebody takes it
/// over.
#[test]
fn a_cancelled_delete_leaves_the_store_too() {
    let (sim, store, storage) = cold_database();
    let delete = storage.delete(&Tenant::default(), "record 3", TimeRange::ALL).unwrap();
    storage.tier().unwrap();
    assert_eq!(bucket(&store).tombstones.len(), 1);
    storage.cancel_delete(&Tenant::default(), &delete.id).unwrap();
    // However long the store is not reached.
    append(&storage, 10);
    storage.flush().unwrap();
    sim.clock.advance(Duration::from_secs(30 * 24 * 3600));
    let nothing = storage.delete(&Tenant::default(), "record 99", TimeRange::ALL).unwrap();
    storage.tier().unwrap();
    let hiding: Vec<String> = bucket(&store).tombstones.iter().map(|tombstone| tombstone.id.clone()).collect();
    assert_eq!(hiding, [nothing.id]);
    let mut theirs = with_deletes(&store);
    let tier = theirs.tier.as_mut().unwrap();
    (tier.adopt, tier.take_over) = (true, true);
    let other = open_with(&Sim::new(2).env(), theirs).unwrap();
    while other.compact().unwrap().is_some() {}
    assert_eq!(records(&other).len(), 20);
}

/// What a power loss leaves of the cache, which nobody syncs, is no damage of the segment.
#[test]
fn a_cache_that_is_damaged_does_not_keep_records_in_the_store() {
    let (sim, store) = (Sim::new(1), FaultStore::new());
    let with_cache = |memory_bytes| open_with(&sim.env(), with_cache(with_deletes(&store), memory_bytes)).unwrap();
    let storage = with_cache(1 << 20);
    for first in [0, 30] {
        append(&storage, first);
        storage.flush().unwrap();
        storage.tier().unwrap();
    }
    assert_eq!(records(&storage).len(), 20);
    wait_for_cached(&sim, 2);
    drop(storage);
    damage_cache(&sim);
    let storage = with_cache(0);
    storage.delete(&Tenant::default(), "record 3", TimeRange::ALL).unwrap();
    while storage.compact().unwrap().is_some() {}
    storage.tier().unwrap();
    check_bucket(&store, 9);
    assert_eq!(storage.stats().damage, Vec::<String>::new());
}

#[test]
fn a_delete_of_everything_empties_the_store() {
    let (sim, store, storage) = cold_database();
    storage.delete(&Tenant::default(), "record", TimeRange::ALL).unwrap();
    storage.flush().unwrap();
    while storage.compact().unwrap().is_some() {}
    storage.tier().unwrap();
    check_bucket(&store, 0);
    check_only_named(&sim.env(), &store);
    assert!(store.keys("segments/").is_empty());
}

#[test]
fn a_crash_between_purge_and_upload_brings_nothing_back() {
    for step in 0.. {
        let (sim, store, storage) = cold_database();
        storage.delete(&Tenant::default(), "record 3", TimeRange::ALL).unwrap();
        storage.flush().unwrap();
        while storage.compact().unwrap().is_some() {}
        store.with(|inner| inner.fail_after = Some(step));
        let passed = storage.tier();
        let is_down = store.with(|inner| inner.is_down);
        // The bucket alone: what it shows is the old segment with its tombstone, or the new one.
        store.heal();
        let held = bucket(&store);
        let rows: u64 = held.segments().map(|(_, _, entry)| entry.rows).sum();
        assert!(rows == 9 || (rows == 10 && is_down), "step {step}: {rows} rows");
        check_bucket(&store, rows);
        let after = sim.recover(step);
        drop(storage);
        let storage = open_with(&after.env(), with_deletes(&store)).unwrap();
        assert_eq!(records(&storage).len(), 9, "step {step}");
        storage.tier().unwrap();
        check_bucket(&store, 9);
        check_only_named(&after.env(), &store);
        if !is_down {
            passed.unwrap();
            return;
        }
    }
}
