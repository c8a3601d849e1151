//! Conditions on labels as text.

use super::Name;
use crate::ast::{CompareOp, LabelFilter, LabelMatcher, MatchOp};
use crate::units::{parse_bytes, print_bytes, print_float, print_go_duration, quote};
use std::fmt::{self, Display, Formatter};

impl Display for LabelFilter {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::And(left, right) => write!(f, "( {left} , {right} )"),
            Self::Or(left, right) => write!(f, "( {left} or {right} )"),
            Self::Text(matcher) if matcher.op == MatchOp::Regex => regex(matcher, f),
            Self::Text(matcher) => matcher.fmt(f),
            Self::Number { name, op, value } => write!(f, "{}{op}{}", Name(name), number(*value)),
            Self::Duration { name, op, ns } => write!(f, "{}{op}{}", Name(name), print_go_duration(*ns)),
            Self::Bytes { name, op, bytes } => write!(f, "{}{op}{}", Name(name), size(*bytes)),
            Self::Ip { name, negated, pattern } => {
                let op = if *negated { "!=" } else { "=" };
                write!(f, "{}{op}ip({})", Name(name), quote(pattern))
            }
        }
    }
}

impl Display for CompareOp {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Eq => "==",
            Self::Ne => "!=",
            Self::Gt => ">",
            Self::Ge => ">=",
            Self::Lt => "<",
            Self::Le => "<=",
        })
    }
}

/// Loki prints an expression raw if it could not turn it into searches for literals.
fn regex(matcher: &LabelMatcher, f: &mut Formatter<'_>) -> fmt::Result {
    let value = &matcher.value;
    if is_of_literals(value) || value.contains(['`', '\0']) {
        return matcher.fmt(f);
    }
    write!(f, "{}{}`{value}`", Name(&matcher.name), matcher.op)
}

/// Close to what Loki's simplifier takes: literals, `.*`, `.+` alone, and alternatives of them.
fn is_of_literals(expression: &str) -> bool {
    let body = expression.strip_prefix("(?i)").unwrap_or(expression);
    let mut rest = body;
    while let Some(c) = rest.chars().next() {
        let len = match c {
            '.' if rest.starts_with(".*") => 2,
            '.' if matches!(body, ".+" | "(.+)") => 2,
            '\\' if rest.get(1..).is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_punctuation())) => 2,
            '.' | '\\' | '[' | ']' | '{' | '}' | '^' | '$' | '*' | '+' | '?' => return false,
            c => c.len_utf8(),
        };
        rest = rest.get(len..).unwrap_or_default();
    }
    true
}

/// `-0` would be read as a duration.
fn number(value: f64) -> String {
    if value == 0.0 && value.is_sign_negative() { "-0.0".to_owned() } else { print_float(value) }
}

/// Rounded to two digits, as in Loki, if it is read as the same then. Loki reads no `0B`.
fn size(bytes: u64) -> String {
    let rounded = print_bytes(bytes).replace(' ', "");
    match bytes {
        0 => "0kB".to_owned(),
        _ if parse_bytes(&rounded) == Ok(bytes) => rounded,
        _ => format!("{bytes}B"),
    }
}
