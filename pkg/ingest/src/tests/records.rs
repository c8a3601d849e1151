//! What the keys of a record mean, and what a record may not be.

use super::{NOW, answer, check, decode, with_options};
use crate::{DecodeOptions, Decoder, IngestError, Limits, LogEntry, RecordInput, STREAM_LABELS_MAX, push_record};
use std::cell::Cell;
use timberlog_types::batch::BATCH_FIELDS_MAX;
use timberlog_types::time::{DAY_NS, SECOND_NS, format_rfc3339};
use timberlog_types::{BatchBuilder, ValueKind};

/// Decodes a record with these stream labels.
fn with_labels(labels: &[&str], body: &str) -> String {
    with_options(labels, |options| answer(&Decoder::new().json(body.as_bytes(), options).unwrap()).join("\n"))
}

#[test]
fn keys_have_roles() {
    for (body, expected) in [
        (
            r#"{"timestamp":"2026-01-01T00:00:01Z","level":"INFO","service":"web","message":"hi","host":"a"}"#,
            r#"1000000000 INFO=info "web" "hi" {service=web} host:s:a"#,
        ),
        // The order of keys does not matter; what did not win stays a field.
        (
            r#"{"line":"l","log":"g","body":"b","_msg":"_m","msg":"m","message":"M"}"#,
            r#"0 -=unknown "" "M" {} _msg:s:_m body:s:b line:s:l log:s:g msg:s:m"#,
        ),
        (r#"{"line":"l","log":"g"}"#, r#"0 -=unknown "" "g" {} line:s:l"#),
        (
            r#"{"_time":1,"@timestamp":2,"ts":1767225601,"time":null,"msg":"x"}"#,
            r#"1000000000 -=unknown "" "x" {} @timestamp:n:2 _time:n:1 time:0:"#,
        ),
        // Aliases of level and service stay fields, `level` and `service` do not.
        (
            r#"{"severity":"CRITICAL","app":"shop","msg":"x"}"#,
            r#"0 CRITICAL=fatal "shop" "x" {service=shop} app:s:shop severity:s:CRITICAL"#,
        ),
        (
            r#"{"lvl":"w","level":"loud","job":"j","service":"s","msg":"x"}"#,
            r#"0 loud=unknown "s" "x" {service=s} job:s:j lvl:s:w"#,
        ),
        (
            r#"{"service":{"name":"s","version":2},"msg":"x"}"#,
            r#"0 -=unknown "s" "x" {service=s} service.name:s:s service.version:n:2"#,
        ),
        (r#"{"service.name":"s","msg":"x"}"#, r#"0 -=unknown "s" "x" {service=s} service.name:s:s"#),
        // Nothing, and what counts as nothing.
        (r#"{"a":1}"#, r#"0 -=unknown "" "" {} a:n:1"#),
        (r#"{"message":null}"#, r#"0 -=unknown "" "" {}"#),
        (r#"{"message":null,"msg":"m"}"#, r#"0 -=unknown "" "m" {}"#),
        (r#"{"message":"","msg":"m"}"#, r#"0 -=unknown "" "" {} msg:s:m"#),
        (r#"{"level":"","lvl":"info","service":"","app":"a"}"#, r#"0 info=info "a" "" {service=a} app:s:a lvl:s:info"#),
        (r#"{"timestamp":null,"metadata":{}}"#, r#"0 -=unknown "" "" {}"#),
        // A role takes the text of what is no string; an object takes no role.
        (r#"{"message":1.50,"level":30,"service":true}"#, r#"0 30=info "true" "1.50" {service=true}"#),
        (r#"{"message":[1, "a"]}"#, r#"0 -=unknown "" "[1, \"a\"]" {}"#),
        (
            r#"{"message":{"a":1},"log":{"level":"warn"},"line":"x"}"#,
            r#"0 -=unknown "" "x" {} log.level:s:warn message.a:n:1"#,
        ),
        (r#"{"message":{},"msg":{},"line":"x"}"#, r#"0 -=unknown "" "x" {} msg:j:{}"#),
    ] {
        check(body, &[expected]);
    }
}

#[test]
fn values_keep_their_kind_and_text() {
    for (body, expected) in [
        (
            r#"{"a":1.0,"b":-1e5,"c":123456789012345678901234567890,"d":true,"e":null,"f":[1, {"x":null}],"g":"1"}"#,
            r#"0 -=unknown "" "" {} a:n:1.0 b:n:-1e5 c:n:123456789012345678901234567890 d:b:true e:0: f:j:[1, {"x":null}] g:s:1"#,
        ),
        (
            r#"{"a":{"b":{"c":1,"d":{}},"e":[]},"f":{},"":{"":2}}"#,
            r#"0 -=unknown "" "" {} .:n:2 a.b.c:n:1 a.b.d:j:{} a.e:j:[] f:j:{}"#,
        ),
        // Of two of one name, the last, however it came.
        (r#"{"a":1,"a":2,"b":{"c":1,"d":1},"b":{"c":2},"b.c":3}"#, r#"0 -=unknown "" "" {} a:n:2 b.c:n:3 b.d:n:1"#),
        (r#"{"message":"a","message":"b","level":"x","level":"info"}"#, r#"0 info=info "" "b" {}"#),
        // Escapes in keys and values.
        (r#"{"\u006dsg":"a\u0000b","k\n":"\"","a":{"\u0062":1}}"#, "0 -=unknown \"\" \"a\\0b\" {} a.b:n:1 k\n:s:\""),
    ] {
        check(body, &[expected]);
    }
}

#[test]
fn metadata_and_properties_lose_their_prefix() {
    for (body, expected) in [
        (
            r#"{"metadata":{"user":"u","a":{"b":1}},"Properties":{"x":true},"message":"m"}"#,
            r#"0 -=unknown "" "m" {} a.b:n:1 user:s:u x:b:true"#,
        ),
        // On a clash both are kept, whatever their order; the names of roles always clash.
        (
            r#"{"metadata":{"user":1,"user":2,"level":"in","msg":"in","a":{"b":1}},"user":3,"a":{"b":2},"msg":"m"}"#,
            r#"0 -=unknown "" "m" {} a.b:n:2 metadata.a.b:n:1 metadata.level:s:in metadata.user:n:2 msg:s:in user:n:3"#,
        ),
        (
            r#"{"metadata":{"a":1},"Properties":{"a":2,"b":{}}}"#,
            r#"0 -=unknown "" "" {} Properties.a:n:2 a:n:1 b:j:{}"#,
        ),
        // Of two the last counts; what is no object is a field like any other.
        (r#"{"metadata":{"a":1},"metadata":{"b":2},"metadata":"x"}"#, r#"0 -=unknown "" "" {} b:n:2 metadata:s:x"#),
        (r#"{"metadata":{"service":"in","app":"in"}}"#, r#"0 -=unknown "" "" {} app:s:in metadata.service:s:in"#),
    ] {
        check(body, &[expected]);
    }
}

#[test]
fn stream_labels_are_taken_out_of_the_fields() {
    let body = r#"{"service":"s","level":"WARN","env":"prod","n":1,"zone":{"id":"z"},"l":[1],"e":"","msg":"m"}"#;
    assert_eq!(
        with_labels(&["zone.id", "n", "service", "level", "l", "e", "env", "none", "n"], body),
        r#"0 WARN=warn "s" "m" {env=prod,level=WARN,n=1,service=s,zone.id=z} e:s: l:j:[1]"#
    );
    assert_eq!(with_labels(&[], r#"{"service":"s","msg":"m"}"#), r#"0 -=unknown "s" "m" {}"#);
    assert_eq!(with_labels(&["app"], r#"{"app":"a","msg":"m"}"#), r#"0 -=unknown "a" "m" {app=a}"#);
    assert_eq!(
        with_labels(&["env"], r#"{"metadata":{"env":"in","x":1},"env":"out"}"#),
        r#"0 -=unknown "" "" {env=out} metadata.env:s:in x:n:1"#
    );
    assert_eq!(with_labels(&["env"], r#"{"metadata":{"env":"in"}}"#), r#"0 -=unknown "" "" {env=in}"#);
    assert_eq!(with_labels(&["env"], r#"{"env":"a","env":[1]}"#), r#"0 -=unknown "" "" {} env:j:[1]"#);
}

#[test]
fn stream_labels_are_bounded() {
    let refuse = |labels: &[&str]| with_options(labels, |options| Decoder::new().json(b"{}", options)).unwrap_err();
    let many: Vec<String> = (0..=STREAM_LABELS_MAX).map(|n| n.to_string()).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    assert!(matches!(refuse(&many), IngestError::StreamLabels(_)));
    assert!(matches!(refuse(&[""]), IngestError::StreamLabels(_)));
    let all = &many[..STREAM_LABELS_MAX];
    let body = all.iter().map(|name| format!("\"{name}\":1")).collect::<Vec<_>>().join(",");
    assert!(!with_labels(all, &format!("{{{body}}}")).contains(":n:"));
}

#[test]
fn timestamps_are_told_apart() {
    let second = NOW / SECOND_NS + 1;
    for value in [
        format!("{second}"),
        format!("{second}000"),
        format!("{second}000000"),
        format!("{second}000000000"),
        format!("{second}.000"),
        format!("\"{second}\""),
        format!("\"{second}000\""),
        "\"2026-01-01T00:00:01Z\"".into(),
        "\"2026-01-01T01:00:01+01:00\"".into(),
        "\"2026-01-01 00:00:01\"".into(),
        "\"2026-01-01T00:00:01\\u005a\"".into(),
    ] {
        check(format!("{{\"ts\":{value}}}"), &["1000000000 -=unknown \"\" \"\" {}"]);
    }
    let ahead = |ns| format!("{{\"time\":\"{}\",\"msg\":\"x\"}}", format_rfc3339(NOW + ns));
    check(ahead(DAY_NS), &["86400000000000 -=unknown \"\" \"x\" {}"]);
    for (body, reason) in [
        (
            ahead(DAY_NS + SECOND_NS),
            "`time`: `2026-01-02T00:00:01.000000000Z` is `86401` s after its arrival, at most `86400` s are allowed",
        ),
        (
            r#"{"timestamp":"0001-01-01T00:00:00Z"}"#.into(),
            "`timestamp`: `0001-01-01T00:00:00Z` is outside of 1677-09-21 to 2262-04-11, \
             which is what nanoseconds in 64 bits can hold",
        ),
        (
            r#"{"timestamp":"9999-12-31T23:59:59Z"}"#.into(),
            "`timestamp`: `9999-12-31T23:59:59Z` is outside of 1677-09-21 to 2262-04-11, \
             which is what nanoseconds in 64 bits can hold",
        ),
        (
            r#"{"ts":"yesterday","msg":"x"}"#.into(),
            "`ts`: found `yesterday`, expected RFC 3339 or a unix time in s, ms, µs or ns",
        ),
        (
            r#"{"timestamp":true}"#.into(),
            "`timestamp`: found a boolean, expected RFC 3339 or a unix time in s, ms, µs or ns",
        ),
        (
            r#"{"@timestamp":[1]}"#.into(),
            "`@timestamp`: found an array, expected RFC 3339 or a unix time in s, ms, µs or ns",
        ),
        (
            r#"{"timestamp":{},"ts":1}"#.into(),
            "`timestamp`: found an object, expected RFC 3339 or a unix time in s, ms, µs or ns",
        ),
    ] {
        check(body, &[&format!("#0 {reason}")]);
    }
}

#[test]
fn what_is_too_large_is_refused_and_the_rest_is_kept() {
    let fields = |count| (0..count).map(|n| format!("\"f{n}\":1")).collect::<Vec<_>>().join(",");
    let text = |len| "x".repeat(len);
    for (record, reason) in [
        (fields(10_000), "the record has more than `1000` fields, which is the most allowed".into()),
        (
            format!("\"{}\":1", text(1_025)),
            format!("`{}`: the name has `1025` bytes, at most `1024` are allowed", text(64)),
        ),
        (
            format!("\"app\":\"{}\"", text(2_049)),
            "`app`: the value has `2049` bytes, at most `2048` are allowed".into(),
        ),
        (
            format!("\"level\":\"{}\"", text(2_049)),
            "`level`: the value has `2049` bytes, at most `2048` are allowed".into(),
        ),
        (
            format!("\"msg\":\"{}\"", text(16 << 20)),
            "the record has `16777226` bytes, at most `16777216` are allowed".into(),
        ),
    ] {
        check(
            format!("{{\"msg\":\"a\"}}\n{{{record}}}\n{{\"msg\":\"b\"}}"),
            &["0 -=unknown \"\" \"a\" {}", "0 -=unknown \"\" \"b\" {}", &format!("#1 {reason}")],
        );
    }
    let decoded = decode(format!("{{\"msg\":\"{}\",{}}}", text(10_000_000), fields(1_000)).as_bytes()).unwrap();
    let batch = decoded.batch.unwrap();
    assert_eq!((batch.message(0).len(), batch.field_count()), (10_000_000, 1_000));
}

#[test]
fn the_field_names_of_a_batch_are_bounded() {
    let record = |n: usize| {
        let fields = (0..1_000).map(|field| format!("\"{n}-{field}\":1")).collect::<Vec<_>>().join(",");
        format!("{{{fields}}}")
    };
    let body: String = (0..20).map(record).collect();
    let decoded = decode(body.as_bytes()).unwrap();
    assert_eq!(decoded.accepted, BATCH_FIELDS_MAX / 1_000);
    assert!(decoded.refused[0].reason.contains("different field names"), "{}", decoded.refused[0].reason);
}

#[test]
fn streams_beyond_the_limit_are_refused_with_a_hint() {
    let asked = Cell::new(0);
    let registry = |_| asked.replace(asked.get() + 1) < 2;
    with_options(&["service"], |options| {
        let options = DecodeOptions { streams: &registry, ..*options };
        let body = ["a", "b", "c", "a", "c", "b", "b"].map(|service| format!("{{\"service\":\"{service}\"}}")).concat();
        let decoded = Decoder::new().json(body.as_bytes(), &options).unwrap();
        assert_eq!(decoded.accepted, 5);
        assert_eq!(decoded.refused.iter().map(|refused| refused.index).collect::<Vec<_>>(), [2, 4]);
        assert!(decoded.refused[0].reason.contains("--stream-labels"));
        assert_eq!(decoded.batch.unwrap().stream_count(), 2);
        assert_eq!(asked.get(), 3);
    });
}

#[test]
fn log_entries_keep_their_labels_as_stream_labels() {
    let labels = [("zone", "z"), ("app", "shop"), ("none", "")];
    let entry = |service, timestamp_s| LogEntry { service, level: "warn", message: "m", timestamp_s, labels: &labels };
    let entries =
        [entry("s", 0), entry("", NOW / SECOND_NS + 1), entry("s", i64::MAX), entry("s", NOW / SECOND_NS + 90_000)];
    let decoded = with_options(&["service"], |options| {
        Decoder::new().records(|records| entries.iter().for_each(|entry| records.push_entry(Ok(entry))), options)
    });
    let decoded = decoded.unwrap();
    assert_eq!(
        answer(&decoded),
        [
            r#"0 warn=warn "s" "m" {app=shop,zone=z}"#,
            r#"1000000000 warn=warn "shop" "m" {app=shop,zone=z}"#,
            "#2 `timestamp`: `9223372036854775807` is outside of 1677-09-21 to 2262-04-11, which is what nanoseconds \
             in 64 bits can hold",
            "#3 `timestamp`: `1767315600000000000` is `90000` s after its arrival, at most `86400` s are allowed",
        ]
    );
    let empty = with_options(&["service"], |options| Decoder::new().records(|_| {}, options));
    assert_eq!(empty.unwrap_err(), IngestError::Empty);
}

#[test]
fn records_that_are_apart_are_taken_as_they_are() {
    let fields =
        [("n", ValueKind::Number, "1"), ("severity", ValueKind::String, "error"), ("n", ValueKind::Number, "2")];
    let labels = [("job", "j"), ("a", "1"), ("a", "2")];
    let record =
        RecordInput { timestamp: Some(5), message: "m\0", labels: &labels, fields: &fields, ..RecordInput::default() };
    let mut builder = BatchBuilder::new();
    with_options(&["service"], |options| {
        push_record(&mut builder, &record, options).unwrap();
        let future = RecordInput { timestamp: Some(i64::MAX), ..record };
        assert!(push_record(&mut builder, &future, options).unwrap_err().contains("after its arrival"));
        let many: Vec<(String, String)> = (0..40).map(|n| (n.to_string(), "v".to_string())).collect();
        let many: Vec<(&str, &str)> = many.iter().map(|(name, value)| (&**name, &**value)).collect();
        let refused = push_record(&mut builder, &RecordInput { labels: &many, ..record }, options).unwrap_err();
        assert!(refused.contains("more than `32` stream labels"), "{refused}");
        let limits = Limits { fields_max: 1, ..Limits::default() };
        let options = DecodeOptions { limits: &limits, ..*options };
        assert!(push_record(&mut builder, &record, &options).unwrap_err().contains("more than `1` fields"));
        let none = |_| false;
        let options = DecodeOptions { streams: &none, ..options };
        assert!(push_record(&mut builder, &record, &options).unwrap_err().contains("--streams-max"));
    });
    let batch = builder.finish().unwrap();
    assert_eq!((batch.rows(), batch.stream_count()), (1, 1));
    assert_eq!(
        super::show(&batch, 0),
        format!("{} error=error \"j\" \"m\\0\" {{a=2,job=j}} n:n:2 severity:s:error", i128::from(5 - NOW))
    );
}
