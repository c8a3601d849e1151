//! What one query may use, and what it has used so far; shared by the threads that work on it.
//!
//! Time is the machine's monotonic clock: it ends a query, and nothing that is stored or answered
//! depends on it.

use crate::error::QueryError;
use crate::pace::{self, Pace};
use crate::request::{Cancel, QueryLimits};
use crate::statistics::Statistics;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};
use timberlog_filter::Interrupt;
use timberlog_storage::tier::{Demand, Meter};
use timberlog_types::Result;

/// Limits, counters, and what could not be read.
pub(crate) struct Budget {
    limits: QueryLimits,
    start: Instant,
    /// Time in which the caller had other things to do, in ns.
    idle: AtomicU64,
    memory: AtomicU64,
    exceeded: AtomicBool,
    cancel: Cancel,
    pub bytes_read: AtomicU64,
    pub blocks_pruned: AtomicU64,
    pub blocks_from_counts: AtomicU64,
    pub blocks_read: AtomicU64,
    pub blocks_missing: AtomicU64,
    pub batches_read: AtomicU64,
    pub rows_scanned: AtomicU64,
    pub rows_matched: AtomicU64,
    pub rows_hidden: AtomicU64,
    missing: Mutex<Vec<String>>,
    pace: Pace,
    /// What was asked of the object store.
    meter: Meter,
}

/// How long one request to the object store is waited for, at most: then it counts as one that does not answer, and what
/// is local is the answer.
const PATIENCE_MAX: Duration = Duration::from_secs(15);

/// Lists of what is missing are cut here; the count of missing blocks is not.
const MISSING_MAX: usize = 100;

impl Budget {
    pub fn new(limits: QueryLimits) -> Self {
        Self {
            limits,
            start: Instant::now(),
            idle: AtomicU64::new(0),
            memory: AtomicU64::new(0),
            exceeded: AtomicBool::new(false),
            cancel: Cancel::default(),
            bytes_read: AtomicU64::new(0),
            blocks_pruned: AtomicU64::new(0),
            blocks_from_counts: AtomicU64::new(0),
            blocks_read: AtomicU64::new(0),
            blocks_missing: AtomicU64::new(0),
            batches_read: AtomicU64::new(0),
            rows_scanned: AtomicU64::new(0),
            rows_matched: AtomicU64::new(0),
            rows_hidden: AtomicU64::new(0),
            missing: Mutex::new(Vec::new()),
            pace: Pace::default(),
            meter: Meter::default(),
        }
    }

    /// Reads something that may be in the object store, within the limits of the query.
    pub fn with_demand<T>(&self, read: impl FnOnce(&Demand<'_>) -> Result<T>) -> Result<T> {
        let patience = (self.limits.time / 3).min(PATIENCE_MAX);
        read(&Demand { meter: &self.meter, check: &|| Ok(self.check()?), patience })
    }

    /// Ends the query too when somebody says so.
    pub fn cancelled_by(self, cancel: &Cancel) -> Self {
        Self { cancel: cancel.clone(), ..self }
    }

    /// What ends a search within a block.
    pub fn interrupt(&self) -> &Interrupt {
        self.cancel.interrupt()
    }

    /// Ends the query if it has used up its time or bytes.
    pub fn check(&self) -> Result<(), QueryError> {
        if self.cancel.is_cancelled() {
            return Err(self.ended(QueryError::Cancelled));
        }
        if self.spent() > self.limits.time {
            return Err(self.ended(QueryError::Time { limit: self.limits.time }));
        }
        if self.bytes_read.load(Relaxed) > self.limits.bytes {
            return Err(self.ended(QueryError::Bytes { limit: self.limits.bytes }));
        }
        Ok(())
    }

    /// Takes so many bytes of memory, or ends the query.
    pub fn take_memory(&self, bytes: usize) -> Result<(), QueryError> {
        let bytes = bytes as u64;
        if self.memory.fetch_add(bytes, Relaxed).saturating_add(bytes) > self.limits.memory {
            return Err(self.ended(QueryError::Memory { limit: self.limits.memory }));
        }
        Ok(())
    }

    /// Gives memory back.
    pub fn free_memory(&self, bytes: usize) {
        self.memory.fetch_sub(bytes as u64, Relaxed);
    }

    /// Whether a limit has ended the query: other threads need not go on.
    pub fn is_exceeded(&self) -> bool {
        self.exceeded.load(Relaxed)
    }

    /// Notes what could not be read.
    pub fn miss(&self, what: String) {
        if let Ok(mut missing) = self.missing.lock()
            && missing.len() < MISSING_MAX
            && !missing.contains(&what)
        {
            missing.push(what);
        }
    }

    /// What could not be read so far, sorted.
    pub fn missing(&self) -> Vec<String> {
        let mut missing = self.missing.lock().map(|missing| missing.clone()).unwrap_or_default();
        missing.sort_unstable();
        missing
    }

    /// Adds the counters to what the plan knows.
    pub fn statistics(&self, plan: &Statistics) -> Statistics {
        Statistics {
            blocks_pruned: plan.blocks_pruned + self.blocks_pruned.load(Relaxed),
            blocks_from_counts: self.blocks_from_counts.load(Relaxed),
            blocks_read: self.blocks_read.load(Relaxed),
            blocks_missing: plan.blocks_missing + self.blocks_missing.load(Relaxed),
            batches_read: self.batches_read.load(Relaxed),
            rows_scanned: self.rows_scanned.load(Relaxed),
            rows_matched: self.rows_matched.load(Relaxed),
            rows_hidden: self.rows_hidden.load(Relaxed),
            bytes_read: self.bytes_read.load(Relaxed),
            object_gets: self.meter.gets(),
            object_bytes: self.meter.bytes(),
            elapsed_ns: nanoseconds(self.spent()),
            ..plan.clone()
        }
    }

    /// Does not count the time since then: the caller was busy with what it was given.
    pub fn was_idle_since(&self, then: Instant) {
        self.idle.fetch_add(nanoseconds(then.elapsed()), Relaxed);
    }

    /// Does something with each of some items, on several threads if it takes long enough; lets others go first if this
    /// query has run for long. The results stand in the order of the items.
    pub fn each<T: Sync, R: Send>(
        &self,
        items: &[T],
        one: impl Fn(&T) -> Result<R, QueryError> + Sync,
    ) -> Result<Vec<R>, QueryError> {
        let add = |mut done: Vec<R>, item: &T| {
            done.push(one(item)?);
            Ok(done)
        };
        let merge = |mut done: Vec<R>, mut next: Vec<R>| {
            done.append(&mut next);
            Ok(done)
        };
        self.fold(items, Vec::new, add, merge)
    }

    /// The same where items are added up; what several threads come to is merged in the order of the items.
    pub fn fold<T: Sync, S: Send>(
        &self,
        items: &[T],
        start: impl Fn() -> S + Sync,
        add: impl Fn(S, &T) -> Result<S, QueryError> + Sync,
        merge: impl Fn(S, S) -> Result<S, QueryError> + Sync,
    ) -> Result<S, QueryError> {
        pace::rest();
        self.pace.fold(self.spent(), items, start, add, merge)
    }

    fn spent(&self) -> Duration {
        self.start.elapsed().saturating_sub(Duration::from_nanos(self.idle.load(Relaxed)))
    }

    fn ended(&self, error: QueryError) -> QueryError {
        self.exceeded.store(true, Relaxed);
        error
    }
}

fn nanoseconds(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}
