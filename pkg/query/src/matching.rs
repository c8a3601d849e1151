//! The records of one batch that match a filter: what a tail shows.

use crate::record::Record;
use timberlog_filter::{BatchColumns, Compiled, evaluate};
use timberlog_storage::{BufferedBatch, Hidden};
use timberlog_types::{Batch, Result, RowSet};

/// The rows of a batch that are neither expired nor deleted.
pub fn shown(batch: &BufferedBatch, hidden: &Hidden) -> Result<RowSet> {
    let (range, batch, hides) = (batch.range, &*batch.batch, hidden.of_batch(batch));
    let mut rows = match hidden.start() {
        start if start <= range.start => RowSet::all(batch.rows()),
        start => RowSet::from_fn(batch.rows(), |row| batch.timestamp(row) >= start),
    };
    for hide in hides {
        let mut within = rows.clone();
        if !hide.range.covers(range) {
            rows.iter().filter(|&row| !hide.range.contains(batch.timestamp(row))).for_each(|row| within.remove(row));
        }
        rows.subtract(&evaluate(&hide.filter, &BatchColumns::new(batch), within)?);
    }
    Ok(rows)
}

/// The matching records among rows of a batch, in order of arrival.
pub fn matching(batch: &Batch, rows: RowSet, filter: &Compiled) -> Result<Vec<Record>> {
    let rows = evaluate(filter, &BatchColumns::new(batch), rows)?;
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
