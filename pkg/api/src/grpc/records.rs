//! The records of an append, read where they stand in the request.
//!
//! | message | fields |
//! |---|---|
//! | AppendRequest | 1: repeated Record, 2: producer, 3: number, 4: strict |
//! | Record | 1: time (sfixed64), 2: level, 3: service, 4: message, 5: map of labels, 6: repeated Field |
//! | Field | 1: name, 2: Value |
//! | Value | one of 1: text, 2: number as text, 3: truth, 4: JSON array as text, 5: null |
//!
//! Of a field that stands twice the last counts; others are passed over. What is wrong with one record is no matter of
//! the others.

use crate::http::is_number;
use timberlog_ingest::protobuf::{Message, Read, Value};
use timberlog_ingest::{RecordInput, Records};
use timberlog_types::ValueKind;

/// Labels, and fields, that a record may name, one name twice included: more of them are not even read.
pub const NAMED_MAX: usize = 1 << 16;

/// An append as it came.
#[derive(Debug, Default)]
pub struct Append<'a> {
    bytes: &'a [u8],
    /// Records in it.
    pub count: usize,
    /// Bytes of them.
    pub records_bytes: usize,
    /// Who sends; empty: nobody.
    pub producer: &'a str,
    /// The producer's number.
    pub number: u64,
    /// Whether one refused record refuses all.
    pub strict: bool,
}

impl<'a> Append<'a> {
    /// Looks at all but what is in the records.
    ///
    /// # Errors
    /// If the bytes are no such message.
    pub fn of(bytes: &'a [u8]) -> Read<Self> {
        let mut append = Self { bytes, ..Self::default() };
        let mut message = Message(bytes);
        while let Some((number, value)) = message.next()? {
            match number {
                1 => {
                    append.count += 1;
                    append.records_bytes += value.bytes()?.len();
                }
                2 => append.producer = text("producer", value)?,
                3 => append.number = value.number()?,
                4 => append.strict = value.number()? != 0,
                _ => {}
            }
        }
        Ok(append)
    }

    /// Reads the records, one after the other. What they need while they are read is kept for the next.
    pub fn read(&self, records: &mut Records<'_>) {
        let (mut labels, mut fields) = (Vec::new(), Vec::new());
        for bytes in all(self.bytes) {
            labels.clear();
            fields.clear();
            match record(bytes, &mut labels, &mut fields) {
                Ok(record) => records.push(Ok(&RecordInput { labels: &labels, fields: &fields, ..record })),
                Err(reason) => records.push(Err(reason)),
            }
        }
    }
}

/// The messages of field 1 in a message that was looked at: it is whole.
pub fn all(bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut message = Message(bytes);
    std::iter::from_fn(move || {
        loop {
            if let (1, value) = message.next().ok()?? {
                return value.bytes().ok();
            }
        }
    })
}

/// A record without its labels and fields, which are put where they are kept.
fn record<'a>(
    bytes: &'a [u8],
    labels: &mut Vec<(&'a str, &'a str)>,
    fields: &mut Vec<(&'a str, ValueKind, &'a str)>,
) -> Read<RecordInput<'a>> {
    let mut record = RecordInput::default();
    let mut message = Message(bytes);
    while let Some((number, value)) = message.next()? {
        match number {
            1 => match value {
                Value::Fixed64(time) => record.timestamp = Some(time.cast_signed()),
                _ => return Err("`timestamp_ns`: expected a number of eight bytes".to_owned()),
            },
            2 => record.level = Some(text("level", value)?),
            3 => record.service = text("service", value)?,
            4 => record.message = text("message", value)?,
            5 => push("labels", labels, label(value.bytes()?)?)?,
            6 => push("fields", fields, field(value.bytes()?)?)?,
            _ => {}
        }
    }
    Ok(record)
}

pub fn push<T>(what: &str, to: &mut Vec<T>, one: T) -> Read {
    if to.len() == NAMED_MAX {
        return Err(format!("`{what}`: more than {NAMED_MAX}"));
    }
    to.push(one);
    Ok(())
}

pub fn text<'a>(name: &str, value: Value<'a>) -> Read<&'a str> {
    let text = std::str::from_utf8(value.bytes()?);
    text.map_err(|error| format!("`{name}` is not UTF-8 from byte `{}` on", error.valid_up_to()))
}

/// An entry of the map of labels.
pub fn label(bytes: &[u8]) -> Read<(&str, &str)> {
    let (mut name, mut label) = ("", "");
    let mut message = Message(bytes);
    while let Some((number, value)) = message.next()? {
        match number {
            1 => name = text("labels", value)?,
            2 => label = text("labels", value)?,
            _ => {}
        }
    }
    Ok((name, label))
}

fn field(bytes: &[u8]) -> Read<(&str, ValueKind, &str)> {
    let (mut name, mut found) = ("", (ValueKind::Null, ""));
    let mut message = Message(bytes);
    while let Some((number, value)) = message.next()? {
        match number {
            1 => name = text("fields", value)?,
            2 => found = kind(value.bytes()?)?.unwrap_or(found),
            _ => {}
        }
    }
    Ok((name, found.0, found.1))
}

/// A value's kind and text. What is not of the kind that it says is text.
fn kind(bytes: &[u8]) -> Read<Option<(ValueKind, &str)>> {
    let mut found = None;
    let mut message = Message(bytes);
    while let Some((number, value)) = message.next()? {
        found = match number {
            1 => Some((ValueKind::String, text("fields", value)?)),
            2 => Some(checked(ValueKind::Number, text("fields", value)?)),
            3 => Some((ValueKind::Bool, if value.number()? != 0 { "true" } else { "false" })),
            4 => Some(checked(ValueKind::Json, text("fields", value)?)),
            5 => value.number().map(|_| Some((ValueKind::Null, "")))?,
            _ => found,
        };
    }
    Ok(found)
}

fn checked(kind: ValueKind, text: &str) -> (ValueKind, &str) {
    let is_right = match kind {
        ValueKind::Number => is_number(text.as_bytes()),
        _ => serde_json::from_str::<Vec<serde::de::IgnoredAny>>(text).is_ok(),
    };
    (if is_right { kind } else { ValueKind::String }, text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use prost::Message as _;
    use timberlog_proto::v1;

    #[test]
    fn values_that_are_not_what_they_say_are_text() {
        use v1::value::Kind;
        let read = |kind| {
            let encoded = v1::Value { kind: Some(kind) }.encode_to_vec();
            let (kind, text) = super::kind(&encoded).unwrap().unwrap();
            (kind, text.to_owned())
        };
        assert_eq!(read(Kind::Number("1.50".to_owned())), (ValueKind::Number, "1.50".to_owned()));
        assert_eq!(read(Kind::Number("1,5".to_owned())), (ValueKind::String, "1,5".to_owned()));
        assert_eq!(read(Kind::Json("[1]".to_owned())), (ValueKind::Json, "[1]".to_owned()));
        assert_eq!(read(Kind::Json("[1".to_owned())), (ValueKind::String, "[1".to_owned()));
        assert_eq!(read(Kind::Boolean(false)), (ValueKind::Bool, "false".to_owned()));
        assert_eq!(read(Kind::Null(false)), (ValueKind::Null, String::new()));
    }
}
