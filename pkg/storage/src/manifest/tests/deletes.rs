//! Deletes in the manifest: kept, ended, written down; and the edits that must be refused.

use super::*;
use crate::deletes::list::End;
use crate::deletes::{DeletesEdit, Tombstone};
use crate::manifest::EditKind;

fn tombstone(number: u64, seq: Seq) -> Tombstone {
    let (id, selector) = (id(number), format!("{{n=\"{number}\"}}"));
    Tombstone { id, tenant: tenant("a"), selector, range: TimeRange::ALL, seq, created_ns: 5 }
}

fn adding(tombstones: Vec<Tombstone>) -> Edit {
    Edit { deletes: DeletesEdit { add: tombstones, ..DeletesEdit::default() }, ..Edit::default() }
}

fn ending(finish: &[u64], cancel: &[u64], now_ns: i64) -> Edit {
    let ids = |numbers: &[u64]| numbers.iter().map(|&number| id(number)).collect();
    let deletes = DeletesEdit { finish: ids(finish), cancel: ids(cancel), now_ns, ..DeletesEdit::default() };
    Edit { deletes, ..Edit::default() }
}

/// Segments 1 (sequences 1 to 9) and 2 (20 to 29) of a day of `a`; deletes 5 (10) and 6 (30).
fn prepared() -> (Sim, Manifest) {
    let sim = sim(1);
    let env = sim.env();
    let manifest = open_whole(&env);
    let a = tenant("a");
    let add = vec![
        (a.clone(), DAY, segment(&env, &a, DAY, 1, (1, 9))),
        (a.clone(), DAY, segment(&env, &a, DAY, 2, (20, 29))),
    ];
    manifest.commit(Edit { add, flushed_seq: Some(30), ..Edit::default() }).unwrap();
    manifest.commit(adding(vec![tombstone(6, 30), tombstone(5, 10)])).unwrap();
    (sim, manifest)
}

/// A purge that leaves of segment 1 what `change` says.
fn purging(change: impl Fn(&mut SegmentEntry), rows: u64, removed: &[(u64, u64)]) -> Edit {
    let a = tenant("a");
    let mut left = entry(&a, DAY, 7, (1, 9));
    (left.rows, left.services, left.levels, left.purged_seq) = (8, None, LevelCounts::default(), 30);
    (left.range, left.raw_bytes) = (entry(&a, DAY, 1, (1, 9)).range, 100);
    change(&mut left);
    let removed = removed.iter().map(|&(number, rows)| (id(number), rows)).collect();
    Edit {
        add: vec![(a.clone(), DAY, left)],
        remove: vec![(a, DAY, id(1))],
        rows_removed: rows,
        deletes: DeletesEdit { removed, ..DeletesEdit::default() },
        kind: EditKind::Purge,
        ..Edit::default()
    }
}

#[test]
fn deletes_are_part_of_the_manifest_until_they_ended_long_ago() {
    let (sim, manifest) = prepared();
    let env = sim.env();
    let seqs = |state: &State| -> Vec<Seq> { state.deletes.live().map(|entry| entry.tombstone.seq).collect() };
    assert_eq!(seqs(&manifest.state()), [10, 30]);
    let file = manifest.state().deletes.file.clone().unwrap();
    // Again: nothing changes, and the file stays.
    let state = manifest.commit(adding(vec![tombstone(5, 10)])).unwrap();
    assert_eq!(state.deletes.file, Some(file.clone()));
    let state = manifest.commit(ending(&[], &[5], 1_000)).unwrap();
    assert_ne!(state.deletes.file, Some(file));
    assert_eq!((seqs(&state), state.deletes.get(&id(5)).unwrap().ended), (vec![30], Some((End::Cancelled, 1_000))));
    drop((state, manifest));
    let manifest = open_whole(&env);
    assert_eq!(seqs(&manifest.state()), [30]);
    let state = manifest.commit(adding(vec![tombstone(5, 10)])).unwrap();
    assert_eq!(seqs(&state), [30], "a frame that is read again brings nothing back");
    let week = 7 * 24 * 3_600_000_000_000;
    let deletes = DeletesEdit { add: vec![tombstone(8, 31)], now_ns: week + 1_001, ..DeletesEdit::default() };
    let state = manifest.commit(Edit { deletes, ..Edit::default() }).unwrap();
    assert_eq!((seqs(&state), state.deletes.entries.len()), (vec![30, 31], 3), "a bucket may still have it");
}

#[test]
fn what_would_bring_deleted_records_back_is_refused() {
    let (sim, manifest) = prepared();
    let before = files(&sim);
    let merge = |seqs, purged_seq| {
        let a = tenant("a");
        let mut merged = entry(&a, DAY, 7, seqs);
        (merged.rows, merged.raw_bytes, merged.purged_seq) = (20, 3_540, purged_seq);
        merged.levels.add(Level::Info, 9);
        merged.levels.add(Level::Error, 1);
        merged.services = None;
        merged.range.end = entry(&a, DAY, 2, seqs).range.end;
        Edit::merge(vec![(a.clone(), DAY, id(1)), (a.clone(), DAY, id(2))], (a, DAY, merged))
    };
    let other = |mut edit: Edit| {
        edit.kind = EditKind::Change;
        edit
    };
    let cases: Vec<(&str, Edit)> = vec![
        ("a merge across a delete", merge((1, 29), 0)),
        ("a delete ends with segments left", ending(&[5], &[], 0)),
        ("more goes than was counted", purging(|_| {}, 3, &[(5, 3)])),
        ("less goes than was counted", purging(|_| {}, 1, &[(5, 1)])),
        ("rows that no delete names go", purging(|_| {}, 2, &[(5, 1)])),
        ("rows for an unknown delete go", purging(|_| {}, 2, &[(9, 2)])),
        ("a segment gains rows", purging(|left| left.rows = 11, 0, &[])),
        ("a segment gains times", purging(|left| left.range.end += 900, 2, &[(5, 2)])),
        ("a replacement of other sequences", purging(|left| left.seq_max = 8, 2, &[(5, 2)])),
        ("another edit removes rows", other(purging(|_| {}, 2, &[(5, 2)]))),
        (
            "an expiry of what is not expired",
            Edit { remove: vec![(tenant("a"), DAY, id(1))], kind: EditKind::Expire, ..Edit::default() },
        ),
        (
            "an eviction of what is newer",
            Edit { remove: vec![(tenant("a"), DAY, id(2))], kind: EditKind::Evict, ..Edit::default() },
        ),
    ];
    for (what, edit) in cases {
        let error = manifest.commit(edit).map(|_| ()).unwrap_err();
        assert!(error.message.contains("invariant `"), "{what}: {error}");
    }
    assert_eq!(files(&sim), before, "nothing was written");
}

#[test]
fn a_purge_is_counted_and_then_the_delete_ends_and_the_history_with_it() {
    let (sim, manifest) = prepared();
    let env = sim.env();
    let edit = purging(|_| {}, 2, &[(5, 2)]);
    write_files(&env, &edit.add[0].2, 7).unwrap();
    let state = manifest.commit(edit).unwrap();
    assert_eq!(state.deletes.get(&id(5)).unwrap().rows_removed, 2);
    let state = manifest.commit(ending(&[], &[5], 0)).unwrap();
    assert!(state.deletes.get(&id(5)).unwrap().is_live(), "what has removed records is not cancelled");
    let old = log_path(&tenant("a"), DAY, &id(1));
    assert!(files(&sim).contains(&old), "the history has it");
    drop(state);
    manifest.commit(Edit { cut_history: true, ..ending(&[5], &[], 0) }).unwrap();
    manifest.collect().unwrap();
    assert!(!files(&sim).contains(&old));
    let raise = vec![(tenant("a"), DAY, id(2), 30)];
    let state = manifest.commit(Edit { raise, kind: EditKind::Purge, ..Edit::default() }).unwrap();
    let purged: Vec<Seq> = state.segments().map(|(_, _, entry)| entry.purged_seq).collect();
    assert_eq!(purged, [30, 30]);
    assert!(manifest.commit(ending(&[6], &[], 0)).is_ok());
    let week = 7 * 24 * 3_600_000_000_000;
    let left = |number, now_ns| {
        let add = adding(vec![tombstone(number, 30 + number)]);
        let deletes = DeletesEdit { now_ns, ..add.deletes };
        manifest.commit(Edit { deletes, ..Edit::default() }).unwrap().deletes.entries.len()
    };
    assert_eq!((left(7, week), left(8, week + 1)), (3, 2));
}

/// Without its deletes a root would show what was deleted: it is not used.
#[test]
fn a_root_whose_deletes_are_damaged_is_none() {
    let (sim, manifest) = prepared();
    let env = sim.env();
    let file = manifest.state().deletes.file.clone().unwrap();
    drop(manifest);
    env.disk.remove_file(&dir().join(&file.path)).unwrap();
    let (manifest, report) = Manifest::open(&env, dir(), ManifestOptions::default()).unwrap();
    let lost = report.fallback.unwrap().lost.reason;
    assert!(lost.contains("deletes") && lost.contains("missing"), "{lost}");
    assert_eq!(manifest.state().version, 2);
}

/// Where every root names the damaged file the start is refused, and a repair can give it up.
#[test]
fn deletes_that_no_root_can_do_without_are_given_up_by_a_repair_alone() {
    let (sim, manifest) = prepared();
    let env = sim.env();
    for _ in 0..12 {
        manifest.commit(Edit::default()).unwrap();
    }
    let file = manifest.state().deletes.file.clone().unwrap();
    drop(manifest);
    env.disk.remove_file(&dir().join(&file.path)).unwrap();
    let error = Manifest::open(&env, dir(), ManifestOptions::default()).err().unwrap();
    assert!(error.kind == timberlog_types::ErrorKind::Corrupt && error.message.contains("deletes"), "{error}");
    let (manifest, _) = Manifest::open_without_deletes(&env, dir(), ManifestOptions::default()).unwrap();
    assert!(manifest.state().deletes.entries.is_empty());
    drop(manifest);
    let manifest = open_whole(&env);
    assert_eq!(manifest.state().segments().count(), 2);
}
