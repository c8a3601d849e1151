//! A record as it is printed: the shape of `POST /api/v1/export`, whose values keep the digits they were sent with.

use serde::{Deserialize, Serialize};
use serde_json::value::{RawValue, to_raw_value};
use std::borrow::Cow;
use std::collections::BTreeMap;
use timberlog_db::query::Record;
use timberlog_types::{ValueKind, time};

/// A record or a line, in the order of its keys.
#[derive(Debug, Serialize, Deserialize)]
pub struct Shape {
    /// JSON of any kind: no number is too large, and `1.50` stays `1.50`.
    pub fields: BTreeMap<String, Box<RawValue>>,
    pub labels: BTreeMap<String, String>,
    pub level: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub level_text: Option<String>,
    pub message: String,
    pub service: String,
    pub timestamp: String,
}

impl Shape {
    /// That of a record.
    pub fn of(record: &Record) -> Self {
        let spelling = record.level_spelling.clone().filter(|text| text != record.level.as_str());
        Self {
            fields: record.fields.iter().map(|(name, kind, text)| (name.clone(), value(*kind, text))).collect(),
            labels: record.labels.iter().cloned().collect(),
            level: record.level.as_str().to_owned(),
            level_text: spelling,
            message: record.message.clone(),
            service: record.service.clone(),
            timestamp: time::format_rfc3339(record.timestamp),
        }
    }
}

/// A text as a value.
pub fn quoted(text: &str) -> Box<RawValue> {
    to_raw_value(text).unwrap_or_else(|_| RawValue::NULL.to_owned())
}

/// What a value says if it is a text.
pub fn text_of(value: &RawValue) -> Option<Cow<'_, str>> {
    value.get().starts_with('"').then(|| serde_json::from_str(value.get()).ok()).flatten()
}

/// The kind of a value, and its text.
pub fn parts(value: &RawValue) -> (ValueKind, String) {
    let json = value.get();
    match (text_of(value), json.as_bytes().first()) {
        (Some(text), _) => (ValueKind::String, text.into_owned()),
        (None, Some(b't' | b'f')) => (ValueKind::Bool, json.to_owned()),
        (None, Some(b'n')) => (ValueKind::Null, String::new()),
        (None, Some(b'[' | b'{')) => (ValueKind::Json, json.to_owned()),
        (None, _) => (ValueKind::Number, json.to_owned()),
    }
}

fn value(kind: ValueKind, text: &str) -> Box<RawValue> {
    match kind {
        ValueKind::String => quoted(text),
        ValueKind::Null => RawValue::NULL.to_owned(),
        ValueKind::Number | ValueKind::Bool | ValueKind::Json => {
            RawValue::from_string(text.to_owned()).unwrap_or_else(|_| quoted(text))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_keep_their_kinds_and_digits() {
        for (kind, text, json) in [
            (ValueKind::Number, "1e999", "1e999"),
            (ValueKind::Number, "-0", "-0"),
            (ValueKind::Number, "1.50", "1.50"),
            (ValueKind::String, "1.50", r#""1.50""#),
            (ValueKind::String, "null", r#""null""#),
            (ValueKind::Bool, "true", "true"),
            (ValueKind::Null, "", "null"),
            (ValueKind::Json, "[1e999,1.0]", "[1e999,1.0]"),
            (ValueKind::Json, "{}", "{}"),
        ] {
            let value = value(kind, text);
            assert_eq!((value.get(), parts(&value)), (json, (kind, text.to_owned())));
        }
    }
}
