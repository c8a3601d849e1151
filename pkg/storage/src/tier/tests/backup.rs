//! Backups of segments that are in the store alone.

use super::*;
use crate::backup::{self, ColdFiles, Depth, Selection, StorageSource};

#[test]
fn what_is_in_the_store_alone_is_referred_to_or_copied() {
    let (sim, tier) = (Sim::new(1), FaultStore::new());
    let storage = open(&sim.env(), &tier);
    append(&storage, 0);
    storage.flush().unwrap();
    storage.tier().unwrap();
    append_on(&storage, Day(DAY.0 + 5_000), 10);
    storage.flush().unwrap();
    let all = records(&storage);
    let store: Arc<dyn ObjectStore> = Arc::new(FaultStore::new());
    let create = |cold| {
        let source = StorageSource::pin(&storage, Duration::from_secs(60), cold).unwrap();
        backup::create(&sim.env(), &*store, &source, &|_| {}).unwrap().record
    };
    let (referring, copying) = (create(ColdFiles::Refer), create(ColdFiles::Copy));
    let referenced = referring.referenced.as_ref().unwrap();
    assert_eq!((referenced.segments, copying.referenced.as_ref()), (1, None));
    assert_eq!(referenced.store, tier.describe());
    storage.close().unwrap();
    drop(storage);
    for (record, to, locations_then) in
        [(&referring, "/a", [Location::Cold, Location::Local]), (&copying, "/b", [Location::Local; 2])]
    {
        let verified = backup::verify(&store, record, Depth::Full, &|_| {}).unwrap();
        assert_eq!((verified.damage, verified.records), (Vec::<String>::new(), 20), "{to}");
        assert_eq!(backup::missing_cold(&*store, &tier, record).unwrap(), Vec::<String>::new(), "{to}");
        let restored =
            backup::restore(&sim.env(), &*store, record, Path::new(to), &Selection::default(), &|_| {}).unwrap();
        assert_eq!(restored.records, 20);
        let tier = (to == "/a").then(|| super::tier(&tier));
        let options = Options { data_dir: to.into(), tier, ..options(&FaultStore::new()) };
        let storage = open_with(&sim.env(), options).unwrap();
        assert_eq!((locations(&storage), records(&storage)), (locations_then.to_vec(), all.clone()), "{to}");
    }
    // The bucket knows nothing of backups: what leaves it later is missed by the one that refers to it.
    let mut cold = Vec::new();
    tier.list("segments/", &mut |object| {
        cold.push(object.key);
        Ok(())
    })
    .unwrap();
    tier.delete(&cold).unwrap();
    let missing = backup::missing_cold(&*store, &tier, &referring).unwrap();
    assert!(!cold.is_empty() && missing.len() == cold.len(), "{missing:?}");
    assert!(cold.iter().all(|key| missing.iter().any(|what| what.contains(key))), "{missing:?}");
    assert_eq!(backup::missing_cold(&*store, &tier, &copying).unwrap(), Vec::<String>::new());
}

/// What a power loss leaves of the cache, which nobody syncs, is no damage of the segment.
#[test]
fn a_cache_that_is_damaged_does_not_keep_segments_out_of_a_backup() {
    let (sim, tier) = (Sim::new(1), FaultStore::new());
    let with_cache = |memory_bytes| {
        let options = Options { user_indexes: vec!["host".to_owned()], ..options(&tier) };
        open_with(&sim.env(), with_cache(options, memory_bytes)).unwrap()
    };
    let storage = with_cache(1 << 20);
    append(&storage, 0);
    storage.flush().unwrap();
    storage.tier().unwrap();
    let all = records(&storage);
    wait_for_cached(&sim, 1);
    drop(storage);
    damage_cache(&sim);
    let storage = with_cache(0);
    let store: Arc<dyn ObjectStore> = Arc::new(FaultStore::new());
    let source = StorageSource::pin(&storage, Duration::from_secs(60), ColdFiles::Copy).unwrap();
    assert_eq!(cached(&sim, "index").len(), 1, "it is still there, damaged");
    let record = backup::create(&sim.env(), &*store, &source, &|_| {}).unwrap().record;
    assert!(record.files.iter().any(|file| file.path.ends_with(".redb")), "{record:?}");
    // As a client of the server reads it.
    for file in record.files.iter().filter(|file| file.path.starts_with("segments/")) {
        let half = file.len / 2;
        let part = |offset, len| storage.read_pinned(&record.id, &file.path, offset, len).unwrap();
        let bytes = [part(0, half), part(half, file.len)].concat();
        assert_eq!((bytes.len() as u64, crc32c::crc32c(&bytes)), (file.len, file.crc32c), "{}", file.path);
    }
    drop(source);
    backup::restore(&sim.env(), &*store, &record, Path::new("/to"), &Selection::default(), &|_| {}).unwrap();
    let restored = Options { data_dir: "/to".into(), tier: None, ..options(&tier) };
    assert_eq!(records(&open_with(&sim.env(), restored).unwrap()), all);
}

#[test]
fn an_object_that_is_damaged_ends_the_backup_with_its_name() {
    let (sim, tier) = (Sim::new(1), FaultStore::new());
    let storage = open_with(&sim.env(), Options { user_indexes: vec!["host".to_owned()], ..options(&tier) }).unwrap();
    append(&storage, 0);
    storage.flush().unwrap();
    storage.tier().unwrap();
    for key in tier.keys("segments/") {
        let flip = || tier.with(|inner| inner.objects.get_mut(&key).unwrap().0[100] ^= 1);
        flip();
        let source = StorageSource::pin(&storage, Duration::from_secs(60), ColdFiles::Copy).unwrap();
        let error = backup::create(&sim.env(), &FaultStore::new(), &source, &|_| {}).unwrap_err();
        let named = key.trim_start_matches("segments/");
        assert!(error.kind == ErrorKind::Corrupt && error.message.contains(named), "{key}: {error:?}");
        flip();
    }
}
