//! A folder of files that can be had again from somewhere else: whole under their names, or not there.
//!
//! A file is written under another name and renamed. Nothing is synced: what a crash leaves of a file may be wrong, and
//! whoever reads one checks it. A file that cannot be written is no loss.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use timberlog_disk::{Env, File, Open};

/// A folder of files that can be had again.
pub(super) struct Folder {
    env: Env,
    dir: PathBuf,
    /// Makes names of files that are being written unlike each other.
    next: AtomicU64,
}

impl Folder {
    /// Makes the folder if it is not there. What an earlier process did not finish goes.
    pub(super) fn open(env: &Env, dir: PathBuf) -> io::Result<Self> {
        env.disk.create_dir_all(&dir)?;
        let folder = Self { env: env.clone(), dir, next: AtomicU64::new(0) };
        for entry in env.disk.list(&folder.dir)?.iter().filter(|entry| entry.name.ends_with(".tmp")) {
            folder.remove(&entry.name);
        }
        Ok(folder)
    }

    /// The files, by name, with their lengths.
    pub(super) fn files(&self) -> io::Result<Vec<(String, u64)>> {
        let entries = self.env.disk.list(&self.dir)?;
        let files = entries.into_iter().filter(|entry| !entry.is_dir && !entry.name.ends_with(".tmp"));
        Ok(files.map(|entry| (entry.name, entry.len)).collect())
    }

    /// Opens a file to read.
    pub(super) fn read(&self, name: &str) -> io::Result<Arc<dyn File>> {
        self.env.disk.open(&self.dir.join(name), Open::Read)
    }

    /// Writes a file whole, over one that is there.
    pub(super) fn write(&self, name: &str, parts: &[&[u8]]) -> io::Result<()> {
        let number = self.next.fetch_add(1, Relaxed);
        let temporary = format!("{name}-{number}.tmp");
        let path = self.dir.join(&temporary);
        let written = self.env.disk.open(&path, Open::CreateTruncate).and_then(|file| {
            let mut at = 0;
            for part in parts {
                file.write_all_at(part, at)?;
                at += part.len() as u64;
            }
            self.env.disk.rename(&path, &self.dir.join(name))
        });
        if written.is_err() {
            self.remove(&temporary);
        }
        written
    }

    /// Removes a file, if it is there.
    pub(super) fn remove(&self, name: &str) {
        let _ = self.env.disk.remove_file(&self.dir.join(name));
    }

    /// Bytes that can still be written.
    pub(super) fn free_bytes(&self) -> u64 {
        self.env.disk.free_bytes(&self.dir).unwrap_or(0)
    }
}
