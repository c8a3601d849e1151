//! The golden store `tests/golden/backup-v1`, written once and read by every later version. It is
//! never regenerated in place: a new format gets a folder of its own.

use super::super::record::{self, PlanRecord, PruneRecord};
use super::*;
use std::path::PathBuf;

fn golden() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/golden/backup-v1")
}

fn load(store: &MemoryStore) {
    for folder in ["backups", "files", "wal", "plans", "prunes"] {
        for entry in std::fs::read_dir(golden().join(folder)).unwrap() {
            let entry = entry.unwrap();
            let key = format!("{folder}/{}", entry.file_name().to_str().unwrap());
            store.put(&key, &std::fs::read(entry.path()).unwrap()).unwrap();
        }
    }
}

#[test]
fn the_golden_store_of_version_1_is_read_and_restored() {
    let store = MemoryStore::default();
    load(&store);
    let record = find(&store, "latest").unwrap();
    assert_eq!((record.format, record.formats), (1, Formats { manifest: 1, segment: 1, wal: 1, producers: 1 }));
    assert_eq!((record.version, record.flushed_seq, record.seq, record.records), (4, 9, 10, 210));
    assert_eq!(record.wal.as_ref().map(|wal| (wal.first_seq, wal.last_seq)), Some((10, 10)));
    assert_eq!(record.files.len(), 13);
    let verified = check(&store, &record.id, Depth::Full);
    assert_eq!((verified.damage, verified.files_whole), (Vec::<String>::new(), 14));
    let env = Sim::new(1).env();
    restore_to(&env, &store, &record.id, "/to", &Selection::default()).unwrap();
    let found = restored(&env, "/to");
    assert_eq!((found["a"].len(), found["b"].len()), (155, 60));
}

#[test]
fn the_golden_records_are_written_to_the_byte() {
    let store = MemoryStore::default();
    load(&store);
    let same = |folder: &str, encode: &dyn Fn(&[u8]) -> Vec<u8>| {
        let keys = store.keys(folder);
        assert_eq!(keys.len(), 1, "{folder}");
        let bytes = store.get(&keys[0]).unwrap();
        assert_eq!(String::from_utf8(encode(&bytes)).unwrap(), String::from_utf8(bytes).unwrap(), "{folder}");
    };
    same("backups/", &|bytes| record::encode(&record::decode::<BackupRecord>(bytes).unwrap()).unwrap());
    same("plans/", &|bytes| record::encode(&record::decode::<PlanRecord>(bytes).unwrap()).unwrap());
    same("prunes/", &|bytes| record::encode(&record::decode::<PruneRecord>(bytes).unwrap()).unwrap());
}
