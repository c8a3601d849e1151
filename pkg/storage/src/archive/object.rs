//! An object of the archive, version 1 (`manifest-spec.md`, "Archive"): frames of the WAL without a
//! gap, compressed, under a name that says which they are.
//!
//! | at | header (96 bytes, little-endian) |
//! |---|---|
//! | 0 | 8 bytes magic `F5 "TLARC" 0D 0A` |
//! | 8 | u16 version, u16 zero, u32 length of this header (96) |
//! | 16 | 16 bytes database id |
//! | 32 | u64 first and u64 last sequence number |
//! | 48 | i64 commit time of the last frame |
//! | 56 | u64 bytes of the frames, u64 bytes of the body |
//! | 72 | u32 CRC32C of the frames, u32 CRC32C of the body |
//! | 80 | 12 bytes zero, u32 CRC32C of bytes 0 to 91 |
//! | 96 | the body: the frames as one zstd frame |

use crate::wal::Run;
use timberlog_disk::checksum::is_right;
use timberlog_types::batch::BATCH_BYTES_MAX;
use timberlog_types::{Error, Result, Seq};

/// The version of the format.
pub const VERSION: u16 = 1;
pub(crate) const HEADER_LEN: usize = 96;
const MAGIC: [u8; 8] = *b"\xF5TLARC\r\n";
/// The most bytes of frames in an object: one frame of the longest batch.
pub(crate) const FRAMES_BYTES_MAX: usize = BATCH_BYTES_MAX + (16 << 10);
const ZSTD_LEVEL: i32 = 1;

/// What the name of an object says.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Part {
    /// The number of its first frame.
    pub first_seq: Seq,
    /// The number of its last frame.
    pub last_seq: Seq,
    /// Everything that was committed up to this time has a number up to that, in ns since 1970 UTC; 0 for
    /// times before that.
    pub time: i64,
    /// The CRC32C of the frames.
    pub crc32c: u32,
}

impl Part {
    /// What a run becomes; nothing behind it was committed up to `time`.
    pub(crate) fn of(run: &Run, time: i64) -> Self {
        Self { first_seq: run.first_seq, last_seq: run.last_seq, time: time.max(0), crc32c: crc32c::crc32c(&run.bytes) }
    }

    /// The last part of the object's key.
    pub(crate) fn name(&self) -> String {
        let Self { first_seq, last_seq, time, crc32c } = self;
        format!("{first_seq:020}-{last_seq:020}-{time:020}-{crc32c:08x}.wal")
    }

    /// Whether it holds the same frames as another one.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        (self.first_seq, self.last_seq, self.crc32c) == (other.first_seq, other.last_seq, other.crc32c)
    }

    /// Whether it holds the same frames as a run.
    pub(crate) fn holds(&self, run: &Run) -> bool {
        self.is_same(&Self::of(run, self.time))
    }

    /// Reads a name; `None` if it is none.
    pub(crate) fn parse(name: &str) -> Option<Self> {
        let mut parts = name.strip_suffix(".wal")?.split('-');
        let mut next = || parts.next();
        let part = Self {
            first_seq: next()?.parse().ok()?,
            last_seq: next()?.parse().ok()?,
            time: next()?.parse().ok()?,
            crc32c: u32::from_str_radix(next()?, 16).ok()?,
        };
        (part.name() == name && part.first_seq >= 1 && part.first_seq <= part.last_seq).then_some(part)
    }
}

/// The object of a run.
///
/// # Errors
/// `Internal` if zstd fails.
pub(crate) fn encode(database_id: [u8; 16], run: &Run) -> Result<Vec<u8>> {
    let body = zstd::bulk::compress(&run.bytes, ZSTD_LEVEL)
        .map_err(|error| Error::internal(format!("compress frames for the archive: {error}")))?;
    let mut bytes = Vec::with_capacity(HEADER_LEN + body.len());
    bytes.extend_from_slice(&MAGIC);
    bytes.extend_from_slice(&VERSION.to_le_bytes());
    bytes.extend_from_slice(&[0; 2]);
    bytes.extend_from_slice(&(HEADER_LEN as u32).to_le_bytes());
    bytes.extend_from_slice(&database_id);
    bytes.extend_from_slice(&run.first_seq.to_le_bytes());
    bytes.extend_from_slice(&run.last_seq.to_le_bytes());
    bytes.extend_from_slice(&run.commit_time.to_le_bytes());
    bytes.extend_from_slice(&(run.bytes.len() as u64).to_le_bytes());
    bytes.extend_from_slice(&(body.len() as u64).to_le_bytes());
    bytes.extend_from_slice(&crc32c::crc32c(&run.bytes).to_le_bytes());
    bytes.extend_from_slice(&crc32c::crc32c(&body).to_le_bytes());
    bytes.resize(HEADER_LEN - 4, 0);
    bytes.extend_from_slice(&crc32c::crc32c(&bytes).to_le_bytes());
    bytes.extend_from_slice(&body);
    Ok(bytes)
}

/// Reads an object: the frames behind each other, as they were archived. Their own checksums are not
/// looked at here.
///
/// # Errors
/// `Corrupt` if it is not what was written, `Invalid` if a newer program wrote it.
pub fn decode(database_id: [u8; 16], bytes: &[u8]) -> Result<Run> {
    let damaged = |what: &str| Error::corrupt(what.to_owned());
    let (header, body) = bytes.split_first_chunk::<HEADER_LEN>().ok_or_else(|| damaged("its header is cut off"))?;
    let mut rest = &header[..];
    let magic: [u8; 8] = take(&mut rest);
    let version = u16::from_le_bytes(take(&mut rest));
    let crc = u32::from_le_bytes(header.last_chunk().copied().unwrap_or_default());
    let computed = crc32c::crc32c(header.get(..HEADER_LEN - 4).unwrap_or_default());
    if magic != MAGIC || !is_right(crc, computed) {
        return Err(damaged("its header does not match its checksum"));
    }
    let _zero: [u8; 2] = take(&mut rest);
    let header_len = u32::from_le_bytes(take(&mut rest));
    if version != VERSION || header_len as usize != HEADER_LEN {
        let message = format!("archive format version {version}, this program reads {VERSION}: use a newer TimberLog");
        return Err(Error::invalid(message));
    }
    if take::<16>(&mut rest) != database_id {
        return Err(damaged("it is of another database"));
    }
    let first_seq = u64::from_le_bytes(take(&mut rest));
    let last_seq = u64::from_le_bytes(take(&mut rest));
    let commit_time = i64::from_le_bytes(take(&mut rest));
    let frames_len = u64::from_le_bytes(take(&mut rest));
    let body_len = u64::from_le_bytes(take(&mut rest));
    let frames_crc = u32::from_le_bytes(take(&mut rest));
    let body_crc = u32::from_le_bytes(take(&mut rest));
    let frames_len = usize::try_from(frames_len).ok().filter(|len| *len <= FRAMES_BYTES_MAX);
    let frames_len = frames_len.ok_or_else(|| damaged("it says that it has too many bytes"))?;
    if body_len != body.len() as u64 {
        return Err(damaged("it is cut off, or too long"));
    }
    if !is_right(body_crc, crc32c::crc32c(body)) {
        return Err(damaged("its body does not match its checksum"));
    }
    let bytes = zstd::bulk::decompress(body, frames_len).map_err(|_| damaged("its frames cannot be decompressed"))?;
    if bytes.len() != frames_len || !is_right(frames_crc, crc32c::crc32c(&bytes)) {
        return Err(damaged("its frames do not match their checksum"));
    }
    Ok(Run { first_seq, last_seq, commit_time, bytes })
}

fn take<const N: usize>(rest: &mut &[u8]) -> [u8; N] {
    let (taken, left) = rest.split_first_chunk::<N>().unwrap_or((&[0; N], &[]));
    *rest = left;
    *taken
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run() -> Run {
        Run { first_seq: 7, last_seq: 9, commit_time: 1_800_000_000_000_000_000, bytes: b"frames of a test".repeat(9) }
    }

    #[test]
    fn any_flipped_bit_or_missing_byte_of_an_object_is_noticed() {
        let bytes = encode([3; 16], &run()).unwrap();
        assert_eq!(decode([3; 16], &bytes).unwrap(), run());
        for at in 0..bytes.len() {
            let mut damaged = bytes.clone();
            damaged[at] ^= 0x10;
            assert!(decode([3; 16], &damaged).is_err(), "byte {at}");
            assert!(decode([3; 16], &bytes[..at]).is_err(), "length {at}");
        }
        assert!(decode([4; 16], &bytes).is_err());
    }

    #[test]
    fn a_name_says_what_it_is_and_nothing_else_is_one() {
        let part = Part::of(&run(), 1_800_000_000_000_000_001);
        assert_eq!(Part::parse(&part.name()), Some(part.clone()));
        for wrong in ["", ".wal", "1-2-3-4.wal", &part.name().replace(".wal", ""), &part.name().replace('-', "--")] {
            assert_eq!(Part::parse(wrong), None, "{wrong}");
        }
    }
}
