//! The records of one batch that match a filter: what a tail shows.

use crate::record::Record;
use timberlog_filter::{BatchColumns, Compiled, evaluate};
use timberlog_types::{Batch, Result, RowSet};

/// The matching records of a batch, in order of arrival.
pub fn matching(batch: &Batch, filter: &Compiled) -> Result<Vec<Record>> {
    let rows = evaluate(filter, &BatchColumns::new(batch), RowSet::all(batch.rows()))?;
    Ok(rows.iter().map(|row| record(batch, row)).collect())
}

/// A record of a batch.
pub(crate) fn record(batch: &Batch, row: usize) -> Record {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let stream = batch.stream(batch.stream_id(row));
    let level = batch.level(batch.level_id(row));
    let fields = batch.fields().filter_map(|field| {
        let value = field.get(row)?;
        Some((field.name().to_owned(), value.kind, text(value.text)))
    });
    Record {
        timestamp: batch.timestamp(row),
        level: level.level,
        level_spelling: level.spelling.map(str::to_owned),
        service: stream.service().to_owned(),
        message: text(batch.message(row)),
        labels: stream.labels().map(|(name, value)| (name.to_owned(), value.to_owned())).collect(),
        fields: fields.collect(),
    }
}
