//! The machine that a history happens on: a simulated one, with processes that can be killed, and
//! sabotage between storage and disk.
//!
//! A power loss is [`Sim::recover`]; a kill leaves the disk as the page cache has it: only the
//! process's handles stop working.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use timberlog_disk::sim::{Fault, Op, Sim};
use timberlog_disk::{Disk, Entry, Env, File, Open};

/// A defect that the seam can put into the storage, to see that seeds catch it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sabotage {
    None,
    /// The fsync of the WAL's frames does nothing; that of a new file's header is left.
    WalSyncLeftOut,
    /// The fsync of new segments happens only when the manifest that names them is durable.
    SegmentsSyncedAfterCommit,
    /// Where truncation takes a WAL file away, the next one goes too.
    TruncationOneFileTooFar,
    /// The fsync of folders does nothing.
    FolderSyncLeftOut,
}

/// A process: what it does to the disk goes through here until it is killed.
pub struct Process {
    sim: Sim,
    sabotage: Sabotage,
    alive: AtomicBool,
    /// Operations left before it is killed.
    left: AtomicI64,
    /// Syncs of the WAL left before one is where the power is lost.
    wal_syncs_left: AtomicI64,
    /// Commits left before the power is lost right behind one.
    commits_left: AtomicI64,
    /// Moves of the manifest's pointer left before one whose fsync fails.
    moves_left: AtomicI64,
    /// An fsync of the WAL that fails is the beginning of the end: what comes behind it is never flushed.
    ends_unflushed: AtomicBool,
    /// One has failed.
    has_failed_sync: AtomicBool,
    /// A read that fails: of those whose path has this part, the one after so many others.
    read_fault: Mutex<Option<(&'static str, u64)>>,
    /// Reads that have failed so.
    failed_reads: AtomicU64,
    /// Somebody looks on: nothing befalls it meanwhile.
    is_undisturbed: AtomicBool,
    /// Syncs that sabotage has put off.
    late: Mutex<Vec<Arc<dyn File>>>,
}

impl Process {
    pub fn start(sim: &Sim, sabotage: Sabotage) -> Arc<Self> {
        Arc::new(Self {
            sim: sim.clone(),
            sabotage,
            alive: AtomicBool::new(true),
            left: AtomicI64::new(i64::MAX),
            wal_syncs_left: AtomicI64::new(i64::MAX),
            commits_left: AtomicI64::new(i64::MAX),
            moves_left: AtomicI64::new(i64::MAX),
            ends_unflushed: AtomicBool::new(false),
            has_failed_sync: AtomicBool::new(false),
            read_fault: Mutex::new(None),
            failed_reads: AtomicU64::new(0),
            is_undisturbed: AtomicBool::new(false),
            late: Mutex::new(Vec::new()),
        })
    }

    pub fn env(self: &Arc<Self>) -> Env {
        Env { disk: Arc::new(ProcessDisk { process: Arc::clone(self) }), ..self.sim.env() }
    }

    pub fn kill(&self) {
        self.alive.store(false, Ordering::SeqCst);
    }

    pub fn kill_after(&self, operations: i64) {
        self.left.store(operations, Ordering::SeqCst);
    }

    /// The power is lost in the sync after so many others: what was written for it may be there.
    pub fn lose_power_at_wal_sync(&self, syncs: i64) {
        self.wal_syncs_left.store(syncs, Ordering::SeqCst);
    }

    /// The power is lost in the step behind the commit after so many others.
    pub fn lose_power_behind_commit(&self, commits: i64) {
        self.commits_left.store(commits, Ordering::SeqCst);
    }

    /// The fsync behind the move of the pointer fails, after so many others.
    pub fn fail_behind_pointer(&self, moves: i64) {
        self.moves_left.store(moves, Ordering::SeqCst);
    }

    /// Behind a failed fsync of the WAL it is killed by its next flush: what it acknowledges until then is in the WAL alone.
    pub fn end_unflushed(&self) {
        self.ends_unflushed.store(true, Ordering::SeqCst);
    }

    /// Makes one read, or the opening or listing before it, fail. It ends with the process.
    pub fn fail_read(&self, path_part: &'static str, skip: u64) {
        *self.read_fault.lock().unwrap_or_else(PoisonError::into_inner) = Some((path_part, skip));
    }

    pub fn failed_reads(&self) -> u64 {
        self.failed_reads.load(Ordering::SeqCst)
    }

    /// Looks at what the process shows: no fault strikes meanwhile, and none is used up.
    pub fn undisturbed<T>(&self, look: impl FnOnce() -> T) -> T {
        let set = |is_undisturbed| {
            self.is_undisturbed.store(is_undisturbed, Ordering::SeqCst);
            self.sim.disk.set_undisturbed(is_undisturbed);
        };
        set(true);
        let seen = look();
        set(false);
        seen
    }

    pub fn is_undisturbed(&self) -> bool {
        self.is_undisturbed.load(Ordering::SeqCst)
    }

    /// Whether it was killed or the machine has lost power.
    pub fn is_dead(&self) -> bool {
        !self.alive.load(Ordering::SeqCst) || self.sim.disk.is_crashed()
    }

    fn operation(&self) -> io::Result<()> {
        if !self.is_undisturbed() && self.left.fetch_sub(1, Ordering::SeqCst) <= 0 {
            self.kill();
        }
        if self.alive.load(Ordering::SeqCst) { Ok(()) } else { Err(io::Error::other("simulated kill")) }
    }

    fn read(&self, path: &Path) -> io::Result<()> {
        if self.is_undisturbed() {
            return Ok(());
        }
        let mut fault = self.read_fault.lock().unwrap_or_else(PoisonError::into_inner);
        match &mut *fault {
            Some((part, skip)) if has_part(path, part) && *skip > 0 => *skip -= 1,
            Some((part, _)) if has_part(path, part) => {
                *fault = None;
                self.failed_reads.fetch_add(1, Ordering::SeqCst);
                return Err(io::Error::from_raw_os_error(5));
            }
            _ => {}
        }
        Ok(())
    }

    fn take_late(&self) -> Vec<Arc<dyn File>> {
        std::mem::take(&mut *self.late.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

struct ProcessDisk {
    process: Arc<Process>,
}

struct ProcessFile {
    process: Arc<Process>,
    path: PathBuf,
    file: Arc<dyn File>,
    in_wal: bool,
    in_segments: bool,
    syncs: AtomicI64,
}

fn has_part(path: &Path, part: &str) -> bool {
    path.components().any(|component| component.as_os_str() == part)
}

fn is_wal_file(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "wal")
}

impl ProcessDisk {
    fn disk(&self) -> io::Result<&dyn Disk> {
        self.process.operation()?;
        Ok(&self.process.sim.disk)
    }

    /// Sabotage: the WAL file behind `path` goes too.
    fn take_next(&self, path: &Path) -> io::Result<()> {
        let (disk, dir) = (self.disk()?, path.parent().unwrap_or(path));
        let files = disk.list(dir)?.into_iter().map(|entry| dir.join(entry.name)).filter(|path| is_wal_file(path));
        let next = files.filter(|other| other.as_path() > path).min();
        next.map_or(Ok(()), |next| disk.remove_file(&next))
    }

    fn leaves_wal(&self, from: &Path, to: Option<&Path>) -> bool {
        self.process.sabotage == Sabotage::TruncationOneFileTooFar && is_wal_file(from) && !to.is_some_and(is_wal_file)
    }
}

impl Disk for ProcessDisk {
    fn open(&self, path: &Path, how: Open) -> io::Result<Arc<dyn File>> {
        if how == Open::Read {
            self.process.read(path)?;
        } else if has_part(path, "segments") && self.process.has_failed_sync.load(Ordering::SeqCst) {
            self.process.kill();
        }
        let file = self.disk()?.open(path, how)?;
        let (process, path) = (Arc::clone(&self.process), path.to_path_buf());
        let (in_wal, in_segments) = (has_part(&path, "wal"), has_part(&path, "segments"));
        Ok(Arc::new(ProcessFile { process, path, file, in_wal, in_segments, syncs: AtomicI64::new(0) }))
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<Entry>> {
        self.process.read(dir)?;
        self.disk()?.list(dir)
    }

    fn exists(&self, path: &Path) -> io::Result<bool> {
        self.disk()?.exists(path)
    }

    fn create_dir_all(&self, dir: &Path) -> io::Result<()> {
        self.disk()?.create_dir_all(dir)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        if self.leaves_wal(from, Some(to)) {
            self.take_next(from)?;
        }
        self.disk()?.rename(from, to)
    }

    fn rename_new(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.disk()?.rename_new(from, to)
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        if self.leaves_wal(path, None) {
            self.take_next(path)?;
        }
        self.disk()?.remove_file(path)
    }

    fn remove_dir(&self, path: &Path) -> io::Result<()> {
        self.disk()?.remove_dir(path)
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        if self.process.sabotage == Sabotage::FolderSyncLeftOut {
            return self.process.operation();
        }
        let disk = &self.process.sim.disk;
        if disk.exists(&dir.join("manifest.json"))? && self.process.moves_left.fetch_sub(1, Ordering::SeqCst) == 0 {
            disk.inject(Op::SyncDir, "", 0, Fault::Io);
        }
        self.disk()?.sync_dir(dir)?;
        if self.disk()?.exists(&dir.join("manifest.json"))? {
            if self.process.commits_left.fetch_sub(1, Ordering::SeqCst) == 0 {
                let disk = &self.process.sim.disk;
                disk.crash_at(disk.steps() + 1);
            }
            for file in self.process.take_late() {
                self.process.operation()?;
                file.sync_data()?;
            }
        }
        Ok(())
    }

    fn lock(&self, path: &Path) -> io::Result<Box<dyn Send + Sync>> {
        self.disk()?.lock(path)
    }

    fn free_bytes(&self, path: &Path) -> io::Result<u64> {
        self.disk()?.free_bytes(path)
    }
}

impl ProcessFile {
    fn file(&self) -> io::Result<&dyn File> {
        self.process.operation()?;
        Ok(&*self.file)
    }
}

impl File for ProcessFile {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        self.process.read(&self.path)?;
        self.file()?.read_at(buf, offset)
    }

    fn write_at(&self, buf: &[u8], offset: u64) -> io::Result<usize> {
        self.file()?.write_at(buf, offset)
    }

    fn len(&self) -> io::Result<u64> {
        self.file()?.len()
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.file()?.set_len(len)
    }

    fn allocate(&self, len: u64) -> io::Result<()> {
        self.file()?.allocate(len)
    }

    fn sync_data(&self) -> io::Result<()> {
        let file = self.file()?;
        // The first sync of a handle is of a new file's header, or of what a start has found.
        let has_frames = self.syncs.fetch_add(1, Ordering::SeqCst) > 0 && self.in_wal;
        if has_frames && self.process.wal_syncs_left.fetch_sub(1, Ordering::SeqCst) == 0 {
            let disk = &self.process.sim.disk;
            disk.crash_at(disk.steps() + 1);
        }
        match self.process.sabotage {
            Sabotage::WalSyncLeftOut if has_frames => Ok(()),
            Sabotage::SegmentsSyncedAfterCommit if self.in_segments => {
                let mut late = self.process.late.lock().unwrap_or_else(PoisonError::into_inner);
                late.push(Arc::clone(&self.file));
                Ok(())
            }
            _ => {
                let synced = file.sync_data();
                if has_frames && synced.is_err() && self.process.ends_unflushed.load(Ordering::SeqCst) {
                    self.process.has_failed_sync.store(true, Ordering::SeqCst);
                }
                synced
            }
        }
    }
}
