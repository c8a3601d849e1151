//! The answer of a query from the vectors of its steps.

use super::node::Node;
use super::run::{Failure, Run, Sample, StepNotes};
use super::{EvaluateError, EvaluateLimits, MatrixSeries, Steps, Value, VectorSample};
use crate::Labels;

/// What a query that is a number, or `vector(number)`, comes to.
pub(super) fn constant(value: f64, is_vector: bool, steps: Steps, count: usize) -> Value {
    let timestamp_ns = steps.start_ns;
    match (steps.step_ns, is_vector) {
        (0, false) => Value::Scalar { timestamp_ns, value },
        (0, true) => Value::Vector(vec![VectorSample { labels: Labels::default(), timestamp_ns, value }]),
        _ => {
            let points = (0..count).map(|index| (time_of(steps, index), value)).collect();
            Value::Matrix(vec![MatrixSeries { labels: Labels::default(), points }])
        }
    }
}

/// The vector of an instant query.
pub(super) fn instant(
    node: &mut Node,
    sorted: bool,
    steps: Steps,
    run: &mut Run<'_>,
    limits: &EvaluateLimits,
) -> Result<Value, Failure> {
    let mut elements = Vec::new();
    node.step(0, run, &mut elements)?;
    if limits.series_max != 0 && elements.len() > limits.series_max {
        return Err(EvaluateError::TooManySeries { max: limits.series_max });
    }
    let timestamp_ns = steps.start_ns;
    let mut samples: Vec<VectorSample> = elements
        .iter()
        .map(|&Sample { set, value }| VectorSample { labels: (*run.labels(set)).clone(), timestamp_ns, value })
        .collect();
    if !sorted {
        samples.sort_by(|left, right| left.labels.cmp(&right.labels));
    }
    Ok(Value::Vector(samples))
}

/// The matrix of a range query.
pub(super) fn range(
    node: &mut Node,
    steps: Steps,
    count: usize,
    run: &mut Run<'_>,
    limits: &EvaluateLimits,
) -> Result<Value, Failure> {
    let mut series: Vec<MatrixSeries> = Vec::new();
    // One step for the notes: where the series of a label set is.
    let mut places = StepNotes::default();
    places.begin();
    let mut elements = Vec::new();
    for index in 0..count {
        run.work(1)?;
        node.step(index, run, &mut elements)?;
        let too_many = |count: usize| limits.series_max != 0 && count > limits.series_max;
        if index == 0 && too_many(elements.len()) {
            return Err(EvaluateError::TooManySeries { max: limits.series_max });
        }
        run.take(elements.len() * size_of::<(i64, f64)>())?;
        let time_ns = time_of(steps, index);
        for &Sample { set, value } in &elements {
            let place = match places.get(set) {
                Some(place) => place,
                None => {
                    let place = series.len();
                    if too_many(place + 1) {
                        return Err(EvaluateError::TooManySeries { max: limits.series_max });
                    }
                    places.set(set, place);
                    series.push(MatrixSeries { labels: (*run.labels(set)).clone(), points: Vec::new() });
                    place
                }
            };
            if let Some(series) = series.get_mut(place) {
                series.points.push((time_ns, value));
            }
        }
    }
    series.sort_by(|left, right| left.labels.cmp(&right.labels));
    Ok(Value::Matrix(series))
}

/// When a step is. That the last one fits was checked when they were counted.
fn time_of(steps: Steps, index: usize) -> i64 {
    steps.start_ns.saturating_add(steps.step_ns.saturating_mul(index as i64))
}
