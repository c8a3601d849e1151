//! The printers: a tree as text, on one line as Loki's `String()` ([`std::fmt::Display`] of every
//! node), or laid out as `format_query` does ([`pretty`]).
//!
//! The text always parses to an equal tree. Where Loki's would not (it drops digits of sizes and of
//! `vector(…)`, and parentheses and alternatives of a query that it lays out), ours says more.

mod filter;
mod layout;
mod metric;
mod operators;
mod stage;

pub use layout::pretty;

use crate::ast::{Expr, LabelMatcher, LogExpr, MatchOp};
use crate::units::quote;
use std::fmt::{self, Display, Formatter};

impl Display for Expr {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Log(log) => log.fmt(f),
            Self::Metric(metric) => metric.fmt(f),
        }
    }
}

impl Display for LogExpr {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        selector(&self.selector, f)?;
        self.stages.iter().try_for_each(|stage| write!(f, " {stage}"))
    }
}

impl Display for LabelMatcher {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}{}", Name(&self.name), self.op, quote(&self.value))
    }
}

impl Display for MatchOp {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Eq => "=",
            Self::Ne => "!=",
            Self::Regex => "=~",
            Self::NotRegex => "!~",
        })
    }
}

/// A name in front of an operator. A character that means nothing is a name, and `!` would be the beginning of another
/// operator there.
struct Name<'a>(&'a str);

impl Display for Name<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)?;
        f.write_str(if self.0 == "!" { " " } else { "" })
    }
}

fn selector(matchers: &[LabelMatcher], f: &mut Formatter<'_>) -> fmt::Result {
    f.write_str("{")?;
    joined(matchers, ", ", f)?;
    f.write_str("}")
}

fn joined<T: Display>(parts: &[T], separator: &str, f: &mut Formatter<'_>) -> fmt::Result {
    parts.iter().enumerate().try_for_each(|(index, part)| {
        let separator = if index == 0 { "" } else { separator };
        write!(f, "{separator}{part}")
    })
}

#[cfg(test)]
mod tests;
