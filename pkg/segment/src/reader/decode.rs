//! Decodes the payload of a column chunk; its checksum was checked before.

use crate::chunk::{Encoding, KINDS, KINDS_MIXED};
use crate::column::{Codes, Column, Kinds, LevelColumn, StreamRuns, Texts, ValueColumn, Values};
use crate::directory::{ColumnKey, Directory};
use crate::encoding::{Input, codes, ints, rows, split, texts};
use crate::error::SegmentError;
use crate::message::MessageColumn;
use timberlog_types::ValueKind;

/// Decodes the payload of a column of a block of `rows` rows, behind `skip` bytes of `chunk`.
pub(crate) fn column(
    key: ColumnKey,
    encoding: Encoding,
    mut chunk: Vec<u8>,
    skip: usize,
    rows: usize,
    directory: &Directory,
) -> Result<Column, SegmentError> {
    if encoding == Encoding::Messages && key == ColumnKey::Message {
        chunk.drain(..skip.min(chunk.len()));
        return Ok(Column::Message(MessageColumn::open(chunk, rows)?));
    }
    let mut input = Input::new(chunk.get(skip..).unwrap_or_default());
    let column = match (key, encoding) {
        (ColumnKey::Timestamp, Encoding::Timestamps) => Column::Timestamps(ints::decode(&mut input, rows)?),
        (ColumnKey::Timestamp, Encoding::TimestampsSplit) => Column::Timestamps(split::decode(&mut input, rows)?),
        (ColumnKey::Stream, Encoding::Streams) => Column::Streams(streams(&mut input, rows, directory.streams.len())?),
        (ColumnKey::Level, Encoding::Levels) => Column::Levels(levels(&mut input, rows, directory.levels.len())?),
        (ColumnKey::Field(_), Encoding::FieldConstant | Encoding::FieldDictionary | Encoding::FieldDirect) => {
            Column::Field(field(&mut input, encoding, rows)?)
        }
        _ => return Err(SegmentError::corrupt("encoding is not one of this column")),
    };
    input.finish()?;
    Ok(column)
}

fn streams(input: &mut Input<'_>, rows: usize, streams: usize) -> Result<StreamRuns, SegmentError> {
    let bad = || SegmentError::corrupt("stream runs are damaged");
    let count = input.count(rows)?;
    let ids = ints::decode(input, count)?;
    let lens = ints::decode(input, count)?;
    let mut runs = StreamRuns { ids: Vec::with_capacity(count), ends: Vec::with_capacity(count) };
    let mut end = 0_u32;
    for (id, len) in ids.into_iter().zip(lens) {
        let id = u32::try_from(id).ok().filter(|&id| (id as usize) < streams).ok_or_else(bad)?;
        let len = u32::try_from(len).ok().filter(|&len| len > 0).ok_or_else(bad)?;
        end = end.checked_add(len).ok_or_else(bad)?;
        runs.ids.push(id);
        runs.ends.push(end);
    }
    if end as usize == rows { Ok(runs) } else { Err(bad()) }
}

fn levels(input: &mut Input<'_>, rows: usize, levels: usize) -> Result<LevelColumn, SegmentError> {
    let count = input.count(rows.min(levels))?;
    let mut spellings = Vec::with_capacity(count);
    for id in ints::decode(input, count)? {
        let id = u32::try_from(id).ok().filter(|&id| (id as usize) < levels);
        spellings.push(id.ok_or(SegmentError::corrupt("level spelling is not in the directory"))?);
    }
    Ok(LevelColumn { spellings, codes: codes::decode(input, rows, count)? })
}

fn field(input: &mut Input<'_>, encoding: Encoding, rows: usize) -> Result<ValueColumn, SegmentError> {
    let (presence, len) = rows::decode(input, rows)?;
    let values = match encoding {
        Encoding::FieldConstant => {
            let kind = kind(input.u8()?)?;
            let count = input.count(input.len())?;
            let bytes = input.take(count)?.to_vec();
            let end = u32::try_from(count).map_err(|_| SegmentError::corrupt("value is too long"))?;
            let texts = Texts { bytes, ends: vec![end] };
            Values::Dictionary { kinds: Kinds::One(kind), texts, codes: Codes::U8(vec![0; len]) }
        }
        Encoding::FieldDictionary => {
            let entries = input.count(len)?;
            let kinds = kinds(input, entries)?;
            let texts = texts::decode(input, entries)?;
            Values::Dictionary { kinds, texts, codes: codes::decode(input, len, entries)? }
        }
        _ => Values::Direct { kinds: kinds(input, len)?, texts: texts::decode(input, len)? },
    };
    Ok(ValueColumn { rows, presence, values })
}

fn kinds(input: &mut Input<'_>, count: usize) -> Result<Kinds, SegmentError> {
    let number = input.u8()?;
    if number != KINDS_MIXED {
        return kind(number).map(Kinds::One);
    }
    let codes = codes::decode(input, count, KINDS)?;
    let mut kinds = Vec::with_capacity(count);
    for index in 0..count {
        // Codes are below KINDS.
        kinds.push(kind(codes.get(index) as u8)?);
    }
    Ok(Kinds::Each(kinds))
}

fn kind(number: u8) -> Result<ValueKind, SegmentError> {
    ValueKind::from_u8(number).ok_or(SegmentError::corrupt("value kind is unknown"))
}
