//! The shapes in which records leave: ours, loge's, LogStream's and TimberLog's (Go).

use super::answer::put;
use timberlog_db::query::Record;
use timberlog_types::ValueKind;
use timberlog_types::time::format_rfc3339;

/// A shape of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// `{timestamp (RFC 3339), level, service, message, labels, fields}`: exports and tails.
    Record,
    /// `{timestamp (ns), line, labels}`, and `service`, `level`, `fields`: `POST /api/v1/query`.
    Line,
    /// `{timestamp (RFC 3339), level, service, message, metadata}`: `GET /logs`.
    Log,
    /// `{Timestamp (ms), Level, Service, Host, Message, StackTrace, Properties}`: `POST /query`.
    Timber,
}

/// Appends a record as a JSON object.
pub fn put_record(out: &mut Vec<u8>, shape: Shape, record: &Record) {
    match shape {
        Shape::Record => put_native(out, record),
        Shape::Line => put_line(out, record),
        Shape::Log => put_log(out, record),
        Shape::Timber => put_timber(out, record),
    }
}

/// Appends records as a JSON array.
pub fn put_records(out: &mut Vec<u8>, shape: Shape, records: &[Record]) {
    out.push(b'[');
    for (index, record) in records.iter().enumerate() {
        if index > 0 {
            out.push(b',');
        }
        put_record(out, shape, record);
    }
    out.push(b']');
}

fn put_native(out: &mut Vec<u8>, record: &Record) {
    out.extend_from_slice(b"{\"timestamp\":");
    put(out, &format_rfc3339(record.timestamp));
    put_key(out, "level", record.level.as_str());
    if let Some(spelling) = record.level_spelling.as_deref().filter(|text| *text != record.level.as_str()) {
        put_key(out, "level_text", spelling);
    }
    put_key(out, "service", &record.service);
    put_key(out, "message", &record.message);
    put_labels(out, record);
    put_fields(out, record);
    out.push(b'}');
}

fn put_line(out: &mut Vec<u8>, record: &Record) {
    out.extend_from_slice(b"{\"timestamp\":");
    put(out, &record.timestamp);
    put_key(out, "line", &record.message);
    put_labels(out, record);
    put_key(out, "service", &record.service);
    put_key(out, "level", record.level.as_str());
    if let Some(spelling) = record.level_spelling.as_deref().filter(|text| *text != record.level.as_str()) {
        put_key(out, "level_text", spelling);
    }
    put_fields(out, record);
    out.push(b'}');
}

fn put_log(out: &mut Vec<u8>, record: &Record) {
    out.extend_from_slice(b"{\"timestamp\":");
    put(out, &format_rfc3339(record.timestamp));
    if let Some((_, _, id)) = record.fields.iter().find(|(name, _, _)| name == "id") {
        put_key(out, "id", id);
    }
    put_key(out, "level", spelling(record));
    put_key(out, "service", &record.service);
    put_key(out, "message", &record.message);
    out.extend_from_slice(b",\"metadata\":{");
    let mut first = true;
    for (name, kind, text) in record.fields.iter().filter(|(name, _, _)| name != "id") {
        put_member(out, &mut first, name, *kind, text);
    }
    for (name, value) in record.labels.iter().filter(|(name, _)| name != "service" && !has_field(record, name)) {
        put_member(out, &mut first, name, ValueKind::String, value);
    }
    out.extend_from_slice(b"}}");
}

fn put_timber(out: &mut Vec<u8>, record: &Record) {
    out.extend_from_slice(b"{\"Timestamp\":");
    put(out, &record.timestamp.div_euclid(1_000_000));
    put_key(out, "Level", spelling(record));
    put_key(out, "Service", &record.service);
    put_key(out, "Host", named(record, "host"));
    put_key(out, "Message", &record.message);
    put_key(out, "StackTrace", named(record, "stacktrace"));
    out.extend_from_slice(b",\"Properties\":{");
    let mut first = true;
    for (name, kind, text) in record.fields.iter().filter(|(name, _, _)| name != "host" && name != "stacktrace") {
        put_member(out, &mut first, name, *kind, text);
    }
    for (name, value) in record.labels.iter().filter(|(name, _)| !["service", "host"].contains(&name.as_str())) {
        if !has_field(record, name) {
            put_member(out, &mut first, name, ValueKind::String, value);
        }
    }
    out.extend_from_slice(b"}}");
}

fn spelling(record: &Record) -> &str {
    record.level_spelling.as_deref().unwrap_or(record.level.as_str())
}

fn has_field(record: &Record, name: &str) -> bool {
    record.fields.iter().any(|(field, _, _)| field == name)
}

fn named<'a>(record: &'a Record, name: &str) -> &'a str {
    let field = record.fields.iter().find(|(field, _, _)| field == name).map(|(_, _, text)| text);
    let label = || record.labels.iter().find(|(label, _)| label == name).map(|(_, text)| text);
    field.or_else(label).map_or("", String::as_str)
}

fn put_key(out: &mut Vec<u8>, key: &str, text: &str) {
    out.push(b',');
    put(out, key);
    out.push(b':');
    put(out, text);
}

fn put_labels(out: &mut Vec<u8>, record: &Record) {
    out.extend_from_slice(b",\"labels\":{");
    let mut first = true;
    for (name, value) in &record.labels {
        put_member(out, &mut first, name, ValueKind::String, value);
    }
    out.push(b'}');
}

fn put_fields(out: &mut Vec<u8>, record: &Record) {
    out.extend_from_slice(b",\"fields\":{");
    let mut first = true;
    for (name, kind, text) in &record.fields {
        put_member(out, &mut first, name, *kind, text);
    }
    out.push(b'}');
}

fn put_member(out: &mut Vec<u8>, first: &mut bool, name: &str, kind: ValueKind, text: &str) {
    if !std::mem::take(first) {
        out.push(b',');
    }
    put(out, name);
    out.push(b':');
    put_value(out, kind, text);
}

/// A value as JSON of its kind. What does not read as its kind, be it from a damaged file, leaves
/// as text: the answer is JSON in any case.
fn put_value(out: &mut Vec<u8>, kind: ValueKind, text: &str) {
    match kind {
        ValueKind::Null => out.extend_from_slice(b"null"),
        ValueKind::Bool if text == "true" || text == "false" => out.extend_from_slice(text.as_bytes()),
        ValueKind::Number if is_number(text.as_bytes()) => out.extend_from_slice(text.as_bytes()),
        ValueKind::Json if serde_json::from_str::<&serde_json::value::RawValue>(text).is_ok() => {
            out.extend_from_slice(text.as_bytes());
        }
        _ => put(out, text),
    }
}

/// Whether a text is a number as JSON writes them.
pub fn is_number(text: &[u8]) -> bool {
    fn digits(text: &[u8]) -> (&[u8], usize) {
        let count = text.iter().take_while(|byte| byte.is_ascii_digit()).count();
        (text.split_at_checked(count).map_or(&[], |(_, rest)| rest), count)
    }
    let text = text.strip_prefix(b"-").unwrap_or(text);
    let (mut rest, count) = digits(text);
    if count == 0 || (count > 1 && text.first() == Some(&b'0')) {
        return false;
    }
    if let Some(fraction) = rest.strip_prefix(b".") {
        let (after, count) = digits(fraction);
        if count == 0 {
            return false;
        }
        rest = after;
    }
    if let [b'e' | b'E', exponent @ ..] = rest {
        let exponent = exponent.strip_prefix(b"+").or_else(|| exponent.strip_prefix(b"-")).unwrap_or(exponent);
        let (after, count) = digits(exponent);
        if count == 0 {
            return false;
        }
        rest = after;
    }
    rest.is_empty()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};
    use timberlog_types::Level;

    fn record() -> Record {
        let field = |name: &str, kind, text: &str| (name.to_owned(), kind, text.to_owned());
        Record {
            timestamp: 1_700_000_000_123_456_789,
            level: Level::Fatal,
            level_spelling: Some("CRITICAL".to_owned()),
            service: "web".to_owned(),
            message: "a \"quoted\"\nline \u{1}".to_owned(),
            labels: vec![("service".to_owned(), "web".to_owned())],
            fields: vec![
                field("host", ValueKind::String, "h1"),
                field("id", ValueKind::String, "x-1"),
                field("list", ValueKind::Json, "[1,{\"a\":2}]"),
                field("n", ValueKind::Number, "1.50"),
                field("none", ValueKind::Null, ""),
                field("ok", ValueKind::Bool, "true"),
                field("torn", ValueKind::Json, "[1,"),
            ],
        }
    }

    fn shaped(shape: Shape) -> Value {
        let mut out = Vec::new();
        put_records(&mut out, shape, &[record(), record()]);
        let values: Vec<Value> = serde_json::from_slice(&out).unwrap();
        assert_eq!(values[0], values[1]);
        values[0].clone()
    }

    #[test]
    fn each_family_gets_its_keys() {
        let fields = json!({"host": "h1", "id": "x-1", "list": [1, {"a": 2}], "n": 1.5, "none": null, "ok": true, "torn": "[1,"});
        let message = record().message;
        assert_eq!(
            shaped(Shape::Record),
            json!({"timestamp": "2023-11-14T22:13:20.123456789Z", "level": "fatal", "level_text": "CRITICAL",
                   "service": "web", "message": message, "labels": {"service": "web"}, "fields": fields})
        );
        assert_eq!(
            shaped(Shape::Line),
            json!({"timestamp": 1_700_000_000_123_456_789_i64, "line": message, "labels": {"service": "web"},
                   "service": "web", "level": "fatal", "level_text": "CRITICAL", "fields": fields})
        );
        let log = shaped(Shape::Log);
        assert_eq!(
            (&log["id"], &log["level"], &log["metadata"]["n"]),
            (&json!("x-1"), &json!("CRITICAL"), &json!(1.5))
        );
        let timber = shaped(Shape::Timber);
        assert_eq!((&timber["Timestamp"], &timber["Host"]), (&json!(1_700_000_000_123_i64), &json!("h1")));
        assert_eq!(timber["Properties"]["ok"], json!(true));
    }

    #[test]
    fn numbers_are_those_of_json() {
        for good in ["0", "-0", "10", "1.50", "-1.5e+10", "1E5", "123456789012345678901234567890"] {
            assert!(is_number(good.as_bytes()), "{good}");
        }
        for bad in ["", "-", "01", "1.", ".5", "1e", "NaN", "+1", "0x1", "1 "] {
            assert!(!is_number(bad.as_bytes()), "{bad}");
        }
    }
}
