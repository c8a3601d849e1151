//! `wal.meta`: whose WAL this is. Nothing that replay depends on.
//!
//! | at | content (48 bytes, version 1, little-endian) |
//! |---|---|
//! | 0 | 8 bytes magic `F5 "TLMET" 0D 0A` |
//! | 8 | u16 version, u16 zero, u32 length (48) |
//! | 16 | 16 bytes database id |
//! | 32 | u64 archive position: every frame up to it is archived |
//! | 40 | u32 zero, u32 CRC32C of bytes 0 to 43 |

use std::path::Path;
use timberlog_disk::{Disk, Open, atomic};
use timberlog_types::{Error, Result, Seq};

pub(super) const META_NAME: &str = "wal.meta";
const MAGIC: [u8; 8] = *b"\xF5TLMET\r\n";
const LEN: usize = 48;
const VERSION: u16 = super::format::VERSION;

/// The content of the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Meta {
    pub(super) database_id: [u8; 16],
    pub(super) archived_seq: Seq,
}

/// What is there instead of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Read {
    Whole(Meta),
    Missing,
    Damaged,
}

impl Meta {
    fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(LEN);
        bytes.extend_from_slice(&MAGIC);
        bytes.extend_from_slice(&VERSION.to_le_bytes());
        bytes.extend_from_slice(&[0; 2]);
        bytes.extend_from_slice(&(LEN as u32).to_le_bytes());
        bytes.extend_from_slice(&self.database_id);
        bytes.extend_from_slice(&self.archived_seq.to_le_bytes());
        bytes.extend_from_slice(&[0; 4]);
        bytes.extend_from_slice(&crc32c::crc32c(&bytes).to_le_bytes());
        bytes
    }

    pub(super) fn write(&self, disk: &dyn Disk, dir: &Path) -> Result<()> {
        let path = dir.join(META_NAME);
        atomic::write(disk, &path, &self.encode())
            .map_err(|error| Error::io(format_args!("write `{META_NAME}`"), &error))
    }
}

/// Reads the file.
///
/// # Errors
/// `Invalid` if a newer version wrote it; I/O errors.
pub(super) fn read(disk: &dyn Disk, dir: &Path) -> Result<Read> {
    let file = match disk.open(&dir.join(META_NAME), Open::Read) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Read::Missing),
        other => other.map_err(|error| Error::io(format_args!("open `{META_NAME}`"), &error))?,
    };
    match file.read_all(4096) {
        Ok(bytes) => decode(&bytes),
        Err(error) if error.kind() == std::io::ErrorKind::InvalidData => Ok(Read::Damaged),
        Err(error) => Err(Error::io(format_args!("read `{META_NAME}`"), &error)),
    }
}

fn decode(bytes: &[u8]) -> Result<Read> {
    let whole = bytes
        .split_last_chunk::<4>()
        .filter(|(covered, crc)| covered.starts_with(&MAGIC) && crc32c::crc32c(covered).to_le_bytes() == **crc);
    let Some((covered, _)) = whole else { return Ok(Read::Damaged) };
    let version = covered.get(8..10).and_then(|bytes| bytes.first_chunk()).map(|bytes| u16::from_le_bytes(*bytes));
    if version != Some(VERSION) {
        return Err(Error::invalid(format!(
            "the WAL has format version {}, this TimberLog knows {VERSION}: use a newer one",
            version.unwrap_or_default()
        )));
    }
    let id = covered.get(16..32).and_then(|bytes| bytes.first_chunk());
    let archived = covered.get(32..40).and_then(|bytes| bytes.first_chunk());
    Ok(match (id, archived) {
        (Some(id), Some(archived)) => {
            Read::Whole(Meta { database_id: *id, archived_seq: u64::from_le_bytes(*archived) })
        }
        _ => Read::Damaged,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_flipped_or_missing_byte_is_noticed() {
        let meta = Meta { database_id: *b"0123456789abcdef", archived_seq: 77 };
        let bytes = meta.encode();
        assert_eq!(bytes.len(), LEN);
        assert_eq!(decode(&bytes).unwrap(), Read::Whole(meta));
        for at in 0..bytes.len() {
            let mut damaged = bytes.clone();
            damaged[at] ^= 0x10;
            assert_eq!(decode(&damaged).unwrap(), Read::Damaged, "byte {at}");
            assert_eq!(decode(&bytes[..at]).unwrap(), Read::Damaged, "length {at}");
        }
    }
}
