//! Tails show what a query would: nothing that has expired when it comes, nothing that was deleted since.

use std::time::Duration;
use timberlog_db::filter::Filter;
use timberlog_db::language::parse_log;
use timberlog_db::types::{BatchBuilder, Tenant, TimeRange};
use timberlog_db::{Database, Env, LogTailEvent, Options, Progress, RetentionRule, TailEvent};

const SECOND: i64 = 1_000_000_000;
const HOUR: u64 = 3_600;

fn rule(selector: Option<&str>, hours: u64) -> RetentionRule {
    RetentionRule { tenant: None, selector: selector.map(str::to_owned), age: Duration::from_secs(hours * HOUR) }
}

/// Records of services and ages in s, in one batch.
fn append(database: &Database, tenant: &Tenant, records: &[(&str, u64, &str)]) {
    let mut builder = BatchBuilder::new();
    for &(service, age, message) in records {
        let stream = builder.stream(service, &[("service", service)]).unwrap();
        let level = builder.level(None).unwrap();
        let time = Env::real().clock.now_ns() - age as i64 * SECOND;
        builder.finish_row(time, stream, level, message.as_bytes()).unwrap();
    }
    database.append(tenant, builder.finish().unwrap(), None).unwrap();
}

#[test]
fn what_has_expired_or_was_deleted_is_not_shown() {
    let folder = tempfile::tempdir().unwrap();
    let retention = vec![rule(Some(r#"{service="debug-tool"}"#), 1), rule(None, 24)];
    let options = Options { background: false, retention, ..Options::new(folder.path().join("data")) };
    let database = Database::open(options, Env::real(), &Progress::default()).unwrap();
    let tenant = Tenant::default();
    let tail = database.tail(&tenant, Filter::All).unwrap();
    let logql = parse_log(r#"{service=~".+"}"#).unwrap();
    let log_tail = database.log_tail(&tenant, &logql, true).unwrap();
    let shown = || {
        let wait = Duration::from_secs(1);
        let records = match tail.next(wait).unwrap() {
            Some(TailEvent::Records(records)) => records.into_iter().map(|record| record.message).collect::<Vec<_>>(),
            other => panic!("{other:?}"),
        };
        match log_tail.next(wait, 0).unwrap() {
            Some(LogTailEvent::Entries(entries)) => {
                assert_eq!(entries.into_iter().map(|entry| entry.line).collect::<Vec<_>>(), records);
            }
            other => panic!("{other:?}"),
        }
        records
    };
    let batch = [
        ("web", 2 * HOUR, "kept"),
        ("debug-tool", 2 * HOUR, "expired by its rule"),
        ("debug-tool", 60, "new enough"),
        ("web", 25 * HOUR, "expired"),
    ];
    append(&database, &tenant, &batch);
    assert_eq!(shown(), ["kept", "new enough"]);

    // Batches wait for their reader; what is deleted meanwhile is gone, and nothing that comes after.
    append(&database, &tenant, &[("web", 1, "a secret"), ("web", 1, "b")]);
    database.delete(&tenant, r#"{service="web"} |= "secret""#, TimeRange::ALL).unwrap();
    append(&database, &tenant, &[("web", 1, "another secret")]);
    assert_eq!(shown(), ["b"]);
    assert_eq!(shown(), ["another secret"]);

    // A tail does not keep a database open.
    append(&database, &tenant, &[("web", 1, "the last")]);
    database.close().unwrap();
    drop(database);
    assert!(tail.next(Duration::from_secs(1)).is_err());
    let options = Options::new(folder.path().join("data"));
    Database::open(options, Env::real(), &Progress::default()).unwrap();
}
