//! Tails: subscriptions to records as they are published.
//!
//! The WAL writer thread only hands over batches (an `Arc` each) and never waits: a full
//! subscription counts what it missed. Filters run on the reader's thread.

use crossbeam_channel::{Receiver, Sender, TrySendError};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use timberlog_filter::{Compiled, Filter};
use timberlog_query::Record;
use timberlog_storage::{BufferedBatch, Subscriber};
use timberlog_types::{Result, Tenant};

/// Batches that may wait for a reader of a tail.
const BATCHES_WAITING_MAX: usize = 256;

/// What a tail tells.
#[derive(Clone, Debug)]
pub enum TailEvent {
    /// New records that match, in the order of their arrival.
    Records(Vec<Record>),
    /// So many records passed by unread because the reader fell behind.
    Missed(u64),
}

/// A subscription; ends when it is dropped.
pub struct Tail {
    batches: Receiver<Arc<BufferedBatch>>,
    missed: Arc<AtomicU64>,
    filter: Compiled,
}

struct Subscription {
    tenant: Tenant,
    batches: Sender<Arc<BufferedBatch>>,
    missed: Arc<AtomicU64>,
}

/// The subscriptions of a database.
#[derive(Default)]
pub(crate) struct Tails {
    subscriptions: Mutex<Vec<Subscription>>,
}

impl Tails {
    pub(crate) fn subscribe(&self, tenant: &Tenant, filter: Filter) -> Result<Tail> {
        let filter = Compiled::new(&filter)?;
        let (sender, batches) = crossbeam_channel::bounded(BATCHES_WAITING_MAX);
        let missed = Arc::new(AtomicU64::new(0));
        let subscription = Subscription { tenant: tenant.clone(), batches: sender, missed: Arc::clone(&missed) };
        self.subscriptions.lock().unwrap_or_else(PoisonError::into_inner).push(subscription);
        Ok(Tail { batches, missed, filter })
    }
}

impl Subscriber for Tails {
    fn published(&self, tenant: &Tenant, batch: &Arc<BufferedBatch>) {
        let mut subscriptions = self.subscriptions.lock().unwrap_or_else(PoisonError::into_inner);
        subscriptions.retain(|subscription| {
            if subscription.tenant != *tenant {
                return true;
            }
            match subscription.batches.try_send(Arc::clone(batch)) {
                Ok(()) => true,
                Err(TrySendError::Full(_)) => {
                    subscription.missed.fetch_add(batch.batch.rows() as u64, Ordering::Relaxed);
                    true
                }
                Err(TrySendError::Disconnected(_)) => false,
            }
        });
    }
}

impl Tail {
    /// The next event; `None` if nothing came within `wait`.
    ///
    /// # Errors
    /// `Closed` when the database is closed.
    pub fn next(&self, wait: Duration) -> Result<Option<TailEvent>> {
        let missed = self.missed.swap(0, Ordering::Relaxed);
        if missed > 0 {
            return Ok(Some(TailEvent::Missed(missed)));
        }
        match self.batches.recv_timeout(wait) {
            Ok(batch) => {
                let records = timberlog_query::matching(&batch.batch, &self.filter)?;
                Ok((!records.is_empty()).then_some(TailEvent::Records(records)))
            }
            Err(crossbeam_channel::RecvTimeoutError::Timeout) => Ok(None),
            Err(crossbeam_channel::RecvTimeoutError::Disconnected) => {
                Err(timberlog_types::Error::new(timberlog_types::ErrorKind::Closed, "the database is closed"))
            }
        }
    }
}
