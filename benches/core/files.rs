//! Data directories as files: their size, and whether the page cache holds them.

use rustix::fs::{Advice, fadvise};
use std::path::{Path, PathBuf};

/// All files below a folder.
pub fn all(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).expect("a folder").flatten() {
        match entry.path() {
            path if path.is_dir() => found.extend(all(&path)),
            path => found.push(path),
        }
    }
    found
}

/// Bytes of all files but the WAL.
pub fn sealed_bytes(data: &Path) -> u64 {
    let of_wal = |path: &PathBuf| path.strip_prefix(data).is_ok_and(|path| path.starts_with("wal"));
    let files = all(data).into_iter().filter(|path| !of_wal(path));
    files.filter_map(|path| path.metadata().ok()).map(|metadata| metadata.len()).sum()
}

/// Copies a folder to a place that is not there yet.
pub fn copy(from: &Path, to: &Path) {
    for path in all(from) {
        let copy = to.join(path.strip_prefix(from).expect("a file below the folder"));
        std::fs::create_dir_all(copy.parent().expect("a folder")).expect("a folder");
        std::fs::copy(&path, copy).expect("room for a copy");
    }
}

/// Takes the files out of the page cache: the next to read them waits for the disk. The kernel may refuse a page in use.
pub fn evict(folder: &Path) {
    for path in all(folder) {
        if let Ok(file) = std::fs::File::open(path) {
            let _ = file.sync_all();
            let _ = fadvise(&file, 0, None, Advice::DontNeed);
        }
    }
}
