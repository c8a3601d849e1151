//! One request: its tries, waits and time-outs, the circuit breaker, and the counting.
//!
//! The SDK's own retries are off: they end where a body begins, and could not be counted.

use std::future::Future;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use timberlog_disk::Env;
use timberlog_storage::objects::Figures;

use super::breaker::{Breaker, Refused};
use super::failure::{Failure, Why};
use crate::options::Retries;

/// What a request does, for the figures.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Put,
    Get,
    Head,
    List,
    Delete,
}

/// What is known when a try begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Before {
    /// No earlier try can have been carried out.
    Nothing,
    /// An earlier try may have been: its answer was lost.
    Doubt,
}

/// How requests are made.
pub(super) struct Requests {
    retries: Retries,
    breaker: Breaker,
    env: Env,
    /// Where they go, for messages.
    place: String,
    counts: [AtomicU64; 5],
    failures: AtomicU64,
    tried_again: AtomicU64,
    refused: AtomicU64,
    bytes_put: AtomicU64,
    bytes_got: AtomicU64,
}

impl Requests {
    pub fn new(retries: Retries, env: Env, place: String) -> Self {
        Self {
            breaker: Breaker::new(retries.breaker_failures, retries.breaker_pause),
            retries,
            env,
            place,
            counts: Default::default(),
            failures: AtomicU64::new(0),
            tried_again: AtomicU64::new(0),
            refused: AtomicU64::new(0),
            bytes_put: AtomicU64::new(0),
            bytes_got: AtomicU64::new(0),
        }
    }

    /// Makes a request: tries it, waits and tries it again while that may help.
    pub async fn run<T, F>(&self, kind: Kind, attempt: impl Fn(Before) -> F) -> Result<T, Failure>
    where
        F: Future<Output = Result<T, Failure>>,
    {
        self.counts[kind as usize].fetch_add(1, Relaxed);
        let start_ns = self.now_ns();
        let mut before = Before::Nothing;
        let mut last: Option<Failure> = None;
        for number in 0..self.retries.tries {
            if let Err(refused) = self.breaker.admit(self.now_ns()) {
                self.refused.fetch_add(1, Relaxed);
                // After a first try its failure says more than the breaker it opened.
                return Err(last.unwrap_or_else(|| self.left_alone(refused)));
            }
            self.tried_again.fetch_add(u64::from(number > 0), Relaxed);
            let failure = match attempt(before).await {
                Ok(value) => {
                    self.breaker.succeeded();
                    return Ok(value);
                }
                Err(failure) => failure,
            };
            if failure.is_of_the_store() {
                self.breaker.failed(self.now_ns());
            } else {
                self.breaker.succeeded();
            }
            if failure.is_in_doubt() {
                before = Before::Doubt;
            }
            let pause = self.pause(number);
            let spent = Duration::from_nanos(self.now_ns().saturating_sub(start_ns));
            let over = number + 1 >= self.retries.tries || spent + pause >= self.retries.total_timeout;
            if !failure.is_worth_a_retry() || over {
                if !matches!(failure.why, Why::NotFound | Why::Exists) {
                    self.failures.fetch_add(1, Relaxed);
                }
                return Err(failure);
            }
            tracing::debug!(store = self.place, ?kind, number, ?pause, "trying again: {}", failure.message);
            last = Some(failure);
            tokio::time::sleep(pause).await;
        }
        Err(last.unwrap_or_else(|| Failure::new(Why::Failed, "not tried")))
    }

    /// Ends what takes longer than a try with so many bytes may.
    pub async fn in_time<T>(&self, bytes: u64, work: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
        let seconds = bytes / self.retries.bytes_per_second_min.max(1);
        let limit = self.retries.try_timeout.saturating_add(Duration::from_secs(seconds));
        tokio::time::timeout(limit, work).await.unwrap_or_else(|_| Err(Failure::timeout(limit)))
    }

    pub fn count_put(&self, bytes: u64) {
        self.bytes_put.fetch_add(bytes, Relaxed);
    }

    pub fn count_got(&self, bytes: u64) {
        self.bytes_got.fetch_add(bytes, Relaxed);
    }

    pub fn figures(&self) -> Figures {
        let count = |kind: Kind| self.counts[kind as usize].load(Relaxed);
        let (breaker_open, breaker_opened) = self.breaker.figures();
        Figures {
            puts: count(Kind::Put),
            gets: count(Kind::Get),
            heads: count(Kind::Head),
            lists: count(Kind::List),
            deletes: count(Kind::Delete),
            failures: self.failures.load(Relaxed),
            retries: self.tried_again.load(Relaxed),
            refused: self.refused.load(Relaxed),
            bytes_put: self.bytes_put.load(Relaxed),
            bytes_got: self.bytes_got.load(Relaxed),
            breaker_open,
            breaker_opened,
        }
    }

    fn left_alone(&self, refused: Refused) -> Failure {
        let Refused { wait, failures } = refused;
        let wait = wait.as_secs_f64();
        Failure::new(Why::Failed, format!("not tried: it failed {failures} times in a row, next try in {wait:.1} s"))
    }

    /// The wait after a try, random so that many callers do not come back at once.
    fn pause(&self, number: u32) -> Duration {
        let longest = self.retries.backoff_first.saturating_mul(1 << number.min(16)).min(self.retries.backoff_max);
        let half_ns = u64::try_from(longest.as_nanos() / 2).unwrap_or(u64::MAX).max(1);
        Duration::from_nanos(half_ns.saturating_add(self.env.random.next_u64() % half_ns))
    }

    fn now_ns(&self) -> u64 {
        self.env.clock.monotonic_ns()
    }
}
