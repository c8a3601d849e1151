//! The short form: `service=apsouth-1&level=warn`, for people in a hurry.
//!
//!     expression = and { ("|" | OR) and }
//!     and        = not { ("&" | AND) not }
//!     not        = [NOT | "!"] not | "(" expression ")" | comparison
//!     comparison = name ("=" | "!=" | "=~" | "!~" | "<" | "<=" | ">" | ">=" | CONTAINS) value
//!
//! Words may be written in any case. A name or value is quoted (`"…"` or `'…'`, a backslash before
//! a quote or backslash) or bare: up to the next space, `&`, `|`, parenthesis or quote, and a name
//! up to its operator. Names mean what they mean everywhere ([`timberlog_filter::Target::named`]).
//! `=~` and `!~` are of the whole value; `<` and the like compare numbers, and times for
//! `timestamp`. An empty query lets every record through.

mod error;
mod print;
mod scanner;

pub use error::ShortError;
pub use print::print_short;

use scanner::{Scanner, Symbol};
use timberlog_filter::{Comparison, Filter, Op, Pattern, Target, Test};
use timberlog_types::time;

/// The longest query, in bytes.
pub const SHORT_BYTES_MAX: usize = 64 << 10;
/// How deep parentheses and negations may be nested.
pub const SHORT_NESTING_MAX: usize = 30;

/// Reads a query of the short form.
///
/// # Errors
/// It is no such query, too long, too deep or has too many tests, or an expression in it cannot be
/// compiled; with the column and what was expected.
pub fn parse_short(text: &str) -> Result<Filter, ShortError> {
    if text.len() > SHORT_BYTES_MAX {
        let message = format!("the query has {} bytes, at most {SHORT_BYTES_MAX} are allowed", text.len());
        return Err(ShortError { column: 1, message });
    }
    let mut scanner = Scanner::new(text);
    if scanner.symbol() == Symbol::End {
        return Ok(Filter::All);
    }
    let filter = expression(&mut scanner, 0)?;
    if scanner.symbol() != Symbol::End {
        return Err(scanner.expected("`&`, `|` or the end (quote a value that has spaces)"));
    }
    filter.check().map_err(|error| ShortError { column: 1, message: error.to_string() })?;
    Ok(filter)
}

fn expression(scanner: &mut Scanner<'_>, depth: usize) -> Result<Filter, ShortError> {
    let mut parts = vec![conjunction(scanner, depth)?];
    while scanner.symbol() == Symbol::Or {
        scanner.take(Symbol::Or);
        parts.push(conjunction(scanner, depth)?);
    }
    Ok(only(&mut parts).unwrap_or(Filter::Or(parts)))
}

fn conjunction(scanner: &mut Scanner<'_>, depth: usize) -> Result<Filter, ShortError> {
    let mut parts = vec![negation(scanner, depth)?];
    while scanner.symbol() == Symbol::And {
        scanner.take(Symbol::And);
        parts.push(negation(scanner, depth)?);
    }
    Ok(only(&mut parts).unwrap_or(Filter::And(parts)))
}

fn only(parts: &mut Vec<Filter>) -> Option<Filter> {
    if parts.len() == 1 { parts.pop() } else { None }
}

fn negation(scanner: &mut Scanner<'_>, depth: usize) -> Result<Filter, ShortError> {
    if depth >= SHORT_NESTING_MAX {
        return Err(scanner.refuse(format!("nested deeper than {SHORT_NESTING_MAX} levels")));
    }
    match scanner.symbol() {
        Symbol::Not => {
            scanner.take(Symbol::Not);
            Ok(negation(scanner, depth + 1)?.not())
        }
        Symbol::Open => {
            scanner.take(Symbol::Open);
            let inner = expression(scanner, depth + 1)?;
            if scanner.symbol() != Symbol::Close {
                return Err(scanner.expected("`&`, `|` or `)` (quote a value that has spaces)"));
            }
            scanner.take(Symbol::Close);
            Ok(inner)
        }
        _ => comparison(scanner),
    }
}

fn comparison(scanner: &mut Scanner<'_>) -> Result<Filter, ShortError> {
    let Some(name) = scanner.name()? else { return Err(scanner.expected("a name, `(` or `NOT`")) };
    let target = Target::named(&name);
    let Some(operator) = scanner.operator() else {
        return Err(scanner.expected("`=`, `!=`, `=~`, `!~`, `<`, `<=`, `>`, `>=` or `CONTAINS`"));
    };
    let column = scanner.next_column();
    let Some(value) = scanner.value()? else { return Err(scanner.expected("a value")) };
    let refuse = |message: String| ShortError { column, message };
    let (op, negated) = match operator {
        Operator::Equal => (Op::Eq(value), false),
        Operator::NotEqual => (Op::Eq(value), true),
        Operator::Contains => (Op::Contains(value), false),
        Operator::Matches | Operator::NotMatches => {
            let pattern = Pattern::whole(value);
            pattern.to_regex().map_err(|error| refuse(error.to_string()))?;
            (Op::Regex(pattern), operator == Operator::NotMatches)
        }
        Operator::Compare(comparison) if target == Target::Timestamp => {
            let at = time::parse(value.as_bytes()).map_err(|error| refuse(format!("`{value}` is no time: {error}")))?;
            (Op::Time(comparison, at), false)
        }
        Operator::Compare(comparison) => {
            let number = number(&value).ok_or_else(|| refuse(format!("a number is expected, not `{value}`")))?;
            (Op::Number(comparison, number), false)
        }
    };
    let test = Filter::Test(Test { target, op });
    test.check().map_err(|error| refuse(error.to_string()))?;
    Ok(if negated { test.not() } else { test })
}

/// How a name and a value are compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Operator {
    Equal,
    NotEqual,
    Matches,
    NotMatches,
    Contains,
    Compare(Comparison),
}

fn number(text: &str) -> Option<f64> {
    let is_number = text.bytes().all(|byte| byte.is_ascii_digit() || b"+-.eE".contains(&byte));
    text.parse().ok().filter(|number: &f64| is_number && number.is_finite())
}

#[cfg(test)]
mod tests;
