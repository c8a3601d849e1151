//! Segments go to the store, are read there, and what nothing names goes.

use super::*;

#[test]
fn old_segments_go_to_the_store_and_answers_stay_the_same() {
    let (sim, store) = (Sim::new(1), FaultStore::new());
    let storage = open(&sim.env(), &store);
    for first in [0, 10, 20] {
        append(&storage, first);
        storage.flush().unwrap();
    }
    let before = records(&storage);
    let done = storage.tier().unwrap();
    assert_eq!((done.segments_uploaded, done.segments_cold), (3, 3));
    assert_eq!(locations(&storage), [Location::Cold; 3]);
    assert_eq!(records(&storage), before);
    check_bucket(&store, 30);
    assert!(local_files(&sim).is_empty(), "{:?}", local_files(&sim));
    append_on(&storage, Day(DAY.0 + 5_000), 0);
    append_on(&storage, Day(DAY.0 + 5_000), 10);
    storage.flush().unwrap();
    let idle = storage.tier().unwrap();
    assert_eq!((idle.segments_uploaded, idle.commits), (0, 0), "{idle:?}");
    storage.close().unwrap();
    drop(storage);
    let storage = open(&sim.env(), &store);
    assert_eq!(records(&storage).len(), 50);
    storage.tier().unwrap();
    assert_eq!(bucket(&store).epoch, 2);
    check_bucket(&store, 30);
}

#[test]
fn a_local_budget_sends_the_oldest_whatever_their_age() {
    let (sim, store) = (Sim::new(1), FaultStore::new());
    let far = Duration::from_secs(1 << 40);
    let mut options = options(&store);
    options.tier = Some(TierOptions { after: far, local_bytes_max: Some(0), ..tier(&store) });
    let storage = open_with(&sim.env(), options.clone()).unwrap();
    append_on(&storage, Day(DAY.0 + 1), 0);
    storage.flush().unwrap();
    append(&storage, 10);
    storage.flush().unwrap();
    storage.tier().unwrap();
    assert_eq!(locations(&storage), [Location::Cold; 2]);
    drop(storage);
    options.tier = Some(TierOptions { after: far, local_bytes_max: Some(1 << 20), ..tier(&store) });
    let storage = open_with(&sim.env(), options).unwrap();
    append(&storage, 20);
    storage.flush().unwrap();
    storage.tier().unwrap();
    assert_eq!(locations(&storage).iter().filter(|location| **location == Location::Local).count(), 1);
}

#[test]
fn an_outage_costs_nothing_and_the_next_pass_goes_on() {
    let (sim, store) = (Sim::new(1), FaultStore::new());
    store.with(|inner| inner.is_down = true);
    let storage = open(&sim.env(), &store);
    append(&storage, 0);
    storage.flush().unwrap();
    assert_eq!(storage.tier().unwrap_err().kind, ErrorKind::Unavailable);
    assert_eq!(storage.tier_stats().phase, crate::tier::TierPhase::Failing);
    append(&storage, 10);
    assert_eq!(records(&storage).len(), 20);
    store.heal();
    storage.tier().unwrap();
    assert_eq!(storage.tier_stats().phase, crate::tier::TierPhase::Writing);
    check_bucket(&store, 10);
}

#[test]
fn a_damaged_segment_stays_and_is_named() {
    let (sim, store) = (Sim::new(1), FaultStore::new());
    let storage = open(&sim.env(), &store);
    append(&storage, 0);
    storage.flush().unwrap();
    let path = local_files(&sim).into_iter().find(|path| path.ends_with(".log")).unwrap();
    assert!(sim.disk.flip_bit(std::path::Path::new(&path), 500));
    append_on(&storage, Day(DAY.0 + 1), 10);
    storage.flush().unwrap();
    storage.tier().unwrap();
    assert_eq!(locations(&storage), [Location::Local, Location::Cold]);
    assert!(storage.stats().damage.iter().any(|message| message.contains("leaves a segment alone")));
}

#[test]
fn what_a_root_dropped_goes_after_the_grace_and_what_one_names_stays() {
    let (sim, store) = (Sim::new(1), FaultStore::new());
    let env = sim.env();
    let storage = open(&env, &store);
    append(&storage, 0);
    storage.flush().unwrap();
    storage.tier().unwrap();
    let orphan = "segments/default/2025-12-20/01KABZZZZZZZZZZZZZZZZZZZZZ.log";
    store.put(orphan, b"of an upload that crashed").unwrap();
    store.put("segments/not ours", b"of somebody else").unwrap();
    store.advance(3_000);
    let young = collect(&env, &store, GcMode::Delete);
    assert!(young.garbage.is_empty() && young.young > 0, "{young:?}");
    store.advance(700);
    // A dry run goes by this machine's clock.
    let ns = store.with(|inner| inner.now_ns);
    sim.clock.set_wall(ns);
    let dry = collect(&env, &store, GcMode::DryRun);
    assert!(dry.garbage.iter().any(|object| object.key == orphan) && !dry.deleted);
    assert!(store.keys("").contains(&orphan.to_owned()));
    collect(&env, &store, GcMode::Delete);
    assert!(!store.keys("").contains(&orphan.to_owned()));
    assert!(store.keys("").contains(&"segments/not ours".to_owned()));
    store.delete(&["segments/not ours".to_owned()]).unwrap();
    check_bucket(&store, 10);
    check_only_named(&env, &store);
    let report = gc::collect(&env, &store, GRACE, GcMode::Delete, Some(7)).unwrap_err();
    assert_eq!(report.kind, ErrorKind::Closed);
}

/// Whoever has read the root before the newest one may still ask for what it names.
#[test]
fn what_the_root_before_named_stays_for_the_grace() {
    let (sim, store) = (Sim::new(1), FaultStore::new());
    let env = sim.env();
    let storage = open_with(&env, super::purge::with_deletes(&store)).unwrap();
    append(&storage, 0);
    storage.flush().unwrap();
    storage.tier().unwrap();
    let old = store.keys("segments/");
    store.advance(7_300);
    storage.delete(&Tenant::default(), "record 3", TimeRange::ALL).unwrap();
    while storage.compact().unwrap().is_some() {}
    storage.tier().unwrap();
    check_bucket(&store, 9);
    collect(&env, &store, GcMode::Delete);
    let left = store.keys("segments/");
    assert!(old.iter().all(|key| left.contains(key)), "{left:?}");
    check_only_named(&env, &store);
    let left = store.keys("segments/");
    assert!(old.iter().all(|key| !left.contains(key)), "{left:?}");
}

/// What an earlier try left is believed by its bytes, not by its length.
#[test]
fn an_orphan_with_other_bytes_is_written_over() {
    let (sim, store) = (Sim::new(1), FaultStore::new());
    let storage = open(&sim.env(), &store);
    append(&storage, 0);
    storage.flush().unwrap();
    let state = storage.core_state();
    let log = state.segments().next().unwrap().2.log.clone();
    store.put(&log.path, &vec![7; log.len as usize]).unwrap();
    storage.tier().unwrap();
    check_bucket(&store, 10);
}

#[test]
fn what_compaction_replaced_stays_until_its_replacement_is_there() {
    let (sim, store) = (Sim::new(1), FaultStore::new());
    let env = sim.env();
    let storage = open(&env, &store);
    append(&storage, 0);
    storage.flush().unwrap();
    let state = storage.core_state();
    let (tenant, day, entry) = state.segments().next().unwrap();
    let local = (**entry).clone();
    storage.tier().unwrap();
    let present = bucket(&store);
    // The manifest after a purge: another segment of the same sequences.
    let replacement = crate::manifest::SegmentEntry { id: "01KABZZZZZZZZZZZZZZZZZZZZZ".into(), purged_seq: 9, ..local };
    let mut after = (*state).clone();
    let months = Arc::make_mut(after.tenants.get_mut(tenant).unwrap());
    let node = Arc::make_mut(months.values_mut().next().unwrap());
    let partition = Arc::make_mut(node.partitions.get_mut(&day).unwrap());
    partition.segments = vec![Arc::new(replacement.clone())];
    let tombstone = crate::deletes::Tombstone {
        id: "01KABYYYYYYYYYYYYYYYYYYYYY".into(),
        tenant: tenant.clone(),
        selector: "{service=\"web\"}".into(),
        range: TimeRange::ALL,
        seq: 9,
        created_ns: 0,
    };
    let live = [tombstone];
    use crate::tier::mirror::{Uploaded, change, due};
    // The tombstone is finished in the manifest; the bucket still needs it.
    let mut with_live = present.clone();
    with_live.tombstones = Arc::new(live.to_vec());
    let none = change(&after, &[], &with_live, &Uploaded::new());
    assert!(none.is_empty(), "{none:?}");
    let urgent = due(&after, &present, &TierOptions { after: Duration::from_secs(1 << 40), ..tier(&store) }, 0);
    assert_eq!(urgent.len(), 1);
    let object = crate::manifest::FileRef { path: "x".into(), len: 1, crc32c: 1 };
    let cold = crate::manifest::SegmentEntry { index_object: Some(object), ..crate::tier::mirror::cold(&replacement) };
    let uploaded = Uploaded::from([((tenant.clone(), day, cold.id.clone()), Arc::new(cold.clone()))]);
    let replaced = change(&after, &[], &with_live, &uploaded);
    assert_eq!(replaced.partitions.values().next().unwrap().as_slice(), [Arc::new(cold)]);
    assert_eq!(replaced.tombstones, Some(Vec::new()));
    // All of its rows were deleted: nothing replaces it.
    let mut gone = after.clone();
    gone.tenants.clear();
    let removed = change(&gone, &[], &present, &Uploaded::new());
    assert!(removed.partitions.values().all(Vec::is_empty) && removed.partitions.len() == 1);
}

#[test]
fn what_is_sent_over_an_old_orphan_leaves_the_disk_when_no_collection_can_take_it_any_more() {
    let (sim, store) = (Sim::new(1), FaultStore::new());
    let storage = open(&sim.env(), &store);
    append(&storage, 0);
    storage.flush().unwrap();
    let expected = records(&storage);
    let log = storage.core_state().segments().map(|(.., entry)| entry.log.path.clone()).next().unwrap();
    store.put(&log, b"half of it").unwrap();
    store.advance(2 * 3_600);
    let passed = storage.tier().unwrap();
    assert_eq!((passed.segments_uploaded, passed.segments_cold), (1, 0));
    assert_eq!(locations(&storage), [Location::Both]);
    check_bucket(&store, 10);
    // A collection elsewhere saw what was there before, and its deletion arrives now.
    store.delete(std::slice::from_ref(&log)).unwrap();
    sim.clock.advance(Duration::from_secs(50));
    store.advance(50);
    assert_eq!(storage.tier().unwrap().segments_cold, 0, "too early");
    sim.clock.advance(Duration::from_secs(11));
    store.advance(11);
    assert_eq!(storage.tier().unwrap().segments_cold, 1);
    check_bucket(&store, 10);
    assert_eq!(records(&storage), expected);
}
