//! Tails: subscriptions to records as they are published.
//!
//! The WAL writer thread only hands over batches (an `Arc` each) and never waits: a full
//! subscription counts what it missed. Filters run on the reader's thread, and what is expired or
//! deleted by the time it comes to a batch is left out there.

use crossbeam_channel::{Receiver, Sender};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;
use timberlog_filter::{Compiled, Filter};
use timberlog_query::Record;
use timberlog_query::logql::{Entry, TailFilter};
use timberlog_storage::{BufferedBatch, Hidden, Snapshot, Subscriber};
use timberlog_types::{Error, ErrorKind, Result, RowSet, Seq, Tenant};

/// Batches that may wait for a reader of a tail.
const BATCHES_WAITING_MAX: usize = 256;
/// Bytes of batches that may wait for a reader of a tail: it holds them in memory, whatever
/// becomes of the buffer. One longer batch may wait alone.
const BYTES_WAITING_MAX: usize = 8 << 20;

/// What a tail tells.
#[derive(Clone, Debug)]
pub enum TailEvent {
    /// New records that match, in the order of their arrival.
    Records(Vec<Record>),
    /// So many records passed by unread because the reader fell behind.
    Missed(u64),
}

/// A subscription to records that match a filter; ends when it is dropped.
pub struct Tail {
    batches: Batches,
    filter: Compiled,
}

/// What a tail of a log query tells.
#[derive(Clone, Debug)]
pub enum LogTailEvent {
    /// New lines that match, in the order of their arrival.
    Entries(Vec<Entry>),
    /// So many records passed by unread because the reader fell behind.
    Missed(u64),
}

/// A subscription to lines that a log query lets through; ends when it is dropped.
pub struct LogTail {
    batches: Batches,
    filter: TailFilter,
    /// Batches up to this number were part of what was asked for before.
    seen: Seq,
}

/// What nobody may see now; `None` once the database is closed.
pub(crate) type AskHidden = Box<dyn Fn() -> Option<Arc<Hidden>> + Send + Sync>;

/// The receiving end of a subscription.
struct Batches {
    batches: Receiver<Arc<BufferedBatch>>,
    counts: Arc<Counts>,
    hidden: AskHidden,
}

/// What comes out of it.
enum Received {
    /// A batch, and its rows that may be seen.
    Batch(Arc<BufferedBatch>, RowSet),
    Missed(u64),
}

#[derive(Default)]
struct Counts {
    /// Records that passed by unread.
    missed: AtomicU64,
    /// Bytes of the batches that wait.
    waiting_bytes: AtomicUsize,
}

struct Subscription {
    tenant: Tenant,
    batches: Sender<Arc<BufferedBatch>>,
    /// Gone with the [`Tail`].
    counts: Weak<Counts>,
}

/// The subscriptions of a database.
#[derive(Default)]
pub(crate) struct Tails {
    subscriptions: Mutex<Subscriptions>,
}

#[derive(Default)]
struct Subscriptions {
    list: Vec<Subscription>,
    /// Nothing is published any more, and whoever subscribes learns it at once.
    is_closed: bool,
}

impl Tails {
    pub(crate) fn subscribe(&self, tenant: &Tenant, hidden: AskHidden, filter: Filter) -> Result<Tail> {
        let filter = Compiled::new(&filter)?;
        Ok(Tail { batches: self.batches(tenant, hidden), filter })
    }

    pub(crate) fn subscribe_logql(&self, tenant: &Tenant, hidden: AskHidden, filter: TailFilter) -> LogTail {
        LogTail { batches: self.batches(tenant, hidden), filter, seen: 0 }
    }

    fn batches(&self, tenant: &Tenant, hidden: AskHidden) -> Batches {
        let (sender, batches) = crossbeam_channel::bounded(BATCHES_WAITING_MAX);
        let counts = Arc::<Counts>::default();
        let subscription = Subscription { tenant: tenant.clone(), batches: sender, counts: Arc::downgrade(&counts) };
        let mut subscriptions = self.lock();
        if !subscriptions.is_closed {
            subscriptions.list.push(subscription);
        }
        Batches { batches, counts, hidden }
    }

    /// Ends all tails behind what waits for them.
    pub(crate) fn close(&self) {
        let mut subscriptions = self.lock();
        subscriptions.is_closed = true;
        subscriptions.list.clear();
    }

    fn lock(&self) -> MutexGuard<'_, Subscriptions> {
        self.subscriptions.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Subscriber for Tails {
    fn published(&self, tenant: &Tenant, batch: &Arc<BufferedBatch>) {
        self.lock().list.retain(|subscription| subscription.tenant != *tenant || subscription.offer(batch));
    }
}

impl Subscription {
    /// Hands over a batch, or counts it as missed; `false` if nobody reads any more.
    fn offer(&self, batch: &Arc<BufferedBatch>) -> bool {
        let Some(counts) = self.counts.upgrade() else { return false };
        let bytes = batch.batch.memory_bytes();
        let before = counts.waiting_bytes.fetch_add(bytes, Ordering::Relaxed);
        let has_room = before == 0 || before.saturating_add(bytes) <= BYTES_WAITING_MAX;
        if !has_room || self.batches.try_send(Arc::clone(batch)).is_err() {
            counts.waiting_bytes.fetch_sub(bytes, Ordering::Relaxed);
            counts.missed.fetch_add(batch.batch.rows() as u64, Ordering::Relaxed);
        }
        true
    }
}

impl Tail {
    /// The next event; `None` if nothing came within `wait`, or nothing in what came matches.
    ///
    /// # Errors
    /// `Closed` when the database is closed.
    pub fn next(&self, wait: Duration) -> Result<Option<TailEvent>> {
        match self.batches.next(wait)? {
            None => Ok(None),
            Some(Received::Missed(records)) => Ok(Some(TailEvent::Missed(records))),
            Some(Received::Batch(batch, rows)) => {
                let records = timberlog_query::matching(&batch.batch, rows, &self.filter)?;
                Ok((!records.is_empty()).then_some(TailEvent::Records(records)))
            }
        }
    }
}

impl LogTail {
    /// Leaves out what a snapshot that was taken after the subscription holds.
    pub fn after(mut self, snapshot: &Snapshot) -> Self {
        let batches = snapshot.batches.iter().map(|batch| batch.seq_max);
        let segments = snapshot.segments.iter().map(|segment| segment.entry.seq_max);
        self.seen = batches.chain(segments).max().unwrap_or_default();
        self
    }

    /// The next event; `None` if nothing came within `wait`, or nothing in what came matches. `now_ns` is what templates take for
    /// `now`.
    ///
    /// # Errors
    /// `Closed` when the database is closed.
    pub fn next(&self, wait: Duration, now_ns: i64) -> Result<Option<LogTailEvent>> {
        match self.batches.next(wait)? {
            None => Ok(None),
            Some(Received::Missed(records)) => Ok(Some(LogTailEvent::Missed(records))),
            Some(Received::Batch(batch, _)) if batch.seq_max <= self.seen => Ok(None),
            Some(Received::Batch(batch, rows)) => {
                let entries = self.filter.entries(&batch.batch, rows, now_ns)?;
                Ok((!entries.is_empty()).then_some(LogTailEvent::Entries(entries)))
            }
        }
    }
}

impl Batches {
    fn next(&self, wait: Duration) -> Result<Option<Received>> {
        let missed = self.counts.missed.swap(0, Ordering::Relaxed);
        if missed > 0 {
            return Ok(Some(Received::Missed(missed)));
        }
        match self.batches.recv_timeout(wait) {
            Ok(batch) => {
                self.counts.waiting_bytes.fetch_sub(batch.batch.memory_bytes(), Ordering::Relaxed);
                let hidden = (self.hidden)().ok_or_else(closed)?;
                let rows = timberlog_query::shown(&batch, &hidden)?;
                Ok(Some(Received::Batch(batch, rows)))
            }
            Err(crossbeam_channel::RecvTimeoutError::Timeout) => Ok(None),
            Err(crossbeam_channel::RecvTimeoutError::Disconnected) => Err(closed()),
        }
    }
}

fn closed() -> Error {
    Error::new(ErrorKind::Closed, "the database is closed")
}

#[cfg(test)]
mod tests {
    use super::*;
    use timberlog_types::BatchBuilder;

    #[test]
    fn a_reader_that_does_not_read_holds_few_bytes() {
        let tails = Tails::default();
        let tenant = Tenant::default();
        let tail = tails.subscribe(&tenant, Box::new(|| Some(Arc::default())), Filter::All).unwrap();
        let mut builder = BatchBuilder::new();
        let stream = builder.stream("s", &[]).unwrap();
        let level = builder.level(None).unwrap();
        builder.finish_row(0, stream, level, &vec![b'x'; BYTES_WAITING_MAX / 2]).unwrap();
        let batch = Arc::new(BufferedBatch::new(1, Arc::new(builder.finish().unwrap())));
        for _ in 0..10 {
            tails.published(&tenant, &batch);
        }
        assert_eq!(tail.batches.batches.len(), 1);
        assert!(matches!(tail.next(Duration::ZERO).unwrap(), Some(TailEvent::Missed(9))));
        assert!(matches!(tail.next(Duration::ZERO).unwrap(), Some(TailEvent::Records(records)) if records.len() == 1));
        tails.published(&tenant, &batch);
        assert!(matches!(tail.next(Duration::ZERO).unwrap(), Some(TailEvent::Records(_))));
        tails.published(&tenant, &batch);
        drop(tail);
        tails.published(&tenant, &batch);
        assert!(tails.lock().list.is_empty());
    }
}
