//! Deletes and retention on the files: what is hidden is removed, what is expired goes, and a delete
//! of which nothing is left ends. All of it between two jobs of the compactor, never during one.

use super::compactor::{Memory, Pace};
use super::{Core, lock};
use crate::compaction::Compacted;
use crate::compaction::inputs::Failed;
use crate::compaction::purge::{self, Due, DueOf, Purge, Why};
use crate::deletes::{DeletesEdit, Tombstone};
use crate::manifest::{Edit, SegmentEntry, State};
use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use timberlog_types::{Error, ErrorKind, Result, Seq, Tenant};

impl Core {
    /// Ends the deletes of which nothing is left, and cuts the kept history: the files that had their
    /// records are gone then, unless a snapshot or a backup holds them.
    pub(super) fn finish_deletes(&self, memory: &mut Memory) -> Result<()> {
        let _no_cancel = lock(&self.purging);
        let (state, live) = {
            let view = self.read_view();
            let committed = view.deletes().iter().filter(|delete| delete.is_committed);
            let live: Vec<Tombstone> = committed.map(|delete| delete.tombstone.clone()).collect();
            (Arc::clone(view.state()), live)
        };
        if state.is_damaged() {
            // What cannot be reached may come back.
            return Ok(());
        }
        let is_left = |delete: &Tombstone| {
            let partitions = state.partitions(&delete.tenant, delete.range);
            partitions.flat_map(|(_, partition)| &partition.segments).any(|entry| delete.touches(entry))
        };
        let ended = live.into_iter().filter(|delete| delete.seq <= state.flushed_seq && !is_left(delete));
        let finish: Vec<String> = ended.map(|delete| delete.id).collect();
        drop(state);
        if finish.is_empty() {
            return Ok(());
        }
        let deletes = DeletesEdit { finish, now_ns: self.env.clock.now_ns(), ..DeletesEdit::default() };
        self.change(Edit { deletes, cut_history: true, ..Edit::default() })?;
        memory.has_purged = false;
        self.manifest.collect().map(drop)
    }

    /// Cuts the kept history when a purge has removed rows and no delete has ended by it.
    pub(super) fn cut_history(&self, memory: &mut Memory) -> Result<()> {
        if !memory.has_purged || self.read_view().state().is_damaged() {
            return Ok(());
        }
        self.change(Edit { cut_history: true, ..Edit::default() })?;
        memory.has_purged = false;
        self.manifest.collect().map(drop)
    }

    /// What has to leave the files, of each tenant.
    fn due(&self) -> (Arc<State>, Vec<DueOf>) {
        let clock_ns = self.clock_ns();
        let period = i64::try_from(self.options.delete_cancel_period.as_nanos()).unwrap_or(i64::MAX);
        // Without a time for cancellations none is young, also where the clock was set back since it was asked for.
        let old_enough = if period == 0 { i64::MAX } else { self.env.clock.now_ns().saturating_sub(period) };
        let view = self.read_view();
        let state = Arc::clone(view.state());
        let mut of: BTreeMap<&Tenant, (Vec<Due>, Seq, bool)> = BTreeMap::new();
        for delete in view.deletes().iter() {
            let (due, upto, has_young) = of.entry(&delete.tombstone.tenant).or_default();
            // All deletes up to a number, or what was applied could not be said by that number.
            *has_young |= !delete.is_committed || delete.tombstone.created_ns > old_enough;
            if !*has_young {
                *upto = delete.tombstone.seq;
                due.push(Due { hide: Arc::clone(&delete.hide), why: Why::Delete(delete.tombstone.id.clone()) });
            }
        }
        let is_paused = self.rules.is_empty() || self.clock.paused().is_some();
        for tenant in state.tenants.keys().filter(|_| !is_paused) {
            let rules = self.rules.hides(tenant, clock_ns);
            let due = rules.map(|(place, hide)| Due { hide, why: Why::Rule(place) });
            of.entry(tenant).or_default().0.extend(due);
        }
        let due = of.into_iter().filter(|(_, (due, ..))| !due.is_empty());
        let due = due.map(|(tenant, (due, upto, _))| DueOf { tenant: tenant.clone(), due, upto }).collect();
        (state, due)
    }

    /// Looks through segments for rows that have to leave the files, if there are any to look through.
    pub(super) fn purge_once(&self, pace: Pace, memory: &mut Memory) -> Result<Option<Compacted>> {
        let (state, due) = self.due();
        if due.is_empty() {
            return Ok(None);
        }
        let planned = {
            let may_touch = memory.may_touch(self.env.clock.monotonic_ns());
            purge::plan(&state, &due, &memory.applied, &self.options, &may_touch)
        };
        let Some(purge) = planned else { return Ok(None) };
        let started = self.env.clock.monotonic_ns();
        match self.purge(&purge, pace, memory) {
            Ok(compacted) => {
                drop(state);
                self.manifest.collect()?;
                memory.note_applied(&purge);
                memory.has_purged |= compacted.rows_removed > 0;
                self.count(&compacted, self.env.clock.monotonic_ns().saturating_sub(started));
                Ok(Some(compacted))
            }
            Err(error) => {
                self.note_failure((&purge.tenant, purge.day), &error, memory);
                Err(error)
            }
        }
    }

    fn purge(&self, purge: &Purge, pace: Pace, memory: &mut Memory) -> Result<Compacted> {
        self.manifest.check_alive()?;
        self.check_room(&purge.inputs)?;
        let mut files = Vec::new();
        let due = AtomicU64::new(0);
        let pace = |bytes: u64| self.pace(pace, bytes, &due);
        let now_ns = self.env.clock.now_ns();
        // What is in the object store only is read from there.
        let open = |entry: &Arc<SegmentEntry>| crate::segment::open_log(&self.opener, entry);
        let what = (purge, &memory.applied);
        let mut run = || {
            let run = || purge::run(&self.env, &self.options, &open, what, now_ns, &pace, &mut files);
            // A defect must not end the thread, nor leave the lock poisoned.
            catch_unwind(AssertUnwindSafe(run))
                .unwrap_or_else(|_| Err(Error::internal("a purge panicked; see the log").into()))
        };
        let made = match run() {
            // What is cached of the object store is not synced: it is read once more, and then it is damaged.
            Err(failed) if self.forget_cached(purge, &failed) => run(),
            made => made,
        };
        let made = made.map_err(|failed| self.leave_alone(failed, memory));
        let committed = made.and_then(|(purged, compacted)| {
            let _no_cancel = lock(&self.purging);
            self.check_live(purge)?;
            if !purged.remove.is_empty() || !purged.raise.is_empty() {
                self.change(purged)?;
            }
            Ok(compacted)
        });
        if let Err(error) = &committed {
            self.remove_unnamed(error, files);
        }
        committed
    }

    /// Whether an input was found damaged that may be whole in the object store. What is cached of it is forgotten, and of
    /// the others: what damaged one of them was hardly choosy.
    fn forget_cached(&self, purge: &Purge, failed: &Failed) -> bool {
        failed.error.kind == ErrorKind::Corrupt
            && purge.inputs.iter().fold(false, |found, entry| {
                let is_cached = crate::segment::forget_cached(&self.opener, entry);
                found || (is_cached && Some(&entry.id) == failed.input.as_ref())
            })
    }

    /// # Errors
    /// `Unavailable` if a delete was cancelled meanwhile.
    fn check_live(&self, purge: &Purge) -> Result<()> {
        let view = self.read_view();
        for due in &purge.due {
            if let Why::Delete(id) = &due.why
                && !view.deletes().of(&purge.tenant).any(|delete| delete.tombstone.id == *id)
            {
                let message = format!("delete `{id}` was cancelled while its records were being removed; none was");
                return Err(Error::new(ErrorKind::Unavailable, message));
            }
        }
        Ok(())
    }
}
