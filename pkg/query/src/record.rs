//! A record as it leaves the database.

use crate::error::QueryError;
use crate::matching;
use crate::plan::{Place, Plan, Unit};
use crate::request::Order;
use crate::scan::Key;
use crate::source::{OpenSegment, mixed_up};
use timberlog_filter::ColumnSource;
use timberlog_segment::{BlockMeta, Column, ColumnKey};
use timberlog_types::{Error, Level, RowSet, StreamRef, ValueKind};

/// A record of an answer. Texts are UTF-8; bytes that are not are replaced.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// ns since 1970 UTC.
    pub timestamp: i64,
    /// The normalised level.
    pub level: Level,
    /// The level as it was sent; `None` if none was.
    pub level_spelling: Option<String>,
    /// The derived service.
    pub service: String,
    /// The message.
    pub message: String,
    /// The stream labels, sorted by name.
    pub labels: Vec<(String, String)>,
    /// The fields, sorted by name. The text of a number is as it was sent.
    pub fields: Vec<(String, ValueKind, String)>,
}

impl Record {
    /// Bytes of memory, about.
    pub fn memory_bytes(&self) -> usize {
        let pairs: usize = self.labels.iter().map(|(name, value)| name.len() + value.len() + 48).sum();
        let fields: usize = self.fields.iter().map(|(name, _, value)| name.len() + value.len() + 56).sum();
        size_of::<Self>() + self.service.len() + self.message.len() + pairs + fields
    }
}

/// The records of keys, in their order. Those of a damaged unit are left out, and it is noted.
pub(crate) fn materialise(plan: &Plan, order: Order, keys: &[Key]) -> Result<Vec<Record>, QueryError> {
    let records = materialise_slots(plan, order, keys)?;
    Ok(records.into_iter().map(|(_, record)| record).collect())
}

/// The same, each with the place of its key.
pub(crate) fn materialise_slots(plan: &Plan, order: Order, keys: &[Key]) -> Result<Vec<(usize, Record)>, QueryError> {
    let mut places: Vec<Wanted> = keys
        .iter()
        .enumerate()
        .map(|(slot, key)| {
            let (timestamp, _, unit, row) = key.parts(order);
            Wanted { unit, row, slot, timestamp }
        })
        .collect();
    places.sort_unstable_by_key(|wanted| (wanted.unit, wanted.row));
    let units: Vec<&[Wanted]> = places.chunk_by(|a, b| a.unit == b.unit).collect();
    let one = |wanted: &&[Wanted]| -> Result<Vec<(usize, Record)>, QueryError> {
        let Some(unit) = wanted.first().and_then(|first| plan.units.get(first.unit as usize)) else {
            return Ok(Vec::new());
        };
        plan.budget.check()?;
        match unit_records(plan, unit, wanted) {
            Ok(records) => {
                plan.budget.take_memory(records.iter().map(|(_, record)| record.memory_bytes()).sum())?;
                Ok(records)
            }
            Err(error) => plan.miss(unit, &error).map(|()| Vec::new()),
        }
    };
    let firsts = units.iter().filter_map(|wanted| wanted.first());
    let of_units: Vec<&Unit> = firsts.filter_map(|first| plan.units.get(first.unit as usize)).collect();
    plan.bring(&of_units)?;
    let mut records: Vec<(usize, Record)> = plan.budget.each(&units, one)?.into_iter().flatten().collect();
    records.sort_unstable_by_key(|&(slot, _)| slot);
    Ok(records)
}

/// A record that is wanted.
struct Wanted {
    unit: u32,
    row: u32,
    slot: usize,
    timestamp: i64,
}

fn unit_records(plan: &Plan, unit: &Unit, wanted: &[Wanted]) -> timberlog_types::Result<Vec<(usize, Record)>> {
    if let Place::Batch(batch) = &unit.place {
        return Ok(wanted
            .iter()
            .map(|wanted| (wanted.slot, matching::record(&batch.batch, wanted.row as usize)))
            .collect());
    }
    match plan.block(unit) {
        Some((open, block)) => block_records(plan, open, block, wanted),
        None => Ok(Vec::new()),
    }
}

fn block_records(
    plan: &Plan,
    open: &OpenSegment,
    block: &BlockMeta,
    wanted: &[Wanted],
) -> timberlog_types::Result<Vec<(usize, Record)>> {
    let (directory, source, number) =
        (open.directory(), open.source_of_part(&plan.budget, wanted.len(), block.rows as usize), block.number);
    let column = source.column(number, ColumnKey::Stream)?;
    let Column::Streams(runs) = &*column else { return Err(mixed_up(number, ColumnKey::Stream)) };
    let column = source.column(number, ColumnKey::Level)?;
    let Column::Levels(levels) = &*column else { return Err(mixed_up(number, ColumnKey::Level)) };
    let mut records: Vec<(usize, Record)> = Vec::with_capacity(wanted.len());
    let mut rows = RowSet::none(block.rows as usize);
    for wanted in wanted {
        let row = wanted.row as usize;
        let stream = directory.streams.get(runs.get(row)).ok_or_else(|| mixed_up(number, ColumnKey::Stream))?;
        let level = directory.levels.get(levels.get(row) as usize).ok_or_else(|| mixed_up(number, ColumnKey::Level))?;
        rows.insert(row);
        let record = Record {
            level: level.level,
            level_spelling: level.spelling.clone(),
            ..of_stream(stream, wanted.timestamp)
        };
        records.push((wanted.slot, record));
    }
    let column = source.column(number, ColumnKey::Message)?;
    let Column::Message(messages) = &*column else { return Err(mixed_up(number, ColumnKey::Message)) };
    let mut targets = records.iter_mut();
    messages
        .read(&rows, &mut |_, message| {
            if let Some((_, record)) = targets.next() {
                record.message = text(message);
            }
        })
        .map_err(|error| Error::corrupt(format!("block {number}: {error}")))?;
    let name = |id: u32| directory.field_names.get(id as usize).map_or("", String::as_str);
    let mut fields: Vec<u32> = block
        .columns
        .iter()
        .filter_map(|column| if let ColumnKey::Field(id) = column.key { Some(id) } else { None })
        .collect();
    fields.sort_unstable_by_key(|&id| name(id));
    for id in fields {
        let column = source.column(number, ColumnKey::Field(id))?;
        let Column::Field(values) = &*column else { return Err(mixed_up(number, ColumnKey::Field(id))) };
        for (wanted, (_, record)) in wanted.iter().zip(&mut records) {
            if let Some(value) = values.get(wanted.row as usize) {
                record.fields.push((name(id).to_owned(), value.kind, text(value.text)));
            }
        }
    }
    Ok(records)
}

fn of_stream(stream: StreamRef<'_>, timestamp: i64) -> Record {
    Record {
        timestamp,
        level: Level::Unknown,
        level_spelling: None,
        service: stream.service().to_owned(),
        message: String::new(),
        labels: stream.labels().map(|(name, value)| (name.to_owned(), value.to_owned())).collect(),
        fields: Vec::new(),
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
