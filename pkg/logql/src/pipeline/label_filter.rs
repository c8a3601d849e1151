//! Label filters: `| status >= 500 and (method="GET" or size > 20MB)`.
//!
//! A value that cannot be read as what it is compared with keeps the line and sets
//! `__error__="LabelFilterErr"`, unless an error is set already.

use super::StageError;
use super::builder::{Builder, ERROR};
use super::ip::IpFilter;
use super::names::{NameId, Names};
use super::text::TextMatcher;
use crate::ast::{CompareOp, LabelFilter};
use crate::units::{UnitError, parse_bytes, parse_float, parse_go_duration};

const LABEL_FILTER_ERROR: &str = "LabelFilterErr";

/// A condition on labels, compiled.
#[derive(Clone, Debug)]
pub(super) enum LabelTest {
    And(Box<LabelTest>, Box<LabelTest>),
    Or(Box<LabelTest>, Box<LabelTest>),
    /// Matches whatever the labels are, and names none.
    Noop,
    Text(NameId, TextMatcher),
    Number(NameId, CompareOp, f64),
    Duration(NameId, CompareOp, i64),
    Bytes(NameId, CompareOp, u64),
    Ip {
        name: NameId,
        negated: bool,
        /// None for what is no address: no value passes, negated or not.
        ip: Option<IpFilter>,
    },
}

impl LabelTest {
    pub(super) fn new(filter: &LabelFilter, names: &mut Names) -> Result<Self, StageError> {
        // As in Loki, only a filter that stands alone is refused for what is no address.
        if let LabelFilter::Ip { pattern, .. } = filter {
            IpFilter::new(pattern)?;
        }
        Self::part(filter, names)
    }

    fn part(filter: &LabelFilter, names: &mut Names) -> Result<Self, StageError> {
        Ok(match filter {
            LabelFilter::And(left, right) => {
                Self::And(Box::new(Self::part(left, names)?), Box::new(Self::part(right, names)?))
            }
            LabelFilter::Or(left, right) => {
                Self::Or(Box::new(Self::part(left, names)?), Box::new(Self::part(right, names)?))
            }
            LabelFilter::Text(matcher) => match TextMatcher::of_label(matcher.op, &matcher.value)? {
                TextMatcher::Always => Self::Noop,
                text => Self::Text(names.intern(&matcher.name), text),
            },
            LabelFilter::Number { name, op, value } => Self::Number(names.intern(name), *op, *value),
            LabelFilter::Duration { name, op, ns } => Self::Duration(names.intern(name), *op, *ns),
            LabelFilter::Bytes { name, op, bytes } => Self::Bytes(names.intern(name), *op, *bytes),
            LabelFilter::Ip { name, negated, pattern } => {
                Self::Ip { name: names.intern(name), negated: *negated, ip: IpFilter::new(pattern).ok() }
            }
        })
    }

    /// Whether the labels pass. Both sides of `and` are always looked at, because each may set the
    /// error; the right of `or` only if the left does not hold.
    pub(super) fn passes(&self, labels: &mut Builder) -> bool {
        match self {
            Self::And(left, right) => left.passes(labels) & right.passes(labels),
            Self::Or(left, right) => left.passes(labels) || right.passes(labels),
            Self::Noop => true,
            Self::Text(ERROR, matcher) => matcher.is_match(labels.error()),
            Self::Text(name, matcher) => {
                matcher.is_match(labels.get(*name).map_or(&[][..], |value| labels.value(value)))
            }
            Self::Number(name, op, wanted) => compared(labels, *name, *op, *wanted, parse_float),
            Self::Duration(name, op, wanted) => compared(labels, *name, *op, *wanted, parse_go_duration),
            Self::Bytes(name, op, wanted) => compared(labels, *name, *op, *wanted, parse_bytes),
            Self::Ip { name, negated, ip } => {
                // Only matchers of texts drop lines with an error.
                if labels.has_error() {
                    return true;
                }
                let Some(ip) = ip else { return false };
                labels.get(*name).is_some_and(|value| ip.is_match(labels.value(value)) != *negated)
            }
        }
    }

    /// Adds the names that it looks at, each once.
    pub(super) fn names(&self, out: &mut Vec<NameId>) {
        match self {
            Self::And(left, right) | Self::Or(left, right) => {
                left.names(out);
                right.names(out);
            }
            Self::Noop => {}
            Self::Text(name, _)
            | Self::Number(name, ..)
            | Self::Duration(name, ..)
            | Self::Bytes(name, ..)
            | Self::Ip { name, .. } => {
                if !out.contains(name) {
                    out.push(*name);
                }
            }
        }
    }

    /// The only name that it looks at, if it is no combination.
    pub(super) fn only_name(&self) -> Option<NameId> {
        match self {
            Self::And(..) | Self::Or(..) | Self::Noop => None,
            Self::Text(name, _)
            | Self::Number(name, ..)
            | Self::Duration(name, ..)
            | Self::Bytes(name, ..)
            | Self::Ip { name, .. } => Some(*name),
        }
    }
}

fn compared<T: PartialOrd>(
    labels: &mut Builder,
    name: NameId,
    op: CompareOp,
    wanted: T,
    parse: fn(&str) -> Result<T, UnitError>,
) -> bool {
    let Some(value) = labels.get(name) else { return false };
    match parse(labels.text(value)) {
        Ok(value) => match op {
            CompareOp::Eq => value == wanted,
            CompareOp::Ne => value != wanted,
            CompareOp::Gt => value > wanted,
            CompareOp::Ge => value >= wanted,
            CompareOp::Lt => value < wanted,
            CompareOp::Le => value <= wanted,
        },
        Err(error) => {
            if !labels.has_error() {
                labels.set_error(LABEL_FILTER_ERROR);
                labels.set_error_details(&error.0);
            }
            true
        }
    }
}
