//! LogQL over a snapshot.
//!
//! A query is lowered to what the planner knows, a filter over columns, and to what is left of its
//! pipeline; blocks are pruned and searched by the first, and only the lines that pass run through
//! the second. Counts by labels that no stage makes never leave the columns.

mod delete;
mod entries;
mod feed;
mod listing;
mod lower;
mod names;
mod patterns;
mod rows;
mod samples;
mod tail;
#[cfg(test)]
mod tests;
pub(crate) mod view;
mod volume;

pub use delete::{delete_filter, delete_text};
pub(crate) use feed::Residual;
pub use listing::{label_names, label_values, series, stats};
pub use patterns::{LinePattern, Patterns};
pub use tail::TailFilter;
pub use volume::{Volume, VolumeBy, VolumeQuery};

use crate::error::QueryError;
use crate::explain::Explain;
use crate::request::{Cancel, Order, Query, QueryLimits};
use crate::statistics::Statistics;
use serde::Serialize;
use timberlog_logql::Labels;
use timberlog_logql::ast::{LogExpr, MetricExpr};
use timberlog_logql::evaluate::{self, EvaluateError, EvaluateLimits, Steps, Value};
use timberlog_storage::Snapshot;
use timberlog_types::{Result, Tenant, TimeRange};

/// How a LogQL query is run.
#[derive(Clone, Debug)]
pub struct Options {
    /// What it may use.
    pub limits: QueryLimits,
    /// Series that a range aggregation may have before anything is computed of them.
    pub series_max: usize,
    /// Limits of the evaluation.
    pub evaluate: EvaluateLimits,
    /// Whether labels that Loki derives (`service_name`, `detected_level`) are seen.
    pub derived: bool,
    /// Ends the query when somebody says so.
    pub cancel: Cancel,
    /// The time that templates take for `now`, in ns since 1970 UTC.
    pub now_ns: i64,
}

impl Default for Options {
    /// The default limits, 100,000 series, derived labels seen.
    fn default() -> Self {
        Self {
            limits: QueryLimits::default(),
            series_max: 100_000,
            evaluate: EvaluateLimits::default(),
            derived: true,
            cancel: Cancel::default(),
            now_ns: 0,
        }
    }
}

/// A log query.
#[derive(Clone, Debug)]
pub struct LogQuery {
    /// What is asked.
    pub expr: LogExpr,
    /// From when to when, both included.
    pub range: TimeRange,
    /// In which order.
    pub order: Order,
    /// How many lines at most.
    pub limit: usize,
    /// Lines are at least so many ns apart; 0 takes all.
    pub interval_ns: i64,
    /// How it is run.
    pub options: Options,
}

/// A line of an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// ns since 1970 UTC.
    pub timestamp: i64,
    /// The line, as the pipeline has left it.
    pub line: String,
    /// Labels of the stream.
    pub stream: Labels,
    /// Fields of the record (structured metadata).
    pub metadata: Labels,
    /// Labels that the pipeline has made.
    pub parsed: Labels,
}

impl Entry {
    /// Bytes of memory, about.
    pub fn memory_bytes(&self) -> usize {
        let of = |labels: &Labels| labels.iter().map(|(name, value)| name.len() + value.len() + 48).sum::<usize>();
        size_of::<Self>() + self.line.len() + of(&self.stream) + of(&self.metadata) + of(&self.parsed)
    }

    /// All labels in one set.
    pub fn labels(&self) -> Labels {
        let all = [&self.stream, &self.metadata, &self.parsed];
        Labels::with_empty(all.into_iter().flat_map(|labels| labels.iter().map(|(n, v)| (n.to_owned(), v.to_owned()))))
    }
}

/// The answer of a log query.
#[derive(Clone, Debug)]
pub struct Entries {
    /// The lines, in the order that was asked for.
    pub entries: Vec<Entry>,
    /// What the query looked at.
    pub statistics: Statistics,
    /// What could not be read, for people.
    pub missing: Vec<String>,
}

/// The answer of a metric query.
#[derive(Clone, Debug)]
pub struct Computed {
    /// The numbers.
    pub value: Value,
    /// What the query looked at.
    pub statistics: Statistics,
    /// What could not be read and so is not counted, for people.
    pub missing: Vec<String>,
}

/// What a selector finds, from the index.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Stats {
    /// Streams.
    pub streams: u64,
    /// Blocks and batches.
    pub chunks: u64,
    /// Bytes of their lines, about.
    pub bytes: u64,
    /// Records.
    pub entries: u64,
}

/// Runs a log query.
///
/// # Errors
/// `Invalid` if a stage is, `Overloaded` if a limit ends the query.
pub fn entries(snapshot: &Snapshot, query: &LogQuery) -> Result<Entries> {
    Ok(entries::entries(snapshot, query)?)
}

/// The forms that the lines of a log query have and how many lines have each, by steps that begin
/// at multiples of `step_ns`. A label filter or line filter of the query counts, what it makes of
/// lines does not.
///
/// # Errors
/// `Invalid` if a stage is, `Overloaded` if a limit ends the query.
pub fn patterns(
    snapshot: &Snapshot,
    expr: &LogExpr,
    range: TimeRange,
    step_ns: i64,
    options: &Options,
) -> Result<Patterns> {
    Ok(patterns::patterns(snapshot, expr, range, step_ns, options)?)
}

/// Bytes by the labels of streams and by steps of time, an estimate as that of [`stats`].
///
/// # Errors
/// `Invalid` if the selector is or there are too many volumes, `Overloaded` if a limit ends the query.
pub fn volume(snapshot: &Snapshot, query: &VolumeQuery, options: &Options) -> Result<Vec<Volume>> {
    Ok(volume::volume(snapshot, query, options)?)
}

/// Why a metric query has no answer.
pub type MetricError = EvaluateError<QueryError>;

/// Runs a metric query.
///
/// # Errors
/// What evaluating ends with: a limit, a pipeline error, vectors that do not match; or what
/// reading ends with.
pub fn compute(
    snapshot: &Snapshot,
    expr: &MetricExpr,
    steps: Steps,
    options: &Options,
) -> std::result::Result<Computed, MetricError> {
    let mut leaves = samples::SnapshotLeaves::new(snapshot, options);
    let value = evaluate::evaluate(expr, steps, &mut leaves, &options.evaluate)?;
    Ok(Computed { value, statistics: leaves.statistics, missing: leaves.missing })
}

/// What a log query would read, what it would leave out, and why. What is left of the pipeline
/// after the filter is not part of it.
pub fn explain(snapshot: &Snapshot, query: &LogQuery) -> Result<Explain> {
    let budget = crate::budget::Budget::new(query.options.limits).cancelled_by(&query.options.cancel);
    let names = names::FieldNames::of(snapshot, query.range, query.options.derived, &budget);
    let lowered = lower::lower(&query.expr, &names, query.options.derived)?;
    let native = Query {
        range: query.range,
        filter: lowered.filter,
        order: query.order,
        limit: query.limit,
        limits: query.options.limits,
        ..Query::new(Tenant::default())
    };
    crate::explain::explain(snapshot, &native)
}
