//! What was written is what is read, whatever the records look like.

use super::*;
use crate::{Column, ColumnKey, FilterGroup};
use proptest::collection::{btree_map, vec};
use proptest::prelude::*;
use std::collections::BTreeMap;
use timberlog_types::{RowSet, Value};

fn check(batches: &[Arc<Batch>], block_rows: usize) {
    let rows = sorted_rows(batches);
    let expected: Vec<Record> = {
        let all: Vec<Vec<Record>> = batches.iter().map(|batch| records(batch)).collect();
        rows.iter().map(|row| all[row.batch as usize][row.row as usize].clone()).collect()
    };
    let (bytes, finished) = write(batches, &rows, block_rows);
    let reader = open(&bytes);
    assert_eq!(*reader.directory(), finished.directory);
    assert_eq!(reader.directory().tenant, "team-1");
    assert_eq!(reader.redb_pages().unwrap().crcs, [1, 2, 3]);
    let mut damages = Vec::new();
    reader.verify(&mut |damage| damages.push(damage));
    assert!(damages.is_empty(), "{damages:?}");
    for (meta, expected) in reader.directory().blocks.iter().zip(expected.chunks(block_rows)) {
        let batch = reader.read_block_as_batch(meta.number).unwrap();
        assert_eq!(records(&batch), expected);
        check_columns(&reader, meta.number, expected);
    }
    assert_eq!(reader.directory().rows(), expected.len() as u64);
    let forwards = write_encoded(batches, &rows, block_rows, false);
    assert!(forwards == write_encoded(batches, &rows, block_rows, true), "the order of encoding shows");
    let reader = open(&forwards);
    for (block, expected) in expected.chunks(block_rows).enumerate() {
        assert_eq!(records(&reader.read_block_as_batch(block as u32).unwrap()), expected);
    }
}

/// Writes blocks that are encoded one after the other, or from the last to the first by two encoders in turn.
fn write_encoded(batches: &[Arc<Batch>], rows: &[RowRef], block_rows: usize, is_backwards: bool) -> Vec<u8> {
    let file = Arc::new(MemoryFile::default());
    let options = WriterOptions { segment_id: "01TEST".into(), tenant: Tenant::default(), zstd_level: 1 };
    let mut writer = SegmentWriter::new(file.clone(), options).unwrap();
    writer.learn(batches, rows).unwrap();
    let mut encoders = [BlockEncoder::new(1), BlockEncoder::new(1)];
    let mut blocks: Vec<_> = rows.chunks(block_rows).enumerate().collect();
    if is_backwards {
        blocks.reverse();
    }
    let encode = |(number, rows): (usize, &[RowRef])| {
        let encoder = &mut encoders[number % 2 * usize::from(is_backwards)];
        encoder.encode(writer.tables(), number as u32, batches, rows).unwrap()
    };
    let mut encoded: Vec<_> = blocks.into_iter().map(encode).collect();
    if is_backwards {
        encoded.reverse();
    }
    encoded.into_iter().for_each(|block| drop(writer.append(block).unwrap()));
    writer.finish(None).unwrap();
    std::mem::take(&mut *file.0.lock().unwrap())
}

fn check_columns(reader: &SegmentReader, block: u32, expected: &[Record]) {
    let directory = reader.directory();
    // Of thousands of fields, some; the batch that is read back has them all.
    let step = directory.field_names.len().div_ceil(60).max(1);
    for (id, name) in directory.field_names.iter().enumerate().step_by(step) {
        let key = ColumnKey::Field(id as u32);
        let value = |record: &Record| record.fields.iter().find(|field| field.0 == *name).cloned();
        if directory.blocks[block as usize].column(key).is_none() {
            assert!(expected.iter().all(|record| value(record).is_none()));
            continue;
        }
        let Column::Field(column) = reader.column(block, key).unwrap() else { panic!() };
        let present = column.present();
        for (row, record) in expected.iter().enumerate() {
            let found = column.get(row).map(|v| (name.clone(), v.kind, String::from_utf8(v.text.to_vec()).unwrap()));
            assert_eq!(found, value(record), "row {row}");
            assert_eq!(present.contains(row), found.is_some());
        }
        check_answers(&column, expected.len());
    }
}

/// Selecting and counting agree with looking at each row.
fn check_answers(column: &crate::ValueColumn, rows: usize) {
    let test = |value: Value<'_>| value.text.len().is_multiple_of(2) && value.kind != ValueKind::Null;
    for missing in [false, true] {
        let expected = RowSet::from_fn(rows, |row| column.get(row).map_or(missing, test));
        assert_eq!(column.select(missing, test), expected);
    }
    let thirds = RowSet::from_fn(rows, |row| row % 3 == 0);
    for within in [None, Some(&thirds)] {
        let Some(counts) = column.count_by_code(within) else { continue };
        let mut expected = vec![0_u64; counts.len()];
        for row in (0..rows).filter(|&row| within.is_none_or(|set| set.contains(row))) {
            expected[column.code(row).unwrap_or(counts.len() - 1)] += 1;
        }
        assert_eq!(counts, expected);
    }
}

fn kind() -> impl Strategy<Value = ValueKind> {
    (0_u8..5).prop_map(|number| ValueKind::from_u8(number).unwrap())
}

fn text() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => "[a-c]{0,2}",
        2 => (0_i64..5).prop_map(|n| n.to_string()),
        1 => any::<i64>().prop_map(|n| n.to_string()),
        1 => "[0-9a-f]{16}",
        1 => "\\PC{0,12}",
    ]
}

fn record() -> impl Strategy<Value = Record> {
    let labels = btree_map("[ab]", "[xy]", 0..3);
    let level = prop_oneof![Just(None), "(info|INFO|warn|weird)".prop_map(Some)];
    let fields = btree_map("[a-f]", (kind(), text()), 0..5);
    (0_i64..1000, "(web|db)?", labels, level, text(), fields).prop_map(
        |(timestamp, service, labels, level, message, fields): (_, _, BTreeMap<_, _>, _, _, BTreeMap<_, _>)| Record {
            timestamp,
            service,
            labels: labels.into_iter().collect(),
            level,
            message,
            fields: fields.into_iter().map(|(name, (kind, text))| (name, kind, text)).collect(),
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]
    #[test]
    fn random_batches_come_back(
        batches in vec(vec(record(), 1..30), 1..6),
        block_rows in 1_usize..60,
    ) {
        let batches: Vec<_> = batches.iter().map(|records| batch(records)).collect();
        check(&batches, block_rows);
    }
}

/// Every encoding of a field, at the size of a real block.
#[test]
fn a_large_block_comes_back() {
    let mut seed = 7_u64;
    let mut random = |below: u64| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (seed >> 33) % below
    };
    let made: Vec<Record> = (0..6000)
        .map(|n| {
            let mut record = Record::new(1_700_000_000_000_000_000 + n * 86_400_123, "web", &format!("message {n}"))
                .field("constant", ValueKind::String, "x")
                .field("host", ValueKind::String, format!("node-{:02}", random(50)))
                .field("trace_id", ValueKind::String, format!("{:016x}", (n / 20).wrapping_mul(0x09e3_779b_97f4_a7c1)))
                .field("unique", ValueKind::String, format!("{:016x}{n:016x}", random(1 << 31)))
                .field("status", ValueKind::Number, [200, 404, 500][random(3) as usize])
                .field("latency", ValueKind::Number, random(100_000))
                .field("ratio", ValueKind::Number, format!("0.{}", random(1000)))
                .field("big", ValueKind::Number, format!("{}00000000000000000000", random(10)))
                .field("mixed", ValueKind::from_u8(random(3) as u8).unwrap(), random(4));
            if n % 3 == 0 {
                record = record.field("third", ValueKind::Bool, n % 2 == 0);
            }
            if n % 1000 == 1 {
                record = record.field("rare", ValueKind::String, format!("only {n}"));
            }
            record.level = (n % 5 != 0).then(|| "info".to_owned());
            record
        })
        .collect();
    let whole = [batch(&made)];
    check(&whole, 6000);
    let small: Vec<_> = made.chunks(7).map(batch).collect();
    check(&small, 4000);
    let (bytes, finished) = write(&whole, &sorted_rows(&whole), 6000);
    let meta = &finished.directory.blocks[0];
    let len = |name: &str| meta.column(ColumnKey::Field(finished.directory.field(name).unwrap())).unwrap().len;
    assert!(len("host") < 6000 * 3 / 4 + 200, "{}", len("host"));
    assert!(len("trace_id") < 6000 * 6 / 10, "{}", len("trace_id"));
    assert!(len("rare") < 200);
    assert!(len("constant") < 24);
    let reader = open(&bytes);
    for (name, has_tokens) in [("host", false), ("trace_id", true), ("unique", true), ("latency", false)] {
        let key = ColumnKey::Field(finished.directory.field(name).unwrap());
        assert_eq!(reader.filter(0, key).unwrap().is_some(), has_tokens, "{name}");
    }
}

#[test]
fn ten_thousand_field_names_come_back() {
    let made: Vec<Record> = (0..2600_i64)
        .map(|n| {
            let mut record = Record::new(n, "web", "m").field("all", ValueKind::Number, n % 3);
            for k in 0..4 {
                record = record.field(&format!("name-{:05}", (n * 7 + k * 2503) % 10_000), ValueKind::String, k);
            }
            record
        })
        .collect();
    let batches: Vec<_> = made.chunks(500).map(batch).collect();
    check(&batches, 2600);
    // One record a batch: every field is dense in its batch, and still rare in the block.
    let single: Vec<_> = made[..600].iter().map(|record| batch(std::slice::from_ref(record))).collect();
    check(&single, 600);
}

#[test]
fn many_streams_come_back() {
    let made: Vec<Record> = (0..4000)
        .map(|n| {
            let mut record = Record::new(n, &format!("service-{}", n % 7), "m");
            record.labels.push(("user".into(), format!("u{}", n * 7919 % 3001)));
            record
        })
        .collect();
    check(&[batch(&made)], 4000);
    check(&[batch(&made)], 100);
}

#[test]
fn blocks_may_come_from_other_batches_each() {
    let file = Arc::new(MemoryFile::default());
    let options = WriterOptions { segment_id: "S".into(), tenant: Tenant::default(), zstd_level: 1 };
    let mut writer = SegmentWriter::new(file.clone(), options).unwrap();
    let mut expected = Vec::new();
    for n in 0..5 {
        let record = Record::new(n, &format!("s{n}"), &format!("m{n}")).field(&format!("f{n}"), ValueKind::String, n);
        writer
            .write_block(
                &mut BlockEncoder::new(1),
                &[batch(std::slice::from_ref(&record))],
                &[RowRef { batch: 0, row: 0 }],
            )
            .unwrap();
        expected.push(record);
    }
    writer.finish(None).unwrap();
    let reader = open(&file.0.lock().unwrap());
    assert!(reader.redb_pages().is_none());
    for (n, record) in expected.into_iter().enumerate() {
        assert_eq!(records(&reader.read_block_as_batch(n as u32).unwrap()), [record]);
    }
}

#[test]
fn a_block_without_rows_is_refused() {
    let options = WriterOptions { segment_id: "S".into(), tenant: Tenant::default(), zstd_level: 1 };
    let mut writer = SegmentWriter::new(Arc::new(MemoryFile::default()), options).unwrap();
    assert!(writer.write_block(&mut BlockEncoder::new(1), &[], &[]).is_err());
    let (batches, rows) = ([batch(&[Record::new(1, "web", "m")])], [RowRef { batch: 0, row: 0 }]);
    let error = BlockEncoder::new(1).encode(writer.tables(), 0, &batches, &rows).unwrap_err();
    assert!(error.to_string().contains("has not learnt of these rows"), "{error}");
    writer.learn(&batches, &rows).unwrap();
    let block = BlockEncoder::new(1).encode(writer.tables(), 1, &batches, &rows).unwrap();
    assert!(writer.append(block).unwrap_err().to_string().contains("not the next one"));
}

#[test]
fn rows_that_were_not_learnt_are_refused_and_the_encoder_goes_on() {
    let of = |service: &str, level: &str| Record { level: Some(level.to_owned()), ..Record::new(1, service, "m") };
    let with = |record: Record, name: &str| record.field(name, ValueKind::String, "v");
    // Each differs from the first in one thing: stream, level, fields.
    let batches = [batch(&[of("a", "info"), of("b", "info"), of("a", "warn"), with(of("a", "info"), "f")])];
    let row = |row| RowRef { batch: 0, row };
    let options = WriterOptions { segment_id: "S".into(), tenant: Tenant::default(), zstd_level: 1 };
    let mut writer = SegmentWriter::new(Arc::new(MemoryFile::default()), options).unwrap();
    writer.learn(&batches, &[row(0)]).unwrap();
    let mut encoder = BlockEncoder::new(1);
    for other in 1..4 {
        for rows in [vec![row(other)], vec![row(0), row(other)]] {
            let error = encoder.encode(writer.tables(), 0, &batches, &rows).unwrap_err();
            assert!(error.to_string().contains("has not learnt of these rows"), "{error}");
            let encoded = encoder.encode(writer.tables(), 0, &batches, &[row(0)]).unwrap();
            assert!(encoded == BlockEncoder::new(1).encode(writer.tables(), 0, &batches, &[row(0)]).unwrap());
        }
    }
}

/// Records of blocks of 100 rows, of which each third one has no field `id`.
fn with_ids(count: i64) -> Vec<Record> {
    let record = |n: i64| Record::new(n, "a", &format!("message {n}"));
    let with_id = |n: i64| record(n).field("id", ValueKind::String, format!("v{n}"));
    (0..count).map(|n| if n / 100 % 3 == 2 { record(n) } else { with_id(n) }).collect()
}

#[test]
fn token_filters_of_a_group_are_those_of_its_blocks() {
    let batches = [batch(&with_ids(4_000))];
    let (bytes, _) = write(&batches, &sorted_rows(&batches), 100);
    let reader = open(&bytes);
    let id = ColumnKey::Field(reader.directory().field("id").unwrap());
    let mut without = 0;
    for block in 0..40 {
        let group = reader.filter_group(FilterGroup::of_block(block), id).unwrap().unwrap();
        let filter = reader.filter(block, id).unwrap();
        without += u32::from(filter.is_none());
        assert_eq!(group.get(block).map(<[u8]>::to_vec), filter, "block {block}");
        assert!(group.get(block + 64).is_none());
    }
    assert_eq!(without, 13);
    assert!(reader.filter_group(0, ColumnKey::Level).unwrap().is_none());
    assert!(reader.filter_group(u32::MAX, id).unwrap().is_none());
}

#[test]
fn long_token_filters_are_read_one_by_one() {
    let with_id = |n: i64| Record::new(n, "a", "m").field("id", ValueKind::String, format!("v{n}"));
    let batches = [batch(&(0..33_000).map(with_id).collect::<Vec<_>>())];
    let reader = open(&write(&batches, &sorted_rows(&batches), 33_000).0);
    let id = ColumnKey::Field(reader.directory().field("id").unwrap());
    // The writer of tests takes eight bytes a value.
    assert!(reader.filter(0, id).unwrap().unwrap().len() > 256 << 10);
    assert!(reader.filter_group(0, id).unwrap().is_none());
}
