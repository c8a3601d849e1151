//! The engine: takes batches in, publishes them after their fsync, flushes them, hands out
//! snapshots.
//!
//!     append → producers (a duplicate?) → memory (is there room?) → WAL → published → flushed
//!
//! Threads: callers, the WAL writer (publishes and answers) and the flusher. Locks, each held
//! briefly and never across I/O: view, memory, producers. Flushes are one at a time.

use crate::buffer::Generation;
use crate::cache::Cache;
use crate::flush::{self, NewSegment};
use crate::manifest::{Edit, FileRef, LostRoot, Manifest, ManifestOptions, OpenReport, PRODUCERS_DIR, State};
use crate::memory::{Admission, Memory, overloaded};
use crate::options::{Durability, Options};
use crate::producers::{Begin, PRODUCERS_FILE_BYTES_MAX, ProducerBatch, Producers, Stored};
use crate::snapshot::{BufferedBatch, Snapshot};
use crate::stats::{Progress, Stats};
use crate::streams::Streams;
use crate::view::{Opener, View};
use crate::wal::{self, Wal};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError, RwLock};
use std::thread::JoinHandle;
use std::time::Duration;
use timberlog_disk::{Env, Open};
use timberlog_types::{Batch, Error, ErrorKind, Result, Seq, Tenant};

/// What became of a batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Appended {
    /// The batch's number in the WAL; for a duplicate the number of the first one.
    pub seq: Seq,
    /// Records in the batch.
    pub rows: u64,
    /// Whether a producer had sent it before; nothing was stored again.
    pub duplicate: bool,
    /// For a duplicate: what the first answer said of refused records
    /// ([`ProducerBatch::refused`]).
    pub refused: Vec<u8>,
}

/// Told of each batch right after it became visible, in order of sequence. Must not block.
pub trait Subscriber: Send + Sync {
    /// A batch is visible.
    fn published(&self, tenant: &Tenant, batch: &Arc<BufferedBatch>);
}

/// Called once with what became of an append.
pub type Done = Box<dyn FnOnce(Result<Appended>) + Send>;

/// How often a flush that failed is tried again.
const FLUSH_RETRY: Duration = Duration::from_secs(1);
/// How often the flusher looks at ages and deadlines.
const TICK: Duration = Duration::from_millis(200);

/// A storage: one data directory, opened by one process.
pub struct Storage {
    core: Arc<Core>,
    flusher: Mutex<Option<JoinHandle<()>>>,
}

struct Core {
    env: Env,
    options: Options,
    opener: Opener,
    view: RwLock<View>,
    memory: Memory<PendingAppend>,
    producers: Producers<Done>,
    streams: Streams,
    manifest: Manifest,
    /// Held by the one flush that runs.
    flushing: Mutex<()>,
    wal: OnceLock<Wal>,
    subscriber: Arc<dyn Subscriber>,
    signal: Signal,
    counters: Counters,
    closed: AtomicBool,
    /// The disk has less room than it must have for new records.
    disk_is_low: AtomicBool,
    /// What the start found damaged, for people.
    damage: Mutex<Vec<String>>,
    /// The lock of the data directory: released when the storage goes.
    _lock: Box<dyn Send + Sync>,
}

struct PendingAppend {
    tenant: Tenant,
    batch: Arc<Batch>,
    producer: Option<ProducerBatch>,
    done: Done,
}

#[derive(Default)]
struct Counters {
    records_appended: AtomicU64,
    batches_appended: AtomicU64,
    bytes_appended: AtomicU64,
    records_refused: AtomicU64,
    duplicates: AtomicU64,
    flushes: AtomicU64,
    flushes_failed: AtomicU64,
    flush_ns: AtomicU64,
    flush_error: Mutex<Option<String>>,
}

/// Wakes the flusher.
#[derive(Default)]
struct Signal {
    wanted: Mutex<Wanted>,
    changed: Condvar,
}

#[derive(Default)]
struct Wanted {
    flush: bool,
    stop: bool,
}

impl Signal {
    fn flush(&self) {
        lock(&self.wanted).flush = true;
        self.changed.notify_one();
    }

    fn stop(&self) {
        lock(&self.wanted).stop = true;
        self.changed.notify_one();
    }

    /// Waits for a wish, at most `wait`; returns whether to stop.
    fn wait(&self, wait: Duration) -> bool {
        let wanted = lock(&self.wanted);
        let waiting = |wanted: &mut Wanted| !wanted.flush && !wanted.stop;
        let (mut wanted, _) =
            self.changed.wait_timeout_while(wanted, wait, waiting).unwrap_or_else(PoisonError::into_inner);
        wanted.flush = false;
        wanted.stop
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Storage {
    /// Opens or creates the storage of `options.data_dir`. See `Database::open`.
    pub fn open(options: Options, env: Env, subscriber: Arc<dyn Subscriber>, progress: &Progress) -> Result<Self> {
        let core = Arc::new(Core::open(options, env, subscriber)?);
        core.replay(progress)?;
        let flusher = if core.options.background {
            let core = Arc::clone(&core);
            let spawned = std::thread::Builder::new().name("timberlog-flush".into()).spawn(move || core.run_flusher());
            Some(spawned.map_err(|error| Error::io("start the flush thread", &error))?)
        } else {
            None
        };
        Ok(Self { core, flusher: Mutex::new(flusher) })
    }

    /// Stores a batch and waits until it is acknowledged.
    pub fn append(&self, tenant: &Tenant, batch: Batch, producer: Option<ProducerBatch>) -> Result<Appended> {
        let (sender, receiver) = crossbeam_channel::bounded(1);
        self.append_then(tenant, batch, producer, Box::new(move |result| drop(sender.send(result))));
        receiver.recv().unwrap_or_else(|_| Err(closed()))
    }

    /// Stores a batch and calls `done` when it is acknowledged.
    pub fn append_then(&self, tenant: &Tenant, batch: Batch, producer: Option<ProducerBatch>, done: Done) {
        self.core.append(tenant, batch, producer, done);
    }

    /// Whether a stream is known or may be added.
    pub fn admit_stream(&self, tenant: &Tenant, hash: u64) -> bool {
        self.core.streams.admit(tenant, hash, self.core.env.clock.monotonic_ns())
    }

    /// Flushes everything that is visible now.
    pub fn flush(&self) -> Result<()> {
        self.core.flush_all()
    }

    /// What a query of this tenant sees now.
    pub fn snapshot(&self, tenant: &Tenant) -> Snapshot {
        self.core.read_view().snapshot(tenant)
    }

    /// When a batch counts as acknowledged.
    pub fn durability(&self) -> Durability {
        self.core.options.durability
    }

    /// What the engine knows of itself.
    pub fn stats(&self) -> Stats {
        self.core.stats()
    }

    /// The settings.
    pub fn options(&self) -> &Options {
        &self.core.options
    }

    /// Stops taking batches, flushes everything, closes the files. The second call does nothing.
    pub fn close(&self) -> Result<()> {
        if self.core.closed.swap(true, Ordering::SeqCst) {
            return Ok(());
        }
        self.core.refuse_waiting();
        let wal = match self.core.wal.get() {
            Some(wal) => wal.close(),
            None => Ok(()),
        };
        self.core.signal.stop();
        if let Some(flusher) = lock(&self.flusher).take() {
            // A panic there was logged; what was not flushed is in the WAL.
            let _ = flusher.join();
        }
        let flushed = self.core.flush_all();
        wal.and(flushed)
    }
}

impl Drop for Storage {
    fn drop(&mut self) {
        if let Err(error) = self.close() {
            tracing::error!(%error, "the storage did not close cleanly; the next start replays the WAL");
        }
    }
}

impl Core {
    fn open(options: Options, env: Env, subscriber: Arc<dyn Subscriber>) -> Result<Self> {
        let dir = &options.data_dir;
        let at = |what: &str| format!("{what} `{}`", dir.display());
        env.disk.create_dir_all(dir).map_err(|error| Error::io(at("create the data directory"), &error))?;
        let lock = lock_directory(&env, dir)?;
        let (manifest, report) = Manifest::open(&env, dir, ManifestOptions { history: options.manifest_history })?;
        let state = manifest.state();
        let mut damage = damage(&report);
        let producers = match &state.producers {
            Some(file) => read_producers(&env, &options, file).unwrap_or_else(|error| {
                let message = format!("{error}; batches that producers send again may be stored twice");
                tracing::error!("{message}");
                damage.push(message);
                Producers::default()
            }),
            None => Producers::default(),
        };
        let cache = Arc::new(Cache::new(options.cache_bytes));
        let opener = Opener { env: env.clone(), cache, data_dir: dir.clone() };
        let view = View::new(state, &opener)?;
        Ok(Self {
            memory: Memory::new(options.buffer_bytes_max, options.waiting_max, options.waiting_bytes_max),
            producers,
            streams: Streams::new(options.streams_max),
            manifest,
            flushing: Mutex::new(()),
            wal: OnceLock::new(),
            subscriber,
            signal: Signal::default(),
            counters: Counters::default(),
            closed: AtomicBool::new(false),
            disk_is_low: AtomicBool::new(false),
            damage: Mutex::new(damage),
            view: RwLock::new(view),
            opener,
            env,
            options,
            _lock: lock,
        })
    }

    /// Reads back what the WAL holds beyond the last flush, and starts its writer.
    fn replay(self: &Arc<Self>, progress: &Progress) -> Result<()> {
        let flushed_seq = self.read_view().state().flushed_seq;
        let publish: Arc<dyn wal::Publish> = Arc::new(Publisher(Arc::downgrade(self)));
        let mut on_frame = |frame: wal::Frame| {
            let bytes = frame.batch.memory_bytes();
            self.memory.take(bytes);
            self.publish(&frame);
            // Frozen generations count too: there is no flusher yet.
            if self.memory.used() >= self.options.flush_bytes {
                self.flush_all()?;
            }
            Ok(())
        };
        let told = |done: u64, total: u64| {
            progress.total_bytes.store(total, Ordering::Relaxed);
            progress.done_bytes.store(done, Ordering::Relaxed);
        };
        let database_id = self.read_view().state().database_id.clone();
        let (wal, report) =
            Wal::open(&self.env, self.options.wal(database_id), flushed_seq, publish, &mut on_frame, &told)?;
        if report.frames > 0 {
            tracing::info!(batches = report.frames, records = report.rows, bytes = report.bytes, "replayed the WAL");
        }
        for damage in &report.damages {
            tracing::error!("{damage}");
            lock(&self.damage).push(damage.to_string());
        }
        // Set once: `replay` is called once.
        let _ = self.wal.set(wal);
        Ok(())
    }

    fn append(self: &Arc<Self>, tenant: &Tenant, batch: Batch, producer: Option<ProducerBatch>, done: Done) {
        if self.closed.load(Ordering::SeqCst) {
            return done(Err(closed()));
        }
        if self.disk_is_low.load(Ordering::Relaxed) {
            self.counters.records_refused.fetch_add(batch.rows() as u64, Ordering::Relaxed);
            return done(Err(self.disk_full()));
        }
        let batch = Arc::new(batch);
        let done = match &producer {
            None => done,
            Some(number) => match self.producers.begin(tenant, number, done) {
                Begin::New(done) => done,
                Begin::Waiting => return,
                Begin::Done(stored, done) => return self.repeat(done, stored),
                Begin::Refused(error, done) => return done(Err(error)),
            },
        };
        if !self.options.background && self.memory.used() + batch.memory_bytes() > self.options.flush_bytes {
            // A failed flush is tried again by the next one; meanwhile memory is bounded below.
            let _ = self.flush_all();
        }
        let bytes = batch.memory_bytes();
        self.admit(PendingAppend { tenant: tenant.clone(), batch, producer, done }, bytes);
    }

    /// Hands an append to the WAL when there is room for its `bytes`.
    fn admit(self: &Arc<Self>, pending: PendingAppend, bytes: usize) {
        let wait_ns = u64::try_from(self.options.wait_max.as_nanos()).unwrap_or(u64::MAX);
        let deadline = self.env.clock.monotonic_ns().saturating_add(wait_ns);
        match self.memory.admit(bytes, deadline, pending) {
            Admission::Now(pending) => self.write(pending),
            Admission::Later => {
                self.signal.flush();
                // It may have come into the line after `close` had emptied it.
                if self.closed.load(Ordering::SeqCst) {
                    self.refuse_waiting();
                }
            }
            Admission::Refused(pending) => self.refuse(pending, self.no_room()),
        }
    }

    /// Refuses everything that waits for room: the database closes.
    fn refuse_waiting(&self) {
        for pending in self.memory.drain() {
            self.refuse(pending, closed());
        }
    }

    /// The refusal when the buffer is full.
    fn no_room(&self) -> Error {
        match &*lock(&self.counters.flush_error) {
            Some(error) => {
                let message = format!("the memory buffer is full and cannot be flushed: {error}");
                Error::new(ErrorKind::Unavailable, message)
            }
            None => overloaded(),
        }
    }

    /// Hands an admitted append to the WAL.
    fn write(self: &Arc<Self>, pending: PendingAppend) {
        let PendingAppend { tenant, batch, producer, done } = pending;
        let (rows, bytes) = (batch.rows() as u64, batch.memory_bytes());
        let wal_bytes = batch.as_bytes().len() as u64;
        let core = Arc::clone(self);
        let (told_tenant, told_producer) = (tenant.clone(), producer.clone());
        let acknowledge = move |result: Result<Seq>| match result {
            Ok(seq) => {
                core.counters.records_appended.fetch_add(rows, Ordering::Relaxed);
                core.counters.batches_appended.fetch_add(1, Ordering::Relaxed);
                core.counters.bytes_appended.fetch_add(wal_bytes, Ordering::Relaxed);
                done(Ok(Appended { seq, rows, duplicate: false, refused: Vec::new() }));
            }
            Err(error) => {
                core.memory.release(bytes);
                core.fail(&told_tenant, told_producer.as_ref(), rows, done, error);
            }
        };
        // The WAL drops `done` uncalled when it refuses at once; the slot lets it be called here.
        let slot = Arc::new(Mutex::new(Some(acknowledge)));
        let told = Arc::clone(&slot);
        let tell = move |result| {
            let acknowledge = lock(&told).take();
            if let Some(acknowledge) = acknowledge {
                acknowledge(result);
            }
        };
        let appended = match self.wal.get() {
            Some(wal) => wal.append(wal::Append { tenant, batch, producer, done: Box::new(tell) }).map(|()| wal),
            None => Err(closed()),
        };
        match appended {
            Ok(wal) if !self.options.background => drop(wal.step()),
            Ok(_) => {}
            Err(error) => {
                let acknowledge = lock(&slot).take();
                if let Some(acknowledge) = acknowledge {
                    acknowledge(Err(error));
                }
            }
        }
    }

    fn refuse(&self, pending: PendingAppend, error: Error) {
        let rows = pending.batch.rows() as u64;
        self.fail(&pending.tenant, pending.producer.as_ref(), rows, pending.done, error);
    }

    /// Answers an append that was not stored, and the duplicates that waited for it.
    fn fail(&self, tenant: &Tenant, producer: Option<&ProducerBatch>, rows: u64, done: Done, error: Error) {
        self.counters.records_refused.fetch_add(rows, Ordering::Relaxed);
        let waiting = producer.map_or_else(Vec::new, |producer| self.producers.abort(tenant, producer));
        for done in waiting {
            done(Err(error.clone()));
        }
        done(Err(error));
    }

    /// Answers a duplicate as the first one was answered.
    fn repeat(&self, done: Done, stored: Stored) {
        self.counters.duplicates.fetch_add(1, Ordering::Relaxed);
        let Stored { seq, accepted, refused, .. } = stored;
        done(Ok(Appended { seq, rows: u64::from(accepted), duplicate: true, refused }));
    }

    /// Makes a batch visible.
    fn publish(&self, frame: &wal::Frame) {
        let waiting = self.remember(frame);
        let batch = Arc::new(BufferedBatch::new(frame.seq, Arc::clone(&frame.batch)));
        let now = self.env.clock.monotonic_ns();
        let (saved, is_full) = {
            let mut view = self.view.write().unwrap_or_else(PoisonError::into_inner);
            let saved = view.publish(&frame.tenant, Arc::clone(&batch), now, self.options.partitions_per_flush_max);
            (saved, view.active().bytes >= self.options.flush_bytes || view.next_frozen().is_some())
        };
        self.memory.release(saved);
        if is_full {
            self.signal.flush();
        }
        self.subscriber.published(&frame.tenant, &batch);
        for (done, stored) in waiting {
            self.repeat(done, stored);
        }
    }

    /// Remembers a producer's batch before it is visible, so before a flush can take its frame out
    /// of the WAL. Returns the duplicates that waited for it, with their answer.
    fn remember(&self, frame: &wal::Frame) -> Vec<(Done, Stored)> {
        let Some(producer) = &frame.producer else { return Vec::new() };
        let accepted = u32::try_from(frame.batch.rows()).unwrap_or(u32::MAX);
        let stored =
            Stored { seq: frame.seq, commit_time: frame.commit_time, accepted, refused: producer.refused.clone() };
        let waiting = self.producers.complete(&frame.tenant, producer, stored.clone());
        waiting.into_iter().map(|done| (done, stored.clone())).collect()
    }

    fn read_view(&self) -> std::sync::RwLockReadGuard<'_, View> {
        self.view.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Looks whether the disk has room for new records.
    fn look_at_disk(&self) {
        let free = self.env.disk.free_bytes(&self.options.data_dir);
        // A disk that does not say how much room it has is full when a write says so.
        let is_low = free.is_ok_and(|free| free < self.options.disk_free_bytes_min);
        if is_low != self.disk_is_low.swap(is_low, Ordering::Relaxed) {
            if is_low {
                tracing::error!("{}", self.disk_full());
            } else {
                tracing::info!("the disk has room again, new records are taken");
            }
        }
    }

    fn disk_full(&self) -> Error {
        let message = format!(
            "the disk of `{}` has less than {} bytes free: no new records are taken",
            self.options.data_dir.display(),
            self.options.disk_free_bytes_min
        );
        Error::new(ErrorKind::Unavailable, message)
    }

    /// The flusher thread.
    fn run_flusher(self: &Arc<Self>) {
        let mut retry_ns = 0;
        loop {
            self.look_at_disk();
            if self.signal.wait(TICK) {
                return;
            }
            // Appends that wait for room wake this thread; a flush that fails is not theirs to hurry.
            if self.env.clock.monotonic_ns() >= retry_ns
                && let Err(error) = self.flush_due()
            {
                tracing::error!(%error, "flush failed, trying again in {FLUSH_RETRY:?}");
                retry_ns = self.env.clock.monotonic_ns().saturating_add(FLUSH_RETRY.as_nanos() as u64);
            }
            self.wake_waiting();
        }
    }

    /// Flushes what is frozen, too large or too old.
    fn flush_due(self: &Arc<Self>) -> Result<()> {
        loop {
            let now = self.env.clock.monotonic_ns();
            {
                let mut view = self.view.write().unwrap_or_else(PoisonError::into_inner);
                let active = view.active();
                let age = Duration::from_nanos(active.since_ns.map_or(0, |since| now.saturating_sub(since)));
                let due = active.bytes >= self.options.flush_bytes || age >= self.options.flush_age;
                if due || (self.memory.waiting() > 0 && view.next_frozen().is_none()) {
                    view.freeze();
                }
                if view.next_frozen().is_none() {
                    return Ok(());
                }
            }
            self.flush_one()?;
            self.wake_waiting();
        }
    }

    /// Flushes everything that is visible now.
    fn flush_all(self: &Arc<Self>) -> Result<()> {
        let until = {
            let mut view = self.view.write().unwrap_or_else(PoisonError::into_inner);
            view.freeze();
            view.visible_seq()
        };
        while self.read_view().next_frozen().is_some_and(|generation| generation.seq_max <= until) {
            self.flush_one()?;
        }
        self.wake_waiting();
        Ok(())
    }

    /// Flushes the oldest frozen generation, if there is one.
    fn flush_one(self: &Arc<Self>) -> Result<()> {
        let _one_at_a_time = lock(&self.flushing);
        let Some(generation) = self.read_view().next_frozen() else { return Ok(()) };
        let started = self.env.clock.monotonic_ns();
        let result = self.flush_generation(&generation);
        match &result {
            Ok(()) => {
                let took = self.env.clock.monotonic_ns().saturating_sub(started);
                self.counters.flushes.fetch_add(1, Ordering::Relaxed);
                self.counters.flush_ns.fetch_add(took, Ordering::Relaxed);
                *lock(&self.counters.flush_error) = None;
                self.memory.release(generation.bytes);
            }
            Err(error) => {
                self.counters.flushes_failed.fetch_add(1, Ordering::Relaxed);
                *lock(&self.counters.flush_error) = Some(error.to_string());
            }
        }
        result
    }

    fn flush_generation(&self, generation: &Generation) -> Result<()> {
        // In `async` mode rows are visible before they are synced, but only synced ones are committed.
        // The last flush comes after the WAL was closed, which has synced everything.
        if let Some(wal) = self.wal.get().filter(|wal| wal.synced_seq() < generation.seq_max) {
            wal.sync()?;
        }
        // Segments that could not be committed need not be written.
        self.manifest.check_alive()?;
        let before = self.read_view().state().flushed_seq;
        let mut files = Vec::new();
        // A defect must not end the flusher: without it appends wait for ever.
        let written = catch_unwind(AssertUnwindSafe(|| self.write_segments(generation, &mut files)))
            .unwrap_or_else(|_| Err(Error::internal("the flush panicked; see the log")));
        let committed = written.and_then(|(edit, tenants)| Ok((self.manifest.commit(edit)?, tenants)));
        if committed.as_ref().is_err_and(|error| error.kind != ErrorKind::Closed) {
            // Nothing names the files (after `Closed` that is not known), and the next try makes others:
            // the disk must not fill up with them.
            for file in files {
                // What cannot be removed is left to the next start.
                let _ = self.env.disk.remove_file(&self.options.data_dir.join(file));
            }
        }
        let (state, tenants) = committed?;
        let mut view = self.view.write().unwrap_or_else(PoisonError::into_inner);
        view.committed(Arc::clone(&state), &tenants, &self.opener)?;
        drop(view);
        // The batches of this flush stay until the next one: a start that must fall back to the root
        // before this one replays them, and has lost nothing.
        if let Some(wal) = self.wal.get()
            && let Err(error) = wal.truncate(before)
        {
            tracing::warn!(%error, "the WAL could not be trimmed");
        }
        Ok(())
    }

    /// Writes what a generation becomes: the edit to commit, and whose segments it has. `files` is
    /// told each file before it is made, relative to the data directory.
    fn write_segments(&self, generation: &Generation, files: &mut Vec<String>) -> Result<(Edit, Vec<Tenant>)> {
        let segments = flush::write(&self.env, &self.options, generation, files)?;
        let producers = self.write_producers(generation.seq_max, files)?;
        let mut tenants: Vec<Tenant> = segments.iter().map(|segment| segment.tenant.clone()).collect();
        tenants.dedup();
        let edit = Edit {
            add: segments.into_iter().map(|NewSegment { tenant, day, entry }| (tenant, day, entry)).collect(),
            flushed_seq: Some(generation.seq_max),
            producers,
            ..Edit::default()
        };
        Ok((edit, tenants))
    }

    /// Writes the producers that changed since the last root, as of `flushed_seq`.
    fn write_producers(&self, flushed_seq: Seq, files: &mut Vec<String>) -> Result<Option<FileRef>> {
        if self.producers.newest_seq() <= self.read_view().state().flushed_seq {
            return Ok(None);
        }
        let bytes = self.producers.encode(flushed_seq);
        // The random part: after a fallback to an older root the number may be taken.
        let path = format!("{PRODUCERS_DIR}/{flushed_seq:020}-{:016x}.producers", self.env.random.next_u64());
        files.push(path.clone());
        let folder = self.options.data_dir.join(PRODUCERS_DIR);
        let (disk, file) = (&*self.env.disk, self.options.data_dir.join(&path));
        disk.create_dir_all(&folder)
            .and_then(|()| timberlog_disk::atomic::write_new(disk, &file, &bytes))
            .and_then(|()| disk.sync_dir(&folder))
            .map_err(|error| Error::io(format!("write `{}`", file.display()), &error))?;
        Ok(Some(FileRef { path, len: bytes.len() as u64, crc32c: crc32c::crc32c(&bytes) }))
    }

    /// Lets appends in that have room now, and refuses those that waited too long.
    fn wake_waiting(self: &Arc<Self>) {
        let (admitted, expired) = self.memory.wake(self.env.clock.monotonic_ns());
        for pending in admitted {
            self.write(pending);
        }
        for pending in expired {
            self.refuse(pending, self.no_room());
        }
    }

    fn stats(&self) -> Stats {
        let get = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let (hits, misses) = self.opener.cache.hits_and_misses();
        let counters = &self.counters;
        let view = self.read_view();
        let mut stats = Stats {
            records_appended: get(&counters.records_appended),
            batches_appended: get(&counters.batches_appended),
            bytes_appended: get(&counters.bytes_appended),
            records_refused: get(&counters.records_refused),
            duplicates: get(&counters.duplicates),
            buffer_records: view.generations().map(|generation| generation.rows).sum(),
            buffer_bytes: self.memory.used() as u64,
            appends_waiting: self.memory.waiting() as u64,
            flushes: get(&counters.flushes),
            flushes_failed: get(&counters.flushes_failed),
            flush_error: lock(&counters.flush_error).clone(),
            flush_ns: get(&counters.flush_ns),
            manifest_version: view.state().version,
            flushed_seq: view.state().flushed_seq,
            visible_seq: view.visible_seq(),
            synced_seq: self.wal.get().map_or(0, Wal::synced_seq),
            cache_bytes: self.opener.cache.bytes(),
            cache_hits: hits,
            cache_misses: misses,
            damage: lock(&self.damage).clone(),
            ..Stats::default()
        };
        add_state(&mut stats, view.state());
        add_buffer(&mut stats, &view);
        stats
    }
}

fn add_state(stats: &mut Stats, state: &State) {
    stats.tenants = state.tenants.len() as u64;
    stats.partitions = state.all_partitions().count() as u64;
    for (_, _, entry) in state.segments() {
        stats.segments += 1;
        stats.segment_records += entry.rows;
        stats.segment_raw_bytes += entry.raw_bytes;
        stats.segment_bytes += entry.files().map(|file| file.len).sum::<u64>();
        extend(stats, entry.range);
    }
}

fn add_buffer(stats: &mut Stats, view: &View) {
    for batch in view.generations().flat_map(|generation| generation.tenants.values()).flatten() {
        extend(stats, batch.range);
    }
}

fn extend(stats: &mut Stats, range: timberlog_types::TimeRange) {
    stats.timestamp_min = Some(stats.timestamp_min.map_or(range.start, |min| min.min(range.start)));
    stats.timestamp_max = Some(stats.timestamp_max.map_or(range.end, |max| max.max(range.end)));
}

/// What the WAL writer tells. Weak: the WAL belongs to the core.
struct Publisher(std::sync::Weak<Core>);

impl wal::Publish for Publisher {
    fn publish(&self, frames: Vec<wal::Frame>) {
        if let Some(core) = self.0.upgrade() {
            for frame in frames {
                core.publish(&frame);
            }
        }
    }

    fn synced(&self, _: Seq) {}
}

/// Takes the lock of a data directory, until the returned value goes.
pub(crate) fn lock_directory(env: &Env, dir: &Path) -> Result<Box<dyn Send + Sync>> {
    env.disk.lock(&dir.join("LOCK")).map_err(|error| match error.kind() {
        std::io::ErrorKind::WouldBlock => {
            let message = format!("the data directory `{}` is in use by another process", dir.display());
            Error::new(ErrorKind::Conflict, message)
        }
        _ => Error::io(format!("lock the data directory `{}`", dir.display()), &error),
    })
}

fn read_producers(env: &Env, options: &Options, file: &FileRef) -> Result<Producers<Done>> {
    let doing = format!("read producers file `{}`", file.path);
    let path = timberlog_disk::join(&options.data_dir, &file.path)
        .ok_or_else(|| Error::corrupt(format!("{doing}: the path leaves the data directory")))?;
    let bytes = env
        .disk
        .open(&path, Open::Read)
        .and_then(|file| file.read_all(PRODUCERS_FILE_BYTES_MAX))
        .map_err(|error| Error::io(&doing, &error))?;
    if crc32c::crc32c(&bytes) != file.crc32c {
        return Err(Error::corrupt(format!("{doing}: checksum mismatch")));
    }
    Producers::decode(&bytes).map_err(|error| error.context(doing))
}

/// What the manifest found damaged, for people.
fn damage(report: &OpenReport) -> Vec<String> {
    let mut damage = report.unreachable.clone();
    damage.extend(report.fallback.iter().map(|fallback| {
        let LostRoot { path, reason, .. } = &fallback.lost;
        format!("manifest root `{path}` is damaged ({reason}); version {} is used instead", fallback.version_used)
    }));
    damage.extend(report.history_damage.iter().map(ToString::to_string));
    for message in &damage {
        tracing::error!("{message}");
    }
    damage
}

fn closed() -> Error {
    Error::new(ErrorKind::Closed, "the database is closed")
}

#[cfg(test)]
mod tests;
