//! What a record counts for.

use crate::plan::{Place, Plan, Unit};
use crate::source::mixed_up;
use timberlog_filter::ColumnSource;
use timberlog_segment::{Column, ColumnKey};
use timberlog_types::{Error, Result, RowSet};

/// What a record counts for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Weight {
    /// 1.
    Rows,
    /// The bytes of its line.
    LineBytes,
}

/// The bytes of the lines of rows of a unit, by row. No line is rebuilt.
pub(crate) fn line_bytes(plan: &Plan, unit: &Unit, rows: &RowSet, bytes: &mut Vec<u32>) -> Result<()> {
    bytes.clear();
    if let Place::Batch(batch) = &unit.place {
        // A batch is shorter than 4 GiB.
        bytes.extend((0..batch.batch.rows()).map(|row| batch.batch.message(row).len() as u32));
        return Ok(());
    }
    let Some((open, block)) = plan.block(unit) else { return Ok(()) };
    let column = open.source(&plan.budget).column(block.number, ColumnKey::Message)?;
    let Column::Message(messages) = &*column else { return Err(mixed_up(block.number, ColumnKey::Message)) };
    messages.lengths(rows, bytes).map_err(|error| Error::corrupt(format!("block {}: {error}", block.number)))
}
