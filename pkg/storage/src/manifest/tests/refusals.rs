//! Commits that must not happen: nothing is written, and nothing changes.

use super::*;
use timberlog_types::ErrorKind;

/// A manifest with segments 1 (sequence 10 to 19) and 2 (20 to 29) in one partition of `a`.
fn prepared() -> (Sim, Manifest) {
    let sim = sim(1);
    let env = sim.env();
    let manifest = open_whole(&env);
    let a = tenant("a");
    let add = vec![
        (a.clone(), DAY, segment(&env, &a, DAY, 2, (20, 29))),
        (a.clone(), DAY, segment(&env, &a, DAY, 1, (10, 19))),
    ];
    manifest.commit(Edit { add, flushed_seq: Some(30), ..Edit::default() }).unwrap();
    (sim, manifest)
}

fn adding(change: impl Fn(&mut SegmentEntry)) -> Edit {
    let a = tenant("a");
    let mut added = entry(&a, DAY, 7, (40, 45));
    change(&mut added);
    Edit { add: vec![(a, DAY, added)], flushed_seq: Some(50), ..Edit::default() }
}

fn removing(ids: &[u64]) -> Edit {
    Edit { remove: ids.iter().map(|&number| (tenant("a"), DAY, id(number))).collect(), ..Edit::default() }
}

#[test]
fn an_edit_that_breaks_an_invariant_is_refused_and_nothing_is_written() {
    let compaction = |numbers: &[u64], seqs: (Seq, Seq)| {
        let mut edit = removing(numbers);
        edit.add.push((tenant("a"), DAY, entry(&tenant("a"), DAY, 7, seqs)));
        edit
    };
    let twice = || {
        let mut edit = adding(|_| {});
        edit.add.push(edit.add[0].clone());
        edit
    };
    let reused = || {
        let mut edit = removing(&[1]);
        edit.add.push((tenant("a"), DAY, entry(&tenant("a"), DAY, 1, (10, 19))));
        edit
    };
    let cases: Vec<(&str, Edit)> = vec![
        ("flushed_seq goes down", Edit { flushed_seq: Some(29), ..Edit::default() }),
        ("above flushed_seq", Edit { flushed_seq: Some(44), ..adding(|_| {}) }),
        ("an unknown segment goes", removing(&[3])),
        ("a segment goes twice", removing(&[1, 1])),
        ("a segment comes twice", twice()),
        ("an id is reused at once", reused()),
        ("an id is reused", adding(|entry| *entry = super::entry(&tenant("a"), DAY, 2, (40, 45)))),
        ("no rows", adding(|entry| entry.rows = 0)),
        ("an empty sequence range", adding(|entry| entry.seq_min = 46)),
        ("sequence 0", adding(|entry| entry.seq_min = 0)),
        ("times of another day", adding(|entry| entry.range.end = DAY.range().end + 1)),
        ("an empty time range", adding(|entry| entry.range.end = entry.range.start - 1)),
        ("a strange id", adding(|entry| entry.id = "../../../../../../../etc/x".to_owned())),
        ("a file elsewhere", adding(|entry| entry.log.path = "/etc/passwd".to_owned())),
        ("an index elsewhere", adding(|entry| entry.redb = Some(entry.log.clone()))),
        ("an empty file", adding(|entry| entry.log.len = 0)),
        ("levels that are not the rows", adding(|entry| entry.levels.add(Level::Warn, 1))),
        (
            "services that are not the rows",
            adding(|entry| entry.services = Some(BTreeMap::from([("x".to_owned(), 3)]))),
        ),
        ("a flushed sequence comes from nowhere", adding(|entry| entry.seq_min = 30)),
        ("overlapping sequences", compaction(&[1], (10, 20))),
        ("a compaction of more than its sources", compaction(&[2], (19, 29))),
    ];
    for (what, edit) in cases {
        let (sim, manifest) = prepared();
        let (before, steps) = (manifest.state(), sim.disk.steps());
        let error = manifest.commit(edit).expect_err(what);
        assert_eq!(error.kind, ErrorKind::Internal, "{what}: {error}");
        assert_eq!(sim.disk.steps(), steps, "{what}: something was written");
        assert_eq!(manifest.state(), before, "{what}");
        manifest.commit(compaction(&[1, 2], (10, 29))).unwrap_or_else(|error| panic!("{what}, and then: {error}"));
    }
}

#[test]
fn an_id_that_only_an_old_root_names_is_not_new() {
    let (_, manifest) = prepared();
    manifest.commit(removing(&[1])).unwrap();
    let error = manifest.commit(adding(|added| *added = entry(&tenant("a"), DAY, 1, (40, 45)))).unwrap_err();
    assert!(error.message.contains("an added file is new"), "{error}");
}
