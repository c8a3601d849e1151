//! Retention of a whole storage, on a simulated machine: what expires is hidden, then gone.

use super::deletes::{messages, selectors, shown};
use super::*;
use crate::DeleteState;
use crate::retention::RetentionRule;
use timberlog_disk::sim::Sim;
use timberlog_types::TimeRange;

const HOUR: i64 = 3_600_000_000_000;

fn open(sim: &Sim, options: &Options) -> Storage {
    Storage::open(options.clone(), sim.env(), Arc::new(Nobody), &Progress::default()).unwrap()
}

fn at(hour: i64) -> i64 {
    Day(20_454).range().start + hour * HOUR
}

fn records(hours: &[i64]) -> Batch {
    let timestamps: Vec<i64> = hours.iter().map(|&hour| at(hour)).collect();
    batch(&timestamps)
}

fn options(rules: Vec<RetentionRule>) -> Options {
    Options {
        background: false,
        wal_file_bytes: 64 << 10,
        disk_free_bytes_min: 0,
        retention: rules,
        selectors: selectors(),
        ..Options::new("/data")
    }
}

fn of_all(hours: u64) -> RetentionRule {
    RetentionRule { tenant: None, selector: None, age: Duration::from_secs(hours * 3600) }
}

#[test]
fn what_expires_is_hidden_at_once_and_gone_when_its_segment_is_expired() {
    let sim = Sim::new(7);
    sim.clock.set_wall(at(30));
    let options = options(vec![of_all(24)]);
    let tenant = Tenant::default();
    let storage = open(&sim, &options);
    storage.append(&tenant, records(&[7, 8, 23, 29]), None).unwrap();
    storage.flush().unwrap();
    storage.append(&tenant, records(&[4, 10]), None).unwrap();
    assert_eq!(shown(&storage, &tenant).len(), 5, "of the buffer one is too old");
    assert!(storage.retention_cutoff(&tenant).is_some_and(|cutoff| (at(6)..at(7)).contains(&cutoff)));
    sim.clock.advance(Duration::from_secs(2 * 3600));
    assert_eq!(shown(&storage, &tenant).len(), 3, "7 has expired, and 8 just so");
    storage.flush().unwrap();
    assert_eq!(storage.compact().unwrap(), None);
    assert_eq!(storage.stats().segments, 3);
    sim.clock.advance(Duration::from_secs(16 * 3600));
    storage.compact().unwrap();
    assert_eq!(storage.stats().segments, 1, "the first day is over and expired");
    assert_eq!(logs(&sim), 1, "their files are gone");
    assert_eq!(shown(&storage, &tenant).len(), 1);
}

/// How many files of segments there are.
fn logs(sim: &Sim) -> usize {
    sim.disk.files().iter().filter(|(path, _)| path.extension().is_some_and(|end| end == "log")).count()
}

#[test]
fn a_rule_with_a_selector_takes_its_records_alone() {
    let sim = Sim::new(8);
    sim.clock.set_wall(at(30));
    let rule = RetentionRule { selector: Some("message 1".into()), ..of_all(12) };
    let options = options(vec![rule]);
    let tenant = Tenant::default();
    let storage = open(&sim, &options);
    storage.append(&tenant, records(&[1, 2, 3]), None).unwrap();
    storage.append(&tenant, records(&[27, 28, 29]), None).unwrap();
    storage.flush().unwrap();
    let expected = ["message 0", "message 0", "message 1", "message 2", "message 2"];
    assert_eq!(shown(&storage, &tenant), expected);
    let compacted = storage.compact().unwrap().unwrap();
    assert_eq!((compacted.segments, compacted.rows_removed), (1, 1), "of the day that is old enough");
    while storage.compact().unwrap().is_some() {}
    assert_eq!(shown(&storage, &tenant), expected);
    assert_eq!(storage.stats().segment_records, 5);
    sim.clock.advance(Duration::from_secs(20 * 3600));
    assert_eq!(shown(&storage, &tenant).len(), 4);
    while storage.compact().unwrap().is_some() {}
    assert_eq!((storage.stats().segment_records, logs(&sim)), (4, 2), "no file has the others");
}

#[test]
fn nothing_goes_before_a_jump_of_the_clock_is_confirmed() {
    let sim = Sim::new(9);
    sim.clock.set_wall(at(30));
    let options = options(vec![of_all(24)]);
    let tenant = Tenant::default();
    let storage = open(&sim, &options);
    storage.append(&tenant, records(&[20, 29]), None).unwrap();
    storage.flush().unwrap();
    storage.close().unwrap();
    drop(storage);
    sim.clock.set_wall(at(1000));
    let storage = open(&sim, &options);
    assert!(storage.retention_status().paused.is_some());
    storage.append(&tenant, messages(&["of 1970"]), None).unwrap();
    storage.flush().unwrap();
    storage.compact().unwrap();
    assert_eq!(shown(&storage, &tenant).len(), 2, "what was expired before stays hidden");
    storage.close().unwrap();
    drop(storage);
    let storage = open(&sim, &options);
    assert!(storage.retention_status().paused.is_some(), "commits meanwhile did not confirm it");
    assert_eq!(shown(&storage, &tenant).len(), 2);
    storage.confirm_retention().unwrap();
    assert_eq!((storage.retention_status().paused, shown(&storage, &tenant).len()), (None, 0));
    storage.compact().unwrap();
    assert_eq!(storage.stats().segments, 0);
    assert!(sim.env().clock.now_ns() < at(1001));
}

#[test]
fn the_oldest_days_make_room() {
    let sim = Sim::new(10);
    sim.clock.set_wall(at(100));
    let mut options = options(Vec::new());
    let tenants = [Tenant::default(), Tenant::new("other").unwrap()];
    let storage = open(&sim, &options);
    for (day, tenant) in [0, 1, 2, 3].into_iter().zip(tenants.iter().cycle()) {
        storage.append(tenant, records(&[24 * day + 1]), None).unwrap();
        storage.flush().unwrap();
    }
    let bytes = storage.retention_status().bytes;
    storage.close().unwrap();
    drop(storage);
    options.retention_bytes = Some(bytes * 5 / 8);
    let storage = open(&sim, &options);
    storage.compact().unwrap();
    assert!(storage.retention_status().bytes <= bytes * 5 / 8);
    let left: Vec<usize> = tenants.iter().map(|tenant| shown(&storage, tenant).len()).collect();
    assert_eq!(left, [1, 1], "days 2 and 3");
}

/// Without a time for cancellations a delete is due at once, whatever the wall clock said when it was asked for.
#[test]
fn a_delete_leaves_the_files_though_the_clock_was_set_back() {
    let sim = Sim::new(7);
    sim.clock.set_wall(at(1_000));
    let options = options(Vec::new());
    let tenant = Tenant::default();
    let storage = open(&sim, &options);
    storage.append(&tenant, messages(&["a secret", "b"]), None).unwrap();
    storage.delete(&tenant, "secret", TimeRange { start: i64::MIN, end: i64::MAX }).unwrap();
    storage.flush().unwrap();
    sim.clock.set_wall(at(30));
    storage.compact().unwrap();
    storage.compact().unwrap();
    let rows = storage.snapshot(&tenant).segments.iter().map(|segment| segment.entry.rows).sum::<u64>();
    assert_eq!((rows, storage.deletes(&tenant)[0].state), (1, DeleteState::Processed));
}
