//! How long a query has waited for its turns.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// The time a query has waited; it waits when this is made.
#[derive(Debug)]
pub struct Waiting(Mutex<(Duration, Option<Instant>)>);

impl Default for Waiting {
    fn default() -> Self {
        Self(Mutex::new((Duration::ZERO, Some(Instant::now()))))
    }
}

impl Waiting {
    /// It waits from now on.
    pub fn begin(&self) {
        self.lock().1 = Some(Instant::now());
    }

    /// It has its turn.
    pub fn end(&self) {
        let mut waited = self.lock();
        if let Some(since) = waited.1.take() {
            waited.0 += since.elapsed();
        }
    }

    /// How long it has waited, a wait that goes on included.
    pub fn so_far(&self) -> Duration {
        let waited = self.lock();
        waited.0 + waited.1.map_or(Duration::ZERO, |since| since.elapsed())
    }

    fn lock(&self) -> MutexGuard<'_, (Duration, Option<Instant>)> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
