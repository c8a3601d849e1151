//! A cold `.log` as a file: its ends from the index, the rest by range.
//!
//! Queries read units by themselves ([`crate::Segment::column`]), under their own limits; this is for who reads a
//! segment front to back, as compaction does, and waits as long as the store lets it.

use super::index_file::IndexFile;
use super::meter::{Demand, Meter};
use super::read::{Reader, Remote};
use super::read_only::{ReadOnly, Readable};
use std::io;
use std::sync::Arc;
use timberlog_disk::File;
use timberlog_types::ErrorKind;

/// What is read at once where less is asked for.
const WINDOW_BYTES: u64 = 1 << 20;

struct ColdLog {
    reader: Arc<Reader>,
    remote: Remote,
    index: IndexFile,
}

/// A cold `.log`.
pub(crate) fn open(reader: &Arc<Reader>, remote: &Remote, index: &IndexFile) -> Arc<dyn File> {
    Arc::new(ReadOnly(ColdLog { reader: Arc::clone(reader), remote: remote.clone(), index: index.clone() }))
}

impl Readable for ColdLog {
    fn read(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        if let Some(read) = self.index.read_log(buf, offset) {
            return read;
        }
        let end = self.index.log_len - self.index.tail_len();
        let last = end.min(offset.saturating_add(buf.len() as u64));
        let window = offset..end.min(last.max(offset.saturating_add(WINDOW_BYTES)));
        let meter = Meter::default();
        let bytes =
            self.reader.read(&self.remote, &(offset..last), &window, &Demand::patient(&meter)).map_err(|error| {
                match error.kind {
                    ErrorKind::NotFound => io::Error::new(io::ErrorKind::NotFound, error),
                    ErrorKind::Corrupt => io::Error::new(io::ErrorKind::UnexpectedEof, error),
                    _ => io::Error::other(error),
                }
            })?;
        let len = bytes.len().min(buf.len());
        buf[..len].copy_from_slice(&bytes[..len]);
        Ok(len)
    }

    fn bytes(&self) -> u64 {
        self.index.log_len
    }
}
