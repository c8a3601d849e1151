//! Where redb reads and writes: memory while an index is built, a checked file afterwards.
//!
//! redb verifies the checksums of its pages only when it repairs a file. So every byte that it
//! reads comes from pages that were held against the CRC32C in the segment's footer first; a page
//! that differs is an I/O error for redb, and what is wrong with it is kept for the error message.

use crate::error::IndexError;
use std::fmt;
use std::io;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use timberlog_disk::{File, checksum};
use timberlog_segment::RedbPages;

/// redb's page size, and the unit of the checksums.
pub(crate) const PAGE_SIZE: u32 = 4096;

/// Memory, which the builder takes back when redb has closed it.
#[derive(Clone, Default)]
pub(crate) struct Memory(Arc<Mutex<Vec<u8>>>);

impl Memory {
    pub(crate) fn take(&self) -> Vec<u8> {
        std::mem::take(&mut self.bytes())
    }

    fn bytes(&self) -> std::sync::MutexGuard<'_, Vec<u8>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Memory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Memory")
    }
}

impl redb::StorageBackend for Memory {
    fn len(&self) -> io::Result<u64> {
        Ok(self.bytes().len() as u64)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let bytes = self.bytes();
        let from = range(offset, out.len()).and_then(|range| bytes.get(range)).ok_or_else(beyond_end)?;
        out.copy_from_slice(from);
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.bytes().resize(usize::try_from(len).map_err(io::Error::other)?, 0);
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let mut bytes = self.bytes();
        let to = range(offset, data.len()).and_then(|range| bytes.get_mut(range)).ok_or_else(beyond_end)?;
        to.copy_from_slice(data);
        Ok(())
    }
}

/// The checksums of a file's pages.
pub(crate) fn page_checksums(bytes: &[u8]) -> RedbPages {
    RedbPages {
        page_size: PAGE_SIZE,
        len: bytes.len() as u64,
        crcs: bytes.chunks(PAGE_SIZE as usize).map(crc32c::crc32c).collect(),
    }
}

/// A file of which only pages that match their checksum can be read.
pub(crate) struct CheckedFile {
    file: Arc<dyn File>,
    pages: RedbPages,
    fault: Arc<OnceLock<IndexError>>,
}

impl CheckedFile {
    /// Checks that there are as many checksums as pages. The first fault of a later read is put
    /// into `fault`.
    pub(crate) fn new(
        file: Arc<dyn File>,
        pages: RedbPages,
        fault: Arc<OnceLock<IndexError>>,
    ) -> Result<Self, IndexError> {
        let RedbPages { page_size, len, ref crcs } = pages;
        if page_size != PAGE_SIZE || len.div_ceil(u64::from(PAGE_SIZE)) != crcs.len() as u64 {
            let what = format!("{} checksums of pages of {page_size} bytes for {len} bytes", crcs.len());
            return Err(IndexError::Corrupt(what));
        }
        let actual = file.len().map_err(|error| IndexError::Io(format!("length: {error}")))?;
        if actual != len {
            return Err(IndexError::Corrupt(format!("file has {actual} bytes, expected {len}")));
        }
        Ok(Self { file, pages, fault })
    }

    /// Reads every page; the numbers of those that do not match.
    pub(crate) fn damaged_pages(&self) -> Vec<u64> {
        let mut page = vec![0; PAGE_SIZE as usize];
        (0..self.pages.crcs.len() as u64)
            .filter(|&number| {
                let offset = number * u64::from(PAGE_SIZE);
                let rest = usize::try_from(self.pages.len - offset).unwrap_or(usize::MAX);
                let len = page.len().min(rest);
                page.get_mut(..len).is_none_or(|page| self.read_pages(offset, page).is_err())
            })
            .collect()
    }

    /// Reads whole pages, the last of the file perhaps shorter.
    fn read_pages(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.file.read_exact_at(out, offset)?;
        let first = usize::try_from(offset / u64::from(PAGE_SIZE)).map_err(io::Error::other)?;
        let crcs = self.pages.crcs.get(first..).unwrap_or_default();
        for (index, page) in out.chunks(PAGE_SIZE as usize).enumerate() {
            if !crcs.get(index).is_some_and(|&crc| checksum::is_right(crc, crc32c::crc32c(page))) {
                return Err(io::Error::new(
                    io::ErrorKind::InvalidData,
                    format!("page {} checksum mismatch", first + index),
                ));
            }
        }
        Ok(())
    }

    fn read_checked(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let end = offset.checked_add(out.len() as u64).filter(|&end| end <= self.pages.len).ok_or_else(beyond_end)?;
        let page = u64::from(PAGE_SIZE);
        let start = offset / page * page;
        let page_end = end.next_multiple_of(page).min(self.pages.len);
        if (start, page_end) == (offset, end) {
            return self.read_pages(offset, out);
        }
        let mut whole = vec![0; usize::try_from(page_end - start).map_err(io::Error::other)?];
        self.read_pages(start, &mut whole)?;
        let wanted = range(offset - start, out.len()).and_then(|range| whole.get(range)).ok_or_else(beyond_end)?;
        out.copy_from_slice(wanted);
        Ok(())
    }
}

impl fmt::Debug for CheckedFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CheckedFile").field("len", &self.pages.len).finish_non_exhaustive()
    }
}

impl redb::StorageBackend for CheckedFile {
    fn len(&self) -> io::Result<u64> {
        Ok(self.pages.len)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.read_checked(offset, out).inspect_err(|error| {
            self.fault.get_or_init(|| fault(error));
        })
    }

    fn set_len(&self, _len: u64) -> io::Result<()> {
        Err(read_only())
    }

    fn sync_data(&self) -> io::Result<()> {
        Err(read_only())
    }

    fn write(&self, _offset: u64, _data: &[u8]) -> io::Result<()> {
        Err(read_only())
    }
}

/// What a read that failed says of the file: only bytes that were read can be wrong.
fn fault(error: &io::Error) -> IndexError {
    match error.kind() {
        io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof => IndexError::Corrupt(error.to_string()),
        _ => IndexError::Io(error.to_string()),
    }
}

fn range(offset: u64, len: usize) -> Option<std::ops::Range<usize>> {
    let start = usize::try_from(offset).ok()?;
    Some(start..start.checked_add(len)?)
}

fn beyond_end() -> io::Error {
    io::Error::new(io::ErrorKind::UnexpectedEof, "read or write beyond the end")
}

fn read_only() -> io::Error {
    io::Error::new(io::ErrorKind::ReadOnlyFilesystem, "an index is never written again")
}
