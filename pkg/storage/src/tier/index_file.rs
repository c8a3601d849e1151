//! The index of a tiered segment as it is at hand: unpacked, in a file of the index cache or in memory.
//!
//! The file is the header of an index object under another magic, then the ends of the `.log` and the `.redb` as they
//! are, so that opening a segment reads only what it needs. It can be had again at any time and is no part of the
//! database: a wrong byte in it is found by the checksums of what it holds.

use super::index_object::{HEADER, Header, Index};
use super::read_only::{ReadOnly, Readable, file_of_bytes};
use std::io;
use std::ops::Range;
use std::sync::Arc;
use timberlog_disk::File;
use timberlog_segment::Ends;
use timberlog_types::{Error, Result};

const MAGIC: [u8; 8] = *b"TLINDEXC";

/// The index of a tiered segment at hand.
#[derive(Clone)]
pub(crate) struct IndexFile {
    file: Arc<dyn File>,
    /// Where the parts are in it.
    pub(super) head: Range<u64>,
    pub(super) tail: Range<u64>,
    redb: Range<u64>,
    /// The length of the `.log`.
    pub(super) log_len: u64,
    /// Bytes that it holds in memory.
    pub(crate) memory_bytes: usize,
}

impl IndexFile {
    /// The parts of a file, one behind the other.
    pub(super) fn parts(index: &Index) -> (Vec<u8>, [&[u8]; 3]) {
        let redb = index.redb.as_deref().unwrap_or_default();
        let (head, tail) = (&index.ends.head[..], &index.ends.tail[..]);
        let header = Header {
            log: index.ends.len,
            head: head.len() as u64,
            tail: tail.len() as u64,
            redb: redb.len() as u64,
            crc: 0,
        };
        (header.encode(MAGIC), [head, tail, redb])
    }

    /// Opens a file of the index cache.
    pub(super) fn open(file: Arc<dyn File>) -> Result<Self> {
        let io = |error| Error::io("index cache: read", &error);
        let mut header = [0; HEADER];
        file.read_exact_at(&mut header, 0).map_err(io)?;
        let header = Header::parse(MAGIC, &header)?;
        let end = header.content_len()?.saturating_add(HEADER as u64);
        if file.len().map_err(io)? != end {
            return Err(Error::corrupt("index cache: the file has another length"));
        }
        let head_end = HEADER as u64 + header.head;
        let tail_end = head_end + header.tail;
        let (head, tail) = (HEADER as u64..head_end, head_end..tail_end);
        Ok(Self { file, head, tail, redb: tail_end..end, log_len: header.log, memory_bytes: 0 })
    }

    /// Keeps it in memory: what the index cache has no room for.
    pub(super) fn in_memory(index: &Index) -> Result<Self> {
        let (mut bytes, parts) = Self::parts(index);
        parts.iter().for_each(|part| bytes.extend_from_slice(part));
        let memory_bytes = bytes.len();
        Ok(Self { memory_bytes, ..Self::open(file_of_bytes(bytes))? })
    }

    /// Of a `.log` of so many bytes, nothing.
    pub(crate) fn none(log_len: u64) -> Result<Self> {
        Self::in_memory(&Index { ends: Ends { head: Vec::new(), tail: Vec::new(), len: log_len }, redb: None })
    }

    /// The `.redb`.
    pub(crate) fn redb(&self) -> Arc<dyn File> {
        Arc::new(ReadOnly(self.part(&self.redb)))
    }

    /// Reads of the `.log` what it holds of it: `None` beyond its ends.
    pub(super) fn read_log(&self, buf: &mut [u8], offset: u64) -> Option<io::Result<usize>> {
        let head_len = self.head.end - self.head.start;
        let tail_len = self.tail.end - self.tail.start;
        let tail_start = self.log_len - tail_len.min(self.log_len);
        if offset >= tail_start {
            return Some(self.part(&self.tail).read(buf, offset - tail_start));
        }
        (offset < head_len).then(|| self.part(&self.head).read(buf, offset))
    }

    fn part(&self, range: &Range<u64>) -> Part {
        Part { file: Arc::clone(&self.file), range: range.clone() }
    }

    /// The bytes of the end of the `.log`.
    pub(crate) fn tail_len(&self) -> u64 {
        self.tail.end - self.tail.start
    }
}

/// A part of a file.
struct Part {
    file: Arc<dyn File>,
    range: Range<u64>,
}

impl Readable for Part {
    fn read(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        let left = self.bytes().saturating_sub(offset);
        let len = buf.len().min(usize::try_from(left).unwrap_or(usize::MAX));
        if len == 0 { Ok(0) } else { self.file.read_at(&mut buf[..len], self.range.start + offset) }
    }

    fn bytes(&self) -> u64 {
        self.range.end - self.range.start
    }
}
