//! The clock by which records age: it never jumps.
//!
//! It begins at the clock of the newest commit and goes on with monotonic time. A wall clock that is
//! a little ahead is believed (the machine slept, or the server was off); one that is more than a day
//! away is not, in either direction: then this clock stands still until someone confirms.

use std::sync::{Mutex, PoisonError};
use timberlog_disk::Env;

/// How far the wall clock may be away before it is not believed.
pub const JUMP_MAX_NS: i64 = 24 * 3600 * 1_000_000_000;

/// The clock of retention.
pub(crate) struct RetentionClock {
    env: Env,
    inner: Mutex<Inner>,
}

struct Inner {
    /// The time at `since`.
    base_ns: i64,
    /// A monotonic time.
    since_ns: u64,
    /// It stands still at `base_ns`: the wall clock's time when that was noticed.
    stopped_at: Option<i64>,
}

impl RetentionClock {
    /// A clock that goes on from that of the newest commit.
    pub(crate) fn new(env: &Env, commit_ns: i64) -> Self {
        let inner = Inner { base_ns: commit_ns, since_ns: env.clock.monotonic_ns(), stopped_at: None };
        Self { env: env.clone(), inner: Mutex::new(inner) }
    }

    /// The time, in ns since 1970 UTC.
    pub(crate) fn now_ns(&self) -> i64 {
        self.look().base_ns
    }

    /// Why it stands still, if it does.
    pub(crate) fn paused(&self) -> Option<String> {
        let inner = self.look();
        inner.stopped_at.map(|wall| {
            let days = wall.abs_diff(inner.base_ns) / JUMP_MAX_NS.unsigned_abs();
            let side = if wall > inner.base_ns { "ahead of" } else { "behind" };
            format!(
                "the clock of this machine is {days} days {side} that of the newest commit: nothing expires until \
                 `timberlog retention confirm` says that it is right"
            )
        })
    }

    /// Believes the wall clock.
    pub(crate) fn confirm(&self) {
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        *inner = Inner { base_ns: self.env.clock.now_ns(), since_ns: self.env.clock.monotonic_ns(), stopped_at: None };
    }

    fn look(&self) -> std::sync::MutexGuard<'_, Inner> {
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        if inner.stopped_at.is_none() {
            let (wall, now) = (self.env.clock.now_ns(), self.env.clock.monotonic_ns());
            let passed = i64::try_from(now.saturating_sub(inner.since_ns)).unwrap_or(i64::MAX);
            let clock = inner.base_ns.saturating_add(passed);
            if wall.abs_diff(clock) > JUMP_MAX_NS.unsigned_abs() {
                inner.stopped_at = Some(wall);
                inner.base_ns = clock;
            } else {
                inner.base_ns = clock.max(wall);
            }
            inner.since_ns = now;
        }
        inner
    }
}
