//! The names of files: what is durable, and what was done since.

use super::faults::Happened;
use super::inode::Luck;
use super::time::Rng;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// The number of an inode.
pub(super) type Number = u64;

/// A change of names. Each knows the inode it moved, so that it does no harm to a newer one.
#[derive(Clone, Debug)]
pub(super) enum NameChange {
    Link { path: PathBuf, inode: Number },
    Unlink { path: PathBuf, inode: Number },
    Rename { from: PathBuf, to: PathBuf, inode: Number },
    RemoveDir { path: PathBuf },
}

#[derive(Clone, Debug)]
struct Pending {
    change: NameChange,
    /// Folders whose sync is still missing.
    folders: BTreeSet<PathBuf>,
    /// A sync of one of its folders failed: none will ever confirm it.
    doomed: bool,
}

/// The tree of names.
#[derive(Clone, Debug, Default)]
pub(super) struct Names {
    pub tree: Tree,
    durable: Tree,
    pending: Vec<Pending>,
}

/// Files and folders.
#[derive(Clone, Debug, Default)]
pub(super) struct Tree {
    pub files: BTreeMap<PathBuf, Number>,
    pub dirs: BTreeSet<PathBuf>,
}

impl Tree {
    pub fn has_dir(&self, path: &Path) -> bool {
        path.as_os_str().is_empty() || path == Path::new("/") || self.dirs.contains(path)
    }

    /// Whether anything is in a folder.
    pub fn is_used(&self, dir: &Path) -> bool {
        self.files.keys().chain(&self.dirs).any(|path| path.parent() == Some(dir))
    }

    fn apply(&mut self, change: &NameChange) {
        match change {
            NameChange::Link { path, inode } => {
                self.files.insert(path.clone(), *inode);
            }
            NameChange::Unlink { path, inode } => self.unlink(path, *inode),
            NameChange::Rename { from, to, inode } => {
                self.unlink(from, *inode);
                self.files.insert(to.clone(), *inode);
            }
            NameChange::RemoveDir { path } if self.is_used(path) => {}
            NameChange::RemoveDir { path } => {
                self.dirs.remove(path);
            }
        }
    }

    fn unlink(&mut self, path: &Path, inode: Number) {
        if self.files.get(path) == Some(&inode) {
            self.files.remove(path);
        }
    }
}

impl NameChange {
    fn folders(&self) -> BTreeSet<PathBuf> {
        let paths = match self {
            NameChange::Link { path, .. } | NameChange::Unlink { path, .. } | NameChange::RemoveDir { path } => {
                vec![path]
            }
            NameChange::Rename { from, to, .. } => vec![from, to],
        };
        paths.into_iter().map(|path| path.parent().unwrap_or(Path::new("")).to_path_buf()).collect()
    }

    /// What its loss is counted as.
    fn loss(&self) -> &'static str {
        match self {
            NameChange::Link { .. } => "new names lost",
            NameChange::Unlink { .. } | NameChange::RemoveDir { .. } => "removals lost",
            NameChange::Rename { .. } => "renames lost",
        }
    }

    fn inode(&self) -> Option<Number> {
        match self {
            NameChange::Link { inode, .. } | NameChange::Unlink { inode, .. } | NameChange::Rename { inode, .. } => {
                Some(*inode)
            }
            NameChange::RemoveDir { .. } => None,
        }
    }
}

impl Names {
    pub fn change(&mut self, change: NameChange) {
        self.tree.apply(&change);
        self.pending.push(Pending { folders: change.folders(), change, doomed: false });
    }

    /// A new folder, durable at once.
    pub fn make_dir(&mut self, path: &Path) {
        // It exists again: an earlier removal has no say in it any more.
        self.pending.retain(|pending| !matches!(&pending.change, NameChange::RemoveDir { path: gone } if gone == path));
        self.tree.dirs.insert(path.to_path_buf());
        self.durable.dirs.insert(path.to_path_buf());
    }

    pub fn sync(&mut self, dir: &Path) {
        for pending in self.pending.iter_mut().filter(|pending| !pending.doomed) {
            pending.folders.remove(dir);
        }
        let confirmed = self.pending.iter().take_while(|pending| pending.folders.is_empty()).count();
        for pending in self.pending.drain(..confirmed) {
            self.durable.apply(&pending.change);
        }
    }

    pub fn sync_failed(&mut self, dir: &Path) {
        for pending in self.pending.iter_mut().filter(|pending| pending.folders.contains(dir)) {
            pending.doomed = true;
        }
    }

    /// The names after a crash.
    pub fn recover(&self, luck: Luck, rng: &mut Rng, happened: &mut Happened) -> Self {
        let mut tree = self.durable.clone();
        for Pending { change, folders, .. } in &self.pending {
            let kept = match luck {
                Luck::All => true,
                Luck::None => false,
                Luck::Mixed => rng.percent(50),
            };
            if kept || folders.is_empty() {
                tree.apply(change);
            } else {
                happened.count(change.loss());
            }
        }
        Self { durable: tree.clone(), tree, pending: Vec::new() }
    }

    /// Inodes that a name has, or may have after a crash.
    pub fn inodes(&self) -> BTreeSet<Number> {
        let pending = self.pending.iter().filter_map(|pending| pending.change.inode());
        self.tree.files.values().chain(self.durable.files.values()).copied().chain(pending).collect()
    }
}
