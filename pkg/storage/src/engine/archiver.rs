//! The archiver: the thread that sends what the WAL has synced to the archive, and what the rest of
//! the engine may rely on: up to where that is done, and how much waits.
//!
//! The WAL's writer knows nothing of it: the archiver reads the files beside it. Appends ask one
//! question, how many bytes wait; truncation another, up to which number files may go.

use super::{Core, lock};
use crate::archive::{ArchiveOptions, ArchiveStats, Uploader, Watch};
use crate::manifest::State;
use crate::options::Options;
use crate::wal::{self, Wal};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;
use timberlog_disk::real::{Niceness, lower_thread_priority};
use timberlog_types::{Error, ErrorKind, Result, Seq};

/// How long a pass that failed waits at first, and at most; doubled each time.
const RETRY: std::ops::RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_secs(30);
/// So many bytes of frames are sent though the interval is not over.
const WAITING_BYTES: u64 = crate::archive::OBJECT_BYTES as u64;
/// How often it is looked whether so many wait.
const TICK: Duration = Duration::from_millis(200);

/// The archive of an open storage.
pub(super) struct Archiver {
    options: ArchiveOptions,
    /// Held by the one pass that runs.
    uploader: Mutex<Uploader>,
    progress: Progress,
    stop: Mutex<bool>,
    changed: Condvar,
}

/// How far it is.
#[derive(Default)]
struct Progress {
    archived_seq: AtomicU64,
    archived_time: AtomicU64,
    /// The last number that replay found.
    opened_seq: AtomicU64,
    /// At most so many bytes of frames waited then.
    opened_bytes: AtomicU64,
    /// Of those, and of the ones that came since: bytes that are archived.
    old_bytes: AtomicU64,
    new_bytes: AtomicU64,
    objects: AtomicU64,
    bytes: AtomicU64,
    failures: AtomicU64,
    must_stop: AtomicBool,
    /// When the last pass began after which nothing that came before it waited, by the monotonic clock.
    whole_ns: AtomicU64,
    line: Mutex<String>,
    last_error: Mutex<Option<Error>>,
}

impl Watch for Progress {
    fn archived(&self, seq: Seq, time: i64, frames: u64, object: u64) {
        let is_old = seq <= self.opened_seq.load(Ordering::Acquire);
        let bytes = if is_old { &self.old_bytes } else { &self.new_bytes };
        bytes.fetch_add(frames, Ordering::AcqRel);
        self.archived_time.store(u64::try_from(time).unwrap_or(0), Ordering::Relaxed);
        self.archived_seq.store(seq, Ordering::Release);
        self.objects.fetch_add(u64::from(object > 0), Ordering::Relaxed);
        self.bytes.fetch_add(object, Ordering::Relaxed);
    }

    fn line(&self, line: &str, archived_seq: Seq) {
        line.clone_into(&mut lock(&self.line));
        self.archived_seq.store(archived_seq, Ordering::Release);
    }

    fn must_stop(&self) -> bool {
        self.must_stop.load(Ordering::Relaxed)
    }
}

impl Archiver {
    /// Reads how far the directory is; asks the store nothing.
    pub(super) fn open(core: &Options, env: &timberlog_disk::Env, state: &State) -> Result<Option<Self>> {
        let Some(options) = core.archive.clone() else { return Ok(None) };
        let uploader = Uploader::open(env, options.clone(), &core.data_dir, &state.database_id, state.flushed_seq)?;
        let progress = Progress::default();
        progress.archived_seq.store(uploader.archived_seq(), Ordering::Release);
        progress.whole_ns.store(env.clock.monotonic_ns(), Ordering::Relaxed);
        uploader.line().clone_into(&mut lock(&progress.line));
        let uploader = Mutex::new(uploader);
        Ok(Some(Self { options, uploader, progress, stop: Mutex::default(), changed: Condvar::new() }))
    }

    pub(super) fn archived_seq(&self) -> Seq {
        self.progress.archived_seq.load(Ordering::Acquire)
    }

    /// The WAL was replayed up to this number; files with so many bytes hold what is not archived.
    fn opened(&self, wal: &Wal, waiting_bytes: u64) {
        let last_seq = wal.last_seq();
        wal.close_time(lock(&self.uploader).opened(last_seq));
        self.progress.opened_seq.store(last_seq, Ordering::Release);
        self.progress.opened_bytes.store(waiting_bytes, Ordering::Release);
    }

    /// Bytes of frames that wait, at most.
    fn backlog_bytes(&self, wal: &Wal) -> u64 {
        let progress = &self.progress;
        let get = |counter: &AtomicU64| counter.load(Ordering::Acquire);
        let archived = self.archived_seq();
        if archived >= wal.last_seq() {
            return 0;
        }
        let is_old = archived < get(&progress.opened_seq);
        let old = if is_old { get(&progress.opened_bytes).saturating_sub(get(&progress.old_bytes)) } else { 0 };
        old.saturating_add(wal.written_bytes().saturating_sub(get(&progress.new_bytes)))
    }

    fn last_error(&self) -> Option<Error> {
        lock(&self.progress.last_error).clone()
    }

    pub(super) fn stop(&self) {
        self.progress.must_stop.store(true, Ordering::Relaxed);
        *lock(&self.stop) = true;
        self.changed.notify_all();
    }

    /// Waits at most `wait`; returns whether to stop.
    fn wait(&self, wait: Duration) -> bool {
        let stop = lock(&self.stop);
        let waited = self.changed.wait_timeout_while(stop, wait, |stop| !*stop);
        *waited.unwrap_or_else(PoisonError::into_inner).0
    }
}

impl Core {
    /// The archiver knows what replay found.
    pub(super) fn opened_for_archive(&self) -> Result<()> {
        let (Some(archiver), Some(wal)) = (&self.archiver, self.wal.get()) else { return Ok(()) };
        let dir = self.options.data_dir.join("wal");
        let waiting = wal::waiting_bytes(&*self.env.disk, &dir, archiver.archived_seq(), wal.last_seq())?;
        archiver.opened(wal, waiting);
        Ok(())
    }

    /// Why no records are taken now, if the archive is too far behind.
    pub(super) fn archive_is_behind(&self) -> Option<Error> {
        let (archiver, wal) = (self.archiver.as_ref()?, self.wal.get()?);
        let (bytes, most) = (archiver.backlog_bytes(wal), archiver.options.backlog_bytes_max);
        (bytes >= most.max(1)).then(|| {
            let why = archiver.last_error().map_or_else(String::new, |error| format!(" (it says: {error})"));
            let message = format!(
                "{bytes} bytes wait for the archive `{}`, at most {most} may{why}: no new records are taken until it has them",
                archiver.options.store.describe()
            );
            Error::new(ErrorKind::Unavailable, message)
        })
    }

    /// Lets go of WAL files: what is needed neither for a replay nor for the archive. `flushed` is told
    /// after a flush.
    pub(super) fn trim_wal(&self, flushed: Option<Seq>) {
        let before = match flushed {
            Some(flushed) => self.flushed_before.fetch_max(flushed, Ordering::AcqRel).max(flushed),
            None => self.flushed_before.load(Ordering::Acquire),
        };
        let archived = self.archiver.as_ref().map_or(Seq::MAX, Archiver::archived_seq);
        if let Some(Err(error)) = self.wal.get().map(|wal| wal.truncate(before.min(archived))) {
            tracing::warn!(%error, "the WAL could not be trimmed");
        }
    }

    /// Archives what is synced by now.
    pub(super) fn archive_now(&self, is_last: bool) -> Result<()> {
        let (Some(archiver), Some(wal)) = (&self.archiver, self.wal.get()) else { return Ok(()) };
        let mut uploader = lock(&archiver.uploader);
        let began = self.env.clock.monotonic_ns();
        let before = archiver.archived_seq();
        let flushed_seq = self.read_view().state().flushed_seq;
        let passed = uploader.pass(wal, flushed_seq, is_last, &archiver.progress);
        drop(uploader);
        if archiver.archived_seq() > before {
            self.trim_wal(None);
        }
        let mut last_error = lock(&archiver.progress.last_error);
        match &passed {
            Ok(()) => {
                archiver.progress.whole_ns.store(began, Ordering::Relaxed);
                if last_error.take().is_some() {
                    tracing::info!("the archive goes on");
                }
            }
            Err(error) => {
                archiver.progress.failures.fetch_add(1, Ordering::Relaxed);
                if last_error.replace(error.clone()).is_none() {
                    tracing::error!(%error, "the WAL is not archived, trying again");
                }
            }
        }
        passed
    }

    /// The archiver's thread.
    pub(super) fn run_archiver(self: &Arc<Self>) {
        let Some(archiver) = &self.archiver else { return };
        lower_thread_priority(Niceness::Background);
        let mut pause = Duration::ZERO;
        let mut due_ns = 0;
        loop {
            let now = self.env.clock.monotonic_ns();
            let waits = self.wal.get().map_or(0, |wal| archiver.backlog_bytes(wal));
            if pause.is_zero() && now < due_ns && waits < WAITING_BYTES {
                if archiver.wait(TICK.min(archiver.options.interval)) {
                    return;
                }
                continue;
            }
            if !pause.is_zero() && archiver.wait(pause) {
                return;
            }
            due_ns = self.env.clock.monotonic_ns().saturating_add(archiver.options.interval.as_nanos() as u64);
            pause = match self.archive_now(false) {
                Ok(()) => Duration::ZERO,
                Err(_) => (pause * 2).clamp(*RETRY.start(), *RETRY.end()),
            };
            if archiver.wait(Duration::ZERO) {
                return;
            }
        }
    }

    /// At the end, when the WAL takes nothing any more: the rest, unless the store was not there just now.
    pub(super) fn archive_rest(&self) {
        let Some(archiver) = &self.archiver else { return };
        archiver.progress.must_stop.store(false, Ordering::Relaxed);
        if archiver.last_error().is_none()
            && let Err(error) = self.archive_now(true)
        {
            tracing::warn!(%error, "the end of the WAL is not archived; the next start goes on");
        }
    }

    /// The line that a backup belongs to.
    pub(super) fn archive_line(&self) -> Result<Option<String>> {
        match &self.archiver {
            Some(archiver) => Ok(Some(lock(&archiver.progress.line).clone())),
            None => crate::archive::line_of(&self.env, &self.options.data_dir),
        }
    }

    pub(super) fn archive_stats(&self) -> Option<ArchiveStats> {
        let archiver = self.archiver.as_ref()?;
        let progress = &archiver.progress;
        let get = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let waits = self.wal.get().is_some_and(|wal| archiver.archived_seq() < wal.last_seq());
        let since = self.env.clock.monotonic_ns().saturating_sub(get(&progress.whole_ns));
        Some(ArchiveStats {
            store: archiver.options.store.describe(),
            line: lock(&progress.line).clone(),
            archived_seq: archiver.archived_seq(),
            timestamp_archived: i64::try_from(get(&progress.archived_time)).ok().filter(|time| *time > 0),
            lag_seconds: if waits { since as f64 / 1e9 } else { 0.0 },
            backlog_bytes: self.wal.get().map_or(0, |wal| archiver.backlog_bytes(wal)),
            backlog_bytes_max: archiver.options.backlog_bytes_max,
            objects: get(&progress.objects),
            bytes_sent: get(&progress.bytes),
            failures: get(&progress.failures),
            last_error: archiver.last_error().map(|error| error.to_string()),
        })
    }
}
