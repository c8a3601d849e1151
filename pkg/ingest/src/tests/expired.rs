//! Records that retention would remove at once are refused, by index and with the reason, whatever
//! the protocol.

use super::{NOW, answer, with_options};
use crate::{DecodeOptions, Decoder, LogEntry, LokiForm, LokiPush, PushForm, RecordInput, Records, push_record};
use timberlog_types::BatchBuilder;
use timberlog_types::time::SECOND_NS;

/// Calls `then` with options by which records are kept for a day.
fn keeping<T>(then: impl FnOnce(&DecodeOptions<'_>) -> T) -> T {
    with_options(&["service"], |options| then(&DecodeOptions { keep_from_ns: NOW - 86_400 * SECOND_NS, ..*options }))
}

#[test]
fn json_records_that_have_expired_are_refused_by_index() {
    let (kept, gone) = ("2025-12-31T00:00:00Z", "2025-12-30T23:59:59Z");
    let body = [gone, kept, gone].map(|time| format!(r#"{{"timestamp":"{time}","message":"m"}}"#)).join("\n");
    let decoded = keeping(|options| Decoder::new().json(body.as_bytes(), options)).unwrap();
    let reason = "`timestamp`: `2025-12-30T23:59:59Z` has expired: records are kept from \
                  2025-12-31T00:00:00.000000000Z on (`--retention`)";
    assert_eq!(
        answer(&decoded),
        ["-86400000000000 -=unknown \"\" \"m\" {}".to_owned(), format!("#0 {reason}"), format!("#2 {reason}")]
    );
    let strict = keeping(|options| Decoder::new().json(body.as_bytes(), &DecodeOptions { strict: true, ..*options }));
    let strict = strict.unwrap();
    assert_eq!((strict.accepted, strict.refused_total), (0, 2));
}

#[test]
fn entries_of_other_protocols_that_have_expired_are_refused() {
    let old = NOW / SECOND_NS - 86_401;
    let entry = |timestamp_s| LogEntry { service: "s", level: "warn", message: "m", timestamp_s, labels: &[] };
    let entries = [entry(old), entry(old + 1)];
    let feed = |records: &mut Records<'_>| entries.iter().for_each(|entry| records.push_entry(Ok(entry)));
    let decoded = keeping(|options| Decoder::new().records(feed, options)).unwrap();
    assert_eq!((decoded.accepted, decoded.refused_total), (1, 1));
    assert!(decoded.refused[0].reason.contains("has expired"), "{}", decoded.refused[0].reason);
    let record = RecordInput { timestamp: Some(old * SECOND_NS), message: "m", ..RecordInput::default() };
    let refused = keeping(|options| push_record(&mut BatchBuilder::new(), &record, options)).unwrap_err();
    assert!(refused.contains("has expired"), "{refused}");

    let value = |time: i64| format!(r#"["{}","line"]"#, time * SECOND_NS);
    let values = [value(old), value(old + 1)].join(",");
    let body = format!(r#"{{"streams":[{{"stream":{{"app":"q"}},"values":[{values}]}}]}}"#);
    let push = LokiPush { form: LokiForm::Json, derive_labels: false };
    let decoded = keeping(|options| Decoder::new().loki(body.as_bytes(), push, options)).unwrap();
    assert_eq!((decoded.accepted, decoded.refused_total), (1, 1));
    // Loki's words.
    assert_eq!(
        decoded.refused[0].reason,
        "entry for stream '{app=\"q\"}' has timestamp too old: 2025-12-30T23:59:59Z, oldest acceptable timestamp is: \
         2025-12-31T00:00:00Z"
    );
    let whole = keeping(|options| Decoder::new().push(body.as_bytes(), PushForm::Json, options)).unwrap_err();
    assert!(whole.to_string().contains("stream 0, value 0: timestamp"), "{whole}");
    assert!(whole.to_string().contains("has expired"), "{whole}");
}
