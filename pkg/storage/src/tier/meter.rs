//! What a query asked of the object store, and how long it waits for it.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::Duration;
use timberlog_types::{Error, ErrorKind, Result};

/// What was asked of the object store on behalf of one query.
#[derive(Debug, Default)]
pub struct Meter {
    gets: AtomicU64,
    bytes: AtomicU64,
    is_down: AtomicBool,
}

/// On whose behalf something is read that may be in the object store.
#[derive(Clone, Copy)]
pub struct Demand<'a> {
    /// Counts what it takes. Once the store does not answer, nothing more is asked of it under this meter.
    pub meter: &'a Meter,
    /// Asked while a request is under way, every few ms: an error ends the wait, and is what the reader gets.
    pub check: &'a (dyn Fn() -> Result<()> + Sync),
    /// How long one request is waited for; then the store counts as one that does not answer.
    pub patience: Duration,
}

impl Meter {
    /// Requests that read bytes.
    pub fn gets(&self) -> u64 {
        self.gets.load(Relaxed)
    }

    /// Bytes that came.
    pub fn bytes(&self) -> u64 {
        self.bytes.load(Relaxed)
    }

    /// Whether the store did not answer: what is only there is missing from the answer.
    pub fn is_down(&self) -> bool {
        self.is_down.load(Relaxed)
    }

    pub(super) fn count(&self, bytes: u64) {
        self.gets.fetch_add(1, Relaxed);
        self.bytes.fetch_add(bytes, Relaxed);
    }

    /// Notes an error of the store, if it says that the store does not answer.
    pub(super) fn note(&self, error: &Error) {
        if error.kind == ErrorKind::Unavailable {
            self.is_down.store(true, Relaxed);
        }
    }

    /// Refuses at once what the store would not answer.
    pub(super) fn admit(&self) -> Result<()> {
        if self.is_down() {
            return Err(Error::new(ErrorKind::Unavailable, "the object store does not answer"));
        }
        Ok(())
    }
}

impl<'a> Demand<'a> {
    /// Waits as long as the store lets it.
    pub fn patient(meter: &'a Meter) -> Self {
        Self { meter, check: &|| Ok(()), patience: Duration::from_secs(600) }
    }
}

impl std::fmt::Debug for Demand<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Demand").field("meter", &self.meter).finish_non_exhaustive()
    }
}
