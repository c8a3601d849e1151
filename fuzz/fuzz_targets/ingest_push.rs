//! Any bytes as a push of Loki's protocols, or one of ours with streams: no panic, every record
//! counted once, the first byte says which form.
#![no_main]

use libfuzzer_sys::fuzz_target;
use timberlog_ingest::{DecodeOptions, Decoder, Limits, LokiForm, LokiPush, NoStreamLimit, PushForm};

fuzz_target!(|input: &[u8]| {
    let Some((form, body)) = input.split_first() else { return };
    let stream_labels = ["service".to_string()];
    let limits = Limits { fields_max: 20, ..Limits::default() };
    let options = DecodeOptions {
        now_ns: 1_767_225_600_000_000_000,
        stream_labels: &stream_labels,
        default_service: "",
        strict: false,
        limits: &limits,
        streams: &NoStreamLimit,
    };
    let mut decoder = Decoder::new();
    let loki = |form| LokiPush { form, derive_labels: true };
    let decoded = match form % 6 {
        0 => decoder.loki(body, loki(LokiForm::Json), &options),
        1 => decoder.loki(body, loki(LokiForm::LegacyJson), &options),
        2 => decoder.loki(body, loki(LokiForm::Protobuf), &options),
        3 => return drop(decoder.push(body, PushForm::Json, &options)),
        4 => return drop(decoder.push(body, PushForm::Msgpack, &options)),
        _ => return drop(decoder.push(body, PushForm::Protobuf, &options)),
    };
    let Ok(decoded) = decoded else { return };
    assert_eq!(decoded.accepted, decoded.batch.as_ref().map_or(0, |batch| batch.rows()));
    assert!(decoded.refused.is_sorted_by_key(|refused| refused.index));
});
