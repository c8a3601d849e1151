//! `wal.meta`: whose WAL this is, and how far it reaches: so a newest file that somebody removed is
//! noticed. Nothing that replay depends on.
//!
//! | at | content (64 bytes, version 1, little-endian) |
//! |---|---|
//! | 0 | 8 bytes magic `F5 "TLMET" 0D 0A` |
//! | 8 | u16 version, u16 zero, u32 length (64) |
//! | 16 | 16 bytes database id |
//! | 32 | u64 archive position: every frame up to it is archived |
//! | 40 | u64 first number of the newest file; 0: not said |
//! | 48 | u64 last number when the WAL was closed; 0: it was not closed since |
//! | 56 | u32 zero, u32 CRC32C of bytes 0 to 59 |
//!
//! The first writers left out bytes 40 to 55 (length 48).

use std::path::Path;
use timberlog_disk::{Disk, Open, atomic, checksum};
use timberlog_types::{Error, Result, Seq};

pub(super) const META_NAME: &str = "wal.meta";
const MAGIC: [u8; 8] = *b"\xF5TLMET\r\n";
const LEN: usize = 64;
/// The length before the reach was part of it.
const LEN_SHORT: usize = 48;
const VERSION: u16 = super::format::VERSION;

/// The content of the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Meta {
    pub(super) database_id: [u8; 16],
    pub(super) archived_seq: Seq,
    pub(super) reach: Reach,
}

/// How far the log reaches, at least. Written only when what it says is on disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reach {
    /// Nothing is known.
    Unknown,
    /// There is a file that begins with this number, or newer ones.
    Newest(Seq),
    /// The WAL was closed when this was the last number.
    Closed(Seq),
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
        let (newest, closed) = match self.reach {
            Reach::Unknown => (0, 0),
            Reach::Newest(first_seq) => (first_seq, 0),
            Reach::Closed(last_seq) => (0, last_seq),
        };
        bytes.extend_from_slice(&newest.to_le_bytes());
        bytes.extend_from_slice(&closed.to_le_bytes());
        bytes.extend_from_slice(&[0; 4]);
        bytes.extend_from_slice(&crc32c::crc32c(&bytes).to_le_bytes());
        bytes
    }

    pub(super) fn write(&self, disk: &dyn Disk, dir: &Path) -> Result<()> {
        let path = dir.join(META_NAME);
        atomic::write(disk, &path, &self.encode()).map_err(|error| doing_write(&error))
    }

    /// Writes the file but does not sync the folder: until that is done, a crash may bring back
    /// what was there before.
    pub(super) fn replace(&self, disk: &dyn Disk, dir: &Path) -> Result<()> {
        let temporary = dir.join(format!("{META_NAME}.tmp"));
        atomic::write_new(disk, &temporary, &self.encode())
            .and_then(|()| disk.rename(&temporary, &dir.join(META_NAME)))
            .map_err(|error| doing_write(&error))
    }
}

fn doing_write(error: &std::io::Error) -> Error {
    Error::io(format_args!("write `{META_NAME}`"), error)
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
    let is_whole = |covered: &[u8], crc: &[u8; 4]| {
        covered.starts_with(&MAGIC) && checksum::is_right(u32::from_le_bytes(*crc), crc32c::crc32c(covered))
    };
    let whole = bytes.split_last_chunk::<4>().filter(|(covered, crc)| is_whole(covered, crc));
    let Some((covered, _)) = whole else { return Ok(Read::Damaged) };
    let version = covered.get(8..10).and_then(|bytes| bytes.first_chunk()).map(|bytes| u16::from_le_bytes(*bytes));
    if version != Some(VERSION) {
        return Err(Error::invalid(format!(
            "the WAL has format version {}, this TimberLog knows {VERSION}: use a newer one",
            version.unwrap_or_default()
        )));
    }
    let number = |at: usize| covered.get(at..at + 8).and_then(|bytes| bytes.first_chunk()).copied();
    let id = covered.get(16..32).and_then(|bytes| bytes.first_chunk());
    let (Some(id), Some(archived)) = (id, number(32)) else { return Ok(Read::Damaged) };
    let reach = match (number(40).map_or(0, u64::from_le_bytes), number(48).map_or(0, u64::from_le_bytes)) {
        _ if bytes.len() <= LEN_SHORT => Reach::Unknown,
        (0, 0) => Reach::Unknown,
        (0, closed) => Reach::Closed(closed),
        (newest, _) => Reach::Newest(newest),
    };
    Ok(Read::Whole(Meta { database_id: *id, archived_seq: u64::from_le_bytes(archived), reach }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_flipped_or_missing_byte_is_noticed() {
        for reach in [Reach::Unknown, Reach::Newest(9), Reach::Closed(u64::MAX)] {
            let meta = Meta { database_id: *b"0123456789abcdef", archived_seq: 77, reach };
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

    #[test]
    fn a_short_one_of_the_first_writers_says_no_reach() {
        let meta = Meta { database_id: [1; 16], archived_seq: 77, reach: Reach::Unknown };
        let mut bytes = meta.encode();
        bytes.truncate(40);
        bytes[12] = 48;
        bytes.extend_from_slice(&[0; 4]);
        bytes.extend_from_slice(&crc32c::crc32c(&bytes).to_le_bytes());
        assert_eq!(bytes.len(), LEN_SHORT);
        assert_eq!(decode(&bytes).unwrap(), Read::Whole(meta));
    }
}
