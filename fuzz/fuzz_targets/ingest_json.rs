//! Any bytes into the decoders: no panic, every record counted once, and a body that was taken
//! without a complaint is none that serde_json finds cut short.
#![no_main]

use libfuzzer_sys::fuzz_target;
use serde_json::Value;
use timberlog_ingest::{DecodeOptions, Decoder, Limits, NoStreamLimit};

fuzz_target!(|body: &[u8]| {
    let stream_labels = ["service".to_string(), "level".to_string(), "a".to_string()];
    let limits = Limits { fields_max: 20, ..Limits::default() };
    let options = DecodeOptions {
        now_ns: 1_767_225_600_000_000_000,
        keep_from_ns: i64::MIN,
        stream_labels: &stream_labels,
        default_service: "",
        strict: false,
        limits: &limits,
        streams: &NoStreamLimit,
    };
    let mut decoder = Decoder::new();
    let _ = decoder.write(body, &options);
    let _ = decoder.text(body, &options);
    let Ok(decoded) = decoder.json(body, &options) else { return };
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
