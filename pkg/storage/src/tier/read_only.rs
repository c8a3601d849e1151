//! Files that are not on a disk as they are, and that nobody writes: bytes in memory, objects of a store.

use crate::objects::ObjectStore;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use timberlog_disk::File;
use timberlog_types::ErrorKind;

/// What is read of an object where less is asked for.
const WINDOW_BYTES: u64 = 8 << 20;
/// Reads of so many bytes go past the window.
const LONG_READ_BYTES: usize = 1 << 20;

/// Bytes that can be read by offset.
pub(super) trait Readable: Send + Sync {
    /// Reads at an offset; may read less than asked for; 0 at the end.
    fn read(&self, buf: &mut [u8], offset: u64) -> io::Result<usize>;
    /// How many there are.
    fn bytes(&self) -> u64;
}

/// They as a file.
pub(super) struct ReadOnly<T>(pub(super) T);

fn refused() -> io::Error {
    io::Error::new(io::ErrorKind::Unsupported, "it can only be read")
}

impl<T: Readable> File for ReadOnly<T> {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        self.0.read(buf, offset)
    }

    fn write_at(&self, _: &[u8], _: u64) -> io::Result<usize> {
        Err(refused())
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.0.bytes())
    }

    fn set_len(&self, _: u64) -> io::Result<()> {
        Err(refused())
    }

    fn allocate(&self, _: u64) -> io::Result<()> {
        Err(refused())
    }

    fn sync_data(&self) -> io::Result<()> {
        Ok(())
    }
}

/// Bytes in memory.
struct Bytes(Vec<u8>);

/// Bytes in memory as a file.
pub(crate) fn file_of_bytes(bytes: Vec<u8>) -> Arc<dyn File> {
    Arc::new(ReadOnly(Bytes(bytes)))
}

impl Readable for Bytes {
    fn read(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        Ok(copy_from(&self.0, 0, buf, offset))
    }

    fn bytes(&self) -> u64 {
        self.0.len() as u64
    }
}

/// An object; short reads go through one window.
struct Object {
    store: Arc<dyn ObjectStore>,
    key: String,
    len: u64,
    /// Where it begins, and what stands there.
    window: Mutex<(u64, Vec<u8>)>,
}

/// An object of a known length as a file, read from the store past any cache.
pub(crate) fn file_of_object(store: &Arc<dyn ObjectStore>, key: &str, len: u64) -> Arc<dyn File> {
    Arc::new(ReadOnly(Object { store: Arc::clone(store), key: key.to_owned(), len, window: Mutex::default() }))
}

impl Object {
    fn get(&self, offset: u64, len: u64) -> io::Result<Vec<u8>> {
        let end = self.len.min(offset.saturating_add(len));
        self.store.get_range(&self.key, offset..end).map_err(|error| match error.kind {
            ErrorKind::NotFound => io::Error::new(io::ErrorKind::NotFound, error),
            ErrorKind::Corrupt => io::Error::new(io::ErrorKind::UnexpectedEof, error),
            _ => io::Error::other(error),
        })
    }
}

impl Readable for Object {
    fn read(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        if offset >= self.len || buf.is_empty() {
            return Ok(0);
        }
        if buf.len() >= LONG_READ_BYTES {
            return Ok(copy_from(&self.get(offset, buf.len() as u64)?, offset, buf, offset));
        }
        let mut window = self.window.lock().unwrap_or_else(PoisonError::into_inner);
        let (start, bytes) = &*window;
        if offset < *start || offset >= *start + bytes.len() as u64 {
            *window = (offset, self.get(offset, WINDOW_BYTES)?);
        }
        let (start, bytes) = &*window;
        Ok(copy_from(bytes, *start, buf, offset))
    }

    fn bytes(&self) -> u64 {
        self.len
    }
}

/// Copies what `bytes`, which stand at `start`, hold of the file from `offset` on.
fn copy_from(bytes: &[u8], start: u64, buf: &mut [u8], offset: u64) -> usize {
    let at = offset.checked_sub(start).and_then(|at| usize::try_from(at).ok());
    let rest = at.and_then(|at| bytes.get(at..)).unwrap_or_default();
    let len = rest.len().min(buf.len());
    buf[..len].copy_from_slice(&rest[..len]);
    len
}
