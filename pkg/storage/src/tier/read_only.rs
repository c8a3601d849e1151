//! Files that are not on a disk as they are, and that nobody writes.

use std::io;
use timberlog_disk::File;

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
