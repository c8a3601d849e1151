//! The index object of a segment in an object store: all that is needed to plan over the segment,
//! in one GET.
//!
//! It holds the two ends of the `.log` (header; footer and trailer) and the whole `.redb`, in one
//! zstd frame. Owns the bytes of the object (manifest-spec, chapter "Index object"); where it is put
//! and who asks for it is the business of others.

#[cfg(test)]
mod tests;

use std::sync::Arc;
use timberlog_disk::File;
use timberlog_disk::checksum::is_right;
use timberlog_segment::Ends;
use timberlog_types::{Day, Error, Result, Tenant};

const MAGIC: [u8; 8] = *b"TLINDEXO";
/// The version of the index object that this program writes and reads.
pub const FORMAT_VERSION: u32 = 1;
/// The bytes before the zstd frame.
pub const HEADER: usize = 56;
/// The most bytes of the header of a `.log`.
const HEAD_BYTES_MAX: u64 = 8 << 10;
/// The most bytes of an index object before compression: longer indexes do not go to a store.
pub const INDEX_BYTES_MAX: u64 = if cfg!(fuzzing) { 32 << 20 } else { 1 << 30 };
/// Objects are small and read often: worth some time once.
const ZSTD_LEVEL: i32 = 6;

/// What an index object holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Index {
    /// The ends of the `.log` and its length.
    pub ends: Ends,
    /// The `.redb`, if the segment has one. Its pages are under the checksums in the footer.
    pub redb: Option<Vec<u8>>,
}

/// The key of the index object of a segment, relative like the path of its `.log`.
pub fn index_path(tenant: &Tenant, day: Day, id: &str) -> String {
    format!("segments/{tenant}/{day}/{id}.index")
}

/// Makes the index object of a segment: reads the ends of the `.log`, takes the whole `.redb`.
pub fn encode(log: &Arc<dyn File>, redb: Option<&[u8]>) -> Result<Vec<u8>> {
    let ends = timberlog_segment::read_ends(log)?;
    let redb = redb.unwrap_or_default();
    let len = ends.head.len() + ends.tail.len() + redb.len();
    if len as u64 > INDEX_BYTES_MAX {
        return Err(Error::invalid(format!("index of {len} bytes: at most {INDEX_BYTES_MAX} go to an object store")));
    }
    let mut content = Vec::with_capacity(len);
    for part in [&ends.head[..], &ends.tail, redb] {
        content.extend_from_slice(part);
    }
    let frame = zstd::bulk::compress(&content, ZSTD_LEVEL)
        .map_err(|error| Error::internal(format!("index object: cannot be compressed: {error}")))?;
    let (log, head, tail, redb) = (ends.len, ends.head.len() as u64, ends.tail.len() as u64, redb.len() as u64);
    let mut object = Header { log, head, tail, redb, crc: crc32c::crc32c(&frame) }.encode(MAGIC);
    object.extend_from_slice(&frame);
    Ok(object)
}

/// Reads an index object.
///
/// Error kinds: `Corrupt` (damaged), `Invalid` (of a newer version of TimberLog).
pub fn decode(object: &[u8]) -> Result<Index> {
    let (header, frame) = object.split_first_chunk::<HEADER>().ok_or_else(|| corrupt("is shorter than its header"))?;
    let header = Header::parse(MAGIC, header)?;
    let len = usize::try_from(header.content_len()?).map_err(|_| corrupt("is too long"))?;
    if !is_right(header.crc, crc32c::crc32c(frame)) {
        return Err(corrupt("checksum mismatch"));
    }
    let mut content = zstd::bulk::decompress(frame, len).map_err(|_| corrupt("compressed bytes are damaged"))?;
    if content.len() != len {
        return Err(corrupt("compressed bytes are too few"));
    }
    // Below `len`, each.
    let redb = content.split_off((header.head + header.tail) as usize);
    let tail = content.split_off(header.head as usize);
    let ends = Ends { head: content, tail, len: header.log };
    Ok(Index { ends, redb: (!redb.is_empty()).then_some(redb) })
}

/// The lengths of the `.log` and of the parts, and the checksum of the frame.
pub(super) struct Header {
    pub(super) log: u64,
    pub(super) head: u64,
    pub(super) tail: u64,
    pub(super) redb: u64,
    pub(super) crc: u32,
}

impl Header {
    pub(super) fn encode(&self, magic: [u8; 8]) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(HEADER);
        bytes.extend_from_slice(&magic);
        bytes.extend_from_slice(&FORMAT_VERSION.to_le_bytes());
        bytes.extend_from_slice(&self.crc.to_le_bytes());
        for value in [self.log, self.head, self.tail, self.redb] {
            bytes.extend_from_slice(&value.to_le_bytes());
        }
        bytes.extend_from_slice(&[0; 4]);
        let crc = crc32c::crc32c(&bytes);
        bytes.extend_from_slice(&crc.to_le_bytes());
        bytes
    }

    pub(super) fn parse(magic: [u8; 8], bytes: &[u8; HEADER]) -> Result<Self> {
        let (found, rest) = bytes.split_at(8);
        if found != magic {
            return Err(corrupt("the magic is missing"));
        }
        let u32_at = |at: usize| {
            let bytes = rest.get(at..at + 4).and_then(|bytes| bytes.try_into().ok());
            bytes.map(u32::from_le_bytes).ok_or_else(|| corrupt("is shorter than its header"))
        };
        let u64_at = |at: usize| Ok::<_, Error>(u64::from(u32_at(at)?) | u64::from(u32_at(at + 4)?) << 32);
        // The checksum is the last four bytes in every version.
        if !is_right(u32_at(HEADER - 12)?, crc32c::crc32c(&bytes[..HEADER - 4])) {
            return Err(corrupt("header: checksum mismatch"));
        }
        let version = u32_at(0)?;
        if version != FORMAT_VERSION {
            return Err(Error::invalid(format!(
                "index object format {version} is not known, this TimberLog reads format {FORMAT_VERSION}"
            )));
        }
        let crc = u32_at(4)?;
        Ok(Self { crc, log: u64_at(8)?, head: u64_at(16)?, tail: u64_at(24)?, redb: u64_at(32)? })
    }

    /// The bytes of all parts together, if that is possible.
    pub(super) fn content_len(&self) -> Result<u64> {
        let ends = self.head.checked_add(self.tail).filter(|&ends| self.head <= HEAD_BYTES_MAX && ends <= self.log);
        let len = ends.and_then(|ends| ends.checked_add(self.redb)).filter(|&len| len <= INDEX_BYTES_MAX);
        len.ok_or_else(|| corrupt("lengths are not possible"))
    }
}

fn corrupt(what: &str) -> Error {
    Error::corrupt(format!("index object: {what}"))
}
