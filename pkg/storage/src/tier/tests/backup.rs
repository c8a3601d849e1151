//! Backups of segments that are in the store alone.

use super::*;
use crate::backup::{self, ColdFiles, Depth, Selection, StorageSource};
use std::path::Path;

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
