//! Simulated clock and randomness.

use crate::{Clock, Random};
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// A small deterministic generator (splitmix64).
/// Source: <https://prng.di.unimi.it/splitmix64.c>, public domain.
#[derive(Clone, Debug)]
pub struct Rng(u64);

impl Rng {
    /// A generator of its own for each seed.
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next number.
    #[allow(clippy::should_implement_trait, reason = "a generator has no end, so it is no iterator")]
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `end`; 0 if `end` is 0.
    pub fn below(&mut self, end: u64) -> u64 {
        self.next().checked_rem(end).unwrap_or(0)
    }

    /// True `percent` times out of a hundred.
    pub fn percent(&mut self, percent: u8) -> bool {
        self.below(100) < u64::from(percent)
    }
}

/// Randomness from a seed.
pub struct SimRandom(Mutex<Rng>);

impl SimRandom {
    /// Each seed gives a sequence of its own.
    pub fn new(seed: u64) -> Self {
        Self(Mutex::new(Rng::new(seed)))
    }
}

impl Random for SimRandom {
    fn fill(&self, buf: &mut [u8]) {
        let mut rng = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for chunk in buf.chunks_mut(8) {
            chunk.copy_from_slice(&rng.next().to_le_bytes()[..chunk.len()]);
        }
    }
}

/// A clock that stands still but for a microsecond each time it is read, until it is moved.
pub struct SimClock {
    wall: AtomicI64,
    monotonic: AtomicU64,
}

/// A microsecond.
const TICK_NS: u64 = 1_000;
/// 2026-01-01T00:00:00Z.
const START_NS: i64 = 1_767_225_600_000_000_000;

impl SimClock {
    /// A clock that starts on 2026-01-01.
    pub fn new() -> Self {
        Self { wall: AtomicI64::new(START_NS), monotonic: AtomicU64::new(0) }
    }

    /// Lets time pass.
    pub fn advance(&self, by: Duration) {
        let ns = u64::try_from(by.as_nanos()).unwrap_or(u64::MAX);
        self.wall.fetch_add(i64::try_from(ns).unwrap_or(i64::MAX), Ordering::SeqCst);
        self.monotonic.fetch_add(ns, Ordering::SeqCst);
    }

    /// Sets the wall clock, forward or back; the monotonic one goes on.
    pub fn set_wall(&self, now_ns: i64) {
        self.wall.store(now_ns, Ordering::SeqCst);
    }
}

impl Default for SimClock {
    fn default() -> Self {
        Self::new()
    }
}

impl Clock for SimClock {
    fn now_ns(&self) -> i64 {
        self.wall.fetch_add(TICK_NS as i64, Ordering::SeqCst)
    }

    fn monotonic_ns(&self) -> u64 {
        self.monotonic.fetch_add(TICK_NS, Ordering::SeqCst)
    }
}
