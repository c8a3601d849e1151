//! Retention: what it hides now, and what it removes with a commit.

use super::Storage;
use crate::retention::RetentionStatus;
use timberlog_types::{Result, Tenant};

impl Storage {
    /// Records of a tenant before this time, in ns, are expired; `None` if they are kept for ever.
    /// Rules with a selector are not in it.
    pub fn retention_cutoff(&self, tenant: &Tenant) -> Option<i64> {
        let _ = tenant;
        None
    }

    /// What retention does now.
    pub fn retention_status(&self) -> RetentionStatus {
        RetentionStatus {
            rules: self.core.options.retention.clone(),
            bytes_max: self.core.options.retention_bytes,
            ..RetentionStatus::default()
        }
    }

    /// Says that the wall clock is right: what retention has put off goes on.
    ///
    /// # Errors
    /// `Closed` if nothing can be committed any more, `Unavailable` if the disk is full.
    pub fn confirm_retention(&self) -> Result<()> {
        Ok(())
    }
}
