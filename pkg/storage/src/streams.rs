//! The streams that a tenant writes to: a bound on their number keeps a label with a million
//! values from becoming a million streams.
//!
//! A stream counts for two to four hours after its last record ("active", as Loki counts), so a
//! tenant whose streams come and go is not locked out for ever. Two generations of hashes, swapped
//! every two hours, need no clock per stream.

use std::collections::{HashMap, HashSet};
use std::sync::{Mutex, PoisonError};
use timberlog_types::Tenant;

/// Tenants are looked through for silent ones whenever their number has doubled from this.
const TENANTS_LOOKED_THROUGH_MIN: usize = 1024;
/// How long a generation of hashes lasts, in ns.
const GENERATION_NS: u64 = 2 * 3600 * 1_000_000_000;

#[derive(Default)]
struct Active {
    since_ns: u64,
    recent: HashSet<u64>,
    older: HashSet<u64>,
}

#[derive(Default)]
struct Tenants {
    active: HashMap<Tenant, Active>,
    /// How many there were when silent ones were last forgotten.
    lively: usize,
}

pub(crate) struct Streams {
    tenants: Mutex<Tenants>,
    streams_max: usize,
}

impl Streams {
    pub(crate) fn new(streams_max: usize) -> Self {
        Self { tenants: Mutex::default(), streams_max }
    }

    /// Whether a stream is active already, or may become so; it is then.
    pub(crate) fn admit(&self, tenant: &Tenant, hash: u64, now_ns: u64) -> bool {
        let mut tenants = self.tenants.lock().unwrap_or_else(PoisonError::into_inner);
        if !tenants.active.contains_key(tenant) {
            tenants.add(tenant, now_ns);
        }
        let Some(active) = tenants.active.get_mut(tenant) else { return false };
        let age_ns = now_ns.saturating_sub(active.since_ns);
        if age_ns >= GENERATION_NS {
            active.since_ns = now_ns;
            active.older = std::mem::take(&mut active.recent);
            if age_ns >= 2 * GENERATION_NS {
                active.older.clear();
            }
        }
        if active.recent.contains(&hash) {
            return true;
        }
        if !active.older.remove(&hash) && active.recent.len() + active.older.len() >= self.streams_max {
            return false;
        }
        active.recent.insert(hash);
        true
    }
}

impl Tenants {
    /// Adds a tenant; now and then forgets those whose streams have all fallen silent, so that
    /// made-up tenants do not add up.
    fn add(&mut self, tenant: &Tenant, now_ns: u64) {
        if self.active.len() >= TENANTS_LOOKED_THROUGH_MIN.max(2 * self.lively) {
            self.active.retain(|_, active| now_ns.saturating_sub(active.since_ns) < 2 * GENERATION_NS);
            self.lively = self.active.len();
        }
        self.active.insert(tenant.clone(), Active { since_ns: now_ns, ..Active::default() });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tenants_that_fell_silent_are_forgotten() {
        let streams = Streams::new(1);
        for number in 0..10 * TENANTS_LOOKED_THROUGH_MIN {
            let now_ns = number as u64 * GENERATION_NS / 512;
            assert!(streams.admit(&Tenant::new(&format!("t{number}")).unwrap(), 1, now_ns));
        }
        let known = streams.tenants.lock().unwrap().active.len();
        assert!(known <= 4 * TENANTS_LOOKED_THROUGH_MIN, "{known}");
    }

    #[test]
    fn streams_silent_for_long_make_room_at_once() {
        let streams = Streams::new(1);
        let tenant = Tenant::default();
        assert!(streams.admit(&tenant, 1, 0));
        assert!(streams.admit(&tenant, 2, 10 * GENERATION_NS));
    }

    #[test]
    fn new_streams_are_refused_at_the_bound_and_admitted_when_old_ones_fall_silent() {
        let streams = Streams::new(2);
        let (a, b) = (Tenant::default(), Tenant::new("b").unwrap());
        assert!(streams.admit(&a, 1, 0) && streams.admit(&a, 2, 0) && streams.admit(&a, 1, 0));
        assert!(!streams.admit(&a, 3, 0));
        assert!(streams.admit(&b, 3, 0));
        assert!(streams.admit(&a, 2, GENERATION_NS));
        assert!(!streams.admit(&a, 3, GENERATION_NS));
        assert!(streams.admit(&a, 3, 2 * GENERATION_NS), "stream 1 was silent for two generations");
        assert!(streams.admit(&a, 2, 2 * GENERATION_NS));
    }
}
