//! Conditions of the command line: `level=error`, `service!=web`, `message=~"time.?out"`,
//! `status>=500`, and a word alone, which the message contains. All of them must hold.

use timberlog_db::filter::{Comparison, Filter, Op, Pattern};
use timberlog_types::{Error, Result};

/// Operators, the longer ones first where one begins like another.
const OPERATORS: [&str; 9] = ["!=", "=~", "!~", ">=", "<=", "=", ">", "<", "~"];

/// Parses all conditions into one filter.
pub fn parse(conditions: &[String]) -> Result<Filter> {
    conditions.iter().try_fold(Filter::All, |filter, condition| Ok(filter.and(one(condition)?)))
}

/// Whether a condition is more than a text.
pub fn has_operator(condition: &str) -> bool {
    split(condition).is_some()
}

/// The name, the operator and what is behind.
fn split(condition: &str) -> Option<(&str, &'static str, &str)> {
    let end = condition.find(|c: char| !(c.is_alphanumeric() || "._-@/".contains(c)));
    let (name, rest) = condition.split_at(end.unwrap_or(condition.len()));
    let operator = OPERATORS.into_iter().find(|operator| rest.starts_with(operator))?;
    (!name.is_empty()).then_some((name, operator, rest))
}

fn one(condition: &str) -> Result<Filter> {
    let Some((name, operator, rest)) = split(condition) else { return Ok(Filter::contains(condition)) };
    let value = rest.get(operator.len()..).unwrap_or_default();
    let number = || {
        let number = value.parse::<f64>();
        number.map_err(|_| Error::invalid(format!("condition `{condition}`: `{value}` is not a number")))
    };
    let compare = |comparison| Ok(Filter::test(name, Op::Number(comparison, number()?)));
    match operator {
        "=" => Ok(Filter::eq(name, value)),
        "!=" => Ok(Filter::eq(name, value).not()),
        "=~" | "~" => Ok(Filter::test(name, Op::Regex(Pattern::search(value)))),
        "!~" => Ok(Filter::test(name, Op::Regex(Pattern::search(value))).not()),
        ">" => compare(Comparison::Gt),
        ">=" => compare(Comparison::Ge),
        "<" => compare(Comparison::Lt),
        _ => compare(Comparison::Le),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn conditions_mean_what_they_look_like() {
        for (text, expected) in [
            ("level=error", Filter::eq("level", "error")),
            ("trace.id!=", Filter::eq("trace.id", "").not()),
            ("status>=500", Filter::test("status", Op::Number(Comparison::Ge, 500.0))),
            ("message=~a.b", Filter::test("message", Op::Regex(Pattern::search("a.b")))),
            ("timed out", Filter::contains("timed out")),
            ("=x", Filter::contains("=x")),
        ] {
            assert_eq!(one(text).unwrap(), expected, "{text}");
        }
        assert!(one("status>many").is_err());
    }
}
