//! The flusher: the thread that turns frozen generations of the buffer into committed segments, one
//! at a time, and lets waiting appends in when there is room again.

use super::{Core, lock};
use crate::buffer::Generation;
use crate::flush::{self, NewSegment};
use crate::manifest::{Edit, FileRef, PRODUCERS_DIR, State};
use crate::view::View;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;
use timberlog_types::{Error, ErrorKind, Result, Seq};

/// How often a flush that failed is tried again.
const FLUSH_RETRY: Duration = Duration::from_secs(1);
/// How often the flusher looks at ages and deadlines.
const TICK: Duration = Duration::from_millis(200);

/// Wakes the flusher.
#[derive(Default)]
pub(super) struct Signal {
    wanted: Mutex<Wanted>,
    changed: Condvar,
}

#[derive(Default)]
struct Wanted {
    flush: bool,
    stop: bool,
}

impl Signal {
    pub(super) fn flush(&self) {
        lock(&self.wanted).flush = true;
        self.changed.notify_one();
    }

    pub(super) fn stop(&self) {
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

impl Core {
    /// The flusher thread.
    pub(super) fn run_flusher(self: &Arc<Self>) {
        let mut retry_ns = 0;
        loop {
            self.look_at_disk();
            self.forget_tail();
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
    pub(super) fn flush_due(self: &Arc<Self>) -> Result<()> {
        loop {
            let now = self.env.clock.monotonic_ns();
            {
                let mut view = self.view.write();
                let active = view.active();
                let age = Duration::from_nanos(active.since_ns.map_or(0, |since| now.saturating_sub(since)));
                let due = active.bytes >= self.options.flush_bytes || age >= self.options.flush_age;
                if due || (self.memory.waiting() > 0 && view.next_frozen().is_none()) {
                    view.freeze();
                }
                if view.next_frozen().is_none() {
                    drop(view);
                    return self.flush_rest();
                }
            }
            self.flush_one()?;
            self.wake_waiting();
        }
    }

    /// Flushes everything that is visible now.
    pub(super) fn flush_all(self: &Arc<Self>) -> Result<()> {
        let until = {
            let mut view = self.view.write();
            view.freeze();
            view.visible_seq()
        };
        while self.read_view().next_frozen().is_some_and(|generation| generation.seq_max <= until) {
            self.flush_one()?;
        }
        self.flush_rest()?;
        self.wake_waiting();
        Ok(())
    }

    /// While the WAL is replayed: flushes when `flush_at` bytes are in memory. There is no flusher
    /// yet, so frozen generations count too. A full disk does not fail it as long as there is room
    /// in memory: what is replayed can be queried, and the flusher tries again.
    pub(super) fn flush_replayed(self: &Arc<Self>, flush_at: &mut usize) -> Result<()> {
        let used = self.memory.used();
        if used < *flush_at {
            return Ok(());
        }
        match self.flush_all() {
            Ok(()) => *flush_at = self.options.flush_bytes,
            Err(error) if error.kind == ErrorKind::Unavailable => {
                tracing::error!(%error, "what the WAL holds cannot be flushed, it stays in memory");
                // Not with every batch: each try freezes a generation of its own.
                *flush_at = used.saturating_add(self.options.flush_bytes.max(1));
            }
            Err(error) => return Err(error),
        }
        Ok(())
    }

    /// While the WAL is replayed: makes sure that a batch of `bytes` fits into memory.
    ///
    /// # Errors
    /// `Unavailable` if it does not and what is there cannot be flushed.
    pub(super) fn make_replay_room(self: &Arc<Self>, bytes: usize) -> Result<()> {
        let used = self.memory.used();
        // Batches share less with each other here than when they came: what was taken must fit.
        let bytes_max = self.options.buffer_bytes_max.saturating_add(self.options.buffer_bytes_max / 8);
        if used == 0 || used.saturating_add(bytes) <= bytes_max {
            return Ok(());
        }
        self.flush_all().map_err(|error| match error.kind {
            ErrorKind::Unavailable => error.context(format!(
                "the WAL holds more than the memory buffer takes ({} bytes), and it cannot be flushed: make room on \
                 the disk of `{}`, or raise the buffer's limit, and start again",
                self.options.buffer_bytes_max,
                self.options.data_dir.display()
            )),
            _ => error,
        })
    }

    /// Flushes the oldest frozen generation, if there is one.
    pub(super) fn flush_one(self: &Arc<Self>) -> Result<()> {
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
                for (tenant, batches) in &generation.tenants {
                    let bytes = batches.iter().map(|batch| batch.batch.memory_bytes()).sum();
                    self.memory.release(tenant, bytes);
                }
            }
            Err(error) => {
                self.counters.flushes_failed.fetch_add(1, Ordering::Relaxed);
                *lock(&self.counters.flush_error) = Some(error.to_string());
            }
        }
        result
    }

    pub(super) fn flush_generation(&self, generation: &Generation) -> Result<()> {
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
        let flushed_bytes =
            |edit: &Edit| -> u64 { edit.add.iter().flat_map(|(_, _, entry)| entry.files()).map(|file| file.len).sum() };
        let committed = written.and_then(|edit| {
            let bytes = flushed_bytes(&edit);
            Ok((self.manifest.commit(edit)?, bytes))
        });
        if let Err(error) = &committed {
            self.remove_unnamed(error, files);
        }
        let (state, bytes) = committed?;
        self.counters.bytes_flushed.fetch_add(bytes, Ordering::Relaxed);
        self.install(state)?;
        self.compactor.look();
        // The batches of this flush stay until the next one: a start that must fall back to the root
        // before this one replays them, and has lost nothing.
        self.trim_wal(Some(before));
        Ok(())
    }

    /// Where everything is in segments: commits that deletes which came since are not to be read again.
    pub(super) fn flush_rest(&self) -> Result<()> {
        let is_due = |view: &View| view.visible_seq() > view.state().flushed_seq;
        if !is_due(&self.read_view()) {
            return Ok(());
        }
        let _one_at_a_time = lock(&self.flushing);
        let (visible, before) = {
            let view = self.read_view();
            if !view.is_flushed() || !is_due(&view) {
                return Ok(());
            }
            (view.visible_seq(), view.state().flushed_seq)
        };
        if let Some(wal) = self.wal.get().filter(|wal| wal.synced_seq() < visible) {
            wal.sync()?;
        }
        let deletes = self.uncommitted_deletes();
        self.change(Edit { flushed_seq: Some(visible), deletes, ..Edit::default() })?;
        self.compactor.look();
        self.trim_wal(Some(before));
        Ok(())
    }

    /// Commits an edit without files of its own to remove if it fails, and shows it.
    pub(super) fn change(&self, edit: Edit) -> Result<()> {
        let state = self.manifest.commit(Edit { clock_ns: Some(self.clock_ns()), ..edit })?;
        self.install(state)
    }

    /// Removes files that were written for a commit that failed.
    pub(super) fn remove_unnamed(&self, error: &Error, files: Vec<String>) {
        if error.kind == ErrorKind::Closed {
            // It is not known whether something names them.
            return;
        }
        // The next try makes others: the disk must not fill up with them.
        for file in files {
            // What cannot be removed is left to the next start.
            let _ = self.env.disk.remove_file(&self.options.data_dir.join(file));
        }
    }

    /// Shows a committed state.
    pub(super) fn install(&self, state: Arc<State>) -> Result<()> {
        self.view.write().install(state, &self.opener)
    }

    /// Writes what a generation becomes: the edit to commit. `files` is told each file before it is
    /// made, relative to the data directory.
    pub(super) fn write_segments(&self, generation: &Generation, files: &mut Vec<String>) -> Result<Edit> {
        let segments = flush::write(&self.env, &self.options, generation, files)?;
        let producers = self.write_producers(generation.seq_max, files)?;
        Ok(Edit {
            add: segments.into_iter().map(|NewSegment { tenant, day, entry }| (tenant, day, entry)).collect(),
            flushed_seq: Some(generation.seq_max),
            producers,
            deletes: self.uncommitted_deletes(),
            clock_ns: Some(self.clock_ns()),
            ..Edit::default()
        })
    }

    /// Writes the producers that changed since the last root, as of `flushed_seq`.
    pub(super) fn write_producers(&self, flushed_seq: Seq, files: &mut Vec<String>) -> Result<Option<FileRef>> {
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
    pub(super) fn wake_waiting(self: &Arc<Self>) {
        let (admitted, expired) = self.memory.wake(self.env.clock.monotonic_ns());
        for pending in admitted {
            self.write(pending);
        }
        for pending in expired {
            self.refuse(pending, self.no_room());
        }
    }
}
