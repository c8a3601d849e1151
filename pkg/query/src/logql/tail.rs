//! LogQL over batches as they are published: what Loki's tail shows.

use super::entries::entry;
use super::rows::{Need, Row};
use super::{Entry, lower, view};
use crate::error::QueryError;
use std::borrow::Cow;
use std::sync::Arc;
use timberlog_filter::{BatchColumns, Compiled, Filter, evaluate};
use timberlog_logql::ast::LogExpr;
use timberlog_logql::{Pipeline, Wanted};
use timberlog_types::{Batch, Result, RowSet};

/// A log query that is asked of one batch after the other.
pub struct TailFilter {
    filter: Compiled,
    pipeline: Arc<Pipeline>,
    derived: bool,
}

impl TailFilter {
    /// Compiles a log query.
    ///
    /// # Errors
    /// `Invalid` if the selector or a stage is.
    pub fn new(expr: &LogExpr, derived: bool) -> Result<Self> {
        let filter = lower::selector(&expr.selector, derived)?;
        let pipeline =
            Pipeline::new(&expr.stages, None, Wanted::All).map_err(|error| QueryError::Stage(error.to_string()))?;
        let filter = Compiled::new(&filter).map_err(QueryError::from)?;
        Ok(Self { filter, pipeline: Arc::new(pipeline), derived })
    }

    /// A filter that lets through at least what the query does.
    pub fn filter(&self) -> Filter {
        self.filter.to_filter()
    }

    /// The matching lines among rows of a batch, in order of arrival. `now_ns` is what templates take for `now`.
    pub fn entries(&self, batch: &Batch, rows: RowSet, now_ns: i64) -> Result<Vec<Entry>> {
        let rows = evaluate(&self.filter, &BatchColumns::new(batch), rows)?;
        let mut runner = self.pipeline.runner();
        runner.set_now_ns(now_ns);
        let mut entries = Vec::new();
        let mut last = None;
        let need = Need { metadata: self.pipeline.metadata_needed(), line: true, derived: self.derived };
        super::rows::of_batch(batch, &rows, &need, &mut |row: &Row<'_>| {
            if last != Some(row.stream_id) {
                last = Some(row.stream_id);
                let mut labels: Vec<(Cow<'_, str>, &str)> = Vec::new();
                view::labels(row.stream, self.derived, &mut labels);
                let labels: Vec<(&str, &str)> = labels.iter().map(|(name, value)| (&**name, *value)).collect();
                runner.set_stream(&labels);
            }
            if runner.run(row.timestamp, row.line, row.metadata) {
                entries.push(entry(row.timestamp, &mut runner));
            }
            Ok(())
        })?;
        Ok(entries)
    }
}
