//! Deletes: taken in, published in the order of the WAL, committed, answered; listed and cancelled.

use super::{Core, Storage, closed, lock};
use crate::build::segment_id;
use crate::deletes::list::{End, LIVE_MAX};
use crate::deletes::{DeleteState, DeleteStatus, DeletesEdit, Logged, Tombstone, What, check_range};
use crate::manifest::Edit;
use crate::wal::{self, Wal};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use timberlog_types::{Error, ErrorKind, Result, Seq, Tenant, TimeRange};

impl Storage {
    /// Deletes what a selector names of a tenant's records within a range (both ends included), of
    /// all that arrived before. When this returns, no answer shows these records any more, whatever
    /// happens to the process; compaction removes them from the files.
    ///
    /// # Errors
    /// `Invalid` if the selector is refused or the range empty, `Overloaded` if there are too many
    /// deletes that are not processed, `Unavailable` and `Closed` as for an append: the delete may
    /// have come about all the same then.
    pub fn delete(&self, tenant: &Tenant, selector: &str, range: TimeRange) -> Result<Tombstone> {
        let core = &self.core;
        if core.closed.load(Ordering::SeqCst) {
            return Err(closed());
        }
        core.check_writable()?;
        let compiled = core.options.selectors.compile(selector)?;
        check_range(range)?;
        if core.read_view().deletes().len() >= LIVE_MAX {
            let retry_after = Duration::from_secs(60);
            let message = format!("{LIVE_MAX} deletes are not processed yet");
            return Err(Error::new(ErrorKind::Overloaded { retry_after }, message));
        }
        let (id, created_ns) = (segment_id(&core.env), core.env.clock.now_ns());
        let selector = selector.to_owned();
        let what = What::Delete { id, selector, start: range.start, end: range.end, created_ns };
        let seq = core.log(tenant, Logged::new(what.clone(), Some(compiled))?)?;
        core.commit_deletes()?;
        core.compactor.look();
        what.tombstone(tenant, seq).ok_or_else(|| Error::internal("a delete that is none"))
    }

    /// The deletes of a tenant, oldest first; processed ones for seven days. Cancelled ones are not
    /// listed.
    pub fn deletes(&self, tenant: &Tenant) -> Vec<DeleteStatus> {
        let view = self.core.read_view();
        let committed = view.state().deletes.entries.iter().filter(|entry| entry.tombstone.tenant == *tenant);
        let committed = committed.filter(|entry| {
            !matches!(entry.ended, Some((End::Cancelled, _))) && !view.deletes().is_cancelled(&entry.tombstone.id)
        });
        let new = view.deletes().of(tenant).filter(|delete| !delete.is_committed).map(|delete| DeleteStatus {
            tombstone: delete.tombstone.clone(),
            state: DeleteState::Received,
            rows_removed: 0,
            processed_ns: None,
        });
        committed.map(|entry| entry.status()).chain(new).collect()
    }

    /// Cancels a delete: its records are back. When this returns, they stay.
    ///
    /// # Errors
    /// `NotFound` if there is no such delete, `Conflict` if records were removed because of it or it
    /// is processed; `Closed` if a commit failed before, and it is not known what it removed.
    pub fn cancel_delete(&self, tenant: &Tenant, id: &str) -> Result<()> {
        // No purge is committed from the look at the delete until the commit.
        let _no_purge = lock(&self.core.purging);
        // A purge whose commit failed may have removed records all the same: the next start knows.
        self.core.manifest.check_alive()?;
        let found = self.deletes(tenant).into_iter().find(|delete| delete.tombstone.id == id);
        let Some(DeleteStatus { state, rows_removed, .. }) = found else {
            return Err(Error::new(ErrorKind::NotFound, format!("tenant `{tenant}` has no delete `{id}`")));
        };
        if state == DeleteState::Processed || rows_removed > 0 {
            let message = format!("delete `{id}` has removed {rows_removed} records and cannot be cancelled");
            return Err(Error::new(ErrorKind::Conflict, message));
        }
        self.core.log(tenant, Logged::new(What::Cancel { id: id.to_owned() }, None)?)?;
        self.core.commit_deletes()
    }
}

impl Core {
    /// Writes a frame and waits until it is published.
    fn log(&self, tenant: &Tenant, logged: Logged) -> Result<Seq> {
        let (sender, receiver) = crossbeam_channel::bounded(1);
        let wal = self.wal.get().ok_or_else(closed)?;
        let (tenant, body) = (tenant.clone(), wal::Body::Delete(Arc::new(logged)));
        let done = Box::new(move |result| drop(sender.send(result)));
        wal.append(wal::Append { tenant, body, producer: None, done })?;
        if !self.options.background {
            wal.step();
        }
        receiver.recv().unwrap_or_else(|_| Err(closed()))
    }

    /// Makes a delete, or its cancellation, effective.
    pub(super) fn publish_delete(&self, frame: &wal::Frame, logged: &Logged) -> Result<()> {
        let mut view = self.view.write();
        view.publish_delete(frame.seq, &frame.tenant, logged, &self.options.selectors)?;
        drop(view);
        self.signal.flush();
        Ok(())
    }

    /// What the manifest does not say of deletes whose frames are on disk.
    pub(super) fn uncommitted_deletes(&self) -> DeletesEdit {
        // While the WAL is replayed it has no writer yet, and what was read is on disk.
        let synced_seq = self.wal.get().map_or(Seq::MAX, Wal::synced_seq);
        let (add, cancel) = self.read_view().deletes().uncommitted(synced_seq);
        DeletesEdit { add, cancel, now_ns: self.env.clock.now_ns(), ..DeletesEdit::default() }
    }

    /// Commits what the manifest does not say of deletes.
    pub(super) fn commit_deletes(&self) -> Result<()> {
        let until = self.read_view().deletes().uncommitted_seq();
        if until == 0 {
            return Ok(());
        }
        if let Some(wal) = self.wal.get().filter(|wal| wal.synced_seq() < until) {
            wal.sync()?;
        }
        self.change(Edit { deletes: self.uncommitted_deletes(), ..Edit::default() })
    }
}
