//! Copying one file into a store, under its checksum.

use super::{Event, Watch};
use crate::manifest::FileRef;
use crate::objects::ObjectStore;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use timberlog_disk::File;
use timberlog_types::{Error, ErrorKind, Result};

/// Copies a file; it is there for good once the key is settled. After an error nothing, or what is not
/// to be trusted, is under the key: only a plan or a record that names the file as done makes it one of
/// the store.
///
/// # Errors
/// `Corrupt` if the file is not what the manifest says.
pub(super) fn file(
    store: &dyn ObjectStore,
    key: &str,
    expected: &FileRef,
    file: Arc<dyn File>,
    watch: &Watch<'_>,
) -> Result<()> {
    let damaged = |what: String| {
        Error::corrupt(format!(
            "`{}` {what}: the database is damaged there, and nothing damaged is backed up; `timberlog verify` names all \
             damage of the data directory, `timberlog repair` gives it up",
            expected.path
        ))
    };
    let unreadable = |error: io::Error| Error::io(format!("read `{}`", expected.path), &error);
    let len = file.len().map_err(unreadable)?;
    if len != expected.len {
        return Err(damaged(format!("has {len} bytes, expected {}", expected.len)));
    }
    let read = Checked { file, len, expected: expected.crc32c, parts: Mutex::default() };
    let put = store.put_file_unsettled(key, &read, len, &|bytes| watch(Event::Bytes(bytes)));
    match read.crc32c() {
        Some(crc32c) if crc32c == expected.crc32c => put,
        None if put.is_err() => put,
        _ => {
            // Nothing names it; what is left if this fails is copied again, or pruned.
            let _ = store.delete(&[key.to_owned()]);
            Err(damaged("does not match its checksum".to_owned()))
        }
    }
}

/// Whether an object has the checksum of a file: reads it.
pub(super) fn is_whole(store: &dyn ObjectStore, key: &str, expected: &FileRef) -> Result<bool> {
    match sum(store, key, expected.len, &mut |_| Ok(())) {
        Ok(crc32c) => Ok(crc32c == expected.crc32c),
        Err(error) if super::catalog::is_of_store(&error) => Err(error),
        Err(_) => Ok(false),
    }
}

/// The CRC32C of an object of a known length; `each` is given its bytes in order.
pub(super) fn sum(
    store: &dyn ObjectStore,
    key: &str,
    len: u64,
    each: &mut dyn FnMut(&[u8]) -> Result<()>,
) -> Result<u32> {
    let mut crc32c = 0;
    let read = store.read(key, len, &mut |bytes| {
        crc32c = crc32c::crc32c_append(crc32c, bytes);
        each(bytes)
    });
    read.map_err(|error| match error.kind {
        ErrorKind::NotFound => Error::corrupt(format!("object `{key}` is missing")),
        _ => error,
    })?;
    Ok(crc32c)
}

/// A file whose reads are summed up, in whatever order they come. The last one fails if the sum is not
/// what is expected, so a store that reads from front to back never names what is damaged.
struct Checked {
    file: Arc<dyn File>,
    len: u64,
    expected: u32,
    /// Offset, length and CRC32C of each read.
    parts: Mutex<Vec<(u64, usize, u32)>>,
}

impl Checked {
    /// The checksum of all that was read; `None` unless that was each byte once, or the last time
    /// whole parts.
    fn crc32c(&self) -> Option<u32> {
        let mut parts = self.parts.lock().unwrap_or_else(PoisonError::into_inner).clone();
        // A part that was sent again is read again: its last reading counts.
        parts.reverse();
        parts.sort_by_key(|(offset, _, _)| *offset);
        parts.dedup_by_key(|(offset, _, _)| *offset);
        let (mut end, mut sum) = (0, 0);
        for (offset, part, crc) in parts {
            if offset != end {
                return None;
            }
            end += part as u64;
            sum = crc32c::crc32c_combine(sum, crc, part);
        }
        (end == self.len).then_some(sum)
    }
}

impl File for Checked {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        let read = self.file.read_at(buf, offset)?;
        if read > 0 {
            let crc = crc32c::crc32c(buf.get(..read).unwrap_or_default());
            self.parts.lock().unwrap_or_else(PoisonError::into_inner).push((offset, read, crc));
            let is_last = offset.saturating_add(read as u64) == self.len;
            if is_last && self.crc32c().is_some_and(|crc32c| crc32c != self.expected) {
                return Err(io::Error::new(io::ErrorKind::InvalidData, "does not match its checksum"));
            }
        }
        Ok(read)
    }

    fn write_at(&self, _: &[u8], _: u64) -> io::Result<usize> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn len(&self) -> io::Result<u64> {
        self.file.len()
    }

    fn set_len(&self, _: u64) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn allocate(&self, _: u64) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn sync_data(&self) -> io::Result<()> {
        Ok(())
    }
}
