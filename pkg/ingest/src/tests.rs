//! What goes in and what comes out, for every decoder.

mod bodies;
mod damage;
mod expired;
pub(crate) mod model;
mod records;

use crate::{DecodeOptions, Decoded, Decoder, IngestError, Limits, NoStreamLimit};
use timberlog_types::Batch;
use timberlog_types::value::ValueKind;

/// The time of arrival in tests: 2026-01-01.
pub(crate) const NOW: i64 = 1_767_225_600_000_000_000;

/// Calls `then` with the default options for these stream labels.
pub(crate) fn with_options<T>(labels: &[&str], then: impl FnOnce(&DecodeOptions<'_>) -> T) -> T {
    let stream_labels: Vec<String> = labels.iter().map(ToString::to_string).collect();
    then(&DecodeOptions {
        now_ns: NOW,
        keep_from_ns: i64::MIN,
        stream_labels: &stream_labels,
        default_service: "",
        strict: false,
        limits: &Limits::default(),
        streams: &NoStreamLimit,
    })
}

pub(crate) fn decode(body: &[u8]) -> Result<Decoded, IngestError> {
    with_options(&["service"], |options| Decoder::new().json(body, options))
}

/// A record as one line: `time level service message {labels} fields`. The time is in ns from
/// [`NOW`]; what is missing is `-`; a field's kind is its first letter.
pub(crate) fn show(batch: &Batch, row: usize) -> String {
    let stream = batch.stream(batch.stream_id(row));
    let level = batch.level(batch.level_id(row));
    let mut line = format!(
        "{} {}={} {:?} {:?} {{",
        i128::from(batch.timestamp(row)) - i128::from(NOW),
        level.spelling.unwrap_or("-"),
        level.level,
        stream.service(),
        String::from_utf8_lossy(batch.message(row))
    );
    let labels: Vec<String> = stream.labels().map(|(name, value)| format!("{name}={value}")).collect();
    line += &labels.join(",");
    line += "}";
    for field in batch.fields() {
        if let Some(value) = field.get(row) {
            let kind = match value.kind {
                ValueKind::String => 's',
                ValueKind::Number => 'n',
                ValueKind::Bool => 'b',
                ValueKind::Null => '0',
                ValueKind::Json => 'j',
            };
            line += &format!(" {}:{kind}:{}", field.name(), String::from_utf8_lossy(value.text));
        }
    }
    line
}

/// All that a decoder answered: a line for each record, then a line for each refusal.
pub(crate) fn answer(decoded: &Decoded) -> Vec<String> {
    let rows = decoded.batch.as_ref().map_or(0, Batch::rows);
    assert_eq!(decoded.accepted, rows);
    assert_eq!(decoded.refused.len(), decoded.refused_total);
    let records = (0..rows).filter_map(|row| decoded.batch.as_ref().map(|batch| show(batch, row)));
    records.chain(decoded.refused.iter().map(|refused| format!("#{} {}", refused.index, refused.reason))).collect()
}

/// Checks what a body is decoded to.
#[track_caller]
pub(crate) fn check(body: impl AsRef<[u8]>, expected: &[&str]) {
    let body = body.as_ref();
    let found = decode(body).map_or_else(|error| vec![format!("! {error}")], |decoded| answer(&decoded));
    assert_eq!(found, expected, "{}", String::from_utf8_lossy(body));
}
