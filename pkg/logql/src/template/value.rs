//! Values of a template while it renders, with the Go types they stand for.

use super::time::{Duration, Month, Time, Weekday};
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::rc::Rc;

/// A value; texts are borrowed from the template or the line wherever they can be.
#[derive(Clone, Debug, Default)]
pub(super) enum Value<'a> {
    /// No value at all: what `nil` in a pipeline comes to.
    #[default]
    Invalid,
    /// An `interface {}` as JSON's lists and objects hold them; `None` is `null`.
    Boxed(Option<Rc<Value<'static>>>),
    Bool(bool),
    /// Go's `int`.
    Int(i64),
    /// Go's `int64`.
    Int64(i64),
    /// Go's `uint8`: a byte of a text.
    Byte(u8),
    Float(f64),
    Text(Cow<'a, [u8]>),
    Time(Time),
    Duration(Duration),
    Month(Month),
    Weekday(Weekday),
    /// All labels: what the dot is at first.
    Labels,
    List(List),
    Map(Rc<BTreeMap<Vec<u8>, Value<'static>>>),
}

/// A part of a JSON list.
#[derive(Clone, Debug)]
pub(super) struct List {
    items: Rc<Vec<Value<'static>>>,
    start: usize,
    end: usize,
}

impl List {
    pub fn new(items: Vec<Value<'static>>) -> Self {
        Self { start: 0, end: items.len(), items: Rc::new(items) }
    }

    pub fn len(&self) -> usize {
        self.end - self.start
    }

    /// How far a slice of it may reach.
    pub fn capacity(&self) -> usize {
        self.items.len() - self.start
    }

    pub fn get(&self, at: usize) -> Option<&Value<'static>> {
        self.items.get(self.start..self.end)?.get(at)
    }

    pub fn slice(&self, from: usize, to: usize) -> Self {
        let end = (self.start + to).min(self.items.len());
        Self { items: self.items.clone(), start: (self.start + from).min(end), end }
    }
}

/// Kinds that can be compared with each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Basic {
    Bool,
    Int,
    Uint,
    Float,
    Text,
    Other,
}

impl<'a> Value<'a> {
    pub fn text(text: impl Into<Cow<'a, [u8]>>) -> Self {
        Value::Text(text.into())
    }

    /// The value as an element of a JSON list or object.
    pub fn boxed(value: &Value<'static>) -> Value<'static> {
        match value {
            Value::Invalid => Value::Boxed(None),
            value => Value::Boxed(Some(Rc::new(value.clone()))),
        }
    }

    /// What is inside an `interface {}`.
    pub fn unboxed(self) -> Value<'a> {
        match self {
            Value::Boxed(None) => Value::Invalid,
            Value::Boxed(Some(inner)) => (*inner).clone(),
            value => value,
        }
    }

    pub fn is_nil(&self) -> bool {
        matches!(self, Value::Invalid | Value::Boxed(None))
    }

    /// The name of its Go type.
    pub fn type_name(&self) -> &'static str {
        match self {
            Value::Invalid | Value::Boxed(_) => "interface {}",
            Value::Bool(_) => "bool",
            Value::Int(_) => "int",
            Value::Int64(_) => "int64",
            Value::Byte(_) => "uint8",
            Value::Float(_) => "float64",
            Value::Text(_) => "string",
            Value::Time(_) => "time.Time",
            Value::Duration(_) => "time.Duration",
            Value::Month(_) => "time.Month",
            Value::Weekday(_) => "time.Weekday",
            Value::Labels => "map[string]string",
            Value::List(_) => "[]interface {}",
            Value::Map(_) => "map[string]interface {}",
        }
    }

    /// Whether `if` takes it for true; `labels` says whether the line has labels.
    pub fn truth(&self, labels: impl FnOnce() -> bool) -> bool {
        match self {
            Value::Invalid | Value::Boxed(None) => false,
            Value::Boxed(Some(inner)) => inner.truth(labels),
            Value::Bool(value) => *value,
            Value::Float(value) => *value != 0.0,
            Value::Text(text) => !text.is_empty(),
            Value::Time(_) => true,
            Value::Labels => labels(),
            Value::List(list) => list.len() > 0,
            Value::Map(map) => !map.is_empty(),
            value => value.int() != Some(0),
        }
    }

    /// The number, if it is of an integer kind.
    pub fn int(&self) -> Option<i64> {
        match self {
            Value::Int(value) | Value::Int64(value) => Some(*value),
            Value::Byte(value) => Some(i64::from(*value)),
            Value::Duration(Duration(value)) => Some(*value),
            Value::Month(Month(value)) | Value::Weekday(Weekday(value)) => Some(i64::from(*value)),
            _ => None,
        }
    }

    pub fn basic(&self) -> Basic {
        match self {
            Value::Bool(_) => Basic::Bool,
            Value::Byte(_) => Basic::Uint,
            Value::Float(_) => Basic::Float,
            Value::Text(_) => Basic::Text,
            value if value.int().is_some() => Basic::Int,
            _ => Basic::Other,
        }
    }
}

/// Go's `int64(float)` on common processors: what does not fit is the least int.
pub(super) fn truncate(value: f64) -> i64 {
    const LIMIT: f64 = 9_223_372_036_854_775_808.0;
    if (-LIMIT..LIMIT).contains(&value) { value as i64 } else { i64::MIN }
}

/// What sprig's functions take for an int64: texts are read as Go's literals, what is no number is 0.
pub(super) fn to_int(value: &Value<'_>) -> i64 {
    match value {
        Value::Boxed(Some(inner)) => to_int(inner),
        Value::Bool(value) => i64::from(*value),
        Value::Float(value) => truncate(*value),
        Value::Text(text) => {
            let Ok(text) = std::str::from_utf8(text) else { return 0 };
            super::literal::parse_int(without_fraction(text)).unwrap_or(0)
        }
        value => value.int().unwrap_or(0),
    }
}

/// `12.5` → `12`; what is no plain decimal stays.
fn without_fraction(text: &str) -> &str {
    let Some((whole, fraction)) = text.split_once('.') else { return text };
    let digits = whole.strip_prefix(['+', '-']).unwrap_or(whole);
    if !digits.bytes().chain(fraction.bytes()).all(|byte| byte.is_ascii_digit()) {
        return text;
    }
    if digits.is_empty() { "0" } else { whole }
}

/// What sprig's functions take for a float64; what is no number is 0.
pub(super) fn to_float(value: &Value<'_>) -> f64 {
    match value {
        Value::Boxed(Some(inner)) => to_float(inner),
        Value::Bool(value) => f64::from(u8::from(*value)),
        Value::Float(value) => *value,
        Value::Text(text) => {
            std::str::from_utf8(text).ok().and_then(|text| crate::units::parse_float(text).ok()).unwrap_or(0.0)
        }
        value => value.int().unwrap_or(0) as f64,
    }
}
