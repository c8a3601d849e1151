//! The real disk, clock and randomness.

use crate::{Clock, Disk, Entry, File, Open, Random, SyncError, Unsynced};
use std::collections::BTreeSet;
use std::fs::{self, OpenOptions};
use std::io;
use std::num::NonZeroU64;
use std::ops::Range;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// The file system of this machine.
pub struct RealDisk;

struct RealFile(fs::File);

/// Syncs under way at one time: a file system with a journal commits it once for all of them.
const SYNCS_AT_ONCE: usize = 8;
/// Fewer than so many are not worth threads.
const SHARED_SYNCS_MIN: usize = 8;

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
        self.create_dirs(&[dir.to_path_buf()])
    }

    fn create_dirs(&self, dirs: &[PathBuf]) -> io::Result<()> {
        let mut grown = BTreeSet::new();
        let created = dirs.iter().try_for_each(|dir| create_dir_all(dir, &mut grown));
        // Also after an error: who finds a folder later takes it for a durable one.
        let grown: Vec<Unsynced> = grown.into_iter().map(Unsynced::Folder).collect();
        let synced = self.sync_all(&grown).map_err(|error| error.source);
        created.and(synced)
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

    fn sync_all(&self, all: &[Unsynced]) -> Result<(), SyncError> {
        if all.len() < SHARED_SYNCS_MIN {
            return all.iter().try_for_each(|one| one.sync(self));
        }
        let (next, failed) = (AtomicUsize::new(0), Mutex::new(None));
        let work = || {
            while let Some(one) = all.get(next.fetch_add(1, Ordering::Relaxed)) {
                if let Err(error) = one.sync(self) {
                    next.store(all.len(), Ordering::Relaxed);
                    failed.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
                }
            }
        };
        std::thread::scope(|scope| {
            for _ in 1..SYNCS_AT_ONCE {
                // Without it the others do its part.
                let _ = std::thread::Builder::new().name("timberlog-sync".to_owned()).spawn_scoped(scope, work);
            }
            work();
        });
        failed.into_inner().unwrap_or_else(PoisonError::into_inner).map_or(Ok(()), Err)
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

/// Creates a folder and its parents; notes those that have new names.
fn create_dir_all(dir: &Path, grown: &mut BTreeSet<PathBuf>) -> io::Result<()> {
    if dir.as_os_str().is_empty() || dir.is_dir() {
        return Ok(());
    }
    let parent = dir.parent().unwrap_or(Path::new(""));
    create_dir_all(parent, grown)?;
    match fs::create_dir(dir) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && dir.is_dir() => {}
        other => other?,
    }
    grown.insert(if parent.as_os_str().is_empty() { PathBuf::from(".") } else { parent.to_path_buf() });
    Ok(())
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

/// CPU time that the calling thread has used; nothing where the system does not say.
pub fn thread_cpu_time() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::try_from(time).unwrap_or_default()
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

#[cfg(test)]
mod tests {
    use super::*;

    /// A file whose sync fails, or not.
    struct Synced {
        calls: Arc<AtomicUsize>,
        fails: bool,
    }

    impl File for Synced {
        fn read_at(&self, _: &mut [u8], _: u64) -> io::Result<usize> {
            Err(io::ErrorKind::Unsupported.into())
        }

        fn write_at(&self, _: &[u8], _: u64) -> io::Result<usize> {
            Err(io::ErrorKind::Unsupported.into())
        }

        fn len(&self) -> io::Result<u64> {
            Ok(0)
        }

        fn set_len(&self, _: u64) -> io::Result<()> {
            Err(io::ErrorKind::Unsupported.into())
        }

        fn allocate(&self, _: u64) -> io::Result<()> {
            Err(io::ErrorKind::Unsupported.into())
        }

        fn sync_data(&self) -> io::Result<()> {
            self.calls.fetch_add(1, Ordering::SeqCst);
            if self.fails { Err(io::Error::from_raw_os_error(5)) } else { Ok(()) }
        }
    }

    #[test]
    fn each_is_synced_once_and_the_one_that_fails_is_named() {
        for count in [1, 7, 100] {
            for failing in [None, Some(0), Some(count - 1)] {
                let calls = Arc::new(AtomicUsize::new(0));
                let file = |number| {
                    let file = Synced { calls: Arc::clone(&calls), fails: failing == Some(number) };
                    Unsynced::File(PathBuf::from(number.to_string()), Arc::new(file))
                };
                let all: Vec<Unsynced> = (0..count).map(file).collect();
                match (RealDisk.sync_all(&all), failing) {
                    (Ok(()), None) => assert_eq!(calls.load(Ordering::SeqCst), count),
                    (Err(error), Some(number)) => assert_eq!(error.path, PathBuf::from(number.to_string())),
                    (other, _) => panic!("{count} files, {failing:?} fails: {other:?}"),
                }
            }
        }
    }

    #[test]
    fn folders_are_made_with_their_parents_and_may_be_there() {
        let name = format!("timberlog-disk-{}-{}", std::process::id(), RealClock::new().now_ns());
        let root = std::env::temp_dir().join(name);
        let dirs: Vec<PathBuf> = (0..20).map(|number| root.join(format!("t{}/d{number}", number % 3))).collect();
        for _ in 0..2 {
            RealDisk.create_dirs(&dirs).unwrap();
            assert!(dirs.iter().all(|dir| dir.is_dir()));
        }
        fs::write(root.join("file"), b"x").unwrap();
        assert!(RealDisk.create_dirs(&[root.join("file/d")]).is_err());
        fs::remove_dir_all(root).unwrap();
    }
}
