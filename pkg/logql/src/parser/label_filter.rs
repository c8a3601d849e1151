//! Conditions on labels.

use super::{Cursor, NESTING_MAX, ParseError, binary, selector, stage};
use crate::ast::{CompareOp, LabelFilter, MatchOp};
use crate::lexer::Kind;

/// A condition, or several joined by `and`, `or`, commas or nothing.
///
/// `and` binds tighter than `or`, and both group to the left. A comma, or nothing, binds what is
/// before it with everything behind it: `a or b, c or d` is `a or (b and (c or d))`.
pub(super) fn filter(cursor: &mut Cursor<'_>) -> Result<LabelFilter, ParseError> {
    cursor.nested(|cursor| {
        // Each is a group that ended in a comma: what is behind it goes into its last condition.
        let mut groups: Vec<Group> = Vec::new();
        let mut conditions = 1;
        let mut group = Group::new(condition(cursor)?);
        loop {
            match cursor.kind() {
                Kind::Or | Kind::And => {
                    let is_and = cursor.take().kind == Kind::And;
                    let next = condition(cursor)?;
                    group.join(is_and, next);
                }
                Kind::Comma | Kind::Identifier | Kind::Open => {
                    cursor.accept(Kind::Comma);
                    groups.push(std::mem::replace(&mut group, Group::new(condition(cursor)?)));
                }
                _ => break,
            }
            conditions += 1;
            if conditions > NESTING_MAX {
                return Err(cursor.too_deep());
            }
        }
        let last = group.finish(None);
        let filter = groups.into_iter().rev().fold(last, |behind, group| group.finish(Some(behind)));
        if depth(&filter) > NESTING_MAX { Err(cursor.too_deep()) } else { Ok(filter) }
    })
}

/// Conditions joined by `and` and `or`: `before or (left and … and last)`.
struct Group {
    before: Option<LabelFilter>,
    left: Option<LabelFilter>,
    last: LabelFilter,
}

impl Group {
    fn new(last: LabelFilter) -> Self {
        Self { before: None, left: None, last }
    }

    fn join(&mut self, is_and: bool, next: LabelFilter) {
        let last = std::mem::replace(&mut self.last, next);
        let joined = and(self.left.take(), last);
        if is_and {
            self.left = Some(joined);
        } else {
            self.before = Some(or(self.before.take(), joined));
        }
    }

    /// The whole, with what is behind a comma joined to its last condition.
    fn finish(self, behind: Option<LabelFilter>) -> LabelFilter {
        let last = match behind {
            Some(behind) => and(Some(self.last), behind),
            None => self.last,
        };
        or(self.before, and(self.left, last))
    }
}

/// How deep a tree is; its parts were checked, so it is not much deeper than is allowed.
fn depth(filter: &LabelFilter) -> usize {
    match filter {
        LabelFilter::And(left, right) | LabelFilter::Or(left, right) => depth(left).max(depth(right)) + 1,
        _ => 1,
    }
}

fn and(left: Option<LabelFilter>, right: LabelFilter) -> LabelFilter {
    match left {
        Some(left) => LabelFilter::And(Box::new(left), Box::new(right)),
        None => right,
    }
}

fn or(left: Option<LabelFilter>, right: LabelFilter) -> LabelFilter {
    match left {
        Some(left) => LabelFilter::Or(Box::new(left), Box::new(right)),
        None => right,
    }
}

fn condition(cursor: &mut Cursor<'_>) -> Result<LabelFilter, ParseError> {
    if cursor.accept(Kind::Open) {
        let inner = filter(cursor)?;
        cursor.expect_among(Kind::Close, &[])?;
        return Ok(inner);
    }
    let name = cursor.expect_among(Kind::Identifier, &[Kind::Identifier, Kind::Open])?.text.to_owned();
    let (match_op, compare_op) = match cursor.kind() {
        Kind::Eq => (Some(MatchOp::Eq), Some(CompareOp::Eq)),
        Kind::Neq => (Some(MatchOp::Ne), Some(CompareOp::Ne)),
        Kind::Re => (Some(MatchOp::Regex), None),
        Kind::Nre => (Some(MatchOp::NotRegex), None),
        Kind::CmpEq => (None, Some(CompareOp::Eq)),
        Kind::Gt => (None, Some(CompareOp::Gt)),
        Kind::Gte => (None, Some(CompareOp::Ge)),
        Kind::Lt => (None, Some(CompareOp::Lt)),
        Kind::Lte => (None, Some(CompareOp::Le)),
        _ => return Err(cursor.unexpected(&[])),
    };
    cursor.take();
    match (match_op, compare_op, cursor.kind()) {
        (Some(op), _, Kind::String) | (Some(op), None, _) => {
            selector::matcher(cursor, &name, op).map(LabelFilter::Text)
        }
        (Some(op), Some(_), Kind::Ip) => {
            cursor.take();
            let pattern = stage::ip(cursor)?;
            Ok(LabelFilter::Ip { name, negated: op == MatchOp::Ne, pattern })
        }
        (_, Some(op), Kind::Duration) => Ok(LabelFilter::Duration { name, op, ns: cursor.take().ns }),
        (_, Some(op), Kind::Bytes) => Ok(LabelFilter::Bytes { name, op, bytes: cursor.take().bytes }),
        (_, Some(op), Kind::Number | Kind::Add | Kind::Sub) => {
            Ok(LabelFilter::Number { name, op, value: binary::literal(cursor)?? })
        }
        _ => Err(cursor.unexpected(&[])),
    }
}
