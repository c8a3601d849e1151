//! The streams that a tenant writes to: a bound on their number keeps a label with a million
//! values from becoming a million streams.
//!
//! A stream counts for two to four hours after its last record ("active", as Loki counts), so a
//! tenant whose streams come and go is not locked out for ever. Two generations of hashes, swapped
//! every two hours, need no clock per stream.

use std::collections::{HashMap, HashSet};
use std::sync::{Mutex, PoisonError};
use timberlog_types::Tenant;

/// How long a generation of hashes lasts, in ns.
const GENERATION_NS: u64 = 2 * 3600 * 1_000_000_000;

#[derive(Default)]
struct Active {
    since_ns: u64,
    recent: HashSet<u64>,
    older: HashSet<u64>,
}

pub(crate) struct Streams {
    tenants: Mutex<HashMap<Tenant, Active>>,
    streams_max: usize,
}

impl Streams {
    pub(crate) fn new(streams_max: usize) -> Self {
        Self { tenants: Mutex::new(HashMap::new()), streams_max }
    }

    /// Whether a stream is active already, or may become so; it is then.
    pub(crate) fn admit(&self, tenant: &Tenant, hash: u64, now_ns: u64) -> bool {
        let mut tenants = self.tenants.lock().unwrap_or_else(PoisonError::into_inner);
        let active = match tenants.get_mut(tenant) {
            Some(active) => active,
            None => tenants.entry(tenant.clone()).or_insert(Active { since_ns: now_ns, ..Active::default() }),
        };
        if now_ns.saturating_sub(active.since_ns) >= GENERATION_NS {
            active.since_ns = now_ns;
            active.older = std::mem::take(&mut active.recent);
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

#[cfg(test)]
mod tests {
    use super::*;

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
