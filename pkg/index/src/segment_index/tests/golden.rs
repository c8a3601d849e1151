//! `tests/golden/index-v1/segment.redb` was written by the first version. It is read forever, and
//! never written again; neither is what stands here about it.

use super::{Bytes, RoaringBitmap};
use crate::backend::page_checksums;
use crate::{SegmentIndex, TokenFilter, UserIndexInput, build, damaged_pages};
use std::sync::{Arc, Mutex};
use timberlog_segment::{BlockMeta, ColumnKey, ColumnMeta, Directory, FilterPlace, LevelSpelling};
use timberlog_types::{Level, TimeRange};

const FILE: &[u8] = include_bytes!("../../../../../tests/golden/index-v1/segment.redb");
const FILE_CRC32C: u32 = 0xf5f9_8378;
const FILTER: &[u8] = include_bytes!("../../../../../tests/golden/index-v1/token.filter");

fn block(number: u32, start: i64, end: i64, services: &[(u32, u32)], levels: &[(u32, u32)]) -> BlockMeta {
    let offset = 64 + u64::from(number) * 1_000_000;
    let filter = FilterPlace { offset: 40_000_000 + u64::from(number) * 30_000, len: 23_456 };
    let columns = [
        (ColumnKey::Timestamp, 32, 4_000, None),
        (ColumnKey::Stream, 4_032, 300, None),
        (ColumnKey::Level, 4_332, 90, None),
        (ColumnKey::Message, 4_422, 90_000, Some(filter)),
        (ColumnKey::Field(number % 3), 94_422, 700, None),
    ];
    let columns = columns.map(|(key, offset, len, filter)| ColumnMeta { key, offset, len, filter });
    BlockMeta {
        number,
        offset,
        len: 95_122,
        rows: 1_000,
        raw_bytes: 1 << 20,
        range: TimeRange { start, end },
        columns: columns.to_vec(),
        services: services.to_vec(),
        levels: levels.to_vec(),
        streams: vec![(0, 3), (7, 7), (number + 100, number + 200)],
        streams_exact: number.is_multiple_of(2),
    }
}

fn directory() -> Directory {
    let spelling = |level, text: &str| LevelSpelling { level, spelling: Some(text.to_owned()) };
    let mut blocks = vec![
        block(0, i64::MIN, -5, &[(0, 1_000)], &[(0, 1_000)]),
        block(1, -10, 1_763_717_400_000_000_000, &[(0, 400), (1, 600)], &[(0, 900), (1, 100)]),
        block(2, 1_763_717_400_000_000_000, i64::MAX, &[(2, 1_000)], &[(2, 999), (3, 1)]),
    ];
    blocks.extend(
        (3..40).map(|n| block(n, i64::from(n) * 1_000, i64::from(n) * 1_000 + 1_500, &[(1, 1_000)], &[(0, 1_000)])),
    );
    Directory {
        segment_id: "01KAJ0000000000000000000AA".to_owned(),
        tenant: "default".to_owned(),
        field_names: vec!["trace_id".to_owned(), "straße".to_owned(), "a.b".to_owned()],
        services: vec!["api".to_owned(), "checkout".to_owned(), String::new()],
        levels: vec![
            spelling(Level::Info, "INFO"),
            spelling(Level::Error, "error"),
            spelling(Level::Error, "ERR"),
            LevelSpelling { level: Level::Unknown, spelling: None },
        ],
        blocks,
        ..Directory::default()
    }
}

/// Hashes in one block, in two, and one in all.
fn entries() -> Vec<(u64, u32)> {
    let hash = |n: u64| n.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let mut entries: Vec<(u64, u32)> = (0..2_000).map(|n| (hash(n), (n % 40) as u32)).collect();
    entries.extend((0..100).map(|n| (hash(n * 10), (n % 40 + 7) as u32 % 40)));
    entries.extend((0..40).map(|block| (12_345, block)));
    entries
}

fn check(index: &SegmentIndex) {
    let directory = directory();
    index.check(&directory).unwrap();
    let all = |blocks: &[u32]| blocks.iter().copied().collect::<RoaringBitmap>();
    assert_eq!(index.blocks_in(TimeRange { start: -5, end: -5 }), Ok(all(&[0, 1])));
    assert_eq!(index.blocks_in(TimeRange { start: i64::MAX, end: i64::MAX }), Ok(all(&[2])));
    assert_eq!(index.blocks_in(TimeRange { start: 5_400, end: 6_000 }), Ok(all(&[1, 4, 5, 6])));
    assert_eq!(index.blocks_in(TimeRange::ALL).unwrap().len(), 40);
    assert_eq!(index.blocks_with_level(Level::Error), Ok(all(&[1, 2])));
    assert_eq!(index.blocks_with_level(Level::Unknown), Ok(all(&[2])));
    assert_eq!(index.blocks_with_level(Level::Fatal), Ok(all(&[])));
    assert_eq!(index.blocks_with_service("api"), Ok(all(&[0, 1])));
    assert_eq!(index.blocks_with_service(""), Ok(all(&[2])));
    assert_eq!(index.blocks_matching_service("check", &|_| true).unwrap().len(), 38);
    assert_eq!(index.block(1).unwrap().unwrap().normalised, [Level::Info, Level::Error]);
    assert_eq!(index.user_indexes().collect::<Vec<_>>(), ["trace_id"]);
    let entries = entries();
    for &(hash, _) in &entries {
        let truth: RoaringBitmap = entries.iter().filter(|entry| entry.0 == hash).map(|entry| entry.1).collect();
        assert_eq!(index.user("trace_id", hash), Ok(Some(truth)));
    }
    assert_eq!(index.user("trace_id", 1), Ok(Some(all(&[]))));
    assert_eq!(index.user("span_id", 1), Ok(None));
}

#[test]
fn the_first_version_is_read_forever() {
    assert_eq!(crc32c::crc32c(FILE), FILE_CRC32C, "a golden file is never written again");
    let pages = page_checksums(FILE);
    let file = Arc::new(Bytes(Mutex::new(FILE.to_vec())));
    assert_eq!(damaged_pages(file.clone(), pages.clone()), Ok(Vec::new()));
    check(&SegmentIndex::open(file, pages).unwrap());
}

#[test]
fn what_is_written_now_answers_the_same() {
    let built = build(&directory(), &mut [UserIndexInput { name: "trace_id".to_owned(), entries: entries() }]).unwrap();
    check(&SegmentIndex::open(Arc::new(Bytes(Mutex::new(built.bytes))), built.pages).unwrap());
}

#[test]
fn the_first_token_filter_is_read_and_written_forever() {
    let mut hashes: Vec<u64> = entries().into_iter().map(|entry| entry.0).collect();
    let filter = TokenFilter::open(FILTER).unwrap();
    assert!(hashes.iter().all(|&hash| filter.contains(hash)));
    assert!((1..10_000).filter(|&n| filter.contains(n << 20)).count() < 80);
    assert!(TokenFilter::build(&mut hashes) == FILTER, "the bytes of version 1 have changed");
}
