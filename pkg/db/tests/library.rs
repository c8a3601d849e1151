//! What a program meets that uses the library: settings that repeat themselves, a close with clones and tails about.

use std::sync::mpsc;
use std::time::{Duration, Instant};
use timberlog_db::filter::Filter;
use timberlog_db::language::parse_log;
use timberlog_db::query::{Cancel, Query, QueryLimits};
use timberlog_db::types::{Batch, BatchBuilder, ErrorKind, Tenant, TimeRange, ValueKind};
use timberlog_db::{Database, Env, Options, Progress, TailEvent};

fn open(options: Options) -> Database {
    Database::open(options, Env::real(), &Progress::default()).unwrap()
}

fn batch(message: &str) -> Batch {
    let mut builder = BatchBuilder::new();
    let stream = builder.stream("web", &[("service", "web")]).unwrap();
    let level = builder.level(None).unwrap();
    builder.field("trace_id", ValueKind::String, message.as_bytes()).unwrap();
    builder.finish_row(1, stream, level, message.as_bytes()).unwrap();
    builder.finish().unwrap()
}

#[test]
fn an_index_that_is_named_twice_is_built_once() {
    let folder = tempfile::tempdir().unwrap();
    let user_indexes = vec!["trace_id".to_owned(), "host".to_owned(), "trace_id".to_owned()];
    let database = open(Options { user_indexes, background: false, ..Options::new(folder.path()) });
    let tenant = Tenant::default();
    database.append(&tenant, batch("a"), None).unwrap();
    database.flush().unwrap();
    let query = Query { filter: Filter::eq("trace_id", "a"), ..Query::new(tenant) };
    assert_eq!(database.page(&query).unwrap().records.len(), 1);
}

#[test]
fn tails_end_with_a_close_though_clones_are_held() {
    let folder = tempfile::tempdir().unwrap();
    let database = open(Options { background: false, ..Options::new(folder.path()) });
    let tenant = Tenant::default();
    let tail = database.tail(&tenant, Filter::All).unwrap();
    let lines = parse_log(r#"{service="web"}"#).unwrap();
    let log_tail = database.log_tail(&tenant, &lines, false).unwrap();
    database.append(&tenant, batch("the last"), None).unwrap();
    database.clone().close().unwrap();

    let wait = Duration::from_secs(1);
    assert!(matches!(tail.next(wait).unwrap(), Some(TailEvent::Records(records)) if records[0].message == "the last"));
    assert!(log_tail.next(wait, 0).unwrap().is_some());
    let late = database.tail(&tenant, Filter::All).unwrap();
    for ended in [tail.next(wait).map(drop), log_tail.next(wait, 0).map(drop), late.next(wait).map(drop)] {
        assert_eq!(ended.unwrap_err().kind, ErrorKind::Closed);
    }
    // Answers are still given, and the directory is still taken.
    assert_eq!(database.page(&Query::new(tenant)).unwrap().records.len(), 1);
    let again = Database::open(Options::new(folder.path()), Env::real(), &Progress::default());
    let error = again.map(drop).unwrap_err();
    assert_eq!(error.kind, ErrorKind::Conflict);
    assert!(error.message.ends_with("is in use by another process, or open in this one"), "{error}");
    drop(database);
    open(Options::new(folder.path()));
}

#[test]
fn an_empty_range_is_refused_where_a_delete_is_only_counted_too() {
    let folder = tempfile::tempdir().unwrap();
    let database = open(Options { background: false, ..Options::new(folder.path()) });
    let (tenant, selector, range) = (Tenant::default(), r#"{service="web"}"#, TimeRange { start: 2, end: 1 });
    let deleted = database.delete(&tenant, selector, range).map(drop);
    let counted =
        database.count_deleted(&tenant, selector, range, QueryLimits::default(), &Cancel::default()).map(drop);
    for refused in [deleted, counted] {
        assert_eq!(refused.unwrap_err().message, "the range from 2 to 1 is empty");
    }
}

/// A callback runs on the thread of the WAL's writer, whose end a close waits for.
#[test]
fn the_last_clone_may_go_in_a_callback_and_so_may_a_close() {
    const PATIENCE: Duration = Duration::from_secs(60);
    for closes in [false, true] {
        let folder = tempfile::tempdir().unwrap();
        let options = Options::new(folder.path());
        let database = open(options.clone());
        let tenant = Tenant::default();
        database.append(&tenant, batch("first"), None).unwrap();
        let (dropped, is_last) = mpsc::channel();
        let (ended, has_ended) = mpsc::channel();
        let clone = database.clone();
        let done = move |result: Result<_, _>| {
            is_last.recv_timeout(PATIENCE).unwrap();
            let closed = if closes { clone.close() } else { Ok(()) };
            drop(clone);
            ended.send((result.map(drop), closed)).unwrap();
        };
        database.append_then(&tenant, batch("last"), None, Box::new(done));
        drop(database);
        dropped.send(()).unwrap();
        let (appended, closed) = has_ended.recv_timeout(PATIENCE).expect("the callback hangs");
        appended.and(closed).unwrap();

        // Another thread closes it, and then the directory is free.
        let deadline = Instant::now() + PATIENCE;
        let again = loop {
            match Database::open(options.clone(), Env::real(), &Progress::default()) {
                Err(error) if error.kind == ErrorKind::Conflict && Instant::now() < deadline => {
                    std::thread::yield_now()
                }
                opened => break opened.unwrap(),
            }
        };
        assert_eq!(again.page(&Query::new(tenant)).unwrap().records.len(), 2);
        assert_eq!((again.stats().buffer_records, again.stats().segments), (0, 1), "it was flushed");
    }
}
