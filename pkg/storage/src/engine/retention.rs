//! Retention: what it hides now, and what it removes with a commit.

use super::{Core, Storage};
use crate::manifest::Edit;
use crate::retention::RetentionStatus;
use timberlog_types::{Result, Tenant};

impl Storage {
    /// Records of a tenant before this time, in ns, are expired; `None` if they are kept for ever.
    /// Rules with a selector are not in it.
    pub fn retention_cutoff(&self, tenant: &Tenant) -> Option<i64> {
        self.core.rules.cutoff(tenant, self.core.clock_ns())
    }

    /// What retention does now.
    pub fn retention_status(&self) -> RetentionStatus {
        let core = &self.core;
        let view = core.read_view();
        let files = view.state().segments().flat_map(|(_, _, entry)| entry.files());
        RetentionStatus {
            rules: core.options.retention.clone(),
            bytes_max: core.options.retention_bytes,
            bytes: files.map(|file| file.len).sum(),
            clock_ns: core.clock_ns(),
            paused: core.has_retention().then(|| core.clock.paused()).flatten(),
        }
    }

    /// Says that the wall clock is right: what retention has put off goes on.
    ///
    /// # Errors
    /// `Closed` if nothing can be committed any more, `Unavailable` if the disk is full: then it is
    /// forgotten at the next start.
    pub fn confirm_retention(&self) -> Result<()> {
        self.core.clock.confirm();
        let edit = Edit { clock_ns: Some(self.core.clock_ns()), ..Edit::default() };
        let state = self.core.manifest.commit(edit)?;
        self.core.install(state)?;
        self.core.compactor.look();
        Ok(())
    }
}

impl Core {
    /// Whether anything ever expires.
    pub(super) fn has_retention(&self) -> bool {
        !self.rules.is_empty() || self.options.retention_bytes.is_some()
    }

    /// The clock of retention; without any it is the wall clock.
    pub(super) fn clock_ns(&self) -> i64 {
        if self.has_retention() { self.clock.now_ns() } else { self.env.clock.now_ns() }
    }
}
