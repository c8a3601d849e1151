//! Compaction within a history, and what must hold where it has nothing to do.

use super::{History, Listening};
use crate::machine::Process;
use timberlog_storage::{Compacted, DeleteState, Storage};
use timberlog_types::{Result as Answer, Seq};

/// Jobs after which compaction has nothing left to do, of a history's few hundred segments.
const JOBS_MAX: u64 = 2_000;

impl History {
    /// Compacts until nothing is left to do, which has to come: a job that changes nothing must not be due again.
    pub(super) fn settle(&mut self, storage: &Storage, process: &Process) -> Result<(), String> {
        self.flush(storage, process)?;
        // It may have let appends in that waited for room.
        self.listen(Listening::Alive)?;
        let mut jobs = 0;
        while self.compact_once(storage, process)?.map_err(|error| format!("compaction in the end: {error}"))?.is_some()
        {
            jobs += 1;
            if jobs == JOBS_MAX {
                return Err(format!("compaction has not come to an end after {jobs} jobs"));
            }
        }
        self.tell(|| format!("settled by {jobs} jobs"));
        self.check_processed(storage)?;
        self.check_indexes(storage)?;
        self.look(storage, process)
    }

    /// Merges segments, if any are due.
    pub(super) fn compact(&mut self, storage: &Storage, process: &Process) -> Result<(), String> {
        // Whether rows were removed, and nothing merged since: only merges leave files to kept roots.
        let mut is_cut = false;
        for _ in 0..1 + self.rng.below(7) {
            let processed = self.processed(storage);
            let segments = storage.stats().segments;
            let compacted = self.compact_once(storage, process)?;
            self.tell(|| format!("compact: {compacted:?}"));
            let ended = self.processed(storage).saturating_sub(processed);
            self.report.count("deletes processed", ended);
            match compacted {
                Ok(Some(compacted)) => {
                    self.report.count("compactions", 1);
                    self.report.count("records removed", compacted.rows_removed);
                    is_cut = compacted.rows_removed > 0 || (is_cut && compacted.bytes_written == 0);
                }
                Ok(None) => {
                    let expired = segments.saturating_sub(storage.stats().segments);
                    self.report.count("segments expired", expired);
                    if process.is_dead() {
                        return Ok(());
                    }
                    let checked = self.check_files(storage, is_cut || ended > 0 || expired > 0);
                    let checked = checked.and_then(|()| self.check_indexes(storage));
                    let checked = checked.and_then(|()| self.check_processed(storage));
                    let checked = checked.and_then(|()| self.check_rule(storage));
                    // Whoever is killed while it is looked at cannot be read.
                    return if process.is_dead() { Ok(()) } else { checked };
                }
                Err(_) if process.is_dead() || self.is_faulty => {
                    self.report.count("compactions that failed", 1);
                    // Whatever it had made or removed: what is shown is still the same.
                    if !process.is_dead() {
                        self.look(storage, process)?;
                    }
                }
                Err(error) => return Err(format!("compaction failed: {error}")),
            }
        }
        Ok(())
    }

    /// One job; what a limit on bytes removes goes before it.
    fn compact_once(&mut self, storage: &Storage, process: &Process) -> Result<Answer<Option<Compacted>>, String> {
        let due = self.model.deletes.evictions.due(storage, &self.tenants);
        let compacted = storage.compact();
        let is_done = compacted.is_ok() && !process.is_dead();
        if !due.is_empty() {
            self.tell(|| format!("over the limit on bytes: {due:?}"));
            self.report.count("segments evicted", if is_done { due.len() as u64 } else { 0 });
        }
        self.model.deletes.evictions.note(due, is_done, storage, &self.tenants)?;
        Ok(compacted)
    }

    fn check_rule(&self, storage: &Storage) -> Result<(), String> {
        if self.is_faulty {
            return Ok(());
        }
        self.model.deletes.check_rule(storage, &self.tenants).map_err(|error| format!("read failed: {error}"))?
    }

    pub(super) fn processed(&self, storage: &Storage) -> u64 {
        let of = |tenant| storage.deletes(tenant);
        let all = self.tenants.iter().flat_map(of);
        all.filter(|status| status.state == DeleteState::Processed).count() as u64
    }

    /// When the last delete has ended, or something has expired, only the files of segments are left.
    pub(super) fn check_files(&self, storage: &Storage, has_ended: bool) -> Result<(), String> {
        let is_live = |tenant| storage.deletes(tenant).iter().any(|status| status.state == DeleteState::Received);
        // What is only in the object store has no file here, and a backup that was cut off holds files until its pin ends.
        let is_elsewhere = self.shelf.is_some() || self.backups.is_some() || self.holds_snapshots;
        if !has_ended || self.is_faulty || is_elsewhere || self.tenants.iter().any(is_live) {
            return Ok(());
        }
        let files = self.sim.disk.files();
        let logs = files.iter().filter(|(path, _)| path.extension().is_some_and(|end| end == "log")).count() as u64;
        let segments = storage.stats().segments;
        if logs == segments { Ok(()) } else { Err(format!("{logs} files of {segments} segments behind a purge")) }
    }

    /// Where compaction has nothing to do, local segments of days that are over have every index that is declared.
    pub(super) fn check_indexes(&self, storage: &Storage) -> Result<(), String> {
        use timberlog_disk::Clock;
        let now_ns = self.sim.clock.now_ns();
        for segment in
            self.tenants.iter().flat_map(|tenant| storage.snapshot(tenant).segments.iter().cloned().collect::<Vec<_>>())
        {
            if self.is_faulty || segment.day.range().end >= now_ns || segment.entry.location.is_stored() {
                continue;
            }
            let files = segment.open().map_err(|error| format!("read failed: {error}"))?;
            let index = files.index.as_ref().and_then(|index| index.as_ref().ok());
            let present: Vec<&str> = index.iter().flat_map(|index| index.user_indexes()).collect();
            if let Some(name) = self.options.user_indexes.iter().find(|name| !present.contains(&name.as_str())) {
                return Err(format!(
                    "segment {} has no index of `{name}`, and compaction has nothing to do",
                    segment.entry.id
                ));
            }
        }
        Ok(())
    }

    /// Where compaction has nothing to do, no delete waits for it.
    pub(super) fn check_processed(&self, storage: &Storage) -> Result<(), String> {
        let stats = storage.stats();
        let waiting = self.tenants.iter().flat_map(|tenant| storage.deletes(tenant));
        let waiting: Vec<Seq> =
            waiting.filter(|status| status.state == DeleteState::Received).map(|status| status.tombstone.seq).collect();
        let late = waiting.iter().find(|seq| **seq <= stats.flushed_seq);
        match late.filter(|_| !self.is_faulty && self.options.delete_cancel_period.is_zero()) {
            Some(seq) => Err(format!("delete {seq} is not processed, and compaction has nothing to do")),
            None => Ok(()),
        }
    }
}
