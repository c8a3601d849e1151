//! The filter tree as JSON.
//!
//! `true` is every record, `false` none. An object is one of
//!
//! - `{"and": [filter, …]}`, `{"or": [filter, …]}`, `{"not": filter}`;
//! - a test, `{"field": name, operator: operand}`; several operators must all hold.
//!
//! | operator | operand |
//! |---|---|
//! | `eq`, `ne` | text, `true`, `false`, or a number (compared as a number) |
//! | `in`, `not_in` | list of texts |
//! | `prefix`, `contains`, `contains_nocase`, `token`, `token_nocase` | text |
//! | `regex`, `regex_full` | RE2 expression that matches a part, or the whole, of the value |
//! | `exists` | `true` or `false` |
//! | `lt`, `le`, `gt`, `ge` | number; for `timestamp` RFC 3339 or a unix time in s, ms, µs or ns |
//!
//! Nothing else is taken: an unknown key is an error that names the path.

use crate::error::{FilterError, Result};
use crate::tree::{Comparison, DEPTH_MAX, Filter, Op, Pattern, Target, Test};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::{Map, Value, json};
use timberlog_types::time;

impl Filter {
    /// Reads a filter of JSON; it is checked as [`Filter::check`] does.
    pub fn from_json(value: &Value) -> Result<Self> {
        let filter = read(value, "filter", 0)?;
        filter.check()?;
        Ok(filter)
    }

    /// The filter as JSON.
    pub fn to_json(&self) -> Value {
        let list = |parts: &[Self]| Value::Array(parts.iter().map(Self::to_json).collect());
        match self {
            Self::All => Value::Bool(true),
            Self::None => Value::Bool(false),
            Self::And(parts) => json!({ "and": list(parts) }),
            Self::Or(parts) => json!({ "or": list(parts) }),
            Self::Not(part) => json!({ "not": part.to_json() }),
            Self::Test(test) => {
                let (operator, operand) = write(test);
                json!({ "field": test.target.name(), operator: operand })
            }
        }
    }
}

impl Serialize for Filter {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.to_json().serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Filter {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::from_json(&Value::deserialize(deserializer)?).map_err(serde::de::Error::custom)
    }
}

fn invalid(path: &str, reason: impl Into<String>) -> FilterError {
    FilterError::Invalid { path: path.to_owned(), reason: reason.into() }
}

fn read(value: &Value, path: &str, depth: usize) -> Result<Filter> {
    if depth >= DEPTH_MAX {
        return Err(FilterError::TooDeep { max: DEPTH_MAX });
    }
    let object = match value {
        Value::Bool(true) => return Ok(Filter::All),
        Value::Bool(false) => return Ok(Filter::None),
        Value::Object(object) => object,
        _ => return Err(invalid(path, "expected an object, `true` or `false`")),
    };
    if object.contains_key("field") {
        return read_test(object, path);
    }
    let mut entries = object.iter();
    let (Some((key, operand)), None) = (entries.next(), entries.next()) else {
        return Err(invalid(path, "expected `field` with an operator, or one of `and`, `or`, `not`"));
    };
    let inside = format!("{path}.{key}");
    match key.as_str() {
        "and" => read_list(operand, &inside, depth).map(Filter::And),
        "or" => read_list(operand, &inside, depth).map(Filter::Or),
        "not" => read(operand, &inside, depth + 1).map(Filter::not),
        _ => Err(invalid(&inside, "unknown key; expected `and`, `or`, `not`, or `field` with an operator")),
    }
}

fn read_list(value: &Value, path: &str, depth: usize) -> Result<Vec<Filter>> {
    let Value::Array(parts) = value else { return Err(invalid(path, "expected a list of filters")) };
    parts.iter().enumerate().map(|(index, part)| read(part, &format!("{path}[{index}]"), depth + 1)).collect()
}

fn read_test(object: &Map<String, Value>, path: &str) -> Result<Filter> {
    let Some(Value::String(name)) = object.get("field") else {
        return Err(invalid(&format!("{path}.field"), "expected the name of a field or label"));
    };
    let target = Target::named(name);
    let mut tests = Vec::with_capacity(object.len());
    for (operator, operand) in object.iter().filter(|(key, _)| *key != "field") {
        tests.push(read_operator(&target, operator, operand, &format!("{path}.{operator}"))?);
    }
    match tests.len() {
        0 => Err(invalid(path, "an operator is missing, such as `eq` or `contains`")),
        1 => Ok(tests.swap_remove(0)),
        _ => Ok(Filter::And(tests)),
    }
}

fn read_operator(target: &Target, operator: &str, operand: &Value, path: &str) -> Result<Filter> {
    let test = |op: Op| Filter::Test(Test { target: target.clone(), op });
    let text = || match operand {
        Value::String(text) => Ok(text.clone()),
        _ => Err(invalid(path, "expected a text")),
    };
    Ok(match operator {
        "eq" => test(read_equal(target, operand, path)?),
        "ne" => test(read_equal(target, operand, path)?).not(),
        "in" => test(Op::In(read_texts(operand, path)?)),
        "not_in" => test(Op::In(read_texts(operand, path)?)).not(),
        "prefix" => test(Op::Prefix(text()?)),
        "contains" => test(Op::Contains(text()?)),
        "contains_nocase" => test(Op::ContainsNoCase(text()?)),
        "token" => test(Op::Token(text()?)),
        "token_nocase" => test(Op::TokenNoCase(text()?)),
        "regex" => test(Op::Regex(Pattern::search(text()?))),
        "regex_full" => test(Op::Regex(Pattern::whole(text()?))),
        "exists" => match operand {
            Value::Bool(true) => test(Op::Exists),
            Value::Bool(false) => test(Op::Exists).not(),
            _ => return Err(invalid(path, "expected `true` or `false`")),
        },
        "lt" => test(read_comparison(target, Comparison::Lt, operand, path)?),
        "le" => test(read_comparison(target, Comparison::Le, operand, path)?),
        "gt" => test(read_comparison(target, Comparison::Gt, operand, path)?),
        "ge" => test(read_comparison(target, Comparison::Ge, operand, path)?),
        _ => {
            return Err(invalid(
                path,
                "unknown operator; expected eq, ne, in, not_in, prefix, contains, contains_nocase, token, \
                 token_nocase, regex, regex_full, exists, lt, le, gt or ge",
            ));
        }
    })
}

fn read_equal(target: &Target, operand: &Value, path: &str) -> Result<Op> {
    match operand {
        Value::String(text) if *target != Target::Timestamp => Ok(Op::Eq(text.clone())),
        Value::Bool(truth) => Ok(Op::Eq(truth.to_string())),
        Value::Number(_) | Value::String(_) => read_comparison(target, Comparison::Eq, operand, path),
        _ => Err(invalid(path, "expected a text, a number, `true` or `false`")),
    }
}

fn read_texts(operand: &Value, path: &str) -> Result<Vec<String>> {
    let Value::Array(texts) = operand else { return Err(invalid(path, "expected a list of texts")) };
    let text = |(index, text): (usize, &Value)| match text {
        Value::String(text) => Ok(text.clone()),
        Value::Bool(_) | Value::Number(_) => Ok(text.to_string()),
        _ => Err(invalid(&format!("{path}[{index}]"), "expected a text")),
    };
    texts.iter().enumerate().map(text).collect()
}

fn read_comparison(target: &Target, comparison: Comparison, operand: &Value, path: &str) -> Result<Op> {
    let text = match operand {
        Value::String(text) => text.clone(),
        Value::Number(number) => number.to_string(),
        _ => return Err(invalid(path, "expected a number")),
    };
    if *target == Target::Timestamp {
        let at = time::parse(text.as_bytes()).map_err(|error| invalid(path, error.to_string()))?;
        return Ok(Op::Time(comparison, at));
    }
    match text.trim().parse::<f64>() {
        Ok(number) if number.is_finite() => Ok(Op::Number(comparison, number)),
        _ => Err(invalid(path, format!("`{text}` is no number"))),
    }
}

fn write(test: &Test) -> (&'static str, Value) {
    let operator = |comparison: Comparison| match comparison {
        Comparison::Lt => "lt",
        Comparison::Le => "le",
        Comparison::Gt => "gt",
        Comparison::Ge => "ge",
        Comparison::Eq => "eq",
    };
    match &test.op {
        Op::Eq(text) => ("eq", json!(text)),
        Op::In(texts) => ("in", json!(texts)),
        Op::Prefix(text) => ("prefix", json!(text)),
        Op::Contains(text) => ("contains", json!(text)),
        Op::ContainsNoCase(text) => ("contains_nocase", json!(text)),
        Op::Token(text) => ("token", json!(text)),
        Op::TokenNoCase(text) => ("token_nocase", json!(text)),
        Op::Regex(pattern) if pattern.anchored => ("regex_full", json!(pattern.text)),
        Op::Regex(pattern) => ("regex", json!(pattern.text)),
        Op::Exists => ("exists", json!(true)),
        Op::Number(comparison, number) => (operator(*comparison), json!(number)),
        Op::Holds(test) => ("holds", json!(test.text())),
        Op::Time(comparison, at) => (operator(*comparison), json!(time::format_rfc3339(*at))),
    }
}
