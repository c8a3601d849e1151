use super::*;
use std::path::{Path, PathBuf};
use timberlog_disk::{Disk, Open, real::RealDisk};
use timberlog_types::ErrorKind;

/// The `.log` of a golden segment, and bytes in the place of its `.redb`.
fn log() -> Arc<dyn File> {
    let path = golden().join("segment.log");
    RealDisk.open(&path, Open::Read).unwrap()
}

fn golden() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/golden/index-object-v1")
}

fn redb() -> Vec<u8> {
    (0..9000_u32).flat_map(|n| (n / 7).to_le_bytes()).collect()
}

#[test]
fn what_goes_in_comes_out() {
    let log = log();
    let bytes = log.read_all(1 << 20).unwrap();
    for redb in [None, Some(redb())] {
        let object = encode(&log, redb.as_deref()).unwrap();
        let index = decode(&object).unwrap();
        assert_eq!(index.redb, redb);
        assert_eq!(index.ends.len, bytes.len() as u64);
        assert!(bytes.starts_with(&index.ends.head) && bytes.ends_with(&index.ends.tail));
        assert!(index.ends.head.len() > 20 && index.ends.tail.len() > 48);
        assert!(index.ends.head.len() + index.ends.tail.len() < bytes.len());
    }
}

#[test]
fn damage_is_found_wherever_it_is() {
    let object = encode(&log(), Some(&redb())).unwrap();
    for at in (0..object.len()).step_by(7).chain(0..HEADER) {
        for damaged in [flipped(&object, at), object[..at].to_vec()] {
            assert!(decode(&damaged).is_err(), "byte {at}");
        }
    }
}

#[test]
fn a_newer_version_is_refused_and_says_so() {
    let mut object = encode(&log(), None).unwrap();
    object[8] = 2;
    let crc = crc32c::crc32c(&object[..HEADER - 4]);
    object[HEADER - 4..HEADER].copy_from_slice(&crc.to_le_bytes());
    let error = decode(&object).unwrap_err();
    assert_eq!(error.kind, ErrorKind::Invalid);
    assert!(error.message.contains("format 2 is not known"), "{}", error.message);
}

#[test]
fn lengths_that_cannot_be_allocate_nothing() {
    let mut object = encode(&log(), None).unwrap();
    object[40..48].copy_from_slice(&u64::MAX.to_le_bytes());
    let crc = crc32c::crc32c(&object[..HEADER - 4]);
    object[HEADER - 4..HEADER].copy_from_slice(&crc.to_le_bytes());
    assert_eq!(decode(&object).unwrap_err().kind, ErrorKind::Corrupt);
}

/// Written once and read by every later version; never made anew in place.
#[test]
fn the_golden_object_of_version_1_is_read_as_it_was_written() {
    let object = std::fs::read(golden().join("segment.index")).unwrap();
    let index = decode(&object).unwrap();
    assert_eq!(index.ends, timberlog_segment::read_ends(&log()).unwrap());
    assert_eq!(index.redb, Some(redb()));
}

fn flipped(bytes: &[u8], at: usize) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    bytes[at] ^= 0x10;
    bytes
}
