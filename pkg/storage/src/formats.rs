//! The decoders of files and objects that the storage keeps to itself, each reached by itself: for
//! the fuzz targets, and nothing else may use it.

use crate::archive::{LineRecord, Local, Part};
use crate::backup::{BackupRecord, Marker, PlanRecord, PruneRecord, VoidRecord, decode_record, encode_record, key_of};
use crate::deletes::Logged;
use crate::manifest::format::Pointer;
use crate::manifest::pins::Pin;
use crate::manifest::{FileRef, State, restored};
use crate::objects::check_key;
use crate::producers::Producers;
use crate::tier::bucket::format::{DeletesFile, RootFile};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::cell::Cell;
use std::fmt::Debug;
use timberlog_types::{Error, Result};

/// The kinds of [`read`].
pub const KINDS: u8 = 14;

/// Reads bytes as a file or object of a kind, below [`KINDS`]: refused or read. Whether it is one.
///
/// # Panics
/// If what was read is not what its own encoding reads as.
pub fn read(kind: u8, bytes: &[u8]) -> bool {
    match kind {
        0 => {
            let Some(backup) = record::<BackupRecord>(bytes) else { return false };
            let _ = (backup.bytes(), backup.until(), backup.keys().count());
            backup.check(&backup.id).is_ok()
        }
        1 => record::<PlanRecord>(bytes).is_some(),
        // Both are asked.
        2 => record::<PruneRecord>(bytes).is_some() | record::<VoidRecord>(bytes).is_some(),
        3 => record::<LineRecord>(bytes).is_some(),
        4 => comes_back(|bytes| Local::decode(bytes).ok().flatten(), |local| local.encode().ok(), bytes),
        5 => comes_back(Pin::decode, |pin| pin.encode().ok(), bytes),
        6 => comes_back(
            |bytes| (1..=3).find_map(|version| RootFile::decode(version, bytes).ok()),
            |root| root.encode().ok(),
            bytes,
        ),
        7 => comes_back(
            |bytes| DeletesFile::decode("deletes", bytes).ok(),
            |tombstones| Some(DeletesFile::encode(7, "0".repeat(16), tombstones).ok()?.1),
            bytes,
        ),
        8 => comes_back(
            |bytes| Some(Logged::decode(bytes).ok()?.what().clone()),
            |what| Some(Logged::new(what.clone(), None).ok()?.as_bytes().to_vec()),
            bytes,
        ),
        9 => comes_back(
            |bytes| Some(Producers::<()>::decode(bytes).ok()?.encode(u64::MAX)),
            |encoded| Some(encoded.clone()),
            bytes,
        ),
        10 => comes_back(|bytes| Pointer::decode(bytes).ok(), |pointer| pointer.encode().ok(), bytes),
        11 => comes_back(
            |bytes| serde_json::from_slice::<Marker>(bytes).ok(),
            |marker| serde_json::to_vec(marker).ok(),
            bytes,
        ),
        12 => comes_back(
            |bytes| Part::parse(std::str::from_utf8(bytes).ok()?),
            |part| Some(part.name().into_bytes()),
            bytes,
        ),
        _ => {
            let text = std::str::from_utf8(bytes).unwrap_or_default();
            key_of(text).is_some() & check_key(text).is_ok()
        }
    }
}

/// Reads the tree of a manifest whose files are `root`, `deletes`, and `months`, one after the other.
///
/// # Errors
/// As a restore gives them.
pub fn read_tree(root: &[u8], deletes: &[u8], months: &[&[u8]]) -> Result<State> {
    let next = Cell::new(0);
    let file = FileRef { path: "root".to_owned(), len: root.len() as u64, crc32c: 0 };
    restored::read_tree(&file, &|wanted: &FileRef| {
        if *wanted == file {
            return Ok(root.to_vec());
        }
        if wanted.path.contains("deletes") {
            return Ok(deletes.to_vec());
        }
        let month = months.get(next.replace(next.get() + 1));
        month.map(|bytes| bytes.to_vec()).ok_or_else(|| Error::corrupt("missing"))
    })
}

fn record<T: DeserializeOwned + Serialize + PartialEq + Debug>(bytes: &[u8]) -> Option<T> {
    comes_back(|bytes| decode_record::<T>(bytes).ok(), |record| encode_record(record).ok(), bytes);
    decode_record(bytes).ok()
}

/// What was read is what its encoding reads as; one that cannot be encoded again is none that we wrote.
fn comes_back<T: PartialEq + Debug>(
    decode: impl Fn(&[u8]) -> Option<T>,
    encode: impl Fn(&T) -> Option<Vec<u8>>,
    bytes: &[u8],
) -> bool {
    let Some(value) = decode(bytes) else { return false };
    if let Some(again) = encode(&value) {
        assert_eq!(decode(&again), Some(value));
    }
    true
}

#[cfg(test)]
mod tests {
    use super::{KINDS, read};

    #[test]
    fn bytes_of_every_kind_are_read_or_refused() {
        for kind in 0..KINDS {
            for bytes in [&b""[..], b"{}", b"null", &[0xff; 64]] {
                read(kind, bytes);
            }
        }
    }
}
