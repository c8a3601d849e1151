//! Columns: each encoding by a block that has one field of its kind, and each column read back.

use crate::sample::{self, BLOCK_ROWS};
use criterion::{BatchSize, BenchmarkId, Criterion, Throughput};
use std::hint::black_box;
use std::sync::Arc;
use timberlog_segment::{BlockEncoder, Column, ColumnKey, MessageEncoder, TextMatcher};
use timberlog_types::{Batch, BatchBuilder, RowSet, ValueKind};

/// The value of a row, and what kind it is.
type Value = fn(usize) -> (ValueKind, String);

/// Fields that lead to different encodings.
const FIELDS: [(&str, Option<Value>); 9] = [
    ("none", None),
    ("one_value", Some(|_| (ValueKind::String, "production".to_owned()))),
    ("few_values", Some(|row| (ValueKind::String, format!("node-{:02}.example.net", mixed(row) % 50)))),
    ("hex_ids", Some(|row| (ValueKind::String, format!("{:016x}", mixed(row / 20))))),
    ("texts", Some(|row| (ValueKind::String, format!("/cart/{}/items?page={}", mixed(row) % 9_000, row % 7)))),
    ("integers", Some(|row| (ValueKind::Number, (mixed(row) % 3_000).to_string()))),
    ("counter", Some(|row| (ValueKind::Number, (1_000_000 + row * 3).to_string()))),
    ("decimals", Some(|row| (ValueKind::Number, format!("{}.{:03}", mixed(row) % 90, row % 1_000)))),
    ("booleans", Some(|row| (ValueKind::Bool, if mixed(row).is_multiple_of(9) { "true" } else { "false" }.to_owned()))),
];

/// Numbers without a pattern, the same each time.
fn mixed(row: usize) -> u64 {
    let state = (row as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    (state ^ (state >> 31)).wrapping_mul(0xbf58_476d_1ce4_e5b9) >> 7
}

/// A record each millisecond: differences that are packed as they are.
fn regular(row: usize) -> i64 {
    row as i64 * 1_000_000
}

/// Twenty hosts that tell of something every ten seconds, some microseconds early or late: differences in two parts.
fn jittered(row: usize) -> i64 {
    let (round, host) = (row as i64 / 20, row as i64 % 20);
    round * 10_000_000_000 + host * 1_000_000 + (mixed(row) % 300_000) as i64
}

fn batch(value: Option<Value>, time: fn(usize) -> i64) -> Arc<Batch> {
    let mut builder = BatchBuilder::new();
    for row in 0..BLOCK_ROWS {
        let stream = builder.stream("web", &[("service", "web")]).expect("a stream");
        let level = builder.level(Some("info")).expect("a level");
        if let Some(value) = value {
            let (kind, text) = value(row);
            builder.field("field", kind, text.as_bytes()).expect("a field");
        }
        builder.finish_row(time(row), stream, level, b"m").expect("a row");
    }
    Arc::new(builder.finish().expect("a batch"))
}

/// A block of 5,000 rows, of which one field differs, or the timestamps; `none` is what all of them have besides.
pub fn encode(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("columns/encode");
    group.throughput(Throughput::Elements(BLOCK_ROWS as u64));
    let fields = FIELDS.into_iter().map(|(name, value)| (name, batch(value, regular)));
    for (name, batch) in fields.chain([("jittered_timestamps", batch(None, jittered))]) {
        let rows = sample::rows(&batch);
        let batches = [batch];
        // As in a flush: one encoder, whose buffers are there already.
        let mut encoder = BlockEncoder::new(1);
        let mut writer = sample::writer(Arc::new(sample::Nothing));
        group.bench_function(name, |bencher| {
            bencher.iter(|| writer.write_block(&mut encoder, &batches, &rows).expect("a block"))
        });
    }
    group.finish();
}

/// Each column of a block of made-up traffic: read, its checksum compared, decoded.
pub fn decode(criterion: &mut Criterion) {
    let (reader, _) = sample::segment(1);
    let directory = reader.directory();
    let mut group = criterion.benchmark_group("columns/decode");
    group.throughput(Throughput::Elements(BLOCK_ROWS as u64));
    for column in &directory.blocks[0].columns {
        let name = match column.key {
            ColumnKey::Field(number) => format!("field_{}", directory.field_names[number as usize]),
            key => format!("{key:?}").to_lowercase(),
        };
        let read = || reader.column(0, column.key).expect("a column");
        group.bench_with_input(BenchmarkId::from_parameter(name), column, |bencher, _| bencher.iter(read));
    }
    group.finish();
}

struct Literal(Vec<Vec<u8>>);

impl TextMatcher for Literal {
    fn is_match(&self, text: &[u8]) -> bool {
        memchr::memmem::find(text, &self.0[0]).is_some()
    }

    fn literals(&self) -> &[Vec<u8>] {
        &self.0
    }

    fn is_plain_literal(&self) -> bool {
        true
    }
}

/// Message templates: lines to streams and tokens, and back; a search and a count among them.
pub fn messages(criterion: &mut Criterion) {
    let batch = sample::batch(BLOCK_ROWS);
    let lines: Vec<&[u8]> = (0..batch.rows()).map(|row| batch.message(row)).collect();
    let mut group = criterion.benchmark_group("messages");
    group.throughput(Throughput::Bytes(lines.iter().map(|line| line.len() as u64).sum()));
    let mut encoder = MessageEncoder::new(1);
    let (mut payload, mut tokens) = (Vec::new(), Vec::new());
    group.bench_function("encode", |bencher| {
        bencher.iter(|| {
            payload.clear();
            tokens.clear();
            encoder.encode(lines.iter().copied(), &mut payload, &mut tokens);
        });
    });
    let (reader, _) = sample::segment(1);
    // Opened anew each time: a column keeps what it has decompressed.
    let open = || match reader.column(0, ColumnKey::Message).expect("a column") {
        Column::Message(messages) => messages,
        _ => unreachable!("messages have a column of their own"),
    };
    let all = RowSet::all(BLOCK_ROWS);
    let matcher = Literal(vec![b"authentication failure".to_vec()]);
    group.bench_function("read_all", |bencher| {
        let read = |column: timberlog_segment::MessageColumn| {
            let mut bytes = 0;
            column.read(&all, &mut |_, text| bytes += text.len()).expect("messages");
            bytes
        };
        bencher.iter_batched(open, read, BatchSize::PerIteration);
    });
    group.bench_function("search", |bencher| {
        let search =
            |column: timberlog_segment::MessageColumn| column.search(&matcher, &all).expect("messages").count();
        bencher.iter_batched(open, search, BatchSize::PerIteration);
    });
    let warm = open();
    group.bench_function("count_again", |bencher| bencher.iter(|| black_box(&warm).count(&matcher)));
    group.finish();
}
