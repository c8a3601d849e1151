//! Metric queries: from the samples of their range aggregations to the numbers that answer them.
//!
//! A tree of [`MetricExpr`] and the [`Steps`] at which it is wanted → for each range aggregation
//! the windows whose samples are needed, asked for with [`Leaves::series`] → step by step the
//! vector of the tree's root → [`Value`]. Follows Loki 3 in what is computed, in which order
//! floats are added, and in what is an error. Where Loki's answer depends on the order of a hash
//! map (ties of `topk`, order of float additions across series), ours goes by the order of labels.
//! Pure: knows no file, no clock and no thread.

use self::plan::Planner;
use self::run::{Failure, Guarded, Run, Source};
use crate::Labels;
use crate::ast::{Grouping, MetricExpr, RangeAggregation};

mod answer;
pub(crate) mod arithmetic;
mod binary;
mod error;
mod limits;
mod node;
mod plan;
mod replace;
mod run;
mod samples;
#[cfg(test)]
mod tests;
mod vector;
mod window;

pub use error::{EvaluateError, PipelineError, pipeline_error};
pub use limits::EvaluateLimits;

/// When a query is evaluated, in ns since 1970: at `start`, `start + step`, … up to `end`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Steps {
    /// The first.
    pub start_ns: i64,
    /// The last is the last step not behind it. An instant query has start = end.
    pub end_ns: i64,
    /// The distance. 0 means an instant query, whose answer is a vector and not a matrix.
    pub step_ns: i64,
}

/// The windows of a range aggregation: window `i` is `(end - range, end]` with
/// `end = first_end + i * step`. The offset is already in them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Windows {
    /// Where the first ends (inclusive).
    pub first_end_ns: i64,
    /// From one end to the next; 0 if there is one window only.
    pub step_ns: i64,
    /// How many; at least 1.
    pub count: usize,
    /// How long each is; more than 0.
    pub range_ns: i64,
}

/// The samples of a series.
#[derive(Clone, Debug, PartialEq)]
pub enum Samples {
    /// Time in ns and value of each, sorted by time, those of equal time in their total order.
    /// A line counts as 1 for operations that count lines and as its length in bytes for those
    /// that count bytes. Samples outside of all windows do no harm.
    Points(Vec<(i64, f64)>),
    /// For each window the sum of its values (lines or bytes), `None` if no line is in it. Only
    /// for operations that count lines or bytes.
    Totals(Vec<Option<f64>>),
}

/// The samples of a range aggregation that have equal labels (after its grouping).
#[derive(Clone, Debug, PartialEq)]
pub struct LeafSeries {
    /// The labels; two series never have the same.
    pub labels: Labels,
    /// The samples.
    pub samples: Samples,
}

/// Where the samples of range aggregations come from.
pub trait Leaves {
    /// Why there are none.
    type Error;

    /// The series of a range aggregation, in any order.
    ///
    /// `grouping` replaces the one of `leaf`: it is that of the aggregation around it where that
    /// gives the same numbers (`sum` over counts, rates and sums), `by ()` for
    /// `absent_over_time`, otherwise that of `leaf` itself; `None` keeps all labels. A line whose
    /// labels have `__error__` keeps them all, whatever the grouping.
    fn series(
        &mut self,
        leaf: &RangeAggregation,
        grouping: Option<&Grouping>,
        windows: &Windows,
    ) -> Result<Vec<LeafSeries>, Self::Error>;

    /// Called again and again during the evaluation: an error ends it (a client that went away,
    /// a time that is over).
    fn check(&mut self) -> Result<(), Self::Error> {
        Ok(())
    }
}

/// The answer of a metric query.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// Of an instant query that is a number.
    Scalar {
        /// When, in ns.
        timestamp_ns: i64,
        /// What.
        value: f64,
    },
    /// Of an instant query: sorted by labels, or if there is a `sort` in the query, by that.
    Vector(Vec<VectorSample>),
    /// Of a range query: sorted by labels.
    Matrix(Vec<MatrixSeries>),
}

/// One element of a vector.
#[derive(Clone, Debug, PartialEq)]
pub struct VectorSample {
    /// Its labels.
    pub labels: Labels,
    /// When, in ns.
    pub timestamp_ns: i64,
    /// What.
    pub value: f64,
}

/// One series of a matrix.
#[derive(Clone, Debug, PartialEq)]
pub struct MatrixSeries {
    /// Its labels.
    pub labels: Labels,
    /// Time in ns and value at each step that has one, ascending.
    pub points: Vec<(i64, f64)>,
}

/// Evaluates a metric query.
///
/// # Errors
/// See [`EvaluateError`]; an error of `leaves` ends the evaluation at once.
pub fn evaluate<L: Leaves>(
    expr: &MetricExpr,
    steps: Steps,
    leaves: &mut L,
    limits: &EvaluateLimits,
) -> Result<Value, EvaluateError<L::Error>> {
    let mut source = Guarded { leaves, error: None };
    let answer = answer(expr, steps, &mut source, limits);
    answer.map_err(|failure| failure.outside(source.error))
}

fn answer(expr: &MetricExpr, steps: Steps, source: &mut dyn Source, limits: &EvaluateLimits) -> Result<Value, Failure> {
    let count = steps.count(limits)?;
    if let Some(value) = plan::number(expr, 0)? {
        return Ok(answer::constant(value, false, steps, count));
    }
    if let MetricExpr::VectorLiteral(value) = expr {
        return Ok(answer::constant(*value, true, steps, count));
    }
    let mut run = Run::new(source, limits.memory_max_bytes);
    let mut node = Planner { steps, count, loaded: Vec::new(), run: &mut run }.node(expr, 0)?;
    if steps.step_ns == 0 {
        answer::instant(&mut node, plan::sorts(expr), steps, &mut run, limits)
    } else {
        answer::range(&mut node, steps, count, &mut run, limits)
    }
}

impl Steps {
    /// How many there are.
    fn count(self, limits: &EvaluateLimits) -> Result<usize, Failure> {
        let length = self.end_ns.checked_sub(self.start_ns).ok_or(EvaluateError::TimeOutOfRange)?;
        if length < 0 {
            return Err(EvaluateError::EndBeforeStart);
        }
        if length == 0 && self.step_ns == 0 {
            return Ok(1);
        }
        if self.step_ns <= 0 {
            return Err(EvaluateError::Step);
        }
        let intervals = length.unsigned_abs() / self.step_ns.unsigned_abs();
        let max = limits.points_per_series_max;
        if max != 0 && intervals > max {
            return Err(EvaluateError::TooManyPoints { max });
        }
        usize::try_from(intervals)
            .ok()
            .and_then(|intervals| intervals.checked_add(1))
            .ok_or(EvaluateError::TimeOutOfRange)
    }
}
