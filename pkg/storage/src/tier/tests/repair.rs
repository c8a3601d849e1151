//! Verify and repair, where segments are in the store.

use super::*;
use crate::manifest::{Edit, Manifest, ManifestOptions, SegmentEntry};
use crate::tier::upload::Upload;
use crate::verify::verify;

#[test]
fn what_is_in_the_store_alone_is_neither_damaged_nor_given_up() {
    let (sim, store) = (Sim::new(1), FaultStore::new());
    let storage = open(&sim.env(), &store);
    append(&storage, 0);
    storage.flush().unwrap();
    storage.tier().unwrap();
    append_on(&storage, Day(DAY.0 + 5_000), 10);
    storage.close().unwrap();
    drop(storage);
    let report = verify(&sim.env(), Path::new("/db"), &|_, _| {}).unwrap();
    assert_eq!((report.segments, report.segments_stored, report.damage), (1, 1, Vec::<String>::new()));
    let repaired = Storage::repair(&options(&store), &sim.env()).unwrap();
    assert_eq!((repaired.records_lost, repaired.actions), (0, Vec::<String>::new()));
    assert_eq!(records(&open(&sim.env(), &store)).len(), 20);
}

#[test]
fn a_damaged_copy_of_what_is_in_the_store_costs_nothing() {
    let (sim, store) = (Sim::new(1), FaultStore::new());
    let env = sim.env();
    let storage = open(&env, &store);
    append(&storage, 0);
    storage.close().unwrap();
    drop(storage);
    let entries = |manifest: &Manifest| -> Vec<_> {
        manifest.state().segments().map(|(tenant, day, entry)| (tenant.clone(), day, (**entry).clone())).collect()
    };
    // As a crash leaves it before the copies go.
    {
        let (manifest, _) = Manifest::open(&env, Path::new("/db"), ManifestOptions::default()).unwrap();
        let (tenant, day, local) = entries(&manifest).remove(0);
        let upload = Upload { env: &env, data_dir: Path::new("/db"), store: &store, gc_grace: GRACE, pace: &|_| {} };
        let stored = upload.segment(&tenant, day, &local).unwrap().entry;
        let both = SegmentEntry { location: Location::Both, index_object: stored.index_object, ..local };
        manifest.commit(Edit::move_to(vec![(tenant, day, both)])).unwrap();
    }
    let log = env.disk.open(Path::new(&local_files(&sim)[0]), Open::Write).unwrap();
    let mut byte = [0];
    log.read_exact_at(&mut byte, 100).unwrap();
    log.write_all_at(&[byte[0] ^ 1], 100).unwrap();
    let repaired = Storage::repair(&options(&store), &env).unwrap();
    assert_eq!(repaired.records_lost, 0);
    assert!(repaired.actions[0].contains("is read from the object store"), "{:?}", repaired.actions);
    let (manifest, _) = Manifest::open(&env, Path::new("/db"), ManifestOptions::default()).unwrap();
    let left = entries(&manifest);
    assert_eq!((left.len(), left[0].2.location, left[0].2.rows), (1, Location::Cold, 10));
}

/// The `.log` holds everything but the B+trees.
#[test]
fn a_segment_is_read_though_its_index_object_is_damaged_or_gone() {
    let (sim, tier) = (Sim::new(1), FaultStore::new());
    let settings = Options { user_indexes: vec!["host".to_owned()], ..options(&tier) };
    let storage = open_with(&sim.env(), settings.clone()).unwrap();
    append(&storage, 0);
    storage.flush().unwrap();
    storage.tier().unwrap();
    let all = records(&storage);
    drop(storage);
    let key = tier.keys("segments/").into_iter().find(|key| key.ends_with(".index")).unwrap();
    let whole = tier.get(&key).unwrap();
    let mut flipped = whole.clone();
    flipped[whole.len() / 2] ^= 1;
    for object in [Some(flipped), Some(whole[..whole.len() - 1].to_vec()), Some(Vec::new()), None] {
        tier.with(|inner| match &object {
            Some(bytes) => drop(inner.objects.insert(key.clone(), (bytes.clone(), 0))),
            None => drop(inner.objects.remove(&key)),
        });
        for path in cached(&sim, "index") {
            sim.env().disk.remove_file(Path::new(&path)).unwrap();
        }
        let storage = open_with(&sim.env(), settings.clone()).unwrap();
        assert_eq!(records(&storage), all);
        let segment = Arc::clone(storage.snapshot(&Tenant::default()).segments.iter().next().unwrap());
        let error = segment.open().unwrap().index.as_ref().unwrap().as_ref().err().unwrap().to_string();
        assert!(error.contains(&key), "{error}");
        let is_named = storage.stats().damage.iter().any(|message| message.contains(&key));
        assert_eq!(is_named, object.is_some(), "{:?}", storage.stats().damage);
    }
}
