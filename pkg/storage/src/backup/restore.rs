//! Restoring a backup into an empty directory.
//!
//!     marker → files, each checked as it lands → the WAL's end as segments → manifest → marker gone
//!
//! While the marker (`restore.json`) stands, the directory is no database: whoever opens it is told
//! to go on with the restore, which takes what has landed whole as done.

use super::at::Tail;
use super::record::{BackupRecord, key_of};
use super::restore_tail;
use super::verify::{fetch, for_each, mismatch, read_manifest};
use super::{Event, Watch, copy};
use crate::archive::{Local, Parent};
use crate::engine::lock_any_directory;
use crate::manifest::restored::Restoring;
use crate::manifest::verify::check_file;
use crate::manifest::{self, FileRef, POINTER_FILE, SegmentEntry};
use crate::objects::ObjectStore;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeSet, HashSet};
use std::io;
use std::path::{Path, PathBuf};
use timberlog_disk::{Env, Open, atomic};
use timberlog_types::{Day, Error, ErrorKind, Result, Tenant};

/// The file that says that a directory is being restored.
pub const MARKER_FILE: &str = "restore.json";
const MARKER_BYTES_MAX: u64 = 64 << 10;
/// Files restored at one time.
const RESTORES: usize = 4;

/// What is restored of a backup.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selection {
    /// Only this tenant.
    pub tenant: Option<Tenant>,
    /// Only from this day on.
    pub from: Option<Day>,
    /// Only up to this day, included.
    pub to: Option<Day>,
}

impl Selection {
    /// Whether a partition is restored.
    pub fn has(&self, tenant: &Tenant, day: Day) -> bool {
        self.tenant.as_ref().is_none_or(|wanted| wanted == tenant)
            && self.from.is_none_or(|from| day >= from)
            && self.to.is_none_or(|to| day <= to)
    }
}

/// What was restored.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Restored {
    /// The backup.
    pub id: String,
    /// Files, without those that the restore wrote itself.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Files that were there from an interrupted restore.
    pub files_there: u64,
    /// Segments.
    pub segments: u64,
    /// Records.
    pub records: u64,
    /// Batches of the WAL's end that became segments.
    pub wal_batches: u64,
}

#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Marker {
    format: u32,
    backup: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    at: Option<i64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    tenant: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    from: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    to: Option<String>,
}

impl Marker {
    fn of(record: &BackupRecord, archived: Option<&Tail>, selection: &Selection) -> Self {
        Self {
            format: super::FORMAT,
            backup: record.id.clone(),
            at: archived.map(|tail| tail.at),
            tenant: selection.tenant.as_ref().map(|tenant| tenant.as_str().to_owned()),
            from: selection.from.map(|day| day.to_string()),
            to: selection.to.map(|day| day.to_string()),
        }
    }
}

/// Refuses a directory that a restore has not finished.
pub(crate) fn check_restored(env: &Env, dir: &Path) -> Result<()> {
    let marker = dir.join(MARKER_FILE);
    match env.disk.exists(&marker) {
        Ok(false) => Ok(()),
        Ok(true) => Err(Error::new(
            ErrorKind::Unavailable,
            format!(
                "a restore into `{}` was interrupted, or still runs: run the same `timberlog backup restore` again to \
                 finish it",
                dir.display()
            ),
        )),
        Err(error) => Err(Error::io(format!("look for `{}`", marker.display()), &error)),
    }
}

/// Restores a backup, or what is selected of it, into an empty directory, or goes on where the same
/// restore was interrupted.
///
/// # Errors
/// `Invalid` if the directory is not empty; `Corrupt` if an object of the backup is damaged or
/// missing, by its name; `Unavailable` if there is not enough room.
pub fn restore(
    env: &Env,
    store: &dyn ObjectStore,
    record: &BackupRecord,
    dir: &Path,
    selection: &Selection,
    watch: &Watch<'_>,
) -> Result<Restored> {
    restore_with(env, store, record, None, dir, selection, watch)
}

/// Restores the state of an instant, which [`super::find_at`] has found: a backup and what was archived
/// behind it.
///
/// # Errors
/// As [`restore`].
pub fn restore_at(
    env: &Env,
    store: &dyn ObjectStore,
    (record, tail): &(BackupRecord, Tail),
    dir: &Path,
    selection: &Selection,
    watch: &Watch<'_>,
) -> Result<Restored> {
    restore_with(env, store, record, Some(tail), dir, selection, watch)
}

fn restore_with(
    env: &Env,
    store: &dyn ObjectStore,
    record: &BackupRecord,
    archived: Option<&Tail>,
    dir: &Path,
    selection: &Selection,
    watch: &Watch<'_>,
) -> Result<Restored> {
    let io = |doing: &'static str| move |error: io::Error| Error::io(format!("{doing} `{}`", dir.display()), &error);
    let state = read_manifest(store, record)?;
    // Everything that can refuse comes before the directory is touched.
    let has_tail = record.wal.is_some() || archived.is_some_and(|tail| !tail.parts.is_empty());
    if let (Some(tenant), false) = (&selection.tenant, has_tail)
        && !state.tenants.contains_key(tenant)
    {
        let message = format!("backup `{}` has no tenant `{tenant}`", record.id);
        return Err(Error::new(ErrorKind::NotFound, message));
    }
    let marker = Marker::of(record, archived, selection);
    let is_begun = check_target(env, dir, &marker)?;
    env.disk.create_dir_all(dir).map_err(io("create"))?;
    let _lock = lock_any_directory(env, dir)?;
    if !is_begun {
        let bytes = serde_json::to_vec(&marker).map_err(|error| Error::internal(error.to_string()))?;
        atomic::write(&*env.disk, &dir.join(MARKER_FILE), &bytes).map_err(io("write the marker into"))?;
    }
    let held: HashSet<&str> = record.files.iter().map(|file| file.path.as_str()).collect();
    let is_held = |entry: &SegmentEntry| held.contains(entry.log.path.as_str());
    let mut restoring = Restoring::new(&state, &|tenant, day| selection.has(tenant, day), &is_held)?;
    let files = files(&restoring);
    let mut restored = Restored { id: record.id.clone(), ..Restored::default() };
    let pointer = dir.join(POINTER_FILE);
    if !env.disk.exists(&pointer).map_err(io("look into"))? {
        let landing = Landing { env, store, dir, is_begun, watch };
        (restored.files_there, restored.bytes) = landing.all(&files)?;
        restored.files = files.len() as u64;
        if has_tail {
            restored.wal_batches = restore_tail::restore(env, store, record, archived, dir, selection, &mut restoring)?;
        }
        begin_line(env, dir, record, archived, selection, restoring.state().flushed_seq)?;
        let state = restoring.write(env, dir)?;
        count(&mut restored, &state);
    } else {
        // Only the marker was left to remove.
        let state = manifest::read(env, dir)?;
        count(&mut restored, &state);
    }
    env.disk.remove_file(&dir.join(MARKER_FILE)).map_err(io("remove the marker from"))?;
    env.disk.sync_dir(dir).map_err(io("fsync"))?;
    Ok(restored)
}

/// What is archived of the restored directory is a line of its own: its numbers go to other batches
/// than those that the database went on to give.
fn begin_line(
    env: &Env,
    dir: &Path,
    record: &BackupRecord,
    archived: Option<&Tail>,
    selection: &Selection,
    seq: u64,
) -> Result<()> {
    let of_backup = || record.line.clone().map(|line| Parent { line, seq });
    let parent = archived.and_then(|tail| tail.parent(seq)).or_else(of_backup);
    // A part of the database does not go on from the whole.
    let parent = parent.filter(|_| *selection == Selection::default());
    Local::begin(env, seq, parent, String::new()).write(env, dir)
}

fn count(restored: &mut Restored, state: &manifest::State) {
    restored.segments = state.segments().count() as u64;
    restored.records = state.segments().map(|(_, _, entry)| entry.rows).sum();
}

/// Whether the same restore was begun here; a directory with anything else is refused.
fn check_target(env: &Env, dir: &Path, marker: &Marker) -> Result<bool> {
    let entries = match env.disk.list(dir) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        other => other.map_err(|error| Error::io(format!("list `{}`", dir.display()), &error))?,
    };
    let is_ours = |name: &str| name == "LOCK" || name.strip_suffix(".tmp") == Some(MARKER_FILE);
    if entries.iter().all(|entry| is_ours(&entry.name)) {
        return Ok(false);
    }
    let not_empty = |why: String| Err(Error::invalid(format!("the directory `{}` is not empty{why}", dir.display())));
    if !entries.iter().any(|entry| entry.name == MARKER_FILE) {
        return not_empty(": a restore needs an empty one".to_owned());
    }
    let read = env.disk.open(&dir.join(MARKER_FILE), Open::Read).and_then(|file| file.read_all(MARKER_BYTES_MAX));
    let read = read.map_err(|error| Error::io(format!("read `{MARKER_FILE}` in `{}`", dir.display()), &error))?;
    match serde_json::from_slice::<Marker>(&read) {
        Ok(found) if found == *marker => Ok(true),
        Ok(found) => not_empty(format!(
            ": a restore of backup `{}`, with another selection or of another backup, was begun in it",
            found.backup
        )),
        Err(error) => not_empty(format!(", and its `{MARKER_FILE}` cannot be read: {error}")),
    }
}

/// The files to restore: nodes that stay as they are, producers, deletes, segments.
fn files(restoring: &Restoring) -> Vec<FileRef> {
    let state = restoring.state();
    let nodes = restoring.unchanged_nodes().map(|node| node.file.clone());
    let segments = state.segments().flat_map(|(_, _, entry)| entry.local_files()).cloned();
    nodes.chain(state.producers.clone()).chain(state.deletes.file.clone()).chain(segments).collect()
}

/// Files on their way into the directory.
struct Landing<'a> {
    env: &'a Env,
    store: &'a dyn ObjectStore,
    dir: &'a Path,
    is_begun: bool,
    watch: &'a Watch<'a>,
}

impl Landing<'_> {
    /// Restores files; returns how many were there already, and the bytes of all.
    fn all(&self, files: &[FileRef]) -> Result<(u64, u64)> {
        let bytes: u64 = files.iter().map(|file| file.len).fold(0, u64::saturating_add);
        (self.watch)(Event::Phase { name: "restore", files: files.len() as u64, bytes });
        let folders = self.folders(files)?;
        let there = std::sync::atomic::AtomicU64::new(0);
        let (missing, whole): (Vec<&FileRef>, Vec<&FileRef>) =
            files.iter().partition(|file| !self.is_begun || !self.has_len(file));
        let needed = missing.iter().map(|file| file.len).fold(0, u64::saturating_add);
        self.check_room(needed)?;
        let all: Vec<&FileRef> = whole.into_iter().chain(missing).collect();
        for_each(&all, RESTORES, &|file| {
            if self.is_begun && check_file(self.env, self.dir, file, manifest::Depth::Checksum).is_ok() {
                // It may not be durable yet.
                self.sync(file)?;
                there.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            } else {
                self.one(file)?;
            }
            (self.watch)(Event::Bytes(file.len));
            (self.watch)(Event::File(&file.path));
            Ok(())
        })?;
        for folder in folders {
            let synced = self.env.disk.sync_dir(&folder);
            synced.map_err(|error| Error::io(format!("fsync `{}`", folder.display()), &error))?;
        }
        Ok((there.into_inner(), bytes))
    }

    fn has_len(&self, file: &FileRef) -> bool {
        check_file(self.env, self.dir, file, manifest::Depth::Length).is_ok()
    }

    fn check_room(&self, bytes: u64) -> Result<()> {
        match self.env.disk.free_bytes(self.dir) {
            Ok(free) if free < bytes => {
                let message = format!("`{}` has {free} bytes free, the restore needs {bytes}", self.dir.display());
                Err(Error::new(ErrorKind::Unavailable, message))
            }
            _ => Ok(()),
        }
    }

    fn folders(&self, files: &[FileRef]) -> Result<BTreeSet<PathBuf>> {
        let mut folders = BTreeSet::from([self.dir.join(manifest::MANIFEST_DIR)]);
        for file in files {
            folders.extend(self.place(file)?.parent().map(Path::to_path_buf));
        }
        for folder in &folders {
            let made = self.env.disk.create_dir_all(folder);
            made.map_err(|error| Error::io(format!("create `{}`", folder.display()), &error))?;
        }
        Ok(folders)
    }

    fn place(&self, file: &FileRef) -> Result<PathBuf> {
        timberlog_disk::join(self.dir, &file.path)
            .filter(|_| super::is_served(&file.path))
            .ok_or_else(|| Error::corrupt(format!("the path `{}` leaves the directory", file.path.escape_debug())))
    }

    fn sync(&self, file: &FileRef) -> Result<()> {
        let place = self.place(file)?;
        let synced = self.env.disk.open(&place, Open::Write).and_then(|file| file.sync_data());
        synced.map_err(|error| Error::io(format!("fsync `{}`", place.display()), &error))
    }

    fn one(&self, file: &FileRef) -> Result<()> {
        let place = self.place(file)?;
        let key = key_of(&file.path).ok_or_else(|| Error::internal("a file without a key"))?;
        let io = |error: io::Error| Error::io(format!("write `{}`", place.display()), &error);
        let target = self.env.disk.open(&place, Open::CreateTruncate).map_err(io)?;
        let mut at = 0;
        let crc32c = copy::sum(self.store, &key, file.len, &mut |bytes| {
            target.write_all_at(bytes, at).map_err(io)?;
            at += bytes.len() as u64;
            Ok(())
        });
        let crc32c = crc32c.map_err(|error| {
            if error.message.contains(&key) { error } else { error.context(format!("object `{key}`")) }
        })?;
        if crc32c != file.crc32c {
            return Err(mismatch(&key));
        }
        target.sync_data().map_err(io)
    }
}

/// Gets a small file of a backup.
pub(super) fn get(store: &dyn ObjectStore, file: &FileRef) -> Result<Vec<u8>> {
    fetch(store, file)
}
