//! The files of a WAL folder: names, making the next one, removing those that are flushed.
//!
//! A file gets its name only when its header and its length are durable, and frames only when its
//! name is, and `wal.meta` says so: whatever is shorter or missing later was no crash. A file
//! that is no longer needed is kept as a spare: overwriting blocks that were written before syncs
//! faster than filling fresh ones. A spare's old frames fail their checksums (salt).

use super::format::{FILE_UNIT, FRAMES_AT, FileHeader, HEADER_COPY_AT};
use super::meta::{META_NAME, Meta, Reach};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use timberlog_disk::{Disk, File, Open};
use timberlog_types::{Error, ErrorKind, Result, Seq};

const WAL: &str = ".wal";
const SPARE: &str = ".spare";
const TEMPORARY: &str = ".tmp";
/// What a damaged file is called once it is no longer needed for replay.
pub(super) const DAMAGED: &str = ".damaged";
/// Spares kept; more are removed.
const SPARES_MAX: usize = 2;

/// What is in a WAL folder.
#[derive(Debug, Default)]
pub(super) struct Listing {
    /// The files with frames: number of the first one, and name. In order.
    pub(super) files: Vec<(Seq, String)>,
    /// Spares and their lengths.
    pub(super) spares: Vec<(String, u64)>,
    /// Files that were never finished.
    pub(super) leftovers: Vec<String>,
    /// Files that were set aside.
    pub(super) damaged: Vec<String>,
}

/// Lists a folder; a missing one is empty.
pub(super) fn list(disk: &dyn Disk, dir: &Path) -> Result<Listing> {
    let entries = match disk.list(dir) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Vec::new(),
        other => other.map_err(|error| Error::io(format_args!("list `{}`", dir.display()), &error))?,
    };
    let mut listing = Listing::default();
    for entry in entries {
        let name = entry.name;
        if let Some(first_seq) = parse_name(&name) {
            listing.files.push((first_seq, name));
        } else if name.ends_with(SPARE) {
            listing.spares.push((name, entry.len));
        } else if name.ends_with(TEMPORARY) {
            listing.leftovers.push(name);
        } else if name.ends_with(DAMAGED) {
            listing.damaged.push(name);
        }
    }
    listing.files.sort();
    Ok(listing)
}

pub(super) fn name_of(first_seq: Seq) -> String {
    format!("{first_seq:020}{WAL}")
}

fn parse_name(name: &str) -> Option<Seq> {
    let digits = name.strip_suffix(WAL)?;
    let first_seq = digits.parse().ok()?;
    (name_of(first_seq) == name).then_some(first_seq)
}

/// A file that takes no more frames.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ClosedFile {
    pub(super) name: String,
    pub(super) first_seq: Seq,
    /// The number of the last frame that counts; `first_seq - 1` if none does.
    pub(super) last_seq: Seq,
    pub(super) len: u64,
    pub(super) is_damaged: bool,
}

/// The file that takes frames.
pub(super) struct ActiveFile {
    pub(super) file: Arc<dyn File>,
    pub(super) name: String,
    pub(super) header: FileHeader,
    pub(super) len: u64,
    /// Where the next frame goes.
    pub(super) offset: u64,
}

impl ActiveFile {
    pub(super) fn room(&self) -> u64 {
        self.len - self.offset
    }

    pub(super) fn close(self, last_seq: Seq) -> ClosedFile {
        let first_seq = self.header.first_seq;
        ClosedFile { name: self.name, first_seq, last_seq, len: self.len, is_damaged: false }
    }
}

/// Why there is no next file.
pub(super) enum NoFile {
    /// Nothing happened to the log: the disk is full, say.
    Failed(Error),
    /// It is unknown what is durable.
    Poisoned(Error),
}

/// The files behind the active one, the spares, and `wal.meta`.
pub(super) struct Files {
    disk: Arc<dyn Disk>,
    dir: PathBuf,
    file_bytes: u64,
    known: Mutex<Known>,
}

struct Known {
    closed: Vec<ClosedFile>,
    spares: Vec<String>,
    /// Whether there is a file that takes frames, which is newer than the closed ones then.
    has_active: bool,
    meta: Meta,
}

impl Files {
    pub(super) fn new(disk: Arc<dyn Disk>, dir: PathBuf, file_bytes: u64, closed: Vec<ClosedFile>, meta: Meta) -> Self {
        let known = Known { closed, spares: Vec::new(), has_active: false, meta };
        Self { disk, dir, file_bytes: whole_units(file_bytes), known: Mutex::new(known) }
    }

    /// Removes what an earlier run left behind, its spares too: their new names need not be durable
    /// (the run was killed, or an fsync of the folder failed), and a power loss could bring a file
    /// back under its old name with what was written to the spare. Failing here costs only space.
    pub(super) fn clean(&self, listing: Listing) {
        for name in listing.spares.into_iter().map(|(name, _)| name).chain(listing.leftovers) {
            self.remove(&name);
        }
    }

    pub(super) fn push_closed(&self, file: ClosedFile) {
        let mut known = self.lock();
        // A file without frames is replaced by the next one, which has the same name.
        known.closed.retain(|closed| closed.name != file.name);
        known.closed.push(file);
        known.has_active = false;
    }

    /// Makes the file that begins with `header.first_seq`, long enough for a frame of `frame_len`.
    /// Its length goes into the header here.
    pub(super) fn create(&self, mut header: FileHeader, frame_len: u64) -> Result<ActiveFile, NoFile> {
        let len = self.file_bytes.max(whole_units(FRAMES_AT.saturating_add(frame_len)));
        header.len_units = u32::try_from(len / FILE_UNIT).unwrap_or(0);
        let spare = if len == self.file_bytes { self.lock().spares.pop() } else { None };
        let name = name_of(header.first_seq);
        let is_spare = spare.is_some();
        let old_name = spare.unwrap_or_else(|| format!("{name}{TEMPORARY}"));
        let path = self.dir.join(&old_name);
        let fail = |error: &std::io::Error| {
            self.remove(&old_name);
            Error::io(format_args!("make WAL file `{name}` of {len} bytes"), error)
        };
        let how = if is_spare { Open::Write } else { Open::CreateTruncate };
        let file = self.disk.open(&path, how).map_err(|error| NoFile::Failed(fail(&error)))?;
        let bytes = header.encode();
        // A spare has its length, unless somebody cut it off.
        let is_long = is_spare && file.len().is_ok_and(|present| present >= len);
        let prepared = (if is_long { Ok(()) } else { file.allocate(len) })
            .and_then(|()| file.write_all_at(&bytes, 0))
            .and_then(|()| file.write_all_at(&bytes, HEADER_COPY_AT));
        prepared.map_err(|error| NoFile::Failed(fail(&error)))?;
        if let Err(error) = file.sync_data() {
            // A file system may notice only now that it is full. Nothing refers to the file yet.
            let error = fail(&error);
            let is_full = error.kind == ErrorKind::Unavailable;
            return Err(if is_full { NoFile::Failed(error) } else { NoFile::Poisoned(error) });
        }
        let renamed = self.disk.rename(&path, &self.dir.join(&name));
        renamed.map_err(|error| NoFile::Failed(fail(&error)))?;
        if let Err(error) = self.disk.sync_dir(&self.dir) {
            return Err(NoFile::Poisoned(Error::io(format_args!("sync the folder of WAL file `{name}`"), &error)));
        }
        self.write_meta(Reach::Newest(header.first_seq)).map_err(NoFile::Poisoned)?;
        let mut known = self.lock();
        // A file without frames may have had this name.
        known.closed.retain(|closed| closed.name != name);
        known.has_active = true;
        drop(known);
        Ok(ActiveFile { file, name, header, len, offset: FRAMES_AT })
    }

    /// Writes `wal.meta`: what `reach` says must be on disk. Not writing it costs only that a file
    /// which is removed later is not missed.
    ///
    /// # Errors
    /// The folder cannot be synced: it is unknown which names in it are durable.
    pub(super) fn write_meta(&self, reach: Reach) -> Result<()> {
        let meta = {
            let mut known = self.lock();
            if known.meta.reach == reach {
                return Ok(());
            }
            known.meta.reach = reach;
            known.meta
        };
        if let Err(error) = meta.replace(&*self.disk, &self.dir) {
            tracing::warn!(%error, "`{META_NAME}` was not written");
            // What is in the file now is not known: the next one is not left out.
            self.lock().meta.reach = Reach::Unknown;
            return Ok(());
        }
        self.disk
            .sync_dir(&self.dir)
            .map_err(|error| Error::io(format_args!("sync the folder of `{META_NAME}`"), &error))
    }

    /// Removes, recycles or sets aside the closed files up to `flushed_seq`. The newest file stays,
    /// whether it is closed or not: it holds the last commit time, and `wal.meta` names it.
    pub(super) fn truncate(&self, flushed_seq: Seq) -> Result<()> {
        let mut taken = {
            let mut known = self.lock();
            let newest = known.closed.last().filter(|_| !known.has_active);
            let kept_name = newest.map(|file| file.name.clone());
            // One without frames stays: the writer may be replacing it by one of the same name.
            let is_done = |file: &ClosedFile| {
                let has_frames = file.last_seq >= file.first_seq;
                has_frames && file.last_seq <= flushed_seq && Some(&file.name) != kept_name.as_ref()
            };
            known.closed.extract_if(.., |file| is_done(file)).collect::<Vec<_>>()
        };
        if taken.is_empty() {
            return Ok(());
        }
        let mut spares = Vec::new();
        let mut outcome = Ok(());
        while let Some(file) = taken.pop() {
            match self.retire(&file, spares.len()) {
                Ok(Some(spare)) => spares.push(spare),
                Ok(None) => {}
                Err(error) => {
                    outcome = Err(error);
                    taken.push(file);
                    break;
                }
            }
        }
        // A spare is written to only once its new name is durable: under its old one it would be
        // a damaged file.
        let synced = self.disk.sync_dir(&self.dir);
        let mut known = self.lock();
        match synced {
            Ok(()) => known.spares.append(&mut spares),
            Err(error) => outcome = outcome.and(Err(self.error("sync the folder of the WAL", &error))),
        }
        taken.append(&mut known.closed);
        taken.sort_by_key(|file| file.first_seq);
        known.closed = taken;
        outcome
    }

    /// Returns the name of the spare if the file became one.
    fn retire(&self, file: &ClosedFile, spares_new: usize) -> Result<Option<String>> {
        let path = self.dir.join(&file.name);
        let is_wanted = file.len == self.file_bytes && self.lock().spares.len() + spares_new < SPARES_MAX;
        let new_name = match (file.is_damaged, is_wanted) {
            (true, _) => format!("{}{DAMAGED}", file.name),
            (false, true) => format!("{}{SPARE}", file.name),
            (false, false) => {
                let removed = self.disk.remove_file(&path);
                return gone(removed).map(|_| None).map_err(|error| self.error(&file.name, &error));
            }
        };
        let renamed = gone(self.disk.rename(&path, &self.dir.join(&new_name)));
        let is_there = renamed.map_err(|error| self.error(&file.name, &error))?;
        Ok((is_there && !file.is_damaged).then_some(new_name))
    }

    fn remove(&self, name: &str) {
        if let Err(error) = self.disk.remove_file(&self.dir.join(name))
            && error.kind() != std::io::ErrorKind::NotFound
        {
            tracing::warn!(%error, name, "a file of the WAL that nothing needs cannot be removed");
        }
    }

    fn error(&self, doing: &str, error: &std::io::Error) -> Error {
        Error::io(format_args!("truncate the WAL `{}`: {doing}", self.dir.display()), error)
    }

    fn lock(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether a file was there to be removed or renamed. It is not if an earlier try did that and failed all the same.
fn gone(done: std::io::Result<()>) -> std::io::Result<bool> {
    match done {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(false),
        done => done.map(|()| true),
    }
}

/// A length that headers can tell.
fn whole_units(len: u64) -> u64 {
    len.checked_next_multiple_of(FILE_UNIT).unwrap_or(len)
}
