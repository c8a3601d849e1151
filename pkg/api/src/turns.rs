//! Turns of queries: so many run at one time, and those that wait take turns by tenant, so that a
//! tenant that asks a lot waits for itself and not the others for it.
//!
//! A query that runs for long rests: it gives its turn to another one, waits in a line of its own, and goes on
//! when its turn comes again. Of all turns one is kept for those that are not long.
//!
//! A turn is given back when it is dropped, and so is a place in the line: a client that goes away
//! holds neither. When the line is full, whoever has most in it makes room for those who have less.

mod waiting;

use crate::line::Line;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use timberlog_types::Tenant;
use tokio::sync::oneshot;
pub use waiting::Waiting;

/// After so long a turn is a long one, and so long it then is before another long one has it.
const SLICE: Duration = Duration::from_millis(200);

/// Who may run, and who waits.
#[derive(Debug)]
pub struct Turns {
    running_max: usize,
    waiting_max: usize,
    resting_max: usize,
    lines: Mutex<Lines>,
}

/// Who runs, and those who wait.
#[derive(Debug, Default)]
struct Lines {
    running: usize,
    /// How many of them are long.
    long: usize,
    fresh: Line<oneshot::Sender<Turn>>,
    resting: Line<oneshot::Sender<Turn>>,
    /// Where only one may run: whether the next is to be a long one.
    is_long_next: bool,
}

/// The line is full of queries of tenants that have no more in it than who asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Full;

/// Leave to run; given back when dropped.
#[derive(Debug)]
pub struct Turn {
    turns: Arc<Turns>,
    tenant: Tenant,
    since: Instant,
    is_long: bool,
    /// Given away: there is nothing to give back.
    is_gone: bool,
}

/// A place in the line; left when dropped.
struct Place<'a> {
    turns: &'a Turns,
    tenant: &'a Tenant,
    number: u64,
}

/// A turn and who has it next.
type Given = Vec<(oneshot::Sender<Turn>, Turn)>;

impl Turns {
    /// So many run at one time, and so many may wait; of long ones so many may rest.
    pub fn new(running_max: usize, waiting_max: usize, resting_max: usize) -> Self {
        Self { running_max: running_max.max(1), waiting_max, resting_max, lines: Mutex::default() }
    }

    /// Waits until it is a tenant's turn. Whoever stops waiting leaves the line at once.
    ///
    /// # Errors
    /// [`Full`], at once or when a tenant with less in the line needs the place.
    pub async fn take(self: &Arc<Self>, tenant: &Tenant) -> Result<Turn, Full> {
        let (place, receiver) = {
            let mut lines = self.lock();
            if lines.running < self.running_max {
                lines.running += 1;
                drop(lines);
                return Ok(self.turn(tenant.clone(), false));
            }
            if lines.fresh.len() >= self.waiting_max && !lines.fresh.make_room_for(tenant) {
                return Err(Full);
            }
            let (sender, receiver) = oneshot::channel();
            (Place { turns: self, tenant, number: lines.fresh.enter(tenant, sender) }, receiver)
        };
        // A turn that has come is dropped with the receiver, and so passed on.
        let turn = receiver.await.map_err(|_| Full);
        drop(place);
        turn
    }

    /// How many run.
    pub fn running(&self) -> usize {
        self.lock().running
    }

    /// How many wait.
    pub fn waiting(&self) -> usize {
        self.lock().fresh.len()
    }

    /// How many rest.
    pub fn resting(&self) -> usize {
        self.lock().resting.len()
    }

    fn turn(self: &Arc<Self>, tenant: Tenant, is_long: bool) -> Turn {
        Turn { turns: Arc::clone(self), tenant, since: Instant::now(), is_long, is_gone: false }
    }

    /// Gives the turns that are free to those who wait; the turns must be sent when the lock is gone.
    fn give(self: &Arc<Self>, lines: &mut Lines) -> Given {
        let mut given = Given::new();
        while lines.running < self.running_max {
            let Some((tenant, sender, is_long)) = lines.next(self.long_max(), self.running_max) else { break };
            lines.running += 1;
            lines.long += usize::from(is_long);
            lines.is_long_next = !is_long;
            given.push((sender, self.turn(tenant, is_long)));
        }
        given
    }

    /// One turn is kept for those that are not long, if there are two.
    fn long_max(&self) -> usize {
        (self.running_max - 1).max(1)
    }

    fn lock(&self) -> MutexGuard<'_, Lines> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Lines {
    /// Who has the next turn, and whether it is a long one.
    fn next(&mut self, long_max: usize, running_max: usize) -> Option<(Tenant, oneshot::Sender<Turn>, bool)> {
        let prefers_long = running_max > 1 || self.is_long_next || self.fresh.is_empty();
        let long = if self.long < long_max && prefers_long { self.resting.leave_first() } else { None };
        if let Some((tenant, sender)) = long {
            return Some((tenant, sender, true));
        }
        self.fresh.leave_first().map(|(tenant, sender)| (tenant, sender, false))
    }
}

impl Turn {
    /// Whether it has been given to a query that has run for long.
    pub fn is_long(&self) -> bool {
        self.is_long
    }

    /// Lets another one go first, if this has run for long and another one should; waits until it may go on. Blocks.
    pub fn rest(&mut self) {
        if self.since.elapsed() < SLICE {
            return;
        }
        let turns = Arc::clone(&self.turns);
        let (receiver, given) = {
            let mut lines = turns.lock();
            if !self.is_long {
                self.is_long = true;
                lines.long += 1;
            }
            let is_wanted = lines.long > turns.long_max()
                || !lines.resting.is_empty()
                || (turns.running_max == 1 && !lines.fresh.is_empty());
            if !is_wanted || lines.resting.len() >= turns.resting_max {
                self.since = Instant::now();
                return;
            }
            let (sender, receiver) = oneshot::channel();
            lines.resting.enter(&self.tenant, sender);
            lines.running -= 1;
            lines.long -= 1;
            lines.is_long_next = false;
            self.is_gone = true;
            (receiver, turns.give(&mut lines))
        };
        send(given);
        // The sender stands in the line until it is used.
        if let Ok(turn) = receiver.blocking_recv() {
            *self = turn;
        }
    }
}

/// Tells those who have a turn now. If nobody receives it, the turn comes back by its own drop.
fn send(given: Given) {
    for (sender, turn) in given {
        drop(sender.send(turn));
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.turns.lock().fresh.leave(self.tenant, self.number);
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        if self.is_gone {
            return;
        }
        // Who was next may have gone between: then it is the turn of the one behind.
        let given = {
            let mut lines = self.turns.lock();
            lines.running -= 1;
            lines.long -= usize::from(self.is_long);
            self.turns.give(&mut lines)
        };
        send(given);
    }
}

#[cfg(test)]
mod tests;
