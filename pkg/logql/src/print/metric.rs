//! Metric queries as text.

use super::operators::matching;
use crate::ast::{BinaryExpr, LabelReplace, MetricExpr, RangeAggregation, VectorAggregation};
use crate::units::{
    parse_float, print_float, print_float_general, print_go_duration, print_prometheus_duration, quote,
};
use std::fmt::{self, Display, Formatter};

impl Display for MetricExpr {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Range(range) => range.fmt(f),
            Self::Vector(vector) => vector.fmt(f),
            Self::Binary(binary) => binary.fmt(f),
            Self::LabelReplace(replace) => replace.fmt(f),
            Self::Literal(value) => f.write_str(&literal(*value)),
            Self::VectorLiteral(value) => {
                let rounded = format!("{value:.6}");
                let exact = parse_float(&rounded) == Ok(*value);
                write!(f, "vector({})", if exact { rounded } else { print_float_general(*value) })
            }
        }
    }
}

impl Display for RangeAggregation {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "{}(", self.op)?;
        if let Some(parameter) = self.parameter {
            write!(f, "{},", print_float(parameter))?;
        }
        write!(f, "{}", self.log)?;
        if let Some(unwrap) = &self.unwrap {
            write!(f, " {unwrap}")?;
        }
        write!(f, "[{}]", print_prometheus_duration(self.range_ns))?;
        if self.offset_ns != 0 {
            write!(f, " offset {}", print_go_duration(self.offset_ns))?;
        }
        f.write_str(")")?;
        self.grouping.iter().try_for_each(|grouping| write!(f, " {grouping}"))
    }
}

impl Display for VectorAggregation {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.op)?;
        if let Some(grouping) = &self.grouping {
            write!(f, " {grouping}")?;
        }
        f.write_str("(")?;
        if let Some(parameter) = self.parameter {
            write!(f, "{parameter},")?;
        }
        write!(f, "{})", self.inner)
    }
}

impl Display for BinaryExpr {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "({} {} {})", self.left, operator(self, ",", begins_with_parenthesis(&self.right)), self.right)
    }
}

impl Display for LabelReplace {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "label_replace({},{},{},{},{})",
            self.inner,
            quote(&self.destination),
            quote(&self.replacement),
            quote(&self.source),
            quote(&self.regex)
        )
    }
}

/// The operator with what is behind it: `+ bool on (a) group_left (b)`.
pub(super) fn operator(binary: &BinaryExpr, separator: &str, parenthesis_follows: bool) -> String {
    let mut text = binary.op.to_string();
    if binary.return_bool {
        text.push_str(" bool");
    }
    if let Some(vector_matching) = &binary.matching {
        text.push(' ');
        text.push_str(&matching(vector_matching, separator, parenthesis_follows));
    }
    text
}

/// Whether an operand on one line begins with a parenthesis.
pub(super) fn begins_with_parenthesis(operand: &MetricExpr) -> bool {
    matches!(operand, MetricExpr::Binary(_))
}

/// `-0` would be read as a duration.
pub(super) fn literal(value: f64) -> String {
    if value == 0.0 && value.is_sign_negative() { "-0.0".to_owned() } else { print_float_general(value) }
}
