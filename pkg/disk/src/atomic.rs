//! Atomic replacement of small files: after a crash the old content or the new one is there.

use crate::{Disk, Open};
use std::io;
use std::path::Path;

/// Writes `bytes` to `path`: a temporary file beside it, fsync, rename, fsync of the folder.
pub fn write(disk: &dyn Disk, path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut temporary = path.as_os_str().to_owned();
    temporary.push(".tmp");
    let temporary = Path::new(&temporary);
    write_new(disk, temporary, bytes)?;
    disk.rename(temporary, path)?;
    disk.sync_dir(folder(path)?)
}

/// Writes `bytes` to `path` and fsyncs the file, not the folder. An existing file is replaced, and
/// is torn after a crash: only for names that nothing refers to yet.
pub fn write_new(disk: &dyn Disk, path: &Path, bytes: &[u8]) -> io::Result<()> {
    let file = disk.open(path, Open::CreateTruncate)?;
    file.write_all_at(bytes, 0)?;
    file.sync_data()
}

fn folder(path: &Path) -> io::Result<&Path> {
    path.parent().ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "path has no folder"))
}
