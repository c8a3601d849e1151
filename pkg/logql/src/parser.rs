//! The parser: a text to the tree of the query that it states, checked as Loki checks it.
//!
//! Written by hand after Loki's grammar, one function a rule, with the precedence that its
//! generated parser comes to. What is wrong in the text ends it at once; what is wrong in the
//! meaning of a metric query ([`Meant`]) is told only if the whole text can be read, and then from
//! the outside in. Recursion is bounded by [`NESTING_MAX`].

mod aggregation;
mod binary;
mod check;
mod cursor;
mod error;
mod label_filter;
mod matching;
mod range;
mod selector;
mod stage;

pub use error::ParseError;

use crate::ast::{Expr, LabelMatcher, LogExpr, MetricExpr};
use crate::lexer::Kind;
use cursor::Cursor;

/// Texts of this many bytes or more are refused, as by Loki.
pub const QUERY_BYTES_MAX: usize = 131_072;
/// How deep the tree of a query may be, that of its metric query and those of its label filters
/// each; a chain of operators nests its left side. Parentheses may be nested twice as deep. Loki
/// has no such limit.
pub const NESTING_MAX: usize = 128;
/// Bytes that the regular expressions of a query may have when compiled, together.
pub const REGEX_BYTES_MAX: usize = 32 << 20;

/// A metric query, or what is wrong with its meaning.
type Meant = Result<MetricExpr, ParseError>;

/// A query, its meaning not yet checked.
enum Parsed {
    Log(LogExpr),
    Metric(Meant),
}

/// Reads a query. Errors are Loki's.
///
/// # Errors
/// The text is no query, or one that Loki refuses before it looks for data: its message.
pub fn parse(text: &str) -> Result<Expr, ParseError> {
    match parse_unchecked(text)? {
        Parsed::Log(log) => {
            check::selects(&log.selector)?;
            Ok(Expr::Log(log))
        }
        Parsed::Metric(metric) => metric.map(Expr::Metric),
    }
}

/// Reads a log query.
///
/// # Errors
/// Those of [`parse`]; and if it is a metric query.
pub fn parse_log(text: &str) -> Result<LogExpr, ParseError> {
    match parse(text)? {
        Expr::Log(log) => Ok(log),
        Expr::Metric(_) => Err(ParseError::plain("only log selector is supported")),
    }
}

/// Reads a selector without stages. One that matches every stream (`{}`, `{a=~".*"}`) is allowed:
/// who calls decides.
///
/// # Errors
/// The text is no query, or more than a selector.
pub fn parse_selector(text: &str) -> Result<Vec<LabelMatcher>, ParseError> {
    match parse_unchecked(text)? {
        Parsed::Log(log) if log.stages.is_empty() => Ok(log.selector),
        _ => Err(ParseError::plain("only label matchers are supported")),
    }
}

fn parse_unchecked(text: &str) -> Result<Parsed, ParseError> {
    if text.len() >= QUERY_BYTES_MAX {
        let message = format!("input size too long ({} > {QUERY_BYTES_MAX})", text.len());
        return Err(ParseError::new(message, 0, 0));
    }
    let mut cursor = Cursor::new(text);
    let (parsed, _) = binary::expr(&mut cursor, 0)?;
    if cursor.kind() != Kind::End {
        return Err(cursor.unexpected(&[]));
    }
    cursor.lexed()?;
    Ok(parsed)
}

#[cfg(test)]
mod tests;
