//! What wakes a thread of the engine that mostly waits: there is something to look at, or it is to end.

use super::{closed, lock};
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::Duration;
use timberlog_types::Result;

/// Wakes one thread.
#[derive(Default)]
pub(super) struct Wake {
    wanted: Mutex<Wanted>,
    changed: Condvar,
}

#[derive(Default)]
struct Wanted {
    look: bool,
    stop: bool,
}

impl Wake {
    /// There may be something to do.
    pub(super) fn look(&self) {
        lock(&self.wanted).look = true;
        self.changed.notify_all();
    }

    /// Ends the thread, and the work under way where it next asks [`Wake::check_going`].
    pub(super) fn stop(&self) {
        lock(&self.wanted).stop = true;
        self.changed.notify_all();
    }

    /// Waits until there is a reason to look, at most `wait`; returns whether to stop.
    pub(super) fn wait_for_work(&self, wait: Duration) -> bool {
        let wanted = lock(&self.wanted);
        let waiting = |wanted: &mut Wanted| !wanted.stop && !wanted.look;
        let (mut wanted, _) =
            self.changed.wait_timeout_while(wanted, wait, waiting).unwrap_or_else(PoisonError::into_inner);
        wanted.look = false;
        wanted.stop
    }

    /// Waits in the middle of work, at most `wait`; not when the thread is to end.
    pub(super) fn rest(&self, wait: Duration) {
        let wanted = lock(&self.wanted);
        let waited = self.changed.wait_timeout_while(wanted, wait, |wanted| !wanted.stop);
        drop(waited.unwrap_or_else(PoisonError::into_inner));
    }

    /// # Errors
    /// `Closed` when the work must end.
    pub(super) fn check_going(&self) -> Result<()> {
        if lock(&self.wanted).stop { Err(closed()) } else { Ok(()) }
    }
}
