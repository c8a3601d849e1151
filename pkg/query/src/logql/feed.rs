//! Feeding rows to the runner of a pipeline: the labels of a stream are given to it when the
//! stream changes, not for every row.

use super::rows::{Need, Row};
use super::view;
use crate::error::QueryError;
use crate::plan::{Plan, Unit};
use std::borrow::Cow;
use std::sync::Arc;
use timberlog_logql::{Pipeline, Runner};
use timberlog_types::RowSet;

/// Rows between two looks at whether the query is to end.
const ROWS_PER_CHECK: usize = 16;

/// What is left of a pipeline, and what it needs.
#[derive(Clone)]
pub(crate) struct Residual {
    pub pipeline: Arc<Pipeline>,
    /// Whether it or the caller looks at the line.
    pub line: bool,
    /// Whether labels that Loki derives are seen.
    pub derived: bool,
    /// The time that templates take for `now`.
    pub now_ns: i64,
}

impl Residual {
    /// Runs rows of a unit through the pipeline; calls `each` with those that pass.
    pub fn run(
        &self,
        plan: &Plan,
        unit: &Unit,
        rows: &RowSet,
        each: &mut dyn FnMut(&Row<'_>, &mut Runner) -> Result<(), QueryError>,
    ) -> Result<(), QueryError> {
        let mut runner = self.pipeline.runner();
        runner.set_now_ns(self.now_ns);
        let (mut last, mut since_check) = (None, 0);
        let need = Need { metadata: self.pipeline.metadata_needed(), line: self.line, derived: self.derived };
        super::rows::for_each(plan, unit, rows, &need, &mut |row| {
            // A block or a batch may take long: a line costs what its stages cost.
            since_check += 1;
            if since_check == ROWS_PER_CHECK {
                since_check = 0;
                plan.budget.check()?;
            }
            if last != Some(row.stream_id) {
                last = Some(row.stream_id);
                let mut labels: Vec<(Cow<'_, str>, &str)> = Vec::new();
                view::labels(row.stream, self.derived, &mut labels);
                let labels: Vec<(&str, &str)> = labels.iter().map(|(name, value)| (&**name, *value)).collect();
                runner.set_stream(&labels);
            }
            let mut ended = Ok(());
            let passes = runner.run_while(row.timestamp, row.line, row.metadata, &mut || {
                ended = plan.budget.check();
                ended.is_ok()
            });
            ended?;
            if passes { each(row, &mut runner) } else { Ok(()) }
        })
    }

    /// The rows that pass.
    pub fn select(&self, plan: &Plan, unit: &Unit, rows: &RowSet) -> Result<RowSet, QueryError> {
        let mut passing = RowSet::none(rows.rows());
        self.run(plan, unit, rows, &mut |row, _| {
            passing.insert(row.row);
            Ok(())
        })?;
        Ok(passing)
    }
}
