//! The bytes of a WAL file, version 1 (`manifest-spec.md`, "WAL"). Little-endian.
//!
//! A file is `<first sequence number, 20 digits>.wal`: a header at byte 0, its copy at byte 4,096,
//! frames from byte 8,192 on, each at a multiple of 8. What stands behind the last frame is
//! anything: zeros, frames of the file's earlier life, half a frame.
//!
//! | at | file header (64 bytes) |
//! |---|---|
//! | 0 | 8 bytes magic `F5 "TLWAL" 0D 0A` |
//! | 8 | u16 version, u16 zero, u32 length of this header (64) |
//! | 16 | 16 bytes database id |
//! | 32 | u64 first sequence number |
//! | 40 | u64 salt: random, new in each life of the file |
//! | 48 | i64 commit time of the last frame before this file |
//! | 56 | u32 length of the file in units of 4,096 bytes (0: not said), u32 CRC32C of bytes 0 to 59 |
//!
//! | at | frame |
//! |---|---|
//! | 0 | u32 magic `0xF5_57_4C_54` (`T L W F5`) |
//! | 4 | u32 CRC32C of the salt (8 bytes), then of bytes 8 to the end of the header |
//! | 8 | u8 version, u8 kind (1: batch, 2: delete), u16 header length H, u32 payload length P |
//! | 16 | u32 CRC32C of payload and padding, u32 rows |
//! | 24 | u64 sequence number, i64 commit time, u64 `synced_seq` |
//! | 48 | H bytes header (bincode): tenant, producer |
//! | 48+H | P bytes payload: the batch, or JSON of a delete; then zeros to the next multiple of 8 |
//!
//! The salt makes frames of an earlier life, and bytes inside a record that look like a frame,
//! fail their checksum. The two checksums let a reader know which batch a damaged payload was.

use crate::producers::ProducerBatch;
use bincode::{Decode, Encode};
use timberlog_disk::checksum::is_right;
use timberlog_types::batch::BATCH_BYTES_MAX;
use timberlog_types::{Error, Result, Seq, Tenant};

/// The version of the WAL's format.
pub const VERSION: u16 = 1;

pub(super) const FILE_MAGIC: [u8; 8] = *b"\xF5TLWAL\r\n";
pub(super) const FILE_HEADER_LEN: usize = 64;
/// Where the header's copy stands: in another sector, whatever a sector is.
pub(super) const HEADER_COPY_AT: u64 = 4096;
/// Where the first frame stands.
pub(super) const FRAMES_AT: u64 = 8192;

/// What a file's length is a multiple of, and counted in.
pub(super) const FILE_UNIT: u64 = 4096;

pub(super) const FRAME_MAGIC: [u8; 4] = *b"TLW\xF5";
/// The part of a frame before its bincode header.
pub(super) const FRAME_FIXED_LEN: usize = 48;
/// Frames begin at multiples of this.
pub(super) const FRAME_ALIGN: u64 = 8;
const FRAME_VERSION: u8 = 1;
/// The payload is a batch.
pub(super) const KIND_BATCH: u8 = 1;
/// The payload is a delete, or its cancellation; the frame has no records.
pub(super) const KIND_DELETE: u8 = 2;
/// The longest bincode header: names have limits far below.
const FRAME_HEADER_LEN_MAX: usize = 4096;

/// The header of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct FileHeader {
    pub(super) database_id: [u8; 16],
    pub(super) first_seq: Seq,
    pub(super) salt: u64,
    pub(super) commit_time: i64,
    /// The length that the file had on disk before it had its name, in units of [`FILE_UNIT`]; it
    /// never changes. 0: not said, as by writers before this field.
    pub(super) len_units: u32,
}

/// Why bytes are no header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NoHeader {
    Damaged,
    Newer(u16),
}

impl FileHeader {
    pub(super) fn encode(&self) -> [u8; FILE_HEADER_LEN] {
        let mut bytes = Vec::with_capacity(FILE_HEADER_LEN);
        bytes.extend_from_slice(&FILE_MAGIC);
        bytes.extend_from_slice(&VERSION.to_le_bytes());
        bytes.extend_from_slice(&[0; 2]);
        bytes.extend_from_slice(&(FILE_HEADER_LEN as u32).to_le_bytes());
        bytes.extend_from_slice(&self.database_id);
        bytes.extend_from_slice(&self.first_seq.to_le_bytes());
        bytes.extend_from_slice(&self.salt.to_le_bytes());
        bytes.extend_from_slice(&self.commit_time.to_le_bytes());
        bytes.extend_from_slice(&self.len_units.to_le_bytes());
        bytes.extend_from_slice(&crc32c::crc32c(&bytes).to_le_bytes());
        let mut header = [0; FILE_HEADER_LEN];
        header.copy_from_slice(&bytes);
        header
    }

    pub(super) fn decode(bytes: &[u8; FILE_HEADER_LEN]) -> Result<Self, NoHeader> {
        let mut rest = &bytes[..];
        let magic: [u8; 8] = take(&mut rest);
        let version = u16::from_le_bytes(take(&mut rest));
        let _zero: [u8; 2] = take(&mut rest);
        let len = u32::from_le_bytes(take(&mut rest));
        let stored = u32::from_le_bytes(bytes.last_chunk().copied().unwrap_or_default());
        let crc_right = is_right(stored, crc32c::crc32c(&bytes[..FILE_HEADER_LEN - 4]));
        if magic != FILE_MAGIC || !crc_right {
            return Err(NoHeader::Damaged);
        }
        if version != VERSION || len as usize != FILE_HEADER_LEN {
            return Err(NoHeader::Newer(version));
        }
        Ok(Self {
            database_id: take(&mut rest),
            first_seq: u64::from_le_bytes(take(&mut rest)),
            salt: u64::from_le_bytes(take(&mut rest)),
            commit_time: i64::from_le_bytes(take(&mut rest)),
            len_units: u32::from_le_bytes(take(&mut rest)),
        })
    }

    /// Bytes that the file must have; 0 if the header does not say.
    pub(super) fn len(&self) -> u64 {
        u64::from(self.len_units) * FILE_UNIT
    }
}

/// The fixed part of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct FrameHead {
    pub(super) kind: u8,
    pub(super) header_len: u16,
    pub(super) payload_len: u32,
    pub(super) payload_crc: u32,
    pub(super) rows: u32,
    pub(super) seq: Seq,
    pub(super) commit_time: i64,
    pub(super) synced_seq: Seq,
}

/// What the fixed bytes of a frame say before their checksum is checked.
#[derive(Clone, Copy, Debug)]
pub(super) struct Claimed {
    crc: u32,
    version: u8,
    head: FrameHead,
}

impl Claimed {
    /// `None` if this cannot be a frame.
    pub(super) fn parse(bytes: &[u8; FRAME_FIXED_LEN]) -> Option<Self> {
        let mut rest = &bytes[..];
        if take::<4>(&mut rest) != FRAME_MAGIC {
            return None;
        }
        let crc = u32::from_le_bytes(take(&mut rest));
        let [version, kind] = take(&mut rest);
        let head = FrameHead {
            kind,
            header_len: u16::from_le_bytes(take(&mut rest)),
            payload_len: u32::from_le_bytes(take(&mut rest)),
            payload_crc: u32::from_le_bytes(take(&mut rest)),
            rows: u32::from_le_bytes(take(&mut rest)),
            seq: u64::from_le_bytes(take(&mut rest)),
            commit_time: i64::from_le_bytes(take(&mut rest)),
            synced_seq: u64::from_le_bytes(take(&mut rest)),
        };
        let lengths_fit = usize::from(head.header_len) <= FRAME_HEADER_LEN_MAX
            && usize::try_from(head.payload_len).is_ok_and(|len| len <= BATCH_BYTES_MAX);
        lengths_fit.then_some(Self { crc, version, head })
    }

    /// Bytes up to the payload.
    pub(super) fn head_len(&self) -> usize {
        FRAME_FIXED_LEN + usize::from(self.head.header_len)
    }

    /// Checks the bytes up to the payload. `None`: they are no head of a frame of this file.
    ///
    /// # Errors
    /// `Invalid` if a newer version wrote the frame.
    pub(super) fn check(&self, salt: u64, head_bytes: &[u8]) -> Result<Option<FrameHead>> {
        if !head_crc(salt, head_bytes).is_some_and(|crc| is_right(self.crc, crc)) {
            return Ok(None);
        }
        if self.version != FRAME_VERSION || ![KIND_BATCH, KIND_DELETE].contains(&self.head.kind) {
            return Err(Error::invalid(format!(
                "WAL frame {} has version {} and kind {}: a newer TimberLog wrote it, use that one",
                self.head.seq, self.version, self.head.kind
            )));
        }
        Ok(Some(self.head))
    }
}

impl FrameHead {
    /// Bytes up to the payload.
    pub(super) fn head_len(&self) -> usize {
        FRAME_FIXED_LEN + usize::from(self.header_len)
    }

    /// Bytes of payload and padding.
    pub(super) fn body_len(&self) -> usize {
        let unpadded = self.head_len() + self.payload_len as usize;
        self.payload_len as usize + padding(unpadded)
    }

    /// Bytes of the frame, padding included.
    pub(super) fn frame_len(&self) -> u64 {
        (self.head_len() + self.body_len()) as u64
    }
}

/// Who a batch is of: the bincode header of a frame.
#[derive(Debug, Encode, Decode)]
struct Header {
    tenant: String,
    producer: Option<HeaderProducer>,
}

#[derive(Debug, Encode, Decode)]
struct HeaderProducer {
    producer: String,
    number: u64,
    refused: Vec<u8>,
}

/// Bytes of a frame with this content.
pub(super) fn frame_len(tenant: &Tenant, producer: Option<&ProducerBatch>, payload_len: usize) -> u64 {
    let unpadded = FRAME_FIXED_LEN + header_len(tenant, producer) + payload_len;
    (unpadded + padding(unpadded)) as u64
}

fn header_len(tenant: &Tenant, producer: Option<&ProducerBatch>) -> usize {
    let producer = producer.map_or(0, |batch| 8 + batch.producer.len() + 8 + 8 + batch.refused.len());
    8 + tenant.as_str().len() + 1 + producer
}

/// Appends a frame's bytes up to its payload. `head.header_len` is filled in here.
pub(super) fn encode_head(
    out: &mut Vec<u8>,
    salt: u64,
    mut head: FrameHead,
    tenant: &Tenant,
    producer: Option<&ProducerBatch>,
) {
    // Names and answers were checked against limits that keep this far below 4 KiB.
    head.header_len = header_len(tenant, producer) as u16;
    let start = out.len();
    out.extend_from_slice(&FRAME_MAGIC);
    out.extend_from_slice(&[0; 4]);
    out.extend_from_slice(&[FRAME_VERSION, head.kind]);
    out.extend_from_slice(&head.header_len.to_le_bytes());
    out.extend_from_slice(&head.payload_len.to_le_bytes());
    out.extend_from_slice(&head.payload_crc.to_le_bytes());
    out.extend_from_slice(&head.rows.to_le_bytes());
    out.extend_from_slice(&head.seq.to_le_bytes());
    out.extend_from_slice(&head.commit_time.to_le_bytes());
    out.extend_from_slice(&head.synced_seq.to_le_bytes());
    // The bytes that bincode (fixed-int, little-endian) gives for `Header`, without its clones.
    let text = |out: &mut Vec<u8>, bytes: &[u8]| {
        out.extend_from_slice(&(bytes.len() as u64).to_le_bytes());
        out.extend_from_slice(bytes);
    };
    text(out, tenant.as_str().as_bytes());
    match producer {
        None => out.push(0),
        Some(batch) => {
            out.push(1);
            text(out, batch.producer.as_bytes());
            out.extend_from_slice(&batch.number.to_le_bytes());
            text(out, &batch.refused);
        }
    }
    let crc = head_crc(salt, &out[start..]).unwrap_or_default();
    out[start + 4..start + 8].copy_from_slice(&crc.to_le_bytes());
}

/// Reads the bincode header of a frame whose checksum was right.
pub(super) fn decode_header(bytes: &[u8]) -> Option<(Tenant, Option<ProducerBatch>)> {
    let config =
        bincode::config::standard().with_fixed_int_encoding().with_little_endian().with_limit::<FRAME_HEADER_LEN_MAX>();
    let (header, read) = bincode::decode_from_slice::<Header, _>(bytes, config).ok()?;
    if read != bytes.len() {
        return None;
    }
    let producer =
        header.producer.map(|HeaderProducer { producer, number, refused }| ProducerBatch { producer, number, refused });
    Some((Tenant::new(&header.tenant).ok()?, producer))
}

/// The checksum of a payload with the padding that its frame gives it.
pub(super) fn payload_crc(tenant: &Tenant, producer: Option<&ProducerBatch>, payload: &[u8]) -> u32 {
    let zeros = [0; FRAME_ALIGN as usize];
    let padding = padding(FRAME_FIXED_LEN + header_len(tenant, producer) + payload.len());
    crc32c::crc32c_append(crc32c::crc32c(payload), &zeros[..padding])
}

/// Zeros behind a frame of this length.
pub(super) fn padding(len: usize) -> usize {
    len.next_multiple_of(FRAME_ALIGN as usize) - len
}

/// Makes the first checksum of a frame anew, under another salt.
pub(super) fn resalt(frame: &mut [u8], salt: u64, head_len: usize) {
    let crc = frame.get(..head_len).and_then(|head| head_crc(salt, head)).unwrap_or_default();
    if let Some(place) = frame.get_mut(4..8) {
        place.copy_from_slice(&crc.to_le_bytes());
    }
}

fn head_crc(salt: u64, head_bytes: &[u8]) -> Option<u32> {
    Some(crc32c::crc32c_append(crc32c::crc32c(&salt.to_le_bytes()), head_bytes.get(8..)?))
}

/// The next bytes of a fixed-size header.
fn take<const N: usize>(rest: &mut &[u8]) -> [u8; N] {
    let (taken, left) = rest.split_first_chunk::<N>().unwrap_or((&[0; N], &[]));
    *rest = left;
    *taken
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_header_by_hand_is_what_bincode_writes() {
        let config = bincode::config::standard().with_fixed_int_encoding().with_little_endian();
        let tenant = Tenant::new("team-1").unwrap();
        for producer in [None, Some(ProducerBatch { producer: "p".into(), number: 7, refused: vec![1, 2] })] {
            let mut bytes = Vec::new();
            let head = FrameHead {
                kind: KIND_BATCH,
                header_len: 0,
                payload_len: 0,
                payload_crc: 0,
                rows: 0,
                seq: 1,
                commit_time: 2,
                synced_seq: 0,
            };
            encode_head(&mut bytes, 3, head, &tenant, producer.as_ref());
            let header = Header {
                tenant: tenant.as_str().into(),
                producer: producer.clone().map(|batch| HeaderProducer {
                    producer: batch.producer,
                    number: batch.number,
                    refused: batch.refused,
                }),
            };
            let written = &bytes[FRAME_FIXED_LEN..];
            assert_eq!(written, bincode::encode_to_vec(&header, config).unwrap());
            assert_eq!(written.len(), header_len(&tenant, producer.as_ref()));
            assert_eq!(decode_header(written), Some((tenant.clone(), producer)));
        }
    }

    #[test]
    fn a_file_header_with_any_flipped_bit_is_refused() {
        let header = FileHeader { database_id: [7; 16], first_seq: 5, salt: 9, commit_time: -1, len_units: 16_384 };
        let bytes = header.encode();
        assert_eq!(FileHeader::decode(&bytes), Ok(header));
        for bit in 0..FILE_HEADER_LEN * 8 {
            let mut damaged = bytes;
            damaged[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(FileHeader::decode(&damaged), Err(NoHeader::Damaged), "bit {bit}");
        }
    }
}
