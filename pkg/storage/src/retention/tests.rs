use super::*;
use crate::deletes::Selectors;
use crate::manifest::{FileRef, LevelCounts, Location, Month, MonthNode, Partition, SegmentEntry, State};
use std::collections::BTreeMap;
use std::sync::Arc;
use timberlog_disk::sim::Sim;
use timberlog_filter::Filter;
use timberlog_types::{Day, TimeRange};

const HOUR: i64 = 3_600_000_000_000;

fn tenant(name: &str) -> Tenant {
    Tenant::new(name).unwrap()
}

#[test]
fn the_clock_goes_on_and_believes_no_jump() {
    let sim = Sim::new(1);
    let env = sim.env();
    let begin = Day(20_454).range().start;
    sim.clock.set_wall(begin);
    let clock = RetentionClock::new(&env, begin);
    assert!((begin..begin + HOUR).contains(&clock.now_ns()));
    sim.clock.advance(Duration::from_secs(7_200));
    assert!(clock.now_ns() >= begin + 2 * HOUR && clock.paused().is_none());
    sim.clock.set_wall(begin + 20 * HOUR);
    assert!(clock.now_ns() >= begin + 20 * HOUR, "the machine slept");
    sim.clock.set_wall(begin + 10 * HOUR);
    assert!(clock.now_ns() >= begin + 20 * HOUR, "it never goes back");
    sim.clock.set_wall(begin + 100 * HOUR);
    let stopped = clock.now_ns();
    assert!(stopped < begin + 21 * HOUR);
    assert!(clock.paused().is_some_and(|why| why.contains("3 days ahead")), "{:?}", clock.paused());
    sim.clock.advance(Duration::from_secs(7_200));
    assert_eq!(clock.now_ns(), stopped, "it stands still");
    clock.confirm();
    assert!(clock.now_ns() >= begin + 102 * HOUR && clock.paused().is_none());
    // A start long after the newest commit, and one long before it.
    assert!(RetentionClock::new(&env, begin).paused().is_some());
    let ahead = RetentionClock::new(&env, begin + 500 * HOUR);
    assert!(ahead.paused().is_some_and(|why| why.contains("behind")));
    assert!(env.clock.now_ns() < begin + 103 * HOUR);
}

fn rule(tenant_name: Option<&str>, selector: Option<&str>, hours: u64) -> RetentionRule {
    let age = Duration::from_secs(hours * 3600);
    RetentionRule { tenant: tenant_name.map(tenant), selector: selector.map(str::to_owned), age }
}

#[test]
fn a_tenants_own_rule_goes_before_that_of_all() {
    let selectors = Selectors::new(|text| Ok(Filter::contains(text)));
    let rules =
        [rule(None, None, 10), rule(Some("a"), None, 100), rule(Some("b"), Some("x"), 1), rule(None, Some("y"), 2)];
    let rules = Rules::new(&rules, &selectors).unwrap();
    let cutoff = |name: &str| rules.cutoff(&tenant(name), 1000 * HOUR);
    assert_eq!((cutoff("a"), cutoff("b")), (Some(900 * HOUR), Some(990 * HOUR)));
    let hides = |name: &str| -> Vec<(usize, String, i64)> {
        let tenant = tenant(name);
        rules.hides(&tenant, 1000 * HOUR).map(|(place, hide)| (place, hide.name.clone(), hide.range.end)).collect()
    };
    assert_eq!(hides("a"), [(3, "retention y".to_owned(), 998 * HOUR - 1)]);
    assert_eq!(hides("b").len(), 2);
    assert_eq!(Rules::new(&[], &selectors).unwrap().cutoff(&tenant("a"), 0), None, "kept for ever");
    let refused = Rules::new(&[rule(None, Some("z"), 1)], &Selectors::default()).err();
    assert!(refused.is_some_and(|error| error.to_string().contains("knows no selectors")));
    assert!(Rules::new(&vec![rule(None, None, 1); 100], &selectors).is_err());
}

/// A state of segments: tenant, day, hour of the last record, first sequence number, bytes.
fn state(segments: &[(&str, i32, i64, u64, u64)]) -> State {
    let file = |path: String, len| FileRef { path, len, crc32c: 0 };
    let mut tenants: BTreeMap<Tenant, BTreeMap<Month, MonthNode>> = BTreeMap::new();
    for &(name, day, hour, seq, len) in segments {
        let day = Day(20_454 + day);
        let end = day.range().start + hour * HOUR;
        let entry = SegmentEntry {
            id: format!("{seq:026}"),
            seq_min: seq,
            seq_max: seq,
            range: TimeRange { start: day.range().start, end },
            rows: 1,
            raw_bytes: 1,
            log: file(crate::manifest::log_path(&tenant(name), day, &format!("{seq:026}")), len),
            redb: None,
            levels: LevelCounts::default(),
            services: None,
            location: Location::Local,
            index_object: None,
            purged_seq: 0,
        };
        let months = tenants.entry(tenant(name)).or_default();
        let empty = || MonthNode { file: file(String::new(), 0), partitions: BTreeMap::new() };
        let node = months.entry(Month::of(day)).or_insert_with(empty);
        let partition = node.partitions.entry(day).or_insert_with(|| Arc::new(Partition::default()));
        Arc::make_mut(partition).segments.push(Arc::new(entry));
    }
    let shared = |months: BTreeMap<Month, MonthNode>| {
        Arc::new(months.into_iter().map(|(month, node)| (month, Arc::new(node))).collect())
    };
    State {
        version: 1,
        database_id: "0".repeat(32),
        flushed_seq: 100,
        tenants: tenants.into_iter().map(|(tenant, months)| (tenant, shared(months))).collect(),
        producers: None,
        deletes: Arc::default(),
        clock_ns: 0,
        unreachable: Vec::new(),
        lost_roots: Vec::new(),
        root: file(String::new(), 0),
        chain_start: 1,
    }
}

fn removed(edit: Option<crate::manifest::Edit>) -> Vec<u64> {
    edit.into_iter().flat_map(|edit| edit.remove).map(|(_, _, id)| id.parse().unwrap()).collect()
}

#[test]
fn whole_segments_expire() {
    let state =
        state(&[("a", 0, 23, 1, 1), ("a", 1, 5, 2, 1), ("a", 1, 6, 3, 1), ("b", 0, 1, 4, 1), ("b", 40, 1, 5, 1)]);
    let cutoff = |day: i32, hour: i64| Day(20_454 + day).range().start + hour * HOUR;
    let of_a = |cutoff: i64| removed(expired(&state, &|tenant| (tenant.as_str() == "a").then_some(cutoff)));
    assert_eq!(of_a(cutoff(0, 23)), [] as [u64; 0], "its last record is at the cutoff");
    assert_eq!(of_a(cutoff(0, 23) + 1), [1]);
    assert_eq!(of_a(cutoff(1, 6)), [1, 2]);
    assert_eq!(removed(expired(&state, &|_| Some(cutoff(50, 0)))), [1, 2, 3, 4, 5]);
    assert_eq!(removed(expired(&state, &|_| None)), [] as [u64; 0]);
}

#[test]
fn the_oldest_goes_where_there_are_too_many_bytes() {
    let state =
        state(&[("a", 1, 1, 7, 10), ("a", 1, 1, 9, 10), ("a", 2, 1, 2, 10), ("b", 0, 1, 4, 10), ("b", 1, 1, 8, 10)]);
    assert_eq!(removed(evicted(&state, 50)), [] as [u64; 0]);
    assert_eq!(removed(evicted(&state, 49)), [4]);
    assert_eq!(removed(evicted(&state, 30)), [4, 7]);
    assert_eq!(removed(evicted(&state, 29)), [4, 7, 8], "of a day what came first, whatever the tenant");
    assert_eq!(removed(evicted(&state, 0)), [4, 7, 8, 9], "the newest stays");
}
