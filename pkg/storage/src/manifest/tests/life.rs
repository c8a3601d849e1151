//! The manifest's ordinary life: commits, snapshots, history, cleaning.

use super::*;
use crate::manifest::{Depth, POINTER_FILE, verify};
use std::path::PathBuf;
use std::sync::Arc;
use timberlog_disk::Open;
use timberlog_disk::sim::{Fault, Op};

#[test]
fn a_new_directory_becomes_a_database_with_an_id_that_stays() {
    let sim = sim(1);
    let env = sim.env();
    let (manifest, report) = open(&env, 3).unwrap();
    assert!(report.created);
    let state = manifest.state();
    assert_eq!((state.version, state.flushed_seq, state.segments().count()), (1, 0, 0));
    assert_eq!(state.database_id.len(), 32);
    drop(manifest);
    let (manifest, report) = open(&env, 3).unwrap();
    assert!(!report.created);
    assert_eq!(*manifest.state(), *state);
}

#[test]
fn what_was_committed_is_read_back() {
    let sim = sim(1);
    let env = sim.env();
    let manifest = open_whole(&env);
    let (a, b) = (tenant("a"), tenant("b"));
    manifest.commit(flush(&env, &a, DAY, 1)).unwrap();
    manifest.commit(flush(&env, &b, DAY, 2)).unwrap();
    manifest.commit(flush(&env, &a, Day(DAY.0 + 40), 3)).unwrap();
    let merged = segment(&env, &a, DAY, 9, (1, 1));
    let remove = vec![(a.clone(), DAY, id(1))];
    let state = manifest.commit(Edit { add: vec![(a.clone(), DAY, merged)], remove, ..Edit::default() }).unwrap();
    assert_eq!((state.version, state.flushed_seq), (5, 3));
    let segments: Vec<_> = state.segments().map(|(tenant, day, entry)| (tenant.as_str(), day, &*entry.id)).collect();
    let (first, second, third) = (id(9), id(3), id(2));
    assert_eq!(segments, [("a", DAY, &*first), ("a", Day(DAY.0 + 40), &*second), ("b", DAY, &*third)]);
    let day = DAY.range();
    assert_eq!(state.partitions(&a, day).map(|(day, _)| day).collect::<Vec<_>>(), [DAY]);
    assert_eq!(state.partitions(&a, TimeRange::ALL).count(), 2);
    assert_eq!(state.partitions(&a, TimeRange { start: 5, end: 4 }).count(), 0);
    assert_eq!(state.partitions(&tenant("c"), TimeRange::ALL).count(), 0);
    drop(manifest);
    assert_eq!(*open_whole(&env).state(), *state);
    let report = verify(&env, dir(), Depth::Checksum).unwrap();
    assert_eq!((report.damage.len(), report.segments, report.nodes, report.roots), (0, 3, 3, 4));
}

#[test]
fn a_commit_shares_what_it_does_not_touch() {
    let sim = sim(1);
    let env = sim.env();
    let manifest = open_whole(&env);
    let (a, b) = (tenant("a"), tenant("b"));
    manifest.commit(flush(&env, &a, DAY, 1)).unwrap();
    let old = manifest.commit(flush(&env, &b, DAY, 2)).unwrap();
    let steps = sim.disk.steps();
    let edit = flush(&env, &a, Day(DAY.0 + 1), 3);
    let before_commit = sim.disk.steps();
    assert!(before_commit > steps);
    let new = manifest.commit(edit).unwrap();
    assert!(Arc::ptr_eq(&old.tenants[&b], &new.tenants[&b]));
    assert!(Arc::ptr_eq(old.partition(&a, DAY).unwrap(), new.partition(&a, DAY).unwrap()));
    assert!(!Arc::ptr_eq(&old.tenants[&a], &new.tenants[&a]));
    // A node and a root of 3 steps each, the folder, the pointer in 5; the rest is cleaning.
    let removals = 1;
    assert!(sim.disk.steps() - before_commit <= 3 + 3 + 1 + 5 + removals);
}

#[test]
fn files_go_when_neither_history_nor_a_snapshot_names_them() {
    let sim = sim(1);
    let env = sim.env();
    let manifest = open_whole(&env);
    let a = tenant("a");
    let remove = |seq| Edit { remove: vec![(a.clone(), DAY, id(seq))], ..Edit::default() };
    let snapshot = manifest.commit(flush(&env, &a, DAY, 1)).unwrap();
    let log = log_path(&a, DAY, &id(1));
    manifest.commit(remove(1)).unwrap();
    for seq in 2..8 {
        manifest.commit(flush(&env, &a, Day(DAY.0 + 1), seq)).unwrap();
    }
    assert!(files(&sim).contains(&log), "the snapshot pins it, history is over");
    drop(snapshot);
    assert!(manifest.collect().unwrap() > 0);
    assert!(!files(&sim).contains(&log));

    manifest.commit(flush(&env, &a, DAY, 8)).unwrap();
    manifest.commit(remove(8)).unwrap();
    let log = log_path(&a, DAY, &id(8));
    assert!(files(&sim).contains(&log), "old roots still name it");
    drop(manifest);
    let manifest = open_whole(&env);
    assert!(files(&sim).contains(&log), "and after a start as well");
    for _ in 0..3 {
        manifest.commit(Edit::default()).unwrap();
    }
    assert!(!files(&sim).contains(&log));
    let roots = files(&sim).iter().filter(|path| path.contains("root-")).count();
    assert_eq!(roots, 4, "the current root and three behind it");
    assert_eq!(manifest.state().chain_start, manifest.state().version - 3);
}

#[test]
fn leftovers_go_at_start_and_what_is_not_ours_stays() {
    let sim = sim(1);
    let env = sim.env();
    let manifest = open_whole(&env);
    let a = tenant("a");
    manifest.commit(flush(&env, &a, DAY, 1)).unwrap();
    drop(manifest);
    let whole = files(&sim);
    let orphan = entry(&a, Day(DAY.0 - 1), 2, (2, 2));
    write_files(&env, &orphan, 2).unwrap();
    env.disk.create_dir_all(&dir().join("producers")).unwrap();
    let ours = ["manifest/month-00000000000000000009-00000000.json", "manifest.json.tmp", "producers/9.producers"];
    let foreign = ["manifest/notes.txt", "readme.md", "segments/a/todo"];
    for path in ours.iter().chain(&foreign) {
        atomic::write_new(&*env.disk, &dir().join(path), b"x").unwrap();
    }
    let (_, report) = open(&env, 3).unwrap();
    // The pointer is moved anew at a start, over what was left of an attempt.
    assert_eq!(report.removed.len(), ours.len() - 1 + 2);
    let left: Vec<_> = files(&sim).into_iter().filter(|path| !whole.contains(path)).collect();
    assert_eq!(left, foreign);
    assert!(!env.disk.exists(&dir().join("segments/a").join(Day(DAY.0 - 1).to_string())).unwrap());
}

/// A leftover of each kind that a start leaves alone for a while, and goes on.
#[test]
fn a_leftover_that_cannot_be_removed_stops_no_start_and_goes_later() {
    let a = tenant("a");
    let orphan = entry(&a, DAY, 2, (2, 2));
    let kinds = [
        orphan.log.path.clone(),
        orphan.redb.clone().unwrap().path,
        format!("{}.tmp", orphan.log.path),
        "manifest/month-00000000000000000003-00000000.json".to_owned(),
        "manifest/deletes-00000000000000000003-00000000.json".to_owned(),
        "producers/9.producers".to_owned(),
    ];
    for path in &kinds {
        for fault in [Fault::Io, Fault::DoneButError] {
            let sim = sim(1);
            let env = sim.env();
            drop(open_whole(&env).commit(flush(&env, &a, DAY, 1)).unwrap());
            let whole = files(&sim);
            write_files(&env, &orphan, 2).unwrap();
            env.disk.create_dir_all(&dir().join("producers")).unwrap();
            for path in &kinds {
                atomic::write_new(&*env.disk, &dir().join(path), b"x").unwrap();
            }
            sim.disk.inject(Op::Remove, path, 0, fault);
            let (manifest, report) = open(&env, 3).unwrap();
            assert_eq!((report.left, report.removed.len()), (vec![path.clone()], kinds.len() - 1), "{fault:?}");
            let is_there = fault == Fault::Io;
            let left = |sim: &Sim| files(sim).into_iter().filter(|path| !whole.contains(path)).collect::<Vec<_>>();
            assert_eq!(left(&sim), if is_there { vec![path.clone()] } else { Vec::new() });
            // Nothing takes its name while it may be there.
            if path.ends_with(".log") {
                let error = manifest.commit(Edit { add: vec![(a.clone(), DAY, orphan.clone())], ..Edit::default() });
                assert!(error.unwrap_err().message.contains("an added file is new"));
            }
            assert!(!manifest.keeps_old_segments().unwrap(), "no root keeps it");
            sim.disk.inject(Op::Remove, path, 0, Fault::Io);
            manifest.collect().unwrap();
            manifest.collect().unwrap();
            assert_eq!(left(&sim), Vec::<String>::new(), "{path}");
        }
    }
}

/// A start that has lost the pointer takes the newest root that it finds by its name: none of a commit that never
/// happened, or of a time long ago, may stay beside what comes next.
#[test]
fn a_root_that_nothing_names_is_not_left() {
    let sim = sim(1);
    let env = sim.env();
    let a = tenant("a");
    let manifest = open_whole(&env);
    manifest.commit(flush(&env, &a, DAY, 1)).unwrap();
    // The next one is whole, and its commit does not happen.
    sim.disk.inject(Op::Rename, "manifest.json", 0, Fault::NoSpace);
    sim.disk.inject(Op::Remove, "root-00000000000000000003", 0, Fault::Io);
    manifest.commit(flush(&env, &a, DAY, 2)).unwrap_err();
    drop(manifest);
    sim.disk.inject(Op::Remove, "root-00000000000000000003", 0, Fault::Io);
    let error = open(&env, 3).err().unwrap();
    assert!(error.message.contains("root-00000000000000000003"), "{error}");
    assert!(error.message.contains("must not stay"), "{error}");
    drop(open_whole(&env));
    assert!(!files(&sim).iter().any(|path| path.contains("root-00000000000000000003")));
}

#[test]
fn the_producers_file_is_named_by_the_root_and_replaced() {
    let sim = sim(1);
    let env = sim.env();
    let manifest = open_whole(&env);
    env.disk.create_dir_all(&dir().join("producers")).unwrap();
    for version in 1..=6_u64 {
        let path = format!("producers/{version}.producers");
        atomic::write(&*env.disk, &dir().join(&path), b"data").unwrap();
        let producers = Some(FileRef { path, len: 4, crc32c: crc32c::crc32c(b"data") });
        manifest.commit(Edit { producers, ..Edit::default() }).unwrap();
    }
    let kept = |sim: &Sim| files(sim).into_iter().filter(|path| path.starts_with("producers/")).count();
    assert_eq!(kept(&sim), 4);
    drop(manifest);
    let manifest = open_whole(&env);
    assert_eq!(kept(&sim), 4);
    assert_eq!(manifest.state().producers.as_ref().unwrap().path, "producers/6.producers");
    let again = manifest.state().producers.clone();
    assert!(manifest.commit(Edit { producers: again, ..Edit::default() }).is_ok(), "the same file is no new one");
    let old = FileRef { path: "producers/4.producers".to_owned(), len: 4, crc32c: 0 };
    assert!(manifest.commit(Edit { producers: Some(old), ..Edit::default() }).is_err(), "an old root names it");
    assert!(files(&sim).contains(&POINTER_FILE.to_owned()));
}

#[test]
fn a_pin_that_a_power_loss_brings_back_holds_nothing_and_damages_nothing() {
    let sim = sim(1);
    let env = sim.env();
    let (manifest, _) = open(&env, 1).unwrap();
    let a = tenant("a");
    let pinned = manifest.commit(flush(&env, &a, DAY, 1)).unwrap();
    let root = dir().join(&pinned.root.path);
    let keep = |path: &PathBuf| env.disk.open(path, Open::Read).unwrap().read_all(1 << 20).unwrap();
    manifest.pin("p", i64::MAX).unwrap();
    let pin = dir().join("pins/p.json");
    let kept = [(pin.clone(), keep(&pin)), (root.clone(), keep(&root))];
    drop(pinned);
    manifest.unpin("p");
    (2..6).for_each(|seq| drop(manifest.commit(flush(&env, &a, DAY, seq)).unwrap()));
    assert!(!env.disk.exists(&pin).unwrap() && !env.disk.exists(&root).unwrap());
    drop(manifest);
    // Neither removal had reached the disk; that of the root's month had.
    for (path, bytes) in kept {
        env.disk.open(&path, Open::CreateNew).unwrap().write_all_at(&bytes, 0).unwrap();
    }
    let (manifest, report) = open(&env, 1).unwrap();
    assert!(!report.is_damaged(), "{report:?}");
    assert!(manifest.check_pin("p").is_err());
    assert!(!env.disk.exists(&pin).unwrap(), "it is told of once");
}
