//! The simulated disk as the rest of the program sees it, and as a test steers it.

use super::core::Core;
use super::faults::{Fault, Op};
use crate::{Disk, Entry, File, Open};
use std::collections::BTreeMap;
use std::io;
use std::path::{Component, Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// A disk in memory. Clones are the same disk.
#[derive(Clone)]
pub struct SimDisk(Arc<Mutex<Core>>);

struct SimFile {
    disk: SimDisk,
    inode: u64,
    path: PathBuf,
    writable: bool,
}

struct SimLock {
    disk: SimDisk,
    path: PathBuf,
}

/// Paths are compared by their parts; `.` means nothing.
fn plain(path: &Path) -> PathBuf {
    path.components().filter(|part| !matches!(part, Component::CurDir)).collect()
}

impl SimDisk {
    pub(super) fn new(seed: u64) -> Self {
        Self(Arc::new(Mutex::new(Core::new(seed))))
    }

    fn core(&self) -> MutexGuard<'_, Core> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Steps taken so far.
    pub fn steps(&self) -> u64 {
        self.core().steps
    }

    /// Crashes at this step (the first one is 1); a step that is past never comes.
    pub fn crash_at(&self, step: u64) {
        self.core().crash_at = Some(step);
    }

    /// Crashes now.
    pub fn crash(&self) {
        self.core().crashed = true;
    }

    /// Whether the crash has happened.
    pub fn is_crashed(&self) -> bool {
        self.core().crashed
    }

    /// Makes one operation fail: of those with this kind whose path contains `path_part`, the one
    /// after `skip` others.
    pub fn inject(&self, op: Op, path_part: &str, skip: u64, fault: Fault) {
        self.core().rules.add(op, path_part, skip, fault);
    }

    /// Limits the bytes of all files together; `None` lifts the limit.
    pub fn set_capacity(&self, bytes: Option<u64>) {
        self.core().capacity = bytes;
    }

    /// How many of a hundred reads and writes stop short.
    pub fn set_short_io(&self, percent: u8) {
        self.core().short_io_percent = percent;
    }

    /// What went wrong so far, here and before each [recovery](super::Sim::recover), and how often.
    pub fn happened(&self) -> BTreeMap<&'static str, u64> {
        self.core().happened.0.clone()
    }

    /// Whether no fault strikes meanwhile, none is used up, and nothing stops short: for whoever looks on.
    pub fn set_undisturbed(&self, is_undisturbed: bool) {
        self.core().is_undisturbed = is_undisturbed;
    }

    /// Flips a bit of a file at rest. False if the file does not have it.
    pub fn flip_bit(&self, path: &Path, bit: u64) -> bool {
        self.core().flip_bit(&plain(path), bit)
    }

    /// Every file with its length, by path.
    pub fn files(&self) -> Vec<(PathBuf, u64)> {
        self.core().files()
    }

    /// Starts noting the steps, for [`SimDisk::trace`].
    pub fn start_trace(&self) {
        self.core().trace = Some(Vec::new());
    }

    /// The steps since [`SimDisk::start_trace`], one line each.
    pub fn trace(&self) -> Vec<String> {
        self.core().trace.clone().unwrap_or_default()
    }

    /// The disk after a crash; see [`super::Sim::recover`].
    pub fn recover(&self, seed: u64) -> Self {
        let mut core = self.core();
        core.crashed = true;
        Self(Arc::new(Mutex::new(core.recover(seed))))
    }
}

impl Disk for SimDisk {
    fn open(&self, path: &Path, how: Open) -> io::Result<Arc<dyn File>> {
        let path = plain(path);
        let inode = self.core().open(&path, how)?;
        Ok(Arc::new(SimFile { disk: self.clone(), inode, path, writable: how != Open::Read }))
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<Entry>> {
        self.core().list(&plain(dir))
    }

    fn exists(&self, path: &Path) -> io::Result<bool> {
        self.core().exists(&plain(path))
    }

    fn create_dir_all(&self, dir: &Path) -> io::Result<()> {
        self.core().create_dir_all(&plain(dir))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.core().rename(&plain(from), &plain(to))
    }

    fn rename_new(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.core().rename_new(&plain(from), &plain(to))
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        self.core().remove_file(&plain(path))
    }

    fn remove_dir(&self, path: &Path) -> io::Result<()> {
        self.core().remove_dir(&plain(path))
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        self.core().sync_dir(&plain(dir))
    }

    fn lock(&self, path: &Path) -> io::Result<Box<dyn Send + Sync>> {
        let path = plain(path);
        self.core().lock(&path)?;
        Ok(Box::new(SimLock { disk: self.clone(), path }))
    }

    fn free_bytes(&self, _: &Path) -> io::Result<u64> {
        Ok(self.core().free_bytes())
    }
}

impl SimFile {
    fn writable(&self) -> io::Result<()> {
        if self.writable { Ok(()) } else { Err(io::ErrorKind::PermissionDenied.into()) }
    }
}

impl File for SimFile {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        self.disk.core().read(self.inode, &self.path, buf, offset)
    }

    fn write_at(&self, buf: &[u8], offset: u64) -> io::Result<usize> {
        self.writable()?;
        self.disk.core().write(self.inode, &self.path, buf, offset)
    }

    fn len(&self) -> io::Result<u64> {
        self.disk.core().len(self.inode)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.writable()?;
        self.disk.core().set_len(self.inode, &self.path, len)
    }

    fn allocate(&self, len: u64) -> io::Result<()> {
        let present = self.len()?;
        if present < len { self.set_len(len) } else { Ok(()) }
    }

    fn sync_data(&self) -> io::Result<()> {
        self.disk.core().sync(self.inode, &self.path)
    }
}

impl Drop for SimFile {
    fn drop(&mut self) {
        self.disk.core().close(self.inode);
    }
}

impl Drop for SimLock {
    fn drop(&mut self) {
        self.disk.core().unlock(&self.path);
    }
}
