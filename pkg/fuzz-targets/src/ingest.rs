//! Any bytes into the decoders of what is sent: no panic, every record counted once.

use serde_json::Value;
use timberlog_ingest::{DecodeOptions, Decoder, Limits, LokiForm, LokiPush, NoStreamLimit, PushForm};

/// What the decoders are told.
pub fn with_options<T>(labels: &[&str], work: impl FnOnce(&DecodeOptions<'_>) -> T) -> T {
    let stream_labels: Vec<String> = labels.iter().map(|&label| label.to_owned()).collect();
    let limits = Limits { fields_max: 20, ..Limits::default() };
    work(&DecodeOptions {
        now_ns: 1_767_225_600_000_000_000,
        keep_from_ns: i64::MIN,
        stream_labels: &stream_labels,
        default_service: "",
        strict: false,
        limits: &limits,
        streams: &NoStreamLimit,
    })
}

/// JSON records, the original's `write`, lines of text: a body that was taken without a complaint is none
/// that serde_json finds cut short.
pub fn ingest_json(body: &[u8]) {
    with_options(&["service", "level", "a"], |options| {
        let mut decoder = Decoder::new();
        let _ = decoder.write(body, options);
        let _ = decoder.text(body, options);
        let Ok(decoded) = decoder.json(body, options) else { return };
        assert_eq!(decoded.accepted, decoded.batch.as_ref().map_or(0, |batch| batch.rows()));
        assert!(decoded.refused.is_sorted_by_key(|refused| refused.index));
        if decoded.accepted == 1 && decoded.refused_total == 0 {
            let body = body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(body);
            // serde_json refuses numbers and surrogates that no type holds; the decoder keeps them.
            if let Err(error) = serde_json::from_slice::<Value>(body) {
                assert!(!error.is_eof(), "{error}");
            }
        }
    });
}

/// A push of Loki's protocols, or one of ours with streams: the first byte says which form.
pub fn ingest_push(input: &[u8]) {
    let Some((form, body)) = input.split_first() else { return };
    with_options(&["service"], |options| {
        let mut decoder = Decoder::new();
        let loki = |form| LokiPush { form, derive_labels: true };
        let decoded = match form % 6 {
            0 => decoder.loki(body, loki(LokiForm::Json), options),
            1 => decoder.loki(body, loki(LokiForm::LegacyJson), options),
            2 => decoder.loki(body, loki(LokiForm::Protobuf), options),
            3 => return drop(decoder.push(body, PushForm::Json, options)),
            4 => return drop(decoder.push(body, PushForm::Msgpack, options)),
            _ => return drop(decoder.push(body, PushForm::Protobuf, options)),
        };
        let Ok(decoded) = decoded else { return };
        assert_eq!(decoded.accepted, decoded.batch.as_ref().map_or(0, |batch| batch.rows()));
        assert!(decoded.refused.is_sorted_by_key(|refused| refused.index));
    });
}
