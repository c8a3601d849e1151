//! The engine: takes batches in, publishes them after their fsync, flushes them, hands out
//! snapshots.
//!
//!     append → producers (a duplicate?) → memory (is there room?) → WAL → published → flushed
//!
//! Threads: callers, the WAL writer (publishes and answers), the flusher and the compactor. Locks,
//! each held briefly and never across I/O: view, memory, producers. Flushes are one at a time, and
//! so are compaction jobs.

mod archiver;
mod backup;
mod compactor;
mod counters;
mod deletes;
mod floor;
mod flusher;
mod follower;
mod purge;
mod retention;
mod tiering;
mod viewing;
mod wake;

use crate::cache::Cache;
use crate::compaction::Compacted;
use crate::damage::DamageLog;
use crate::manifest::{FileRef, LostRoot, Manifest, ManifestOptions, OpenReport};
use crate::memory::{Admission, Memory, overloaded};
use crate::options::{Durability, Options};
use crate::producers::{Begin, PRODUCERS_FILE_BYTES_MAX, ProducerBatch, Producers, Stored};
use crate::retention::{RetentionClock, Rules};
use crate::snapshot::{BufferedBatch, Snapshot};
use crate::stats::{Progress, Stats};
use crate::streams::Streams;
use crate::tier;
use crate::view::{Opener, View};
use crate::wal::{self, Body, Wal};
use archiver::Archiver;
use compactor::{Compactor, Pace};
use counters::Counters;
use flusher::Signal;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, RwLockReadGuard};
use std::thread::JoinHandle;
use timberlog_disk::{Env, Open};
use timberlog_types::{Batch, Error, ErrorKind, Result, Seq, Tenant};
use viewing::Viewing;

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

/// A storage: one data directory, opened by one process.
pub struct Storage {
    core: Arc<Core>,
    /// The flusher and the compactor.
    threads: Mutex<Vec<JoinHandle<()>>>,
}

struct Core {
    env: Env,
    options: Options,
    opener: Opener,
    view: Viewing,
    memory: Memory<PendingAppend>,
    producers: Producers<Done>,
    streams: Streams,
    manifest: Manifest,
    /// Held by the one flush that runs.
    flushing: Mutex<()>,
    wal: OnceLock<Wal>,
    subscriber: Arc<dyn Subscriber>,
    signal: Signal,
    compactor: Compactor,
    tiering: tiering::Tiering,
    archiver: Option<Archiver>,
    /// Batches up to here are in segments, and in those of the root before.
    flushed_before: AtomicU64,
    /// The end of the WAL that the backup of this pin holds.
    pinned_tail: Mutex<Option<backup::PinnedTail>>,
    counters: Counters,
    rules: Rules,
    clock: RetentionClock,
    /// Held while a delete is cancelled, and while the commit of a purge is made.
    purging: Mutex<()>,
    closed: AtomicBool,
    /// The disk has less room than it must have for new records.
    disk_is_low: AtomicBool,
    damage: Arc<DamageLog>,
    /// The lock of the data directory: released when the storage goes.
    _lock: Box<dyn Send + Sync>,
}

struct PendingAppend {
    tenant: Tenant,
    batch: Arc<Batch>,
    producer: Option<ProducerBatch>,
    done: Done,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Storage {
    /// Opens or creates the storage of `options.data_dir`. See `Database::open`.
    pub fn open(options: Options, env: Env, subscriber: Arc<dyn Subscriber>, progress: &Progress) -> Result<Self> {
        let core = Arc::new(Core::open(options.normalised(), env, subscriber)?);
        if core.follows() {
            let storage = Self { core, threads: Mutex::new(Vec::new()) };
            if storage.core.options.background {
                storage.spawn("timberlog-follow", Core::run_follower)?;
            }
            return Ok(storage);
        }
        core.replay(progress)?;
        let storage = Self { core, threads: Mutex::new(Vec::new()) };
        if storage.core.options.background {
            // Known before the first append comes.
            storage.core.look_at_disk();
            storage.spawn("timberlog-flush", Core::run_flusher)?;
            if storage.core.options.compaction.enabled || storage.core.has_retention() {
                storage.spawn("timberlog-compact", Core::run_compactor)?;
            }
            if storage.core.options.tier.is_some() {
                storage.spawn("timberlog-tier", Core::run_tierer)?;
                storage.core.tiering.wait_for_claim()?;
            }
            if storage.core.archiver.is_some() {
                storage.spawn("timberlog-archive", Core::run_archiver)?;
            }
        }
        Ok(storage)
    }

    fn spawn(&self, name: &str, run: fn(&Arc<Core>)) -> Result<()> {
        let core = Arc::clone(&self.core);
        let spawned = std::thread::Builder::new().name(name.into()).spawn(move || run(&core));
        lock(&self.threads).push(spawned.map_err(|error| Error::io(format!("start thread `{name}`"), &error))?);
        Ok(())
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

    /// Whether flushes fall behind what comes in, so that half of the room beyond one of them is taken: work that can wait
    /// leaves them the machine.
    pub fn is_tight(&self) -> bool {
        self.core.is_tight()
    }

    /// Flushes everything that is visible now.
    pub fn flush(&self) -> Result<()> {
        self.core.flush_all()
    }

    /// Runs one job of compaction, now and as fast as it goes, if any is due; `None` if none is:
    /// first what retention and deletes remove, then merges. Works whether compaction is on, off or
    /// paused.
    ///
    /// # Errors
    /// Nothing has changed then, and the partition rests for a while.
    pub fn compact(&self) -> Result<Option<Compacted>> {
        self.core.compact_once(Pace::Free, true)
    }

    /// Keeps compaction from going on, until [`Storage::resume_compaction`] or a restart. A job under
    /// way waits at its next block; a commit under way is completed.
    pub fn pause_compaction(&self) {
        self.core.compactor.pause();
    }

    /// Lets compaction go on.
    pub fn resume_compaction(&self) {
        self.core.compactor.resume();
    }

    /// Archives every batch that is on disk by now; the thread does so by itself. Without an archive
    /// nothing happens.
    ///
    /// # Errors
    /// The store does not answer: what is not archived stays in the WAL.
    pub fn archive(&self) -> Result<()> {
        self.core.archive_now(false)
    }

    /// What a query of this tenant sees now.
    pub fn snapshot(&self, tenant: &Tenant) -> Snapshot {
        let clock_ns = self.core.clock_ns();
        self.core.read_view().snapshot(tenant, &self.core.rules, clock_ns)
    }

    /// Why a restart is needed, if one is: an fsync of the WAL failed, and no batch can be stored; or nobody knows whether a
    /// commit is durable, and nothing can be flushed, so batches are stored until memory is full.
    pub fn failure(&self) -> Option<String> {
        self.core.wal.get().and_then(Wal::poisoned).or_else(|| self.core.manifest.failure())
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

    /// Stops taking batches, flushes everything, closes the files. The second call does nothing. On a thread of the storage,
    /// which calls back and cannot wait for its own end, it returns at once, and another thread does the rest.
    pub fn close(&self) -> Result<()> {
        if self.core.closed.swap(true, Ordering::SeqCst) {
            return Ok(());
        }
        let threads = std::mem::take(&mut *lock(&self.threads));
        let this = std::thread::current().id();
        let is_own = |thread: &JoinHandle<()>| thread.thread().id() == this;
        if !threads.iter().any(is_own) && !self.core.wal.get().is_some_and(Wal::is_on_writer) {
            return self.core.end(threads);
        }
        let core = Arc::clone(&self.core);
        let end = move || core.end(threads).unwrap_or_else(|error| not_closed(&error));
        let spawned = std::thread::Builder::new().name("timberlog-close".into()).spawn(end);
        spawned.map(drop).map_err(|error| Error::io("start thread `timberlog-close`", &error))
    }
}

fn not_closed(error: &Error) {
    tracing::error!(%error, "the storage did not close cleanly; the next start replays the WAL");
}

impl Drop for Storage {
    fn drop(&mut self) {
        self.close().unwrap_or_else(|error| not_closed(&error));
    }
}

impl Core {
    /// Ends the writer of the WAL and these threads, and flushes what is left.
    fn end(self: &Arc<Self>, threads: Vec<JoinHandle<()>>) -> Result<()> {
        self.refuse_waiting();
        let wal = match self.wal.get() {
            Some(wal) => wal.close(),
            None => Ok(()),
        };
        self.signal.stop();
        self.compactor.wake.stop();
        self.tiering.wake.stop();
        if let Some(archiver) = &self.archiver {
            archiver.stop();
        }
        for thread in threads {
            // A panic there was logged; what was not flushed is in the WAL.
            let _ = thread.join();
        }
        self.archive_rest();
        let flushed = self.flush_all();
        wal.and(flushed)
    }

    fn open(options: Options, env: Env, subscriber: Arc<dyn Subscriber>) -> Result<Self> {
        let dir = &options.data_dir;
        let at = |what: &str| format!("{what} `{}`", dir.display());
        env.disk.create_dir_all(dir).map_err(|error| Error::io(at("create the data directory"), &error))?;
        if let Some(tier) = options.tier.as_ref().filter(|tier| tier.adopt)
            && let tier::Adoption::Done { epoch, segments, records } = tier::adopt(
                &env,
                dir,
                &tier.store,
                tier::Adopting { take_over: tier.take_over, version: tier.adopt_version },
            )?
        {
            tracing::info!(epoch, segments, records, store = tier.store.describe(), "took the bucket over");
        }
        let lock = lock_directory(&env, dir)?;
        let follow = options.tier.as_ref().filter(|tier| tier.follow);
        let mut followed = None;
        let (manifest, report) = match follow {
            Some(tier) => {
                let (bucket, manifest) = follower::following(&env, dir, &*tier.store)?;
                followed = Some(bucket);
                (manifest, OpenReport::default())
            }
            None => Manifest::open(&env, dir, ManifestOptions { history: options.manifest_history })?,
        };
        let state = manifest.state();
        let damage = damage(&report);
        let producers = match &state.producers {
            Some(file) => read_producers(&env, &options, file).unwrap_or_else(|error| {
                let message = format!("{error}; batches that producers send again may be stored twice");
                damage.note(message);
                Producers::default()
            }),
            None => Producers::default(),
        };
        let cache = Arc::new(Cache::new(options.cache_bytes));
        let cold = options.tier.as_ref().map(|tier| {
            tier::Reader::open(&env, Some(&dir.join("tier")), Arc::clone(&tier.store), &tier.read).map(Arc::new)
        });
        let cold = cold.transpose()?;
        let opener = Opener { env: env.clone(), cache, data_dir: dir.clone(), damage: Arc::clone(&damage), cold };
        let archiver = Archiver::open(&options, &env, &state)?;
        let rules = Rules::new(&options.retention, &options.selectors)?;
        let clock = RetentionClock::new(&env, state.clock_ns);
        let view = View::new(state, &opener, &options.selectors)?;
        Ok(Self {
            memory: Memory::new(options.buffer_bytes_max, options.waiting_max, options.waiting_bytes_max),
            producers,
            streams: Streams::new(options.streams_max),
            manifest,
            flushing: Mutex::new(()),
            wal: OnceLock::new(),
            subscriber,
            signal: Signal::default(),
            compactor: Compactor::default(),
            tiering: tiering::Tiering::new(followed),
            archiver,
            flushed_before: AtomicU64::new(0),
            pinned_tail: Mutex::new(None),
            counters: Counters::default(),
            rules,
            clock,
            purging: Mutex::new(()),
            closed: AtomicBool::new(false),
            disk_is_low: AtomicBool::new(false),
            damage,
            view: Viewing::new(view),
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
        let mut flush_at = self.options.flush_bytes;
        let mut on_frame = |frame: wal::Frame| {
            let batch = match &frame.body {
                Body::Batch(batch) => batch,
                Body::Delete(logged) => return self.publish_delete(&frame, logged),
            };
            let bytes = batch.memory_bytes();
            self.make_replay_room(bytes)?;
            self.memory.take(&frame.tenant, bytes);
            self.publish(&frame, batch);
            self.flush_replayed(&mut flush_at)
        };
        let told = |done: u64, total: u64| {
            progress.total_bytes.store(total, Ordering::Relaxed);
            progress.done_bytes.store(done, Ordering::Relaxed);
        };
        let database_id = self.read_view().state().database_id.clone();
        let options = || self.options.wal(database_id.clone());
        let opened = Wal::open(&self.env, options(), flushed_seq, Arc::clone(&publish), &mut on_frame, &told)?;
        let (mut wal, report) = opened;
        let floor = self.read_view().state().deletes.seq_max();
        if wal.last_seq() < floor {
            // The end of the WAL is lost: what comes now must not look as if it came before a delete.
            wal.close()?;
            self.view.write().skip_to(floor);
            self.flush_all()?;
            let flushed_seq = self.read_view().state().flushed_seq;
            (wal, _) = Wal::open(&self.env, options(), flushed_seq, publish, &mut |_| Ok(()), &told)?;
        }
        if report.frames > 0 {
            tracing::info!(batches = report.frames, records = report.rows, bytes = report.bytes, "replayed the WAL");
        }
        for damage in &report.damages {
            self.damage.note(damage.to_string());
        }
        // Set once: `replay` is called once.
        let _ = self.wal.set(wal);
        self.opened_for_archive()
    }

    fn append(self: &Arc<Self>, tenant: &Tenant, batch: Batch, producer: Option<ProducerBatch>, done: Done) {
        if self.closed.load(Ordering::SeqCst) {
            return done(Err(closed()));
        }
        if let Err(error) = self.check_writable() {
            return done(Err(error));
        }
        if self.disk_is_low.load(Ordering::Relaxed) {
            self.counters.records_refused.fetch_add(batch.rows() as u64, Ordering::Relaxed);
            return done(Err(self.disk_full()));
        }
        if let Some(error) = self.archive_is_behind() {
            self.counters.records_refused.fetch_add(batch.rows() as u64, Ordering::Relaxed);
            return done(Err(error));
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
        let tenant = pending.tenant.clone();
        match self.memory.admit(&tenant, bytes, deadline, pending) {
            Admission::Now(pending) => self.write(pending),
            Admission::Later(left) => {
                left.into_iter().for_each(|pending| self.refuse(pending, self.no_room()));
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
                core.memory.release(&told_tenant, bytes);
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
            Some(wal) => {
                wal.append(wal::Append { tenant, body: batch.into(), producer, done: Box::new(tell) }).map(|()| wal)
            }
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
    fn publish(&self, frame: &wal::Frame, batch: &Arc<Batch>) {
        let waiting = self.remember(frame);
        let batch = Arc::new(BufferedBatch::new(frame.seq, Arc::clone(batch)));
        let now = self.env.clock.monotonic_ns();
        let (saved, is_full) = {
            let mut view = self.view.write();
            let saved = view.publish(&frame.tenant, Arc::clone(&batch), now, self.options.partitions_per_flush_max);
            (saved, view.active().bytes >= self.options.flush_bytes || view.next_frozen().is_some())
        };
        self.memory.release(&frame.tenant, saved);
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
        let accepted = u32::try_from(frame.body.rows()).unwrap_or(u32::MAX);
        let stored =
            Stored { seq: frame.seq, commit_time: frame.commit_time, accepted, refused: producer.refused.clone() };
        let waiting = self.producers.complete(&frame.tenant, producer, stored.clone());
        waiting.into_iter().map(|done| (done, stored.clone())).collect()
    }

    fn read_view(&self) -> viewing::Held<RwLockReadGuard<'_, View>> {
        self.view.read()
    }
}

/// What the WAL writer tells. Weak: the WAL belongs to the core.
struct Publisher(std::sync::Weak<Core>);

impl wal::Publish for Publisher {
    fn publish(&self, frames: Vec<wal::Frame>) {
        if let Some(core) = self.0.upgrade() {
            for frame in frames {
                match &frame.body {
                    Body::Batch(batch) => core.publish(&frame, batch),
                    // Its selector was compiled before it came into the WAL.
                    Body::Delete(logged) => {
                        if let Err(error) = core.publish_delete(&frame, logged) {
                            tracing::error!(%error, "a delete hides nothing before a restart");
                        }
                    }
                }
            }
        }
    }

    fn synced(&self, _: Seq) {}
}

/// Takes the lock of a data directory, until the returned value goes. One that is being restored is
/// no database yet.
pub(crate) fn lock_directory(env: &Env, dir: &Path) -> Result<Box<dyn Send + Sync>> {
    let lock = lock_any_directory(env, dir)?;
    crate::backup::check_restored(env, dir)?;
    Ok(lock)
}

/// Takes the lock of a directory, whatever it holds.
pub(crate) fn lock_any_directory(env: &Env, dir: &Path) -> Result<Box<dyn Send + Sync>> {
    env.disk.lock(&dir.join("LOCK")).map_err(|error| match error.kind() {
        std::io::ErrorKind::WouldBlock => {
            let message =
                format!("the data directory `{}` is in use by another process, or open in this one", dir.display());
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

/// What the manifest found damaged.
fn damage(report: &OpenReport) -> Arc<DamageLog> {
    let damage = DamageLog::default();
    for unreachable in &report.unreachable {
        damage.note(unreachable.clone());
    }
    if let Some(fallback) = &report.fallback {
        let LostRoot { path, reason, .. } = &fallback.lost;
        let used = fallback.version_used;
        damage.note(format!("manifest root `{path}` is damaged ({reason}); version {used} is used instead"));
    }
    for found in &report.history_damage {
        damage.note(found.to_string());
    }
    Arc::new(damage)
}

fn closed() -> Error {
    Error::new(ErrorKind::Closed, "the database is closed")
}

#[cfg(test)]
mod tests;
