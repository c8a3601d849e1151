//! The golden bucket `tests/golden/bucket-v1`, written once and read by every later version. It is never made anew in
//! place: a new format gets a directory of its own.

use super::*;
use std::path::{Path, PathBuf};

fn golden() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/golden/bucket-v1")
}

/// A store with the objects below a folder.
fn shelf(folder: &Path) -> FaultStore {
    let (store, mut folders) = (FaultStore::new(), vec![folder.to_path_buf()]);
    while let Some(next) = folders.pop() {
        for entry in std::fs::read_dir(next).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let key = path.strip_prefix(folder).unwrap().to_str().unwrap();
            store.put(key, &std::fs::read(&path).unwrap()).unwrap();
        }
    }
    store
}

#[test]
fn the_golden_bucket_of_version_1_is_read_as_it_was_written() {
    let store = shelf(&golden());
    let held = bucket(&store);
    assert_eq!((held.version, held.epoch, held.flushed_seq), (3, 1, 4));
    assert_eq!((held.writer.len(), held.database_id.len()), (32, 32));
    check_bucket(&store, 30);
    let days: Vec<String> = held.partitions().map(|(tenant, day, _)| format!("{tenant} {day}")).collect();
    assert_eq!(days, ["default 2025-11-10", "default 2025-12-20"]);
    let [delete] = held.tombstones.as_slice() else { panic!("{:?}", held.tombstones) };
    assert_eq!((delete.selector.as_str(), delete.seq, delete.range), ("record 3", 4, TimeRange::ALL));
    let sim = Sim::new(1);
    let options = super::purge::with_deletes(&store);
    let tier = TierOptions { follow: true, ..tier(&store) };
    let storage = open_with(&sim.env(), Options { tier: Some(tier), ..options }).unwrap();
    assert_eq!(records(&storage).len(), 30);
    assert_eq!(storage.deletes(&Tenant::default()).len(), 1);
}
