//! Compaction changes no answer: whatever is asked before, in the middle of it and afterwards.

use std::ops::Range;
use std::time::{Duration, Instant};
use timberlog_db::filter::{Filter, Op, Target, Test};
use timberlog_db::query::{Aggregation, Cursor, Order, Query, Record};
use timberlog_db::types::{Batch, BatchBuilder, Tenant, ValueKind};
use timberlog_db::{CompactionOptions, Database, Env, Options, Progress, RetentionRule};

/// 2026-01-01T00:00:00Z in ns.
const START: i64 = 1_767_225_600_000_000_000;
const SECOND: i64 = 1_000_000_000;

fn options(folder: &tempfile::TempDir) -> Options {
    Options {
        background: false,
        wal_file_bytes: 1 << 20,
        block_bytes: 4_000,
        compaction: CompactionOptions { fan_in: 16, sealed_segments_max: 1_000, ..CompactionOptions::default() },
        ..Options::new(folder.path().join("data"))
    }
}

fn open(options: &Options) -> Database {
    Database::open(options.clone(), Env::real(), &Progress::default()).unwrap()
}

/// Records that are equal in time and stream more often than not; `n` numbers them.
fn batch(numbers: Range<u64>) -> Batch {
    let mut builder = BatchBuilder::new();
    for n in numbers {
        let service = ["web", "db", "cache"][(n % 3) as usize];
        let stream = builder.stream(service, &[("host", ["a", "b"][(n / 3 % 2) as usize])]).unwrap();
        let level = builder.level([None, Some("info"), Some("ERROR")][(n / 5 % 3) as usize]).unwrap();
        builder.field("trace_id", ValueKind::String, format!("{:032x}", n / 4 * 7919).as_bytes()).unwrap();
        if n % 7 == 0 {
            builder.field("status", ValueKind::Number, (200 + n % 300).to_string().as_bytes()).unwrap();
        }
        let timestamp = START + (n * 37 % 11_000) as i64 / 20 * 20 * SECOND;
        builder.finish_row(timestamp, stream, level, format!("request {n} took {} ms", n % 97).as_bytes()).unwrap();
    }
    builder.finish().unwrap()
}

/// A database of 16 segments.
fn sixteen(options: &Options) -> Database {
    let database = open(options);
    for segment in 0..16 {
        database.append(&Tenant::default(), batch(segment * 150..(segment + 1) * 150), None).unwrap();
        database.flush().unwrap();
    }
    assert_eq!(database.stats().segments, 16);
    database
}

fn test(target: Target, op: Op) -> Filter {
    Filter::Test(Test { target, op })
}

fn filters() -> Vec<Filter> {
    vec![
        Filter::All,
        test(Target::Level, Op::Eq("error".into())),
        test(Target::Service, Op::Eq("db".into())),
        test(Target::Message, Op::Contains("took 13 ms".into())),
        test(Target::Name("trace_id".into()), Op::Eq(format!("{:032x}", 300 * 7919))),
        test(Target::Name("status".into()), Op::Exists),
    ]
}

/// The pages from a cursor on, and the cursors between them.
fn pages(database: &Database, query: &Query) -> (Vec<Record>, Vec<Cursor>) {
    let (mut records, mut cursors) = (Vec::new(), Vec::new());
    let mut query = query.clone();
    loop {
        let page = database.page(&query).unwrap();
        assert_eq!(page.missing, Vec::<String>::new());
        records.extend(page.records);
        let Some(next) = page.next else { return (records, cursors) };
        cursors.push(next);
        query.cursor = Some(next);
    }
}

fn queries() -> Vec<Query> {
    let orders = [Order::NewestFirst, Order::OldestFirst];
    let query =
        |filter: &Filter, order| Query { filter: filter.clone(), order, limit: 61, ..Query::new(Tenant::default()) };
    filters().iter().flat_map(|filter| orders.map(|order| query(filter, order))).collect()
}

fn counts(database: &Database) -> Vec<String> {
    let by = [vec![], vec!["level".to_owned()], vec!["service".to_owned(), "status".to_owned()]];
    let asked = by.into_iter().flat_map(|by| [None, Some(600 * SECOND)].map(|step| (by.clone(), step)));
    let count = |(by, step)| {
        let aggregation = Aggregation { by, step, ..Aggregation::new(Tenant::default()) };
        format!("{:?}", database.aggregate(&aggregation).unwrap().groups)
    };
    asked.map(count).collect()
}

fn exports(database: &Database) -> Vec<Vec<Record>> {
    queries().into_iter().map(|query| database.export(query).flat_map(Result::unwrap).collect()).collect()
}

fn compact_all(database: &Database) -> u64 {
    std::iter::from_fn(|| database.compact().unwrap()).count() as u64
}

#[test]
fn sixteen_segments_answer_as_one() {
    let folder = tempfile::tempdir().unwrap();
    let options = options(&folder);
    let database = sixteen(&options);
    let before: Vec<_> = queries().iter().map(|query| pages(&database, query)).collect();
    let (counts_before, exports_before) = (counts(&database), exports(&database));
    let export_under_way = {
        let mut export = database.export(queries().remove(0));
        let first = export.next().unwrap().unwrap();
        (first, export)
    };

    assert_eq!(compact_all(&database), 1);
    let stats = database.stats();
    assert_eq!((stats.segments, stats.segment_records), (1, 16 * 150));
    assert_eq!(
        (stats.compaction.jobs, stats.compaction.segments_merged, stats.compaction.segments_waiting),
        (1, 16, 0)
    );
    assert!((1.0..3.0).contains(&stats.compaction.write_amplification), "{stats:?}");

    for (query, (records, cursors)) in queries().iter().zip(&before) {
        assert_eq!(&pages(&database, query), &(records.clone(), cursors.clone()));
        // Cursors of pages from before go on where these ended.
        for (number, &cursor) in cursors.iter().enumerate() {
            let rest = pages(&database, &Query { cursor: Some(cursor), ..query.clone() }).0;
            assert_eq!(rest, records[(number + 1) * query.limit..], "{query:?}");
        }
    }
    assert_eq!(counts(&database), counts_before);
    assert_eq!(exports(&database), exports_before);
    // An export that began before reads the old segments to its end.
    let (mut records, export) = export_under_way;
    records.extend(export.flat_map(Result::unwrap));
    assert_eq!(records, exports_before[0]);

    database.close().unwrap();
    drop(database);
    let database = open(&options);
    assert_eq!((counts(&database), exports(&database)), (counts_before, exports_before));
}

#[test]
fn an_index_that_is_declared_later_is_there_afterwards() {
    let folder = tempfile::tempdir().unwrap();
    let mut options = options(&folder);
    drop(sixteen(&options));
    options.user_indexes = vec!["trace_id".to_owned(), "host".to_owned()];
    let database = open(&options);
    let needle = |value: u64| Query {
        filter: test(Target::Name("trace_id".into()), Op::Eq(format!("{value:032x}"))),
        ..Query::new(Tenant::default())
    };
    let uses_index = |query: &Query| {
        let explain = database.explain(query).unwrap();
        explain.segments.iter().any(|segment| segment.steps.iter().any(|step| step.step == "index trace_id"))
    };
    let before = database.page(&needle(300 * 7919)).unwrap();
    assert_eq!((before.records.len(), uses_index(&needle(300 * 7919))), (4, false));
    assert_eq!(compact_all(&database), 1);
    assert!(uses_index(&needle(300 * 7919)), "{:?}", database.explain(&needle(300 * 7919)));
    assert_eq!(database.page(&needle(300 * 7919)).unwrap().records, before.records);
    assert_eq!(database.page(&needle(5)).unwrap().records, []);
}

/// A damaged block of an input: its segment stays as it is, with all that is whole in it.
#[test]
fn a_damaged_segment_is_left_alone_and_named() {
    let folder = tempfile::tempdir().unwrap();
    let mut options = options(&folder);
    options.compaction.fan_in = 5;
    let database = sixteen(&options);
    let snapshot = database.snapshot(&Tenant::default());
    let damaged = snapshot.segments.iter().nth(7).unwrap();
    let id = damaged.entry.id.clone();
    let mut bytes = std::fs::read(damaged.log_path()).unwrap();
    // In the middle of the first block.
    bytes[400] ^= 1;
    std::fs::write(damaged.log_path(), bytes).unwrap();
    let whole = |database: &Database| {
        let mut export = database.export(Query::new(Tenant::default()));
        (export.by_ref().flat_map(Result::unwrap).count(), export.missing().len())
    };
    let before = whole(&database);
    assert!(before.0 < 16 * 150 && before.1 > 0);
    // The job that meets it fails, and changes nothing; the others go on without it.
    let mut failed = 0;
    loop {
        match database.compact() {
            Ok(Some(_)) => {}
            Ok(None) => {
                // A partition whose job failed rests for a second.
                let deadline = Instant::now() + Duration::from_secs(10);
                while Instant::now() < deadline && database.compact().is_ok_and(|done| done.is_none()) {
                    std::thread::yield_now();
                }
                break;
            }
            Err(error) => {
                assert!(error.message.contains(&id), "{error}");
                failed += 1;
            }
        }
    }
    while database.compact().unwrap().is_some() {}
    let stats = database.stats();
    assert_eq!((failed, stats.compaction.jobs_failed, stats.compaction.segments_left_alone), (1, 1, 1));
    assert!(stats.damage.iter().any(|damage| damage.contains(&id) && damage.contains("alone")), "{:?}", stats.damage);
    let after = database.snapshot(&Tenant::default());
    assert!(after.segments.iter().any(|segment| segment.entry.id == id));
    assert!(after.segments.len() < 10, "{}", after.segments.len());
    assert_eq!(whole(&database), before);
}

/// Appends, flushes, merges and queries at one time: every query sees each record once.
#[test]
fn queries_see_each_record_once_while_segments_are_merged() {
    let folder = tempfile::tempdir().unwrap();
    let mut options = options(&folder);
    options.background = true;
    options.flush_bytes = 60_000;
    options.buffer_bytes_max = 200_000;
    options.compaction.fan_in = 3;
    options.compaction.bytes_per_second = 0;
    let database = open(&options);
    let count = |database: &Database| {
        let groups = database.aggregate(&Aggregation::new(Tenant::default())).unwrap().groups;
        groups.iter().map(|group| group.count).sum::<u64>()
    };
    let deadline = Instant::now() + Duration::from_secs(60);
    let mut appended = 0;
    while database.stats().compaction.jobs < 6 {
        assert!(Instant::now() < deadline, "{:?}", database.stats());
        database.append(&Tenant::default(), batch(appended..appended + 50), None).unwrap();
        appended += 50;
        assert_eq!(count(&database), appended);
    }
    let mut numbers: Vec<u64> = database
        .export(Query::new(Tenant::default()))
        .flat_map(Result::unwrap)
        .map(|record| record.message.split(' ').nth(1).unwrap().parse().unwrap())
        .collect();
    numbers.sort_unstable();
    assert!(numbers.into_iter().eq(0..appended));
    database.close().unwrap();
}

#[test]
fn compaction_pauses_goes_on_and_stops_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let mut options = options(&folder);
    drop(sixteen(&options));
    options.background = true;
    // At this rate a job would take minutes.
    options.compaction.bytes_per_second = 100;
    let database = open(&options);
    database.pause_compaction();
    database.resume_compaction();
    let started = Instant::now();
    while database.stats().compaction.segments_waiting == 0 {
        assert!(started.elapsed() < Duration::from_secs(30));
        std::thread::yield_now();
    }
    let closing = Instant::now();
    database.close().unwrap();
    assert!(closing.elapsed() < Duration::from_secs(5));
    assert_eq!(database.stats().compaction.jobs, 0);
    drop(database);

    options.compaction.bytes_per_second = 0;
    let database = open(&options);
    let started = Instant::now();
    while database.stats().compaction.jobs == 0 {
        assert!(started.elapsed() < Duration::from_secs(30), "{:?}", database.stats().compaction);
        std::thread::yield_now();
    }
    assert_eq!(database.stats().segments, 1);
}

#[test]
fn what_is_expired_goes_while_compaction_is_paused() {
    let folder = tempfile::tempdir().unwrap();
    let age = RetentionRule { tenant: None, selector: None, age: Duration::from_secs(86_400) };
    let database = open(&Options { background: true, retention: vec![age], ..options(&folder) });
    database.pause_compaction();
    // All of them are older than a day.
    for segment in 0..3 {
        database.append(&Tenant::default(), batch(segment * 100..(segment + 1) * 100), None).unwrap();
        database.flush().unwrap();
    }
    let started = Instant::now();
    while database.stats().segments > 0 {
        assert!(started.elapsed() < Duration::from_secs(30), "{:?}", database.stats());
        std::thread::yield_now();
    }
    assert!(database.stats().compaction.paused);
    assert_eq!(database.stats().compaction.jobs, 0);
}
