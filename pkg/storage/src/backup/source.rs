//! Where a backup comes from: a database that is open, here or behind a server, or a directory at
//! rest.

use crate::Storage;
use crate::manifest::{self, FileRef, SegmentEntry, State};
use crate::wal;
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use timberlog_disk::{Env, File, Open};
use timberlog_types::{Error, Result, Seq};

/// A database at one instant, held until it is copied.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pinned {
    /// The pin, which becomes the id of the backup.
    pub id: String,
    /// The database.
    pub database_id: String,
    /// The instant, in ns since 1970 UTC.
    pub pinned: i64,
    /// Everything in it was committed at or before this time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<i64>,
    /// The line of the archive that goes on from it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub line: Option<String>,
    /// Until when it is held, unless it is renewed; `i64::MAX` for a directory at rest.
    pub expires: i64,
    /// Whether it is still held when the process ends and starts again.
    pub durable: bool,
    /// The version of the root.
    pub version: u64,
    /// Every batch up to this number is in segments.
    pub flushed_seq: Seq,
    /// The root.
    pub root: FileRef,
    /// Every file: root, nodes, producers, segments.
    pub files: Vec<FileRef>,
    /// Records in segments.
    pub records: u64,
    /// Segments that are in an object store alone and are not copied.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub referenced: Option<Referenced>,
    /// The end of the WAL that is in no segment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wal: Option<PinnedTail>,
}

/// What becomes of segments that are in an object store alone.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ColdFiles {
    /// The backup names them: who restores it needs that store, with these objects still in it.
    #[default]
    Refer,
    /// The backup holds them, and restores them to the disk.
    Copy,
}

/// Segments that a backup needs and does not hold.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Referenced {
    /// The store, for people; empty if the database was at rest and it is not known.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub store: String,
    /// How many they are.
    pub segments: u64,
    /// Bytes of their objects.
    pub bytes: u64,
}

/// The end of the WAL of a pinned database.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PinnedTail {
    /// Its bytes.
    pub len: u64,
    /// Their CRC32C.
    pub crc32c: u32,
    /// The number of its first frame.
    pub first_seq: Seq,
    /// The number of its last frame.
    pub last_seq: Seq,
}

impl Pinned {
    /// What a state needs, at this instant.
    pub(crate) fn of(id: &str, state: &State, now_ns: i64, tail: Option<&wal::Sealed>, cold: ColdFiles) -> Self {
        let nodes = state.tenants.values().flat_map(|months| months.values()).map(|node| &node.file);
        let is_held = |entry: &SegmentEntry| entry.location.is_local() || cold == ColdFiles::Copy;
        let segments = state.segments().filter(|(_, _, entry)| is_held(entry)).flat_map(|(_, _, entry)| entry.files());
        let mut referenced = Referenced { store: String::new(), segments: 0, bytes: 0 };
        for (_, _, entry) in state.segments().filter(|(_, _, entry)| !is_held(entry)) {
            referenced.segments += 1;
            referenced.bytes += entry.objects().map(|object| object.len).sum::<u64>();
        }
        let files =
            [&state.root].into_iter().chain(nodes).chain(&state.producers).chain(&state.deletes.file).chain(segments);
        Self {
            id: id.to_owned(),
            database_id: state.database_id.clone(),
            pinned: now_ns,
            until: None,
            line: None,
            expires: i64::MAX,
            durable: false,
            version: state.version,
            flushed_seq: state.flushed_seq,
            root: state.root.clone(),
            files: files.cloned().collect(),
            records: state.segments().map(|(_, _, entry)| entry.rows).sum(),
            referenced: (referenced.segments > 0).then_some(referenced),
            wal: tail.map(|tail| PinnedTail {
                len: tail.bytes.len() as u64,
                crc32c: crc32c::crc32c(&tail.bytes),
                first_seq: tail.first_seq,
                last_seq: tail.last_seq,
            }),
        }
    }

    /// The last commit was at this time; `i64::MIN` if that is not known. The clock may have been set back behind it.
    pub(crate) fn committed_until(self, commit_time: i64) -> Self {
        let has_any = self.flushed_seq > 0 || self.wal.is_some();
        let until = match commit_time {
            _ if !has_any => 0,
            i64::MIN => self.pinned,
            time => time,
        };
        Self { until: Some(until), ..self }
    }
}

/// Refuses to back up what is damaged: the backup would be, too.
pub(crate) fn check_whole(state: &State) -> Result<()> {
    if state.is_damaged() {
        return Err(Error::corrupt(
            "the manifest is damaged, so a backup would miss records: `timberlog verify` says what is missing, \
             `timberlog repair` gives it up",
        ));
    }
    Ok(())
}

/// Files copied at one time.
const COPIES: usize = 4;

/// A pinned database that is copied from. Used by several threads.
pub trait Source: Sync {
    /// What is to be copied.
    fn pinned(&self) -> &Pinned;
    /// Opens one of the files to read.
    fn open(&self, file: &FileRef) -> Result<Arc<dyn File>>;
    /// The end of the WAL, if there is one.
    fn wal(&self) -> Result<Vec<u8>>;
    /// Holds the pin for longer.
    ///
    /// # Errors
    /// `Unavailable` if it is not held any more.
    fn renew(&self) -> Result<()>;
    /// How many files are copied at one time.
    fn copies(&self) -> usize {
        COPIES
    }
}

/// Whether a path is one of a file that a root can name, so one that is copied and served.
pub fn is_served(path: &str) -> bool {
    let parts: Vec<&str> = path.split('/').collect();
    let is_right = match parts.as_slice() {
        ["manifest", name] => {
            ["root-", "month-", "deletes-"].iter().any(|kind| name.starts_with(kind)) && name.ends_with(".json")
        }
        ["producers", name] => name.len() > 1,
        ["segments", _, _, name] => name.ends_with(".log") || name.ends_with(".redb"),
        _ => false,
    };
    is_right && crate::objects::check_key(path).is_ok()
}

/// Opens a file of a data directory.
pub(crate) fn open(env: &Env, data_dir: &Path, path: &str) -> Result<Arc<dyn File>> {
    let place = timberlog_disk::join(data_dir, path).filter(|_| is_served(path));
    let place = place.ok_or_else(|| Error::invalid(format!("`{}` is no file of a database", path.escape_debug())))?;
    env.disk.open(&place, Open::Read).map_err(|error| Error::io(format!("open `{path}`"), &error))
}

/// A storage of this process, pinned; released when this is dropped.
pub struct StorageSource<'a> {
    storage: &'a Storage,
    pinned: Pinned,
    ttl: Duration,
}

impl<'a> StorageSource<'a> {
    /// Flushes and pins; the pin is held for `ttl` unless it is renewed.
    pub fn pin(storage: &'a Storage, ttl: Duration, cold: ColdFiles) -> Result<Self> {
        Ok(Self { pinned: storage.pin_backup(ttl, cold)?, storage, ttl })
    }
}

impl Drop for StorageSource<'_> {
    fn drop(&mut self) {
        self.storage.release_pin(&self.pinned.id);
    }
}

impl Source for StorageSource<'_> {
    fn pinned(&self) -> &Pinned {
        &self.pinned
    }

    fn open(&self, file: &FileRef) -> Result<Arc<dyn File>> {
        self.storage.open_pinned(&self.pinned.id, &file.path)
    }

    fn wal(&self) -> Result<Vec<u8>> {
        Ok(self.storage.pinned_wal(&self.pinned.id)?.to_vec())
    }

    fn renew(&self) -> Result<()> {
        self.storage.renew_pin(&self.pinned.id, self.ttl).map(drop)
    }
}

/// A data directory that no process has open, locked. Nothing in it is changed: what is only in
/// its WAL comes along as it is.
pub struct RestSource {
    env: Env,
    data_dir: PathBuf,
    pinned: Pinned,
    tail: Vec<u8>,
    _lock: Box<dyn Send + Sync>,
}

impl RestSource {
    /// Locks a data directory and reads its manifest and its WAL.
    ///
    /// # Errors
    /// `NotFound` if there is no database, `Conflict` if a process has it open, `Corrupt` if its
    /// manifest or its WAL is damaged.
    pub fn open(env: &Env, data_dir: &Path) -> Result<Self> {
        let exists = env.disk.exists(&data_dir.join(manifest::MANIFEST_DIR));
        if !exists.map_err(|error| Error::io(format!("look into `{}`", data_dir.display()), &error))? {
            let message = format!("no database in `{}`", data_dir.display());
            return Err(Error::new(timberlog_types::ErrorKind::NotFound, message));
        }
        let lock = crate::engine::lock_directory(env, data_dir)?;
        let loaded = manifest::load(env, data_dir)?.ok_or_else(|| {
            let message = format!("no database in `{}`", data_dir.display());
            Error::new(timberlog_types::ErrorKind::NotFound, message)
        })?;
        let state = loaded.state;
        check_whole(&state)?;
        let wal_dir = data_dir.join("wal");
        let tail = wal::seal(&*env.disk, &wal_dir, &state.database_id, state.flushed_seq, None, env.random.next_u64())?;
        let now = env.clock.now_ns();
        let id = super::record::new_id(now, &*env.random);
        let line = crate::archive::line_of(env, data_dir)?;
        let committed = wal::last_commit_time(&*env.disk, &wal_dir, &state.database_id, state.flushed_seq)?;
        let pinned = Pinned::of(&id, &state, now, tail.as_ref(), ColdFiles::Refer);
        let pinned = Pinned { line, ..pinned.committed_until(committed) };
        let tail = tail.map(|tail| tail.bytes).unwrap_or_default();
        Ok(Self { env: env.clone(), data_dir: data_dir.to_path_buf(), pinned, tail, _lock: lock })
    }
}

impl Source for RestSource {
    fn pinned(&self) -> &Pinned {
        &self.pinned
    }

    fn open(&self, file: &FileRef) -> Result<Arc<dyn File>> {
        open(&self.env, &self.data_dir, &file.path)
    }

    fn wal(&self) -> Result<Vec<u8>> {
        Ok(self.tail.clone())
    }

    fn renew(&self) -> Result<()> {
        Ok(())
    }
}
