//! Labels that a stage left empty, in the answers of metric queries.
//!
//! A series keeps them, and a grouping by name does. But Loki's frontend wraps range aggregations
//! whose pipeline may make the same labels of several streams into an aggregation `without ()`, and
//! an average into a division; either leaves empty labels out. What it does to an expression does not
//! depend on the data, and so the same is done here.

use crate::ast::{FormatValue, Grouping, LabelFilter, RangeAggregation, RangeOp, Stage};

/// Labels whose filter behind an `unwrap` keeps the frontend from dividing sums by counts.
const ERRORS: [&str; 2] = ["__error__", "__error_details__"];

/// Whether series of a range aggregation, grouped so, keep labels that are empty.
pub fn keeps_empty(leaf: &RangeAggregation, grouping: Option<&Grouping>) -> bool {
    let reduces = grouping.is_some_and(|grouping| !grouping.names.is_empty()) || reduces_labels(&leaf.log.stages);
    let by = grouping.is_some_and(|grouping| !grouping.without);
    match leaf.op {
        RangeOp::AvgOverTime => !reduces || filters_errors(leaf),
        RangeOp::CountOverTime
        | RangeOp::Rate
        | RangeOp::BytesOverTime
        | RangeOp::BytesRate
        | RangeOp::SumOverTime
        | RangeOp::MaxOverTime
        | RangeOp::MinOverTime => !reduces || by,
        RangeOp::AbsentOverTime
        | RangeOp::FirstOverTime
        | RangeOp::LastOverTime
        | RangeOp::StddevOverTime
        | RangeOp::StdvarOverTime
        | RangeOp::QuantileOverTime
        | RangeOp::RateCounter => true,
    }
}

fn reduces_labels(stages: &[Stage]) -> bool {
    stages.iter().any(|stage| match stage {
        Stage::Drop(_) | Stage::Keep(_) => true,
        Stage::LabelFormat(formats) => formats.iter().any(|format| matches!(format.value, FormatValue::Rename(_))),
        _ => false,
    })
}

fn filters_errors(leaf: &RangeAggregation) -> bool {
    leaf.unwrap.as_ref().is_some_and(|unwrap| unwrap.filters.iter().any(names_error))
}

fn names_error(filter: &LabelFilter) -> bool {
    match filter {
        LabelFilter::And(left, right) | LabelFilter::Or(left, right) => names_error(left) || names_error(right),
        LabelFilter::Text(matcher) => ERRORS.contains(&matcher.name.as_str()),
        LabelFilter::Number { name, .. }
        | LabelFilter::Duration { name, .. }
        | LabelFilter::Bytes { name, .. }
        | LabelFilter::Ip { name, .. } => ERRORS.contains(&name.as_str()),
    }
}
