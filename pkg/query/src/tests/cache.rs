//! What queries leave in the chunk cache.

use super::{START, World, copy, needles, needles_in_blocks, number, records, sample};
use crate::budget::Budget;
use crate::plan::Plan;
use crate::{Aggregation, Order, QueryLimits, aggregate, page};
use timberlog_filter::{Filter, Op};
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

/// What a question for one value reads of token filters is kept, and counted.
#[test]
fn token_filters_are_cached_with_their_neighbours() {
    let (world, _dir) = needles();
    let absent = world.query(&Filter::eq("trace", "nowhere"), RANGE, Order::NewestFirst, 10);
    let first = page(&world.snapshot(), &absent).unwrap();
    assert_eq!((first.records.len(), first.statistics.blocks_read), (0, 0));
    let snapshot = world.snapshot();
    let segment = snapshot.segments.iter().next().unwrap();
    let files = segment.open().unwrap();
    let directory = files.reader.directory();
    let key = ColumnKey::Field(directory.field("trace").unwrap());
    assert!(directory.blocks.len() > 33, "{}", directory.blocks.len());
    let groups = (0..2).map(|group| segment.filter_group(&files, group, key).unwrap().memory_bytes() + 64);
    let held = files.memory_bytes() + files.count() * (32 << 10) + 64 + groups.sum::<usize>();
    let cold = world.storage.stats();
    assert_eq!(cold.cache_bytes, held as u64);
    let filters = directory.blocks.iter().map(|block| block.column(key).unwrap().filter.unwrap().len as u64 - 20);
    assert_eq!(first.statistics.bytes_read, filters.sum::<u64>());
    let again = page(&world.snapshot(), &absent).unwrap();
    assert_eq!(again.statistics.bytes_read, first.statistics.bytes_read);
    let warm = world.storage.stats();
    assert_eq!((warm.cache_bytes, warm.cache_misses), (cold.cache_bytes, cold.cache_misses));
}

/// The units of a plan, and the bytes of token filters that planning has asked.
fn planned(world: &World, filter: &Filter) -> (usize, u64) {
    let plan = Plan::new(&world.snapshot(), filter, RANGE, Budget::new(QueryLimits::default())).unwrap();
    (plan.units.len(), plan.statistics().bytes_read)
}

/// Token filters that are in memory are asked before anything else of a block is looked at.
#[test]
fn a_plan_leaves_out_what_token_filters_at_hand_rule_out() {
    let (world, _dir) = needles();
    let absent = Filter::eq("trace", "nowhere");
    let (all, bytes) = planned(&world, &absent);
    assert!(all > 33 && bytes == 0, "{all} units, {bytes} bytes");
    let read = page(&world.snapshot(), &world.query(&absent, RANGE, Order::NewestFirst, 10)).unwrap();
    assert_eq!(planned(&world, &absent), (0, read.statistics.bytes_read));
    let either = Filter::Or(vec![absent.clone(), Filter::eq("number", "1234")]);
    assert_eq!(planned(&world, &either).0, all, "nothing is known of the other test");
    assert_eq!(planned(&world, &Filter::Not(Box::new(absent.clone()))).0, all);
    let both = Filter::And(vec![absent, Filter::contains(" took ")]);
    assert_eq!(planned(&world, &both).0, 0);
}

/// However few blocks a segment has, those that are ruled out are not asked in vain.
#[test]
fn a_plan_asks_the_token_filters_of_short_segments_too() {
    let (mut world, _dir) = needles_in_blocks(600, 4_000);
    for _ in 0..7 {
        world.append(&records(600));
        world.storage.flush().unwrap();
    }
    let absent = Filter::eq("trace", "nowhere");
    let (all, _) = planned(&world, &absent);
    assert!((16..128).contains(&all), "{all}");
    page(&world.snapshot(), &world.query(&absent, RANGE, Order::NewestFirst, 10)).unwrap();
    assert_eq!(planned(&world, &absent).0, 0);
}

/// What a limit may spare is not asked for long where it rules nothing out.
#[test]
fn a_plan_does_not_ask_token_filters_in_vain_for_long() {
    let (world, _dir) = needles_in_blocks(20_000, 4_000);
    let values = (0..20_000).step_by(20).map(|n| format!("t{:08x}", n * 7919)).collect();
    let everywhere = Filter::test("trace", Op::In(values));
    let all = Aggregation { filter: everywhere.clone(), range: RANGE, ..Aggregation::new(world.tenant.clone()) };
    aggregate(&world.snapshot(), &all).unwrap();
    let snapshot = world.snapshot();
    let segment = snapshot.segments.iter().next().unwrap();
    let files = segment.open().unwrap();
    let groups = files.reader.directory().blocks.len().div_ceil(32);
    assert!(groups > 5, "{groups}");
    let key = ColumnKey::Field(files.reader.directory().field("trace").unwrap());
    let of_group = |group| segment.filter_group_at_hand(group, key).unwrap().len() as u64;
    assert_eq!(planned(&world, &everywhere).1, (0..4).map(of_group).sum::<u64>());
}

/// A token filter that is wrong is named, and costs the read of its own block.
#[test]
fn a_damaged_token_filter_costs_its_block_alone() {
    let (world, _dir) = needles();
    let needle = world.query(&Filter::eq("trace", format!("t{:08x}", 1234 * 7919)), RANGE, Order::NewestFirst, 10);
    let sound = page(&world.snapshot(), &needle).unwrap();
    let (path, place) = {
        let segment = world.snapshot().segments.iter().next().unwrap().clone();
        let files = segment.open().unwrap();
        let key = ColumnKey::Field(files.reader.directory().field("trace").unwrap());
        (segment.log_path().to_path_buf(), files.reader.filter_place(3, key).unwrap())
    };
    let data = world.storage.options().data_dir.clone();
    let other = tempfile::tempdir().unwrap();
    copy(&data, other.path());
    let path = other.path().join(path.strip_prefix(&data).unwrap());
    let mut bytes = std::fs::read(&path).unwrap();
    bytes[usize::try_from(place.end).unwrap() - 1] ^= 0x40;
    std::fs::write(&path, &bytes).unwrap();
    let mut options = world.storage.options().clone();
    options.data_dir = other.path().to_path_buf();
    let damaged = World::with(options);
    for _ in 0..2 {
        let found = page(&damaged.snapshot(), &needle).unwrap();
        assert_eq!(found.records.iter().map(number).collect::<Vec<_>>(), ["1234"]);
        assert!(found.missing.is_empty(), "{:?}", found.missing);
        assert_eq!(found.statistics.blocks_read, sound.statistics.blocks_read + 1);
    }
    let damage = damaged.storage.stats().damage;
    assert!(damage.iter().any(|what| what.contains("block 3: column of field `trace`: token filter")), "{damage:?}");
}
