//! Who writes temporary files into the folder of a [`super::LocalStore`], and what dead ones left.
//!
//! A writer has a random id and holds the lock of `.timberlog-tmp/<id>.lock` while it lives. Its
//! temporary files have the id in their names. A new writer that gains the lock of another one knows
//! that it is dead, and removes its files: an upload of gigabytes that crashed does not stay for ever.

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use timberlog_disk::{Disk, Env};

/// What names that are no objects begin with; no key may.
pub(super) const TEMPORARY: &str = timberlog_storage::objects::RESERVED;
const FOLDER: &str = ".timberlog-tmp";
const DEPTH_MAX: usize = 64;
/// How many ids are tried. Another writer that sweeps may hold the lock of one for a moment.
const TRIES: usize = 8;

/// A writer that lives until it is dropped.
pub(super) struct Writer {
    env: Env,
    id: String,
    lock_path: PathBuf,
    next: AtomicU64,
    /// Held to show that it lives.
    _lock: Box<dyn Send + Sync>,
}

impl Writer {
    /// Becomes a writer of a folder, which is made, and removes what dead writers left there.
    pub fn start(env: &Env, dir: &Path) -> io::Result<Self> {
        let disk = &*env.disk;
        let folder = dir.join(FOLDER);
        disk.create_dir_all(&folder)?;
        let mut refused = io::Error::from(io::ErrorKind::WouldBlock);
        for _ in 0..TRIES {
            let id = format!("{:016x}", env.random.next_u64());
            let lock_path = folder.join(format!("{id}.lock"));
            match disk.lock(&lock_path) {
                Ok(lock) => {
                    // A temporary file must not survive a crash that the lock's name does not.
                    disk.sync_dir(&folder)?;
                    sweep(disk, dir, &folder, &id);
                    return Ok(Self { env: env.clone(), id, lock_path, next: AtomicU64::new(0), _lock: lock });
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => refused = error,
                Err(error) => return Err(error),
            }
        }
        Err(refused)
    }

    /// A name that no other file has.
    pub fn temporary_name(&self) -> String {
        format!("{TEMPORARY}{}-{}", self.id, self.next.fetch_add(1, Relaxed))
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        // Where it fails, the next writer finds it.
        let _ = self.env.disk.remove_file(&self.lock_path);
    }
}

/// Removes what dead writers left, as far as it can: nothing depends on it.
fn sweep(disk: &dyn Disk, dir: &Path, folder: &Path, own_id: &str) {
    let Ok(entries) = disk.list(folder) else { return };
    let others = entries.iter().filter_map(|entry| entry.name.strip_suffix(".lock")).filter(|id| *id != own_id);
    let dead: Vec<(&str, _)> =
        others.filter_map(|id| Some((id, disk.lock(&folder.join(format!("{id}.lock"))).ok()?))).collect();
    if dead.is_empty() {
        return;
    }
    let prefixes: Vec<String> = dead.iter().map(|(id, _)| format!("{TEMPORARY}{id}-")).collect();
    let mut swept = BTreeSet::new();
    let mut folders = vec![(dir.to_path_buf(), 0)];
    while let Some((folder, depth)) = folders.pop() {
        for entry in disk.list(&folder).unwrap_or_default() {
            let path = folder.join(&entry.name);
            if entry.is_dir && depth < DEPTH_MAX {
                folders.push((path, depth + 1));
            } else if prefixes.iter().any(|prefix| entry.name.starts_with(prefix)) {
                tracing::info!(path = %path.display(), "removing what an upload that ended early left behind");
                let _ = disk.remove_file(&path);
                swept.insert(folder.clone());
            }
        }
    }
    // Only when they are gone for good may the locks that lead to them go.
    if swept.iter().any(|folder| disk.sync_dir(folder).is_err()) {
        return;
    }
    for (id, lock) in dead {
        let _ = disk.remove_file(&folder.join(format!("{id}.lock")));
        drop(lock);
    }
}
