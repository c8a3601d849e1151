//! The real disk, clock and randomness.

use crate::{Clock, Disk, Entry, File, Open, Random};
use std::fs::{self, OpenOptions};
use std::io;
use std::num::NonZeroU64;
use std::ops::Range;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

/// The file system of this machine.
pub struct RealDisk;

struct RealFile(fs::File);

static FSYNCS: AtomicU64 = AtomicU64::new(0);

/// Calls of fsync and fdatasync of this process, of files and folders, failed ones too.
pub fn fsyncs() -> u64 {
    FSYNCS.load(Ordering::Relaxed)
}

impl Disk for RealDisk {
    fn open(&self, path: &Path, how: Open) -> io::Result<Arc<dyn File>> {
        let mut options = OpenOptions::new();
        options.read(true).write(how != Open::Read);
        match how {
            Open::Read | Open::Write => {}
            Open::CreateNew => {
                options.create_new(true);
            }
            Open::CreateTruncate => {
                options.create(true).truncate(true);
            }
        }
        Ok(Arc::new(RealFile(options.open(path)?)))
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<Entry>> {
        let mut entries = Vec::new();
        for entry in fs::read_dir(dir)? {
            let entry = entry?;
            let Ok(name) = entry.file_name().into_string() else { continue };
            let metadata = match entry.metadata() {
                // Removed since the folder was read.
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                other => other?,
            };
            entries.push(Entry {
                name,
                is_dir: metadata.is_dir(),
                len: metadata.size(),
                modified_ns: modified_ns(&metadata),
            });
        }
        entries.sort();
        Ok(entries)
    }

    fn exists(&self, path: &Path) -> io::Result<bool> {
        path.try_exists()
    }

    fn create_dir_all(&self, dir: &Path) -> io::Result<()> {
        if dir.as_os_str().is_empty() || dir.is_dir() {
            return Ok(());
        }
        let parent = dir.parent().unwrap_or(Path::new(""));
        self.create_dir_all(parent)?;
        match fs::create_dir(dir) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists && dir.is_dir() => {}
            other => other?,
        }
        self.sync_dir(if parent.as_os_str().is_empty() { Path::new(".") } else { parent })
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn rename_new(&self, from: &Path, to: &Path) -> io::Result<()> {
        use rustix::fs::{CWD, RenameFlags, renameat_with};
        use rustix::io::Errno;
        match renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE) {
            // A file system that does not know the flag (NFS): a link is refused as well if the name exists.
            Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) => {
                fs::hard_link(from, to)?;
                fs::remove_file(from)
            }
            other => Ok(other?),
        }
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }

    fn remove_dir(&self, path: &Path) -> io::Result<()> {
        fs::remove_dir(path)
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        FSYNCS.fetch_add(1, Ordering::Relaxed);
        fs::File::open(dir)?.sync_all()
    }

    fn lock(&self, path: &Path) -> io::Result<Box<dyn Send + Sync>> {
        let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path)?;
        match file.try_lock() {
            Ok(()) => Ok(Box::new(file)),
            Err(fs::TryLockError::WouldBlock) => Err(io::ErrorKind::WouldBlock.into()),
            Err(fs::TryLockError::Error(error)) => Err(error),
        }
    }

    fn free_bytes(&self, path: &Path) -> io::Result<u64> {
        let stat = rustix::fs::statvfs(path)?;
        Ok(stat.f_bavail.saturating_mul(stat.f_frsize))
    }
}

impl File for RealFile {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        self.0.read_at(buf, offset)
    }

    fn write_at(&self, buf: &[u8], offset: u64) -> io::Result<usize> {
        self.0.write_at(buf, offset)
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.0.metadata()?.len())
    }

    fn modified_ns(&self) -> io::Result<i64> {
        Ok(modified_ns(&self.0.metadata()?))
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.0.set_len(len)
    }

    fn allocate(&self, len: u64) -> io::Result<()> {
        match rustix::fs::fallocate(&self.0, rustix::fs::FallocateFlags::empty(), 0, len) {
            // A file system without preallocation still works, a little slower.
            Err(rustix::io::Errno::OPNOTSUPP) => self.0.set_len(self.len()?.max(len)),
            other => Ok(other?),
        }
    }

    fn write_soon(&self, range: Range<u64>) {
        // On Linux this begins to write what is dirty, without waiting, and drops only what is clean by then.
        if let Some(len) = NonZeroU64::new(range.end.saturating_sub(range.start)) {
            let _ = rustix::fs::fadvise(&self.0, range.start, Some(len), rustix::fs::Advice::DontNeed);
        }
    }

    fn sync_data(&self) -> io::Result<()> {
        FSYNCS.fetch_add(1, Ordering::Relaxed);
        self.0.sync_data()
    }
}

fn modified_ns(metadata: &fs::Metadata) -> i64 {
    metadata.mtime().saturating_mul(1_000_000_000).saturating_add(metadata.mtime_nsec())
}

/// The clocks of this machine.
pub struct RealClock {
    start: Instant,
}

impl RealClock {
    /// A clock whose monotonic time starts now.
    pub fn new() -> Self {
        Self { start: Instant::now() }
    }
}

impl Default for RealClock {
    fn default() -> Self {
        Self::new()
    }
}

impl Clock for RealClock {
    fn now_ns(&self) -> i64 {
        match SystemTime::now().duration_since(UNIX_EPOCH) {
            Ok(since) => i64::try_from(since.as_nanos()).unwrap_or(i64::MAX),
            Err(before) => i64::try_from(before.duration().as_nanos()).map_or(i64::MIN, |ns| -ns),
        }
    }

    fn monotonic_ns(&self) -> u64 {
        u64::try_from(self.start.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }
}

/// How far a thread stands back behind those that take records in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Niceness {
    /// Somebody waits for its work, but nothing is lost if it takes longer (nice 15: a thirtieth of the time, where there is too little).
    Query,
    /// Nobody waits for its work (nice 19: a seventieth).
    Background,
}

/// The lowest priority there is.
const NICE_MAX: i32 = 19;

/// Makes the calling thread run only as far as others leave it time. A system that refuses lets it run like the others.
pub fn lower_thread_priority(niceness: Niceness) {
    let nice = match niceness {
        Niceness::Query => 15,
        Niceness::Background => 19,
    };
    // What the process was started with (its first thread has it) counts too: by itself a number could raise the priority.
    // On Linux `None` is the calling thread, not its process.
    if let Ok(usual) = rustix::process::getpriority_process(Some(rustix::process::getpid())) {
        let _ = rustix::process::setpriority_process(None, (usual + nice).min(NICE_MAX));
    }
}

/// Randomness from the operating system.
pub struct RealRandom;

impl Random for RealRandom {
    fn fill(&self, mut buf: &mut [u8]) {
        while !buf.is_empty() {
            // Only a signal can cut this short; the kernel's generator is always there.
            let filled = rustix::rand::getrandom(&mut *buf, rustix::rand::GetRandomFlags::empty()).unwrap_or(0);
            buf = &mut buf[filled..];
        }
    }
}
