//! The golden store `tests/golden/archive-v1`: a backup and what was archived behind it, of a database
//! that was restored once. Written once and read by every later version.

use super::at::*;
use super::*;
use crate::archive::{LineRecord, Lines, Local};
use std::path::PathBuf;

const FOLDERS: [&str; 3] = ["archive", "backups", "files"];

fn golden() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/golden/archive-v1")
}

fn load(store: &MemoryStore, folder: &Path, prefix: &str) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let entry = entry.unwrap();
        let key = format!("{prefix}/{}", entry.file_name().to_str().unwrap());
        match entry.file_type().unwrap().is_dir() {
            true => load(store, &entry.path(), &key),
            false => store.put(&key, &std::fs::read(entry.path()).unwrap()).unwrap(),
        }
    }
}

#[test]
fn the_golden_archive_of_version_1_is_read_and_restored() {
    let store = MemoryStore::default();
    FOLDERS.iter().for_each(|folder| load(&store, &golden().join(folder), folder));
    let env = Sim::new(1).env();
    let record = find(&store, "latest").unwrap();
    let verified = check(&store, &record.id, Depth::Full);
    assert_eq!((verified.damage, verified.archive_objects, verified.archive_batches), (Vec::new(), 3, 6));
    let lines = Lines::read(&store, None).unwrap();
    let of: Vec<&LineRecord> = lines.of(&record.database_id).collect();
    assert_eq!((of.len(), of[0].since, of[0].parent.is_none()), (2, 0, true));
    assert_eq!(of[1].parent.as_ref().map(|parent| (&parent.line, parent.seq)), Some((&of[0].id, 4)));
    // The newest line: four batches of the first one, and two of its own.
    let reach = reachable(&store).unwrap().pop().unwrap();
    restore_at_to(&env, &store, reach.to, "/new").unwrap();
    let new = restored(&env, "/new");
    assert_eq!((new["a"].len(), new["b"].len()), (25, 15));
    // The first one, before it was left.
    restore_at_to(&env, &store, of[1].created - SECOND, "/old").unwrap();
    let old = restored(&env, "/old");
    assert_eq!((old["a"].len(), old["b"].len()), (21, 21));
}

#[test]
fn the_golden_files_of_a_directory_that_is_archived_are_read_and_written_to_the_byte() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/golden/archive-v1-local");
    for (name, expected) in [("idle", None), ("sending", Some((57, 1_795_256_160_123_456_789)))] {
        let bytes = std::fs::read(folder.join(format!("{name}.json"))).unwrap();
        let local = Local::decode(&bytes).unwrap().unwrap();
        assert_eq!((local.since, local.archived_seq, local.store.as_str()), (40, 52, "file:///backups"));
        assert_eq!(local.parent.as_ref().map(|parent| parent.seq), Some(40));
        assert_eq!(local.sending.map(|sending| (sending.last_seq, sending.time)), expected, "{name}");
        assert_eq!(local.encode().unwrap(), bytes, "{name}");
    }
}
