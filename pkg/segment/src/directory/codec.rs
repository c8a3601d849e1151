//! The bytes of the directory in the footer, version 1.
//!
//! | directory section | content |
//! |---|---|
//! | varint; per name: varint length, text | field names |
//! | varint; per service: varint length, text | services |
//! | varint; per level: u8 normalised level, u8 1 if sent, varint length, spelling | levels |
//! | varint; per block as below | blocks |
//!
//! | block | content |
//! |---|---|
//! | varint ×4 | offset minus the end of the block before (of the first: offset), length, rows, raw bytes |
//! | zigzag, varint | first timestamp minus that of the block before (wrapping), last minus first |
//! | varint | number of columns times two, plus 1 if they are those of the block before |
//! | varint × columns | unless so: column number minus the one before, the first as it is |
//! | per column: varint | length of its chunk times two, plus 1 if it has a token filter |
//! | per filter: zigzag, varint | offset minus the end of the filter before (of the first: offset), length; unit header included |
//! | varint; per service: varint ×2 | id minus the one before, rows |
//! | varint; per level spelling: varint ×2 | id minus the one before, rows |
//! | varint; per range: varint ×2 | stream ranges times two, plus 1 if exact; first id minus the last of the range before, last minus first |
//!
//! Chunks stand one behind the other, so their offsets are not stored.
//!
//! | stream section | content |
//! |---|---|
//! | varint; per stream: zigzag, varint, bytes | service id minus that of the stream before; length; canonical encoding |
//!
//! | page section | content |
//! |---|---|
//! | u32, u64 | page size, length of the `.redb` |
//! | u32 × pages | CRC32C of each page |

use super::{
    BlockMeta, ColumnKey, ColumnMeta, Directory, FilterPlace, LevelSpelling, RedbPages, StreamEntry, StreamTable,
};
use crate::encoding::input::{put_text, put_varint, put_zigzag};
use crate::encoding::{BLOCK_ROWS_MAX, Input};
use crate::error::SegmentError;
use crate::layout::BLOCK_HEADER;
use timberlog_types::{Level, StreamRef, TimeRange};

pub(crate) fn encode(directory: &Directory, out: &mut Vec<u8>) {
    for names in [&directory.field_names, &directory.services] {
        put_varint(out, names.len() as u64);
        names.iter().for_each(|name| put_text(out, name.as_bytes()));
    }
    put_varint(out, directory.levels.len() as u64);
    for level in &directory.levels {
        out.extend_from_slice(&[level.level as u8, u8::from(level.spelling.is_some())]);
        put_text(out, level.spelling.as_deref().unwrap_or_default().as_bytes());
    }
    put_varint(out, directory.blocks.len() as u64);
    let mut before = Before::default();
    for block in &directory.blocks {
        encode_block(block, &mut before, out);
    }
}

/// What the next block is told relative to.
#[derive(Default)]
struct Before {
    end: u64,
    filter_end: u64,
    start: i64,
    keys: Vec<u32>,
}

fn encode_block(block: &BlockMeta, before: &mut Before, out: &mut Vec<u8>) {
    put_varint(out, block.offset.wrapping_sub(before.end));
    put_varint(out, u64::from(block.len));
    put_varint(out, u64::from(block.rows));
    put_varint(out, block.raw_bytes);
    put_zigzag(out, block.range.start.wrapping_sub(before.start));
    put_varint(out, block.range.end.wrapping_sub(block.range.start).cast_unsigned());
    before.end = block.offset + u64::from(block.len);
    before.start = block.range.start;
    let keys: Vec<u32> = block.columns.iter().map(|column| column.key.number()).collect();
    let same = keys == before.keys;
    put_varint(out, (keys.len() as u64) << 1 | u64::from(same));
    if !same {
        put_ascending(keys.iter().copied(), out);
        before.keys = keys;
    }
    for column in &block.columns {
        put_varint(out, u64::from(column.len) << 1 | u64::from(column.filter.is_some()));
    }
    for filter in block.columns.iter().filter_map(|column| column.filter) {
        put_zigzag(out, filter.offset.wrapping_sub(before.filter_end).cast_signed());
        put_varint(out, u64::from(filter.len));
        before.filter_end = filter.offset + u64::from(filter.len);
    }
    for counts in [&block.services, &block.levels] {
        put_varint(out, counts.len() as u64);
        let mut last = 0;
        for &(id, rows) in counts {
            put_varint(out, u64::from(id - last));
            put_varint(out, u64::from(rows));
            last = id;
        }
    }
    put_varint(out, (block.streams.len() as u64) << 1 | u64::from(block.streams_exact));
    let mut last = 0;
    for &(first, end) in &block.streams {
        put_varint(out, u64::from(first - last));
        put_varint(out, u64::from(end - first));
        last = end;
    }
}

fn put_ascending(values: impl Iterator<Item = u32>, out: &mut Vec<u8>) {
    let mut last = 0;
    for value in values {
        put_varint(out, u64::from(value - last));
        last = value;
    }
}

/// Decodes the directory section; streams and identity are filled in by the caller.
pub(crate) fn decode(bytes: &[u8]) -> Result<Directory, SegmentError> {
    let mut input = Input::new(bytes);
    let mut directory =
        Directory { field_names: names(&mut input)?, services: names(&mut input)?, ..Directory::default() };
    for _ in 0..input.count_of(3)? {
        let level = Level::from_u8(input.u8()?).ok_or(SegmentError::corrupt("level is unknown"))?;
        let is_sent = input.u8()? == 1;
        let spelling = input.text()?;
        directory.levels.push(LevelSpelling { level, spelling: is_sent.then(|| spelling.to_owned()) });
    }
    let blocks = input.count_of(8)?;
    directory.blocks.reserve_exact(blocks);
    let mut before = Before::default();
    for number in 0..blocks {
        let number = u32::try_from(number).map_err(|_| SegmentError::corrupt("too many blocks"))?;
        let block = decode_block(number, &mut before, &mut input, &directory)?;
        directory.blocks.push(block);
    }
    input.finish()?;
    Ok(directory)
}

fn names(input: &mut Input<'_>) -> Result<Vec<String>, SegmentError> {
    let count = input.count_of(1)?;
    (0..count).map(|_| input.text().map(str::to_owned)).collect()
}

fn decode_block(
    number: u32,
    before: &mut Before,
    input: &mut Input<'_>,
    directory: &Directory,
) -> Result<BlockMeta, SegmentError> {
    let offset = before.end.checked_add(input.varint()?).ok_or_else(bad)?;
    let len = input.varint_u32()?;
    let rows = input.varint_u32()?;
    let raw_bytes = input.varint()?;
    let start = before.start.wrapping_add(input.zigzag()?);
    let range = TimeRange { start, end: start.wrapping_add(input.varint()?.cast_signed()) };
    if rows == 0 || rows as usize > BLOCK_ROWS_MAX || range.is_empty() {
        return Err(bad());
    }
    before.end = offset.checked_add(u64::from(len)).ok_or_else(bad)?;
    before.start = start;
    let columns = decode_columns(before, input, len, directory.field_names.len())?;
    let services = counts(input, rows, directory.services.len())?;
    let levels = counts(input, rows, directory.levels.len())?;
    let ranges = input.varint()?;
    let mut streams = Vec::new();
    let mut last = 0_u32;
    for index in 0..ranges >> 1 {
        let gap = input.varint_u32()?;
        let first = last.checked_add(gap).filter(|_| index == 0 || gap > 0).ok_or_else(bad)?;
        last = first.checked_add(input.varint_u32()?).ok_or_else(bad)?;
        streams.push((first, last));
    }
    let streams_exact = ranges & 1 == 1;
    Ok(BlockMeta { number, offset, len, rows, raw_bytes, range, columns, services, levels, streams, streams_exact })
}

fn decode_columns(
    before: &mut Before,
    input: &mut Input<'_>,
    block_len: u32,
    fields: usize,
) -> Result<Vec<ColumnMeta>, SegmentError> {
    let head = input.varint()?;
    let count = usize::try_from(head >> 1).ok().filter(|&count| count <= input.len()).ok_or_else(bad)?;
    if head & 1 == 0 {
        before.keys.clear();
        let mut last = 0_u32;
        for index in 0..count {
            let gap = input.varint_u32()?;
            last = last.checked_add(gap).filter(|_| index == 0 || gap > 0).ok_or_else(bad)?;
            before.keys.push(last);
        }
    }
    if before.keys.len() != count || !before.keys.starts_with(&[0, 1, 2, 3]) {
        return Err(bad());
    }
    let mut columns = Vec::with_capacity(count);
    let mut offset = BLOCK_HEADER as u32;
    let mut filtered = Vec::new();
    for &number in &before.keys {
        let key = ColumnKey::from_number(number);
        if let ColumnKey::Field(id) = key
            && id as usize >= fields
        {
            return Err(bad());
        }
        let head = input.varint()?;
        let len = u32::try_from(head >> 1).map_err(|_| bad())?;
        if head & 1 == 1 {
            filtered.push(columns.len());
        }
        columns.push(ColumnMeta { key, offset, len, filter: None });
        offset = offset.checked_add(len).filter(|&end| end <= block_len).ok_or_else(bad)?;
    }
    if offset != block_len {
        return Err(bad());
    }
    for index in filtered {
        let offset = before.filter_end.checked_add_signed(input.zigzag()?).ok_or_else(bad)?;
        let len = input.varint_u32()?;
        before.filter_end = offset.checked_add(u64::from(len)).ok_or_else(bad)?;
        columns[index].filter = Some(FilterPlace { offset, len });
    }
    Ok(columns)
}

/// Rows by id; they must add up to the rows of the block.
fn counts(input: &mut Input<'_>, rows: u32, ids: usize) -> Result<Vec<(u32, u32)>, SegmentError> {
    let count = input.count_of(2)?;
    let mut counts = Vec::with_capacity(count);
    let (mut last, mut total) = (0_u32, 0_u32);
    for index in 0..count {
        let gap = input.varint_u32()?;
        last = last.checked_add(gap).filter(|&id| (id as usize) < ids && (index == 0 || gap > 0)).ok_or_else(bad)?;
        let part = input.varint_u32()?;
        total = total.checked_add(part).ok_or_else(bad)?;
        counts.push((last, part));
    }
    if total == rows { Ok(counts) } else { Err(bad()) }
}

fn bad() -> SegmentError {
    SegmentError::corrupt("directory is malformed")
}

pub(crate) fn encode_streams(streams: &StreamTable, out: &mut Vec<u8>) {
    put_varint(out, streams.len() as u64);
    let mut last = 0_i64;
    for (entry, stream) in streams.entries.iter().zip(streams.iter()) {
        let service = i64::from(entry.service);
        put_zigzag(out, service - last);
        last = service;
        put_text(out, stream.as_bytes());
    }
}

pub(crate) fn decode_streams(bytes: &[u8], services: usize) -> Result<StreamTable, SegmentError> {
    let bad = || SegmentError::corrupt("stream table is malformed");
    let mut input = Input::new(bytes);
    let count = input.count_of(5)?;
    let mut table = StreamTable { bytes: Vec::with_capacity(bytes.len()), entries: Vec::with_capacity(count) };
    let mut service = 0_i64;
    for _ in 0..count {
        service = service.checked_add(input.zigzag()?).ok_or_else(bad)?;
        let id = u32::try_from(service).ok().filter(|&id| (id as usize) < services).ok_or_else(bad)?;
        let len = input.count(input.len())?;
        let stream = StreamRef::parse(input.take(len)?).ok_or_else(bad)?;
        table.bytes.extend_from_slice(stream.as_bytes());
        let end = u32::try_from(table.bytes.len()).map_err(|_| bad())?;
        table.entries.push(StreamEntry { end, service: id, hash: stream.hash() });
    }
    input.finish()?;
    Ok(table)
}

pub(crate) fn encode_pages(pages: &RedbPages, out: &mut Vec<u8>) {
    out.extend_from_slice(&pages.page_size.to_le_bytes());
    out.extend_from_slice(&pages.len.to_le_bytes());
    pages.crcs.iter().for_each(|crc| out.extend_from_slice(&crc.to_le_bytes()));
}

pub(crate) fn decode_pages(bytes: &[u8]) -> Result<RedbPages, SegmentError> {
    let mut input = Input::new(bytes);
    let (page_size, len) = (input.u32()?, input.u64()?);
    let mut crcs = Vec::with_capacity(input.len() / 4);
    while input.len() > 0 {
        crcs.push(input.u32()?);
    }
    if page_size == 0 || len.div_ceil(u64::from(page_size)) != crcs.len() as u64 {
        return Err(SegmentError::corrupt("page checksums do not cover the index file"));
    }
    Ok(RedbPages { page_size, len, crcs })
}
