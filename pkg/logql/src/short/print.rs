//! Filters as text of the short form.

use super::scanner::ends_name;
use std::fmt::{self, Write};
use timberlog_filter::{Comparison, Filter, Op, Test};
use timberlog_types::time;

/// The text that [`super::parse_short`] reads as this filter; `None` if the short form cannot say
/// it.
pub fn print_short(filter: &Filter) -> Option<String> {
    let mut out = String::new();
    if *filter != Filter::All {
        // Writing to a String cannot fail: what fails is what cannot be said.
        print(filter, Place::Alone, &mut out).ok()?;
    }
    Some(out)
}

/// What a part is in.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    Alone,
    Or,
    And,
    Not,
}

fn print(filter: &Filter, place: Place, out: &mut String) -> fmt::Result {
    let (parts, separator, inside) = match filter {
        Filter::And(parts) if parts.len() > 1 => (parts, " & ", Place::And),
        Filter::Or(parts) if parts.len() > 1 => (parts, " | ", Place::Or),
        Filter::Not(inner) => return not(inner, out),
        Filter::Test(test) => return comparison(test, false, out),
        _ => return Err(fmt::Error),
    };
    let bare = place == Place::Alone || (place == Place::Or && inside == Place::And);
    out.push_str(if bare { "" } else { "(" });
    for (index, part) in parts.iter().enumerate() {
        out.push_str(if index == 0 { "" } else { separator });
        print(part, inside, out)?;
    }
    out.push_str(if bare { "" } else { ")" });
    Ok(())
}

fn not(inner: &Filter, out: &mut String) -> fmt::Result {
    match inner {
        Filter::Test(test @ Test { op: Op::Eq(_) | Op::Regex(_), .. }) => comparison(test, true, out),
        inner => {
            out.push_str("NOT ");
            print(inner, Place::Not, out)
        }
    }
}

fn comparison(test: &Test, negated: bool, out: &mut String) -> fmt::Result {
    text(test.target.name(), out);
    match &test.op {
        Op::Eq(value) => {
            out.push_str(if negated { "!=" } else { "=" });
            text(value, out);
        }
        Op::Regex(pattern) if pattern.anchored => {
            out.push_str(if negated { "!~" } else { "=~" });
            text(&pattern.text, out);
        }
        Op::Contains(value) => {
            out.push_str(" CONTAINS ");
            text(value, out);
        }
        Op::Number(comparison, number) if number.is_finite() => {
            write!(out, "{}{number}", symbol(*comparison)?)?;
        }
        Op::Time(comparison, at) => {
            out.push_str(symbol(*comparison)?);
            text(&time::format_rfc3339(*at), out);
        }
        _ => return Err(fmt::Error),
    }
    Ok(())
}

fn symbol(comparison: Comparison) -> Result<&'static str, fmt::Error> {
    match comparison {
        Comparison::Lt => Ok("<"),
        Comparison::Le => Ok("<="),
        Comparison::Gt => Ok(">"),
        Comparison::Ge => Ok(">="),
        Comparison::Eq => Err(fmt::Error),
    }
}

/// A name or value, quoted unless it is plain.
fn text(text: &str, out: &mut String) {
    let is_word = |word: &str| text.eq_ignore_ascii_case(word);
    let is_plain = !text.is_empty()
        && !text.contains(|c: char| ends_name(c) || c == '\\' || c.is_control())
        && !["and", "or", "not", "contains"].into_iter().any(is_word);
    if is_plain {
        return out.push_str(text);
    }
    out.push('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            c => out.push(c),
        }
    }
    out.push('"');
}
