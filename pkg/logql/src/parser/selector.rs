//! Selectors, and log queries.

use super::{Cursor, ParseError, check, stage};
use crate::ast::{LabelMatcher, LogExpr, MatchOp};
use crate::lexer::Kind;

/// A selector and its stages.
pub(super) fn log(cursor: &mut Cursor<'_>) -> Result<LogExpr, ParseError> {
    let selector = selector(cursor)?;
    let mut stages = Vec::new();
    while stage::begins(cursor.kind()) {
        if cursor.accept(Kind::Pipe) {
            stages.push(stage::piped(cursor)?);
        } else {
            stage::line_filter(cursor, &mut stages)?;
        }
    }
    Ok(LogExpr { selector, stages })
}

/// `{a="b", c=~"d"}`, or `{}`.
pub(super) fn selector(cursor: &mut Cursor<'_>) -> Result<Vec<LabelMatcher>, ParseError> {
    cursor.expect(Kind::OpenBrace)?;
    let mut matchers = Vec::new();
    if cursor.accept(Kind::CloseBrace) {
        return Ok(matchers);
    }
    let mut name = cursor.expect_among(Kind::Identifier, &[Kind::Identifier, Kind::CloseBrace])?.text;
    loop {
        let op = match_op(cursor.kind());
        let op = op.ok_or_else(|| cursor.unexpected(&[Kind::Eq, Kind::Re, Kind::Nre, Kind::Neq]))?;
        cursor.take();
        matchers.push(matcher(cursor, name, op)?);
        if !cursor.accept(Kind::Comma) {
            break;
        }
        name = cursor.expect(Kind::Identifier)?.text;
    }
    cursor.expect_among(Kind::CloseBrace, &[Kind::CloseBrace, Kind::Comma])?;
    Ok(matchers)
}

/// The operator of a matcher.
pub(super) fn match_op(kind: Kind) -> Option<MatchOp> {
    Some(match kind {
        Kind::Eq => MatchOp::Eq,
        Kind::Neq => MatchOp::Ne,
        Kind::Re => MatchOp::Regex,
        Kind::Nre => MatchOp::NotRegex,
        _ => return None,
    })
}

/// What is behind the operator of a matcher.
pub(super) fn matcher(cursor: &mut Cursor<'_>, name: &str, op: MatchOp) -> Result<LabelMatcher, ParseError> {
    let value = cursor.expect(Kind::String)?.string;
    let matcher = LabelMatcher { name: name.to_owned(), op, value };
    check::matcher(cursor, &matcher)?;
    Ok(matcher)
}
