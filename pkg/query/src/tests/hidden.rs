//! Deletes and retention: every kind of query over a storage that hides records answers as over one
//! that never had them.

use super::{Plain, START, World, batches, filter, number, order, plain, range};
use crate::logql::{self, VolumeBy, VolumeQuery, delete_filter};
use crate::{
    Aggregation, Order, Query, SeriesQuery, Statistics, aggregate, distinct_records, explain, export, label_names,
    label_values, page, streams,
};
use proptest::prelude::*;
use std::sync::Arc;
use timberlog_filter::{BatchColumns, Compiled, Filter, evaluate};
use timberlog_logql::ast::Expr;
use timberlog_logql::evaluate::Steps;
use timberlog_logql::{parse, parse_log, parse_selector};
use timberlog_storage::deletes::Selectors;
use timberlog_storage::{Hidden, Hide, Options, Snapshot, Upto};
use timberlog_types::time::SECOND_NS;
use timberlog_types::{Batch, BatchBuilder, RowSet, Tenant, TimeRange};

/// What is deleted: from one record to all.
pub(super) const SELECTORS: &[&str] = &[
    r#"{host="h1"}"#,
    r#"{service_name=~".+"}"#,
    r#"{service_name=~".+"} |= "error""#,
    r#"{service_name=~".+"} |= "77412" != "ok""#,
    r#"{service_name=~".+"} |~ "node[0-9]+" | host!="h2""#,
    r#"{service_name=~".+"} | level="ERROR""#,
    r#"{service_name=~".+"} | detected_level="info""#,
    r#"{service_name=~".+"} | trace="t00001eef""#,
    r#"{service_name=~".+"} | size="7" or size="8""#,
];

const LOG_QUERIES: &[&str] = &[
    r#"{service_name=~".+"}"#,
    r#"{host="h2"}"#,
    r#"{service_name=~".+", host!="h1"} |= "error""#,
    r#"{service_name=~".+"} | size > 20"#,
    r#"{service_name=~".+"} |= "user" | logfmt | user != "" | line_format "{{.user}}""#,
];

/// Whether a record passes a filter.
pub(super) fn passes(filter: &Compiled, record: &Plain) -> bool {
    let mut builder = BatchBuilder::new();
    record.put(&mut builder, "0");
    let batch: Batch = builder.finish().unwrap();
    !evaluate(filter, &BatchColumns::new(&batch), RowSet::all(1)).unwrap().is_empty()
}

/// Holds every kind of answer over one snapshot against that over another.
pub(super) fn same_answers(
    found: &Snapshot,
    expected: &Snapshot,
    filter: &Filter,
    range: TimeRange,
    order: Order,
    limit: usize,
) -> Result<(), TestCaseError> {
    let query = Query { filter: filter.clone(), range, order, limit, ..Query::new(Tenant::default()) };
    let pages = |snapshot: &Snapshot| {
        let (mut query, mut numbers) = (query.clone(), Vec::new());
        loop {
            let page = page(snapshot, &query).unwrap();
            assert!(page.missing.is_empty(), "{:?}", page.missing);
            numbers.extend(page.records.iter().map(number));
            let Some(next) = page.next else { return numbers };
            query.cursor = Some(next);
        }
    };
    let numbers = pages(expected);
    prop_assert_eq!(&pages(found), &numbers, "pages");
    let exported: Vec<String> =
        export(found.clone(), query.clone()).flat_map(|records| records.unwrap()).map(|r| number(&r)).collect();
    prop_assert_eq!(&exported, &numbers, "export");
    prop_assert!(explain(found, &query).unwrap().rows >= numbers.len() as u64);
    for by in [&[][..], &["level"], &["service"], &["host", "level"], &["message"]] {
        for step in [None, Some(600 * SECOND_NS)] {
            let by = by.iter().map(|&name| name.to_owned()).collect();
            let ask = Aggregation { range, filter: filter.clone(), by, step, ..Aggregation::new(Tenant::default()) };
            let count = |snapshot| aggregate(snapshot, &ask).unwrap().groups;
            prop_assert_eq!(count(found), count(expected), "{:?}", ask);
        }
    }
    let series = |snapshot: &Snapshot| {
        let ask = SeriesQuery { records: query.clone(), step: Some(60 * SECOND_NS), series_max: 10_000 };
        distinct_records(snapshot.clone(), ask).unwrap().series
    };
    prop_assert_eq!(series(found), series(expected));
    same_listings(found, expected)?;
    same_logql(found, expected, range, order)
}

fn same_listings(found: &Snapshot, expected: &Snapshot) -> Result<(), TestCaseError> {
    prop_assert_eq!(label_names(found, TimeRange::ALL).unwrap(), label_names(expected, TimeRange::ALL).unwrap());
    prop_assert_eq!(streams(found, TimeRange::ALL).unwrap(), streams(expected, TimeRange::ALL).unwrap());
    for name in ["service", "level", "host", "size", "none"] {
        let values = |snapshot| label_values(snapshot, name, TimeRange::ALL).unwrap();
        prop_assert_eq!(values(found), values(expected), "values of {}", name);
    }
    let options = logql::Options::default();
    for selector in [r#"{host=~".+"}"#, r#"{service_name=~".+"}"#] {
        let selector = parse_selector(selector).unwrap();
        let names = |snapshot| logql::label_names(snapshot, &selector, TimeRange::ALL, &options).unwrap();
        prop_assert_eq!(names(found), names(expected));
        let values = |snapshot| logql::label_values(snapshot, "host", &selector, TimeRange::ALL, &options).unwrap();
        prop_assert_eq!(values(found), values(expected));
        let series =
            |snapshot| logql::series(snapshot, std::slice::from_ref(&selector), TimeRange::ALL, &options).unwrap();
        prop_assert_eq!(series(found), series(expected));
        // Bytes are the share that records have of their block: of other blocks, another share.
        let stats = |snapshot| {
            let stats = logql::stats(snapshot, &selector, TimeRange::ALL, &options).unwrap();
            (stats.streams, stats.entries)
        };
        prop_assert_eq!(stats(found), stats(expected));
        let volume = |snapshot| {
            let range = TimeRange { start: START, end: i64::MAX };
            let (targets, by, step_ns) = (Vec::new(), VolumeBy::Series, None);
            let ask = VolumeQuery { selector: selector.clone(), targets, by, range, step_ns, limit: 100 };
            let found = logql::volume(snapshot, &ask, &options).unwrap();
            let mut labels: Vec<_> = found.into_iter().map(|volume| volume.labels.to_string()).collect();
            labels.sort();
            labels
        };
        prop_assert_eq!(volume(found), volume(expected));
    }
    Ok(())
}

fn same_logql(found: &Snapshot, expected: &Snapshot, range: TimeRange, order: Order) -> Result<(), TestCaseError> {
    let options = logql::Options::default();
    let steps = Steps { start_ns: START, end_ns: START + 7200 * SECOND_NS, step_ns: 900 * SECOND_NS };
    for text in LOG_QUERIES {
        let expr = parse_log(text).unwrap();
        let query = logql::LogQuery {
            expr: expr.clone(),
            range,
            order,
            limit: usize::MAX,
            interval_ns: 0,
            options: options.clone(),
        };
        let entries = |snapshot| logql::entries(snapshot, &query).unwrap().entries;
        prop_assert_eq!(entries(found), entries(expected), "{}", text);
        let patterns = |snapshot| logql::patterns(snapshot, &expr, range, 60 * SECOND_NS, &options).unwrap().patterns;
        prop_assert_eq!(patterns(found), patterns(expected), "{}", text);
        for op in ["count_over_time", "bytes_over_time"] {
            for by in ["", "by (host, level)", "without (number, trace)"] {
                let text = format!("sum {by} ({op}({text} [1h]))");
                let Ok(Expr::Metric(expr)) = parse(&text) else { panic!("{text}") };
                let compute =
                    |snapshot| format!("{:?}", logql::compute(snapshot, &expr, steps, &options).map(|c| c.value));
                prop_assert_eq!(compute(found), compute(expected), "{}", text);
            }
        }
    }
    Ok(())
}

/// Something that hides: a selector, times, whether it also hides what is still to come.
fn hides() -> impl Strategy<Value = Vec<(&'static str, TimeRange)>> {
    prop::collection::vec((prop::sample::select(SELECTORS.to_vec()), range()), 0..3)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(8))]

    #[test]
    fn what_is_hidden_is_as_if_it_never_was(
        batches in batches(),
        hides in hides(),
        start in prop_oneof![3 => Just(i64::MIN), 1 => (0..5_i64).prop_map(|ns| START + ns)],
        questions in prop::collection::vec((filter(), range(), order(), 1..30_usize), 1..3),
    ) {
        let (mut all, mut visible) = (World::new(), World::new());
        let compile = |text: &str| Arc::new(Compiled::new(&delete_filter(text).unwrap()).unwrap());
        let hides: Vec<Arc<Hide>> = hides
            .iter()
            .map(|&(text, range)| {
                let name = format!("delete {text}");
                Arc::new(Hide { filter: compile(text), selector: text.to_owned(), range, name, upto: Upto::Always })
            })
            .collect();
        let mut first = 0;
        for (records, flush) in &batches {
            let is_shown = |record: &Plain| {
                let hidden = |hide: &Arc<Hide>| hide.range.contains(record.timestamp) && passes(&hide.filter, record);
                record.timestamp >= start && !hides.iter().any(hidden)
            };
            let numbered: Vec<(usize, &Plain)> = (first..).zip(records).collect();
            first += records.len();
            all.append_numbered(&numbered);
            visible.append_numbered(&numbered.into_iter().filter(|(_, record)| is_shown(record)).collect::<Vec<_>>());
            if *flush {
                all.storage.flush().unwrap();
                visible.storage.flush().unwrap();
            }
        }
        let found = with(&all, Hidden::new(start, hides));
        for (filter, range, order, limit) in questions {
            same_answers(&found, &visible.snapshot(), &filter, range, order, limit)?;
        }
    }
}

/// What happens to a storage.
#[derive(Clone, Debug)]
enum Event {
    Append(Vec<Plain>),
    Delete(&'static str, TimeRange),
    /// Cancels the delete of this number, if it still can be.
    Cancel(prop::sample::Index),
    Flush,
    Compact,
    Restart,
}

fn event() -> impl Strategy<Value = Event> {
    let selector = prop::sample::select(SELECTORS.to_vec());
    prop_oneof![
        4 => prop::collection::vec(plain(), 1..60).prop_map(Event::Append),
        3 => (selector, range()).prop_map(|(selector, range)| Event::Delete(selector, range)),
        1 => any::<prop::sample::Index>().prop_map(Event::Cancel),
        2 => Just(Event::Flush),
        2 => Just(Event::Compact),
        1 => Just(Event::Restart),
    ]
}

/// A delete that was asked for.
struct Asked {
    id: String,
    filter: Compiled,
    range: TimeRange,
    /// Records that had arrived.
    before: usize,
}

/// A storage that takes deletes. Nothing is flushed when it goes, as in a crash.
fn deleting(dir: &tempfile::TempDir) -> World {
    let mut options = Options::new(dir.path().join("data"));
    options.background = false;
    options.block_bytes = 2_000;
    options.wal_file_bytes = 1 << 20;
    options.user_indexes = vec!["trace".to_owned()];
    options.selectors = Selectors::new(delete_filter);
    World::with(options)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(10))]

    #[test]
    fn what_is_deleted_stays_deleted_whatever_happens(
        events in prop::collection::vec(event(), 1..12),
        (filter, range, order, limit) in (filter(), range(), order(), 1..30_usize),
    ) {
        let dir = tempfile::tempdir().unwrap();
        let mut world = deleting(&dir);
        let mut records: Vec<Plain> = Vec::new();
        let mut deletes: Vec<Asked> = Vec::new();
        for event in &events {
            match event {
                Event::Append(batch) => {
                    let numbered: Vec<(usize, &Plain)> = (records.len()..).zip(batch).collect();
                    world.append_numbered(&numbered);
                    records.extend(batch.iter().cloned());
                }
                Event::Delete(selector, range) => {
                    let asked = world.storage.delete(&Tenant::default(), selector, *range);
                    if range.is_empty() {
                        prop_assert!(asked.is_err());
                        continue;
                    }
                    let filter = Compiled::new(&delete_filter(selector).unwrap()).unwrap();
                    deletes.push(Asked { id: asked.unwrap().id, filter, range: *range, before: records.len() });
                }
                Event::Cancel(index) if !deletes.is_empty() => {
                    let index = index.index(deletes.len());
                    if world.storage.cancel_delete(&Tenant::default(), &deletes[index].id).is_ok() {
                        deletes.remove(index);
                    }
                }
                Event::Cancel(_) => {}
                Event::Flush => world.storage.flush().unwrap(),
                Event::Compact => while world.storage.compact().unwrap().is_some() {},
                Event::Restart => {
                    drop(world);
                    world = deleting(&dir);
                }
            }
        }
        let is_shown = |number: usize, record: &Plain| {
            let hides = |delete: &Asked| {
                number < delete.before && delete.range.contains(record.timestamp) && passes(&delete.filter, record)
            };
            !deletes.iter().any(hides)
        };
        let mut visible = World::new();
        let shown = records.iter().enumerate().filter(|(number, record)| is_shown(*number, record));
        visible.append_numbered(&shown.collect::<Vec<_>>());
        same_answers(&world.snapshot(), &visible.snapshot(), &filter, range, order, limit)?;
    }
}

/// 4,000 records of two streams in many blocks, flushed.
fn haystack() -> World {
    let mut world = World::new();
    let record = |n: i64| Plain {
        timestamp: START + n * SECOND_NS,
        level: Some(if n % 2 == 0 { "info" } else { "error" }),
        service: "web",
        label: Some(if n % 4 == 0 { "h1" } else { "h2" }),
        host: None,
        size: None,
        trace: n as u16,
        message: format!("request {n} took {} ms", n * 7 % 1000),
    };
    world.append(&(0..4_000).map(record).collect::<Vec<_>>());
    world.storage.flush().unwrap();
    world
}

fn with(world: &World, hidden: Hidden) -> Snapshot {
    let mut snapshot = world.snapshot();
    snapshot.hidden = Arc::new(hidden);
    snapshot
}

fn hiding(world: &World, text: &str, range: TimeRange) -> Snapshot {
    let filter = Arc::new(Compiled::new(&delete_filter(text).unwrap()).unwrap());
    let hide = Hide { filter, selector: text.to_owned(), range, name: "delete X".to_owned(), upto: Upto::Always };
    with(world, Hidden::new(i64::MIN, vec![Arc::new(hide)]))
}

fn count_by_level(snapshot: &Snapshot) -> (u64, Statistics) {
    let ask = Aggregation { by: vec!["level".to_owned()], ..Aggregation::new(Tenant::default()) };
    let answer = aggregate(snapshot, &ask).unwrap();
    (answer.groups.iter().map(|group| group.count).sum(), answer.statistics)
}

#[test]
fn blocks_that_a_delete_cannot_touch_are_still_counted_by_the_index() {
    let world = haystack();
    let (count, statistics) = count_by_level(&world.snapshot());
    assert_eq!((count, statistics.blocks_read), (4_000, 0));
    let blocks = statistics.blocks;
    assert!(blocks > 20, "{blocks}");
    // A user index knows the blocks.
    let snapshot = hiding(&world, r#"{service_name=~".+"} | trace="t00094de3""#, TimeRange::ALL);
    let (count, statistics) = count_by_level(&snapshot);
    assert_eq!((count, statistics.rows_hidden), (3_999, 1));
    assert!(statistics.blocks_read <= 2 && statistics.blocks_from_counts >= blocks - 2, "{statistics:?}");
    // A range of which no block is.
    let later = TimeRange { start: START + 5_000 * SECOND_NS, end: i64::MAX };
    let (count, statistics) = count_by_level(&hiding(&world, r#"{host="h1"}"#, later));
    assert_eq!((count, statistics.blocks_read), (4_000, 0));
    // A stream of which no block is.
    let (count, statistics) = count_by_level(&hiding(&world, r#"{host="h3"}"#, TimeRange::ALL));
    assert_eq!((count, statistics.blocks_read), (4_000, 0));
}

#[test]
fn what_deletes_touch_is_found_out_once() {
    let world = haystack();
    let hide = |n: usize| {
        let text = format!("{{service_name=~\".+\"}} |= \" of the order {n}f4711ab \"");
        let filter = Arc::new(Compiled::new(&delete_filter(&text).unwrap()).unwrap());
        let name = format!("delete {n}");
        Arc::new(Hide { filter, selector: text, range: TimeRange::ALL, name, upto: Upto::Always })
    };
    let mut hides: Vec<_> = (0..40).map(hide).collect();
    let asked = |hides: &[Arc<Hide>]| {
        let (count, statistics) = count_by_level(&with(&world, Hidden::new(i64::MIN, hides.to_vec())));
        assert_eq!((count, statistics.rows_hidden), (4_000, 0));
        statistics.bytes_read
    };
    let first = asked(&hides);
    assert!(first > 0, "token filters or messages were looked at");
    assert_eq!(asked(&hides), 0);
    // One more, and one less: only what is new is looked at. Twice: those that were found to be about nothing here are
    // kept apart from then on.
    for (new, gone) in [(40, 7), (41, 3)] {
        hides.push(hide(new));
        hides.remove(gone);
        let more = asked(&hides);
        assert!(0 < more && more < first / 8, "{more} of {first}");
        assert_eq!(asked(&hides), 0);
    }
    // Nothing of it is wrong about one that has a match.
    let text = r#"{service_name=~".+"} |= "request 1234 ""#;
    let filter = Arc::new(Compiled::new(&delete_filter(text).unwrap()).unwrap());
    let (selector, name) = (text.to_owned(), "delete one".to_owned());
    hides.push(Arc::new(Hide { filter, selector, range: TimeRange::ALL, name, upto: Upto::Always }));
    for _ in 0..2 {
        let (count, statistics) = count_by_level(&with(&world, Hidden::new(i64::MIN, hides.clone())));
        assert_eq!((count, statistics.rows_hidden), (3_999, 1));
    }
}

#[test]
fn what_is_hidden_whole_is_not_read_and_explained() {
    let world = haystack();
    let query = Query::new(Tenant::default());
    let half = TimeRange { start: START, end: START + 1_999 * SECOND_NS };
    let snapshot = hiding(&world, r#"{service_name=~".+"}"#, half);
    let (count, statistics) = count_by_level(&snapshot);
    assert_eq!(count, 2_000);
    assert!(statistics.blocks_read <= 4 && statistics.blocks_pruned > 10, "{statistics:?}");
    let explained = explain(&snapshot, &query).unwrap();
    let step = explained.segments[0].steps.iter().find(|step| step.step == "deletes and retention").unwrap();
    assert!(step.reason.contains("delete X") && step.before > step.after, "{step:?}");
    let all = TimeRange { start: i64::MIN, end: i64::MAX };
    let snapshot = hiding(&world, r#"{service_name=~".+"}"#, all);
    assert_eq!(count_by_level(&snapshot).0, 0);
    assert_eq!(explain(&snapshot, &query).unwrap().rows, 0);
    let touched = explain(&hiding(&world, r#"{host="h1"}"#, all), &query).unwrap();
    assert_eq!(touched.hidden_by, ["delete X"]);
    assert!((3_000..4_000).contains(&touched.rows), "{}", touched.rows);
    let expired = with(&world, Hidden::new(START + 3_000 * SECOND_NS, Vec::new()));
    assert_eq!(count_by_level(&expired).0, 1_000);
    let explained = explain(&expired, &query).unwrap();
    assert!(explained.steps[0].reason.contains("have expired"), "{:?}", explained.steps);
    let gone = with(&world, Hidden::new(START + 4_000 * SECOND_NS, Vec::new()));
    let explained = explain(&gone, &query).unwrap();
    assert_eq!(explained.segments[0].pruned.as_deref(), Some("retention: its records have expired"));
}
