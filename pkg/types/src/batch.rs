//! A batch: the records of one request and tenant, as columns in one contiguous allocation.
//!
//! The bytes are the payload of a WAL frame and the content of the memory buffer alike: a record
//! is decoded once, by the ingest decoder into a [`BatchBuilder`], and moved forward from there.
//! A batch never changes. This module owns the layout, version 1 (`manifest-spec.md`, "Batch");
//! integers are little-endian:
//!
//! | section | content |
//! |---|---|
//! | header | u32 rows, u32 streams, u32 levels, u32 fields |
//! | timestamps | i64 × rows |
//! | stream ids | u32 × rows, each below `streams` |
//! | level ids | u16 × rows, each below `levels` |
//! | message ends | u32 × rows, not decreasing |
//! | messages | bytes, as many as the last end says |
//! | streams | per stream: u32 length, canonical encoding ([`crate::stream`]) |
//! | levels | per spelling: u8 normalised level, u8 1 if a level was sent, u16 length, spelling |
//! | fields | per field, sorted by name: u16 length, name; u8 flags (1 sparse, 2 mixed kinds), u8 kind (0 if mixed), u32 values ≥ 1; u32 × values rows if sparse, ascending; u8 × values kinds if mixed; u32 × values ends; bytes |

mod builder;
#[cfg(test)]
mod tests;

pub use builder::{BATCH_FIELDS_MAX, BatchBuilder, BuildError};

use crate::level::Level;
use crate::stream::StreamRef;
use crate::value::{Value, ValueKind};
use std::ops::Range;

/// The most distinct UTC days that the records of a batch may have: each is a partition, and so a
/// segment of the flush that takes the batch, which cannot be split.
pub const BATCH_DAYS_MAX: usize = 1_000;
/// The most bytes a batch may have: offsets into it are 32 bits wide, and a frame is read whole.
pub const BATCH_BYTES_MAX: usize = if cfg!(fuzzing) { 16 << 20 } else { 256 << 20 };

const SPARSE: u8 = 1;
const MIXED: u8 = 2;

/// Why bytes are not a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("batch is malformed at byte {at}: {what}")]
pub struct BatchError {
    /// Where, in bytes from the start of the batch.
    pub at: usize,
    /// What is wrong there.
    pub what: &'static str,
}

/// An immutable batch of records, in columns.
#[derive(Clone, Debug)]
pub struct Batch {
    bytes: Box<[u8]>,
    rows: usize,
    stream_ids: usize,
    level_ids: usize,
    message_ends: usize,
    messages: usize,
    streams: Vec<(Range<usize>, u64)>,
    levels: Vec<LevelEntry>,
    fields: Vec<FieldEntry>,
}

#[derive(Clone, Debug)]
struct LevelEntry {
    level: Level,
    present: bool,
    spelling: Range<usize>,
}

#[derive(Clone, Debug)]
struct FieldEntry {
    name: Range<usize>,
    values: usize,
    sparse: Option<usize>,
    kind: ValueKind,
    mixed: Option<usize>,
    ends: usize,
    data: usize,
}

/// A level as it was sent, and what it means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LevelRef<'a> {
    /// The normalised level.
    pub level: Level,
    /// The sender's spelling; `None` if no level was sent.
    pub spelling: Option<&'a str>,
}

const TIMESTAMPS: usize = 16;

impl Batch {
    /// Checks the layout and takes the bytes over: after this no accessor can panic.
    pub fn decode(bytes: Box<[u8]>) -> Result<Self, BatchError> {
        Reader { bytes: &bytes, at: 0 }.directory().map(|directory| Self { bytes, ..directory })
    }

    /// The bytes: what [`Batch::decode`] takes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Bytes of memory that the batch holds, directory included.
    pub fn memory_bytes(&self) -> usize {
        self.bytes.len()
            + self.streams.capacity() * size_of::<(Range<usize>, u64)>()
            + self.levels.capacity() * size_of::<LevelEntry>()
            + self.fields.capacity() * size_of::<FieldEntry>()
            + size_of::<Self>()
    }

    /// The number of records.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// The timestamp of a record in ns.
    pub fn timestamp(&self, row: usize) -> i64 {
        assert!(row < self.rows);
        i64::from_le_bytes(chunk(&self.bytes, TIMESTAMPS + row * 8))
    }

    /// The timestamps in ns, in the order of the records.
    pub fn timestamps(&self) -> impl ExactSizeIterator<Item = i64> + '_ {
        let bytes = &self.bytes[TIMESTAMPS..TIMESTAMPS + self.rows * 8];
        bytes.chunks_exact(8).map(|bytes| i64::from_le_bytes(chunk(bytes, 0)))
    }

    /// The number of distinct streams.
    pub fn stream_count(&self) -> usize {
        self.streams.len()
    }

    /// A stream of the batch.
    pub fn stream(&self, id: usize) -> StreamRef<'_> {
        // Checked by `decode`; an empty encoding has no service and no labels.
        StreamRef::parse_unchecked(&self.bytes[self.streams[id].0.clone()])
    }

    /// The hash of a stream, as [`StreamRef::hash`] gives it.
    pub fn stream_hash(&self, id: usize) -> u64 {
        self.streams[id].1
    }

    /// The id of a record's stream.
    pub fn stream_id(&self, row: usize) -> usize {
        assert!(row < self.rows);
        u32::from_le_bytes(chunk(&self.bytes, self.stream_ids + row * 4)) as usize
    }

    /// The number of distinct level spellings.
    pub fn level_count(&self) -> usize {
        self.levels.len()
    }

    /// A level of the batch.
    pub fn level(&self, id: usize) -> LevelRef<'_> {
        let entry = &self.levels[id];
        let spelling = entry.present.then(|| text(&self.bytes[entry.spelling.clone()]));
        LevelRef { level: entry.level, spelling }
    }

    /// The id of a record's level.
    pub fn level_id(&self, row: usize) -> usize {
        assert!(row < self.rows);
        usize::from(u16::from_le_bytes(chunk(&self.bytes, self.level_ids + row * 2)))
    }

    /// The message of a record.
    pub fn message(&self, row: usize) -> &[u8] {
        assert!(row < self.rows);
        let end = |row: usize| u32::from_le_bytes(chunk(&self.bytes, self.message_ends + row * 4)) as usize;
        let start = if row == 0 { 0 } else { end(row - 1) };
        &self.bytes[self.messages + start..self.messages + end(row)]
    }

    /// All messages, one behind the other without separators.
    pub fn messages(&self) -> &[u8] {
        let end = if self.rows == 0 {
            0
        } else {
            u32::from_le_bytes(chunk(&self.bytes, self.message_ends + (self.rows - 1) * 4)) as usize
        };
        &self.bytes[self.messages..self.messages + end]
    }

    /// The number of distinct field names.
    pub fn field_count(&self) -> usize {
        self.fields.len()
    }

    /// The fields, sorted by name.
    pub fn fields(&self) -> impl ExactSizeIterator<Item = FieldColumn<'_>> {
        self.fields.iter().map(|entry| FieldColumn { bytes: &self.bytes, entry })
    }

    /// A field by its place in the order of names.
    pub fn field_at(&self, index: usize) -> FieldColumn<'_> {
        FieldColumn { bytes: &self.bytes, entry: &self.fields[index] }
    }

    /// A field by its name.
    pub fn field(&self, name: &str) -> Option<FieldColumn<'_>> {
        let name = name.as_bytes();
        let index = self.fields.binary_search_by(|entry| self.bytes[entry.name.clone()].cmp(name)).ok()?;
        Some(self.field_at(index))
    }
}

/// One field of a batch: the values of the records that have it.
#[derive(Clone, Copy, Debug)]
pub struct FieldColumn<'a> {
    bytes: &'a [u8],
    entry: &'a FieldEntry,
}

impl<'a> FieldColumn<'a> {
    /// The name.
    pub fn name(self) -> &'a str {
        text(&self.bytes[self.entry.name.clone()])
    }

    /// The number of values.
    pub fn len(self) -> usize {
        self.entry.values
    }

    /// Never: a field without a value is not in a batch.
    pub fn is_empty(self) -> bool {
        self.entry.values == 0
    }

    /// Bytes of text of all values.
    pub fn text_bytes(self) -> usize {
        match self.entry.values.checked_sub(1) {
            Some(last) => u32::from_le_bytes(chunk(self.bytes, self.entry.ends + last * 4)) as usize,
            None => 0,
        }
    }

    /// Whether every record has a value: then value `n` is that of record `n`.
    pub fn is_dense(self) -> bool {
        self.entry.sparse.is_none()
    }

    /// The record that value `index` belongs to.
    pub fn row(self, index: usize) -> usize {
        match self.entry.sparse {
            None => index,
            Some(at) => {
                assert!(index < self.entry.values);
                u32::from_le_bytes(chunk(self.bytes, at + index * 4)) as usize
            }
        }
    }

    /// The index of a record's value.
    pub fn index_of(self, row: usize) -> Option<usize> {
        if self.entry.sparse.is_none() {
            return (row < self.entry.values).then_some(row);
        }
        let (mut low, mut high) = (0, self.entry.values);
        while low < high {
            let middle = low.midpoint(high);
            if self.row(middle) < row {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        (low < self.entry.values && self.row(low) == row).then_some(low)
    }

    /// The kind of all values, if they have one kind.
    pub fn kind(self) -> Option<ValueKind> {
        self.entry.mixed.is_none().then_some(self.entry.kind)
    }

    /// A value by its index.
    pub fn value(self, index: usize) -> Value<'a> {
        let FieldEntry { values, kind, mixed, ends, data, .. } = *self.entry;
        assert!(index < values);
        let end = |index: usize| u32::from_le_bytes(chunk(self.bytes, ends + index * 4)) as usize;
        let start = if index == 0 { 0 } else { end(index - 1) };
        let kind = mixed.and_then(|at| ValueKind::from_u8(self.bytes[at + index])).unwrap_or(kind);
        Value { kind, text: &self.bytes[data + start..data + end(index)] }
    }

    /// The value of a record.
    pub fn get(self, row: usize) -> Option<Value<'a>> {
        self.index_of(row).map(|index| self.value(index))
    }
}

fn chunk<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    let mut chunk = [0; N];
    chunk.copy_from_slice(&bytes[at..at + N]);
    chunk
}

fn text(bytes: &[u8]) -> &str {
    // Checked by `decode`.
    std::str::from_utf8(bytes).unwrap_or_default()
}

/// Walks over untrusted bytes, with every length checked.
struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    fn directory(mut self) -> Result<Batch, BatchError> {
        if self.bytes.len() > BATCH_BYTES_MAX {
            return Err(self.error("longer than a batch may be"));
        }
        let rows = self.u32()?;
        let stream_count = self.u32()?;
        let level_count = self.u32()?;
        let field_count = self.u32()?;
        self.array(rows, 8)?;
        let stream_ids = self.array(rows, 4)?;
        self.check_u32s(stream_ids, rows, "stream id", |id, _| id < stream_count)?;
        let level_ids = self.array(rows, 2)?;
        for row in 0..rows {
            if usize::from(u16::from_le_bytes(chunk(self.bytes, level_ids + row * 2))) >= level_count {
                return Err(self.error("level id"));
            }
        }
        let (message_ends, messages) = self.texts(rows)?;
        let streams = self.streams(stream_count)?;
        let levels = self.levels(level_count)?;
        let fields = self.fields(field_count, rows)?;
        if self.at != self.bytes.len() {
            return Err(self.error("bytes behind the last section"));
        }
        Ok(Batch {
            bytes: Box::default(),
            rows,
            stream_ids,
            level_ids,
            message_ends,
            messages,
            streams,
            levels,
            fields,
        })
    }

    fn streams(&mut self, count: usize) -> Result<Vec<(Range<usize>, u64)>, BatchError> {
        self.check_count(count, 8)?;
        let mut streams = Vec::with_capacity(count);
        for _ in 0..count {
            let len = self.u32()?;
            let range = self.range(len)?;
            let stream = StreamRef::parse(&self.bytes[range.clone()]).ok_or_else(|| self.error("stream"))?;
            streams.push((range, stream.hash()));
        }
        Ok(streams)
    }

    fn levels(&mut self, count: usize) -> Result<Vec<LevelEntry>, BatchError> {
        self.check_count(count, 4)?;
        let mut levels = Vec::with_capacity(count);
        for _ in 0..count {
            let level = Level::from_u8(self.u8()?).ok_or_else(|| self.error("level"))?;
            let present = self.u8()? == 1;
            let len = self.u16()?;
            levels.push(LevelEntry { level, present, spelling: self.text(len)? });
        }
        Ok(levels)
    }

    fn fields(&mut self, count: usize, rows: usize) -> Result<Vec<FieldEntry>, BatchError> {
        self.check_count(count, 12)?;
        let mut fields: Vec<FieldEntry> = Vec::with_capacity(count);
        for _ in 0..count {
            let entry = self.field(rows)?;
            let last = fields.last().map(|last| &self.bytes[last.name.clone()]);
            if last.is_some_and(|last| last >= &self.bytes[entry.name.clone()]) {
                return Err(self.error("field names are not sorted"));
            }
            fields.push(entry);
        }
        Ok(fields)
    }

    fn field(&mut self, rows: usize) -> Result<FieldEntry, BatchError> {
        let len = self.u16()?;
        let name = self.text(len)?;
        let flags = self.u8()?;
        let kind = ValueKind::from_u8(self.u8()?).ok_or_else(|| self.error("value kind"))?;
        let values = self.u32()?;
        let is_sparse = flags & SPARSE != 0;
        if flags & !(SPARSE | MIXED) != 0 || values == 0 || (!is_sparse && values != rows) {
            return Err(self.error("field header"));
        }
        let mut sparse = None;
        if is_sparse {
            let at = self.array(values, 4)?;
            let mut last = None;
            self.check_u32s(at, values, "field rows", |row, _| {
                let ascending = last.is_none_or(|last| last < row);
                last = Some(row);
                ascending && row < rows
            })?;
            sparse = Some(at);
        }
        let mut mixed = None;
        if flags & MIXED != 0 {
            let at = self.array(values, 1)?;
            if self.bytes[at..at + values].iter().any(|&kind| ValueKind::from_u8(kind).is_none()) {
                return Err(self.error("value kind"));
            }
            mixed = Some(at);
        }
        let (ends, data) = self.texts(values)?;
        Ok(FieldEntry { name, values, sparse, kind, mixed, ends, data })
    }

    /// Texts as ends and bytes; returns where each begins.
    fn texts(&mut self, count: usize) -> Result<(usize, usize), BatchError> {
        let ends = self.array(count, 4)?;
        let mut last = 0;
        self.check_u32s(ends, count, "text ends", |end, _| {
            let grows = end >= last;
            last = end;
            grows
        })?;
        let data = self.range(last)?;
        Ok((ends, data.start))
    }

    fn check_u32s(
        &self,
        at: usize,
        count: usize,
        what: &'static str,
        mut good: impl FnMut(usize, usize) -> bool,
    ) -> Result<(), BatchError> {
        for (index, bytes) in self.bytes[at..at + count * 4].chunks_exact(4).enumerate() {
            if !good(u32::from_le_bytes(chunk(bytes, 0)) as usize, index) {
                return Err(BatchError { at: at + index * 4, what });
            }
        }
        Ok(())
    }

    /// Refuses a count that the remaining bytes cannot hold, before anything is allocated for it.
    fn check_count(&self, count: usize, bytes_min: usize) -> Result<(), BatchError> {
        let left = self.bytes.len() - self.at;
        if count > left / bytes_min { Err(self.error("count")) } else { Ok(()) }
    }

    fn array(&mut self, count: usize, width: usize) -> Result<usize, BatchError> {
        let len = count.checked_mul(width).ok_or_else(|| self.error("count"))?;
        self.range(len).map(|range| range.start)
    }

    fn range(&mut self, len: usize) -> Result<Range<usize>, BatchError> {
        let start = self.at;
        let end = start.checked_add(len).filter(|&end| end <= self.bytes.len());
        self.at = end.ok_or_else(|| self.error("section is cut short"))?;
        Ok(start..self.at)
    }

    fn text(&mut self, len: usize) -> Result<Range<usize>, BatchError> {
        let range = self.range(len)?;
        match std::str::from_utf8(&self.bytes[range.clone()]) {
            Ok(_) => Ok(range),
            Err(_) => Err(BatchError { at: range.start, what: "text is not UTF-8" }),
        }
    }

    fn u8(&mut self) -> Result<u8, BatchError> {
        self.range(1).map(|range| self.bytes[range.start])
    }

    fn u16(&mut self) -> Result<usize, BatchError> {
        self.range(2).map(|range| usize::from(u16::from_le_bytes(chunk(self.bytes, range.start))))
    }

    fn u32(&mut self) -> Result<usize, BatchError> {
        self.range(4).map(|range| u32::from_le_bytes(chunk(self.bytes, range.start)) as usize)
    }

    fn error(&self, what: &'static str) -> BatchError {
        BatchError { at: self.at, what }
    }
}
