//! How much of request bodies may be in memory, and how much of that may be one tenant's.
//!
//! The more of the room is taken, the less of it a tenant with several requests may have: whoever floods leaves some for
//! others. One request alone may have all of it.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use timberlog_types::{Error, ErrorKind, Tenant};

/// When to come back if there is no room.
const RETRY_AFTER: Duration = Duration::from_secs(1);
/// A tenant's requests may hold so many times what is left for all.
const SHARE_OF_FREE: usize = 8;

/// The room for bodies.
pub struct Room {
    bytes_max: usize,
    used: Mutex<Used>,
}

/// Bytes that are in memory.
#[derive(Default)]
struct Used {
    total: usize,
    tenants: HashMap<Tenant, usize>,
}

impl Room {
    /// So many bytes.
    pub fn new(bytes_max: usize) -> Self {
        Self { bytes_max, used: Mutex::default() }
    }

    /// Bytes of bodies in memory.
    pub fn used_bytes(&self) -> usize {
        self.lock().total
    }

    /// Counts more bytes of a request that has `had` so far, before they are there.
    ///
    /// # Errors
    /// `Overloaded` if there is no room; nothing is counted then.
    pub fn take(&self, tenant: &Tenant, had: usize, more: usize) -> Result<(), Error> {
        if more == 0 {
            return Ok(());
        }
        let mut used = self.lock();
        let own = used.tenants.get(tenant).copied().unwrap_or(0);
        let (total, wanted) = (used.total.saturating_add(more), own.saturating_add(more));
        let refused = |whose: &str, most: usize| {
            let message = format!(
                "the bodies of all requests {whose} under way have more than {most} bytes (limit `bodies_bytes_max`)"
            );
            Err(Error::new(ErrorKind::Overloaded { retry_after: RETRY_AFTER }, message))
        };
        let Some(free) = self.bytes_max.checked_sub(total) else { return refused("that are", self.bytes_max) };
        let share = free.saturating_mul(SHARE_OF_FREE);
        if own > had && wanted > share {
            return refused(&format!("of tenant `{tenant}` that are"), share);
        }
        used.total = total;
        match used.tenants.get_mut(tenant) {
            Some(own) => *own = wanted,
            None => drop(used.tenants.insert(tenant.clone(), wanted)),
        }
        Ok(())
    }

    /// Takes bytes of a tenant off the account.
    pub fn give(&self, tenant: &Tenant, bytes: usize) {
        let mut used = self.lock();
        used.total = used.total.saturating_sub(bytes);
        if let Some(own) = used.tenants.get_mut(tenant) {
            *own = own.saturating_sub(bytes);
            if *own == 0 {
                used.tenants.remove(tenant);
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Used> {
        self.used.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tenant(name: &str) -> Tenant {
        Tenant::new(name).unwrap()
    }

    /// A request of so many bytes.
    fn request(room: &Room, tenant: &Tenant, bytes: usize) -> Result<(), Error> {
        room.take(tenant, 0, bytes)
    }

    #[test]
    fn one_request_may_have_all_and_no_more() {
        let (room, a) = (Room::new(900), tenant("a"));
        for had in (0..900).step_by(100) {
            room.take(&a, had, 100).unwrap();
        }
        assert!(room.take(&a, 900, 1).is_err());
        assert_eq!(room.used_bytes(), 900);
        room.give(&a, 900);
        assert_eq!((room.used_bytes(), room.lock().tenants.len()), (0, 0));
        request(&room, &a, 900).unwrap();
    }

    #[test]
    fn who_floods_leaves_room_for_others() {
        let (room, flood, other) = (Room::new(900), tenant("flood"), tenant("other"));
        let mut held = 0;
        while request(&room, &flood, 10).is_ok() {
            held += 10;
        }
        assert_eq!(held, 800);
        let error = request(&room, &flood, 10).unwrap_err();
        assert!(error.message.contains("tenant `flood`") && error.message.contains("bodies_bytes_max"), "{error}");
        request(&room, &other, 90).unwrap();
        // Nor does a request that is under way grow on and on.
        assert!(room.take(&flood, 10, 10).is_err());
        room.give(&flood, 800);
        assert_eq!(room.used_bytes(), 90);
    }

    #[test]
    fn many_that_flood_leave_some_room_too() {
        let room = Room::new(10_000);
        let floods: Vec<Tenant> = (0..5).map(|number| tenant(&format!("flood-{number}"))).collect();
        for flood in &floods {
            while request(&room, flood, 10).is_ok() {}
        }
        // Their requests end and others come: what the first ones had is shared then.
        for flood in floods.iter().cycle().take(5_000) {
            let own = room.lock().tenants.get(flood).copied().unwrap_or(0);
            room.give(flood, own.min(10));
            while request(&room, flood, 10).is_ok() {}
        }
        request(&room, &tenant("other"), 100).unwrap();
    }
}
