//! The outer layout of a `.log`, format 1: what stands where, and the headers of its units.
//!
//! A file is header, blocks, token filters, footer sections, trailer, in this order, with nothing
//! between them. Integers are little-endian.
//!
//! | header | content |
//! |---|---|
//! | 8 bytes | magic `TLSEGMNT` |
//! | u32 | format version, 1 |
//! | u32 | length of the rest, at most 4,096 |
//! | u32 | CRC32C of the two numbers above and the rest |
//! | n | bincode (fixed-width little-endian integers): segment id, tenant; both strings |
//!
//! | block header | content |
//! |---|---|
//! | 4 bytes | magic `TLBK` |
//! | u32 | number of the block, from 0 |
//! | u32 | rows, at most 2²² |
//! | u32 | columns |
//! | u32 | length of the block, this header included |
//! | u32 | CRC32C of the 20 bytes above |
//!
//! Behind it stand the column chunks ([`crate::chunk`]) in the order of their column numbers.
//!
//! | token filter | content |
//! |---|---|
//! | 4 bytes | magic `TLFL` |
//! | u32, u32 | block, column number |
//! | u32 | length of the filter, at most 256 MiB |
//! | u32 | CRC32C of the 16 bytes above and the filter |
//! | n | filter, see the index's token filter |
//!
//! | footer section | content |
//! |---|---|
//! | u8 | 1 directory, 2 streams, 3 pages of the `.redb`; a reader skips others |
//! | u8 | version of the section, 1 |
//! | u16 | 0 |
//! | u64 | length in the file |
//! | u64 | length before compression, at most 1 GiB; equal if not compressed, else one zstd frame |
//! | u32 | CRC32C of the 20 bytes above and the content in the file |
//! | n | content |
//!
//! | trailer, the last 48 bytes | content |
//! |---|---|
//! | 8 bytes | magic `TLSEGEND` |
//! | u32 | format version, 1 |
//! | u32 | CRC32C of the footer sections, headers included |
//! | u64 | where the footer sections begin |
//! | u64 | their length, at most 1 GiB |
//! | u64 | length of the file |
//! | u32 | 0 |
//! | u32 | CRC32C of the 44 bytes above |

use crate::FORMAT_VERSION;
use crate::directory::ColumnKey;
use crate::encoding::blob::decompress;
use crate::encoding::{Compressor, Input};
use crate::error::{Place, SegmentError};
use bincode::config::{Configuration, Fixint, Limit, LittleEndian};
use timberlog_disk::checksum::is_right;

const HEADER_MAGIC: [u8; 8] = *b"TLSEGMNT";
const TRAILER_MAGIC: [u8; 8] = *b"TLSEGEND";
const BLOCK_MAGIC: [u8; 4] = *b"TLBK";
const FILTER_MAGIC: [u8; 4] = *b"TLFL";

const IDENTITY_BYTES_MAX: usize = 4096;
const FOOTER_BYTES_MAX: u64 = if cfg!(fuzzing) { 32 << 20 } else { 1 << 30 };
const SECTION_VERSION: u8 = 1;

/// The bytes of the header before its bincode part.
pub(crate) const HEADER_FIXED: usize = 20;
/// The bytes of a block header.
pub(crate) const BLOCK_HEADER: usize = 24;
/// The bytes before a token filter.
pub(crate) const FILTER_HEADER: usize = 20;
/// The most bytes of a token filter.
pub(crate) const FILTER_BYTES_MAX: usize = 1 << 28;
const SECTION_HEADER: usize = 24;
/// The bytes of the trailer.
pub(crate) const TRAILER: usize = 48;

type Bincode = Configuration<LittleEndian, Fixint, Limit<IDENTITY_BYTES_MAX>>;

fn bincode_config() -> Bincode {
    bincode::config::standard().with_fixed_int_encoding().with_little_endian().with_limit::<IDENTITY_BYTES_MAX>()
}

/// Whose and which a segment is.
#[derive(Clone, Debug, PartialEq, Eq, bincode::Encode, bincode::Decode)]
pub(crate) struct Identity {
    pub(crate) segment_id: String,
    pub(crate) tenant: String,
}

/// What a footer section holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Section {
    Directory = 1,
    Streams = 2,
    RedbPages = 3,
}

/// Where the footer is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Trailer {
    pub(crate) footer_offset: u64,
    pub(crate) footer_len: u64,
    pub(crate) footer_crc: u32,
}

pub(crate) fn put_header(identity: &Identity, out: &mut Vec<u8>) -> Result<(), SegmentError> {
    let rest = bincode::encode_to_vec(identity, bincode_config())
        .ok()
        .filter(|rest| rest.len() <= IDENTITY_BYTES_MAX)
        .ok_or(SegmentError::TooLarge {
            what: "the length of segment id and tenant",
            len: (identity.segment_id.len() + identity.tenant.len()) as u64,
            max: IDENTITY_BYTES_MAX as u64,
        })?;
    let start = out.len() + HEADER_MAGIC.len();
    out.extend_from_slice(&HEADER_MAGIC);
    out.extend_from_slice(&FORMAT_VERSION.to_le_bytes());
    // At most IDENTITY_BYTES_MAX.
    out.extend_from_slice(&(rest.len() as u32).to_le_bytes());
    let crc = crc32c::crc32c_append(crc32c::crc32c(&out[start..]), &rest);
    out.extend_from_slice(&crc.to_le_bytes());
    out.extend_from_slice(&rest);
    Ok(())
}

/// The length of the header's bincode part, from its fixed part.
pub(crate) fn header_rest(fixed: &[u8; HEADER_FIXED]) -> Result<usize, SegmentError> {
    let mut input = Input::new(fixed);
    if input.take(8)? != HEADER_MAGIC {
        return Err(SegmentError::corrupt("not a segment: the magic is missing"));
    }
    check_version(input.u32()?)?;
    let len = input.u32()? as usize;
    if len > IDENTITY_BYTES_MAX { Err(SegmentError::corrupt("header is too long")) } else { Ok(len) }
}

pub(crate) fn read_header(fixed: &[u8; HEADER_FIXED], rest: &[u8]) -> Result<Identity, SegmentError> {
    let mut input = Input::new(fixed);
    let _magic = input.take(8)?;
    let numbers = input.take(8)?;
    let crc = crc32c::crc32c_append(crc32c::crc32c(numbers), rest);
    if !is_right(input.u32()?, crc) {
        return Err(SegmentError::corrupt("checksum mismatch"));
    }
    match bincode::decode_from_slice(rest, bincode_config()) {
        Ok((identity, len)) if len == rest.len() => Ok(identity),
        _ => Err(SegmentError::corrupt("header is malformed")),
    }
}

fn check_version(version: u32) -> Result<(), SegmentError> {
    if version == FORMAT_VERSION {
        return Ok(());
    }
    Err(SegmentError::UnknownFormat { place: Place::default(), version })
}

/// Writes a block header over its place at the start of a finished block.
pub(crate) fn set_block_header(block: &mut [u8], number: u32, rows: u32, columns: u32, len: u32) {
    block[..4].copy_from_slice(&BLOCK_MAGIC);
    for (place, value) in block[4..20].chunks_exact_mut(4).zip([number, rows, columns, len]) {
        place.copy_from_slice(&value.to_le_bytes());
    }
    let crc = crc32c::crc32c(&block[..20]);
    block[20..BLOCK_HEADER].copy_from_slice(&crc.to_le_bytes());
}

/// Checks a block header against what the directory says.
pub(crate) fn check_block_header(
    header: &[u8],
    number: u32,
    rows: u32,
    columns: u32,
    len: u32,
) -> Result<(), SegmentError> {
    let mut expected = [0; BLOCK_HEADER];
    set_block_header(&mut expected, number, rows, columns, len);
    let header = header.get(..BLOCK_HEADER).ok_or(SegmentError::corrupt("block is shorter than its header"))?;
    if header == expected {
        return Ok(());
    }
    let crc = Input::new(&header[20..]).u32()?;
    Err(SegmentError::corrupt(if is_right(crc, crc32c::crc32c(&header[..20])) {
        "block header differs from the directory"
    } else {
        "block header: checksum mismatch"
    }))
}

pub(crate) fn put_filter(block: u32, key: ColumnKey, filter: &[u8], out: &mut Vec<u8>) {
    let start = out.len();
    out.extend_from_slice(&FILTER_MAGIC);
    // The writer takes no longer filter than FILTER_BYTES_MAX.
    for value in [block, key.number(), filter.len() as u32] {
        out.extend_from_slice(&value.to_le_bytes());
    }
    let crc = crc32c::crc32c_append(crc32c::crc32c(&out[start..]), filter);
    out.extend_from_slice(&crc.to_le_bytes());
    out.extend_from_slice(filter);
}

/// Checks a token filter's unit; the filter is what follows [`FILTER_HEADER`] bytes.
pub(crate) fn check_filter(block: u32, key: ColumnKey, unit: &[u8]) -> Result<(), SegmentError> {
    let (header, filter) =
        unit.split_at_checked(FILTER_HEADER).ok_or(SegmentError::corrupt("token filter is shorter than its header"))?;
    let mut expected = Vec::with_capacity(FILTER_HEADER);
    put_filter(block, key, &[], &mut expected);
    let mut input = Input::new(header);
    let place = input.take(12)?;
    let len = input.u32()? as usize;
    if !is_right(input.u32()?, crc32c::crc32c_append(crc32c::crc32c(&header[..16]), filter)) {
        return Err(SegmentError::corrupt("token filter: checksum mismatch"));
    }
    if place != &expected[..12] || len != filter.len() {
        return Err(SegmentError::corrupt("token filter is not the one that the directory says"));
    }
    Ok(())
}

pub(crate) fn put_section(
    section: Section,
    content: &[u8],
    compressor: &mut Compressor,
    out: &mut Vec<u8>,
) -> Result<(), SegmentError> {
    if content.len() as u64 > FOOTER_BYTES_MAX {
        return Err(SegmentError::TooLarge {
            what: "the length of a footer section",
            len: content.len() as u64,
            max: FOOTER_BYTES_MAX,
        });
    }
    let stored = compressor.compress(content).unwrap_or(content);
    let start = out.len();
    out.extend_from_slice(&[section as u8, SECTION_VERSION, 0, 0]);
    out.extend_from_slice(&(stored.len() as u64).to_le_bytes());
    out.extend_from_slice(&(content.len() as u64).to_le_bytes());
    let crc = crc32c::crc32c_append(crc32c::crc32c(&out[start..]), stored);
    out.extend_from_slice(&crc.to_le_bytes());
    out.extend_from_slice(stored);
    Ok(())
}

/// Takes the next section of a footer: its number and content.
pub(crate) fn take_section(input: &mut Input<'_>) -> Result<(u8, Vec<u8>), SegmentError> {
    let header = input.take(SECTION_HEADER)?;
    let mut fields = Input::new(header);
    let (number, version) = (fields.u8()?, fields.u8()?);
    let _zero = fields.take(2)?;
    let (stored, len) = (fields.u64()?, fields.u64()?);
    let crc = fields.u32()?;
    let stored = usize::try_from(stored).map_err(|_| SegmentError::corrupt("footer section is too long"))?;
    let content = input.take(stored)?;
    if !is_right(crc, crc32c::crc32c_append(crc32c::crc32c(&header[..20]), content)) {
        return Err(SegmentError::corrupt("footer section: checksum mismatch"));
    }
    let is_known = [Section::Directory, Section::Streams, Section::RedbPages].iter().any(|&s| s as u8 == number);
    if is_known && version != SECTION_VERSION {
        return Err(SegmentError::UnknownEncoding { place: Place::default(), tag: number, version });
    }
    match usize::try_from(len) {
        Ok(len) if len == content.len() => Ok((number, content.to_vec())),
        Ok(len) if len as u64 <= FOOTER_BYTES_MAX => Ok((number, decompress(content, len)?)),
        _ => Err(SegmentError::corrupt("footer section is too long")),
    }
}

pub(crate) fn put_trailer(trailer: Trailer, out: &mut Vec<u8>) -> Result<(), SegmentError> {
    if trailer.footer_len > FOOTER_BYTES_MAX {
        return Err(SegmentError::TooLarge {
            what: "the length of the footer",
            len: trailer.footer_len,
            max: FOOTER_BYTES_MAX,
        });
    }
    let start = out.len();
    let file_len = trailer.footer_offset + trailer.footer_len + TRAILER as u64;
    out.extend_from_slice(&TRAILER_MAGIC);
    out.extend_from_slice(&FORMAT_VERSION.to_le_bytes());
    out.extend_from_slice(&trailer.footer_crc.to_le_bytes());
    for value in [trailer.footer_offset, trailer.footer_len, file_len] {
        out.extend_from_slice(&value.to_le_bytes());
    }
    out.extend_from_slice(&[0; 4]);
    let crc = crc32c::crc32c(&out[start..]);
    out.extend_from_slice(&crc.to_le_bytes());
    Ok(())
}

pub(crate) fn read_trailer(bytes: &[u8], file_len: u64) -> Result<Trailer, SegmentError> {
    let mut input = Input::new(bytes);
    if input.take(8)? != TRAILER_MAGIC {
        return Err(SegmentError::corrupt("the magic is missing; the file was cut short or not finished"));
    }
    check_version(input.u32()?)?;
    let trailer = Trailer { footer_crc: input.u32()?, footer_offset: input.u64()?, footer_len: input.u64()? };
    let said = input.u64()?;
    let _zero = input.u32()?;
    if !is_right(input.u32()?, crc32c::crc32c(bytes.get(..TRAILER - 4).unwrap_or_default())) {
        return Err(SegmentError::corrupt("checksum mismatch"));
    }
    let ends = trailer.footer_offset.checked_add(trailer.footer_len).and_then(|end| end.checked_add(TRAILER as u64));
    if said != file_len || ends != Some(file_len) || trailer.footer_len > FOOTER_BYTES_MAX {
        return Err(SegmentError::corrupt("footer is not where the trailer says, or the file has another length"));
    }
    Ok(trailer)
}
