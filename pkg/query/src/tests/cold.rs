//! Segments in an object store: answers are those of local ones, and the requests are few and counted.

mod faults;
mod lazy;
mod shelf;

use super::hidden::same_answers;
use super::{Nobody, Plain, START, World, batches, copy, fill, filter, order, range};
use crate::{Aggregation, Merge, Order, Page, Query, aggregate, explain, page, page_ranked, split};
use proptest::prelude::*;
use shelf::Shelf;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use timberlog_disk::{Env, Open};
use timberlog_filter::Filter;
use timberlog_storage::manifest::{Edit, Location, Manifest, ManifestOptions};
use timberlog_storage::tier::{self, ReadOptions, index_object};
use timberlog_storage::{Hidden, Hide, Options, Progress, Snapshot, Storage, TierOptions, Upto};
use timberlog_types::time::SECOND_NS;
use timberlog_types::{Tenant, TimeRange};

/// A storage whose segments are in a store, most of them nowhere else.
struct Cold {
    storage: Storage,
    shelf: Shelf,
    options: Options,
    _dir: tempfile::TempDir,
}

impl Cold {
    /// A copy of a world, with the segments that `is_cold` tells by their number in the store.
    fn of(world: &World, is_cold: &dyn Fn(usize) -> bool) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let data = dir.path().join("data");
        copy(&world.storage.options().data_dir, &data);
        let shelf = Shelf::default();
        move_to(&shelf, &data, is_cold);
        let options = options(&data, &shelf);
        let storage = open(&options);
        Self { storage, shelf, options, _dir: dir }
    }

    fn snapshot(&self) -> Snapshot {
        self.storage.snapshot(&Tenant::default())
    }

    /// Starts anew: nothing is in memory any more, what is on disk stays.
    fn restart(self) -> Self {
        let Self { storage, shelf, options, _dir } = self;
        drop(storage);
        Self { storage: open(&options), shelf, options, _dir }
    }

    /// A copy of its folder, opened afresh.
    fn again(&self) -> Self {
        let dir = tempfile::tempdir().unwrap();
        copy(&self.options.data_dir, &dir.path().join("data"));
        let options = options(&dir.path().join("data"), &self.shelf);
        Self { storage: open(&options), shelf: self.shelf.clone(), options, _dir: dir }
    }

    /// Forgets everything but the indexes.
    fn forget_data(self) -> Self {
        let Self { storage, shelf, options, _dir } = self;
        drop(storage);
        std::fs::remove_dir_all(options.data_dir.join("tier/data")).unwrap();
        shelf.taken();
        Self { storage: open(&options), shelf, options, _dir }
    }

    fn page(&self, query: &Query) -> Page {
        page(&self.snapshot(), query).unwrap()
    }
}

fn options(data: &Path, shelf: &Shelf) -> Options {
    let mut options = Options::new(data);
    options.background = false;
    options.disk_free_bytes_min = 0;
    options.wal_file_bytes = 1 << 20;
    let read = ReadOptions { disk_free_bytes_min: 0, ..ReadOptions::default() };
    options.tier = Some(TierOptions { read, ..TierOptions::new(Arc::new(shelf.clone())) });
    options
}

fn open(options: &Options) -> Storage {
    Storage::open(options.clone(), Env::real(), Arc::new(Nobody), &Progress::default()).unwrap()
}

/// Moves segments of a directory at rest to a store.
fn move_to(shelf: &Shelf, data: &Path, is_cold: &dyn Fn(usize) -> bool) {
    let env = Env::real();
    let (manifest, _) = Manifest::open(&env, data, ManifestOptions { history: 1 }).unwrap();
    let state = manifest.state();
    let mut moved = Vec::new();
    for (number, (tenant, day, entry)) in state.segments().enumerate() {
        if !is_cold(number) {
            continue;
        }
        let mut entry = (**entry).clone();
        let path = |relative: &str| -> PathBuf { data.join(relative) };
        let log = env.disk.open(&path(&entry.log.path), Open::Read).unwrap();
        let redb = entry.redb.as_ref().map(|redb| std::fs::read(path(&redb.path)).unwrap());
        let object = index_object::encode(&log, redb.as_deref()).unwrap();
        let key = index_object::index_path(tenant, day, &entry.id);
        shelf.with(|inner| {
            inner.objects.insert(entry.log.path.clone(), std::fs::read(path(&entry.log.path)).unwrap());
            inner.objects.insert(key.clone(), object.clone());
        });
        entry.index_object = Some(timberlog_storage::manifest::FileRef {
            path: key,
            len: object.len() as u64,
            crc32c: crc32c::crc32c(&object),
        });
        moved.push((tenant.clone(), day, entry));
    }
    if moved.is_empty() {
        return;
    }
    for location in [Location::Both, Location::Cold] {
        moved.iter_mut().for_each(|(.., entry)| entry.location = location);
        manifest.commit(Edit::move_to(moved.clone())).unwrap();
    }
    for file in moved.iter().flat_map(|(.., entry)| entry.files()) {
        let _ = std::fs::remove_file(data.join(&file.path));
    }
}

/// `segments` segments of one day, each of some 20 blocks; each record has a trace of its own.
fn day(segments: usize, has_index: bool) -> World {
    let dir = tempfile::tempdir().unwrap();
    let mut options = Options::new(dir.path().join("data"));
    options.background = false;
    options.block_bytes = 40_000;
    options.wal_file_bytes = 1 << 20;
    if has_index {
        options.user_indexes = vec!["trace".to_owned()];
    }
    let mut world = World { _dir: Some(dir), ..World::with(options) };
    for segment in 0..segments {
        let records: Vec<Plain> = (0..4_000_usize).map(|n| record(segment, n)).collect();
        records.chunks(1_000).for_each(|some| world.append(some));
        world.storage.flush().unwrap();
    }
    world
}

fn record(segment: usize, n: usize) -> Plain {
    Plain {
        timestamp: START + (n as i64) * SECOND_NS / 2 + segment as i64,
        level: Some(["info", "ERROR", "warning"][n % 3]),
        service: ["web", "db"][n % 2],
        label: None,
        host: Some(["h1", "h2", "h3"][n % 3]),
        size: Some((n % 50) as i32),
        trace: u16::try_from(segment * 4_000 + n).unwrap(),
        message: format!("request {} of {} took {} ms and went on for a while", n * 7919, segment, n % 977),
    }
}

fn needle(trace: u32) -> Query {
    Query { filter: Filter::eq("trace", format!("t{:08x}", trace * 7919)), limit: 100, ..Query::new(Tenant::default()) }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(10))]

    #[test]
    fn answers_are_those_of_local_segments(
        batches in batches(),
        cold in any::<u8>(),
        questions in prop::collection::vec((filter(), range(), order(), 1..30_usize), 1..4),
    ) {
        let world = fill(&batches);
        world.storage.flush().unwrap();
        let there = Cold::of(&world, &|number| cold >> (number % 8) & 1 == 1);
        for (filter, range, order, limit) in questions {
            same_answers(&there.snapshot(), &world.snapshot(), &filter, range, order, limit)?;
        }
    }
}

#[test]
fn planning_takes_one_request_a_segment_once() {
    let world = day(4, true);
    let there = Cold::of(&world, &|_| true);
    let answer = there.page(&needle(60_001));
    assert!(answer.records.is_empty() && answer.missing.is_empty());
    let gets = there.shelf.taken();
    assert_eq!(gets.len(), 4, "{gets:?}");
    assert!(gets.iter().all(|(key, _)| key.ends_with(".index")));
    assert_eq!(answer.statistics.object_gets, 4);
    assert_eq!(answer.statistics.object_bytes, gets.iter().map(|(_, range)| range.end - range.start).sum::<u64>());
    let there = there.restart();
    assert_eq!(there.page(&needle(60_001)).statistics.object_gets, 0, "the index cache survives");
    assert!(there.shelf.taken().is_empty());
    drop(world);
}

#[test]
fn a_needle_with_an_index_takes_one_request_of_the_segment_that_holds_it() {
    let world = day(16, true);
    let there = Cold::of(&world, &|_| true);
    there.page(&needle(65_000));
    let there = there.forget_data();
    let answer = there.page(&needle(4_000 * 11 + 77));
    assert_eq!(answer.records.len(), 1);
    let gets = there.shelf.taken();
    assert_eq!(gets.len(), 1, "{gets:?}");
    let bytes: u64 = gets.iter().map(|(_, range)| range.end - range.start).sum();
    assert!(bytes * 100 <= there.shelf.log_bytes(), "{bytes} of {}", there.shelf.log_bytes());
    assert_eq!((answer.statistics.object_gets, answer.statistics.object_bytes), (1, bytes));
    // It is at hand now.
    assert_eq!(there.page(&needle(4_000 * 11 + 77)).statistics.object_gets, 0);
    let explained = explain(&there.snapshot(), &needle(4_000 * 5 + 1)).unwrap();
    assert_eq!(explained.object_gets, 1);
    assert_eq!(there.page(&needle(4_000 * 5 + 1)).statistics.object_bytes, explained.object_bytes);
}

#[test]
fn the_last_blocks_of_a_needle_come_together() {
    let world = day(2, true);
    let there = Cold::of(&world, &|_| true);
    there.page(&needle(65_000));
    let there = there.forget_data();
    // Records of blocks of one segment that stand apart.
    let traces = [1_u32, 901, 1_801, 2_701, 3_601].map(|n| format!("t{:08x}", n * 7919));
    let any = Filter::Or(traces.iter().map(|trace| Filter::eq("trace", trace.clone())).collect());
    let query = Query { filter: any, ..needle(0) };
    let answer = there.page(&query);
    assert_eq!(answer.records, page(&world.snapshot(), &query).unwrap().records);
    assert_eq!(answer.records.len(), 5);
    assert!(answer.statistics.blocks_read >= 4, "{:?}", answer.statistics);
    let gets = there.shelf.taken();
    assert_eq!(gets.len(), 1, "{gets:?}");
}

#[test]
fn a_needle_without_an_index_takes_the_filters_and_the_blocks_that_pass_them() {
    let world = day(16, false);
    let there = Cold::of(&world, &|_| true);
    there.page(&needle(65_000));
    let there = there.forget_data();
    let answer = there.page(&needle(4_000 * 3 + 1_234));
    assert_eq!(answer.records.len(), 1);
    let blocks = answer.statistics.blocks;
    let gets = there.shelf.taken();
    // Filters are asked for by segment, all of a segment in one request.
    assert!(blocks >= 100, "{blocks}");
    assert!(gets.len() as u64 <= 16 + 1 + blocks.div_ceil(250) * 2, "{} requests, {blocks} blocks", gets.len());
}

#[test]
fn counts_by_level_of_a_cold_day_read_no_data() {
    let world = day(3, true);
    let there = Cold::of(&world, &|_| true);
    let aggregation = Aggregation { by: vec!["level".to_owned()], ..Aggregation::new(Tenant::default()) };
    let counted = aggregate(&there.snapshot(), &aggregation).unwrap();
    assert_eq!(counted.groups, aggregate(&world.snapshot(), &aggregation).unwrap().groups);
    let gets = there.shelf.taken();
    assert!(gets.len() == 3 && gets.iter().all(|(key, _)| key.ends_with(".index")), "{gets:?}");
    assert_eq!(counted.statistics.object_gets, 3);
}

#[test]
fn neighbours_come_together() {
    let world = day(2, true);
    let there = Cold::of(&world, &|_| true);
    there.page(&needle(65_000));
    let there = there.forget_data();
    let all = Query { order: Order::OldestFirst, limit: usize::MAX, ..Query::new(Tenant::default()) };
    let found: usize = crate::export(there.snapshot(), all).map(|records| records.unwrap().len()).sum();
    assert_eq!(found, 8_000);
    let gets = there.shelf.taken();
    assert!(gets.len() <= 20, "{} requests for two segments read whole", gets.len());
}

/// The records of a split question: those of the server, and those that a client reads itself with what it was given.
fn split_records(there: &Cold, snapshot: &Snapshot, query: &Query) -> Vec<String> {
    let parts = split(snapshot, query, None, &|_| true).unwrap();
    let ids: Vec<String> = parts.cold.iter().map(|part| part.segment.entry.id.clone()).collect();
    let all_cold: Vec<String> =
        snapshot.segments.iter().filter(|segment| segment.is_cold()).map(|segment| segment.entry.id.clone()).collect();
    assert!(parts.cold.iter().all(|part| !part.ranges.is_empty()));
    let entries = parts.cold.iter().map(|part| (part.segment.day, (*part.segment.entry).clone())).collect();
    let hidden = Hidden::new(snapshot.hidden.start(), snapshot.hidden.hides().to_vec());
    let cold = tier::snapshot_of(&Env::real(), Arc::new(there.shelf.clone()), entries, hidden).unwrap();
    let page_of = |cursor| Query { cursor, ..query.clone() };
    let hot = |cursor| split(snapshot, &page_of(cursor), Some(&all_cold), &|_| true).map(|parts| parts.hot);
    let mut merge = Merge::new(query.order, Box::new(hot), Box::new(|cursor| page_ranked(&cold, &page_of(cursor))));
    let mut numbers = Vec::new();
    while let Some(record) = merge.next_record().unwrap() {
        numbers.push(super::number(&record));
    }
    assert!(merge.missing().is_empty(), "{:?} of {ids:?}", merge.missing());
    numbers
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]

    #[test]
    fn a_question_in_two_parts_has_the_answer_of_one(
        batches in batches(),
        cold in any::<u8>(),
        deleted in prop::option::of(filter()),
        questions in prop::collection::vec((filter(), range(), order(), 1..30_usize), 1..4),
    ) {
        let world = fill(&batches);
        let there = Cold::of(&world, &|number| cold >> (number % 8) & 1 == 1);
        let hide = |snapshot: &mut Snapshot| {
            if let Some(filter) = &deleted {
                let filter = Arc::new(timberlog_filter::Compiled::new(filter).unwrap());
                let (selector, name) = (String::new(), "delete x".to_owned());
                let hide = Hide { filter, selector, range: TimeRange::ALL, name, upto: Upto::Always };
                snapshot.hidden = Arc::new(Hidden::new(START + 1, vec![Arc::new(hide)]));
            }
        };
        let mut expected = world.snapshot();
        hide(&mut expected);
        let mut snapshot = there.snapshot();
        hide(&mut snapshot);
        for (filter, range, order, limit) in questions {
            let query = world.query(&filter, range, order, limit);
            let all = crate::export(expected.clone(), query.clone()).flat_map(|records| records.unwrap());
            let all: Vec<String> = all.map(|record| super::number(&record)).collect();
            prop_assert_eq!(split_records(&there, &snapshot, &query), all);
        }
    }
}

#[test]
fn a_split_names_what_was_replaced() {
    let world = day(2, true);
    let there = Cold::of(&world, &|_| true);
    let error = split(&there.snapshot(), &needle(1), Some(&["gone".to_owned()]), &|_| true).err().unwrap();
    assert_eq!(error.kind, timberlog_types::ErrorKind::Conflict);
    let parts = split(&there.snapshot(), &needle(4_001), None, &|_| true).unwrap();
    assert_eq!((parts.hot.page.records.len(), parts.cold.len()), (0, 1));
    let none = split(&there.snapshot(), &needle(4_001), None, &|_| false).unwrap();
    assert_eq!((none.hot.page.records.len(), none.cold.len()), (1, 0));
}
