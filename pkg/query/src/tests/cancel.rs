//! Queries that nobody waits for any more.

use super::*;
use crate::{SeriesQuery, distinct_records};

#[test]
fn a_cancelled_query_ends_at_its_next_chance() {
    let mut world = World::new();
    let record = Plain {
        timestamp: START,
        level: Some("info"),
        service: "a",
        label: None,
        host: None,
        size: None,
        trace: 1,
        message: "x".to_owned(),
    };
    world.append(&vec![record; 50]);
    let (query, counts) = (Query::new(world.tenant.clone()), Aggregation::new(world.tenant.clone()));
    let series = SeriesQuery { records: query.clone(), step: None, series_max: 100 };
    assert_eq!(page(&world.snapshot(), &query).unwrap().records.len(), 50);
    let found = distinct_records(world.snapshot(), series.clone()).unwrap().series;
    assert_eq!(found.iter().map(|series| series.count).sum::<u64>(), 50);
    // Clones are one: whoever holds one of them ends the query.
    query.cancel.cancel();
    counts.cancel.cancel();
    assert!(page(&world.snapshot(), &query).is_err());
    assert!(export(world.snapshot(), query).any(|records| records.is_err()));
    assert!(distinct_records(world.snapshot(), series).is_err());
    let by = Aggregation { by: vec!["host".to_owned()], ..counts };
    let error = aggregate(&world.snapshot(), &by).unwrap_err();
    assert!(error.message.contains("cancelled"), "{error}");
}
