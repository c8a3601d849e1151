//! The value of the `blocks` table: a block's metadata, about a hundred bytes and two for each
//! column, service, level and range of streams. All numbers are variable-length ([`crate::varint`]);
//! signed ones are folded as `(n << 1) ^ (n >> 63)`. Version 1:
//!
//! | content |
//! |---|
//! | offset, length, rows, raw bytes |
//! | first timestamp, signed; last timestamp minus first, modulo 2^64 |
//! | number of columns; for each: key (0 timestamp, 1 stream, 2 level, 3 message, 4 + id of a field), offset minus the end of the column before, signed; length; length of the token filter, 0 if it has none; if it has one, its offset minus the end of the filter before, signed (before the first: minus 0) |
//! | number of services; for each: id, rows |
//! | number of level spellings; for each: id, normalised level, rows |
//! | 1 if the streams are exact, else 0; number of ranges of streams; for each: first id minus the last id before, signed; last id minus first |

use crate::varint::{Reader, put};
use timberlog_segment::{BlockMeta, ColumnKey, ColumnMeta, FilterPlace, LevelSpelling};
use timberlog_types::{Level, TimeRange};

/// Appends the entry of a block; `None` if it names a level spelling that is not there.
pub(crate) fn encode(block: &BlockMeta, levels: &[LevelSpelling], bytes: &mut Vec<u8>) -> Option<()> {
    put(bytes, block.offset);
    put(bytes, u64::from(block.len));
    put(bytes, u64::from(block.rows));
    put(bytes, block.raw_bytes);
    put(bytes, fold(block.range.start));
    put(bytes, block.range.end.wrapping_sub(block.range.start) as u64);
    put(bytes, block.columns.len() as u64);
    let (mut column_end, mut filter_end) = (0_i64, 0_i64);
    for column in &block.columns {
        put(bytes, key_number(column.key));
        put(bytes, fold(i64::from(column.offset) - column_end));
        put(bytes, u64::from(column.len));
        column_end = i64::from(column.offset) + i64::from(column.len);
        put(bytes, column.filter.map_or(0, |filter| u64::from(filter.len)));
        if let Some(filter) = column.filter {
            put(bytes, fold((filter.offset as i64).wrapping_sub(filter_end)));
            filter_end = (filter.offset as i64).wrapping_add(i64::from(filter.len));
        }
    }
    put(bytes, block.services.len() as u64);
    for &(id, rows) in &block.services {
        put(bytes, u64::from(id));
        put(bytes, u64::from(rows));
    }
    put(bytes, block.levels.len() as u64);
    for &(id, rows) in &block.levels {
        put(bytes, u64::from(id));
        put(bytes, levels.get(id as usize)?.level as u64);
        put(bytes, u64::from(rows));
    }
    put(bytes, u64::from(block.streams_exact));
    put(bytes, block.streams.len() as u64);
    let mut last = 0_i64;
    for &(first, end) in &block.streams {
        put(bytes, fold(i64::from(first) - last));
        put(bytes, u64::from(end.checked_sub(first)?));
        last = i64::from(end);
    }
    Some(())
}

/// A block, and the normalised level of each of its spellings.
#[derive(Clone, Debug, PartialEq)]
pub struct IndexedBlock {
    /// The block, as the directory has it.
    pub meta: BlockMeta,
    /// For each entry of [`BlockMeta::levels`] its normalised level.
    pub normalised: Vec<Level>,
}

/// Reads an entry; `None` if the bytes are malformed.
pub(crate) fn decode(number: u32, bytes: &[u8]) -> Option<IndexedBlock> {
    let reader = &mut Reader::new(bytes);
    let (offset, len, rows, raw_bytes) = (reader.u64()?, reader.u32()?, reader.u32()?, reader.u64()?);
    let start = unfold(reader.u64()?);
    let range = TimeRange { start, end: start.wrapping_add(reader.u64()? as i64) };
    let count = reader.count(4)?;
    let mut columns = Vec::with_capacity(count);
    let (mut column_end, mut filter_end) = (0_i64, 0_i64);
    for _ in 0..count {
        let key = key_of(reader.u64()?)?;
        let offset = u32::try_from(column_end.checked_add(unfold(reader.u64()?))?).ok()?;
        let len = reader.u32()?;
        column_end = i64::from(offset) + i64::from(len);
        let filter = match reader.u32()? {
            0 => None,
            len => {
                let offset = filter_end.wrapping_add(unfold(reader.u64()?));
                filter_end = offset.wrapping_add(i64::from(len));
                Some(FilterPlace { offset: offset as u64, len })
            }
        };
        columns.push(ColumnMeta { key, offset, len, filter });
    }
    let count = reader.count(2)?;
    let mut services = Vec::with_capacity(count);
    for _ in 0..count {
        services.push((reader.u32()?, reader.u32()?));
    }
    let count = reader.count(3)?;
    let (mut levels, mut normalised) = (Vec::with_capacity(count), Vec::with_capacity(count));
    for _ in 0..count {
        let id = reader.u32()?;
        normalised.push(Level::from_u8(u8::try_from(reader.u64()?).ok()?)?);
        levels.push((id, reader.u32()?));
    }
    let streams_exact = match reader.u64()? {
        0 => false,
        1 => true,
        _ => return None,
    };
    let count = reader.count(2)?;
    let mut streams = Vec::with_capacity(count);
    let mut last = 0_i64;
    for _ in 0..count {
        let first = u32::try_from(last.checked_add(unfold(reader.u64()?))?).ok()?;
        let end = first.checked_add(reader.u32()?)?;
        last = i64::from(end);
        streams.push((first, end));
    }
    let meta =
        BlockMeta { number, offset, len, rows, raw_bytes, range, columns, services, levels, streams, streams_exact };
    reader.is_at_end().then_some(IndexedBlock { meta, normalised })
}

fn key_number(key: ColumnKey) -> u64 {
    match key {
        ColumnKey::Timestamp => 0,
        ColumnKey::Stream => 1,
        ColumnKey::Level => 2,
        ColumnKey::Message => 3,
        ColumnKey::Field(id) => 4 + u64::from(id),
    }
}

fn key_of(number: u64) -> Option<ColumnKey> {
    Some(match number {
        0 => ColumnKey::Timestamp,
        1 => ColumnKey::Stream,
        2 => ColumnKey::Level,
        3 => ColumnKey::Message,
        _ => ColumnKey::Field(u32::try_from(number - 4).ok()?),
    })
}

fn fold(number: i64) -> u64 {
    (number << 1 ^ number >> 63) as u64
}

fn unfold(number: u64) -> i64 {
    (number >> 1) as i64 ^ -((number & 1) as i64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn extremes_come_back_and_damage_never_panics() {
        let filter = |offset| Some(FilterPlace { offset, len: u32::MAX });
        let column = |key, offset, filter| ColumnMeta { key, offset, len: u32::MAX, filter };
        let meta = BlockMeta {
            number: 7,
            offset: u64::MAX,
            len: u32::MAX,
            rows: 0,
            raw_bytes: u64::MAX,
            range: TimeRange { start: i64::MIN, end: i64::MAX },
            columns: vec![
                column(ColumnKey::Timestamp, u32::MAX, None),
                column(ColumnKey::Message, 0, filter(u64::MAX)),
                column(ColumnKey::Field(0), 5, filter(0)),
                column(ColumnKey::Field(u32::MAX), u32::MAX, filter(1 << 63)),
            ],
            services: vec![(u32::MAX, u32::MAX), (0, 0)],
            levels: vec![(1, u32::MAX), (0, 1)],
            streams: vec![(u32::MAX, u32::MAX), (0, u32::MAX)],
            streams_exact: true,
        };
        let levels = [Level::Fatal, Level::Trace].map(|level| LevelSpelling { level, spelling: None });
        let mut bytes = Vec::new();
        encode(&meta, &levels, &mut bytes).unwrap();
        assert_eq!(decode(7, &bytes), Some(IndexedBlock { meta, normalised: vec![Level::Trace, Level::Fatal] }));
        for at in 0..bytes.len() {
            assert_eq!(decode(7, &bytes[..at]), None);
            for flip in 1..=255 {
                let mut damaged = bytes.clone();
                damaged[at] ^= flip;
                decode(7, &damaged);
            }
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_an_entry_or_malformed(bytes in prop::collection::vec(any::<u8>(), 0..100)) {
            decode(0, &bytes);
        }
    }
}
