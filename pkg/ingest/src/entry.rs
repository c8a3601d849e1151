//! Records that come apart already: from gRPC, from Loki streams, from embedders.

use crate::Decoder;
use crate::body::finish;
use crate::decoded::{Decoded, IngestError};
use crate::labels::LabelPlan;
use crate::options::{DecodeOptions, STREAM_LABELS_MAX};
use crate::record::{check_time, excerpt, too_long};
use crate::roles::{KEYS, LEVELS, SERVICES};
use crate::streams::{StreamError, StreamTable};
use std::ops::Range;
use timberlog_types::time::{SECOND_NS, TimeError};
use timberlog_types::{BatchBuilder, StreamRef, ValueKind, stream};

/// A record that is already apart.
#[derive(Clone, Copy, Debug, Default)]
pub struct RecordInput<'a> {
    /// Time in ns; `None` is the time of arrival.
    pub timestamp: Option<i64>,
    /// The service; if empty it is taken from the labels and fields, from the keys that JSON has
    /// for it.
    pub service: &'a str,
    /// The level as it was sent; if `None` or empty it is taken from the labels and fields.
    pub level: Option<&'a str>,
    /// The message.
    pub message: &'a str,
    /// Stream labels in any order. Of two of one name the last wins; an empty value is no label.
    pub labels: &'a [(&'a str, &'a str)],
    /// Fields. Of two of one name the last wins.
    pub fields: &'a [(&'a str, ValueKind, &'a str)],
}

/// LogsGo's record. Its labels are stream labels.
#[derive(Clone, Copy, Debug, Default)]
pub struct LogEntry<'a> {
    /// The service.
    pub service: &'a str,
    /// The level; empty for none.
    pub level: &'a str,
    /// The message.
    pub message: &'a str,
    /// Unix time in seconds; 0 is the time of arrival.
    pub timestamp_s: i64,
    /// Stream labels in any order. Of two of one name the last wins; an empty value is no label.
    pub labels: &'a [(&'a str, &'a str)],
}

/// Adds a record to a builder. [`DecodeOptions::stream_labels`] is for JSON and has no say here.
///
/// # Errors
/// The reason for which the record is refused; the builder is as it was before.
pub fn push_record(
    builder: &mut BatchBuilder,
    record: &RecordInput<'_>,
    options: &DecodeOptions<'_>,
) -> Result<(), String> {
    push(builder, record, options, |service, labels, builder| {
        let mut encoded = Vec::new();
        if stream::encode(service, labels, &mut encoded)
            && !options.streams.admit(StreamRef::parse_unchecked(&encoded).hash())
        {
            return Err(StreamError::TooMany);
        }
        Ok(builder.stream(service, labels)?)
    })
}

/// Takes records one by one for one batch.
pub(crate) struct Sink<'r> {
    builder: &'r mut BatchBuilder,
    streams: &'r mut StreamTable,
    options: &'r DecodeOptions<'r>,
}

impl<'r> Sink<'r> {
    pub fn new(decoder: &'r mut Decoder, options: &'r DecodeOptions<'r>) -> Result<Self, IngestError> {
        LabelPlan::new(options)?;
        decoder.builder.clear();
        decoder.state.streams.clear();
        Ok(Self { builder: &mut decoder.builder, streams: &mut decoder.state.streams, options })
    }

    pub fn push(&mut self, record: &RecordInput<'_>) -> Result<(), String> {
        let Self { builder, streams, options } = self;
        push(builder, record, options, |service, labels, builder| streams.id(service, labels, builder, options.streams))
    }
}

/// Where records go that are apart already, one after the other.
pub struct Records<'r> {
    sink: Sink<'r>,
    decoded: Decoded,
    count: usize,
}

impl Records<'_> {
    /// Takes the next record. One that could not be read is refused, with the reason that stands for it.
    pub fn push(&mut self, record: Result<&RecordInput<'_>, String>) {
        if let Err(reason) = record.and_then(|record| self.sink.push(record)) {
            self.decoded.refuse(self.count, || reason);
        }
        self.count += 1;
    }

    /// The same for LogsGo's record.
    pub fn push_entry(&mut self, entry: Result<&LogEntry<'_>, String>) {
        match entry.and_then(|entry| Ok((entry, time_of(entry.timestamp_s)?))) {
            Ok((&LogEntry { service, level, message, labels, .. }, timestamp)) => {
                let level = Some(level);
                self.push(Ok(&RecordInput { timestamp, service, level, message, labels, fields: &[] }));
            }
            Err(reason) => self.push(Err(reason)),
        }
    }
}

/// A time of LogsGo in ns.
fn time_of(seconds: i64) -> Result<Option<i64>, String> {
    if seconds == 0 {
        return Ok(None);
    }
    let ns = seconds.checked_mul(SECOND_NS);
    ns.map(Some).ok_or_else(|| format!("`timestamp`: `{seconds}` is {}", TimeError::OutOfRange))
}

pub(crate) fn decode_records(
    decoder: &mut Decoder,
    feed: impl FnOnce(&mut Records<'_>),
    options: &DecodeOptions<'_>,
) -> Result<Decoded, IngestError> {
    let sink = Sink::new(decoder, options)?;
    let mut records = Records { sink, decoded: Decoded::default(), count: 0 };
    feed(&mut records);
    let Records { decoded, count, .. } = records;
    if count == 0 { Err(IngestError::Empty) } else { Ok(finish(decoder, decoded, options)) }
}

fn push(
    builder: &mut BatchBuilder,
    record: &RecordInput<'_>,
    options: &DecodeOptions<'_>,
    stream: impl FnOnce(&str, &[(&str, &str)], &mut BatchBuilder) -> Result<u32, StreamError>,
) -> Result<(), String> {
    let mut room = [("", ""); STREAM_LABELS_MAX];
    let labels = sorted_labels(record.labels, &mut room, options)?;
    let named = |roles: Range<usize>| roles.filter_map(|slot| named(KEYS[slot], labels, record.fields)).next();
    let max = options.limits.label_value_bytes_max;
    let short = |role: &str, text: &str| if text.len() > max { Err(too_long(role, text.len(), max)) } else { Ok(()) };
    let service = match record.service {
        "" => named(SERVICES).unwrap_or(options.default_service),
        service => service,
    };
    short("service", service)?;
    let level = record.level.filter(|level| !level.is_empty()).or_else(|| named(LEVELS));
    short("level", level.unwrap_or_default())?;
    let timestamp = match record.timestamp {
        None => options.now_ns,
        Some(time)
            if time < options.keep_from_ns || time > options.now_ns.saturating_add(options.limits.max_future_ns) =>
        {
            check_time(Ok(time), "timestamp", &time.to_string(), options)?
        }
        Some(time) => time,
    };
    let bytes =
        record.message.len() + record.fields.iter().map(|(name, _, text)| name.len() + text.len()).sum::<usize>();
    if bytes > options.limits.record_bytes_max {
        let max = options.limits.record_bytes_max;
        return Err(format!("the record has `{bytes}` bytes, at most `{max}` are allowed"));
    }
    let level_id = builder.level(level).map_err(|error| format!("`level`: {error}"))?;
    let stream_id = stream(service, labels, builder).map_err(|error| error.to_string())?;
    push_fields(builder, record, options).inspect_err(|_| builder.abort_row())?;
    builder.finish_row(timestamp, stream_id, level_id, record.message.as_bytes()).map_err(|error| error.to_string())
}

fn push_fields(
    builder: &mut BatchBuilder,
    record: &RecordInput<'_>,
    options: &DecodeOptions<'_>,
) -> Result<(), String> {
    let limits = options.limits;
    for &(name, kind, text) in record.fields {
        if name.len() > limits.field_name_bytes_max {
            let (found, max) = (name.len(), limits.field_name_bytes_max);
            return Err(format!("`{}`: the name has `{found}` bytes, at most `{max}` are allowed", excerpt(name)));
        }
        builder.field(name, kind, text.as_bytes()).map_err(|error| format!("`{}`: {error}", excerpt(name)))?;
        if builder.open_fields() > limits.fields_max {
            let max = limits.fields_max;
            return Err(format!("the record has more than `{max}` fields, which is the most allowed"));
        }
    }
    Ok(())
}

fn named<'a>(key: &str, labels: &[(&str, &'a str)], fields: &'a [(&str, ValueKind, &'a str)]) -> Option<&'a str> {
    let label = labels.iter().find(|(name, _)| *name == key).map(|&(_, value)| value);
    let field = || fields.iter().rev().find(|(name, _, _)| *name == key).map(|&(_, _, text)| text);
    label.or_else(field).filter(|text| !text.is_empty())
}

fn sorted_labels<'s, 'a>(
    labels: &'a [(&'a str, &'a str)],
    room: &'s mut [(&'a str, &'a str); STREAM_LABELS_MAX],
    options: &DecodeOptions<'_>,
) -> Result<&'s [(&'a str, &'a str)], String> {
    let limits = options.limits;
    let max = limits.labels_max.min(room.len());
    let mut count = 0;
    for (place, &(name, value)) in labels.iter().enumerate() {
        // Asked only of labels that count, of which there are few: a flood of empty ones stays linear.
        let is_replaced = || labels.get(place + 1..).unwrap_or_default().iter().any(|(later, _)| *later == name);
        if value.is_empty() || is_replaced() {
            continue;
        }
        if name.is_empty() || name.len() > limits.label_name_bytes_max {
            let (found, max) = (name.len(), limits.label_name_bytes_max);
            return Err(format!("label `{}`: the name has `{found}` bytes, expected 1 to `{max}`", excerpt(name)));
        }
        if value.len() > limits.label_value_bytes_max {
            return Err(format!("label {}", too_long(name, value.len(), limits.label_value_bytes_max)));
        }
        let slot = room.get_mut(count).filter(|_| count < max);
        let Some(slot) = slot else {
            return Err(format!(
                "the record has more than `{max}` stream labels, which is the most allowed: make some of them fields"
            ));
        };
        *slot = (name, value);
        count += 1;
    }
    let labels = room.get_mut(..count).unwrap_or_default();
    labels.sort_unstable();
    Ok(labels)
}
