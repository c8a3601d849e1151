//! Column chunks: the unit in which a column of a block is stored, checked and read.
//!
//! | bytes | content |
//! |---|---|
//! | u8 | encoding |
//! | u8 | version of the encoding, 1 |
//! | u16 | 0 |
//! | u32 | length of the payload, at most 1 GiB |
//! | u32 | CRC32C of u32 block number, u32 column number, the eight bytes above, the payload |
//! | n | payload |
//!
//! Column numbers: 0 timestamp, 1 stream, 2 level, 3 message, 4 + n field n. They are in the
//! checksum, so a chunk that is read at the wrong place is found out.
//!
//! | encoding | payload |
//! |---|---|
//! | 1 timestamps | integers |
//! | 2 streams | varint runs; integers: the stream id of each run; integers: the rows of each run |
//! | 3 levels | varint entries; integers: the spelling id of each entry; codes |
//! | 4 messages | see the message column |
//! | 5 timestamps, split | differences |
//! | 16 field, constant | rows; u8 kind; varint length, text |
//! | 17 field, dictionary | rows; varint entries; kinds and texts of the entries; codes |
//! | 18 field, direct | rows; kinds and texts of the values |
//!
//! *Kinds* are a u8, the kind of all, or 255 and then codes with five entries.

use crate::directory::ColumnKey;
use crate::error::SegmentError;
use timberlog_disk::checksum::is_right;

/// The bytes before the payload.
pub(crate) const CHUNK_HEADER: usize = 12;
/// The most bytes of a payload.
pub(crate) const CHUNK_BYTES_MAX: usize = 1 << 30;

/// In the place of a kind: each value has its own.
pub(crate) const KINDS_MIXED: u8 = 255;
/// How many kinds there are.
pub(crate) const KINDS: usize = 5;

const VERSION: u8 = 1;

/// How a column is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Encoding {
    Timestamps = 1,
    Streams = 2,
    Levels = 3,
    Messages = 4,
    TimestampsSplit = 5,
    FieldConstant = 16,
    FieldDictionary = 17,
    FieldDirect = 18,
}

impl Encoding {
    fn from_u8(tag: u8) -> Option<Self> {
        Some(match tag {
            1 => Self::Timestamps,
            2 => Self::Streams,
            3 => Self::Levels,
            4 => Self::Messages,
            5 => Self::TimestampsSplit,
            16 => Self::FieldConstant,
            17 => Self::FieldDictionary,
            18 => Self::FieldDirect,
            _ => return None,
        })
    }
}

impl ColumnKey {
    /// The number of the column in checksums and directories.
    pub(crate) fn number(self) -> u32 {
        match self {
            Self::Timestamp => 0,
            Self::Stream => 1,
            Self::Level => 2,
            Self::Message => 3,
            Self::Field(id) => id.saturating_add(4),
        }
    }

    pub(crate) fn from_number(number: u32) -> Self {
        match number {
            0 => Self::Timestamp,
            1 => Self::Stream,
            2 => Self::Level,
            3 => Self::Message,
            id => Self::Field(id - 4),
        }
    }
}

/// Appends a chunk whose payload `encode` appends and names the encoding of.
pub(crate) fn write(
    block: u32,
    key: ColumnKey,
    out: &mut Vec<u8>,
    encode: impl FnOnce(&mut Vec<u8>) -> Encoding,
) -> Result<(), SegmentError> {
    let start = out.len();
    out.extend_from_slice(&[0; CHUNK_HEADER]);
    let encoding = encode(out);
    let len = out.len() - start - CHUNK_HEADER;
    if len > CHUNK_BYTES_MAX {
        return Err(SegmentError::TooLarge { what: "a column chunk", len: len as u64, max: CHUNK_BYTES_MAX as u64 });
    }
    out[start] = encoding as u8;
    out[start + 1] = VERSION;
    // At most CHUNK_BYTES_MAX.
    out[start + 4..start + 8].copy_from_slice(&(len as u32).to_le_bytes());
    let crc = checksum(block, key, &out[start..start + 8], &out[start + CHUNK_HEADER..]);
    out[start + 8..start + CHUNK_HEADER].copy_from_slice(&crc.to_le_bytes());
    Ok(())
}

/// Checks a chunk, header included, and returns its encoding.
pub(crate) fn check(block: u32, key: ColumnKey, chunk: &[u8]) -> Result<Encoding, SegmentError> {
    let (header, payload) =
        chunk.split_first_chunk::<CHUNK_HEADER>().ok_or(SegmentError::corrupt("chunk is shorter than its header"))?;
    let [tag, version, _, _, l0, l1, l2, l3, c0, c1, c2, c3] = *header;
    if u32::from_le_bytes([l0, l1, l2, l3]) as usize != payload.len() {
        return Err(SegmentError::corrupt("chunk length differs from the directory's"));
    }
    if !is_right(u32::from_le_bytes([c0, c1, c2, c3]), checksum(block, key, &header[..8], payload)) {
        return Err(SegmentError::corrupt("checksum mismatch"));
    }
    match Encoding::from_u8(tag) {
        Some(encoding) if version == VERSION => Ok(encoding),
        _ => Err(SegmentError::UnknownEncoding { place: crate::Place::default(), tag, version }),
    }
}

/// Gives a chunk that a test has changed a right checksum.
#[cfg(test)]
pub(crate) fn reseal(block: u32, key: ColumnKey, chunk: &mut [u8]) {
    let crc = checksum(block, key, &chunk[..8], &chunk[CHUNK_HEADER..]);
    chunk[8..CHUNK_HEADER].copy_from_slice(&crc.to_le_bytes());
}

fn checksum(block: u32, key: ColumnKey, header: &[u8], payload: &[u8]) -> u32 {
    let crc = crc32c::crc32c(&block.to_le_bytes());
    let crc = crc32c::crc32c_append(crc, &key.number().to_le_bytes());
    crc32c::crc32c_append(crc32c::crc32c_append(crc, header), payload)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chunk() -> Vec<u8> {
        let mut bytes = Vec::new();
        write(7, ColumnKey::Field(2), &mut bytes, |out| {
            out.extend_from_slice(b"payload");
            Encoding::FieldDirect
        })
        .unwrap();
        bytes
    }

    #[test]
    fn a_chunk_is_good_at_its_place_alone() {
        let bytes = chunk();
        assert_eq!(check(7, ColumnKey::Field(2), &bytes).unwrap(), Encoding::FieldDirect);
        assert!(check(8, ColumnKey::Field(2), &bytes).is_err());
        assert!(check(7, ColumnKey::Field(3), &bytes).is_err());
        for at in 0..bytes.len() {
            let mut damaged = bytes.clone();
            damaged[at] ^= 1;
            assert!(check(7, ColumnKey::Field(2), &damaged).is_err(), "byte {at}");
            assert!(check(7, ColumnKey::Field(2), &bytes[..at]).is_err());
        }
    }

    #[test]
    fn an_unknown_encoding_names_itself_and_the_format() {
        let mut bytes = chunk();
        bytes[0] = 99;
        let crc = checksum(7, ColumnKey::Field(2), &bytes[..8], &bytes[CHUNK_HEADER..]);
        bytes[8..12].copy_from_slice(&crc.to_le_bytes());
        let error = check(7, ColumnKey::Field(2), &bytes).unwrap_err().in_segment("S").in_block(7).to_string();
        assert_eq!(
            error,
            "segment `S`: block 7: encoding 99 version 1 is not known to segment format 1, a newer TimberLog wrote it"
        );
    }

    #[test]
    fn column_numbers_come_back() {
        for number in [0, 1, 2, 3, 4, 5, u32::MAX] {
            assert_eq!(ColumnKey::from_number(number).number(), number);
        }
    }
}
