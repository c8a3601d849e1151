//! Retention: what it hides now, and what it removes with a commit.

use super::{Core, Storage};
use crate::hidden::Hidden;
use crate::manifest::Edit;
use crate::retention::{self, RetentionStatus};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use timberlog_types::{Result, Tenant};

/// How often the clock is written down though nothing else is committed.
const CLOCK_WRITTEN_EVERY_NS: i64 = 6 * 3600 * 1_000_000_000;

impl Storage {
    /// Records of a tenant before this time, in ns, are expired; `None` if they are kept for ever.
    /// Rules with a selector are not in it.
    pub fn retention_cutoff(&self, tenant: &Tenant) -> Option<i64> {
        self.core.rules.cutoff(tenant, self.core.clock_ns())
    }

    /// What nobody may see of a tenant's records now: what a snapshot that is taken now hides.
    pub fn hidden(&self, tenant: &Tenant) -> Arc<Hidden> {
        let clock_ns = self.core.clock_ns();
        self.core.read_view().hidden(tenant, &self.core.rules, clock_ns)
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
        self.core.change(Edit::default())?;
        self.core.compactor.look();
        Ok(())
    }
}

impl Core {
    /// Whether anything ever expires.
    pub(super) fn has_retention(&self) -> bool {
        !self.rules.is_empty() || self.options.retention_bytes.is_some()
    }

    /// Removes whole segments that are expired, or the oldest where there are too many bytes.
    pub(super) fn expire(&self) -> Result<()> {
        if !self.has_retention() || self.clock.paused().is_some() {
            return Ok(());
        }
        let clock_ns = self.clock_ns();
        // Until this comes to its end.
        let was_cut = self.compactor.is_history_cut.swap(false, Ordering::SeqCst);
        let mut is_removed = false;
        let state = || Arc::clone(self.read_view().state());
        let expired = retention::expired(&state(), &|tenant| self.rules.cutoff(tenant, clock_ns));
        if let Some(edit) = expired {
            self.change(edit)?;
            is_removed = true;
        }
        if let Some(edit) = self.options.retention_bytes.and_then(|max| retention::evicted(&state(), max)) {
            self.change(edit)?;
            is_removed = true;
        }
        let is_stale = clock_ns.saturating_sub(state().clock_ns) >= CLOCK_WRITTEN_EVERY_NS;
        // A process that was killed between a removal and the cut has left that to this one.
        let is_left = !was_cut && !state().is_damaged() && self.manifest.keeps_old_segments()?;
        if is_removed || is_left {
            // So that their files are gone, unless a snapshot or a backup holds them.
            self.change(Edit { cut_history: true, ..Edit::default() })?;
            self.manifest.collect()?;
        } else if is_stale {
            // A start after a quiet time must not look like a clock that jumped.
            self.change(Edit::default())?;
        }
        self.compactor.is_history_cut.store(true, Ordering::SeqCst);
        Ok(())
    }

    /// The clock of retention; without any it is the wall clock.
    pub(super) fn clock_ns(&self) -> i64 {
        if self.has_retention() { self.clock.now_ns() } else { self.env.clock.now_ns() }
    }
}
