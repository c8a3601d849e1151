//! Files that are not on a disk: bytes in memory, and objects of a store, read only.

use crate::objects::ObjectStore;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use timberlog_disk::File;
use timberlog_types::ErrorKind;

/// Bytes as a file.
pub(super) struct MemoryFile(pub(super) Vec<u8>);

fn read_only() -> io::Error {
    io::Error::new(io::ErrorKind::Unsupported, "it can only be read")
}

/// Copies what `bytes`, which stand at `start`, hold of the file from `offset` on.
fn copy_from(bytes: &[u8], start: u64, buf: &mut [u8], offset: u64) -> usize {
    let at = offset.checked_sub(start).and_then(|at| usize::try_from(at).ok());
    let rest = at.and_then(|at| bytes.get(at..)).unwrap_or_default();
    let len = rest.len().min(buf.len());
    buf[..len].copy_from_slice(&rest[..len]);
    len
}

impl File for MemoryFile {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        Ok(copy_from(&self.0, 0, buf, offset))
    }

    fn write_at(&self, _: &[u8], _: u64) -> io::Result<usize> {
        Err(read_only())
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.0.len() as u64)
    }

    fn set_len(&self, _: u64) -> io::Result<()> {
        Err(read_only())
    }

    fn allocate(&self, _: u64) -> io::Result<()> {
        Err(read_only())
    }

    fn sync_data(&self) -> io::Result<()> {
        Ok(())
    }
}

/// What is read of an object at once.
const WINDOW_BYTES: u64 = 8 << 20;

/// An object as a file; its length is known. Reads go through one window.
pub(super) struct ObjectFile {
    store: Arc<dyn ObjectStore>,
    key: String,
    len: u64,
    window: Mutex<(u64, Vec<u8>)>,
}

impl ObjectFile {
    pub(super) fn new(store: Arc<dyn ObjectStore>, key: String, len: u64) -> Self {
        Self { store, key, len, window: Mutex::default() }
    }
}

impl File for ObjectFile {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        if offset >= self.len || buf.is_empty() {
            return Ok(0);
        }
        let mut window = self.window.lock().unwrap_or_else(PoisonError::into_inner);
        let (start, bytes) = &*window;
        if offset < *start || offset >= *start + bytes.len() as u64 {
            let end = self.len.min(offset.saturating_add(WINDOW_BYTES));
            let bytes = self.store.get_range(&self.key, offset..end).map_err(|error| match error.kind {
                ErrorKind::NotFound => io::Error::new(io::ErrorKind::NotFound, error),
                ErrorKind::Corrupt => io::Error::new(io::ErrorKind::UnexpectedEof, error),
                _ => io::Error::other(error),
            })?;
            *window = (offset, bytes);
        }
        let (start, bytes) = &*window;
        Ok(copy_from(bytes, *start, buf, offset))
    }

    fn write_at(&self, _: &[u8], _: u64) -> io::Result<usize> {
        Err(read_only())
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.len)
    }

    fn set_len(&self, _: u64) -> io::Result<()> {
        Err(read_only())
    }

    fn allocate(&self, _: u64) -> io::Result<()> {
        Err(read_only())
    }

    fn sync_data(&self) -> io::Result<()> {
        Ok(())
    }
}
