//! A database from a bucket: by a directory that becomes its writer, and by nodes that follow it.

use super::*;
use crate::tier::{Adopting, Adoption, TierPhase, adopt};
use std::path::Path;
use std::time::Instant;

fn shared(store: &FaultStore) -> Arc<dyn ObjectStore> {
    Arc::new(store.clone())
}

/// A bucket with 20 records, and its writer's machine.
fn written() -> (Sim, FaultStore, Storage) {
    let (sim, store) = (Sim::new(1), FaultStore::new());
    let storage = open(&sim.env(), &store);
    append(&storage, 0);
    storage.flush().unwrap();
    append_on(&storage, Day(DAY.0 - 40), 10);
    storage.flush().unwrap();
    storage.tier().unwrap();
    (sim, store, storage)
}

fn follower(store: &FaultStore) -> Options {
    let tier = TierOptions { follow: true, ..tier(store) };
    Options { tier: Some(tier), ..options(store) }
}

#[test]
fn an_empty_disk_takes_the_bucket_over_and_the_former_writer_stops() {
    let (_old_machine, store, old) = written();
    let before = records(&old);
    let sim = Sim::new(2);
    let env = sim.env();
    let done = adopt(&env, Path::new("/db"), &shared(&store), Adopting::default()).unwrap();
    assert_eq!(done, Adoption::Done { epoch: 2, segments: 2, records: 20 });
    let storage = open(&env, &store);
    assert_eq!(records(&storage), before);
    assert_eq!(
        adopt(&env, Path::new("/other"), &shared(&FaultStore::new()), Adopting::default()).unwrap_err().kind,
        ErrorKind::NotFound
    );
    append(&storage, 30);
    storage.flush().unwrap();
    storage.tier().unwrap();
    check_bucket(&store, 30);
    assert_eq!(bucket(&store).epoch, 3);
    append(&old, 50);
    old.flush().unwrap();
    assert_eq!(old.tier().unwrap_err().kind, ErrorKind::Closed);
    storage.close().unwrap();
    drop(storage);
    assert_eq!(adopt(&env, Path::new("/db"), &shared(&store), Adopting::default()).unwrap(), Adoption::Present);
    assert_eq!(records(&open(&env, &store)).len(), 30);
}

#[test]
fn a_store_without_atomic_puts_is_adopted_only_when_somebody_vouches() {
    let (_machine, store, _old) = written();
    store.with(|inner| inner.is_not_atomic = true);
    let env = Sim::new(2).env();
    let error = adopt(&env, Path::new("/db"), &shared(&store), Adopting::default()).unwrap_err();
    assert!(error.kind == ErrorKind::Conflict && error.message.contains("no atomic conditional puts"), "{error}");
    assert!(matches!(
        adopt(&env, Path::new("/db"), &shared(&store), Adopting { take_over: true, ..Adopting::default() }),
        Ok(Adoption::Done { epoch: 2, .. })
    ));
}

#[test]
fn power_lost_at_any_step_of_an_adoption_leaves_a_directory_that_adopts_again() {
    let (_machine, store, old) = written();
    let before = records(&old);
    let mut crashes = 0;
    for step in 1.. {
        let sim = Sim::new(step);
        sim.disk.crash_at(step);
        let adopted = adopt(&sim.env(), Path::new("/db"), &shared(&store), Adopting::default());
        if !sim.disk.is_crashed() {
            adopted.unwrap();
            break;
        }
        let after = sim.recover(step);
        let env = after.env();
        adopt(&env, Path::new("/db"), &shared(&store), Adopting::default()).unwrap();
        let storage = open(&env, &store);
        assert_eq!(records(&storage), before, "step {step}");
        storage.tier().unwrap();
        check_bucket(&store, 20);
        crashes += 1;
    }
    assert!(crashes > 10, "{crashes}");
}

/// Flips a bit of the newest root; its version.
fn damage_newest(store: &FaultStore) -> u64 {
    let version = bucket(store).version;
    store.with(|inner| {
        let (bytes, _) = inner.objects.get_mut(&crate::tier::bucket::format::root_key(version)).unwrap();
        bytes[40] ^= 1;
    });
    version
}

#[test]
fn a_damaged_newest_root_is_not_adopted_unless_a_version_is_named() {
    let (_machine, store, old) = written();
    let before = records(&old);
    let whole = bucket(&store).version;
    append(&old, 50);
    old.flush().unwrap();
    old.tier().unwrap();
    let newest = damage_newest(&store);
    assert_eq!(newest, whole + 1);
    let env = Sim::new(2).env();
    let named = |version| Adopting { version: Some(version), ..Adopting::default() };
    let error = adopt(&env, Path::new("/db"), &shared(&store), Adopting::default()).unwrap_err();
    assert_eq!(error.kind, ErrorKind::Corrupt, "{error}");
    assert!(error.message.contains(&format!("whole versions are {whole} (")), "{error}");
    assert!(error.message.contains("20 records") && error.message.contains("--from-version"), "{error}");
    assert_eq!(adopt(&env, Path::new("/db"), &shared(&store), named(newest)).unwrap_err().kind, ErrorKind::Corrupt);
    assert_eq!(adopt(&env, Path::new("/db"), &shared(&store), named(77)).unwrap_err().kind, ErrorKind::NotFound);

    // A version of which an object is gone is not whole.
    let log = bucket::load_whole(&store, whole).unwrap().segments().next().unwrap().2.log.path.clone();
    let object = store.with(|inner| inner.objects.remove(&log).unwrap());
    let error = adopt(&env, Path::new("/db"), &shared(&store), named(whole)).unwrap_err();
    assert!(error.kind == ErrorKind::NotFound && error.message.contains(&log), "{error}");
    store.with(|inner| inner.objects.insert(log, object));

    let done = adopt(&env, Path::new("/db"), &shared(&store), named(whole)).unwrap();
    assert!(matches!(done, Adoption::Done { segments: 2, records: 20, .. }), "{done:?}");
    let (claimed, of_old) = (bucket(&store), old.tier_stats().epoch);
    assert!(claimed.version == newest + 1 && claimed.epoch > of_old, "{} {}", claimed.version, claimed.epoch);
    let storage = open(&env, &store);
    assert_eq!(records(&storage), before);
    append(&storage, 30);
    storage.flush().unwrap();
    storage.tier().unwrap();
    check_bucket(&store, 30);
    // Whoever holds what was damaged commits no more.
    append(&old, 60);
    old.flush().unwrap();
    assert_eq!(old.tier().unwrap_err().kind, ErrorKind::Closed);

    let error = adopt(&env, Path::new("/other"), &shared(&store), named(whole)).unwrap_err();
    assert!(error.kind == ErrorKind::Conflict && error.message.contains("is whole"), "{error}");
}

#[test]
fn an_adoption_of_a_version_is_gone_on_with_when_it_broke_off() {
    let (_machine, store, old) = written();
    let (whole, before) = (bucket(&store).version, records(&old));
    append(&old, 50);
    old.flush().unwrap();
    old.tier().unwrap();
    damage_newest(&store);
    let how = Adopting { version: Some(whole), ..Adopting::default() };
    let claim =
        crate::tier::bucket::Claim { writer: "b".repeat(32), database_id: None, take_over: true, manifest_version: 1 };
    bucket::Writer::claim_version(&Sim::new(2).env(), &shared(&store), &claim, whole).unwrap();
    let env = Sim::new(3).env();
    adopt(&env, Path::new("/db"), &shared(&store), how).unwrap();
    assert_eq!(records(&open(&env, &store)), before);
}

#[test]
fn a_directory_writes_a_damaged_root_anew_when_it_may() {
    let (machine, store, old) = written();
    let before = records(&old);
    old.close().unwrap();
    drop(old);
    let newest = damage_newest(&store);
    let env = machine.env();
    let storage = open(&env, &store);
    let error = storage.tier().unwrap_err();
    assert!(error.kind == ErrorKind::Corrupt && error.message.contains("`--s3-take-over`"), "{error}");
    drop(storage);
    let may = TierOptions { take_over: true, ..tier(&store) };
    let storage = open_with(&env, Options { tier: Some(may), ..options(&store) }).unwrap();
    store.advance(7_300);
    storage.tier().unwrap();
    check_bucket(&store, 20);
    assert!(bucket(&store).version > newest);
    assert_eq!(records(&storage), before);
    let other = Sim::new(9).env();
    adopt(&other, Path::new("/db"), &shared(&store), Adopting::default()).unwrap();
    assert_eq!(records(&open(&other, &store)), before);
}

#[test]
fn a_follower_shows_the_writers_commits_and_writes_nothing() {
    let (machine, store, writer) = written();
    let env = Sim::new(2).env();
    let changes = store.with(|inner| inner.changes);
    let reader = open_with(&env, follower(&store)).unwrap();
    assert_eq!(records(&reader), records(&writer));
    assert_eq!(reader.tier_stats().phase, TierPhase::Following);
    append(&writer, 30);
    writer.flush().unwrap();
    assert!(!reader.follow().unwrap());
    writer.tier().unwrap();
    let of_writer = store.with(|inner| inner.changes);
    assert!(reader.follow().unwrap());
    assert_eq!(records(&reader), records(&writer));
    let mut builder = BatchBuilder::new();
    let stream = builder.stream("web", &[("service", "web")]).unwrap();
    let level = builder.level(None).unwrap();
    builder.finish_row(DAY.range().start, stream, level, b"no").unwrap();
    let refused = reader.append(&Tenant::default(), builder.finish().unwrap(), None).unwrap_err();
    assert!(refused.kind == ErrorKind::Invalid && refused.message.contains("`--read-only`"), "{refused}");
    store.with(|inner| inner.is_down = true);
    assert_eq!(reader.follow().unwrap_err().kind, ErrorKind::Unavailable);
    assert_eq!(reader.tier_stats().phase, TierPhase::Failing);
    store.heal();
    assert!(!reader.follow().unwrap());
    reader.close().unwrap();
    assert!(of_writer > changes);
    assert_eq!(store.with(|inner| inner.changes), of_writer, "the reader changed something");
    let error = open_with(&machine.env(), follower(&store)).err().unwrap();
    assert!(matches!(error.kind, ErrorKind::Conflict), "{error}");
}

#[test]
fn a_bucket_of_a_thousand_segments_is_followed_within_two_seconds() {
    let (_machine, store, _writer) = written();
    let env = Sim::new(2).env();
    let shared = shared(&store);
    let claim =
        crate::tier::bucket::Claim { writer: "b".repeat(32), database_id: None, take_over: true, manifest_version: 1 };
    let mut writer = crate::tier::bucket::Writer::claim(&env, &shared, &claim).unwrap();
    let (tenant, day, pattern) = {
        let mut segments = writer.state().segments();
        let (tenant, day, entry) = segments.next().unwrap();
        (tenant.clone(), day, (**entry).clone())
    };
    let entry = |number: u64| {
        let mut entry = pattern.clone();
        let id = format!("01KAB{number:021}");
        for file in [&mut entry.log, entry.index_object.as_mut().unwrap()] {
            file.path = file.path.replace(&pattern.id, &id);
        }
        if let Some(redb) = &mut entry.redb {
            redb.path = redb.path.replace(&pattern.id, &id);
        }
        (entry.id, entry.seq_min, entry.seq_max) = (id, number, number);
        Arc::new(entry)
    };
    let partitions = [((tenant, day), (1..=1_000).map(entry).collect())].into();
    writer.commit(crate::tier::bucket::Change { partitions, flushed_seq: 1_000, ..Default::default() }).unwrap();
    // One of some tries: a busy machine may hold up others.
    let follow = |_| {
        let (env, started) = (Sim::new(3).env(), Instant::now());
        let reader = open_with(&env, follower(&store)).unwrap();
        assert_eq!(reader.stats().segments, 1_001);
        started.elapsed()
    };
    let quickest = (0..10).map(follow).find(|took| *took < Duration::from_secs(2));
    assert!(quickest.is_some());
}
