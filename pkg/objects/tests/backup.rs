//! Backups in a folder on a simulated machine: power is lost at every step of making, restoring
//! and pruning them. Nothing half-made is visible, and the next run finishes.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use timberlog_disk::Env;
use timberlog_disk::sim::Sim;
use timberlog_objects::LocalStore;
use timberlog_storage::backup::{
    self, BackupRecord, ColdFiles, Depth, Event, PLAN_KEPT, RestSource, Selection, Source, StorageSource,
};
use timberlog_storage::objects::ObjectStore;
use timberlog_storage::{BufferedBatch, Options, Progress, Storage, Subscriber};
use timberlog_types::{BatchBuilder, Day, Result, Tenant};

/// 2026-11-21.
const DAY: Day = Day(20_778);

struct Nobody;

impl Subscriber for Nobody {
    fn published(&self, _: &Tenant, _: &Arc<BufferedBatch>) {}
}

fn silent(_: Event<'_>) {}

fn open(env: &Env, dir: &str) -> Result<Storage> {
    let options = Options { background: false, disk_free_bytes_min: 0, wal_file_bytes: 64 << 10, ..Options::new(dir) };
    Storage::open(options, env.clone(), Arc::new(Nobody), &Progress::default())
}

fn append(storage: &Storage, first: u64) {
    let mut builder = BatchBuilder::new();
    let stream = builder.stream("web", &[("service", "web")]).unwrap();
    let level = builder.level(Some("info")).unwrap();
    for number in first..first + 20 {
        let text = format!("record {number}");
        builder.finish_row(DAY.range().start + number as i64, stream, level, text.as_bytes()).unwrap();
    }
    storage.append(&Tenant::default(), builder.finish().unwrap(), None).unwrap();
}

fn store(env: &Env) -> Arc<dyn ObjectStore> {
    Arc::new(LocalStore::new(env.clone(), "/store"))
}

fn back_up(env: &Env, storage: &Storage) -> Result<BackupRecord> {
    let source = StorageSource::pin(storage, Duration::from_secs(3600), ColdFiles::Refer)?;
    Ok(backup::create(env, &*store(env), &source, &silent)?.record)
}

/// Every record, in the order of answers.
fn records(storage: &Storage) -> Vec<(i64, String)> {
    let snapshot = storage.snapshot(&Tenant::default());
    let mut rows = Vec::new();
    let mut take = |batch: &timberlog_types::Batch| {
        rows.extend(
            (0..batch.rows())
                .map(|row| (batch.timestamp(row), String::from_utf8_lossy(batch.message(row)).into_owned())),
        );
    };
    for segment in snapshot.segments.iter() {
        let opened = segment.open().unwrap();
        for block in &opened.reader.directory().blocks {
            take(&opened.reader.read_block_as_batch(block.number).unwrap());
        }
    }
    snapshot.batches.iter().for_each(|batch| take(&batch.batch));
    rows.sort();
    rows
}

/// All backups that are listed can be restored.
fn check_all(env: &Env, context: &str) -> Vec<BackupRecord> {
    let store = store(env);
    let listed = backup::list(&*store).unwrap_or_else(|error| panic!("{context}: {error}"));
    let whole = |listed: backup::Listed| {
        let record = listed.record.unwrap_or_else(|error| panic!("{context}: {error}"));
        let verified = backup::verify(&store, &record, Depth::Full, &silent).unwrap();
        assert!(verified.damage.is_empty(), "{context}: {:?}", verified.damage);
        record
    };
    listed.into_iter().map(whole).collect()
}

/// A machine with a database of two flushes and a batch in the WAL, and one backup of its beginning.
fn machine(seed: u64) -> (Sim, Storage) {
    let sim = Sim::new(seed);
    let env = sim.env();
    let storage = open(&env, "/db").unwrap();
    append(&storage, 0);
    back_up(&env, &storage).unwrap();
    append(&storage, 100);
    storage.flush().unwrap();
    append(&storage, 200);
    (sim, storage)
}

#[test]
fn power_lost_at_any_step_of_a_backup_leaves_whole_backups_and_the_next_one_finishes() {
    let mut crashes = 0;
    for step in 1.. {
        let (sim, storage) = machine(step);
        let before = records(&storage);
        sim.disk.crash_at(sim.disk.steps() + step);
        let first = back_up(&sim.env(), &storage);
        if first.is_ok() && !sim.disk.is_crashed() {
            break;
        }
        for outcome in 0..2 {
            let after = sim.recover(outcome);
            let env = after.env();
            let context = format!("step {step} outcome {outcome}");
            let listed = check_all(&env, &context);
            assert!(listed.len() == 2 || first.is_err(), "{context}: a backup that was made is gone");
            let again = open(&env, "/db").unwrap_or_else(|error| panic!("{context}: {error}"));
            assert_eq!(records(&again), before, "{context}");
            let made = back_up(&env, &again).unwrap_or_else(|error| panic!("{context}: {error}"));
            check_all(&env, &context);
            backup::restore(&env, &*store(&env), &made, Path::new("/to"), &Selection::default(), &silent).unwrap();
            assert_eq!(records(&open(&env, "/to").unwrap()), before, "{context}");
            crashes += 1;
        }
        drop(storage);
    }
    assert!(crashes > 60, "{crashes}");
}

/// A backup that was killed has left whole files whose names no fsync has seen. The next one relies on them.
#[test]
fn power_lost_after_a_backup_that_found_what_a_killed_one_left_loses_nothing() {
    for outcome in 0..24 {
        let (sim, storage) = machine(outcome);
        let env = sim.env();
        let source = StorageSource::pin(&storage, Duration::from_secs(3600), ColdFiles::Refer).unwrap();
        let killed = store(&env);
        let mut left = 0;
        for file in source.pinned().files.iter().filter(|file| file.path.starts_with("segments/")) {
            let key = backup::key_of(&file.path).unwrap();
            if killed.head(&key).unwrap().is_none() {
                killed.put_file_unsettled(&key, &*source.open(file).unwrap(), file.len, &|_| ()).unwrap();
                left += 1;
            }
        }
        assert!(left >= 2);
        // Nothing else is in the way of a name that is not durable: the root is all that is copied.
        let made = backup::create(&env, &*killed, &source, &silent).unwrap().record;
        assert!(made.copied_files < made.files.len() as u64 - left, "what was there is not copied again");
        drop(source);
        drop(storage);
        let after = sim.recover(outcome);
        assert!(check_all(&after.env(), &format!("outcome {outcome}")).contains(&made));
    }
}

#[test]
fn power_lost_at_any_step_of_a_prune_leaves_kept_backups_whole_and_the_next_one_finishes() {
    let mut crashes = 0;
    for step in 1.. {
        let (sim, storage) = machine(step);
        let env = sim.env();
        let kept = back_up(&env, &storage).unwrap();
        sim.disk.crash_at(sim.disk.steps() + step);
        let first = backup::prune(&env, &*store(&env), 1, PLAN_KEPT, false, &silent);
        if first.is_ok() && !sim.disk.is_crashed() {
            break;
        }
        for outcome in 0..3 {
            let after = sim.recover(outcome);
            let env = after.env();
            let context = format!("step {step} outcome {outcome}");
            assert!(check_all(&env, &context).contains(&kept), "{context}");
            after.clock.advance(Duration::from_secs(7_200));
            backup::prune(&env, &*store(&env), 1, PLAN_KEPT, false, &silent).unwrap();
            assert_eq!(check_all(&env, &context), std::slice::from_ref(&kept), "{context}");
            let mut objects = Vec::new();
            store(&env)
                .list("", &mut |object| {
                    objects.push(object.key);
                    Ok(())
                })
                .unwrap();
            assert_eq!(objects.len(), kept.files.len() + 1, "{context}: {objects:?}");
            crashes += 1;
        }
    }
    assert!(crashes > 10, "{crashes}");
}

#[test]
fn power_lost_at_any_step_of_a_restore_leaves_no_half_database_and_the_next_one_finishes() {
    let (sim, storage) = machine(1);
    let before = records(&storage);
    // At rest, so that the end of the WAL is part of it.
    let sim = sim.recover(1);
    drop(storage);
    let mut crashes = 0;
    for step in 1.. {
        let sim = sim.recover(step);
        let env = sim.env();
        let record = {
            let source = RestSource::open(&env, Path::new("/db")).unwrap();
            backup::create(&env, &*store(&env), &source, &silent).unwrap().record
        };
        assert!(record.wal.is_some());
        sim.disk.crash_at(sim.disk.steps() + step);
        let restore =
            |env: &Env| backup::restore(env, &*store(env), &record, Path::new("/to"), &Selection::default(), &silent);
        if restore(&env).is_ok() && !sim.disk.is_crashed() {
            break;
        }
        for outcome in 0..2 {
            let after = sim.recover(outcome);
            let env = after.env();
            let context = format!("step {step} outcome {outcome}");
            match open(&env, "/to") {
                Ok(storage) => {
                    let found = records(&storage);
                    assert!(found.is_empty() || found == before, "{context}: half a restore opens");
                }
                Err(error) => {
                    assert!(error.message.contains("restore"), "{context}: {error}");
                    restore(&env).unwrap_or_else(|error| panic!("{context}: {error}"));
                    let report = timberlog_storage::verify::verify(&env, Path::new("/to"), &|_, _| {}).unwrap();
                    assert!(report.damage.is_empty(), "{context}: {:?}", report.damage);
                    assert_eq!(records(&open(&env, "/to").unwrap()), before, "{context}");
                }
            }
            crashes += 1;
        }
    }
    assert!(crashes > 40, "{crashes}");
}
