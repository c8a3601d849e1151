//! What queries leave in the chunk cache.

use super::{START, World, sample};
use crate::{Aggregation, Order, aggregate, page};
use timberlog_filter::Filter;
use timberlog_segment::ColumnKey;
use timberlog_types::{TimeRange, time::DAY_NS};

const RANGE: TimeRange = TimeRange { start: START, end: START + DAY_NS };

/// What the opened files and the columns of a world hold, with what each counts besides; all of
/// them are cached.
fn held(world: &World) -> u64 {
    let snapshot = world.snapshot();
    let mut bytes = 0;
    for segment in snapshot.segments.iter() {
        let files = segment.open().unwrap();
        bytes += files.memory_bytes() + files.count() * (32 << 10) + 64;
        for block in &files.reader.directory().blocks {
            for column in &block.columns {
                bytes += segment.column(&files, block.number, column.key).unwrap().held_bytes() + 64;
            }
        }
    }
    bytes as u64
}

#[test]
fn a_column_weighs_what_queries_have_decompressed_of_it() {
    let world = sample(1000);
    let everything = world.query(&Filter::All, RANGE, Order::NewestFirst, 5000);
    assert_eq!(page(&world.snapshot(), &everything).unwrap().records.len(), 1000);
    let cold = world.storage.stats();
    assert_eq!(cold.cache_bytes, held(&world));
    let misses = world.storage.stats().cache_misses;
    page(&world.snapshot(), &everything).unwrap();
    let warm = world.storage.stats();
    assert_eq!((warm.cache_bytes, warm.cache_misses), (cold.cache_bytes, misses));
    assert_eq!(cold.cache_misses, misses, "a column was not cached");
}

#[test]
fn counting_messages_settles_them_too() {
    let world = sample(1000);
    let count = |text: &str| {
        let filter = Filter::contains(text);
        let asked = Aggregation { filter, range: RANGE, ..Aggregation::new(world.tenant.clone()) };
        aggregate(&world.snapshot(), &asked).unwrap().groups.iter().map(|group| group.count).sum::<u64>()
    };
    let messages = || {
        let snapshot = world.snapshot();
        let segment = snapshot.segments.iter().next().unwrap();
        let files = segment.open().unwrap();
        let blocks = files.reader.directory().blocks.iter();
        let column = |number| segment.column(&files, number, ColumnKey::Message).unwrap();
        blocks.map(|block| column(block.number).held_bytes() as u64).sum::<u64>()
    };
    // The templates decide the first; the second needs the numbers as well.
    assert_eq!(count("request"), 1000);
    let (little, few) = (messages(), world.storage.stats());
    assert_eq!(count("took 77 ms"), 1);
    let (much, more) = (messages(), world.storage.stats());
    assert_eq!(few.cache_misses, more.cache_misses);
    assert!(little < much);
    assert_eq!(more.cache_bytes - few.cache_bytes, much - little);
}
