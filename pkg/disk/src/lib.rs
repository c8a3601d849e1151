//! The one seam to files, clock and randomness: real ones here, simulated ones in [`sim`].
//!
//! Everything above this crate gets an [`Env`] passed in and never touches `std::fs`,
//! `SystemTime` or a random generator by itself; that is what makes a crash at any I/O step
//! reproducible from a seed. Durability follows POSIX: written bytes survive a crash only after
//! [`File::sync_data`], a new, renamed or removed name only after [`Disk::sync_dir`] of its folder.

pub mod atomic;
pub mod checksum;
pub mod real;
pub mod sim;

use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Files, clock and randomness, passed in everywhere.
#[derive(Clone)]
pub struct Env {
    /// The files.
    pub disk: Arc<dyn Disk>,
    /// The clocks.
    pub clock: Arc<dyn Clock>,
    /// The source of randomness.
    pub random: Arc<dyn Random>,
}

impl Env {
    /// The real disk, clock and randomness of this machine.
    pub fn real() -> Self {
        Self {
            disk: Arc::new(real::RealDisk),
            clock: Arc::new(real::RealClock::new()),
            random: Arc::new(real::RealRandom),
        }
    }
}

/// How a file is opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Open {
    /// To read; it must exist.
    Read,
    /// To read and write; it must exist.
    Write,
    /// To read and write; it must not exist.
    CreateNew,
    /// To read and write; created if missing, emptied if not.
    CreateTruncate,
}

/// An entry of a folder.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Entry {
    /// The file's name without the folder. A name that is not UTF-8 is not listed.
    pub name: String,
    /// Whether it is a folder.
    pub is_dir: bool,
    /// The file's length in bytes.
    pub len: u64,
    /// When the file was last written, ns since 1970 UTC; 0 if the disk does not say.
    pub modified_ns: i64,
}

/// Something that was written and is not durable yet.
pub enum Unsynced {
    /// The data of a file, at its path.
    File(PathBuf, Arc<dyn File>),
    /// The names in a folder.
    Folder(PathBuf),
}

impl Unsynced {
    /// Where it is.
    pub fn path(&self) -> &Path {
        match self {
            Self::File(path, _) | Self::Folder(path) => path,
        }
    }

    fn sync<D: Disk + ?Sized>(&self, disk: &D) -> Result<(), SyncError> {
        let synced = match self {
            Self::File(_, file) => file.sync_data(),
            Self::Folder(path) => disk.sync_dir(path),
        };
        synced.map_err(|source| SyncError { path: self.path().to_path_buf(), source })
    }
}

/// A sync that failed.
#[derive(Debug)]
pub struct SyncError {
    /// What was synced.
    pub path: PathBuf,
    /// Why it failed.
    pub source: io::Error,
}

/// A file system.
pub trait Disk: Send + Sync {
    /// Opens a file.
    fn open(&self, path: &Path, how: Open) -> io::Result<Arc<dyn File>>;
    /// The entries of a folder, sorted by name.
    fn list(&self, dir: &Path) -> io::Result<Vec<Entry>>;
    /// Whether a file or folder exists.
    fn exists(&self, path: &Path) -> io::Result<bool>;
    /// Creates a folder and its parents, each durably.
    fn create_dir_all(&self, dir: &Path) -> io::Result<()>;
    /// Creates folders as [`Disk::create_dir_all`] does, each durably when it returns.
    fn create_dirs(&self, dirs: &[PathBuf]) -> io::Result<()> {
        dirs.iter().try_for_each(|dir| self.create_dir_all(dir))
    }
    /// Renames a file over another one; durable after [`Disk::sync_dir`].
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// Renames a file unless the new name exists: then `AlreadyExists`, and nothing changed. Of two
    /// that race for a name one wins. Durable after [`Disk::sync_dir`].
    fn rename_new(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// Removes a file; durable after [`Disk::sync_dir`].
    fn remove_file(&self, path: &Path) -> io::Result<()>;
    /// Removes an empty folder.
    fn remove_dir(&self, path: &Path) -> io::Result<()>;
    /// Makes the names in a folder durable.
    fn sync_dir(&self, dir: &Path) -> io::Result<()>;
    /// Makes all of these durable, in any order. After an error none of the files counts as durable.
    fn sync_all(&self, all: &[Unsynced]) -> Result<(), SyncError> {
        all.iter().try_for_each(|one| one.sync(self))
    }
    /// Takes the exclusive lock of a file (created if missing) until the returned value is
    /// dropped or the process ends. `ErrorKind::WouldBlock` if another process or handle has it.
    fn lock(&self, path: &Path) -> io::Result<Box<dyn Send + Sync>>;
    /// Bytes that an unprivileged process can still write to the file system of `path`.
    fn free_bytes(&self, path: &Path) -> io::Result<u64>;
}

/// An open file. All access is by offset, so one handle serves many threads.
#[allow(clippy::len_without_is_empty, reason = "a length is read to know where a file ends")]
pub trait File: Send + Sync {
    /// Reads at an offset; may read less than asked for; 0 at the end.
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize>;
    /// Writes at an offset; may write less than asked for.
    fn write_at(&self, buf: &[u8], offset: u64) -> io::Result<usize>;
    /// The length in bytes.
    fn len(&self) -> io::Result<u64>;
    /// When the file was last written, ns since 1970 UTC; 0 if the disk does not say.
    fn modified_ns(&self) -> io::Result<i64> {
        Ok(0)
    }
    /// Sets the length; new bytes are zeros.
    fn set_len(&self, len: u64) -> io::Result<()>;
    /// Reserves disk blocks for the first `len` bytes and makes the file at least that long.
    fn allocate(&self, len: u64) -> io::Result<()>;
    /// Hints that what was written of `range` may go to the device now: nothing is waited for, nothing is promised. A file
    /// that is written over seconds and synced at its end would otherwise hold up the syncs of others, those of the WAL too,
    /// while a file system that orders data before its journal (ext4) writes all of it at once.
    fn write_soon(&self, range: Range<u64>) {
        let _ = range;
    }
    /// Makes data, and the length needed to read it back, durable. After a failure the data
    /// written since the last success counts as lost: never call it again on this file.
    fn sync_data(&self) -> io::Result<()>;
}

impl dyn File + '_ {
    /// Fills `buf` from an offset; `UnexpectedEof` if the file ends before.
    pub fn read_exact_at(&self, mut buf: &mut [u8], mut offset: u64) -> io::Result<()> {
        while !buf.is_empty() {
            match self.read_at(buf, offset) {
                Ok(0) => {
                    return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "file ends before the expected length"));
                }
                Ok(read) => {
                    buf = &mut buf[read..];
                    offset += read as u64;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Writes all of `buf` at an offset.
    pub fn write_all_at(&self, mut buf: &[u8], mut offset: u64) -> io::Result<()> {
        while !buf.is_empty() {
            match self.write_at(buf, offset) {
                Ok(0) => return Err(io::Error::new(io::ErrorKind::WriteZero, "the disk took no bytes")),
                Ok(written) => {
                    buf = &buf[written..];
                    offset += written as u64;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Reads the whole file; `InvalidData` if it is longer than `len_max`.
    pub fn read_all(&self, len_max: u64) -> io::Result<Vec<u8>> {
        let len = self.len()?;
        if len > len_max {
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                format!("file has {len} bytes, expected at most {len_max}"),
            ));
        }
        let mut bytes = vec![0; usize::try_from(len).map_err(io::Error::other)?];
        self.read_exact_at(&mut bytes, 0)?;
        Ok(bytes)
    }
}

/// The clocks.
pub trait Clock: Send + Sync {
    /// Wall clock: ns since 1970 UTC; may jump.
    fn now_ns(&self) -> i64;
    /// Monotonic clock: ns since some fixed point; never goes back.
    fn monotonic_ns(&self) -> u64;
}

/// A source of randomness.
pub trait Random: Send + Sync {
    /// Fills `buf` with random bytes.
    fn fill(&self, buf: &mut [u8]);
}

impl dyn Random {
    /// A random number.
    pub fn next_u64(&self) -> u64 {
        let mut bytes = [0; 8];
        self.fill(&mut bytes);
        u64::from_le_bytes(bytes)
    }
}

/// Joins a folder and a relative path of `/`-separated names, as manifests write them. `None` if
/// the path is absolute or has an empty, `.` or `..` part: a manifest must not point outside.
pub fn join(dir: &Path, relative: &str) -> Option<PathBuf> {
    let mut path = dir.to_path_buf();
    for part in relative.split('/') {
        if part.is_empty() || part == "." || part == ".." || part.contains(['\\', '\0']) {
            return None;
        }
        path.push(part);
    }
    Some(path)
}
