//! Records made of any bytes, written as a segment and read back: the same records.
//!
//! A record is a line: a byte each for time, stream and level, then fields `name=value`, each ended by
//! `;`, then the message.

use crate::batch::same;
use crate::memory::MemoryFile;
use crate::segment::in_group;
use std::sync::Arc;
use timberlog_index::TokenFilter;
use timberlog_segment::{BlockEncoder, ColumnKey, RowRef, SegmentReader, SegmentWriter, WriterOptions};
use timberlog_types::{Batch, BatchBuilder, Tenant, ValueKind};

const BLOCKS_MAX: usize = 3;

/// See the module.
pub fn blocks(input: &[u8]) {
    let Some((&cut, lines)) = input.split_first() else { return };
    let Some(batch) = batch_of(lines) else { return };
    let rows = batch.rows();
    let per_block = rows.div_ceil(1 + usize::from(cut) % BLOCKS_MAX);
    let file = MemoryFile::new(&[]);
    let options = WriterOptions { segment_id: "S".to_owned(), tenant: Tenant::default(), zstd_level: 1 };
    let mut writer = SegmentWriter::new(file.clone(), options).expect("memory");
    let mut encoder = BlockEncoder::new(1);
    let batches = [Arc::new(batch)];
    let all: Vec<RowRef> = (0..rows).map(|row| RowRef { batch: 0, row: row as u32 }).collect();
    let mut filters = Vec::new();
    for rows in all.chunks(per_block) {
        let mut block = writer.write_block(&mut encoder, &batches, rows).expect("what a batch holds");
        // Few columns have tokens enough for a filter: one more, whose filter says nothing of it.
        block.tokens.push((ColumnKey::Timestamp, vec![u64::from(block.meta.number)]));
        for (key, tokens) in &mut block.tokens {
            let filter = TokenFilter::build(tokens);
            writer.add_filter(block.meta.number, *key, filter.clone());
            filters.push((block.meta.number, *key, filter));
        }
    }
    writer.finish(None).expect("memory");
    let reader = SegmentReader::open(file).expect("what was written");
    reader.verify(&mut |damage| panic!("{}", damage.error));
    for (number, rows) in all.chunks(per_block).enumerate() {
        let read = reader.read_block_as_batch(number as u32).expect("what was written");
        same(&read, &pick(&batches[0], rows));
    }
    for (block, key, filter) in &filters {
        assert_eq!(reader.filter(*block, *key).expect("what was written").as_ref(), Some(filter));
        in_group(&reader, *block, *key, Some(filter));
    }
}

/// The records of lines; also what other targets write.
pub fn batch_of(lines: &[u8]) -> Option<Batch> {
    let mut builder = BatchBuilder::new();
    for line in lines.split(|&byte| byte == b'\n').take(1 << 12) {
        let (head, mut rest) = line.split_at(line.len().min(3));
        let [time, stream, level] = [0, 1, 2].map(|at| head.get(at).copied().unwrap_or_default());
        while let Some(end) = rest.iter().position(|&byte| byte == b';') {
            let field = &rest[..end];
            rest = &rest[end + 1..];
            let Ok(field) = std::str::from_utf8(field) else { continue };
            let (name, value) = field.split_once('=').unwrap_or((field, ""));
            let kind = ValueKind::from_u8((name.len() + value.len()) as u8 % 5)?;
            builder.field(name, kind, value.as_bytes()).ok()?;
        }
        let labels = [("env", "dev"), ("node", "n1"), ("node", "n2")];
        let labels = &labels[usize::from(stream % 3)..];
        let stream = builder.stream(["", "web", "api"][usize::from(stream / 3 % 3)], &labels[..1]).ok()?;
        let level = builder.level([None, Some("info"), Some("WARN"), Some("")][usize::from(level % 4)]).ok()?;
        let time = match time {
            255 => i64::MAX,
            254 => i64::MIN,
            time => i64::from(time) * 1_000_000_007,
        };
        builder.finish_row(time, stream, level, String::from_utf8_lossy(rest).as_bytes()).ok()?;
    }
    builder.finish()
}

/// Some records of a batch.
fn pick(batch: &Batch, rows: &[RowRef]) -> Batch {
    let mut builder = BatchBuilder::new();
    for row in rows.iter().map(|row| row.row as usize) {
        for field in batch.fields() {
            if let Some(value) = field.get(row) {
                builder.field(field.name(), value.kind, value.text).expect("of a batch");
            }
        }
        let stream = batch.stream(batch.stream_id(row));
        let labels: Vec<(&str, &str)> = stream.labels().collect();
        let stream = builder.stream(stream.service(), &labels).expect("of a batch");
        let level = builder.level_of(batch.level(batch.level_id(row))).expect("of a batch");
        builder.finish_row(batch.timestamp(row), stream, level, batch.message(row)).expect("of a batch");
    }
    builder.finish().expect("rows")
}
