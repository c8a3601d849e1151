//! Those who wait, by tenant: tenants take turns, and the first of each is next.

use std::collections::{HashMap, VecDeque};
use timberlog_types::Tenant;

/// Those who wait.
#[derive(Debug)]
pub struct Line<T> {
    waiting: usize,
    /// Numbers the places, so that one can be found again.
    next: u64,
    /// The tenants that have somebody in line, the one whose turn is next first.
    tenants: VecDeque<Tenant>,
    places: HashMap<Tenant, VecDeque<(u64, T)>>,
}

impl<T> Default for Line<T> {
    fn default() -> Self {
        Self { waiting: 0, next: 0, tenants: VecDeque::new(), places: HashMap::new() }
    }
}

impl<T> Line<T> {
    /// How many wait.
    pub fn len(&self) -> usize {
        self.waiting
    }

    /// Whether nobody waits.
    pub fn is_empty(&self) -> bool {
        self.places.is_empty()
    }

    /// Goes to the end of a tenant's line; gives the number of the place.
    pub fn enter(&mut self, tenant: &Tenant, what: T) -> u64 {
        let number = self.next;
        self.next += 1;
        self.waiting += 1;
        if !self.places.contains_key(tenant) {
            self.tenants.push_back(tenant.clone());
        }
        self.places.entry(tenant.clone()).or_default().push_back((number, what));
        number
    }

    /// The first in line of the tenant whose turn is next, who then goes to the end.
    pub fn leave_first(&mut self) -> Option<(Tenant, T)> {
        let tenant = self.tenants.pop_front()?;
        let places = self.places.get_mut(&tenant)?;
        let (_, what) = places.pop_front()?;
        self.waiting -= 1;
        if places.is_empty() {
            self.places.remove(&tenant);
        } else {
            self.tenants.push_back(tenant.clone());
        }
        Some((tenant, what))
    }

    /// Leaves a place, if it is still there.
    pub fn leave(&mut self, tenant: &Tenant, number: u64) {
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
    pub fn make_room_for(&mut self, tenant: &Tenant) -> bool {
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
        // What waits there is dropped, which tells it.
        if self.places.get_mut(&largest).and_then(VecDeque::pop_back).is_some() {
            self.waiting -= 1;
        }
        true
    }
}
