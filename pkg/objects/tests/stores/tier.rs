//! A whole node with its tier in S3, and every kind of request going wrong: what it uploads, verifies, names, collects.
//! Nothing is lost or doubled; what may pass passes, what does not is made up for by the next pass.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use timberlog_disk::Env;
use timberlog_objects::S3Store;
use timberlog_storage::tier::gc::{self, GcMode};
use timberlog_storage::{BufferedBatch, Options, Progress, Storage, Subscriber, TierOptions};
use timberlog_types::{Batch, BatchBuilder, Day, Result, Tenant};

use crate::faults::Setting;
use crate::proxy::Fault;
use crate::server::BUCKET;

/// 2026-01-01.
const DAY: Day = Day(20_454);
/// Requests of a pass: method and a part of the path, and whether each pass makes them.
const REQUESTS: [(&str, &str, bool); 8] = [
    ("PUT", ".index", true),
    ("PUT", ".log", true),
    ("HEAD", ".index", true),
    ("HEAD", ".log", true),
    ("PUT", "manifest/month-", true),
    ("PUT", "manifest/0", true),
    ("GET", "list-type", true),
    ("GET", "", false),
];

struct Nobody;

impl Subscriber for Nobody {
    fn published(&self, _: &Tenant, _: &Arc<BufferedBatch>) {}
}

struct Node {
    setting: Setting,
    folder: tempfile::TempDir,
    env: Env,
    sent: u64,
}

impl Node {
    fn new() -> Self {
        Self { setting: Setting::new(), folder: tempfile::tempdir().unwrap(), env: Env::real(), sent: 0 }
    }

    /// `tries`: of a request.
    fn store(&self, tries: u32) -> S3Store {
        let mut options = self.setting.options();
        options.retries.tries = tries;
        options.retries.breaker_failures = 1_000;
        S3Store::new(BUCKET, "node", &options, &self.env).unwrap()
    }

    fn options(&self, dir: &str, tries: u32) -> Options {
        self.options_of(dir, self.store(tries))
    }

    fn options_of(&self, dir: &str, store: S3Store) -> Options {
        let mut tier = TierOptions::new(Arc::new(store));
        (tier.after, tier.read.threads) = (Duration::ZERO, 1);
        let dir = self.folder.path().join(dir);
        Options {
            background: false,
            disk_free_bytes_min: 0,
            wal_file_bytes: 1 << 20,
            tier: Some(tier),
            ..Options::new(dir)
        }
    }

    fn open(&self, tries: u32) -> Storage {
        open(self.options("db", tries), &self.env).unwrap()
    }

    /// A segment more.
    fn fill(&mut self, storage: &Storage) {
        let mut builder = BatchBuilder::new();
        let stream = builder.stream("web", &[("service", "web")]).unwrap();
        let level = builder.level(Some("info")).unwrap();
        for number in self.sent..self.sent + 20 {
            let text = format!("record {number}");
            builder.finish_row(DAY.range().start + number as i64, stream, level, text.as_bytes()).unwrap();
        }
        self.sent += 20;
        storage.append(&Tenant::default(), builder.finish().unwrap(), None).unwrap();
        storage.flush().unwrap();
    }

    fn check(&self, storage: &Storage, context: &str) {
        let expected: BTreeMap<String, u64> = (0..self.sent).map(|number| (format!("record {number}"), 1)).collect();
        assert_eq!(records(storage).unwrap(), expected, "{context}");
    }

    /// Who has only the bucket sees all of it, and nothing in it is unnamed once it is old.
    fn check_bucket(&self, context: &str) {
        let mut options = self.options("reader", 5);
        options.tier.as_mut().unwrap().follow = true;
        let follower = open(options, &self.env).unwrap();
        self.check(&follower, context);
        let deadline = Instant::now() + Duration::from_secs(30);
        loop {
            gc::collect(&self.env, &self.store(5), Duration::ZERO, GcMode::Delete, None).unwrap();
            // S3 tells times in seconds: what was dropped in this one is not old yet.
            if gc::collect(&self.env, &self.store(5), Duration::ZERO, GcMode::DryRun, None).unwrap().garbage.is_empty()
            {
                break;
            }
            assert!(Instant::now() < deadline, "{context}");
        }
        self.check(&follower, context);
    }
}

fn open(options: Options, env: &Env) -> Result<Storage> {
    Storage::open(options, env.clone(), Arc::new(Nobody), &Progress::default())
}

/// How often each record is shown.
fn records(storage: &Storage) -> Result<BTreeMap<String, u64>> {
    let snapshot = storage.snapshot(&Tenant::default());
    let mut found = BTreeMap::new();
    let mut take = |batch: &Batch| {
        for row in 0..batch.rows() {
            *found.entry(String::from_utf8_lossy(batch.message(row)).into_owned()).or_default() += 1;
        }
    };
    for segment in snapshot.segments.iter() {
        let opened = segment.open()?;
        for block in &opened.reader.directory().blocks {
            take(&opened.reader.read_block_as_batch(block.number)?);
        }
    }
    snapshot.batches.iter().for_each(|batch| take(&batch.batch));
    Ok(found)
}

fn all_faults() -> Vec<Fault> {
    vec![
        Fault::Answer(500, "InternalError"),
        Fault::Answer(503, "SlowDown"),
        Fault::Reset,
        Fault::AnswerLost,
        Fault::Truncated,
        Fault::ResetInBody,
        Fault::Slow(Duration::from_millis(50)),
    ]
}

#[test]
fn a_pass_goes_through_whatever_happens_twice_to_a_request() {
    let mut node = Node::new();
    let storage = node.open(5);
    // The first pass claims the bucket.
    node.fill(&storage);
    storage.tier().unwrap();
    for (method, part, _) in REQUESTS {
        let damage = matches!((method, part), ("PUT", _)).then_some(Fault::DamagedRequest);
        for fault in all_faults().into_iter().chain(damage) {
            let context = format!("{fault:?} at {method} {part}");
            node.fill(&storage);
            node.setting.proxy.fault(method, part, fault, 2);
            let done = storage.tier().unwrap_or_else(|error| panic!("{context}: {error}"));
            assert_eq!((done.segments_uploaded, done.segments_cold), (1, 1), "{context}");
            node.setting.proxy.heal();
        }
        node.check(&storage, part);
    }
    node.check_bucket("in the end");
    drop(storage);
    node.check(&node.open(5), "after a start");
}

#[test]
fn a_pass_that_fails_loses_nothing_and_the_next_one_makes_up_for_it() {
    let mut node = Node::new();
    let mut storage = node.open(2);
    node.fill(&storage);
    storage.tier().unwrap();
    let lasting = [
        Fault::Answer(500, "InternalError"),
        Fault::Reset,
        Fault::AnswerLost,
        Fault::Answer(403, "RequestTimeTooSkewed"),
    ];
    for (method, part, is_in_each_pass) in REQUESTS {
        let damage = (method == "PUT").then_some(Fault::DamagedRequest);
        for (number, fault) in lasting.iter().cloned().chain(damage).enumerate() {
            let context = format!("{fault:?} at {method} {part}");
            node.fill(&storage);
            node.setting.proxy.fault(method, part, fault, usize::MAX);
            let passed = storage.tier();
            // A conditional put that was done is ours though nobody heard of it.
            let may_pass = !is_in_each_pass || (context.contains("AnswerLost") && method == "PUT");
            assert!(passed.is_err() || may_pass, "{context}");
            node.fill(&storage);
            node.setting.proxy.heal();
            // The same process goes on, or another one.
            if number % 2 == 1 {
                drop(storage);
                storage = node.open(2);
            }
            node.check(&storage, &context);
            storage.tier().unwrap_or_else(|error| panic!("{context}, and then: {error}"));
            assert_eq!(storage.stats().segment_bytes, 0, "{context}: all is in the store");
            node.check(&storage, &context);
        }
    }
    node.check_bucket("in the end");
}

#[test]
fn a_call_that_hangs_holds_up_nobody_but_the_pass() {
    let mut node = Node::new();
    let mut options = node.setting.options();
    // It tries for as long as the store hangs, two minutes at most.
    (options.retries.tries, options.retries.try_timeout) = (1_000, Duration::from_millis(800));
    options.retries.breaker_failures = 1_000;
    let store = S3Store::new(BUCKET, "node", &options, &node.env).unwrap();
    let storage = open(node.options_of("db", store), &node.env).unwrap();
    node.fill(&storage);
    node.setting.proxy.fault("PUT", ".log", Fault::Hang, usize::MAX);
    std::thread::scope(|scope| {
        let pass = scope.spawn(|| storage.tier());
        (0..4).for_each(|_| node.fill(&storage));
        assert!(!pass.is_finished(), "records waited for the store");
        node.setting.proxy.heal();
        pass.join().unwrap().unwrap();
    });
    node.fill(&storage);
    node.setting.proxy.fault("PUT", "manifest/0", Fault::Hang, 2);
    node.setting.proxy.fault("GET", "list-type", Fault::HangInBody, 1);
    storage.tier().unwrap();
    // What was not asked for in the pass must not hang for those who wait for longer.
    node.setting.proxy.heal();
    node.check(&storage, "after all");
    node.check_bucket("after all");
}

#[test]
fn lists_that_are_old_make_nobody_delete_what_is_named_or_commit_twice() {
    let mut node = Node::new();
    let storage = node.open(3);
    node.fill(&storage);
    storage.tier().unwrap();
    gc::collect(&node.env, &node.store(3), Duration::ZERO, GcMode::DryRun, None).unwrap();
    node.setting.proxy.freeze_lists(true);
    for _ in 0..3 {
        node.fill(&storage);
        // It may have to find out first what it has committed.
        let _ = storage.tier();
    }
    let _ = gc::collect(&node.env, &node.store(3), Duration::ZERO, GcMode::Delete, None);
    node.check(&storage, "by old lists");
    // A start that sees an old root claims nothing that is taken, and comes to its right.
    drop(storage);
    let storage = node.open(3);
    let _ = storage.tier();
    node.check(&storage, "a start by old lists");
    node.setting.proxy.freeze_lists(false);
    let deadline = Instant::now() + Duration::from_secs(20);
    while storage.tier().is_err() {
        assert!(Instant::now() < deadline, "{:?}", storage.tier_stats());
    }
    node.check(&storage, "by new lists");
    node.check_bucket("by new lists");
}
