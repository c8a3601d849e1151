//! Names of operations as text.

use crate::ast::{BinaryOp, Conversion, Grouping, RangeOp, VectorMatching, VectorOp};
use crate::ast::{Cardinality, Unwrap};
use std::fmt::{self, Display, Formatter};

impl Display for RangeOp {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::CountOverTime => "count_over_time",
            Self::Rate => "rate",
            Self::BytesOverTime => "bytes_over_time",
            Self::BytesRate => "bytes_rate",
            Self::AbsentOverTime => "absent_over_time",
            Self::SumOverTime => "sum_over_time",
            Self::AvgOverTime => "avg_over_time",
            Self::MinOverTime => "min_over_time",
            Self::MaxOverTime => "max_over_time",
            Self::FirstOverTime => "first_over_time",
            Self::LastOverTime => "last_over_time",
            Self::StddevOverTime => "stddev_over_time",
            Self::StdvarOverTime => "stdvar_over_time",
            Self::QuantileOverTime => "quantile_over_time",
            Self::RateCounter => "rate_counter",
        })
    }
}

impl Display for VectorOp {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Sum => "sum",
            Self::Avg => "avg",
            Self::Min => "min",
            Self::Max => "max",
            Self::Count => "count",
            Self::Stddev => "stddev",
            Self::Stdvar => "stdvar",
            Self::Topk => "topk",
            Self::Bottomk => "bottomk",
            Self::ApproxTopk => "approx_topk",
            Self::Sort => "sort",
            Self::SortDesc => "sort_desc",
        })
    }
}

impl Display for BinaryOp {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Or => "or",
            Self::And => "and",
            Self::Unless => "unless",
            Self::Add => "+",
            Self::Sub => "-",
            Self::Mul => "*",
            Self::Div => "/",
            Self::Mod => "%",
            Self::Pow => "^",
            Self::Eq => "==",
            Self::Ne => "!=",
            Self::Gt => ">",
            Self::Ge => ">=",
            Self::Lt => "<",
            Self::Le => "<=",
        })
    }
}

impl Display for Grouping {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", if self.without { "without" } else { "by" }, self.names.join(","))
    }
}

impl Display for Unwrap {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        unwrapped(self, f)?;
        self.filters.iter().try_for_each(|filter| write!(f, " | {filter}"))
    }
}

/// `| unwrap a`, without the filters behind it.
pub(super) fn unwrapped(unwrap: &Unwrap, f: &mut dyn fmt::Write) -> fmt::Result {
    let name = &unwrap.name;
    match unwrap.conversion {
        Conversion::Number => write!(f, "| unwrap {name}"),
        Conversion::Duration => write!(f, "| unwrap duration({name})"),
        Conversion::DurationSeconds => write!(f, "| unwrap duration_seconds({name})"),
        Conversion::Bytes => write!(f, "| unwrap bytes({name})"),
    }
}

/// `on (a,b) group_left (c)`. An empty list is printed behind `group_left` if a parenthesis
/// follows, which would be taken for the list.
pub(super) fn matching(matching: &VectorMatching, separator: &str, parenthesis_follows: bool) -> String {
    let on = if matching.on { "on" } else { "ignoring" };
    let include = match matching.include.as_slice() {
        [] if parenthesis_follows => " ()".to_owned(),
        [] => String::new(),
        include => format!(" ({})", include.join(separator)),
    };
    let group = match matching.cardinality {
        Cardinality::OneToOne => String::new(),
        Cardinality::ManyToOne => format!("group_left{include}"),
        Cardinality::OneToMany => format!("group_right{include}"),
    };
    // Loki's has a space at its end if nothing is grouped.
    format!("{on} ({}) {group}", matching.names.join(separator))
}
