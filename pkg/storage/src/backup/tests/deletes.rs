//! A restored database must not bring deleted records back: neither those of segments nor those of
//! the WAL's end, wherever in it the delete stands.

use super::*;
use crate::deletes::Selectors;
use timberlog_disk::sim::{Fault, Op};
use timberlog_filter::{BatchColumns, Filter, evaluate};
use timberlog_types::{RowSet, TimeRange};

fn open(env: &Env, dir: &str) -> Storage {
    let selectors = Selectors::new(|text| Ok(Filter::contains(text)));
    let options = Options { selectors, ..options(dir) };
    Storage::open(options, env.clone(), Arc::new(Nobody), &Progress::default()).unwrap()
}

/// How many records of the first tenant a storage shows.
fn shown(storage: &Storage) -> usize {
    let snapshot = storage.snapshot(&tenants()[0]);
    let mut shown = 0;
    let mut note = |batch: &Batch, hides: &mut dyn Iterator<Item = &Arc<crate::Hide>>| {
        let mut left = RowSet::all(batch.rows());
        for hide in hides {
            left.subtract(&evaluate(&hide.filter, &BatchColumns::new(batch), RowSet::all(batch.rows())).unwrap());
        }
        shown += left.count();
    };
    for segment in snapshot.segments.iter() {
        let files = segment.open().unwrap();
        for block in &files.reader.directory().blocks {
            let batch = files.reader.read_block_as_batch(block.number).unwrap();
            note(&batch, &mut snapshot.hidden.of_segment(&segment.entry));
        }
    }
    snapshot.batches.iter().for_each(|batch| note(&batch.batch, &mut snapshot.hidden.of_batch(batch)));
    shown
}

fn restored(env: &Env, store: &MemoryStore, record: &BackupRecord) -> (Storage, usize) {
    assert!(check(store, &record.id, Depth::Full).damage.is_empty());
    restore_to(env, store, &record.id, "/restored", &Selection::default()).unwrap();
    let storage = open(env, "/restored");
    assert_eq!(storage.stats().damage, Vec::<String>::new());
    let count = shown(&storage);
    (storage, count)
}

#[test]
fn deletes_are_restored_with_what_they_hide() {
    let sim = Sim::new(21);
    let env = sim.env();
    let store = MemoryStore::default();
    let storage = open(&env, "/db");
    let a = &tenants()[0];
    append(&storage, a, batch(DAY, 0, 20), 1);
    storage.flush().unwrap();
    append(&storage, a, batch(DAY, 20, 20), 2);
    let tombstone = storage.delete(a, "record 1", TimeRange::ALL).unwrap();
    append(&storage, a, batch(DAY, 10, 3), 3);
    assert_eq!(shown(&storage), 43 - 11);
    let record = back_up(&env, &store, &storage).unwrap();
    assert!(record.wal.is_none());
    let (restored, count) = restored(&env, &store, &record);
    assert_eq!(count, 32);
    assert_eq!(restored.deletes(a)[0].tombstone, tombstone);
    append(&restored, a, batch(DAY, 10, 2), 4);
    assert_eq!(shown(&restored), 34, "new numbers are above the delete's");
    while restored.compact().unwrap().is_some() {}
    assert_eq!(shown(&restored), 34);
}

#[test]
fn deletes_of_the_wals_end_are_restored() {
    let sim = Sim::new(22);
    let env = sim.env();
    let store = MemoryStore::default();
    let storage = open(&env, "/db");
    let a = &tenants()[0];
    append(&storage, a, batch(DAY, 0, 20), 1);
    let kept = storage.delete(a, "record 1", TimeRange::ALL).unwrap();
    let cancelled = storage.delete(a, "record", TimeRange::ALL).unwrap();
    append(&storage, a, batch(DAY, 10, 3), 2);
    storage.cancel_delete(a, &cancelled.id).unwrap();
    assert_eq!(shown(&storage), 23 - 11);
    // The flush of the backup fails.
    sim.disk.inject(Op::Sync, "segments", 0, Fault::NoSpace);
    let record = back_up(&env, &store, &storage).unwrap();
    assert_eq!(record.wal.as_ref().map(|tail| (tail.first_seq, tail.last_seq)), Some((1, 5)));
    let (restored, count) = restored(&env, &store, &record);
    assert_eq!(count, 12);
    let deletes: Vec<_> = restored.deletes(a).into_iter().map(|delete| delete.tombstone.id).collect();
    assert_eq!(deletes, [kept.id]);
}

#[test]
fn deletes_that_were_archived_hide_from_their_second_on() {
    let sim = Sim::new(23);
    let (env, store) = (sim.env(), MemoryStore::default());
    let selectors = Selectors::new(|text| Ok(Filter::contains(text)));
    let options = Options { selectors, ..super::at::archived_options("/db", &store) };
    let storage = Storage::open(options, env.clone(), Arc::new(Nobody), &Progress::default()).unwrap();
    let a = &tenants()[0];
    append(&storage, a, batch(DAY, 0, 20), 1);
    back_up(&env, &store, &storage).unwrap();
    let mut history = Vec::new();
    let mut note = |storage: &Storage| {
        history.push((env.clock.now_ns(), shown(storage)));
        super::at::seconds(&sim, 1);
        storage.archive().unwrap();
    };
    append(&storage, a, batch(DAY, 20, 20), 2);
    note(&storage);
    let kept = storage.delete(a, "record 1", TimeRange::ALL).unwrap();
    note(&storage);
    append(&storage, a, batch(DAY, 10, 3), 3);
    note(&storage);
    let cancelled = storage.delete(a, "record", TimeRange::ALL).unwrap();
    note(&storage);
    storage.cancel_delete(a, &cancelled.id).unwrap();
    note(&storage);
    assert_eq!(history.iter().map(|(_, count)| *count).collect::<Vec<_>>(), [40, 29, 32, 0, 32]);
    for (number, (at, count)) in history.iter().enumerate() {
        let dir = format!("/to-{number}");
        super::at::restore_at_to(&env, &store, *at, &dir).unwrap();
        let restored = open(&env, &dir);
        assert_eq!(shown(&restored), *count, "{number}");
        assert_eq!(restored.stats().damage, Vec::<String>::new());
        let lives = restored.deletes(a).iter().any(|delete| delete.tombstone.id == kept.id);
        assert_eq!(lives, number > 0, "{number}");
        append(&restored, a, batch(DAY, 10, 2), 4);
        assert_eq!(shown(&restored), count + 2, "{number}: new numbers are above the delete's");
    }
}
