//! `POST /loki/api/v1/push`: every encoding is read, and every mistake is told in Loki's words.

use crate::harness::{Response, Running, start, start_with};
use serde_json::{Value, json};
use std::io::Write;
use std::time::{SystemTime, UNIX_EPOCH};

const PUSH: &str = "/loki/api/v1/push";
const JSON: (&str, &str) = ("Content-Type", "application/json");
const PROTOBUF: (&str, &str) = ("Content-Type", "application/x-protobuf");

fn now_ns() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos() as i64
}

fn body(labels: Value, lines: &[&str]) -> Vec<u8> {
    let now = now_ns();
    let values: Vec<Value> = lines
        .iter()
        .enumerate()
        .map(|(at, line)| json!([(now + at as i64).to_string(), line, {"trace": "t"}]))
        .collect();
    json!({"streams": [{"stream": labels, "values": values}]}).to_string().into_bytes()
}

fn put_field(number: u8, bytes: &[u8], out: &mut Vec<u8>) {
    out.push(number << 3 | 2);
    let mut len = bytes.len();
    while len >= 0x80 {
        out.push(len as u8 | 0x80);
        len >>= 7;
    }
    out.push(len as u8);
    out.extend_from_slice(bytes);
}

/// A request of one entry, without its compression.
fn protobuf(labels: &str, line: &str) -> Vec<u8> {
    let (mut time, mut pair, mut entry, mut stream, mut out) = (vec![8], vec![], vec![], vec![], vec![]);
    let mut seconds = now_ns() / 1_000_000_000;
    while seconds >= 0x80 {
        time.push(seconds as u8 | 0x80);
        seconds >>= 7;
    }
    time.push(seconds as u8);
    put_field(1, b"trace", &mut pair);
    put_field(2, b"t", &mut pair);
    put_field(1, &time, &mut entry);
    put_field(2, line.as_bytes(), &mut entry);
    put_field(3, &pair, &mut entry);
    put_field(1, labels.as_bytes(), &mut stream);
    put_field(2, &entry, &mut stream);
    put_field(1, &stream, &mut out);
    out
}

fn snappy(bytes: &[u8]) -> Vec<u8> {
    snap::raw::Encoder::new().compress_vec(bytes).unwrap()
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn deflate(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::DeflateEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn logs(server: &Running) -> Vec<Value> {
    server.get("/logs/recent").ok()["logs"].as_array().unwrap().clone()
}

#[track_caller]
fn stored(response: &Response) {
    assert_eq!(response.status, 204, "{}", String::from_utf8_lossy(&response.body));
    assert_eq!(response.header("x-timberlog-durability"), Some("fsync"));
    assert!(response.body.is_empty());
}

#[track_caller]
fn refused(response: &Response, status: u16) -> String {
    assert_eq!(response.status, status, "{}", String::from_utf8_lossy(&response.body));
    assert_eq!(response.header("content-type"), Some("text/plain; charset=utf-8"));
    assert_eq!(response.header("x-content-type-options"), Some("nosniff"));
    response.text().trim_end().to_owned()
}

#[test]
fn every_encoding_is_read_and_shows_up_natively() {
    let json = |line: &str| body(json!({"app": "web", "level": "WARN"}), &[line]);
    let proto = |line: &str| protobuf(r#"{app="web", level="WARN"}"#, line);
    let encoded = |name| ("Content-Encoding", name);
    for (headers, body) in [
        (vec![JSON], json("plain")),
        (vec![("Content-Type", "application/json; charset=utf-8"), encoded("gzip")], gzip(&json("gzip"))),
        (vec![JSON, encoded("deflate")], deflate(&json("deflate"))),
        (vec![JSON, encoded("zstd")], zstd::encode_all(&json("zstd")[..], 1).unwrap()),
        (vec![PROTOBUF], snappy(&proto("protobuf"))),
        (vec![PROTOBUF, encoded("snappy")], snappy(&proto("protobuf, said"))),
        (vec![PROTOBUF, encoded("gzip")], gzip(&snappy(&proto("protobuf, twice")))),
    ] {
        let server = start();
        stored(&server.send("POST", PUSH, &headers, &body));
        let logs = logs(&server);
        assert_eq!(logs.len(), 1, "{headers:?}");
        assert_eq!(logs[0]["service"], "web");
        assert_eq!(logs[0]["level"], "WARN");
        assert_eq!(logs[0]["metadata"]["trace"], "t");
    }
}

#[test]
fn the_older_path_reads_its_own_json_and_protobuf() {
    let server = start();
    let old = r#"{"streams":[{"labels":"{app=\"a\"}","entries":[{"ts":"2026-01-01T00:00:00Z","line":"old"}]}]}"#;
    stored(&server.send("POST", "/api/prom/push", &[JSON], old.as_bytes()));
    stored(&server.send("POST", "/api/prom/push", &[PROTOBUF], &snappy(&protobuf("{}", "new"))));
    let stats = server.post("/api/v1/query", r#"{"aggregate":{}}"#).ok();
    assert_eq!(stats["data"][0]["count"], 2);
}

#[test]
fn a_level_is_looked_for_in_the_line_unless_that_is_off() {
    for (derive, count) in [(true, 1), (false, 0)] {
        let server = start_with(|options| options.loki_derive_labels = derive);
        stored(&server.post(PUSH, body(json!({"app": "web"}), &["level=error msg=x"])));
        let found = server.get("/logs?level=error").ok();
        assert_eq!(found["count"], count);
        // Nobody sent it, so no answer says so.
        let logs = server.get("/logs/recent").ok();
        assert_eq!(logs["count"], 1);
    }
}

#[test]
fn good_entries_are_stored_and_bad_ones_told() {
    let server = start();
    let now = now_ns();
    let late = now + 48 * 3_600_000_000_000;
    let text = format!(
        r#"{{"streams":[{{"stream":{{"a":"b"}},"values":[["{late}","x"],["{now}","good"],["{late}","y"],["{now}","z",{{"":"x"}}]]}}]}}"#
    );
    let told = refused(&server.post(PUSH, &text), 400);
    assert!(told.starts_with(
        r#"2 errors like: entry for stream '{a="b", service_name="unknown_service"}' has timestamp too new: "#
    ));
    assert!(told.ends_with("; 1 errors like: label name is empty"), "{told}");
    assert_eq!(logs(&server).len(), 1);
    // The same again under a producer's number, and once more as a repetition: the same words, stored once.
    let numbered = [JSON, ("Idempotency-Key", "shipper/1")];
    for _ in 0..2 {
        assert_eq!(refused(&server.send("POST", PUSH, &numbered, text.as_bytes()), 400), told);
    }
    assert_eq!(logs(&server).len(), 2);
}

#[test]
fn what_cannot_be_read_stores_nothing() {
    let server = start();
    let good = body(json!({"a": "b"}), &["x"]);
    let send = |headers: &[(&str, &str)], body: &[u8]| server.send("POST", PUSH, headers, body);
    for (text, status, told) in [
        ("{}", 422, "error at least one valid stream is required for ingestion"),
        ("", 400, "the body is cut short, expected an object"),
        (
            r#"{"streams":[{"stream":{"a-b":"c"},"values":[["1","x"]]}]}"#,
            400,
            "couldn't parse labels: 1:3: parse error: unexpected character inside braces: '-'",
        ),
    ] {
        assert_eq!(refused(&server.post(PUSH, text), status), told);
    }
    assert_eq!(refused(&send(&[], &good), 400), "mime: no media type");
    let brotli = [JSON, ("Content-Encoding", "br")];
    assert_eq!(refused(&send(&brotli, &good), 400), "Content-Encoding \"br\" not supported");
    assert!(refused(&send(&[JSON, ("Content-Encoding", "gzip")], &good), 400).contains("not gzip"));
    assert_eq!(refused(&send(&[PROTOBUF], &good), 400), "snappy: corrupt input");
    assert!(refused(&send(&[PROTOBUF], &snappy(b"\x0a\xff")), 400).contains("protobuf message is cut short"));
    assert!(
        refused(&send(&[PROTOBUF], &snappy(&protobuf("{a=", "x"))), 400).starts_with("couldn't parse labels: 1:4:")
    );
    assert!(refused(&send(&[JSON, ("X-Scope-OrgID", "a b")], &good), 400).contains("tenant"));
    assert!(logs(&server).is_empty());
    // No stream with an entry is no mistake.
    stored_nothing(&server.post(PUSH, r#"{"streams":[{"stream":{"a":"b"},"values":[]}]}"#));
}

#[track_caller]
fn stored_nothing(response: &Response) {
    assert_eq!((response.status, response.body.len()), (204, 0));
}

#[test]
fn limits_hold_for_bodies_before_and_after_decompression() {
    let server = start_with(|options| options.body_bytes_max = 1 << 20);
    let bomb = vec![b' '; 4 << 20];
    let told = refused(&server.send("POST", PUSH, &[JSON, ("Content-Encoding", "gzip")], &gzip(&bomb)), 413);
    assert!(told.contains("body_bytes_max"), "{told}");
    assert!(refused(&server.send("POST", PUSH, &[PROTOBUF], &snappy(&bomb)), 413).contains("body_bytes_max"));
    // Ten bytes that claim to be a megabyte are not believed.
    assert_eq!(refused(&server.send("POST", PUSH, &[PROTOBUF], b"\x80\x80\x40abcdefg"), 400), "snappy: corrupt input");
    assert!(refused(&server.post(PUSH, &bomb), 413).contains("body_bytes_max"));
}

#[test]
fn pressure_is_told_with_a_time_to_come_back() {
    let server = start_with(|options| options.bodies_bytes_max = 64);
    let response = server.post(PUSH, body(json!({"a": "b"}), &["a line that is too much"]));
    refused(&response, 429);
    assert_eq!(response.header("retry-after"), Some("1"));
}
