//! `POST /api/v1/push`: loge's clients, in each of their encodings.

use crate::harness::{Response, Running, start, start_with};
use prost::Message;
use serde_json::{Value, json};
use std::time::Duration;
use timberlog_db::{Database, Durability, Env, Options, Progress};
use timberlog_proto::loge;

const PUSH: &str = "/api/v1/push";
const TIME: i64 = 1_700_000_000_000_000_000;
const BODY: &str = r#"{"streams":[{"stream":{"app":"web","level":"WARN"},
    "values":[["1700000000000000000","one"],["1700000001000000000","two"]]}]}"#;

fn send(server: &Running, media: &str, encoding: &str, body: &[u8]) -> Response {
    server.send("POST", PUSH, &[("Content-Type", media), ("Content-Encoding", encoding)], body)
}

fn lines(server: &Running) -> Value {
    let answer = server.post("/api/v1/query", r#"{"query":"{app=\"web\"}"}"#).ok();
    answer["data"].as_array().unwrap().iter().map(|line| json!([line["timestamp"], line["line"]])).collect()
}

fn protobuf() -> Vec<u8> {
    let value = |time: i64, line: &str| loge::Value { timestamp: time.to_string(), line: line.to_owned() };
    let labels = [("app", "web"), ("level", "WARN")].map(|(name, value)| (name.to_owned(), value.to_owned()));
    let values = vec![value(TIME, "one"), value(TIME + 1_000_000_000, "two")];
    loge::Payload { streams: vec![loge::StreamEntry { stream: labels.into(), values }] }.encode_to_vec()
}

fn msgpack() -> Vec<u8> {
    fn put(value: &Value, out: &mut Vec<u8>) {
        match value {
            Value::String(text) => {
                out.extend([0xd9, text.len() as u8]);
                out.extend(text.as_bytes());
            }
            Value::Array(values) => {
                out.push(0x90 | values.len() as u8);
                values.iter().for_each(|value| put(value, out));
            }
            Value::Object(pairs) => {
                out.push(0x80 | pairs.len() as u8);
                for (name, value) in pairs {
                    put(&json!(name), out);
                    put(value, out);
                }
            }
            _ => out.push(0xc0),
        }
    }
    let mut out = Vec::new();
    put(&serde_json::from_str(BODY).unwrap(), &mut out);
    out
}

#[test]
fn a_payload_is_found_by_the_very_next_query_however_it_is_packed() {
    let zstd = |body: &[u8]| zstd::encode_all(body, 1).unwrap();
    let gzip = |body: &[u8]| {
        let mut out = Vec::new();
        std::io::Read::read_to_end(&mut flate2::read::GzEncoder::new(body, flate2::Compression::fast()), &mut out)
            .unwrap();
        out
    };
    let json = BODY.as_bytes().to_vec();
    for (media, encoding, body) in [
        ("application/json", "identity", json.clone()),
        ("application/json; charset=utf-8", "gzip", gzip(&json)),
        ("application/x-www-form-urlencoded", "identity", json),
        ("application/msgpack", "identity", msgpack()),
        ("application/msgpack", "zstd", zstd(&msgpack())),
        ("application/protobuf", "identity", protobuf()),
        ("application/x-protobuf", "gzip", gzip(&protobuf())),
    ] {
        let server = start();
        let answer = send(&server, media, encoding, &body);
        assert_eq!(answer.ok(), json!({"status": "success", "accepted": 2}), "{media} {encoding}");
        assert_eq!(answer.header("x-timberlog-durability"), Some("fsync"));
        assert_eq!(lines(&server), json!([[TIME + 1_000_000_000, "two"], [TIME, "one"]]), "{media} {encoding}");
        let found = server.post("/api/v1/query", r#"{"filter":{"field":"level","eq":"warn"}}"#).ok();
        assert_eq!(found["data"][0]["labels"], json!({"app": "web", "level": "WARN"}));
    }
}

#[test]
fn what_is_wrong_is_named_and_nothing_is_stored() {
    let server = start();
    let stream =
        |stream: &str| format!(r#"{{"streams":[{{"stream":{{"app":"web"}},"values":[["1","x"]]}},{stream}]}}"#);
    for (body, expected) in [
        ("{}".to_owned(), "no streams"),
        (stream(r#"{"stream":{},"values":[["1","x"]]}"#), "stream 1: no labels"),
        (stream(r#"{"stream":{"app":"web"},"values":[]}"#), "stream 1: no values"),
        (
            stream(r#"{"stream":{"app":"web"},"values":[["1","x"],["yesterday","y"]]}"#),
            "stream 1, value 1: timestamp `yesterday`",
        ),
    ] {
        let error = server.post(PUSH, &body).error(400);
        assert!(error.starts_with("nothing was stored: ") && error.contains(expected), "{body}: {error}");
    }
    assert_eq!(lines(&server), json!([]));
    assert!(send(&server, "text/csv", "identity", b"a").error(415).contains("application/msgpack"));
    send(&server, "application/json", "br", b"{}").error(415);
    let hint = send(&server, "application/x-www-form-urlencoded", "identity", b"a=b").error(400);
    assert!(hint.contains("Content-Type"), "{hint}");
    let small = start_with(|options| options.body_bytes_max = 100);
    small.post(PUSH, BODY).error(413);
    let tight = start_with(|options| options.ingest.record_bytes_max = 2);
    assert!(tight.post(PUSH, BODY).error(400).contains("record_bytes_max"));
}

#[test]
fn a_producer_may_send_a_payload_twice() {
    let server = start();
    let send = |number: u64| {
        let key = format!("loge/{number}");
        let headers = [("Content-Type", "application/json"), ("Idempotency-Key", key.as_str())];
        server.send("POST", PUSH, &headers, BODY.as_bytes()).ok()
    };
    assert_eq!(send(7)["duplicate"], Value::Null);
    assert_eq!(send(7), json!({"status": "success", "accepted": 2, "duplicate": true}));
    assert_eq!(lines(&server).as_array().unwrap().len(), 2);
}

#[test]
fn a_server_that_does_not_wait_for_the_disk_says_202() {
    let mut server = crate::harness::start_unopened(|_| ());
    let durability = Durability::Async { interval: Duration::from_millis(20) };
    let options = Options { durability, ..Options::new(server.data_dir()) };
    let database = Database::open(options, Env::real(), &Progress::default()).unwrap();
    server.opening.opened(Ok(database.clone()));
    server.database = Some(database);
    let answer = server.post(PUSH, BODY);
    assert_eq!((answer.status, answer.header("x-timberlog-durability")), (202, Some("async")));
    assert_eq!(answer.json()["accepted"], 2);
    assert_eq!(lines(&server).as_array().unwrap().len(), 2);
}
