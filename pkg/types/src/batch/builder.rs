//! Builds batches row by row, without allocating per record once its buffers have grown.

use super::{BATCH_BYTES_MAX, BATCH_DAYS_MAX, Batch, LevelRef, MIXED, SPARSE};
use crate::error::Error;
use crate::level::Level;
use crate::stream;
use crate::time::Day;
use crate::value::ValueKind;
use hashbrown::HashTable;
use xxhash_rust::xxh3::xxh3_64;

/// Why a record or stream cannot be added to a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BuildError {
    /// The batch would be longer than [`BATCH_BYTES_MAX`].
    #[error("the batch is longer than {BATCH_BYTES_MAX} bytes")]
    BatchTooLarge,
    /// The records of the batch have [`BATCH_FIELDS_MAX`] field names already.
    #[error("the records of the batch have more than {BATCH_FIELDS_MAX} different field names between them")]
    TooManyFields,
    /// The batch has records of [`BATCH_DAYS_MAX`] days already.
    #[error("the batch has records of {BATCH_DAYS_MAX} days already; send those of other days in another one")]
    TooManyDays,
    /// A field's name has more than 65,535 bytes.
    #[error("the name of a field is longer than 65,535 bytes")]
    NameTooLong,
    /// A service, label or label name has more than 65,535 bytes, or there are as many labels.
    #[error("a service, label or label name is longer than 65,535 bytes")]
    StreamTooLong,
    /// Labels are not sorted by name, or one name is there twice.
    #[error("the labels of a stream are not sorted by name, each name once")]
    LabelsNotSorted,
    /// The batch has 65,535 spellings of a level already, or the spelling is longer than that.
    #[error("the level is longer than 65,535 bytes or one of more than 65,535 spellings")]
    LevelTooLong,
}

impl From<BuildError> for Error {
    fn from(error: BuildError) -> Self {
        Self::invalid(error.to_string())
    }
}

/// Builds [`Batch`]es: for each record [`field`](Self::field) as often as needed, then either
/// [`finish_row`](Self::finish_row) or [`abort_row`](Self::abort_row). After
/// [`finish`](Self::finish) the builder is empty and keeps its buffers.
#[derive(Default)]
pub struct BatchBuilder {
    timestamps: Vec<i64>,
    stream_ids: Vec<u32>,
    level_ids: Vec<u16>,
    message_ends: Vec<u32>,
    messages: Vec<u8>,
    streams: Interner,
    levels: Interner,
    level_entries: Vec<(Level, bool)>,
    fields: Vec<FieldBuilder>,
    names: HashTable<u32>,
    /// Fields in the order of their names; rebuilt when a field was added.
    order: Vec<u32>,
    /// Fields that the open row has touched.
    touched: Vec<u32>,
    /// The distinct days of the finished rows, ascending.
    days: Vec<Day>,
    last_day: Option<Day>,
    /// Where the next field is expected: behind the one before, since records look alike.
    expected: usize,
    bytes: usize,
    scratch: Vec<u8>,
}

/// The most field names that the records of a batch may have between them: each is a column with
/// buffers of its own, so a few bytes of a hostile request would cost hundreds of bytes of memory.
pub const BATCH_FIELDS_MAX: usize = 16_384;

/// A level's key is its number and its spelling; this bit of the number says that it has one.
const SPELT: u8 = 0x80;

/// Fields kept with their buffers between two batches; more than this, and all are let go.
const FIELDS_KEPT_MAX: usize = 256;

#[derive(Default)]
struct FieldBuilder {
    name: Box<str>,
    rows: Vec<u32>,
    kinds: Vec<u8>,
    ends: Vec<u32>,
    data: Vec<u8>,
}

impl FieldBuilder {
    fn drop_last(&mut self) {
        self.rows.pop();
        self.kinds.pop();
        self.ends.pop();
        self.data.truncate(self.ends.last().map_or(0, |&end| end as usize));
    }
}

/// Gives each distinct byte string a number; asked for the same one twice in a row it answers
/// without hashing.
#[derive(Default)]
struct Interner {
    bytes: Vec<u8>,
    ends: Vec<u32>,
    table: HashTable<u32>,
    last: Option<u32>,
}

impl Interner {
    fn get(&self, id: u32) -> &[u8] {
        slice(&self.bytes, &self.ends, id)
    }

    fn intern(&mut self, value: &[u8]) -> (u32, bool) {
        if let Some(last) = self.last
            && self.get(last) == value
        {
            return (last, false);
        }
        let hash = xxh3_64(value);
        let Self { bytes, ends, table, .. } = self;
        let (id, new) = match table.find(hash, |&id| slice(bytes, ends, id) == value) {
            Some(&id) => (id, false),
            None => {
                // Bounded by the bytes of a batch.
                let id = ends.len() as u32;
                bytes.extend_from_slice(value);
                ends.push(bytes.len() as u32);
                table.insert_unique(hash, id, |&id| xxh3_64(slice(bytes, ends, id)));
                (id, true)
            }
        };
        self.last = Some(id);
        (id, new)
    }

    fn clear(&mut self) {
        self.bytes.clear();
        self.ends.clear();
        self.table.clear();
        self.last = None;
    }
}

fn slice<'a>(bytes: &'a [u8], ends: &[u32], id: u32) -> &'a [u8] {
    let id = id as usize;
    let start = if id == 0 { 0 } else { ends[id - 1] as usize };
    &bytes[start..ends[id] as usize]
}

impl BatchBuilder {
    /// An empty builder.
    pub fn new() -> Self {
        Self::default()
    }

    /// The number of finished records.
    pub fn rows(&self) -> usize {
        self.timestamps.len()
    }

    /// Whether no record is finished.
    pub fn is_empty(&self) -> bool {
        self.timestamps.is_empty()
    }

    /// Bytes that the batch would have about, the open row included.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// The id of a stream in this batch. `labels` must be sorted by name, each name once.
    pub fn stream(&mut self, service: &str, labels: &[(&str, &str)]) -> Result<u32, BuildError> {
        if labels.windows(2).any(|pair| matches!(pair, [one, next] if one.0 >= next.0)) {
            return Err(BuildError::LabelsNotSorted);
        }
        self.scratch.clear();
        if !stream::encode(service, labels, &mut self.scratch) {
            return Err(BuildError::StreamTooLong);
        }
        let (id, new) = self.streams.intern(&self.scratch);
        if new {
            self.bytes += self.scratch.len() + 4;
        }
        Ok(id)
    }

    /// The number of distinct streams so far, those of aborted rows included.
    pub fn stream_count(&self) -> usize {
        self.streams.ends.len()
    }

    /// The id of a level in this batch, by the sender's spelling; `None` if no level was sent.
    pub fn level(&mut self, spelling: Option<&str>) -> Result<u16, BuildError> {
        self.level_of(LevelRef { level: spelling.map_or(Level::Unknown, Level::normalise), spelling })
    }

    /// The id of a level in this batch, kept as it is: it was found out by other means than the sender's word, or stored by
    /// a version that knew other spellings, and indexes and the manifest's sums say the same of it as its bytes.
    pub fn level_of(&mut self, LevelRef { level, spelling }: LevelRef<'_>) -> Result<u16, BuildError> {
        self.scratch.clear();
        self.scratch.push(level as u8 | if spelling.is_some() { SPELT } else { 0 });
        self.scratch.extend_from_slice(spelling.unwrap_or_default().as_bytes());
        if self.scratch.len() > usize::from(u16::MAX) {
            return Err(BuildError::LevelTooLong);
        }
        if self.level_entries.len() == usize::from(u16::MAX) && !self.knows_level() {
            return Err(BuildError::LevelTooLong);
        }
        let (id, new) = self.levels.intern(&self.scratch);
        if new {
            self.level_entries.push((level, spelling.is_some()));
            self.bytes += self.scratch.len() + 4;
        }
        // Below the number of entries, which is at most 65,535.
        Ok(id as u16)
    }

    fn knows_level(&self) -> bool {
        let levels = &self.levels;
        levels.table.find(xxh3_64(&self.scratch), |&id| levels.get(id) == self.scratch).is_some()
    }

    /// Gives the open row a field. A second value of one name replaces the first.
    pub fn field(&mut self, name: &str, kind: ValueKind, value: &[u8]) -> Result<(), BuildError> {
        let index = self.field_index(name)?;
        self.expected = index + 1;
        // Bounded by the bytes of a batch.
        let row = self.timestamps.len() as u32;
        let field = &mut self.fields[index];
        if field.rows.last() == Some(&row) {
            field.drop_last();
        } else {
            self.touched.push(index as u32);
        }
        self.bytes += value.len() + 9;
        if self.bytes > BATCH_BYTES_MAX {
            // The value is still recorded as empty, so that `abort_row` finds what it expects.
            field.rows.push(row);
            field.kinds.push(ValueKind::Null as u8);
            field.ends.push(field.data.len() as u32);
            return Err(BuildError::BatchTooLarge);
        }
        field.rows.push(row);
        field.kinds.push(kind as u8);
        field.data.extend_from_slice(value);
        field.ends.push(field.data.len() as u32);
        Ok(())
    }

    /// Whether the open row has a field of this name.
    pub fn has_field(&self, name: &str) -> bool {
        let row = self.timestamps.len() as u32;
        let found = self.names.find(xxh3_64(name.as_bytes()), |&i| *self.fields[i as usize].name == *name);
        found.is_some_and(|&index| self.fields[index as usize].rows.last() == Some(&row))
    }

    /// The number of fields that the open row has.
    pub fn open_fields(&self) -> usize {
        self.touched.len()
    }

    fn field_index(&mut self, name: &str) -> Result<usize, BuildError> {
        if let Some(field) = self.fields.get(self.expected)
            && *field.name == *name
        {
            return Ok(self.expected);
        }
        if name.len() > usize::from(u16::MAX) {
            return Err(BuildError::NameTooLong);
        }
        let hash = xxh3_64(name.as_bytes());
        if let Some(&index) = self.names.find(hash, |&index| *self.fields[index as usize].name == *name) {
            return Ok(index as usize);
        }
        let index = self.fields.len();
        if index >= BATCH_FIELDS_MAX {
            return Err(BuildError::TooManyFields);
        }
        self.fields.push(FieldBuilder { name: name.into(), ..FieldBuilder::default() });
        let Self { names, fields, .. } = self;
        names.insert_unique(hash, index as u32, |&index| xxh3_64(fields[index as usize].name.as_bytes()));
        self.bytes += name.len() + 12;
        Ok(index)
    }

    /// Finishes the open row. `stream` and `level` are ids of this batch.
    ///
    /// # Panics
    /// If an id was not given out by this builder since the last [`finish`](Self::finish).
    pub fn finish_row(&mut self, timestamp: i64, stream: u32, level: u16, message: &[u8]) -> Result<(), BuildError> {
        assert!((stream as usize) < self.streams.ends.len() && usize::from(level) < self.level_entries.len());
        if !self.admit_day(Day::of(timestamp)) {
            self.abort_row();
            return Err(BuildError::TooManyDays);
        }
        self.bytes += message.len() + 18;
        if self.bytes > BATCH_BYTES_MAX {
            self.abort_row();
            return Err(BuildError::BatchTooLarge);
        }
        self.messages.extend_from_slice(message);
        self.message_ends.push(self.messages.len() as u32);
        self.timestamps.push(timestamp);
        self.stream_ids.push(stream);
        self.level_ids.push(level);
        self.touched.clear();
        self.expected = 0;
        Ok(())
    }

    fn admit_day(&mut self, day: Day) -> bool {
        if self.last_day == Some(day) {
            return true;
        }
        if let Err(place) = self.days.binary_search(&day) {
            if self.days.len() == BATCH_DAYS_MAX {
                return false;
            }
            self.days.insert(place, day);
        }
        self.last_day = Some(day);
        true
    }

    /// Forgets the open row.
    pub fn abort_row(&mut self) {
        while let Some(index) = self.touched.pop() {
            let field = &mut self.fields[index as usize];
            self.bytes -= field.data.len();
            field.drop_last();
            self.bytes = (self.bytes + field.data.len()).saturating_sub(9);
        }
        self.expected = 0;
    }

    /// The batch of all finished rows; `None` if there are none. The open row is forgotten.
    pub fn finish(&mut self) -> Option<Batch> {
        self.abort_row();
        let batch = (!self.is_empty()).then(|| self.encode());
        self.clear();
        // What was just written is what `decode` reads; a failure here would be a defect.
        batch.and_then(|bytes| Batch::decode(bytes.into_boxed_slice()).ok())
    }

    /// Forgets everything but the buffers.
    pub fn clear(&mut self) {
        self.timestamps.clear();
        self.stream_ids.clear();
        self.level_ids.clear();
        self.message_ends.clear();
        self.messages.clear();
        self.streams.clear();
        self.levels.clear();
        self.level_entries.clear();
        self.touched.clear();
        self.days.clear();
        self.last_day = None;
        self.expected = 0;
        self.bytes = 0;
        if self.fields.len() > FIELDS_KEPT_MAX {
            self.fields.clear();
            self.names.clear();
            self.order.clear();
        }
        for field in &mut self.fields {
            field.rows.clear();
            field.kinds.clear();
            field.ends.clear();
            field.data.clear();
        }
    }

    fn encode(&mut self) -> Vec<u8> {
        if self.order.len() != self.fields.len() {
            self.order = (0..self.fields.len() as u32).collect();
            self.order.sort_unstable_by(|&a, &b| self.fields[a as usize].name.cmp(&self.fields[b as usize].name));
        }
        let rows = self.timestamps.len();
        let used = self.fields.iter().filter(|field| !field.rows.is_empty()).count();
        let mut out = Vec::with_capacity(self.encoded_bytes());
        for count in [rows, self.streams.ends.len(), self.level_entries.len(), used] {
            out.extend_from_slice(&(count as u32).to_le_bytes());
        }
        put(&mut out, &self.timestamps, |value| value.to_le_bytes());
        put(&mut out, &self.stream_ids, |value| value.to_le_bytes());
        put(&mut out, &self.level_ids, |value| value.to_le_bytes());
        put(&mut out, &self.message_ends, |value| value.to_le_bytes());
        out.extend_from_slice(&self.messages);
        for id in 0..self.streams.ends.len() as u32 {
            let stream = self.streams.get(id);
            out.extend_from_slice(&(stream.len() as u32).to_le_bytes());
            out.extend_from_slice(stream);
        }
        for (id, &(level, present)) in self.level_entries.iter().enumerate() {
            let spelling = &self.levels.get(id as u32)[1..];
            out.extend_from_slice(&[level as u8, u8::from(present)]);
            out.extend_from_slice(&(spelling.len() as u16).to_le_bytes());
            out.extend_from_slice(spelling);
        }
        for &index in &self.order {
            let field = &self.fields[index as usize];
            if !field.rows.is_empty() {
                encode_field(field, rows, &mut out);
            }
        }
        out
    }

    fn encoded_bytes(&self) -> usize {
        let fields: usize =
            self.fields.iter().map(|field| field.data.len() + field.rows.len() * 9 + field.name.len() + 8).sum();
        16 + self.timestamps.len() * 18
            + self.messages.len()
            + self.streams.bytes.len()
            + self.streams.ends.len() * 4
            + self.levels.bytes.len()
            + self.level_entries.len() * 4
            + fields
    }
}

fn encode_field(field: &FieldBuilder, rows: usize, out: &mut Vec<u8>) {
    let sparse = field.rows.len() != rows;
    let kind = field.kinds[0];
    let mixed = field.kinds.iter().any(|&other| other != kind);
    out.extend_from_slice(&(field.name.len() as u16).to_le_bytes());
    out.extend_from_slice(field.name.as_bytes());
    out.push(if sparse { SPARSE } else { 0 } | if mixed { MIXED } else { 0 });
    out.push(if mixed { 0 } else { kind });
    out.extend_from_slice(&(field.rows.len() as u32).to_le_bytes());
    if sparse {
        put(out, &field.rows, |value| value.to_le_bytes());
    }
    if mixed {
        out.extend_from_slice(&field.kinds);
    }
    put(out, &field.ends, |value| value.to_le_bytes());
    out.extend_from_slice(&field.data);
}

fn put<T: Copy, const N: usize>(out: &mut Vec<u8>, values: &[T], bytes: impl Fn(T) -> [u8; N]) {
    let start = out.len();
    out.resize(start + values.len() * N, 0);
    for (target, &value) in out[start..].chunks_exact_mut(N).zip(values) {
        target.copy_from_slice(&bytes(value));
    }
}
