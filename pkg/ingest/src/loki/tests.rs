use super::*;
use crate::tests::{NOW, answer, with_options};
use proptest::prelude::*;
use serde_json::{Value, json};
use timberlog_types::time::SECOND_NS;

fn decode(form: LokiForm, derive_labels: bool, body: &[u8]) -> Vec<String> {
    let push = LokiPush { form, derive_labels };
    let decoded = with_options(&["service"], |options| Decoder::new().loki(body, push, options));
    decoded.map_or_else(|error| vec![format!("! {error}")], |decoded| answer(&decoded))
}

#[track_caller]
fn check(body: &str, expected: &[&str]) {
    assert_eq!(decode(LokiForm::Json, true, body.as_bytes()), expected, "{body}");
}

/// One stream; times count from [`NOW`].
fn body(labels: Value, entries: &[(i64, &str, Value)]) -> String {
    let values = entries.iter().map(|(time, line, metadata)| json!([(NOW + time).to_string(), line, metadata]));
    json!({"streams": [{"stream": labels, "values": values.collect::<Value>()}]}).to_string()
}

fn field(number: u64, bytes: &[u8], out: &mut Vec<u8>) {
    put_varint(number << 3 | 2, out);
    put_varint(bytes.len() as u64, out);
    out.extend_from_slice(bytes);
}

fn put_varint(mut number: u64, out: &mut Vec<u8>) {
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

/// Time, line, metadata.
type Parts<'a> = (i64, &'a [u8], &'a [(&'a str, &'a str)]);

/// The same request as protobuf; `late` puts labels behind entries.
fn protobuf(labels: &str, entries: &[Parts<'_>], late: bool) -> Vec<u8> {
    let (mut stream, mut out) = (Vec::new(), Vec::new());
    if !late {
        field(1, labels.as_bytes(), &mut stream);
    }
    for (time, line, metadata) in entries {
        let (mut entry, mut instant) = (Vec::new(), Vec::new());
        for (key, number) in [(8, time.div_euclid(SECOND_NS)), (16, time.rem_euclid(SECOND_NS))] {
            instant.push(key);
            put_varint(number as u64, &mut instant);
        }
        field(1, &instant, &mut entry);
        field(2, line, &mut entry);
        for (name, value) in *metadata {
            let mut pair = Vec::new();
            field(1, name.as_bytes(), &mut pair);
            field(2, value.as_bytes(), &mut pair);
            field(3, &pair, &mut entry);
        }
        field(2, &entry, &mut stream);
    }
    if late {
        field(1, labels.as_bytes(), &mut stream);
    }
    put_varint(3 << 3, &mut stream);
    put_varint(u64::MAX, &mut stream);
    field(1, &stream, &mut out);
    out
}

#[test]
fn streams_become_records() {
    let labels = json!({"app": "web", "env": "prod", "none": ""});
    let entries = [(1, "a \"line\"\n", json!({"trace_id": "t", "empty": ""})), (2, "", json!({}))];
    check(
        &body(labels, &entries),
        &[
            "1 -=unknown \"web\" \"a \\\"line\\\"\\n\" {app=web,env=prod} trace_id:s:t",
            "2 -=unknown \"web\" \"\" {app=web,env=prod}",
        ],
    );
    // Values before their stream, other keys, two streams, text behind the end.
    check(
        &format!(
            r#" {{"x":[1],"Streams":[{{"values":[["{NOW}","l"]],"y":{{}},"stream":{{"b":"2","a":"\u0031"}}}},
            {{"stream":null,"values":[null,["{NOW}"],["{NOW}","m",{{"k":"v"}},7]]}},{{}}]}} rest"#
        ),
        &["0 -=unknown \"\" \"l\" {a=1,b=2}", "0 -=unknown \"\" \"\" {}", "0 -=unknown \"\" \"m\" {} k:s:v"],
    );
}

#[test]
fn levels_keep_their_spelling_and_nothing_is_lost() {
    let line = "level=debug";
    for (labels, metadata, expected) in [
        (json!({"a": "b"}), json!({}), "0 -=debug \"\" \"level=debug\" {a=b}"),
        (json!({"level": "WARN"}), json!({}), "0 WARN=warn \"\" \"level=debug\" {level=WARN}"),
        (json!({"a": "b"}), json!({"level": "Err"}), "0 Err=error \"\" \"level=debug\" {a=b}"),
        (
            json!({"level": "info"}),
            json!({"level": "info"}),
            "0 info=info \"\" \"level=debug\" {level=info} level:s:info",
        ),
        (json!({"lvl": "info"}), json!({"level": "x"}), "0 info=info \"\" \"level=debug\" {lvl=info} level:s:x"),
        (json!({"a": "b"}), json!({"Severity": "trc"}), "0 trc=trace \"\" \"level=debug\" {a=b} Severity:s:trc"),
        (
            json!({"a": "b"}),
            json!({"severity": "warn", "level": "warn"}),
            "0 warn=warn \"\" \"level=debug\" {a=b} level:s:warn severity:s:warn",
        ),
        (
            json!({"a": "b"}),
            json!({"severity": "err", "level": "warn"}),
            "0 warn=warn \"\" \"level=debug\" {a=b} severity:s:err",
        ),
        (
            json!({"a": "b"}),
            json!({"detected_level": "WARNING"}),
            "0 -=warn \"\" \"level=debug\" {a=b} detected_level:s:warn",
        ),
        (
            json!({"a": "b"}),
            json!({"severity_number": "17"}),
            "0 -=error \"\" \"level=debug\" {a=b} severity_number:s:17",
        ),
    ] {
        check(&body(labels, &[(0, line, metadata)]), &[expected]);
    }
    check(
        &body(json!({"a": "b"}), &[(0, "a CRITICAL one", json!({}))]),
        &["0 -=fatal \"\" \"a CRITICAL one\" {a=b} detected_level:s:critical"],
    );
}

#[test]
fn nothing_is_derived_if_that_is_off() {
    let body = body(json!({"a": "b"}), &[(0, "level=debug", json!({"detected_level": "WARNING"}))]);
    let found = decode(LokiForm::Json, false, body.as_bytes());
    assert_eq!(found, ["0 -=unknown \"\" \"level=debug\" {a=b} detected_level:s:WARNING"]);
    let unlabelled = format!(r#"{{"streams":[{{"stream":{{}},"values":[["{NOW}","x"]]}}]}}"#);
    let found = decode(LokiForm::Json, false, unlabelled.as_bytes());
    assert_eq!(found, ["#0 error at least one label pair is required per stream"]);
}

#[test]
fn good_entries_are_kept_beside_bad_ones() {
    let late = 2 * 86_400 * SECOND_NS;
    let many: serde_json::Map<String, Value> = (0..33).map(|n| (format!("l{n}"), json!("x"))).collect();
    let new = "entry for stream '{app=\"q\\\"\", service_name=\"q\\\"\"}' has timestamp too new: 2026-01-03T00:00:00Z";
    check(
        &body(json!({"app": "q\""}), &[(late, "x", json!({})), (0, "good", json!({})), (0, "x", json!({"": "x"}))]),
        &["0 -=unknown \"q\\\"\" \"good\" {app=q\"}", &format!("#0 {new}"), "#2 label name is empty"],
    );
    let found = decode(LokiForm::Json, true, body(many.into(), &[(0, "x", json!({}))]).as_bytes());
    assert!(found[0].ends_with("has 33 label names; limit 32"), "{found:?}");
    for (labels, what) in [
        (json!({"a": "x".repeat(2_049)}), "has label value too long: 'xxx"),
        (json!({"x".repeat(1_025): "a"}), "has label name too long: 'xxx"),
    ] {
        let found = decode(LokiForm::Json, true, body(labels, &[(0, "x", json!({}))]).as_bytes());
        assert!(found[0].contains(what), "{found:?}");
    }
    let twice = protobuf(r#"{a="1", a="2"}"#, &[(NOW, b"x", &[])], false);
    assert_eq!(
        decode(LokiForm::Protobuf, false, &twice),
        [r#"#0 stream '{a="1", a="2"}' has duplicate label name: 'a'"#]
    );
}

#[test]
fn a_stream_too_many_is_refused_in_words_that_can_be_told() {
    let body = body(json!({"a": "b"}), &[(0, "x", json!({})), (0, "y", json!({}))]);
    let push = LokiPush { form: LokiForm::Json, derive_labels: true };
    let decoded = with_options(&[], |options| {
        Decoder::new().loki(body.as_bytes(), push, &DecodeOptions { streams: &|_| false, ..*options })
    });
    let decoded = decoded.unwrap();
    assert_eq!(decoded.refused_total, 2);
    assert!(decoded.refused.iter().all(|refused| refused.reason.starts_with(STREAM_LIMIT_WORDS)));
}

#[test]
fn what_is_no_request_is_refused_as_a_whole() {
    for (text, reason) in [
        ("", "the body is cut short, expected an object"),
        ("x", "found `x` at byte `0` of the body, expected an object"),
        ("[]", "found `[` at byte `0` of the body, expected an object"),
        ("{}", "error at least one valid stream is required for ingestion"),
        (r#"{"streams":null}"#, "error at least one valid stream is required for ingestion"),
        (r#"{"streams":{}}"#, "found `{` at byte `11` of the body, expected an array of streams"),
        (r#"{"streams":[{"stream":"{}"}]}"#, "found `\\\"` at byte `22` of the body, expected an object of labels"),
        (
            r#"{"streams":[{"stream":{},"values":[[5]]}]}"#,
            "found `5` at byte `36` of the body, expected a timestamp in a string",
        ),
        (
            r#"{"streams":[{"stream":{},"values":[["5",5]]}]}"#,
            "found `5` at byte `40` of the body, expected a line in a string",
        ),
        (
            r#"{"streams":[{"stream":{},"values":[["1e9","x"]]}]}"#,
            "timestamp `1e9`, expected a number of nanoseconds since 1970 in a string",
        ),
        (
            r#"{"streams":[{"stream":{},"values":[["5","",{"a":5}]]}]}"#,
            "found `5` at byte `48` of the body, expected a string as the value of structured metadata",
        ),
        (
            r#"{"streams":[{"stream":{"a-b":"c"},"values":[["5","good before"]]}]}"#,
            "couldn't parse labels: 1:3: parse error: unexpected character inside braces: '-'",
        ),
    ] {
        check(text, &[&format!("! {reason}")]);
    }
}

#[test]
fn the_older_json_is_read_too() {
    let body = r#"{"streams":[{"labels":"{app=\"a\"}","entries":[{"ts":"2026-01-01T00:00:01Z","line":"x","structuredMetadata":{"k":"v"}}]}]}"#;
    assert_eq!(decode(LokiForm::LegacyJson, true, body.as_bytes()), ["1000000000 -=unknown \"a\" \"x\" {app=a} k:s:v"]);
    let wrong = body.replace("2026-01-01T00:00:01Z", "yesterday");
    assert!(decode(LokiForm::LegacyJson, true, wrong.as_bytes())[0].starts_with("! timestamp `yesterday` is"));
}

#[test]
fn protobuf_is_read_whatever_its_order() {
    let entries: &[Parts<'_>] = &[(NOW + 5, b"x", &[("k", "v")]), (-1, b"\xff", &[]), (NOW, b"", &[])];
    for late in [false, true] {
        let found = decode(LokiForm::Protobuf, true, &protobuf(r#"{app="a"}"#, entries, late));
        let old = i128::from(-1) - i128::from(NOW);
        assert_eq!(
            found,
            [
                "5 -=unknown \"a\" \"x\" {app=a} k:s:v".to_owned(),
                format!("{old} -=unknown \"a\" \"\u{fffd}\" {{app=a}}"),
                "0 -=unknown \"a\" \"\" {app=a}".to_owned(),
            ]
        );
    }
    let whole = protobuf("{a=\"b\"}", entries, false);
    for len in 0..whole.len() {
        decode(LokiForm::Protobuf, true, &whole[..len]);
    }
    let far = protobuf("{}", &[(i64::MAX, b"", &[])], false);
    assert!(decode(LokiForm::Protobuf, true, &far)[0].contains("too new"));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn both_forms_of_a_request_mean_the_same(
        labels in proptest::collection::btree_map("[a-z]{1,3}", "[a-z\"\\\\\n]{0,3}", 0..4),
        entries in proptest::collection::vec(
            (-5..5_i64, ".{0,9}", proptest::collection::btree_map("[a-z]{1,5}|level|severity", "[a-c]{0,2}|warn", 0..4)),
            0..5
        )
    ) {
        let values: Vec<_> = entries.iter().map(|(time, line, metadata)| (*time, line.as_str(), json!(metadata))).collect();
        let as_json = decode(LokiForm::Json, true, body(json!(labels), &values).as_bytes());
        let text = labels::display(labels.iter().map(|(name, value)| (name.as_str(), value.as_str())));
        let pairs: Vec<Vec<(&str, &str)>> =
            entries.iter().map(|(_, _, metadata)| metadata.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect()).collect();
        let parts: Vec<Parts<'_>> =
            entries.iter().zip(&pairs).map(|((time, line, _), pairs)| (NOW + time, line.as_bytes(), pairs.as_slice())).collect();
        prop_assert_eq!(as_json, decode(LokiForm::Protobuf, true, &protobuf(&text, &parts, false)));
    }

    #[test]
    fn no_body_is_too_strange(bytes: Vec<u8>, text in "[{}\\[\\]\":,a-e0-9]{0,40}") {
        for form in [LokiForm::Json, LokiForm::LegacyJson, LokiForm::Protobuf] {
            decode(form, true, &bytes);
            decode(form, true, text.as_bytes());
            decode(form, true, format!("{{\"streams\":[{text}]}}").as_bytes());
        }
    }
}
