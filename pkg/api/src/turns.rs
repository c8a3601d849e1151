//! Turns of queries: so many run at one time, and those that wait take turns by tenant, so that a
//! tenant that asks a lot waits for itself and not the others for it.
//!
//! A turn is given back when it is dropped, and so is a place in the line: a client that goes away
//! holds neither. When the line is full, whoever has most in it makes room for those who have less.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use timberlog_types::Tenant;
use tokio::sync::oneshot;

/// Who may run, and who waits.
#[derive(Debug)]
pub struct Turns {
    running_max: usize,
    waiting_max: usize,
    line: Mutex<Line>,
}

/// Those who wait.
#[derive(Debug, Default)]
struct Line {
    running: usize,
    waiting: usize,
    /// Numbers the places, so that one can be found again.
    next: u64,
    /// The tenants that have somebody in line, the one whose turn is next first.
    tenants: VecDeque<Tenant>,
    places: HashMap<Tenant, VecDeque<(u64, oneshot::Sender<Turn>)>>,
}

/// The line is full of queries of tenants that have no more in it than who asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Full;

/// Leave to run; given back when dropped.
#[derive(Debug)]
pub struct Turn(Arc<Turns>);

/// A place in the line; left when dropped.
struct Place<'a> {
    turns: &'a Turns,
    tenant: &'a Tenant,
    number: u64,
}

impl Turns {
    /// So many run at one time, and so many may wait.
    pub fn new(running_max: usize, waiting_max: usize) -> Self {
        Self { running_max: running_max.max(1), waiting_max, line: Mutex::default() }
    }

    /// Waits until it is a tenant's turn. Whoever stops waiting leaves the line at once.
    ///
    /// # Errors
    /// [`Full`], at once or when a tenant with less in the line needs the place.
    pub async fn take(self: &Arc<Self>, tenant: &Tenant) -> Result<Turn, Full> {
        let (place, receiver) = {
            let mut line = self.lock();
            if line.running < self.running_max {
                line.running += 1;
                drop(line);
                return Ok(Turn(Arc::clone(self)));
            }
            if line.waiting >= self.waiting_max && !line.make_room_for(tenant) {
                return Err(Full);
            }
            let (sender, receiver) = oneshot::channel();
            (Place { turns: self, tenant, number: line.enter(tenant, sender) }, receiver)
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
        self.lock().waiting
    }

    fn lock(&self) -> MutexGuard<'_, Line> {
        self.line.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Line {
    fn enter(&mut self, tenant: &Tenant, sender: oneshot::Sender<Turn>) -> u64 {
        let number = self.next;
        self.next += 1;
        self.waiting += 1;
        if !self.places.contains_key(tenant) {
            self.tenants.push_back(tenant.clone());
        }
        self.places.entry(tenant.clone()).or_default().push_back((number, sender));
        number
    }

    /// The first in line of the tenant whose turn is next, who then goes to the end.
    fn leave_first(&mut self) -> Option<oneshot::Sender<Turn>> {
        let tenant = self.tenants.pop_front()?;
        let places = self.places.get_mut(&tenant)?;
        let (_, sender) = places.pop_front()?;
        self.waiting -= 1;
        if places.is_empty() {
            self.places.remove(&tenant);
        } else {
            self.tenants.push_back(tenant);
        }
        Some(sender)
    }

    fn leave(&mut self, tenant: &Tenant, number: u64) {
        let Some(places) = self.places.get_mut(tenant) else { return };
        let Ok(at) = places.binary_search_by_key(&number, |&(number, _)| number) else { return };
        places.remove(at);
        self.waiting -= 1;
        if places.is_empty() {
            self.places.remove(tenant);
            self.tenants.retain(|other| other != tenant);
        }
    }

    /// Sends the last one away of whoever has most in line, if that leaves them as many as `tenant`
    /// then has.
    fn make_room_for(&mut self, tenant: &Tenant) -> bool {
        let own = self.places.get(tenant).map_or(0, VecDeque::len);
        let Some((largest, count)) =
            self.places.iter().map(|(tenant, places)| (tenant, places.len())).max_by_key(|&(_, count)| count)
        else {
            return false;
        };
        if count < own + 2 {
            return false;
        }
        let largest = largest.clone();
        // Its sender is dropped, which tells it.
        if self.places.get_mut(&largest).and_then(VecDeque::pop_back).is_some() {
            self.waiting -= 1;
        }
        true
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.turns.lock().leave(self.tenant, self.number);
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        // Who was next may have gone between: then it is the turn of the one behind.
        let mut line = self.0.lock();
        let next = line.leave_first();
        if next.is_none() {
            line.running -= 1;
        }
        drop(line);
        if let Some(sender) = next {
            // If nobody receives it, the turn comes back here by its own drop.
            let _ = sender.send(Self(Arc::clone(&self.0)));
        }
    }
}

#[cfg(test)]
mod tests;
