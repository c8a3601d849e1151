//! Rebuilds a block's records as a batch, for compaction and repair.

use crate::column::{Column, LevelColumn, StreamRuns, ValueColumn};
use crate::directory::{ColumnKey, Directory};
use crate::error::SegmentError;
use crate::message::MessageColumn;
use timberlog_types::batch::LevelRef;
use timberlog_types::{Batch, BatchBuilder, RowSet};

/// The columns of a block.
#[derive(Default)]
pub(crate) struct Columns {
    timestamps: Option<Vec<i64>>,
    streams: Option<StreamRuns>,
    levels: Option<LevelColumn>,
    messages: Option<MessageColumn>,
    fields: Vec<(u32, ValueColumn)>,
}

impl Columns {
    pub(crate) fn push(&mut self, key: ColumnKey, column: Column) {
        match (key, column) {
            (_, Column::Timestamps(times)) => self.timestamps = Some(times),
            (_, Column::Streams(streams)) => self.streams = Some(streams),
            (_, Column::Levels(levels)) => self.levels = Some(levels),
            (_, Column::Message(messages)) => self.messages = Some(messages),
            (ColumnKey::Field(id), Column::Field(values)) => self.fields.push((id, values)),
            (_, Column::Field(_)) => {}
        }
    }

    /// `builder` lends its buffers: what is in it is forgotten.
    pub(crate) fn into_batch(
        mut self,
        rows: usize,
        directory: &Directory,
        builder: &mut BatchBuilder,
    ) -> Result<Batch, SegmentError> {
        let missing = || SegmentError::corrupt("a column is missing");
        let timestamps = self.timestamps.take().ok_or_else(missing)?;
        let streams = self.streams.take().ok_or_else(missing)?;
        let levels = self.levels.take().ok_or_else(missing)?;
        let messages = self.messages.take().ok_or_else(missing)?;
        builder.clear();
        let stream_ids = stream_ids(&streams, directory, builder)?;
        let level_ids = level_ids(&levels, directory, builder)?;
        let cells = self.cells(rows, directory);
        let mut failed = None;
        let mut next = 0;
        messages.read(&RowSet::all(rows), &mut |row, message| {
            if failed.is_some() {
                return;
            }
            for &(_, field, index) in cells[next..].iter().take_while(|cell| cell.0 as usize == row) {
                let (id, values) = &self.fields[field as usize];
                let value = values.value(index as usize);
                let name = directory.field_names.get(*id as usize).map(String::as_str).unwrap_or_default();
                failed = failed.or(builder.field(name, value.kind, value.text).err());
                next += 1;
            }
            let (stream, level) = (stream_ids[row], level_ids[levels.codes.get(row)]);
            failed = failed.or(builder.finish_row(timestamps[row], stream, level, message).err());
        })?;
        match (failed, builder.finish()) {
            (None, Some(batch)) if batch.rows() == rows => Ok(batch),
            (Some(error), _) => Err(too_large(&error)),
            _ => Err(SegmentError::corrupt("messages are missing")),
        }
    }

    /// Every value as (row, place of its field, index), by row and then by the name of the field.
    fn cells(&mut self, rows: usize, directory: &Directory) -> Vec<(u32, u32, u32)> {
        let name = |id: u32| directory.field_names.get(id as usize);
        self.fields.sort_by(|a, b| name(a.0).cmp(&name(b.0)));
        let mut starts = vec![0_u32; rows + 1];
        for (_, values) in &self.fields {
            values.for_each_row(|row, _| starts[row + 1] += 1);
        }
        let mut total = 0;
        for start in &mut starts {
            total += *start;
            *start = total;
        }
        let mut cells = vec![(0, 0, 0); total as usize];
        for (field, (_, values)) in self.fields.iter().enumerate() {
            values.for_each_row(|row, index| {
                let next = &mut starts[row];
                // A block has less than 2^32 values.
                cells[*next as usize] = (row as u32, field as u32, index as u32);
                *next += 1;
            });
        }
        cells
    }
}

/// The batch's stream of each row.
fn stream_ids(
    streams: &StreamRuns,
    directory: &Directory,
    builder: &mut BatchBuilder,
) -> Result<Vec<u32>, SegmentError> {
    let mut ids = Vec::with_capacity(streams.rows());
    let mut labels = Vec::new();
    for (id, rows) in streams.runs() {
        let stream = directory.streams.get(id).ok_or(SegmentError::corrupt("stream is not in the directory"))?;
        labels.clear();
        labels.extend(stream.labels());
        let id = builder.stream(stream.service(), &labels).map_err(|error| too_large(&error))?;
        ids.resize(rows.end, id);
    }
    Ok(ids)
}

/// The batch's level of each code.
fn level_ids(
    levels: &LevelColumn,
    directory: &Directory,
    builder: &mut BatchBuilder,
) -> Result<Vec<u16>, SegmentError> {
    let mut ids = Vec::with_capacity(levels.spellings.len());
    for &id in &levels.spellings {
        let level = directory.levels.get(id as usize);
        let level = level.ok_or(SegmentError::corrupt("level spelling is not in the directory"))?;
        let level = LevelRef { level: level.level, spelling: level.spelling.as_deref() };
        ids.push(builder.level_of(level).map_err(|error| too_large(&error))?);
    }
    Ok(ids)
}

fn too_large(error: &timberlog_types::batch::BuildError) -> SegmentError {
    SegmentError::corrupt(format!("block does not fit a batch: {error}"))
}
