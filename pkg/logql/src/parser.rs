//! The parser: a text to the tree of the query that it states, checked as Loki checks it.

mod error;

pub use error::ParseError;

use crate::ast::{Expr, LabelMatcher, LogExpr};

/// Texts of this many bytes or more are refused, as by Loki.
pub const QUERY_BYTES_MAX: usize = 131_072;
/// How deep parentheses, aggregations and operators may be nested.
pub const NESTING_MAX: usize = 100;

/// Reads a query. Errors are Loki's.
pub fn parse(text: &str) -> Result<Expr, ParseError> {
    let _ = text;
    Err(ParseError::new("not read", 0, 0))
}

/// Reads a log query; a metric query is refused.
pub fn parse_log(text: &str) -> Result<LogExpr, ParseError> {
    match parse(text)? {
        Expr::Log(log) => Ok(log),
        Expr::Metric(_) => Err(ParseError::plain("only log selector is supported")),
    }
}

/// Reads a selector without stages. One that matches every stream (`{}`, `{a=~".*"}`) is allowed:
/// who calls decides.
pub fn parse_selector(text: &str) -> Result<Vec<LabelMatcher>, ParseError> {
    match parse(text)? {
        Expr::Log(log) if log.stages.is_empty() => Ok(log.selector),
        _ => Err(ParseError::plain("only label matchers are supported")),
    }
}
