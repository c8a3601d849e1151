//! A batch of the memory buffer as columns.

use super::{Columns, StreamSet, filter_rows};
use crate::compile::CompiledTest;
use timberlog_types::{Batch, Result, RowSet};

/// A batch of the memory buffer as columns.
#[derive(Clone, Copy, Debug)]
pub struct BatchColumns<'a> {
    batch: &'a Batch,
}

impl<'a> BatchColumns<'a> {
    /// The columns of a batch.
    pub fn new(batch: &'a Batch) -> Self {
        Self { batch }
    }
}

impl Columns for BatchColumns<'_> {
    fn rows(&self) -> usize {
        self.batch.rows()
    }

    fn times(&self, test: &CompiledTest, within: &RowSet) -> Result<RowSet> {
        Ok(filter_rows(within, |row| test.matches_time(self.batch.timestamp(row))))
    }

    fn levels(&self, test: &CompiledTest, within: &RowSet) -> Result<RowSet> {
        let passing: Vec<bool> = (0..self.batch.level_count())
            .map(|id| {
                let level = self.batch.level(id);
                test.matches_level(level.level, level.spelling.map(str::as_bytes))
            })
            .collect();
        Ok(filter_rows(within, |row| passing[self.batch.level_id(row)]))
    }

    fn streams(&self, test: &CompiledTest, within: &RowSet) -> Result<StreamSet> {
        let decisions: Vec<Option<bool>> =
            (0..self.batch.stream_count()).map(|id| test.decide_stream(self.batch.stream(id))).collect();
        let (mut matched, mut undecided) = (RowSet::none(within.rows()), RowSet::none(within.rows()));
        for row in within.iter() {
            match decisions[self.batch.stream_id(row)] {
                Some(true) => matched.insert(row),
                Some(false) => {}
                None => undecided.insert(row),
            }
        }
        Ok(StreamSet { matched, undecided })
    }

    fn message(&self, test: &CompiledTest, within: &RowSet) -> Result<RowSet> {
        Ok(filter_rows(within, |row| test.matches_text(self.batch.message(row))))
    }

    fn field(&self, name: &str, test: &CompiledTest, within: &RowSet) -> Result<RowSet> {
        let mut rows = if test.matches_missing() { within.clone() } else { RowSet::none(within.rows()) };
        let Some(column) = self.batch.field(name) else { return Ok(rows) };
        for index in 0..column.len() {
            let row = column.row(index);
            if within.contains(row) {
                if test.matches_value(column.value(index)) { rows.insert(row) } else { rows.remove(row) }
            }
        }
        Ok(rows)
    }
}
