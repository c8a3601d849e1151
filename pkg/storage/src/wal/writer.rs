//! The writer: gives numbers, writes a group, syncs it, publishes it, answers it. In this order.
//!
//! Where `async` durability is chosen, the sync comes later and everything else stays. Nothing of
//! a group whose fsync failed is published, and nothing is written after it.

use super::files::{self, ActiveFile, Files, NoFile};
use super::format::{self, FileHeader, FrameHead};
use super::meta::{self, Reach};
use super::queue::Pending;
use super::recover;
use super::replay;
use super::types::{Append, Frame, Publish, ReplayReport, WalOptions};
use crate::options::Durability;
use crate::producers::ProducerBatch;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use timberlog_disk::Env;
use timberlog_types::{Error, ErrorKind, Result, Seq};

/// Payloads of at least this length are written as they are, shorter ones are gathered first: the
/// copy is cheaper than the system call.
const DIRECT_BYTES_MIN: usize = 32 << 10;
/// Gathered bytes that stay allocated.
const SCRATCH_BYTES_KEPT: usize = 1 << 20;
/// The smallest file: its headers and room for a few small frames.
const FILE_BYTES_MIN: u64 = format::FRAMES_AT + 4096;

/// What the writer and the handle share.
pub(super) struct Shared {
    files: Files,
    last_seq: AtomicU64,
    synced_seq: AtomicU64,
    /// Of the last group that was written.
    commit_time: AtomicI64,
    /// Commit times are behind this.
    closed_time: AtomicI64,
    /// Bytes of frames since the start.
    written: AtomicU64,
    is_closed: AtomicBool,
    is_poisoned: AtomicBool,
    poison: Mutex<Option<String>>,
}

impl Shared {
    pub(super) fn check_alive(&self) -> Result<()> {
        if self.is_poisoned.load(Ordering::Acquire) {
            return Err(self.poison_error());
        }
        if self.is_closed.load(Ordering::Acquire) {
            return Err(super::closed());
        }
        Ok(())
    }

    pub(super) fn last_seq(&self) -> Seq {
        self.last_seq.load(Ordering::Acquire)
    }

    pub(super) fn synced_seq(&self) -> Seq {
        self.synced_seq.load(Ordering::Acquire)
    }

    pub(super) fn commit_time(&self) -> i64 {
        self.commit_time.load(Ordering::Acquire)
    }

    pub(super) fn close_time(&self, time: i64) {
        self.closed_time.fetch_max(time, Ordering::AcqRel);
    }

    pub(super) fn written_bytes(&self) -> u64 {
        self.written.load(Ordering::Acquire)
    }

    pub(super) fn poisoned(&self) -> Option<String> {
        self.poison.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn close(&self) {
        self.is_closed.store(true, Ordering::Release);
    }

    pub(super) fn truncate(&self, flushed_seq: Seq) -> Result<()> {
        self.files.truncate(flushed_seq)
    }

    pub(super) fn poison(&self, reason: &str) {
        let mut poison = self.poison.lock().unwrap_or_else(PoisonError::into_inner);
        if poison.is_none() {
            tracing::error!(reason, "the WAL takes no more records: restart to go on from what is on disk");
            *poison = Some(reason.to_owned());
        }
        self.is_poisoned.store(true, Ordering::Release);
    }

    fn poison_error(&self) -> Error {
        let reason = self.poisoned().unwrap_or_default();
        Error::new(ErrorKind::Closed, format!("the WAL takes no more records until a restart: {reason}"))
    }
}

/// Writes groups of frames, one at a time: for a thread or for a simulation.
pub struct WalWriter {
    env: Env,
    shared: Arc<Shared>,
    publish: Arc<dyn Publish>,
    durability: Durability,
    database_id: [u8; 16],
    active: Option<ActiveFile>,
    /// A write failed: what stands at the end of the active file is unknown, the next frame goes
    /// into a new one.
    must_roll: bool,
    next_seq: Seq,
    /// Since when something is written and not synced, by the monotonic clock.
    dirty_since: Option<u64>,
    scratch: Vec<u8>,
}

impl WalWriter {
    /// Replays a folder and is ready to write behind it; see [`crate::wal::Wal::open`].
    ///
    /// # Errors
    /// See there.
    pub fn open(
        env: &Env,
        options: WalOptions,
        flushed_seq: Seq,
        publish: Arc<dyn Publish>,
        on_frame: &mut dyn FnMut(Frame) -> Result<()>,
        progress: &dyn Fn(u64, u64),
    ) -> Result<(Self, ReplayReport)> {
        let database_id = parse_id(&options.database_id)?;
        let disk = &*env.disk;
        let dir = &options.dir;
        disk.create_dir_all(dir).map_err(|error| Error::io(format_args!("create `{}`", dir.display()), &error))?;
        let mut report = ReplayReport::default();
        let meta = meta::read(disk, dir)?;
        let listing = files::list(disk, dir)?;
        let plan = replay::plan(disk, dir, &listing, Some(database_id), flushed_seq)?;
        report.damages.extend(replay::missing_newest(&listing, meta, &plan));
        let meta = recover::renew_meta(env, &options, database_id, meta, &mut report)?;
        recover::make_durable(env, &options, &plan)?;
        let mut commit_time = plan.commit_time;
        let closed = recover::deliver(env, &options, &plan, flushed_seq, &mut report, progress, &mut |frame| {
            commit_time = commit_time.max(frame.commit_time);
            on_frame(frame)
        })?;
        let last_seq = plan.end_seq - 1;
        report.last_seq = last_seq;
        report.torn_tail = plan.torn_tail;
        let file_bytes = options.file_bytes.max(FILE_BYTES_MIN);
        let files = Files::new(Arc::clone(&env.disk), options.dir, file_bytes, closed, meta);
        files.clean(listing);
        let shared = Arc::new(Shared {
            files,
            last_seq: AtomicU64::new(last_seq),
            synced_seq: AtomicU64::new(last_seq),
            commit_time: AtomicI64::new(commit_time),
            closed_time: AtomicI64::new(i64::MIN),
            written: AtomicU64::new(0),
            is_closed: AtomicBool::new(false),
            is_poisoned: AtomicBool::new(false),
            poison: Mutex::new(None),
        });
        let writer = Self {
            env: env.clone(),
            shared,
            publish,
            durability: options.durability,
            database_id,
            active: None,
            must_roll: false,
            next_seq: plan.end_seq,
            dirty_since: None,
            scratch: Vec::new(),
        };
        Ok((writer, report))
    }

    /// Writes, syncs and publishes a group, and calls each `done`: with the batch's number, or with
    /// `Unavailable` when the disk is full (later groups may succeed), `Closed` after a failed fsync.
    pub fn commit_group(&mut self, appends: Vec<Append>) {
        let mut group = Vec::with_capacity(appends.len());
        for append in appends {
            match append.producer.as_ref().map_or(Ok(()), ProducerBatch::check) {
                Ok(()) => group.push(Pending::new(append)),
                Err(error) => (append.done)(Err(error)),
            }
        }
        self.commit(group);
    }

    /// Makes everything written durable and returns up to where.
    ///
    /// # Errors
    /// `Closed` if the fsync failed, now or before.
    pub fn sync(&mut self) -> Result<Seq> {
        if self.shared.is_poisoned.load(Ordering::Acquire) {
            return Err(self.shared.poison_error());
        }
        if self.is_dirty() {
            self.sync_active()?;
            self.mark_synced();
        }
        Ok(self.shared.synced_seq())
    }

    /// Makes everything durable, for good, and notes where the log ends.
    ///
    /// # Errors
    /// `Closed` if the fsync failed, now or before.
    pub(super) fn close(&mut self) -> Result<Seq> {
        let last_seq = self.sync()?;
        if last_seq > 0 {
            self.shared.files.write_meta(Reach::Closed(last_seq))?;
        }
        Ok(last_seq)
    }

    pub(super) fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    pub(super) fn monotonic_ns(&self) -> u64 {
        self.env.clock.monotonic_ns()
    }

    pub(super) fn is_dirty(&self) -> bool {
        self.dirty_since.is_some()
    }

    /// How long something has been written and not synced.
    pub(super) fn dirty_for(&self) -> Duration {
        let since = self.dirty_since.map_or(0, |since| self.monotonic_ns().saturating_sub(since));
        Duration::from_nanos(since)
    }

    pub(super) fn commit(&mut self, mut group: Vec<Pending>) {
        while !group.is_empty() {
            match self.commit_front(&mut group) {
                Ok(()) => {}
                Err(error) => {
                    for pending in group.drain(..) {
                        pending.finish(Err(error.clone()));
                    }
                }
            }
        }
    }

    /// Commits as many frames from the front as one file takes. After an error nothing was taken.
    fn commit_front(&mut self, group: &mut Vec<Pending>) -> Result<()> {
        if self.shared.is_poisoned.load(Ordering::Acquire) {
            return Err(self.shared.poison_error());
        }
        let first_len = group.first().map_or(0, |pending| pending.frame_len);
        let room = self.make_room(first_len)?;
        let mut bytes = 0;
        let fitting = group.iter().take_while(|pending| {
            bytes += pending.frame_len;
            bytes <= room
        });
        let count = fitting.count();
        let Some(run) = group.get(..count) else { return Ok(()) };
        // Each group is later than the one before, and than what the archive says to know all of, also where the clock is set
        // back: what an instant had stays so.
        let last = self.shared.commit_time().max(self.shared.closed_time.load(Ordering::Acquire));
        let now = self.env.clock.now_ns().max(last.saturating_add(1));
        self.write(run, now)?;
        let first_seq = self.next_seq;
        if self.durability == Durability::Fsync {
            self.sync_active()?;
        }
        self.shared.commit_time.store(now, Ordering::Release);
        self.next_seq += count as u64;
        let written = run.iter().map(|pending| pending.frame_len).sum();
        self.shared.written.fetch_add(written, Ordering::AcqRel);
        self.shared.last_seq.store(self.next_seq - 1, Ordering::Release);
        if self.durability == Durability::Fsync {
            self.mark_synced();
        }
        let mut answers = Vec::with_capacity(count);
        let mut frames = Vec::with_capacity(count);
        for (seq, mut pending) in (first_seq..).zip(group.drain(..count)) {
            frames.push(Frame {
                seq,
                commit_time: now,
                tenant: pending.tenant.clone(),
                producer: pending.producer.take(),
                body: pending.body.clone(),
            });
            answers.push((seq, pending.into_answer()));
        }
        self.publish.publish(frames);
        for (seq, mut answer) in answers {
            answer.give(Ok(seq));
        }
        Ok(())
    }

    /// Bytes left in the active file, which is a new one if this frame did not fit.
    fn make_room(&mut self, frame_len: u64) -> Result<u64> {
        if let Some(active) = self.active.as_ref().filter(|active| !self.must_roll && active.room() >= frame_len) {
            return Ok(active.room());
        }
        // What a new file's name proves, the old file must have on disk.
        self.sync()?;
        let header = FileHeader {
            database_id: self.database_id,
            first_seq: self.next_seq,
            salt: self.env.random.next_u64(),
            commit_time: self.shared.commit_time(),
            len_units: 0,
        };
        // Told before the new file exists: it may take the name of one without frames.
        self.retire_active();
        match self.shared.files.create(header, frame_len) {
            Ok(active) => {
                let room = active.room();
                self.active = Some(active);
                self.must_roll = false;
                Ok(room)
            }
            Err(NoFile::Failed(error)) => Err(error),
            Err(NoFile::Poisoned(error)) => Err(self.poison(&error)),
        }
    }

    fn retire_active(&mut self) {
        if let Some(active) = self.active.take() {
            self.shared.files.push_closed(active.close(self.next_seq - 1));
        }
    }

    /// Writes frames behind each other. After an error the file takes no more of them.
    fn write(&mut self, run: &[Pending], commit_time: i64) -> Result<()> {
        let Some(active) = &mut self.active else { return Err(Error::internal("the WAL has no file")) };
        let mut at = active.offset;
        let scratch = &mut self.scratch;
        scratch.clear();
        let synced_seq = self.shared.synced_seq.load(Ordering::Acquire);
        let mut outcome = Ok(());
        let mut put = |bytes: &[u8]| {
            if outcome.is_ok() {
                outcome = active.file.write_all_at(bytes, at);
                at += bytes.len() as u64;
            }
        };
        for (seq, pending) in (self.next_seq..).zip(run) {
            let payload = pending.body.payload();
            let head = FrameHead {
                kind: pending.body.kind(),
                header_len: 0,
                payload_len: payload.len() as u32,
                payload_crc: pending.payload_crc,
                rows: pending.body.rows() as u32,
                seq,
                commit_time,
                synced_seq,
            };
            let start = scratch.len();
            format::encode_head(scratch, active.header.salt, head, &pending.tenant, pending.producer.as_ref());
            let unpadded = scratch.len() - start + payload.len();
            if payload.len() < DIRECT_BYTES_MIN {
                scratch.extend_from_slice(payload);
            } else {
                put(scratch);
                scratch.clear();
                put(payload);
            }
            scratch.resize(scratch.len() + format::padding(unpadded), 0);
        }
        put(scratch);
        if scratch.capacity() > SCRATCH_BYTES_KEPT {
            *scratch = Vec::new();
        }
        match outcome {
            Ok(()) => {
                active.offset = at;
                if self.dirty_since.is_none() {
                    self.dirty_since = Some(self.env.clock.monotonic_ns());
                }
                Ok(())
            }
            Err(error) => {
                self.must_roll = true;
                Err(Error::io(format_args!("write to WAL file `{}`", active.name), &error))
            }
        }
    }

    fn sync_active(&mut self) -> Result<()> {
        let Some(active) = &self.active else { return Ok(()) };
        match active.file.sync_data() {
            Ok(()) => {
                self.dirty_since = None;
                Ok(())
            }
            Err(error) => {
                let error = Error::io(format_args!("fsync of WAL file `{}`", active.name), &error);
                Err(self.poison(&error))
            }
        }
    }

    fn mark_synced(&mut self) {
        let seq = self.next_seq - 1;
        self.shared.synced_seq.store(seq, Ordering::Release);
        self.publish.synced(seq);
    }

    fn poison(&self, error: &Error) -> Error {
        self.shared.poison(&error.message);
        self.shared.poison_error()
    }
}

fn parse_id(id: &str) -> Result<[u8; 16]> {
    let number = u128::from_str_radix(id, 16).ok().filter(|_| id.len() == 32);
    number
        .map(u128::to_be_bytes)
        .ok_or_else(|| Error::invalid(format!("database id `{id}`, expected 32 hexadecimal digits")))
}
