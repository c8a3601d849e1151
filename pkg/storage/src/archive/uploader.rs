//! Sends the frames of a WAL to the archive: one pass at a time, for a thread or for a simulation.
//!
//! Before the first object of a session it looks whether the store goes on from here: an object that
//! an interrupted pass left is taken as done if it holds the same frames; if it holds others, this
//! directory is a copy whose history has parted from the archive's, and it begins a line of its own.

use super::line::{self, Local, Parent, Reached, Sending};
use super::object::{self, Part};
use super::{ArchiveOptions, Lines, OBJECT_BYTES};
use crate::wal::{Reader, Run, Wal};
use std::path::{Path, PathBuf};
use std::time::Duration;
use timberlog_disk::Env;
use timberlog_types::{Error, ErrorKind, Result, Seq};

/// How often an idle database says that there is nothing more.
const MARK_EVERY: Duration = Duration::from_secs(60);

/// What a pass tells while it runs.
pub(crate) trait Watch {
    /// Every frame up to `seq` is archived; the last step sent so many bytes of frames as an object of
    /// so many bytes (0, if it was there).
    fn archived(&self, seq: Seq, time: i64, frames: u64, object: u64);
    /// The line that is archived.
    fn line(&self, line: &str, archived_seq: Seq);
    /// Whether to end early.
    fn must_stop(&self) -> bool;
}

/// The archive of one data directory.
pub(crate) struct Uploader {
    env: Env,
    options: ArchiveOptions,
    data_dir: PathBuf,
    database_id: String,
    id_bytes: [u8; 16],
    reader: Reader,
    local: Option<Local>,
    /// The store was compared with what this directory knows.
    is_known: bool,
    reached: Reached,
    /// When an idle database was marked last, by the monotonic clock.
    marked_ns: Option<u64>,
    /// The last number when the WAL was opened: no object holds frames of both sides, so that their
    /// bytes can be told apart.
    opened_seq: Seq,
}

impl Uploader {
    /// Reads which line the directory goes on with.
    ///
    /// # Errors
    /// `Invalid` if a newer program wrote it; I/O errors.
    pub(crate) fn open(
        env: &Env,
        options: ArchiveOptions,
        data_dir: &Path,
        database_id: &str,
        flushed_seq: Seq,
    ) -> Result<Self> {
        let mut uploader = Self {
            env: env.clone(),
            reader: Reader::new(std::sync::Arc::clone(&env.disk), data_dir.join("wal"), database_id)?,
            data_dir: data_dir.to_path_buf(),
            database_id: database_id.to_owned(),
            id_bytes: u128::from_str_radix(database_id, 16).unwrap_or(0).to_be_bytes(),
            local: Local::read(env, data_dir)?,
            options,
            is_known: false,
            reached: Reached { seq: 0, time: 0 },
            marked_ns: None,
            opened_seq: 0,
        };
        let store = uploader.options.store.describe();
        match &mut uploader.local {
            // What was restored has a line and no store yet.
            Some(local) if local.store.is_empty() => local.store = store,
            // Elsewhere nothing is archived yet.
            Some(local) if local.store != store => uploader.begin(flushed_seq, None),
            Some(_) => {}
            None => uploader.begin(flushed_seq, None),
        }
        // A backup that names the line must find it again.
        uploader.write_local();
        Ok(uploader)
    }

    /// Every frame up to this number is archived, or not part of the line.
    pub(crate) fn archived_seq(&self) -> Seq {
        self.local.as_ref().map_or(0, |local| local.archived_seq)
    }

    /// The line.
    pub(crate) fn line(&self) -> &str {
        self.local.as_ref().map_or("", |local| &local.line)
    }

    /// The last number that replay found. Returns up to when the archive says what was committed: nothing else may be then.
    pub(crate) fn opened(&mut self, last_seq: Seq) -> i64 {
        self.opened_seq = last_seq;
        let said = |local: &Local| local.time.max(local.sending.map(|sending| sending.time));
        self.local.as_ref().and_then(said).unwrap_or(i64::MIN)
    }

    fn begin(&mut self, since: Seq, parent: Option<Parent>) {
        self.local = Some(Local::begin(&self.env, since, parent, self.options.store.describe()));
        self.is_known = false;
    }

    /// Archives everything that is synced by now. `flushed_seq` is where a new line would begin.
    ///
    /// # Errors
    /// What was archived before stays so.
    pub(crate) fn pass(&mut self, wal: &Wal, flushed_seq: Seq, is_last: bool, watch: &dyn Watch) -> Result<()> {
        self.prepare(wal, flushed_seq, watch)?;
        let now = self.env.clock.now_ns();
        wal.close_time(now);
        // Behind this, whatever got a commit time before `now` is synced. A WAL that takes nothing any
        // more has what it has.
        let (until, is_whole) = match wal.sync() {
            Ok(seq) => (seq, true),
            Err(_) => (wal.synced_seq(), is_last),
        };
        let was_idle = self.archived_seq() >= until;
        while self.archived_seq() < until && !watch.must_stop() {
            let next = self.archived_seq() + 1;
            let end = if next <= self.opened_seq { until.min(self.opened_seq) } else { until };
            let sending = self.local.as_ref().and_then(|local| local.sending);
            let (end, bytes_max) = sending.map_or((end, OBJECT_BYTES), |sending| (sending.last_seq, usize::MAX));
            let run = match self.reader.read(next, end, bytes_max) {
                Err(error) if error.kind == ErrorKind::Corrupt && flushed_seq >= next => {
                    // What is flushed is in the next backup: from there on it goes on.
                    tracing::error!(%error, "the archive has to begin a new line: back up soon, restores to a second need it");
                    self.begin(flushed_seq, None);
                    self.prepare(wal, flushed_seq, watch)?;
                    continue;
                }
                other => other?,
            };
            // Frames of one group share their time, and an object may end between them. The next group is later than this one,
            // also where the clock was set back.
            let is_end = is_whole && run.last_seq == until;
            let time = if is_end { now.max(run.commit_time) } else { run.commit_time.saturating_sub(1) };
            self.send(&run, sending.map_or(time, |sending| sending.time), watch)?;
        }
        if is_whole && self.archived_seq() >= until && ((was_idle && self.is_mark_due()) || is_last) {
            self.mark(now)?;
        }
        Ok(())
    }

    fn send(&mut self, run: &Run, mut time: i64, watch: &dyn Watch) -> Result<()> {
        let local = self.local.as_mut().ok_or_else(no_line)?;
        let object = object::encode(self.id_bytes, run)?;
        let sending = Sending { last_seq: run.last_seq, time };
        if local.sending != Some(sending) {
            local.sending = Some(sending);
            // On a full disk nothing but the archive lets go of the WAL: it does not wait for this, and says what the WAL knows.
            if let Err(error) = local.write(&self.env, &self.data_dir) {
                tracing::warn!(%error, "what is being archived was not written down");
                time = time.min(run.commit_time.saturating_sub(1));
                local.sending = Some(Sending { time, ..sending });
            }
        }
        let key = line::key(&self.database_id, &local.line, &Part::of(run, time));
        self.options.store.put(&key, &object).map_err(|error| error.context(format!("archive `{key}`")))?;
        (local.archived_seq, local.time, local.sending) = (run.last_seq, local.time.max(Some(time)), None);
        watch.archived(run.last_seq, run.commit_time, run.bytes.len() as u64, object.len() as u64);
        self.write_local();
        Ok(())
    }

    /// Not writing it costs a comparison at the next start.
    fn write_local(&self) {
        if let Some(Err(error)) = self.local.as_ref().map(|local| local.write(&self.env, &self.data_dir)) {
            tracing::warn!(%error, "how far the archive is was not written down");
        }
    }

    /// Once a session: the line is in the store, and the store has nothing that this directory has not.
    fn prepare(&mut self, wal: &Wal, flushed_seq: Seq, watch: &dyn Watch) -> Result<()> {
        while !self.is_known {
            let local = self.local.as_mut().ok_or_else(no_line)?;
            if local.sending.map_or(local.archived_seq, |sending| sending.last_seq) > wal.last_seq() {
                // The directory was set back, by hand or by a snapshot of the disk.
                tracing::error!(
                    line = local.line,
                    "the archive is ahead of this directory, which begins a line of its own"
                );
                self.begin(flushed_seq, None);
                continue;
            }
            let store = &*self.options.store;
            let record = line::LineRecord::get(store, &self.database_id, &local.line)?;
            if record.is_none()
                && local.parent.is_none()
                && let Some(time) = Lines::read(store, Some(&self.database_id))?.last_time()
            {
                // What an earlier line says of an instant stays so, also where the clock was set back.
                local.created = local.created.max(time.saturating_add(1));
                local.time = local.time.max(Some(time));
                wal.close_time(time);
            }
            match record {
                Some(record) => self.reached = record.reached,
                None => {
                    // The way back to a backup must not depend on what a crash may take: the file comes first.
                    local.write(&self.env, &self.data_dir)?;
                    self.reached = Reached { seq: local.since, time: 0 };
                    // However late it comes to be there, it does not take the place of one that says more.
                    if !local.record(&self.database_id, self.reached).put_if_absent(store)? {
                        continue;
                    }
                }
            }
            watch.line(&local.line, local.archived_seq);
            self.is_known = self.adopt(wal, watch)?;
        }
        Ok(())
    }

    /// Takes objects as done that an interrupted pass has sent. `false`: they are somebody else's, and
    /// a new line was begun.
    fn adopt(&mut self, wal: &Wal, watch: &dyn Watch) -> Result<bool> {
        loop {
            let local = self.local.as_mut().ok_or_else(no_line)?;
            let next = local.archived_seq + 1;
            let folder = line::folder(&self.database_id, &local.line);
            let mut found = None;
            self.options.store.list(&format!("{folder}/{next:020}-"), &mut |object| {
                found = object.key.rsplit('/').next().and_then(Part::parse).or(found.take());
                Ok(())
            })?;
            let Some(part) = found else { return Ok(true) };
            let is_known = part.last_seq <= wal.synced_seq();
            let run = match self.reader.read(next, part.last_seq.min(wal.synced_seq()), object::FRAMES_BYTES_MAX) {
                Ok(run) => Some(run).filter(|run| is_known && part.holds(run)),
                Err(error) if error.kind == ErrorKind::Corrupt => None,
                Err(error) => return Err(error),
            };
            let Some(run) = run else {
                let parent = Parent { line: local.line.clone(), seq: local.archived_seq };
                tracing::error!(
                    line = local.line,
                    "somebody else, or a later state of this directory, archived batch {next}: a new line begins here"
                );
                // The line began with the first batch that is another one here.
                let created = match self.reader.read(next, next.min(wal.synced_seq()), 0) {
                    Ok(run) if run.last_seq >= next => run.commit_time,
                    _ => self.env.clock.now_ns(),
                };
                let (since, store) = (local.archived_seq, self.options.store.describe());
                self.local = Some(Local::begun(&self.env, created, since, Some(parent), store));
                return Ok(false);
            };
            wal.close_time(part.time);
            (local.archived_seq, local.time, local.sending) = (part.last_seq, local.time.max(Some(part.time)), None);
            watch.archived(part.last_seq, run.commit_time, run.bytes.len() as u64, 0);
            self.write_local();
        }
    }

    fn is_mark_due(&self) -> bool {
        let now = self.env.clock.monotonic_ns();
        self.marked_ns.is_none_or(|marked| now.saturating_sub(marked) >= MARK_EVERY.as_nanos() as u64)
    }

    /// Says in the store that nothing else was committed up to `now`.
    fn mark(&mut self, now: i64) -> Result<()> {
        let local = self.local.as_mut().ok_or_else(no_line)?;
        let reached = Reached { seq: local.archived_seq, time: now };
        if now > self.reached.time {
            // A clock that is set back over a restart must not come between.
            local.time = local.time.max(Some(now));
            local.write(&self.env, &self.data_dir)?;
            local.record(&self.database_id, reached).put(&*self.options.store)?;
            self.reached = reached;
        }
        self.marked_ns = Some(self.env.clock.monotonic_ns());
        Ok(())
    }
}

fn no_line() -> Error {
    Error::internal("the archive has no line")
}
