//! Indexes in an object store are asked for in the order of the query, and only as far as it comes.

use super::*;
use crate::QueryLimits;
use crate::budget::Budget;
use crate::logql::{self, LogQuery};
use crate::plan::Plan;
use crate::scan::Selection;
use std::time::Duration;

/// Segments that follow each other in time, each with 40 records; the last ones of each come with the next.
fn days_work(segments: usize) -> World {
    let dir = tempfile::tempdir().unwrap();
    let mut options = Options::new(dir.path().join("data"));
    options.background = false;
    options.wal_file_bytes = 1 << 20;
    options.user_indexes = vec!["trace".to_owned()];
    let mut world = World { _dir: Some(dir), ..World::with(options) };
    for segment in 0..segments {
        let records: Vec<Plain> = (0..40)
            .map(|n| {
                let late = if n < 3 { 2 * SECOND_NS } else { 0 };
                let timestamp = START + (segment as i64 * 60 + n) * SECOND_NS - late;
                Plain { timestamp, ..record(segment, n as usize) }
            })
            .collect();
        world.append(&records);
        world.storage.flush().unwrap();
    }
    world
}

fn all(order: Order, limit: usize) -> Query {
    Query { order, limit, ..Query::new(Tenant::default()) }
}

fn indexes(there: &Cold) -> usize {
    there.shelf.taken().iter().filter(|(key, _)| key.ends_with(".index")).count()
}

#[test]
fn a_page_asks_for_the_indexes_that_its_order_comes_to() {
    let world = days_work(16);
    let there = Cold::of(&world, &|_| true);
    let first = there.page(&all(Order::NewestFirst, 10));
    assert_eq!(first.records, page(&world.snapshot(), &all(Order::NewestFirst, 10)).unwrap().records);
    assert_eq!(indexes(&there), 2);
    assert_eq!(first.statistics.segments, 16);
    // The next page goes on where that one ended: of what it needs, all but one are at hand.
    let next = Query { cursor: first.next, ..all(Order::NewestFirst, 70) };
    assert_eq!(there.page(&next).records, page(&world.snapshot(), &next).unwrap().records);
    assert_eq!(indexes(&there), 2);
    let there = Cold::of(&world, &|_| true);
    let oldest = all(Order::OldestFirst, 90);
    assert_eq!(there.page(&oldest).records, page(&world.snapshot(), &oldest).unwrap().records);
    assert_eq!(indexes(&there), 2 + 4, "two, then four more");
    // What no index rules out before its time comes, asks for all.
    assert!(there.page(&needle(65_000)).records.is_empty());
    assert_eq!(indexes(&there), 10);
}

#[test]
fn lines_of_a_log_query_ask_for_the_indexes_that_their_order_comes_to() {
    let world = days_work(16);
    let there = Cold::of(&world, &|_| true);
    let lines = |text: &str, snapshot: &Snapshot| {
        let query = LogQuery {
            expr: timberlog_logql::parse_log(text).unwrap(),
            range: TimeRange::ALL,
            order: Order::NewestFirst,
            limit: 20,
            interval_ns: 0,
            options: logql::Options::default(),
        };
        let entries = logql::entries(snapshot, &query).unwrap().entries;
        entries.into_iter().map(|entry| (entry.timestamp, entry.line)).collect::<Vec<_>>()
    };
    let query = r#"{service_name=~".+"} |= "request""#;
    let found = lines(query, &there.snapshot());
    assert_eq!(found.len(), 20);
    assert_eq!(found, lines(query, &world.snapshot()));
    assert_eq!(indexes(&there), 2);
    let query = r#"{service_name=~".+"} | host="h1""#;
    assert_eq!(lines(query, &there.snapshot()), lines(query, &world.snapshot()));
    assert_eq!(indexes(&there), 14, "what a name means is a matter of all segments");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]

    /// Page by page, whatever was at hand before: the records of local segments in their order.
    #[test]
    fn pages_are_those_of_local_segments(
        batches in prop::collection::vec(
            (prop::collection::vec(super::super::plain(), 1..25), prop::bool::weighted(0.9)), 3..9),
        cold in any::<u16>(),
        order in order(),
        limit in 1..9_usize,
        filter in filter(),
    ) {
        // Many small segments that share times.
        let world = fill(&batches);
        let there = Cold::of(&world, &|number| cold >> (number % 16) & 1 == 1);
        let (mut cursor, mut expected) = (None, None);
        loop {
            let query = |cursor| Query { filter: filter.clone(), cursor, ..all(order, limit) };
            let (found, there) = (page(&world.snapshot(), &query(expected)).unwrap(), there.page(&query(cursor)));
            prop_assert_eq!(&there.records, &found.records);
            prop_assert_eq!(&there.next, &found.next);
            (cursor, expected) = (there.next, found.next);
            if cursor.is_none() {
                break;
            }
        }
        // Some at a time of one plan, which grows meanwhile.
        let there = Cold::of(&world, &|number| cold >> (number % 16) & 1 == 1);
        // All of them share its time.
        let budget = Budget::new(QueryLimits { time: Duration::from_secs(600), ..QueryLimits::default() });
        let mut plan = Plan::in_order(&there.snapshot(), &filter, TimeRange::ALL, budget, order).unwrap();
        let mut selection = Selection::new(&plan, order, TimeRange::ALL, None);
        let mut records = Vec::new();
        loop {
            let keys = selection.next_keys(&mut plan, limit).unwrap();
            if keys.is_empty() {
                break;
            }
            records.extend(crate::record::materialise(&plan, order, &keys).unwrap());
        }
        let query = Query { filter, ..all(order, usize::MAX) };
        let found: Vec<_> = crate::export(world.snapshot(), query).flat_map(|some| some.unwrap()).collect();
        prop_assert_eq!(records, found);
    }
}
