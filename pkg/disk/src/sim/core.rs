//! The state of a simulated disk: steps, crashes, and the operations themselves.

use super::faults::{Failure, Fault, Go, Happened, Op, Rules};
use super::inode::{Change, Inode, Luck};
use super::names::{NameChange, Names, Number};
use super::time::Rng;
use crate::{Entry, Open};
use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

/// Everything behind the lock.
#[derive(Debug, Default)]
pub(super) struct Core {
    pub steps: u64,
    pub crash_at: Option<u64>,
    pub crashed: bool,
    pub capacity: Option<u64>,
    pub short_io_percent: u8,
    pub trace: Option<Vec<String>>,
    /// No fault strikes: whoever looks on must not use any of them up.
    pub is_undisturbed: bool,
    pub happened: Happened,
    rng: Option<Rng>,
    pub rules: Rules,
    names: Names,
    inodes: BTreeMap<Number, Inode>,
    last_inode: Number,
    locks: BTreeSet<PathBuf>,
}

fn not_found() -> io::Error {
    ErrorKind::NotFound.into()
}

fn parent(path: &Path) -> &Path {
    path.parent().unwrap_or(Path::new(""))
}

impl Core {
    pub fn new(seed: u64) -> Self {
        Self { rng: Some(Rng::new(seed)), ..Self::default() }
    }

    fn rng(&mut self) -> &mut Rng {
        self.rng.get_or_insert_with(|| Rng::new(0))
    }

    fn strike(&mut self, op: Op, path: &Path) -> Option<Fault> {
        if self.is_undisturbed {
            return None;
        }
        let fault = self.rules.strike(op, path)?;
        self.happened.fault(op, fault);
        Some(fault)
    }

    /// Before an operation that changes nothing.
    fn look(&mut self, op: Op, path: &Path) -> io::Result<()> {
        if self.crashed {
            return Err(Failure::Crash.error());
        }
        match self.strike(op, path) {
            None => Ok(()),
            Some(Fault::NoSpace) => Err(Failure::NoSpace.error()),
            Some(Fault::Io | Fault::DoneButError) => Err(Failure::Io.error()),
        }
    }

    /// Counts a step, and says how the operation goes on.
    fn step(&mut self, op: Op, path: &Path) -> Go {
        if self.crashed {
            return Go::Fail(Failure::Crash);
        }
        self.steps += 1;
        if let Some(trace) = &mut self.trace {
            trace.push(format!("{} {op:?} {}", self.steps, path.display()));
        }
        if self.crash_at == Some(self.steps) {
            self.crashed = true;
            return Go::ThenFail(Failure::Crash);
        }
        match self.strike(op, path) {
            None => Go::On,
            Some(Fault::Io) => Go::Fail(Failure::Io),
            Some(Fault::NoSpace) => Go::Fail(Failure::NoSpace),
            Some(Fault::DoneButError) => Go::ThenFail(Failure::Io),
        }
    }

    pub fn open(&mut self, path: &Path, how: Open) -> io::Result<Number> {
        if self.crashed {
            return Err(Failure::Crash.error());
        }
        if self.names.tree.has_dir(path) {
            return Err(ErrorKind::IsADirectory.into());
        }
        let present = self.names.tree.files.get(path).copied();
        let number = match (how, present) {
            (Open::Read | Open::Write, None) => return Err(not_found()),
            (Open::CreateNew, Some(_)) => return Err(ErrorKind::AlreadyExists.into()),
            (Open::Read | Open::Write, Some(number)) => {
                self.look(Op::Open, path)?;
                number
            }
            (Open::CreateTruncate, Some(number)) => {
                let go = self.step(Op::Open, path);
                go.run(|| self.inode(number).map(|inode| inode.change(Change::SetLen(0))))??;
                number
            }
            (Open::CreateNew | Open::CreateTruncate, None) => self.create(path)?,
        };
        self.inode(number)?.handles += 1;
        Ok(number)
    }

    fn create(&mut self, path: &Path) -> io::Result<Number> {
        if !self.names.tree.has_dir(parent(path)) {
            return Err(not_found());
        }
        let go = self.step(Op::Open, path);
        go.run(|| {
            self.last_inode += 1;
            self.inodes.insert(self.last_inode, Inode::default());
            self.names.change(NameChange::Link { path: path.to_path_buf(), inode: self.last_inode });
            self.last_inode
        })
    }

    pub fn close(&mut self, number: Number) {
        if let Some(inode) = self.inodes.get_mut(&number) {
            inode.handles = inode.handles.saturating_sub(1);
        }
    }

    fn inode(&mut self, number: Number) -> io::Result<&mut Inode> {
        self.inodes.get_mut(&number).ok_or_else(not_found)
    }

    pub fn read(&mut self, number: Number, path: &Path, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        self.look(Op::Read, path)?;
        let content = &self.inode(number)?.content;
        let start = usize::try_from(offset).unwrap_or(usize::MAX).min(content.len());
        let len = buf.len().min(content.len() - start);
        buf[..len].copy_from_slice(&content[start..start + len]);
        Ok(self.shorten(len, "short reads"))
    }

    /// What a read or write of `len` bytes does, at least one byte.
    fn shorten(&mut self, len: usize, what: &'static str) -> usize {
        let percent = self.short_io_percent;
        if len > 1 && percent > 0 && !self.is_undisturbed && self.rng().percent(percent) {
            self.happened.count(what);
            1 + self.rng().below(len as u64 - 1) as usize
        } else {
            len
        }
    }

    pub fn write(&mut self, number: Number, path: &Path, data: &[u8], offset: u64) -> io::Result<usize> {
        let len = self.shorten(data.len(), "short writes");
        let offset = usize::try_from(offset).map_err(io::Error::other)?;
        let end = offset.checked_add(len).ok_or(ErrorKind::FileTooLarge)?;
        let present = self.inode(number)?.content.len();
        let room = usize::try_from(self.free_bytes()).unwrap_or(usize::MAX);
        let len = len.min(present.saturating_add(room).saturating_sub(offset));
        if len == 0 && end > offset {
            self.happened.count("writes to a full disk");
            let go = self.step(Op::Write, path);
            return go.run(|| ()).and(Err(Failure::NoSpace.error()));
        }
        let go = self.step(Op::Write, path);
        go.run(|| {
            let data = data[..len].to_vec();
            self.inode(number).map(|inode| inode.change(Change::Write { offset, data }))
        })??;
        Ok(len)
    }

    pub fn len(&mut self, number: Number) -> io::Result<u64> {
        if self.crashed {
            return Err(Failure::Crash.error());
        }
        Ok(self.inode(number)?.content.len() as u64)
    }

    pub fn set_len(&mut self, number: Number, path: &Path, len: u64) -> io::Result<()> {
        let len = usize::try_from(len).map_err(io::Error::other)?;
        let growth = len.saturating_sub(self.inode(number)?.content.len()) as u64;
        let go = self.step(Op::Resize, path);
        if growth > self.free_bytes() {
            return go.run(|| ()).and(Err(Failure::NoSpace.error()));
        }
        go.run(|| self.inode(number).map(|inode| inode.change(Change::SetLen(len))))?
    }

    pub fn sync(&mut self, number: Number, path: &Path) -> io::Result<()> {
        let go = self.step(Op::Sync, path);
        let inode = self.inode(number)?;
        match go {
            Go::On => inode.sync(),
            // Whatever a crash lets through of an unfinished sync is one of its legal outcomes.
            Go::ThenFail(Failure::Crash) | Go::Fail(Failure::Crash) => {}
            Go::ThenFail(_) | Go::Fail(_) => inode.sync_failed(),
        }
        go.run(|| ())
    }

    pub fn list(&mut self, dir: &Path) -> io::Result<Vec<Entry>> {
        self.look(Op::List, dir)?;
        let tree = &self.names.tree;
        if !tree.has_dir(dir) {
            return Err(not_found());
        }
        let name =
            |path: &Path| (path.parent() == Some(dir)).then(|| path.file_name()?.to_str().map(str::to_owned)).flatten();
        let dirs =
            tree.dirs.iter().filter_map(|path| Some(Entry { name: name(path)?, is_dir: true, len: 0, modified_ns: 0 }));
        let files = tree.files.iter().filter_map(|(path, number)| {
            let len = self.inodes.get(number).map_or(0, |inode| inode.content.len() as u64);
            Some(Entry { name: name(path)?, is_dir: false, len, modified_ns: 0 })
        });
        let mut entries: Vec<Entry> = dirs.chain(files).collect();
        entries.sort();
        Ok(entries)
    }

    pub fn exists(&mut self, path: &Path) -> io::Result<bool> {
        if self.crashed {
            return Err(Failure::Crash.error());
        }
        Ok(self.names.tree.has_dir(path) || self.names.tree.files.contains_key(path))
    }

    pub fn create_dir_all(&mut self, dir: &Path) -> io::Result<()> {
        if self.crashed {
            return Err(Failure::Crash.error());
        }
        if self.names.tree.has_dir(dir) {
            return Ok(());
        }
        if self.names.tree.files.contains_key(dir) {
            return Err(ErrorKind::AlreadyExists.into());
        }
        self.create_dir_all(parent(dir))?;
        let go = self.step(Op::CreateDir, dir);
        if go == Go::ThenFail(Failure::Crash) && self.rng().percent(50) {
            return Err(Failure::Crash.error());
        }
        go.run(|| self.names.make_dir(dir))
    }

    pub fn rename(&mut self, from: &Path, to: &Path) -> io::Result<()> {
        if self.crashed {
            return Err(Failure::Crash.error());
        }
        let inode = *self.names.tree.files.get(from).ok_or_else(not_found)?;
        if !self.names.tree.has_dir(parent(to)) {
            return Err(not_found());
        }
        if self.names.tree.has_dir(to) {
            return Err(ErrorKind::IsADirectory.into());
        }
        let go = self.step(Op::Rename, to);
        go.run(|| self.names.change(NameChange::Rename { from: from.to_path_buf(), to: to.to_path_buf(), inode }))
    }

    pub fn rename_new(&mut self, from: &Path, to: &Path) -> io::Result<()> {
        if !self.crashed && self.names.tree.files.contains_key(to) {
            return Err(ErrorKind::AlreadyExists.into());
        }
        self.rename(from, to)
    }

    pub fn remove_file(&mut self, path: &Path) -> io::Result<()> {
        if self.crashed {
            return Err(Failure::Crash.error());
        }
        let inode = *self.names.tree.files.get(path).ok_or_else(not_found)?;
        let go = self.step(Op::Remove, path);
        go.run(|| self.names.change(NameChange::Unlink { path: path.to_path_buf(), inode }))
    }

    pub fn remove_dir(&mut self, path: &Path) -> io::Result<()> {
        if self.crashed {
            return Err(Failure::Crash.error());
        }
        if !self.names.tree.dirs.contains(path) {
            return Err(not_found());
        }
        if self.names.tree.is_used(path) {
            return Err(ErrorKind::DirectoryNotEmpty.into());
        }
        let go = self.step(Op::Remove, path);
        go.run(|| self.names.change(NameChange::RemoveDir { path: path.to_path_buf() }))
    }

    pub fn sync_dir(&mut self, dir: &Path) -> io::Result<()> {
        if !self.crashed && !self.names.tree.has_dir(dir) {
            return Err(not_found());
        }
        let go = self.step(Op::SyncDir, dir);
        match go {
            Go::On => {
                self.names.sync(dir);
                self.forget_inodes();
            }
            Go::ThenFail(Failure::Crash) | Go::Fail(Failure::Crash) => {}
            Go::ThenFail(_) | Go::Fail(_) => self.names.sync_failed(dir),
        }
        go.run(|| ())
    }

    /// Drops files that nothing can lead to any more.
    fn forget_inodes(&mut self) {
        let named = self.names.inodes();
        self.inodes.retain(|number, inode| inode.handles > 0 || named.contains(number));
    }

    pub fn lock(&mut self, path: &Path) -> io::Result<()> {
        if self.crashed {
            return Err(Failure::Crash.error());
        }
        if !self.names.tree.files.contains_key(path) {
            self.create(path)?;
        }
        if self.locks.insert(path.to_path_buf()) { Ok(()) } else { Err(ErrorKind::WouldBlock.into()) }
    }

    pub fn unlock(&mut self, path: &Path) {
        self.locks.remove(path);
    }

    pub fn free_bytes(&self) -> u64 {
        let Some(capacity) = self.capacity else { return u64::MAX / 2 };
        let used = self.inodes.values().map(|inode| inode.content.len() as u64).sum();
        capacity.saturating_sub(used)
    }

    pub fn flip_bit(&mut self, path: &Path, bit: u64) -> bool {
        let number = self.names.tree.files.get(path).copied();
        let inode = number.and_then(|number| self.inodes.get_mut(&number));
        inode.is_some_and(|inode| usize::try_from(bit).is_ok_and(|bit| inode.flip_bit(bit)))
    }

    pub fn files(&self) -> Vec<(PathBuf, u64)> {
        let len = |number| self.inodes.get(number).map_or(0, |inode| inode.content.len() as u64);
        self.names.tree.files.iter().map(|(path, number)| (path.clone(), len(number))).collect()
    }

    /// The disk after the crash.
    pub fn recover(&self, seed: u64) -> Self {
        let mut rng = Rng::new(seed);
        let luck = |rng: &mut Rng| match rng.below(6) {
            0 => Luck::None,
            1 => Luck::All,
            _ => Luck::Mixed,
        };
        let names_luck = luck(&mut rng);
        let mut happened = self.happened.clone();
        let names = self.names.recover(names_luck, &mut rng, &mut happened);
        let left = names.inodes();
        let mut inodes = BTreeMap::new();
        for (number, inode) in self.inodes.iter().filter(|(number, _)| left.contains(number)) {
            let luck = luck(&mut rng);
            inodes.insert(*number, inode.recover(luck, &mut rng, &mut happened));
        }
        Self {
            capacity: self.capacity,
            short_io_percent: self.short_io_percent,
            rng: Some(rng),
            happened,
            names,
            inodes,
            last_inode: self.last_inode,
            ..Self::default()
        }
    }
}
