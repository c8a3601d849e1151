//! The compactor: the thread that runs compaction jobs, one at a time, at low priority, within its
//! bytes a second, and the commit of what they make.

use super::wake::Wake;
use super::{Core, lock};
use crate::compaction::execute;
use crate::compaction::inputs::Failed;
use crate::compaction::plan::{self, Job, Plan};
use crate::compaction::purge::{Applied, Purge};
use crate::compaction::reindex::{self, Known};
use crate::compaction::{Compacted, CompactionStats};
use crate::manifest::{SegmentEntry, State};
use std::collections::{HashMap, HashSet};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;
use timberlog_disk::real::{Niceness, lower_thread_priority};
use timberlog_types::{Day, Error, ErrorKind, Result, Tenant};

/// How often the thread looks at the manifest though no flush told it to: days end.
const LOOK_EVERY: Duration = Duration::from_secs(60);
/// How long a job that failed, and its partition, rest at first, and at most; doubled each time.
const RETRY: std::ops::RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_secs(300);
/// Segments of which is remembered that rules of retention were applied, at most.
const APPLIED_MAX: usize = 1 << 18;
/// How long a job rests at each step while flushes fall behind: it goes on, but leaves them the machine.
const TIGHT_REST: Duration = Duration::from_millis(100);
/// Waits for bytes a second that are shorter than this are put off.
const PACE_WAIT_MIN: Duration = Duration::from_millis(20);

/// What the compactor knows and is told.
#[derive(Default)]
pub(super) struct Compactor {
    /// Held by the one job that runs.
    running: Mutex<Memory>,
    pub(super) wake: Wake,
    paused: AtomicBool,
    /// Whether the kept history was cut behind the last removal of retention: not known of an earlier process, nor when
    /// a commit failed.
    pub(super) is_history_cut: AtomicBool,
    counters: Counters,
}

/// What is remembered between jobs.
#[derive(Default)]
pub(super) struct Memory {
    /// Segments that are damaged.
    left_alone: HashSet<String>,
    /// Partitions whose job failed: until when they rest, in monotonic ns.
    resting: HashMap<(Tenant, Day), u64>,
    /// Jobs that failed since the last one that did not.
    failures: u32,
    /// Rules of retention that segments were looked through for.
    pub(super) applied: Applied,
    /// Whether segments lack an index that is declared.
    indexed: Known,
    /// Rows were removed, and kept roots name the files that had them.
    pub(super) has_purged: bool,
}

impl Memory {
    /// Whether a segment may be read and replaced, at a monotonic time.
    pub(super) fn may_touch(&self, now_ns: u64) -> impl Fn(&Tenant, Day, &SegmentEntry) -> bool {
        move |tenant, day, entry| {
            let rests = |until: &u64| *until > now_ns;
            (self.resting.is_empty() || !self.resting.get(&(tenant.clone(), day)).is_some_and(rests))
                && !self.left_alone.contains(&entry.id)
        }
    }

    /// Notes that segments were looked through for rules of retention.
    pub(super) fn note_applied(&mut self, purge: &Purge) {
        if self.applied.len() >= APPLIED_MAX {
            self.applied.clear();
        }
        for entry in &purge.inputs {
            let bits = purge.rules_of(entry);
            if bits != 0 {
                *self.applied.entry(entry.id.clone()).or_default() |= bits;
            }
        }
    }
}

#[derive(Default)]
struct Counters {
    jobs: AtomicU64,
    jobs_failed: AtomicU64,
    segments_merged: AtomicU64,
    records: AtomicU64,
    rows_removed: AtomicU64,
    bytes_read: AtomicU64,
    bytes_written: AtomicU64,
    ns: AtomicU64,
    segments_waiting: AtomicU64,
    segments_left_alone: AtomicU64,
    last_error: Mutex<Option<String>>,
}

/// How fast a job may go.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Pace {
    /// Within the bytes a second.
    Limited,
    /// As fast as it can.
    Free,
}

impl Compactor {
    /// Something was committed: there may be something to merge.
    pub(super) fn look(&self) {
        self.wake.look();
    }

    /// Held while no job runs, so that the inputs of none are taken away; `None` while one does.
    pub(super) fn between_jobs(&self) -> Option<MutexGuard<'_, Memory>> {
        self.running.try_lock().ok()
    }

    pub(super) fn pause(&self) {
        self.paused.store(true, Ordering::SeqCst);
    }

    pub(super) fn resume(&self) {
        self.paused.store(false, Ordering::SeqCst);
        self.look();
    }
}

impl Core {
    /// The compactor's thread.
    pub(super) fn run_compactor(self: &Arc<Self>) {
        lower_thread_priority(Niceness::Background);
        let (mut wait, mut retry) = (Duration::ZERO, *RETRY.start());
        while !self.compactor.wake.wait_for_work(wait) {
            wait = LOOK_EVERY;
            // What readers held when it was removed goes now. Where nothing can be committed any more, it stays.
            let _ = self.manifest.collect();
            // A pause is one of merges: what is expired goes all the same.
            if self.compactor.paused.load(Ordering::SeqCst)
                && let Err(error) = self.compact_once(Pace::Limited, false)
            {
                tracing::warn!(%error, "what is expired could not be removed; trying again later");
            }
            while !self.compactor.paused.load(Ordering::SeqCst) {
                match self.compact_once(Pace::Limited, self.options.compaction.enabled) {
                    Ok(Some(_)) => retry = *RETRY.start(),
                    Ok(None) => break,
                    Err(error) if error.kind == ErrorKind::Closed => break,
                    Err(error) => {
                        tracing::warn!(%error, "compaction failed, nothing has changed; trying again later");
                        wait = retry;
                        retry = retry.saturating_mul(2).min(*RETRY.end());
                        break;
                    }
                }
            }
        }
    }

    /// Runs the job that is due, if there is one.
    pub(super) fn compact_once(self: &Arc<Self>, pace: Pace, is_enabled: bool) -> Result<Option<Compacted>> {
        let mut memory = lock(&self.compactor.running);
        self.compactor.wake.check_going()?;
        self.expire()?;
        if !is_enabled {
            return Ok(None);
        }
        self.finish_deletes(&mut memory)?;
        // What cannot be purged (an object store may be away) does not keep others from being merged.
        let failed = match self.purge_once(pace, &mut memory) {
            Ok(Some(purged)) => {
                self.finish_deletes(&mut memory)?;
                return Ok(Some(purged));
            }
            Ok(None) => {
                self.cut_history(&mut memory)?;
                None
            }
            Err(error) => Some(error),
        };
        // Holding it pins the inputs.
        let state = Arc::clone(self.read_view().state());
        let Some(job) = self.plan(&state, &mut memory)? else { return failed.map_or(Ok(None), Err) };
        let started = self.env.clock.monotonic_ns();
        match self.compact(&job, pace, &mut memory) {
            Ok(compacted) => {
                drop(state);
                memory.failures = 0;
                let took = self.env.clock.monotonic_ns().saturating_sub(started);
                self.count(&compacted, took);
                Ok(Some(compacted))
            }
            Err(error) => {
                self.note_failure((&job.tenant, job.day), &error, &mut memory);
                Err(error)
            }
        }
    }

    fn plan(&self, state: &State, memory: &mut Memory) -> Result<Option<Job>> {
        let now = self.env.clock.monotonic_ns();
        memory.resting.retain(|_, until| *until > now);
        let mut indexed = std::mem::take(&mut memory.indexed);
        let (now_ns, options) = (self.env.clock.now_ns(), &self.options.compaction);
        let planned = {
            let may_touch = memory.may_touch(now);
            let may_merge = |tenant: &Tenant, day: Day, entry: &SegmentEntry| {
                // What is in the object store stays as it is.
                !entry.location.is_stored() && may_touch(tenant, day, entry)
            };
            let Plan { next, segments_waiting } = plan::plan(state, now_ns, options, &may_merge);
            let names = &self.options.user_indexes;
            if next.is_some() || names.is_empty() {
                Ok((next, segments_waiting))
            } else {
                let lacks = |entry: &SegmentEntry| {
                    self.compactor.wake.check_going()?;
                    reindex::lacks(&self.env, &self.options.data_dir, names, entry)
                };
                reindex::plan(state, now_ns, options, &may_merge, &mut indexed, &lacks)
                    .map(|planned| (planned.next, planned.segments_waiting))
            }
        };
        memory.indexed = indexed;
        let (next, waiting) = planned?;
        self.compactor.counters.segments_waiting.store(waiting, Ordering::Relaxed);
        Ok(next)
    }

    /// Merges the inputs of a job and commits the result.
    fn compact(&self, job: &Job, pace: Pace, memory: &mut Memory) -> Result<Compacted> {
        self.manifest.check_alive()?;
        self.check_room(&job.inputs)?;
        // Each input has a block in memory.
        let _lent = self.memory.lend(job.inputs.len().saturating_mul(self.options.block_bytes));
        let mut files = Vec::new();
        let due = AtomicU64::new(0);
        let pace = |bytes: u64| self.pace(pace, bytes, &due);
        // A defect must not end the thread, nor leave the lock poisoned.
        let made = catch_unwind(AssertUnwindSafe(|| execute::run(&self.env, &self.options, job, &pace, &mut files)))
            .unwrap_or_else(|_| Err(Error::internal("compaction panicked; see the log").into()));
        let made = made.map_err(|failed| self.leave_alone(failed, memory));
        let committed = made.and_then(|(merged, compacted)| Ok((self.manifest.commit(merged)?, compacted)));
        if let Err(error) = &committed {
            self.remove_unnamed(error, files);
        }
        let (state, compacted) = committed?;
        self.install(state)?;
        Ok(compacted)
    }

    /// Leaves a segment alone from now on, if it is one that failed because of damage.
    pub(super) fn leave_alone(&self, failed: Failed, memory: &mut Memory) -> Error {
        if let Some(id) = failed.input
            && matches!(failed.error.kind, ErrorKind::Corrupt | ErrorKind::NotFound | ErrorKind::Invalid)
        {
            self.damage.note(format!("compaction leaves a segment alone: {}", failed.error));
            memory.left_alone.insert(id);
            let count = memory.left_alone.len() as u64;
            self.compactor.counters.segments_left_alone.store(count, Ordering::Relaxed);
        }
        failed.error
    }

    /// # Errors
    /// `Unavailable` if the result might not leave the room that new records need.
    pub(super) fn check_room(&self, inputs: &[Arc<SegmentEntry>]) -> Result<()> {
        let bytes: u64 = inputs.iter().flat_map(|entry| entry.files()).map(|file| file.len).sum();
        let needed = bytes.saturating_add(self.options.disk_free_bytes_min);
        match self.env.disk.free_bytes(&self.options.data_dir) {
            Ok(free) if free < needed => {
                let message = format!("merging {bytes} bytes needs {needed} free on the disk, there are {free}");
                Err(Error::new(ErrorKind::Unavailable, message))
            }
            // A disk that does not say how much room it has is full when a write says so.
            _ => Ok(()),
        }
    }

    /// Waits while compaction is paused, a little while flushes fall behind, and so that `bytes` stay within those a second.
    ///
    /// # Errors
    /// `Closed` when the job must end.
    pub(super) fn pace(&self, pace: Pace, bytes: u64, due: &AtomicU64) -> Result<()> {
        self.compactor.wake.check_going()?;
        if pace == Pace::Free {
            return Ok(());
        }
        while self.compactor.paused.load(Ordering::SeqCst) {
            self.compactor.wake.rest(*RETRY.start());
            self.compactor.wake.check_going()?;
        }
        if self.is_tight() {
            self.compactor.wake.rest(TIGHT_REST);
        }
        let rate = self.options.compaction.bytes_per_second;
        if let Some(ns) = bytes.saturating_mul(1_000_000_000).checked_div(rate) {
            let now = self.env.clock.monotonic_ns();
            let due_ns = due.load(Ordering::Relaxed).max(now);
            due.store(due_ns.saturating_add(ns), Ordering::Relaxed);
            let wait = Duration::from_nanos(due_ns - now);
            if wait >= PACE_WAIT_MIN {
                self.compactor.wake.rest(wait);
            }
        }
        self.compactor.wake.check_going()
    }

    /// See [`super::Storage::is_tight`].
    pub(super) fn is_tight(&self) -> bool {
        let (flush, all) = (self.options.flush_bytes, self.options.buffer_bytes_max);
        self.memory.used() > flush.saturating_add(all.saturating_sub(flush) / 2)
    }

    pub(super) fn count(&self, compacted: &Compacted, took_ns: u64) {
        let counters = &self.compactor.counters;
        for (counter, more) in [
            (&counters.jobs, 1),
            (&counters.segments_merged, compacted.segments),
            (&counters.records, compacted.records),
            (&counters.rows_removed, compacted.rows_removed),
            (&counters.bytes_read, compacted.bytes_read),
            (&counters.bytes_written, compacted.bytes_written),
            (&counters.ns, took_ns),
        ] {
            counter.fetch_add(more, Ordering::Relaxed);
        }
        *lock(&counters.last_error) = None;
    }

    /// Notes a failure: the partition rests, longer each time, and others go on.
    pub(super) fn note_failure(&self, (tenant, day): (&Tenant, Day), error: &Error, memory: &mut Memory) {
        if error.kind == ErrorKind::Closed {
            return;
        }
        let longer = RETRY.start().saturating_mul(1 << memory.failures.min(16));
        memory.failures = memory.failures.saturating_add(1);
        let rest_ns = longer.min(*RETRY.end()).as_nanos() as u64;
        let until = self.env.clock.monotonic_ns().saturating_add(rest_ns);
        memory.resting.insert((tenant.clone(), day), until);
        self.compactor.counters.jobs_failed.fetch_add(1, Ordering::Relaxed);
        *lock(&self.compactor.counters.last_error) = Some(error.to_string());
    }

    pub(super) fn compaction_stats(&self) -> CompactionStats {
        let get = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let counters = &self.compactor.counters;
        let (bytes_flushed, bytes_written) = (get(&self.counters.bytes_flushed), get(&counters.bytes_written));
        let write_amplification = match bytes_flushed {
            0 => 1.0,
            bytes_flushed => (bytes_flushed as f64 + bytes_written as f64) / bytes_flushed as f64,
        };
        CompactionStats {
            enabled: self.options.compaction.enabled,
            paused: self.compactor.paused.load(Ordering::SeqCst),
            jobs: get(&counters.jobs),
            jobs_failed: get(&counters.jobs_failed),
            segments_merged: get(&counters.segments_merged),
            records: get(&counters.records),
            rows_removed: get(&counters.rows_removed),
            bytes_read: get(&counters.bytes_read),
            bytes_written,
            bytes_flushed,
            write_amplification,
            jobs_ns: get(&counters.ns),
            segments_waiting: get(&counters.segments_waiting),
            segments_left_alone: get(&counters.segments_left_alone),
            last_error: lock(&counters.last_error).clone(),
        }
    }
}
