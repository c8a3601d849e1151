//! A request that is under way, and that everybody waits for who needs the same.

use super::meter::Demand;
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::Duration;
use timberlog_types::{Error, ErrorKind, Result};

/// How often somebody who waits asks whether to go on.
const CHECK_EVERY: Duration = Duration::from_millis(10);

/// A request that is under way.
pub(super) struct Flight<T> {
    landed: Mutex<Option<Result<T>>>,
    signal: Condvar,
}

impl<T: Clone> Flight<T> {
    pub(super) fn new() -> Self {
        Self { landed: Mutex::new(None), signal: Condvar::new() }
    }

    /// Tells everybody who waits.
    pub(super) fn land(&self, result: Result<T>) {
        *self.landed.lock().unwrap_or_else(PoisonError::into_inner) = Some(result);
        self.signal.notify_all();
    }

    /// Waits until it has landed, or the reader is told not to wait any longer. The request goes on then: others may
    /// wait for it, and what it brings is kept.
    pub(super) fn wait(&self, demand: &Demand<'_>) -> Result<T> {
        let mut landed = self.landed.lock().unwrap_or_else(PoisonError::into_inner);
        let mut patience = demand.patience;
        loop {
            if let Some(result) = &*landed {
                return result.clone().inspect_err(|error| demand.meter.note(error));
            }
            (demand.check)()?;
            if patience.is_zero() {
                let message = format!("the object store did not answer within {:?}", demand.patience);
                let error = Error::new(ErrorKind::Unavailable, message);
                demand.meter.note(&error);
                return Err(error);
            }
            // Waking up early only shortens it.
            patience = patience.saturating_sub(CHECK_EVERY);
            landed = self.signal.wait_timeout(landed, CHECK_EVERY).unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}
