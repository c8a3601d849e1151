//! Segments of format 1 as they were first written: they are read forever and never written anew.
//!
//! To make the file of a new format or encoding, give it a folder of its own and run this test once with
//! `TIMBERLOG_GOLDEN=write`; a file that exists is never touched.

use super::*;
use crate::{Column, ColumnKey};
use std::collections::BTreeSet;
use std::path::Path;

const BLOCK_ROWS: usize = 600;

/// Records that need every encoding there is. Never change them: the file holds them.
fn golden_records() -> Vec<Record> {
    let mut seed = 1_u64;
    let mut random = |below: u64| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (seed >> 33) % below
    };
    (0..1500_i64)
        .map(|n| {
            let service = ["", "db", "web"][(n / 500) as usize];
            let time = 1_790_000_000_000_000_000 + n * 86_400_000 + random(1_000_000) as i64;
            let message = match n % 4 {
                0 => format!("GET /items/{} took {} ms", random(10_000), random(300)),
                1 => format!("node{:02} connected from 10.0.{}.{}", random(40), random(256), random(256)),
                2 => "cache miss".to_owned(),
                _ => format!("{:x} größer als {:016x}", random(1 << 20), random(1 << 31)),
            };
            let mut record = Record::new(time, service, if n == 700 { "" } else { &message })
                .field("constant", ValueKind::String, "same")
                .field("host", ValueKind::String, format!("node-{:02}.example.net", random(50)))
                .field("trace_id", ValueKind::String, format!("{:016x}", (n / 12).wrapping_mul(0x0123_4567_89ab_cdef)))
                .field("unique", ValueKind::String, format!("{n:08x}{:08x}", random(1 << 31)))
                .field(
                    "note",
                    ValueKind::String,
                    format!("{} – {}", random(1 << 31), ["ä", "", "\u{1f332}"][random(3) as usize]),
                )
                .field("status", ValueKind::Number, [200, 404, 500][random(3) as usize])
                .field("latency", ValueKind::Number, random(100_000) as i64 - 50_000)
                .field("mixed", ValueKind::from_u8(random(5) as u8).unwrap(), random(4));
            if n % 3 == 0 {
                record = record.field("third", ValueKind::Bool, n % 2 == 0);
            }
            if n % 100 == 1 {
                record = record.field("rare", ValueKind::Json, format!("[{n}]"));
            }
            record.level = [None, Some("INFO"), Some("warn"), Some("loud")][random(4) as usize].map(str::to_owned);
            if service == "web" {
                record.labels.push(("user".into(), format!("u{}", n % 5)));
                record.labels.sort();
            } else if service.is_empty() {
                record.labels.clear();
            }
            record
        })
        .collect()
}

fn golden_batches() -> Vec<Arc<Batch>> {
    golden_records().chunks(250).map(batch).collect()
}

/// Records every so often, with some jitter, pauses, and steps back. Never change them: the file holds them.
fn golden_rhythm() -> Vec<Record> {
    let mut seed = 2_u64;
    let mut random = |below: u64| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (seed >> 33) % below
    };
    let mut at = 1_790_000_000_000_000_000;
    (0..1500_i64)
        .map(|n| {
            at += 86_400_000 * (1 + random(20) as i64);
            let pause = if n % 400 == 399 { 5_000_000_000_000 } else { 0 };
            let record = Record::new(at + pause + random(1_000) as i64, "cron", "tick");
            record.field("n", ValueKind::Number, n)
        })
        .collect()
}

/// The file of a folder, which holds these records; all its checksums are right.
fn golden_file(folder: &str, batches: &[Arc<Batch>], rows: &[RowRef]) -> (Vec<u8>, SegmentReader) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/golden").join(folder).join("01TEST.log");
    if std::env::var_os("TIMBERLOG_GOLDEN").is_some_and(|value| value == "write") && !path.exists() {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, write(batches, rows, BLOCK_ROWS).0).unwrap();
    }
    let bytes = std::fs::read(&path).unwrap();
    let reader = open(&bytes);
    let mut damages = Vec::new();
    reader.verify(&mut |damage| damages.push(damage));
    assert!(damages.is_empty(), "{damages:?}");
    (bytes, reader)
}

#[test]
fn the_first_format_is_read() {
    let batches = golden_batches();
    let rows = sorted_rows(&batches);
    let (_, reader) = golden_file("segment-v1", &batches, &rows);
    let directory = reader.directory();
    assert_eq!((directory.segment_id.as_str(), directory.tenant.as_str()), ("01TEST", "team-1"));
    assert_eq!(*reader.redb_pages().unwrap(), RedbPages { page_size: 4096, len: 10_000, crcs: vec![1, 2, 3] });
    let all: Vec<Vec<Record>> = batches.iter().map(|batch| records(batch)).collect();
    let expected: Vec<Record> = rows.iter().map(|row| all[row.batch as usize][row.row as usize].clone()).collect();
    assert_eq!(directory.rows(), expected.len() as u64);
    for (meta, expected) in directory.blocks.iter().zip(expected.chunks(BLOCK_ROWS)) {
        assert_eq!(records(&reader.read_block_as_batch(meta.number).unwrap()), expected);
        let raw: usize =
            expected.iter().map(|r| r.message.len() + r.fields.iter().map(|f| f.2.len()).sum::<usize>()).sum();
        assert_eq!(meta.raw_bytes, raw as u64);
        assert_eq!(meta.range.start, expected.iter().map(|r| r.timestamp).min().unwrap());
        assert_eq!(meta.range.end, expected.iter().map(|r| r.timestamp).max().unwrap());
        check_counts(&reader, meta.number, expected);
    }
}

#[test]
fn timestamps_in_two_parts_are_read() {
    let expected = golden_rhythm();
    // As they came: then some step back.
    let batches: Vec<Arc<Batch>> = expected.chunks(250).map(batch).collect();
    let row = |n: u32| RowRef { batch: n / 250, row: n % 250 };
    let rows: Vec<RowRef> = (0..1500).map(row).collect();
    let (bytes, reader) = golden_file("segment-v1-split", &batches, &rows);
    for (meta, expected) in reader.directory().blocks.iter().zip(expected.chunks(BLOCK_ROWS)) {
        let timestamps = meta.offset as usize + crate::layout::BLOCK_HEADER;
        assert_eq!(bytes[timestamps], crate::chunk::Encoding::TimestampsSplit as u8);
        assert_eq!(records(&reader.read_block_as_batch(meta.number).unwrap()), expected);
    }
}

fn check_counts(reader: &SegmentReader, block: u32, expected: &[Record]) {
    let directory = reader.directory();
    let meta = &directory.blocks[block as usize];
    for &(id, rows) in &meta.levels {
        let spelling = &directory.levels[id as usize].spelling;
        assert_eq!(rows as usize, expected.iter().filter(|record| record.level == *spelling).count());
    }
    for &(id, rows) in &meta.services {
        let service = &directory.services[id as usize];
        assert_eq!(rows as usize, expected.iter().filter(|record| record.service == *service).count());
    }
    let filtered: BTreeSet<String> = meta
        .columns
        .iter()
        .filter(|column| reader.filter(block, column.key).unwrap().is_some())
        .map(|column| match column.key {
            ColumnKey::Field(id) => directory.field_names[id as usize].clone(),
            key => key.to_string(),
        })
        .collect();
    assert!(filtered.contains("unique") && filtered.contains("column `message`"), "{filtered:?}");
    let Column::Field(host) = reader.column(block, ColumnKey::Field(directory.field("host").unwrap())).unwrap() else {
        panic!("a field is no field")
    };
    assert!(host.dictionary().is_some_and(|entries| entries.len() <= 50));
}
