//! Reads a whole segment and reports every damage: checksums, formats, and what the directory
//! says about blocks that their rows do not.

use super::{Damage, SegmentReader, chunk_of};
use crate::column::{Column, LevelColumn, StreamRuns};
use crate::directory::BlockMeta;
use crate::error::SegmentError;
use timberlog_types::{RowSet, TimeRange};

pub(crate) fn verify(reader: &SegmentReader, report: &mut dyn FnMut(Damage)) {
    for meta in &reader.directory.blocks {
        verify_block(reader, meta, report);
        for column in meta.columns.iter().filter(|column| column.filter.is_some()) {
            if let Err(error) = reader.filter(meta.number, column.key) {
                // Without its filter a block is read, not lost.
                report(Damage { error, block: None });
            }
        }
    }
}

fn verify_block(reader: &SegmentReader, meta: &BlockMeta, report: &mut dyn FnMut(Damage)) {
    let mut lost = |error: SegmentError| {
        let error = error.in_block(meta.number).in_segment(&reader.directory.segment_id);
        report(Damage { error, block: Some(meta.number) });
    };
    let bytes = match reader.read(meta.offset, meta.len as usize) {
        Ok(bytes) => bytes,
        Err(error) => return lost(error),
    };
    // Less columns than bytes.
    let columns = meta.columns.len() as u32;
    if let Err(error) = crate::layout::check_block_header(&bytes, meta.number, meta.rows, columns, meta.len) {
        lost(error);
    }
    for column in &meta.columns {
        let chunk = chunk_of(&bytes, column).to_vec();
        let decoded = reader.decode(meta, column.key, chunk).and_then(|column| agrees(reader, meta, &column));
        if let Err(error) = decoded {
            lost(reader.place(error.in_block(meta.number), column.key));
        }
    }
}

/// Whether a column says what the directory says.
fn agrees(reader: &SegmentReader, meta: &BlockMeta, column: &Column) -> Result<(), SegmentError> {
    let differs = |what: &'static str| Err(SegmentError::corrupt(what));
    match column {
        Column::Timestamps(times) => {
            let start = times.iter().copied().min().unwrap_or_default();
            let end = times.iter().copied().max().unwrap_or_default();
            if (TimeRange { start, end }) != meta.range {
                return differs("time range differs from the directory");
            }
        }
        Column::Streams(runs) => {
            if runs.ids.iter().any(|&id| !meta.may_have_stream(id)) {
                return differs("streams differ from the directory");
            }
            if service_rows(reader, runs) != meta.services {
                return differs("rows by service differ from the directory");
            }
        }
        Column::Levels(levels) => {
            if level_rows(levels) != meta.levels {
                return differs("rows by level differ from the directory");
            }
        }
        Column::Message(messages) => {
            let mut is_text = true;
            messages.read(&RowSet::all(meta.rows as usize), &mut |_, text| {
                is_text &= std::str::from_utf8(text).is_ok();
            })?;
            if !is_text {
                return differs("a message is not UTF-8");
            }
        }
        Column::Field(values) => {
            let mut is_text = true;
            values.for_each(|_, value| is_text &= std::str::from_utf8(value.text).is_ok());
            if !is_text {
                return differs("a value is not UTF-8");
            }
        }
    }
    Ok(())
}

fn service_rows(reader: &SegmentReader, runs: &StreamRuns) -> Vec<(u32, u32)> {
    let rows = runs.runs().map(|(id, rows)| {
        let service = reader.directory.streams.service(id).unwrap_or(u32::MAX);
        // At most the rows of the block.
        (service, rows.len() as u32)
    });
    sum(rows.collect())
}

fn level_rows(levels: &LevelColumn) -> Vec<(u32, u32)> {
    let mut counts = vec![0; levels.spellings.len()];
    levels.codes.count(None, &mut counts);
    // At most the rows of the block.
    sum(levels.spellings.iter().zip(counts).map(|(&id, count)| (id, count as u32)).collect())
}

/// Adds up the rows of each id.
fn sum(mut rows: Vec<(u32, u32)>) -> Vec<(u32, u32)> {
    rows.sort_unstable();
    let mut sums: Vec<(u32, u32)> = Vec::new();
    for (id, count) in rows {
        match sums.last_mut() {
            Some((last, total)) if *last == id => *total += count,
            _ => sums.push((id, count)),
        }
    }
    sums
}
