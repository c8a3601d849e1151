//! The tierer: the thread that brings old segments into the object store, keeps the bucket's roots in step with the
//! manifest, lets local copies go, and collects the bucket's garbage. It is the one writer of its bucket.
//!
//! In this order, so that a crash between any two steps leaves what the next pass finishes or forgets: objects, the
//! bucket's root, the manifest (`both`), the manifest (`cold`), local files. An outage costs retries, longer each time;
//! nothing else waits for this thread.

use super::wake::Wake;
use super::{Core, Storage, lock};
use crate::manifest::{Edit, Location, SegmentEntry, State};
use crate::tier::bucket::{Claim, Writer};
use crate::tier::gc::{self, GcMode};
use crate::tier::mirror::{self, Uploaded};
use crate::tier::stats::{TierPhase, TierStats, Tiered};
use crate::tier::upload::{Stored, Upload};
use crate::tier::writer_file;
use crate::tier::{Followed, TierOptions};
use std::collections::{HashMap, HashSet};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;
use timberlog_disk::real::{Niceness, lower_thread_priority};
use timberlog_types::{Day, Error, ErrorKind, Result, Tenant};

/// How long the thread waits after a failure at first, and at most; doubled each time.
const RETRY: std::ops::RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_secs(300);
/// Segments, and bytes of them, that one root of the bucket brings.
const BATCH_SEGMENTS: usize = 64;
const BATCH_BYTES: u64 = 512 << 20;
/// How long uploads go on before a root names them.
const BATCH_TIME: Duration = Duration::from_secs(60);
/// A start waits so long to hear that the bucket belongs to somebody else.
const CLAIM_WAIT: Duration = Duration::from_secs(5);
/// The least time between two collections of garbage.
const GC_EVERY_MIN: Duration = Duration::from_secs(60);

/// What was sent over an old orphan leaves the disk when it is still in the store after so long: twice what a look of a
/// collection that runs elsewhere (`timberlog gc`) is valid for.
const RESENT_WAIT: Duration = gc::LOOK_VALID.saturating_mul(2);

/// What the tierer knows and is told.
#[derive(Default)]
pub(super) struct Tiering {
    /// Held by the one pass that runs.
    running: Mutex<Memory>,
    pub(super) wake: Wake,
    status: Mutex<Status>,
    asked: Condvar,
    counters: Counters,
    /// The bucket that is followed.
    pub(super) followed: Mutex<Option<Followed>>,
}

/// What is remembered between passes.
#[derive(Default)]
struct Memory {
    writer: Option<Writer>,
    /// When garbage is collected next, in monotonic ns.
    gc_due_ns: u64,
    /// Segments whose files are damaged.
    left_alone: HashSet<String>,
    /// Segments that were sent over old orphans: from when they may leave the disk, in monotonic ns.
    resent: HashMap<String, u64>,
    /// Versions of manifest and bucket that were found in step.
    in_step: Option<(u64, u64)>,
    /// Whether the kept history was cut behind the last segment that left the disk: not known of an earlier process,
    /// nor behind a pass that failed.
    is_cut: bool,
}

#[derive(Default)]
struct Status {
    phase: TierPhase,
    /// The first claim has ended, well or not.
    has_asked: bool,
    refusal: Option<Error>,
    last_error: Option<String>,
}

#[derive(Default)]
struct Counters {
    segments_uploaded: AtomicU64,
    bytes_uploaded: AtomicU64,
    commits: AtomicU64,
    failures: AtomicU64,
    objects_collected: AtomicU64,
    bytes_collected: AtomicU64,
    segments_waiting: AtomicU64,
    bytes_waiting: AtomicU64,
    epoch: AtomicU64,
    version: AtomicU64,
    due_ns: AtomicU64,
}

impl Tiering {
    pub(super) fn new(followed: Option<Followed>) -> Self {
        let tiering = Self::default();
        if let Some(followed) = followed {
            tiering.note_place(followed.place());
            tiering.note_phase(TierPhase::Following, None);
            *lock(&tiering.followed) = Some(followed);
        }
        tiering
    }

    pub(super) fn note_place(&self, (epoch, version): (u64, u64)) {
        self.counters.epoch.store(epoch, Ordering::Relaxed);
        self.counters.version.store(version, Ordering::Relaxed);
    }

    pub(super) fn note_phase(&self, phase: TierPhase, error: Option<String>) {
        let mut status = lock(&self.status);
        status.phase = phase;
        status.last_error = error;
    }

    /// The bucket is ours: a start need not wait any longer.
    fn note_claimed(&self) {
        let mut status = lock(&self.status);
        if !std::mem::replace(&mut status.has_asked, true) {
            status.phase = TierPhase::Writing;
            self.asked.notify_all();
        }
    }

    /// Waits a while for the first claim: a bucket that belongs to somebody else is no place to start.
    pub(super) fn wait_for_claim(&self) -> Result<()> {
        let status = lock(&self.status);
        let waited = self.asked.wait_timeout_while(status, CLAIM_WAIT, |status| !status.has_asked);
        let (status, _) = waited.unwrap_or_else(PoisonError::into_inner);
        status.refusal.clone().map_or(Ok(()), Err)
    }
}

/// Whether an error says that this node must not write to the bucket, however often it asks.
fn is_refusal(error: &Error) -> bool {
    matches!(error.kind, ErrorKind::Conflict | ErrorKind::Invalid | ErrorKind::Corrupt)
}

impl Storage {
    /// Brings segments that are due into the object store, once, now and as fast as it goes.
    ///
    /// # Errors
    /// `Closed` if another writer has taken the bucket over, `Conflict` if it belongs to somebody else, `Unavailable`
    /// if the store does not answer. Nothing is lost: segments stay where they are, and the next pass goes on.
    pub fn tier(&self) -> Result<Tiered> {
        self.core.tier_once(true)
    }

    #[cfg(test)]
    pub(crate) fn core_state(&self) -> Arc<crate::manifest::State> {
        self.core.manifest.state()
    }

    /// What tiering says of itself.
    pub fn tier_stats(&self) -> TierStats {
        self.core.tier_stats(&self.core.manifest.state())
    }
}

impl Core {
    /// The tierer's thread.
    pub(super) fn run_tierer(self: &Arc<Self>) {
        let Some(options) = self.options.tier.clone() else { return };
        lower_thread_priority(Niceness::Background);
        let (mut wait, mut retry) = (Duration::ZERO, *RETRY.start());
        while !self.tiering.wake.wait_for_work(wait) {
            wait = match self.tier_once(false) {
                Ok(_) => {
                    retry = *RETRY.start();
                    options.look_every
                }
                Err(error)
                    if error.kind == ErrorKind::Closed && lock(&self.tiering.status).phase == TierPhase::Stale =>
                {
                    return;
                }
                Err(_) => {
                    let wait = retry;
                    retry = retry.saturating_mul(2).min(*RETRY.end());
                    wait
                }
            };
        }
    }

    /// One pass: brings what is due into the store, and the roots in step. With `free`, as fast as it goes.
    pub(super) fn tier_once(self: &Arc<Self>, free: bool) -> Result<Tiered> {
        let Some(options) = self.options.tier.clone() else {
            return Err(Error::invalid("no object store is configured"));
        };
        let mut memory = lock(&self.tiering.running);
        // A defect must not end the thread, nor leave the lock poisoned.
        let passed = catch_unwind(AssertUnwindSafe(|| self.pass(&options, &mut memory, free)))
            .unwrap_or_else(|_| Err(Error::internal("tiering panicked; see the log")));
        let mut status = lock(&self.tiering.status);
        let is_first = !std::mem::replace(&mut status.has_asked, true);
        if let Some(writer) = &memory.writer {
            self.tiering.note_place((writer.state().epoch, writer.state().version));
        }
        match &passed {
            Ok(_) => {
                status.phase = TierPhase::Writing;
                status.last_error = None;
            }
            Err(error) if error.kind == ErrorKind::Closed && self.tiering.wake.check_going().is_err() => {}
            Err(error) => {
                let is_stale = memory.writer.as_ref().is_some_and(|writer| writer.stale().is_some());
                let phase = match (is_stale, memory.writer.is_some()) {
                    (true, _) => TierPhase::Stale,
                    (false, false) if is_refusal(error) => TierPhase::Refused,
                    _ => TierPhase::Failing,
                };
                if status.phase != phase || status.last_error.is_none() {
                    tracing::warn!(%error, store = options.store.describe(), "tiering: nothing is lost, segments stay local");
                }
                status.phase = phase;
                if is_first && phase == TierPhase::Refused {
                    status.refusal = Some(error.clone());
                }
                status.last_error = Some(error.to_string());
                self.tiering.counters.failures.fetch_add(1, Ordering::Relaxed);
            }
        }
        drop(status);
        self.tiering.asked.notify_all();
        passed
    }

    fn pass(&self, options: &TierOptions, memory: &mut Memory, free: bool) -> Result<Tiered> {
        self.tiering.wake.check_going()?;
        self.manifest.check_alive()?;
        let state = self.manifest.state();
        if state.is_damaged() {
            let message = "part of the manifest is damaged: nothing goes to the object store before `timberlog repair`";
            return Err(Error::new(ErrorKind::Unavailable, message));
        }
        let mut tiered = Tiered::default();
        let Memory { writer, gc_due_ns, left_alone, resent, in_step, is_cut } = memory;
        // Until this pass has come to its end.
        let was_cut = std::mem::replace(is_cut, false);
        let writer = match writer {
            Some(writer) => writer,
            None => writer.insert(self.claim(options, &state)?),
        };
        writer.check()?;
        self.tiering.note_place((writer.state().epoch, writer.state().version));
        self.tiering.note_claimed();
        let is_confirmed = self.confirm(options, &state, resent, free)?;
        if is_confirmed || *in_step != Some((state.version, writer.state().version)) {
            self.settle(writer, resent, &mut tiered)?;
        }
        drop(state);
        loop {
            let state = self.manifest.state();
            let mut uploaded = Uploaded::new();
            let due = mirror::due(&state, writer.state(), options, self.env.clock.now_ns());
            let due: Vec<_> = due.into_iter().filter(|(.., entry)| !left_alone.contains(&entry.id)).collect();
            let bytes = |entry: &SegmentEntry| entry.files().map(|file| file.len).sum::<u64>();
            let waiting: u64 = due.iter().map(|(.., entry)| bytes(entry)).sum();
            self.tiering.counters.segments_waiting.store(due.len() as u64, Ordering::Relaxed);
            self.tiering.counters.bytes_waiting.store(waiting, Ordering::Relaxed);
            let (started, mut sent) = (self.env.clock.monotonic_ns(), 0_u64);
            for (tenant, day, entry) in due.iter().take(BATCH_SEGMENTS) {
                let took = Duration::from_nanos(self.env.clock.monotonic_ns().saturating_sub(started));
                if sent >= BATCH_BYTES || took >= BATCH_TIME.min(options.gc_grace / 4) {
                    break;
                }
                self.tiering.wake.check_going()?;
                match self.upload(options, (tenant, *day), entry, free) {
                    Ok(stored) => {
                        sent = sent.saturating_add(stored.bytes_sent);
                        tiered.segments_uploaded += 1;
                        tiered.bytes_uploaded += stored.bytes_sent;
                        self.tiering.counters.segments_uploaded.fetch_add(1, Ordering::Relaxed);
                        self.tiering.counters.bytes_uploaded.fetch_add(stored.bytes_sent, Ordering::Relaxed);
                        if let (Some(cold), Some(object)) = (&self.opener.cold, &stored.entry.index_object) {
                            cold.keep_index(object, &stored.index);
                        }
                        if stored.may_be_collected {
                            let wait_ns = u64::try_from(RESENT_WAIT.as_nanos()).unwrap_or(u64::MAX);
                            let until_ns = self.env.clock.monotonic_ns().saturating_add(wait_ns);
                            resent.insert(entry.id.clone(), until_ns);
                        }
                        uploaded.insert((tenant.clone(), *day, entry.id.clone()), Arc::new(stored.entry));
                    }
                    // Compaction was faster: what replaced it is uploaded.
                    Err(error) if error.kind == ErrorKind::Corrupt && !self.is_current(tenant, *day, entry) => {
                        drop(error);
                    }
                    Err(error) if error.kind == ErrorKind::Corrupt => {
                        self.damage.note(format!("tiering leaves a segment alone: {error}"));
                        left_alone.insert(entry.id.clone());
                    }
                    Err(error) => return Err(error),
                }
            }
            let versions = (self.manifest.state().version, writer.state().version);
            if uploaded.is_empty() && *in_step == Some(versions) {
                break;
            }
            let cold_before = tiered.segments_cold;
            self.commit_bucket(writer, &uploaded, &mut tiered)?;
            self.settle(writer, resent, &mut tiered)?;
            *in_step = Some((self.manifest.state().version, writer.state().version));
            // What was uploaded and then merged is not worth another round at once.
            if uploaded.is_empty() || tiered.segments_cold == cold_before {
                break;
            }
        }
        let is_left = !was_cut && !self.manifest.state().is_damaged() && self.manifest.keeps_old_segments()?;
        if tiered.segments_cold > 0 || is_left {
            // Local copies go when no root names them: not one that is kept only to fall back to.
            let cut = Edit { cut_history: true, ..Edit::default() };
            if let Some(state) = self.manifest.commit_with(|_| Some(cut))? {
                self.install(state)?;
            }
            *in_step = Some((self.manifest.state().version, writer.state().version));
        }
        *is_cut = true;
        // Also what a reader held when the last pass ended.
        self.manifest.collect()?;
        let now = self.env.clock.monotonic_ns();
        if now >= *gc_due_ns {
            let every = options.gc_grace.max(GC_EVERY_MIN);
            let epoch = Some(writer.state().epoch);
            match gc::collect(&self.env, &*options.store, options.gc_grace, GcMode::Delete, epoch) {
                // An older root that nobody can read any more leaves by itself; what it names stays until then.
                Err(error) if error.kind == ErrorKind::Corrupt => {
                    tracing::warn!(%error, "nothing is collected in the store for now");
                }
                found => {
                    let found = found?;
                    tiered.objects_collected = found.garbage.len() as u64;
                    self.tiering.counters.objects_collected.fetch_add(tiered.objects_collected, Ordering::Relaxed);
                    self.tiering.counters.bytes_collected.fetch_add(found.bytes(), Ordering::Relaxed);
                }
            }
            *gc_due_ns = now.saturating_add(u64::try_from(every.as_nanos()).unwrap_or(u64::MAX));
        }
        Ok(tiered)
    }

    /// Looks for what was sent over old orphans, when no collection can take it any more, and sends what is not there once
    /// more. Whether there was any.
    fn confirm(
        &self,
        options: &TierOptions,
        state: &State,
        resent: &mut HashMap<String, u64>,
        free: bool,
    ) -> Result<bool> {
        let now = self.env.clock.monotonic_ns();
        let ripe: Vec<String> = resent.iter().filter(|(_, from)| **from <= now).map(|(id, _)| id.clone()).collect();
        if ripe.is_empty() {
            return Ok(false);
        }
        for (tenant, day, entry) in state.segments().filter(|(.., entry)| ripe.contains(&entry.id)) {
            if entry.location.is_local() {
                self.upload(options, (tenant, day), entry, free)?;
            }
        }
        resent.retain(|id, _| !ripe.contains(id));
        Ok(true)
    }

    /// Whether the manifest still names a segment.
    fn is_current(&self, tenant: &Tenant, day: Day, entry: &SegmentEntry) -> bool {
        let state = self.manifest.state();
        state.partition(tenant, day).is_some_and(|partition| partition.segments.iter().any(|now| now.id == entry.id))
    }

    fn claim(&self, options: &TierOptions, state: &State) -> Result<Writer> {
        let id = writer_file::read_or_create(&self.env, &self.options.data_dir)?;
        let claim = Claim {
            writer: id,
            database_id: Some(state.database_id.clone()),
            take_over: options.take_over,
            manifest_version: state.version,
        };
        let has_stored = state.segments().any(|(_, _, entry)| entry.location.is_stored());
        if has_stored && crate::tier::bucket::roots(&*options.store)?.is_empty() {
            return Err(Error::new(
                ErrorKind::Conflict,
                format!(
                    "this database has segments in another object store than `{}`, which is empty",
                    options.store.describe()
                ),
            ));
        }
        let writer = Writer::claim(&self.env, &options.store, &claim)?;
        tracing::info!(store = options.store.describe(), epoch = writer.state().epoch, "claimed the bucket");
        Ok(writer)
    }

    fn upload(&self, options: &TierOptions, at: (&Tenant, Day), entry: &SegmentEntry, free: bool) -> Result<Stored> {
        let pace = |bytes: u64| {
            if !free {
                self.pace_upload(options.bytes_per_second, bytes);
            }
        };
        let upload = Upload {
            env: &self.env,
            data_dir: &self.options.data_dir,
            store: &*options.store,
            gc_grace: options.gc_grace,
            pace: &pace,
        };
        upload.segment(at.0, at.1, entry)
    }

    /// Waits so that uploads stay within their bytes a second; not when the storage closes.
    fn pace_upload(&self, rate: u64, bytes: u64) {
        let Some(ns) = bytes.saturating_mul(1_000_000_000).checked_div(rate) else { return };
        let now = self.env.clock.monotonic_ns();
        let due_ns = self.tiering.counters.due_ns.load(Ordering::Relaxed).max(now);
        self.tiering.counters.due_ns.store(due_ns.saturating_add(ns), Ordering::Relaxed);
        if due_ns > now {
            self.tiering.wake.rest(Duration::from_nanos(due_ns - now));
        }
    }

    /// Commits a root of the bucket, if it is not as it should be.
    fn commit_bucket(&self, writer: &mut Writer, uploaded: &Uploaded, tiered: &mut Tiered) -> Result<()> {
        // A delete whose commit failed hides records here already: the bucket must not show them.
        self.commit_deletes()?;
        let state = self.manifest.state();
        self.check_stored(writer, &state, uploaded)?;
        let tombstones: Vec<_> = state.deletes.live().map(|entry| entry.tombstone.clone()).collect();
        for is_again in [false, true] {
            let change = mirror::change(&state, &tombstones, writer.state(), uploaded);
            if change.is_empty() {
                break;
            }
            let before = writer.state().version;
            match writer.commit(change) {
                // An earlier commit went through unnoticed: what is left to change is another thing now.
                Err(_) if writer.state().version != before && !is_again => {}
                committed => {
                    committed?;
                    tiered.commits += 1;
                    self.tiering.counters.commits.fetch_add(1, Ordering::Relaxed);
                    break;
                }
            }
        }
        Ok(())
    }

    /// Segments that the manifest says are in the store and that the bucket does not name must be there: a root never
    /// names what is not.
    fn check_stored(&self, writer: &Writer, state: &State, uploaded: &Uploaded) -> Result<()> {
        let Some(options) = &self.options.tier else { return Ok(()) };
        let named: HashSet<&str> = writer.state().segments().map(|(_, _, entry)| entry.id.as_str()).collect();
        let stored = state.segments().filter(|(_, _, entry)| entry.location.is_stored());
        for (tenant, day, entry) in stored.filter(|(_, _, entry)| !named.contains(entry.id.as_str())) {
            if uploaded.contains_key(&(tenant.clone(), day, entry.id.clone())) {
                continue;
            }
            for object in entry.objects() {
                let found = options.store.head(&object.path)?;
                if found.is_none_or(|found| found.size != object.len) {
                    let message = format!("object `{}` of segment `{}` is missing in the store", object.path, entry.id);
                    self.damage.note(message.clone());
                    return Err(Error::corrupt(message));
                }
            }
        }
        Ok(())
    }

    /// Brings the manifest in step with the bucket: what it names is `both`, then `cold`; then local files go.
    fn settle(&self, writer: &Writer, resent: &HashMap<String, u64>, tiered: &mut Tiered) -> Result<()> {
        let bucket = writer.state();
        let both = |state: &State| {
            let named = bucket.segments().filter_map(|(tenant, day, stored)| {
                let partition = state.partition(tenant, day)?;
                let entry = partition.segments.iter().find(|entry| entry.id == stored.id)?;
                (entry.location == Location::Local).then(|| {
                    let index_object = stored.index_object.clone();
                    (tenant.clone(), day, SegmentEntry { location: Location::Both, index_object, ..(**entry).clone() })
                })
            });
            named.collect::<Vec<_>>()
        };
        let cold = |state: &State| {
            let named: HashSet<&str> = bucket.segments().map(|(_, _, entry)| entry.id.as_str()).collect();
            let both = state.segments().filter(|(_, _, entry)| entry.location == Location::Both);
            let may_leave = |entry: &SegmentEntry| named.contains(entry.id.as_str()) && !resent.contains_key(&entry.id);
            let both = both.filter(|(_, _, entry)| may_leave(entry));
            both.map(|(tenant, day, entry)| (tenant.clone(), day, mirror::cold(entry))).collect::<Vec<_>>()
        };
        let edit = |moved: Vec<(Tenant, Day, SegmentEntry)>| (!moved.is_empty()).then(|| Edit::move_to(moved));
        for (step, moved) in [(0, &both as &dyn Fn(&State) -> Vec<_>), (1, &cold)] {
            let mut count = 0;
            let committed = self.manifest.commit_with(|state| {
                let moved = moved(state);
                count = moved.len() as u64;
                edit(moved)
            })?;
            if let Some(state) = committed {
                self.install(state)?;
                tiered.segments_cold += if step == 1 { count } else { 0 };
            }
        }
        Ok(())
    }

    pub(super) fn tier_stats(&self, state: &State) -> TierStats {
        let get = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let counters = &self.tiering.counters;
        let mut stats = TierStats {
            enabled: self.options.tier.is_some(),
            epoch: get(&counters.epoch),
            version: get(&counters.version),
            segments_uploaded: get(&counters.segments_uploaded),
            bytes_uploaded: get(&counters.bytes_uploaded),
            commits: get(&counters.commits),
            failures: get(&counters.failures),
            objects_collected: get(&counters.objects_collected),
            bytes_collected: get(&counters.bytes_collected),
            segments_waiting: get(&counters.segments_waiting),
            bytes_waiting: get(&counters.bytes_waiting),
            ..TierStats::default()
        };
        {
            let status = lock(&self.tiering.status);
            stats.phase = status.phase;
            stats.last_error = status.last_error.clone();
        }
        if let Some(reader) = &self.opener.cold {
            (stats.cache_index_bytes, stats.cache_data_bytes, stats.cache_memory_bytes) = reader.bytes();
        }
        for (_, _, entry) in state.segments().filter(|(_, _, entry)| entry.location.is_stored()) {
            stats.segments_stored += 1;
            stats.bytes_stored += entry.objects().map(|file| file.len).sum::<u64>();
        }
        stats
    }
}
