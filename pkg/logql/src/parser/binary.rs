//! Expressions: operators between operands, by precedence, and operands.

use super::{Cursor, Meant, NESTING_MAX, ParseError, Parsed, aggregation, check, matching, selector};
use crate::ast::{BinaryExpr, BinaryOp, MetricExpr, VectorMatching};
use crate::evaluate::arithmetic;
use crate::lexer::Kind;

/// An expression whose operators bind at least so tightly; and how deep its tree is.
pub(super) fn expr(cursor: &mut Cursor<'_>, binding_min: u8) -> Result<(Parsed, usize), ParseError> {
    cursor.nested(|cursor| {
        let (mut left, mut depth) = operand(cursor)?;
        while let Some((op, binding)) = operator(cursor.kind()).filter(|&(_, binding)| binding >= binding_min) {
            cursor.take();
            let (return_bool, matching) = matching::modifier(cursor)?;
            // Only `^` groups to the right.
            let right_min = if op == BinaryOp::Pow { binding } else { binding + 1 };
            let (right, right_depth) = expr(cursor, right_min)?;
            let combined = combine(op, return_bool, matching, left, right);
            depth = match combined {
                Ok(MetricExpr::Literal(_)) => 1,
                _ => depth.max(right_depth) + 1,
            };
            left = Parsed::Metric(combined);
            if depth > NESTING_MAX {
                return Err(cursor.too_deep());
            }
        }
        Ok((left, depth))
    })
}

/// A metric query that is an argument of a function; and how deep its tree is. A log query is
/// complained about at the token behind it, where an operator would have to be.
pub(super) fn metric(cursor: &mut Cursor<'_>) -> Result<(Meant, usize), ParseError> {
    match expr(cursor, 0)? {
        (Parsed::Metric(metric), depth) => Ok((metric, depth)),
        (Parsed::Log(_), _) => Err(cursor.unexpected(&[])),
    }
}

/// A literal: a number with or without a sign.
pub(super) fn literal(cursor: &mut Cursor<'_>) -> Result<Result<f64, ParseError>, ParseError> {
    let negative = cursor.kind() == Kind::Sub;
    if negative || cursor.kind() == Kind::Add {
        cursor.take();
    }
    let token = cursor.expect(Kind::Number)?;
    Ok(check::number(token.text).map(|value| if negative { -value } else { value }))
}

fn operand(cursor: &mut Cursor<'_>) -> Result<(Parsed, usize), ParseError> {
    match cursor.kind() {
        Kind::OpenBrace => Ok((Parsed::Log(selector::log(cursor)?), 1)),
        Kind::Open => {
            cursor.take();
            let inner = expr(cursor, 0)?;
            cursor.expect_among(Kind::Close, &[])?;
            Ok(inner)
        }
        Kind::Number | Kind::Add | Kind::Sub => Ok((Parsed::Metric(literal(cursor)?.map(MetricExpr::Literal)), 1)),
        _ => aggregation::function(cursor).map(|(metric, depth)| (Parsed::Metric(metric), depth)),
    }
}

/// An operator, and how tightly it binds.
fn operator(kind: Kind) -> Option<(BinaryOp, u8)> {
    Some(match kind {
        Kind::Or => (BinaryOp::Or, 1),
        Kind::And => (BinaryOp::And, 2),
        Kind::Unless => (BinaryOp::Unless, 2),
        Kind::CmpEq => (BinaryOp::Eq, 3),
        Kind::Neq => (BinaryOp::Ne, 3),
        Kind::Gt => (BinaryOp::Gt, 3),
        Kind::Gte => (BinaryOp::Ge, 3),
        Kind::Lt => (BinaryOp::Lt, 3),
        Kind::Lte => (BinaryOp::Le, 3),
        Kind::Add => (BinaryOp::Add, 4),
        Kind::Sub => (BinaryOp::Sub, 4),
        Kind::Mul => (BinaryOp::Mul, 5),
        Kind::Div => (BinaryOp::Div, 5),
        Kind::Mod => (BinaryOp::Mod, 5),
        Kind::Pow => (BinaryOp::Pow, 6),
        _ => return None,
    })
}

fn combine(op: BinaryOp, return_bool: bool, matching: Option<VectorMatching>, left: Parsed, right: Parsed) -> Meant {
    let side = |parsed: Parsed, leg: &str| match parsed {
        Parsed::Metric(metric) => Ok(metric),
        Parsed::Log(log) => {
            let kind = if log.stages.is_empty() { "MatchersExpr" } else { "PipelineExpr" };
            Err(meaning(format!("unexpected type for {leg} leg of binary operation ({op}): *syntax.{kind}")))
        }
    };
    let (left, right) = (side(left, "left")?, side(right, "right")?);
    if matches!(op, BinaryOp::Or | BinaryOp::And | BinaryOp::Unless) {
        for (operand, leg) in [(&left, "left"), (&right, "right")] {
            if let Ok(MetricExpr::Literal(value)) = operand {
                let value = check::fixed(*value);
                let message =
                    format!("unexpected literal for {leg} leg of logical/set binary operation ({op}): {value}");
                return Err(meaning(message));
            }
        }
    }
    match (left?, right?) {
        (MetricExpr::Literal(left), MetricExpr::Literal(right)) => {
            Ok(MetricExpr::Literal(arithmetic::apply(op, left, right)))
        }
        (left, right) => Ok(MetricExpr::Binary(Box::new(BinaryExpr { op, left, right, return_bool, matching }))),
    }
}

/// An error that no place is to blame for.
pub(super) fn meaning(message: String) -> ParseError {
    ParseError::new(message, 0, 0)
}
