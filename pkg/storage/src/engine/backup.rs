//! What a backup needs of an open storage: a state that holds everything acknowledged, pinned.
//!
//! Nothing here holds up appends: a flush is one like any other, and while the end of the WAL is
//! read only flushes wait.

use super::{Core, Storage, closed, lock};
use crate::backup::{self, ColdFiles, Pinned};
use crate::manifest::{SegmentEntry, State};
use crate::wal::{self, Wal};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use timberlog_disk::File;
use timberlog_types::{Error, ErrorKind, Result, Seq};

/// The longest time that a pin is held without being renewed.
pub(super) const PIN_TTL_MAX: Duration = Duration::from_secs(24 * 3600);

/// The end of the WAL, where a path is asked for.
const WAL_PATH: &str = "wal";
/// The most bytes that are read at once.
const READ_BYTES_MAX: u64 = 64 << 20;

/// The end of the WAL that a backup needs. One is held in memory: that of the newest backup.
pub(super) struct PinnedTail {
    pin: String,
    bytes: Arc<Vec<u8>>,
}

impl Storage {
    /// Pins everything that was acknowledged before, for a backup; held for `ttl`, across restarts.
    /// The buffer is flushed; if it cannot be, the frames of the WAL come along.
    ///
    /// # Errors
    /// `Corrupt` if the manifest is damaged, `Overloaded` if too many backups run.
    pub fn pin_backup(&self, ttl: Duration, cold: ColdFiles) -> Result<Pinned> {
        self.core.pin_backup(ttl, cold)
    }

    /// Holds a pin for `ttl` from now on; returns until when.
    ///
    /// # Errors
    /// `Unavailable` if it is not held any more.
    pub fn renew_pin(&self, id: &str, ttl: Duration) -> Result<i64> {
        let expires = self.core.pin_until(ttl);
        self.core.manifest.renew_pin(id, expires)?;
        Ok(expires)
    }

    /// Lets a pin go; one that is not held is fine.
    pub fn release_pin(&self, id: &str) {
        lock(&self.core.pinned_tail).take_if(|tail| tail.pin == id);
        self.core.manifest.unpin(id);
    }

    /// Opens a file that a pinned state names, in the object store if it is only there.
    ///
    /// # Errors
    /// `Unavailable` if the pin is not held any more, or a segment of the object store was replaced; `Invalid` if the
    /// path is none of a database.
    pub fn open_pinned(&self, id: &str, path: &str) -> Result<Arc<dyn File>> {
        self.core.manifest.check_pin(id)?;
        match backup::open(&self.core.env, &self.core.options.data_dir, path) {
            Err(error) if error.kind == ErrorKind::NotFound && path.starts_with("segments/") => {
                self.core.open_stored(path)
            }
            opened => opened,
        }
    }

    /// The end of the WAL that a pin holds.
    ///
    /// # Errors
    /// `Unavailable` if it is not held any more: it does not outlive the process.
    pub fn pinned_wal(&self, id: &str) -> Result<Arc<Vec<u8>>> {
        let tail = lock(&self.core.pinned_tail);
        let tail = tail.as_ref().filter(|tail| tail.pin == id);
        tail.map(|tail| Arc::clone(&tail.bytes)).ok_or_else(|| {
            let message = format!("the end of the WAL of backup `{id}` is not held any more: begin it again");
            Error::new(ErrorKind::Unavailable, message)
        })
    }

    /// At most `len` bytes of a pinned file, fewer at its end; the path [`WAL_PATH`] is the end of
    /// the WAL.
    ///
    /// # Errors
    /// As [`Storage::open_pinned`] and [`Storage::pinned_wal`].
    pub fn read_pinned(&self, id: &str, path: &str, offset: u64, len: u64) -> Result<Vec<u8>> {
        let len = len.min(READ_BYTES_MAX);
        let part = |all: u64| usize::try_from(all.saturating_sub(offset).min(len)).unwrap_or(0);
        if path == WAL_PATH {
            let wal = self.pinned_wal(id)?;
            let start = usize::try_from(offset).unwrap_or(usize::MAX).min(wal.len());
            let end = start.saturating_add(part(wal.len() as u64)).min(wal.len());
            return Ok(wal.get(start..end).unwrap_or_default().to_vec());
        }
        let file = self.open_pinned(id, path)?;
        let failed = |error: std::io::Error| Error::io(format!("read `{path}`"), &error);
        let mut bytes = vec![0; part(file.len().map_err(failed)?)];
        file.read_exact_at(&mut bytes, offset).map_err(failed)?;
        Ok(bytes)
    }
}

impl Core {
    /// Opens a file of a segment that is in the object store only.
    fn open_stored(&self, path: &str) -> Result<Arc<dyn File>> {
        let state = Arc::clone(self.read_view().state());
        let is_named = |entry: &SegmentEntry| entry.files().any(|file| file.path == path);
        let cold = state.segments().filter(|(_, _, entry)| !entry.location.is_local());
        let Some((_, _, entry)) = cold.into_iter().find(|(_, _, entry)| is_named(entry)) else {
            let message = format!("`{path}` was replaced in the object store while it was backed up: begin again");
            return Err(Error::new(ErrorKind::Unavailable, message));
        };
        crate::segment::open_stored(&self.opener, entry, path)
    }

    fn pin_until(&self, ttl: Duration) -> i64 {
        let ttl = i64::try_from(ttl.min(PIN_TTL_MAX).as_nanos()).unwrap_or(i64::MAX);
        self.env.clock.now_ns().saturating_add(ttl)
    }

    /// Frees the end of the WAL when its pin has ended.
    pub(super) fn forget_tail(&self) {
        lock(&self.pinned_tail).take_if(|tail| self.manifest.check_pin(&tail.pin).is_err());
    }

    fn pin_backup(self: &Arc<Self>, ttl: Duration, cold: ColdFiles) -> Result<Pinned> {
        if self.closed.load(Ordering::SeqCst) {
            return Err(closed());
        }
        backup::check_whole(self.read_view().state())?;
        let (now, expires) = (self.env.clock.now_ns(), self.pin_until(ttl));
        let id = backup::new_id(now, &*self.env.random);
        let (state, durable, tail) = match self.flush_all() {
            Ok(()) => {
                let (state, durable) = self.manifest.pin(&id, expires)?;
                (state, durable, None)
            }
            Err(error) => {
                tracing::warn!(%error, "the flush for a backup failed: the end of the WAL is backed up instead");
                // No flush takes frames away meanwhile.
                let _no_flush = lock(&self.flushing);
                let (state, durable) = self.manifest.pin(&id, expires)?;
                let tail = self.seal(&state).inspect_err(|_| self.manifest.unpin(&id))?;
                (state, durable, tail)
            }
        };
        // What is not synced may be lost with the power and its numbers be given again: no archive goes on from that.
        let synced_seq = self.wal.get().map_or(Seq::MAX, Wal::synced_seq);
        let is_synced = tail.as_ref().is_none_or(|tail| tail.last_seq <= synced_seq);
        let committed = self.wal.get().map_or(i64::MIN, Wal::commit_time);
        let line = self.archive_line()?.filter(|_| is_synced);
        let pinned = Pinned::of(&id, &state, now, tail.as_ref(), cold);
        let mut pinned = Pinned { line, ..pinned.committed_until(committed) };
        if let (Some(referenced), Some(tier)) = (&mut pinned.referenced, &self.options.tier) {
            referenced.store = tier.store.describe();
        }
        let durable = durable && tail.is_none();
        if let Some(tail) = tail {
            *lock(&self.pinned_tail) = Some(PinnedTail { pin: id, bytes: Arc::new(tail.bytes) });
        }
        Ok(Pinned { expires, durable, ..pinned })
    }

    /// The frames that are visible and in no segment of `state`.
    fn seal(&self, state: &State) -> Result<Option<wal::Sealed>> {
        let until = self.read_view().visible_seq();
        let (dir, salt) = (self.options.data_dir.join("wal"), self.env.random.next_u64());
        wal::seal(&*self.env.disk, Path::new(&dir), &state.database_id, state.flushed_seq, Some(until), salt)
    }
}
