//! Queries laid out: what is longer than 100 bytes is split over lines, outside first.

use super::metric::{begins_with_parenthesis, operator};
use super::operators::unwrapped;
use crate::ast::{BinaryExpr, BinaryOp, Expr, LabelReplace, LogExpr, MetricExpr, RangeAggregation, Stage};
use crate::ast::{Grouping, VectorAggregation};
use crate::units::{parse_duration, print_float_general, print_go_duration, print_prometheus_duration, quote};
use std::fmt::Display;

/// Texts up to this many bytes are not split.
const LINE_BYTES_MAX: usize = 100;

/// The query laid out on several lines where it is long, as Loki's `format_query` does.
pub fn pretty(expr: &Expr) -> String {
    let mut out = String::new();
    match expr {
        Expr::Log(expr) => log(expr, 0, &mut out),
        Expr::Metric(expr) => metric(expr, 0, &mut out),
    }
    out
}

/// Prints on one line if that is short enough; else gives back nothing but says so.
fn on_one_line(node: &dyn Display, level: usize, out: &mut String) -> bool {
    let text = node.to_string();
    let fits = text.len() <= LINE_BYTES_MAX;
    if fits {
        indent(level, out);
        out.push_str(&text);
    }
    fits
}

fn indent(level: usize, out: &mut String) {
    out.extend(std::iter::repeat_n("  ", level));
}

fn line(level: usize, text: &str, out: &mut String) {
    indent(level, out);
    out.push_str(text);
}

fn log(expr: &LogExpr, level: usize, out: &mut String) {
    let selector = LogExpr { selector: expr.selector.clone(), stages: Vec::new() };
    if expr.stages.is_empty() {
        return line(level, &selector.to_string(), out);
    }
    if on_one_line(expr, level, out) {
        return;
    }
    line(level, &selector.to_string(), out);
    let is_line = |stage: &Stage| matches!(stage, Stage::Line(_));
    // Line filters that follow each other are one stage to Loki.
    for chain in expr.stages.chunk_by(|one, next| is_line(one) && is_line(next)) {
        let texts: Vec<String> = chain.iter().map(Stage::to_string).collect();
        let joined = texts.join(" ");
        let lines = if joined.len() <= LINE_BYTES_MAX { vec![joined] } else { texts };
        for text in lines {
            out.push('\n');
            // Loki does not indent it.
            let level = if text == "| decolorize" { 0 } else { level + 1 };
            line(level, &text, out);
        }
    }
}

fn metric(expr: &MetricExpr, level: usize, out: &mut String) {
    match expr {
        MetricExpr::Literal(_) | MetricExpr::VectorLiteral(_) => line(level, &expr.to_string(), out),
        _ if on_one_line(expr, level, out) => {}
        MetricExpr::Range(range) => range_aggregation(range, level, out),
        MetricExpr::Vector(vector) => vector_aggregation(vector, level, out),
        MetricExpr::Binary(expr) => binary(expr, level, out),
        MetricExpr::LabelReplace(replace) => label_replace(replace, level, out),
    }
}

fn range_aggregation(range: &RangeAggregation, level: usize, out: &mut String) {
    line(level, &format!("{}(\n", range.op), out);
    if let Some(parameter) = range.parameter {
        line(level + 1, &format!("{},\n", print_float_general(parameter)), out);
    }
    log(&range.log, level + 1, out);
    if let Some(unwrap) = &range.unwrap {
        out.push('\n');
        indent(level + 2, out);
        // Writing to a String cannot fail.
        let _ = unwrapped(unwrap, out);
        for filter in &unwrap.filters {
            out.push('\n');
            line(level + 2, &format!("| {filter}"), out);
        }
    }
    out.push_str(&format!(" [{}]", print_prometheus_duration(range.range_ns)));
    if range.offset_ns != 0 {
        out.push_str(&format!(" offset {}", offset(range.offset_ns)));
    }
    out.push('\n');
    line(level, ")", out);
    if let Some(grouping) = &range.grouping {
        out.push_str(&group(grouping));
    }
}

fn vector_aggregation(vector: &VectorAggregation, level: usize, out: &mut String) {
    line(level, &vector.op.to_string(), out);
    if let Some(grouping) = &vector.grouping {
        out.push_str(&group(grouping));
    }
    out.push_str("(\n");
    if let Some(parameter) = vector.parameter {
        line(level + 1, &format!("{parameter},\n"), out);
    }
    metric(&vector.inner, level + 1, out);
    out.push('\n');
    line(level, ")", out);
}

fn label_replace(replace: &LabelReplace, level: usize, out: &mut String) {
    line(level, "label_replace(\n", out);
    metric(&replace.inner, level + 1, out);
    for text in [&replace.destination, &replace.replacement, &replace.source, &replace.regex] {
        out.push_str(",\n");
        line(level + 1, &quote(text), out);
    }
    out.push('\n');
    line(level, ")", out);
}

fn binary(expr: &BinaryExpr, level: usize, out: &mut String) {
    let right_in_parentheses = needs_parentheses(expr.op, &expr.right, true);
    operand(&expr.left, needs_parentheses(expr.op, &expr.left, false), level + 1, out);
    out.push('\n');
    let parenthesis_follows = right_in_parentheses || begins_with_parenthesis(&expr.right);
    line(level, &operator(expr, ", ", parenthesis_follows), out);
    out.push('\n');
    operand(&expr.right, right_in_parentheses, level + 1, out);
}

fn operand(expr: &MetricExpr, in_parentheses: bool, level: usize, out: &mut String) {
    if !in_parentheses {
        return metric(expr, level, out);
    }
    line(level, "(\n", out);
    metric(expr, level + 1, out);
    out.push('\n');
    line(level, ")", out);
}

/// Whether an operand that is split, and so has none of its own, must be put into parentheses.
fn needs_parentheses(op: BinaryOp, operand: &MetricExpr, is_right: bool) -> bool {
    let MetricExpr::Binary(inner) = operand else { return false };
    if inner.to_string().len() <= LINE_BYTES_MAX {
        return false;
    }
    let (outer, inner) = (binding(op), binding(inner.op));
    // Only `^` groups to the right.
    inner < outer || (inner == outer && is_right != (op == BinaryOp::Pow))
}

/// How tightly an operator binds.
fn binding(op: BinaryOp) -> u8 {
    match op {
        BinaryOp::Or => 1,
        BinaryOp::And | BinaryOp::Unless => 2,
        BinaryOp::Eq | BinaryOp::Ne | BinaryOp::Gt | BinaryOp::Ge | BinaryOp::Lt | BinaryOp::Le => 3,
        BinaryOp::Add | BinaryOp::Sub => 4,
        BinaryOp::Mul | BinaryOp::Div | BinaryOp::Mod => 5,
        BinaryOp::Pow => 6,
    }
}

fn group(grouping: &Grouping) -> String {
    format!(" {} ({})", if grouping.without { "without" } else { "by" }, grouping.names.join(", "))
}

/// In whole units, as ranges are, if it can be said so.
fn offset(ns: i64) -> String {
    let whole = print_prometheus_duration(ns);
    if parse_duration(&whole) == Ok(ns) { whole } else { print_go_duration(ns) }
}
