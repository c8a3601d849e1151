//! What happens when the disk nears its limit: what can go goes, in an order, and only then new records
//! are refused, until there is room again.
//!
//! | free bytes | what happens |
//! |---|---|
//! | below twice the floor | caches of the object store go; then what retention lets go; then backups that hold back files are cancelled |
//! | below the floor | new records are refused |

use super::Core;
use std::sync::atomic::Ordering;
use timberlog_types::{Error, ErrorKind};

/// So many times the floor: below it room is made.
const NEAR: u64 = 2;

impl Core {
    /// Looks whether the disk has room for new records, and makes room where it can.
    pub(super) fn look_at_disk(&self) {
        let floor = self.options.disk_free_bytes_min;
        let mut free = self.free_bytes();
        let near = floor.saturating_mul(NEAR);
        if free < near {
            self.drop_copies(near - free);
            free = self.free_bytes();
        }
        if free < near {
            self.drop_expired();
            free = self.free_bytes();
        }
        if free < near {
            self.manifest.shed_pins();
            free = self.free_bytes();
        }
        let is_low = free < floor;
        if is_low != self.disk_is_low.swap(is_low, Ordering::Relaxed) {
            if is_low {
                tracing::error!("{}", self.disk_full());
            } else {
                tracing::info!("the disk has room again, new records are taken");
            }
        }
    }

    /// A disk that does not say how much room it has is full when a write says so.
    fn free_bytes(&self) -> u64 {
        self.env.disk.free_bytes(&self.options.data_dir).unwrap_or(u64::MAX)
    }

    /// Removes what is kept of the object store, about so many bytes; what was used longest ago goes first.
    fn drop_copies(&self, bytes: u64) {
        if let Some(cold) = &self.opener.cold {
            cold.shed(bytes);
        }
    }

    /// Removes at once what the configured retention lets go, unless a job of the compactor runs: that does it when it
    /// is done.
    fn drop_expired(&self) {
        if let Some(_no_job) = self.compactor.between_jobs() {
            // The compactor tries it, too, and says what is wrong.
            let _ = self.expire();
        }
    }

    pub(super) fn disk_full(&self) -> Error {
        let message = format!(
            "the disk of `{}` has less than {} bytes free: no new records are taken",
            self.options.data_dir.display(),
            self.options.disk_free_bytes_min
        );
        Error::new(ErrorKind::Unavailable, message)
    }
}
