//! Functions: range and vector aggregations, `label_replace`, `vector`.

use super::binary::{meaning, metric};
use super::range::{LogRange, log_range};
use super::{Cursor, Meant, NESTING_MAX, ParseError, check, matching};
use crate::ast::{Grouping, LabelReplace, MetricExpr, RangeAggregation, RangeOp, VectorAggregation, VectorOp};
use crate::lexer::Kind;
use crate::units::parse_float;

/// A function and its arguments; and how deep its tree is.
pub(super) fn function(cursor: &mut Cursor<'_>) -> Result<(Meant, usize), ParseError> {
    let (meant, depth) = if let Some(op) = range_op(cursor.kind()) {
        (range(cursor, op)?, 1)
    } else if let Some(op) = vector_op(cursor.kind()) {
        vector(cursor, op)?
    } else if cursor.kind() == Kind::LabelReplace {
        label_replace(cursor)?
    } else if cursor.kind() == Kind::Vector {
        (vector_literal(cursor)?, 1)
    } else {
        return Err(cursor.unexpected(&[]));
    };
    if depth > NESTING_MAX { Err(cursor.too_deep()) } else { Ok((meant, depth)) }
}

fn range(cursor: &mut Cursor<'_>, op: RangeOp) -> Result<Meant, ParseError> {
    cursor.take();
    cursor.expect(Kind::Open)?;
    let mut parameter = None;
    let range = if cursor.kind() == Kind::Number {
        parameter = Some(cursor.take().text);
        cursor.expect(Kind::Comma)?;
        log_range(cursor, &[Kind::OpenBrace, Kind::Open])?
    } else {
        log_range(cursor, &[Kind::Number, Kind::OpenBrace, Kind::Open])?
    };
    cursor.expect(Kind::Close)?;
    let grouping = matching::grouping(cursor)?;
    Ok(checked_range(op, parameter, range, grouping))
}

fn checked_range(op: RangeOp, parameter: Option<&str>, range: LogRange, grouping: Option<Grouping>) -> Meant {
    let parameter = match parameter {
        Some(text) if op != RangeOp::QuantileOverTime => {
            return Err(meaning(format!("parameter {text} not supported for operation {op}")));
        }
        None if op == RangeOp::QuantileOverTime => {
            return Err(meaning(format!("parameter required for operation {op}")));
        }
        Some(text) => {
            let value = parse_float(text);
            Some(value.map_err(|error| meaning(format!("invalid parameter for operation {op}: {error}")))?)
        }
        None => None,
    };
    if grouping.is_some() && !op.takes_grouping() {
        return Err(meaning(format!("grouping not allowed for {op} aggregation")));
    }
    if range.unwrap.is_some() && !op.takes_values() {
        return Err(meaning(format!("invalid aggregation {op} with unwrap")));
    }
    if range.unwrap.is_none() && !op.takes_lines() {
        return Err(meaning(format!("invalid aggregation {op} without unwrap")));
    }
    check::selects(&range.log.selector)?;
    let LogRange { log, unwrap, range_ns, offset_ns } = range;
    Ok(MetricExpr::Range(Box::new(RangeAggregation { op, parameter, log, unwrap, range_ns, offset_ns, grouping })))
}

fn vector(cursor: &mut Cursor<'_>, op: VectorOp) -> Result<(Meant, usize), ParseError> {
    cursor.take();
    let before = matching::grouping(cursor)?;
    let expected: &[Kind] = if before.is_some() { &[Kind::Open] } else { &[Kind::Open, Kind::By, Kind::Without] };
    cursor.expect_among(Kind::Open, expected)?;
    let parameter = cursor.number_argument();
    let (inner, depth) = cursor.nested(metric)?;
    cursor.expect_among(Kind::Close, &[])?;
    let grouping = if before.is_some() { before } else { matching::grouping(cursor)? };
    Ok((checked_vector(op, parameter, inner, grouping), depth + 1))
}

fn checked_vector(op: VectorOp, parameter: Option<&str>, inner: Meant, grouping: Option<Grouping>) -> Meant {
    let takes_parameter = matches!(op, VectorOp::Topk | VectorOp::Bottomk | VectorOp::ApproxTopk);
    let parameter = match parameter {
        None if takes_parameter => return Err(meaning(format!("parameter required for operation {op}"))),
        None => None,
        Some(text) if !takes_parameter => {
            return Err(meaning(format!("unsupported parameter for operation {op}({text},")));
        }
        Some(text) => {
            let value: i64 = text.parse().map_err(|_| meaning(format!("invalid parameter {op}({text},")))?;
            if value <= 0 {
                return Err(meaning(format!("invalid parameter (must be greater than 0) {op}({text}")));
            }
            Some(value)
        }
    };
    if op == VectorOp::ApproxTopk && grouping.is_some() {
        return Err(meaning(format!("grouping not allowed for {op} aggregation")));
    }
    let has_names = grouping.as_ref().is_some_and(|grouping| !grouping.names.is_empty());
    if matches!(op, VectorOp::Sort | VectorOp::SortDesc) && has_names {
        return Err(meaning("sort and sort_desc doesn't allow grouping by ".to_owned()));
    }
    // Grouping by nothing is what no grouping means.
    let grouping = grouping.filter(|grouping| grouping.without || !grouping.names.is_empty());
    Ok(MetricExpr::Vector(Box::new(VectorAggregation { op, parameter, inner: inner?, grouping })))
}

fn label_replace(cursor: &mut Cursor<'_>) -> Result<(Meant, usize), ParseError> {
    cursor.take();
    cursor.expect(Kind::Open)?;
    let (inner, depth) = cursor.nested(metric)?;
    let mut texts: [String; 4] = Default::default();
    for (index, text) in texts.iter_mut().enumerate() {
        let expected: &[Kind] = if index == 0 { &[] } else { &[Kind::Comma] };
        cursor.expect_among(Kind::Comma, expected)?;
        *text = cursor.expect(Kind::String)?.string;
    }
    cursor.expect(Kind::Close)?;
    let [destination, replacement, source, regex] = texts;
    let meant = match check::regex(cursor, &format!("^(?:{regex})$"))? {
        Err(error) => Err(meaning(format!("invalid regex in label_replace: {error}"))),
        Ok(()) => inner.map(|inner| {
            MetricExpr::LabelReplace(Box::new(LabelReplace { inner, destination, replacement, source, regex }))
        }),
    };
    Ok((meant, depth + 1))
}

fn vector_literal(cursor: &mut Cursor<'_>) -> Result<Meant, ParseError> {
    cursor.take();
    cursor.expect(Kind::Open)?;
    let value = parse_float(cursor.expect(Kind::Number)?.text);
    cursor.expect(Kind::Close)?;
    Ok(value
        .map(MetricExpr::VectorLiteral)
        .map_err(|error| meaning(format!("unable to parse vectorExpr as a float: {error}"))))
}

fn range_op(kind: Kind) -> Option<RangeOp> {
    Some(match kind {
        Kind::CountOverTime => RangeOp::CountOverTime,
        Kind::Rate => RangeOp::Rate,
        Kind::RateCounter => RangeOp::RateCounter,
        Kind::BytesOverTime => RangeOp::BytesOverTime,
        Kind::BytesRate => RangeOp::BytesRate,
        Kind::AvgOverTime => RangeOp::AvgOverTime,
        Kind::SumOverTime => RangeOp::SumOverTime,
        Kind::MinOverTime => RangeOp::MinOverTime,
        Kind::MaxOverTime => RangeOp::MaxOverTime,
        Kind::StdvarOverTime => RangeOp::StdvarOverTime,
        Kind::StddevOverTime => RangeOp::StddevOverTime,
        Kind::QuantileOverTime => RangeOp::QuantileOverTime,
        Kind::FirstOverTime => RangeOp::FirstOverTime,
        Kind::LastOverTime => RangeOp::LastOverTime,
        Kind::AbsentOverTime => RangeOp::AbsentOverTime,
        _ => return None,
    })
}

fn vector_op(kind: Kind) -> Option<VectorOp> {
    Some(match kind {
        Kind::Sum => VectorOp::Sum,
        Kind::Avg => VectorOp::Avg,
        Kind::Count => VectorOp::Count,
        Kind::Max => VectorOp::Max,
        Kind::Min => VectorOp::Min,
        Kind::Stddev => VectorOp::Stddev,
        Kind::Stdvar => VectorOp::Stdvar,
        Kind::Bottomk => VectorOp::Bottomk,
        Kind::Topk => VectorOp::Topk,
        Kind::Sort => VectorOp::Sort,
        Kind::SortDesc => VectorOp::SortDesc,
        Kind::ApproxTopk => VectorOp::ApproxTopk,
        _ => return None,
    })
}
