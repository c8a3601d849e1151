//! Indexes that are declared after segments were written.

use super::*;
use crate::compaction::reindex;
use crate::manifest::SegmentEntry;

/// The same settings with these indexes.
fn with_indexes(options: &Options, names: &[&str]) -> Options {
    Options { user_indexes: names.iter().map(|name| (*name).to_owned()).collect(), ..options.clone() }
}

/// The indexes of each segment.
fn indexes(storage: &Storage) -> Vec<Vec<String>> {
    let names = |segment: &Arc<crate::segment::Segment>| match &segment.open().unwrap().index {
        None => Vec::new(),
        Some(index) => index.as_ref().unwrap().user_indexes().map(str::to_owned).collect(),
    };
    storage.snapshot(&Tenant::default()).segments.iter().map(names).collect()
}

/// Each block that has a value is in the index of it.
fn check_index(storage: &Storage, name: &str) {
    let mut values = 0;
    for segment in storage.snapshot(&Tenant::default()).segments.iter() {
        let files = segment.open().unwrap();
        let index = files.index.as_ref().unwrap().as_ref().unwrap();
        for block in 0..files.reader.directory().blocks.len() as u32 {
            let batch = files.reader.read_block_as_batch(block).unwrap();
            for value in (0..batch.rows()).filter_map(|row| batch.field(name)?.get(row)) {
                let found = index.user(name, xxhash_rust::xxh3::xxh3_64(value.text)).unwrap();
                assert!(found.is_some_and(|blocks| blocks.contains(block)), "block {block}");
                values += 1;
            }
        }
    }
    assert!(values > 10, "{values}");
}

#[test]
fn segments_of_days_that_are_over_get_indexes_that_were_declared_later() {
    let plain = options(500);
    let sim = Sim::new(1);
    let (storage, before) = six(&sim, &plain);
    compact_all(&storage);
    assert_eq!(indexes(&storage), [Vec::<String>::new()]);
    drop(storage);
    let reopened = |names: &[&str]| open(&sim, &with_indexes(&plain, names));
    let storage = reopened(&["trace_id"]);
    let done = compact_all(&storage);
    assert_eq!(done.iter().map(|one| (one.segments, one.records)).collect::<Vec<_>>(), [(1, 120)]);
    assert_eq!(indexes(&storage), [["trace_id"]]);
    check_index(&storage, "trace_id");
    assert_eq!(lines(&blocks(&storage.snapshot(&Tenant::default()))), before);
    assert_eq!(storage.stats().compaction.segments_waiting, 0);
    drop(storage);
    let storage = reopened(&["n", "trace_id"]);
    assert_eq!(compact_all(&storage).len(), 1, "one more");
    check_index(&storage, "n");
    check_index(&storage, "trace_id");
    drop(storage);
    let storage = reopened(&["n"]);
    assert!(compact_all(&storage).is_empty(), "one less changes nothing");
    assert_eq!(lines(&blocks(&storage.snapshot(&Tenant::default()))), before);
    drop(storage);
    let report = crate::verify::verify(&sim.env(), std::path::Path::new("/data"), &|_, _| {}).unwrap();
    assert_eq!(report.damage, Vec::<String>::new());
}

#[test]
fn what_is_known_of_segments_that_are_there_stays_and_the_rest_is_forgotten() {
    let plain = options(500);
    let (storage, _) = six(&Sim::new(1), &plain);
    let state = storage.core_state();
    let mut known: reindex::Known = (0..5_000).map(|number| (format!("gone-{number}"), true)).collect();
    let asked = std::cell::Cell::new(0);
    let lacks = |_: &SegmentEntry| {
        asked.set(asked.get() + 1);
        Ok(false)
    };
    for _ in 0..2 {
        reindex::plan(&state, i64::MAX, &plain.compaction, &|_, _, _| true, &mut known, &lacks).unwrap();
    }
    assert_eq!((known.len(), asked.get()), (6, 6));
}

#[test]
fn on_a_day_that_goes_on_only_full_segments_are_written_anew() {
    let mut plain = options(500);
    plain.compaction.segment_raw_bytes_max = 4_000;
    let sim = Sim::new(1);
    sim.clock.set_wall(DAY.range().start + HOUR_NS);
    let storage = open(&sim, &plain);
    let (mut rng, mut number) = (Rng::new(1), 0);
    for rows in [100, 3, 3] {
        storage.append(&Tenant::default(), batch(&mut rng, &mut number, rows, 0..1), None).unwrap();
        storage.flush().unwrap();
    }
    assert!(compact_all(&storage).is_empty());
    drop(storage);
    let storage = open(&sim, &with_indexes(&plain, &["trace_id"]));
    assert_eq!(compact_all(&storage).len(), 1);
    let expected: [&[&str]; 3] = [&["trace_id"], &[], &[]];
    assert_eq!(indexes(&storage), expected);
}
