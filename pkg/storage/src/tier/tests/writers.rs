//! Who may write a bucket: one writer at a time, and the loser says so.

use super::*;
use crate::tier::bucket::{Change, Claim, Writer};
use crate::tier::{TierPhase, writer_file};
use std::path::Path;
use timberlog_disk::sim::{Fault, Op};

fn claim(env: &Env, store: &FaultStore, writer: char, take_over: bool) -> Result<Writer> {
    let store: Arc<dyn ObjectStore> = Arc::new(store.clone());
    let claim = Claim {
        writer: writer.to_string().repeat(32),
        database_id: Some("d".repeat(32)),
        take_over,
        manifest_version: 1,
    };
    Writer::claim(env, &store, &claim)
}

fn change(seq: u64) -> Change {
    Change { flushed_seq: seq, ..Change::default() }
}

#[test]
fn a_writer_that_was_replaced_commits_no_more() {
    let (sim, store) = (Sim::new(1), FaultStore::new());
    let env = sim.env();
    let mut one = claim(&env, &store, 'a', false).unwrap();
    one.commit(change(1)).unwrap();
    assert_eq!(claim(&env, &store, 'b', false).err().unwrap().kind, ErrorKind::Conflict);
    let mut other = claim(&env, &store, 'b', true).unwrap();
    assert_eq!(other.state().epoch, 2);
    assert_eq!(other.state().flushed_seq, 1);
    for _ in 0..2 {
        let error = one.commit(change(2)).unwrap_err();
        assert!(error.kind == ErrorKind::Closed && error.message.contains("epoch 2"), "{error}");
    }
    other.commit(change(3)).unwrap();
    assert_eq!(bucket(&store).flushed_seq, 3);
}

#[test]
fn a_version_that_is_free_because_it_was_collected_is_not_taken() {
    let (sim, store) = (Sim::new(1), FaultStore::new());
    let env = sim.env();
    let mut one = claim(&env, &store, 'a', false).unwrap();
    let mut other = claim(&env, &store, 'b', true).unwrap();
    (0..3).for_each(|seq| other.commit(change(seq)).unwrap());
    check_only_named(&env, &store);
    assert_eq!(store.keys("manifest/0").len(), 1);
    assert_eq!(one.commit(change(9)).unwrap_err().kind, ErrorKind::Closed);
    assert_eq!((bucket(&store).epoch, bucket(&store).flushed_seq), (2, 2));
}

#[test]
fn of_writers_that_race_exactly_one_has_the_bucket() {
    for _ in 0..20 {
        let (sim, store) = (Sim::new(1), FaultStore::new());
        let env = sim.env();
        let won = std::thread::scope(|scope| {
            let threads: Vec<_> = ('a'..='d')
                .map(|writer| {
                    let (env, store) = (env.clone(), store.clone());
                    scope.spawn(move || claim(&env, &store, writer, false))
                })
                .collect();
            threads.into_iter().filter_map(|thread| thread.join().unwrap().ok()).collect::<Vec<_>>()
        });
        assert_eq!(won.len(), 1);
        assert_eq!(won[0].state().writer, bucket(&store).writer);
    }
}

#[test]
fn another_database_or_another_directory_is_refused_with_the_way_out() {
    let (sim, store) = (Sim::new(1), FaultStore::new());
    let storage = open(&sim.env(), &store);
    append(&storage, 0);
    storage.flush().unwrap();
    storage.tier().unwrap();
    let strange = open(&Sim::new(2).env(), &store);
    let error = strange.tier().unwrap_err();
    assert!(error.kind == ErrorKind::Conflict && error.message.contains("prefix of its own"), "{error}");
    assert_eq!(strange.tier_stats().phase, TierPhase::Refused);
    // The same database in another directory, as after a restore.
    sim.env().disk.remove_file(std::path::Path::new("/db/tier/writer.json")).unwrap();
    drop(storage);
    let restored = open(&sim.env(), &store);
    let error = restored.tier().unwrap_err();
    assert!(error.kind == ErrorKind::Conflict && error.message.contains("--s3-take-over"), "{error}");
    store.with(|inner| inner.is_not_atomic = true);
    let error = restored.tier().unwrap_err();
    assert!(error.message.contains("no atomic conditional puts"), "{error}");
}

#[test]
fn a_node_that_is_replaced_says_so_and_keeps_what_it_has() {
    let (sim, store) = (Sim::new(1), FaultStore::new());
    let storage = open(&sim.env(), &store);
    append(&storage, 0);
    storage.flush().unwrap();
    storage.tier().unwrap();
    let id = bucket(&store).database_id;
    let new: Arc<dyn ObjectStore> = Arc::new(store.clone());
    let by = Claim { writer: "b".repeat(32), database_id: Some(id), take_over: true, manifest_version: 1 };
    Writer::claim(&sim.env(), &new, &by).unwrap();
    append(&storage, 10);
    storage.flush().unwrap();
    assert_eq!(storage.tier().unwrap_err().kind, ErrorKind::Closed);
    assert_eq!(storage.tier_stats().phase, TierPhase::Stale);
    assert_eq!(locations(&storage), [Location::Cold, Location::Local]);
    assert_eq!(records(&storage).len(), 20);
}

#[test]
fn who_a_directory_is_survives_a_power_loss_however_it_came_to_know() {
    let dir = Path::new("/new/db");
    let mut sync_failed = 0;
    for seed in 0..40 {
        let sim = Sim::new(seed);
        let env = sim.env();
        // Only the folders from the data directory on are the tier's.
        env.disk.create_dir_all(dir).unwrap();
        env.disk.sync_dir(Path::new("/")).unwrap();
        env.disk.sync_dir(Path::new("/new")).unwrap();
        if seed % 2 == 1 {
            sim.disk.inject(Op::SyncDir, "db", 0, Fault::Io);
            sync_failed += u64::from(writer_file::read_or_create(&env, dir).is_err());
        }
        let writer = writer_file::read_or_create(&env, dir).unwrap();
        sim.disk.crash();
        let again = writer_file::read_or_create(&sim.recover(seed + 100).env(), dir).unwrap();
        assert_eq!(again, writer, "seed {seed}");
    }
    assert_eq!(sync_failed, 20);
}
