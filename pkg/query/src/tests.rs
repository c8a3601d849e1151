//! The engine against a naive scan, over a real storage in a temporary folder: buffer and
//! segments, small blocks, many ties.

mod cache;
mod cancel;
mod cold;
mod hidden;

use crate::{
    Aggregation, Cursor, Order, Query, QueryLimits, Record, aggregate, explain, export, label_names, label_values,
    page, streams,
};
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use timberlog_disk::Env;
use timberlog_filter::{BatchColumns, Comparison, Compiled, Filter, Op, Pattern, evaluate};
use timberlog_storage::{BufferedBatch, Options, Progress, Snapshot, Storage, Subscriber};
use timberlog_types::time::{DAY_NS, SECOND_NS};
use timberlog_types::{Batch, BatchBuilder, ErrorKind, RowSet, Tenant, TimeRange, ValueKind};

pub(crate) const START: i64 = 1_790_000_000 * SECOND_NS;

struct Nobody;

impl Subscriber for Nobody {
    fn published(&self, _: &Tenant, _: &Arc<BufferedBatch>) {}
}

/// A storage and, beside it, everything that was put into it.
pub(crate) struct World {
    pub storage: Storage,
    tenant: Tenant,
    /// In order of arrival: a batch of the one record, and its number.
    pub records: Vec<(Batch, String)>,
    _dir: Option<tempfile::TempDir>,
}

#[derive(Clone, Debug)]
pub(crate) struct Plain {
    pub timestamp: i64,
    pub level: Option<&'static str>,
    pub service: &'static str,
    pub label: Option<&'static str>,
    pub host: Option<&'static str>,
    pub size: Option<i32>,
    pub trace: u16,
    pub message: String,
}

impl Plain {
    fn put(&self, builder: &mut BatchBuilder, number: &str) {
        let labels: Vec<_> = self.label.map(|value| ("host", value)).into_iter().collect();
        let stream = builder.stream(self.service, &labels).unwrap();
        let level = builder.level(self.level).unwrap();
        if let Some(host) = self.host {
            let kind = if host.is_empty() { ValueKind::Null } else { ValueKind::String };
            builder.field("host", kind, host.as_bytes()).unwrap();
        }
        if let Some(size) = self.size {
            builder.field("size", ValueKind::Number, size.to_string().as_bytes()).unwrap();
        }
        builder.field("trace", ValueKind::String, format!("t{:08x}", u32::from(self.trace) * 7919).as_bytes()).unwrap();
        builder.field("number", ValueKind::Number, number.as_bytes()).unwrap();
        builder.finish_row(self.timestamp, stream, level, self.message.as_bytes()).unwrap();
    }
}

impl World {
    pub fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut options = Options::new(dir.path().join("data"));
        options.background = false;
        options.block_bytes = 2_000;
        options.wal_file_bytes = 1 << 20;
        options.user_indexes = vec!["trace".to_owned()];
        Self { _dir: Some(dir), ..Self::with(options) }
    }

    pub fn with(options: Options) -> Self {
        let storage = Storage::open(options, Env::real(), Arc::new(Nobody), &Progress::default()).unwrap();
        Self { storage, tenant: Tenant::default(), records: Vec::new(), _dir: None }
    }

    pub fn append(&mut self, records: &[Plain]) {
        let first = self.records.len();
        let numbered: Vec<(usize, &Plain)> =
            records.iter().enumerate().map(|(i, record)| (first + i, record)).collect();
        self.append_numbered(&numbered);
    }

    pub fn append_numbered(&mut self, records: &[(usize, &Plain)]) {
        if records.is_empty() {
            return;
        }
        let (mut together, mut alone) = (BatchBuilder::new(), BatchBuilder::new());
        for (number, record) in records {
            let number = number.to_string();
            record.put(&mut together, &number);
            record.put(&mut alone, &number);
            self.records.push((alone.finish().unwrap(), number));
        }
        self.storage.append(&self.tenant, together.finish().unwrap(), None).unwrap();
    }

    pub fn snapshot(&self) -> Snapshot {
        self.storage.snapshot(&self.tenant)
    }

    /// The numbers of the records that match, oldest first.
    fn naive(&self, filter: &Filter, range: TimeRange) -> Vec<&(Batch, String)> {
        let compiled = Compiled::new(filter).unwrap();
        let mut found: Vec<_> = self
            .records
            .iter()
            .filter(|(batch, _)| {
                range.contains(batch.timestamp(0))
                    && !evaluate(&compiled, &BatchColumns::new(batch), RowSet::all(1)).unwrap().is_empty()
            })
            .collect();
        // Stable: what is equal stays in order of arrival.
        found.sort_by_key(|(batch, _)| (batch.timestamp(0), batch.stream_hash(0)));
        found
    }

    fn naive_numbers(&self, filter: &Filter, range: TimeRange, order: Order) -> Vec<String> {
        let mut numbers: Vec<String> = self.naive(filter, range).iter().map(|(_, number)| number.clone()).collect();
        if order == Order::NewestFirst {
            numbers.reverse();
        }
        numbers
    }

    fn query(&self, filter: &Filter, range: TimeRange, order: Order, limit: usize) -> Query {
        Query { filter: filter.clone(), range, order, limit, ..Query::new(self.tenant.clone()) }
    }
}

fn number(record: &Record) -> String {
    record.fields.iter().find(|field| field.0 == "number").unwrap().2.clone()
}

pub(crate) fn plain() -> impl Strategy<Value = Plain> {
    let time = prop_oneof![4 => 0..4_i64, 2 => (0..7200_i64).prop_map(|s| s * SECOND_NS), 1 => 0..3_i64];
    let day = prop::sample::select(vec![0, 0, 0, 1, 3]);
    let word = prop::sample::select(vec!["error", "node01", "GET", "user=77412", "t00001eef", "ok", "38101a0b", "ä"]);
    (
        (time, day).prop_map(|(time, day)| START + time + day * DAY_NS),
        prop::option::of(prop::sample::select(vec!["info", "ERROR", "warning", "loud"])),
        prop::sample::select(vec!["web", "db", ""]),
        prop::option::weighted(0.2, prop::sample::select(vec!["h1", "h2"])),
        prop::option::of(prop::sample::select(vec!["h1", "h2", "h3", ""])),
        prop::option::of(-3..50_i32),
        0..40_u16,
        prop::collection::vec(word, 0..5),
    )
        .prop_map(|(timestamp, level, service, label, host, size, trace, words)| Plain {
            timestamp,
            level,
            service,
            label,
            host,
            size,
            trace,
            message: words.join(" "),
        })
}

fn filter() -> impl Strategy<Value = Filter> {
    let text = |texts: &[&'static str]| prop::sample::select(texts.to_vec()).prop_map(str::to_owned);
    let leaf = prop_oneof![
        Just(Filter::All),
        text(&["error", "INFO", "warn", "unknown", "loud"]).prop_map(|level| Filter::eq("level", level)),
        text(&["web", "db", "none", ""]).prop_map(|service| Filter::eq("service", service)),
        text(&["h1", "h3", "h9", ""]).prop_map(|host| Filter::eq("host", host)),
        (0..45_u32).prop_map(|trace| Filter::eq("trace", format!("t{:08x}", trace * 7919))),
        text(&["error", "rro", "77412", "0001eef", "01 G", "nothing"]).prop_map(Filter::contains),
        text(&["77412", "ERROR", "node01"]).prop_map(|word| Filter::test("message", Op::TokenNoCase(word))),
        text(&["[0-9]{4,}", "^error", "err|ok$", "node(01|02)"])
            .prop_map(|text| Filter::test("message", Op::Regex(Pattern::search(text)))),
        (-5..50_i32).prop_map(|size| Filter::test("size", Op::Number(Comparison::Ge, f64::from(size)))),
        text(&["host", "size", "level", "none"]).prop_map(|name| Filter::test(&name, Op::Exists)),
    ];
    leaf.prop_recursive(3, 8, 3, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 1..4).prop_map(Filter::And),
            prop::collection::vec(inner.clone(), 1..4).prop_map(Filter::Or),
            inner.prop_map(Filter::not),
        ]
    })
}

fn range() -> impl Strategy<Value = TimeRange> {
    prop_oneof![
        2 => Just(TimeRange::ALL),
        1 => (0..5_i64, 0..5_i64).prop_map(|(a, b)| TimeRange { start: START + a.min(b), end: START + a.max(b) }),
        1 => (0..7200_i64, 0..3 * 86_400_i64).prop_map(|(start, len)| TimeRange {
            start: START + start * SECOND_NS,
            end: START + (start + len) * SECOND_NS,
        }),
    ]
}

fn batches() -> impl Strategy<Value = Vec<(Vec<Plain>, bool)>> {
    prop::collection::vec((prop::collection::vec(plain(), 1..120), prop::bool::weighted(0.4)), 1..5)
}

fn fill(batches: &[(Vec<Plain>, bool)]) -> World {
    let mut world = World::new();
    for (records, flush) in batches {
        world.append(records);
        if *flush {
            world.storage.flush().unwrap();
        }
    }
    world
}

fn order() -> impl Strategy<Value = Order> {
    prop::sample::select(vec![Order::NewestFirst, Order::OldestFirst])
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn pages_and_exports_agree_with_a_naive_scan(
        batches in batches(),
        questions in prop::collection::vec((filter(), range(), order(), 1..30_usize), 1..6),
    ) {
        let world = fill(&batches);
        let snapshot = world.snapshot();
        for (filter, range, order, limit) in questions {
            let expected = world.naive_numbers(&filter, range, order);
            let mut query = world.query(&filter, range, order, limit);
            let mut given = Vec::new();
            loop {
                let page = page(&snapshot, &query).unwrap();
                prop_assert!(page.missing.is_empty(), "{:?}", page.missing);
                prop_assert!(page.records.len() == limit || page.next.is_none());
                given.extend(page.records.iter().map(number));
                let Some(next) = page.next else { break };
                query.cursor = Some(next.to_string().parse().unwrap());
            }
            prop_assert_eq!(&given, &expected, "{:?} {:?} {:?}", filter, range, order);
            query.cursor = None;
            let exported: Vec<String> =
                export(snapshot.clone(), query.clone()).flat_map(|records| records.unwrap()).map(|r| number(&r)).collect();
            prop_assert_eq!(&exported, &expected);
            let explained = explain(&snapshot, &query).unwrap();
            prop_assert!(explained.rows >= expected.len() as u64);
        }
    }

    #[test]
    fn pages_stay_true_while_records_arrive_and_are_flushed(
        batches in batches(),
        arriving in prop::collection::vec((prop::collection::vec(plain(), 0..40), any::<bool>()), 1..6),
        filter in filter(),
        order in order(),
        limit in 1..40_usize,
    ) {
        let mut world = fill(&batches);
        let first: Vec<String> = world.naive_numbers(&filter, TimeRange::ALL, order);
        let mut query = world.query(&filter, TimeRange::ALL, order, limit);
        let mut given = Vec::new();
        let mut arriving = arriving.into_iter();
        loop {
            let page = page(&world.snapshot(), &query).unwrap();
            given.extend(page.records.iter().map(number));
            let Some(next) = page.next else { break };
            query.cursor = Some(next);
            if let Some((records, flush)) = arriving.next() {
                world.append(&records);
                if flush {
                    world.storage.flush().unwrap();
                }
            }
        }
        let mut unique = given.clone();
        unique.sort();
        unique.dedup();
        prop_assert_eq!(unique.len(), given.len(), "a record was given twice");
        let kept: Vec<&String> = given.iter().filter(|number| first.contains(number)).collect();
        prop_assert_eq!(kept, first.iter().collect::<Vec<_>>());
    }

    #[test]
    fn counts_agree_with_a_naive_scan(
        batches in batches(),
        questions in prop::collection::vec((
            filter(),
            range(),
            prop::collection::vec(prop::sample::select(vec!["level", "service", "host", "size", "trace", "message", "none"]), 0..3),
            prop::option::of(prop::sample::select(vec![1, 2, 600 * SECOND_NS, DAY_NS])),
        ), 1..8),
    ) {
        let world = fill(&batches);
        let snapshot = world.snapshot();
        for (filter, range, by, step) in questions {
            let aggregation = Aggregation {
                range,
                filter: filter.clone(),
                by: by.iter().map(|&name| name.to_owned()).collect(),
                step,
                ..Aggregation::new(world.tenant.clone())
            };
            let mut expected: BTreeMap<(Option<i64>, Vec<Option<String>>), u64> = BTreeMap::new();
            for (batch, _) in world.naive(&filter, range) {
                let bucket = step.map(|step| batch.timestamp(0).div_euclid(step) * step);
                let key = by.iter().map(|name| value(batch, name)).collect();
                *expected.entry((bucket, key)).or_default() += 1;
            }
            if by.is_empty() && step.is_none() {
                expected.entry((None, Vec::new())).or_default();
            }
            let answer = aggregate(&snapshot, &aggregation).unwrap();
            let found: BTreeMap<_, _> =
                answer.groups.iter().map(|group| ((group.bucket, group.key.clone()), group.count)).collect();
            prop_assert_eq!(found.len(), answer.groups.len(), "a group occurs twice");
            prop_assert_eq!(found, expected, "{:?} {:?}", filter, aggregation);
        }
    }
}

fn value(batch: &Batch, name: &str) -> Option<String> {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    let stream = batch.stream(batch.stream_id(0));
    match name {
        "level" => Some(batch.level(batch.level_id(0)).level.as_str().to_owned()),
        "service" => Some(stream.service().to_owned()).filter(|service| !service.is_empty()),
        "message" => Some(text(batch.message(0))),
        name => stream.label(name).map(str::to_owned).or_else(|| {
            let value = batch.field(name)?.get(0)?;
            (value.kind != ValueKind::Null).then(|| text(value.text))
        }),
    }
}

fn sample(count: i64) -> World {
    let mut world = World::new();
    world.append(&records(count));
    world.storage.flush().unwrap();
    world
}

/// A segment of some tens of blocks, in which values of `trace` are found by token filters alone.
fn needles() -> (World, tempfile::TempDir) {
    needles_in_blocks(7_500, 8_000)
}

fn needles_in_blocks(count: i64, block_bytes: usize) -> (World, tempfile::TempDir) {
    let dir = tempfile::tempdir().unwrap();
    let mut options = Options::new(dir.path().join("data"));
    options.background = false;
    options.block_bytes = block_bytes;
    let mut world = World::with(options);
    world.append(&records(count));
    world.storage.flush().unwrap();
    (world, dir)
}

fn records(count: i64) -> Vec<Plain> {
    (0..count)
        .map(|n| Plain {
            timestamp: START + n * SECOND_NS,
            level: Some(if n % 10 == 0 { "error" } else { "info" }),
            service: if n % 2 == 0 { "web" } else { "db" },
            label: None,
            host: Some("h1"),
            size: Some(i32::try_from(n).unwrap()),
            trace: u16::try_from(n).unwrap(),
            message: format!("request {n} took {} ms", n * 7 % 1000),
        })
        .collect()
}

#[test]
fn counts_that_the_directory_knows_read_no_block() {
    let world = sample(2000);
    for by in [&[][..], &["level"], &["service"], &["none", "level"]] {
        let by = by.iter().map(|&name| name.to_owned()).collect();
        let answer =
            aggregate(&world.snapshot(), &Aggregation { by, ..Aggregation::new(world.tenant.clone()) }).unwrap();
        assert_eq!(answer.groups.iter().map(|group| group.count).sum::<u64>(), 2000);
        assert_eq!((answer.statistics.blocks_read, answer.statistics.bytes_read), (0, 0));
        assert_eq!(answer.statistics.blocks_from_counts, answer.statistics.blocks);
        assert!(answer.statistics.blocks > 10);
    }
}

#[test]
fn a_page_of_the_newest_reads_few_blocks() {
    let world = sample(2000);
    let page = page(&world.snapshot(), &world.query(&Filter::All, TimeRange::ALL, Order::NewestFirst, 5)).unwrap();
    assert_eq!(page.records.iter().map(|r| r.timestamp - START).max(), Some(1999 * SECOND_NS));
    assert!(page.statistics.blocks_read * 4 < page.statistics.blocks, "{:?}", page.statistics);
}

#[test]
fn an_exact_value_is_found_by_its_index_and_explained() {
    let world = sample(2000);
    let filter = Filter::eq("trace", format!("t{:08x}", 1234 * 7919)).and(Filter::eq("level", "info"));
    let query = world.query(&filter, TimeRange::ALL, Order::NewestFirst, 5);
    let page = page(&world.snapshot(), &query).unwrap();
    assert_eq!(page.records.iter().map(number).collect::<Vec<_>>(), ["1234"]);
    assert!(page.statistics.blocks_read <= 2, "{:?}", page.statistics);
    let explained = explain(&world.snapshot(), &query).unwrap();
    assert!(explained.blocks <= 2);
    let steps: Vec<&str> = explained.segments[0].steps.iter().map(|step| step.step.as_str()).collect();
    assert!(steps.contains(&"token filters") && steps.contains(&"block directory"), "{steps:?}");
    let out = world.query(&filter, TimeRange { start: START - 5, end: START - 1 }, Order::NewestFirst, 5);
    let explained = explain(&world.snapshot(), &out).unwrap();
    assert!(explained.segments[0].pruned.as_ref().unwrap().starts_with("time"));
    // Segments of other days are counted and not listed.
    let long_ago = world.query(&filter, TimeRange { start: 0, end: 5 }, Order::NewestFirst, 5);
    let explained = explain(&world.snapshot(), &long_ago).unwrap();
    assert!(explained.segments.is_empty());
    assert_eq!((explained.steps[1].before, explained.steps[1].after), (world.snapshot().segments.len() as u64, 0));
}

#[test]
fn limits_end_a_query_and_say_which() {
    let world = sample(500);
    let all = world.query(&Filter::contains("took"), TimeRange::ALL, Order::NewestFirst, 400);
    for (limits, expected) in [
        (QueryLimits { time: Duration::ZERO, ..QueryLimits::default() }, "limit on time"),
        (QueryLimits { bytes: 100, ..QueryLimits::default() }, "limit on bytes"),
        (QueryLimits { memory: 5000, ..QueryLimits::default() }, "limit on memory"),
    ] {
        let query = Query { limits, ..all.clone() };
        let error = page(&world.snapshot(), &query).unwrap_err();
        assert!(error.message.contains(expected), "{error}");
        assert!(matches!(error.kind, ErrorKind::Overloaded { .. }));
        let error = export(world.snapshot(), query).find_map(Result::err).unwrap();
        assert!(error.message.contains(expected), "{error}");
    }
    let by = Aggregation { by: vec!["trace".to_owned()], groups_max: 10, ..Aggregation::new(world.tenant.clone()) };
    assert!(aggregate(&world.snapshot(), &by).unwrap_err().message.contains("more than 10 groups"));
}

#[test]
fn labels_values_and_streams_are_listed() {
    let world = sample(100);
    let snapshot = world.snapshot();
    assert_eq!(
        label_names(&snapshot, TimeRange::ALL).unwrap(),
        ["host", "level", "number", "service", "size", "trace"]
    );
    assert_eq!(label_values(&snapshot, "service", TimeRange::ALL).unwrap(), ["db", "web"]);
    assert_eq!(label_values(&snapshot, "level", TimeRange::ALL).unwrap(), ["error", "info"]);
    assert_eq!(label_values(&snapshot, "host", TimeRange::ALL).unwrap(), ["h1"]);
    assert!(label_names(&snapshot, TimeRange { start: 0, end: 1 }).unwrap().is_empty());
    let services: Vec<String> = streams(&snapshot, TimeRange::ALL).unwrap().into_iter().map(|s| s.service).collect();
    assert_eq!(services, ["db", "web"]);
}

/// An export is not ended by what its reader does between two items.
#[test]
fn a_slow_reader_does_not_use_up_the_time_of_an_export() {
    let world = sample(300);
    let mut query = world.query(&Filter::All, TimeRange::ALL, Order::OldestFirst, 1);
    query.limits.time = Duration::from_secs(5);
    let mut export = export(world.snapshot(), query);
    export.given = export.given.checked_sub(Duration::from_secs(3600)).unwrap();
    assert_eq!(export.by_ref().map(|records| records.unwrap().len()).sum::<usize>(), 300);
    assert!(export.statistics().elapsed_ns < 5_000_000_000);
}

#[test]
fn an_empty_range_has_nothing() {
    let world = sample(50);
    let range = TimeRange { start: START + 10, end: START + 5 };
    let page = page(&world.snapshot(), &world.query(&Filter::All, range, Order::OldestFirst, 10)).unwrap();
    assert!(page.records.is_empty() && page.next.is_none());
    assert_eq!(page.statistics.segments_pruned, page.statistics.segments);
    assert!(label_names(&world.snapshot(), range).unwrap().is_empty());
}

#[test]
fn a_cursor_of_the_other_order_is_refused() {
    let world = sample(10);
    let mut query = world.query(&Filter::All, TimeRange::ALL, Order::NewestFirst, 2);
    query.cursor = Some(Cursor { order: Order::OldestFirst, timestamp: 0, stream: 0, n: 0 });
    assert_eq!(page(&world.snapshot(), &query).unwrap_err().kind, ErrorKind::Invalid);
}

/// Whatever byte of a block is damaged: the rest answers, and the answer says what is missing.
#[test]
fn damaged_blocks_are_left_out_and_named() {
    let world = sample(300);
    let whole = world.naive_numbers(&Filter::All, TimeRange::ALL, Order::OldestFirst);
    let (path, len) = {
        let segment = world.snapshot().segments.iter().next().unwrap().clone();
        let files = segment.open().unwrap();
        let blocks = &files.reader.directory().blocks;
        (segment.log_path().to_path_buf(), blocks.last().map(|b| b.offset + u64::from(b.len)).unwrap())
    };
    let sound = std::fs::read(&path).unwrap();
    let mut reported = 0;
    for at in (0..len).step_by(211) {
        let mut damaged = sound.clone();
        damaged[usize::try_from(at).unwrap()] ^= 0x40;
        std::fs::write(&path, &damaged).unwrap();
        // A new storage has nothing in its cache.
        let mut options = Options::new(world.storage.options().data_dir.clone());
        options.cache_bytes = 0;
        options.background = false;
        let (snapshot, _dir) = copy_of(&world, options);
        let query = world.query(&Filter::contains("took"), TimeRange::ALL, Order::OldestFirst, 1000);
        let page = page(&snapshot, &query).unwrap();
        let given: Vec<String> = page.records.iter().map(number).collect();
        assert!(given.iter().all(|number| whole.contains(number)));
        assert_eq!(given.len() < whole.len(), !page.missing.is_empty(), "at {at}: {:?}", page.missing);
        reported += page.missing.len();
    }
    assert!(reported > 0);
}

/// The records of a world's folder, opened afresh from a copy.
fn copy_of(world: &World, mut options: Options) -> (Snapshot, tempfile::TempDir) {
    let dir = tempfile::tempdir().unwrap();
    let from = &world.storage.options().data_dir;
    options.data_dir = dir.path().join("data");
    copy(from, &options.data_dir);
    let storage = Storage::open(options, Env::real(), Arc::new(Nobody), &Progress::default()).unwrap();
    let snapshot = storage.snapshot(&world.tenant);
    (snapshot, dir)
}

fn copy(from: &std::path::Path, to: &std::path::Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target);
        } else if entry.file_name() != "LOCK" {
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
}
