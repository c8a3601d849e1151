//! `POST /ingest`, `/write`, `/simulate`: what is stored, what is refused, and with which words.

use crate::harness::{Running, start, start_with};
use serde_json::json;
use std::io::Write;

const JSON: (&str, &str) = ("Content-Type", "application/json");

/// The number of records of a tenant, by the newest page.
fn count(server: &Running, tenant: &str) -> u64 {
    let headers = [JSON, ("X-Scope-OrgID", tenant)];
    let answer = server.send("POST", "/api/v1/query", &headers, br#"{"aggregate":{}}"#).ok();
    answer["data"][0]["count"].as_u64().unwrap()
}

#[test]
fn an_acknowledged_record_is_in_the_very_next_answer() {
    let server = start();
    let answer = server.post("/ingest", r#"{"level":"error","service":"web","message":"disk is full","id":"a-1"}"#);
    assert_eq!(answer.header("x-timberlog-durability"), Some("fsync"));
    assert_eq!(answer.ok(), json!({"status": "accepted", "id": "a-1", "accepted": 1, "refused": []}));
    let logs = server.get("/logs/recent").ok();
    assert_eq!(logs["count"], 1);
    assert_eq!(logs["logs"][0]["message"], "disk is full");
    assert_eq!(logs["logs"][0]["id"], "a-1");
}

#[test]
fn every_form_of_json_is_taken() {
    let server = start();
    let one = r#"{"message":"x"}"#;
    for (body, records) in [
        (one.to_owned(), 1),
        (format!("[{one},{one}]"), 2),
        (format!("{one}\n{one}\n{one}\n"), 3),
        (format!("{one}{one} {one}"), 3),
    ] {
        assert_eq!(server.post("/ingest", &body).ok()["accepted"], records, "{body}");
    }
    assert_eq!(count(&server, "default"), 9);
}

#[test]
fn a_single_record_has_an_id_that_names_it() {
    let server = start();
    let id = |body: &str| server.post("/ingest", body).ok()["id"].as_str().unwrap().to_owned();
    assert_eq!((id(r#"{"id":"a-1"}"#), id(r#"{"id":42}"#)), ("a-1".to_owned(), "42".to_owned()));
    let made = [r#"{"id":null}"#, r#"{"id":""}"#, r#"{"message":"x"}"#].map(id);
    assert!(made.iter().all(|id| id.ends_with("-0")), "{made:?}");
}

#[test]
fn who_waits_for_100_continue_is_told_at_once_that_it_is_too_much() {
    let server = start_with(|options| options.body_bytes_max = 100_000);
    let answer =
        server.raw(b"POST /ingest HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 100001\r\n\r\n");
    assert!(answer.error(413).contains("body_bytes_max"));
}

#[test]
fn good_records_are_stored_and_bad_ones_named() {
    let server = start();
    let body =
        "{\"message\":\"a\"}\n{}\n{\"message\":\"b\",\"timestamp\":\"9999-01-01T00:00:00Z\"}\n{\"message\":\"c\"}";
    let answer = server.post("/ingest", body).ok();
    assert_eq!(answer["accepted"], 2);
    let refused: Vec<u64> =
        answer["refused"].as_array().unwrap().iter().map(|r| r["index"].as_u64().unwrap()).collect();
    assert_eq!(refused, [1, 2]);
    assert!(answer["refused"].as_array().unwrap().iter().all(|r| !r["reason"].as_str().unwrap().is_empty()));
    // Strict: all or nothing.
    let strict = server.post("/ingest?strict=true", body);
    assert_eq!(strict.json()["accepted"], 0);
    assert!(strict.error(400).contains("nothing was stored"));
    assert_eq!(count(&server, "default"), 2);
}

#[test]
fn nothing_stored_is_a_400() {
    let server = start();
    for body in ["", " ", "[]", "{}", "{", "nonsense", "[1,2]", "\"text\"", "null", "{\"a\":1"] {
        server.post("/ingest", body).error(400);
    }
    let deep = format!("{}1{}", "{\"a\":".repeat(1000), "}".repeat(1000));
    assert!(!server.post("/ingest", &deep).error(400).is_empty());
    server.post("/ingest", b"{\"message\":\"\xff\xfe").error(400);
    assert_eq!(count(&server, "default"), 0);
}

#[test]
fn what_curl_sends_is_stored_or_refused_with_a_hint() {
    let server = start();
    let form = ("Content-Type", "application/x-www-form-urlencoded");
    // `curl -d @file` strips the newlines.
    let stripped = br#"{"message":"a"}{"message":"b"}"#;
    assert_eq!(server.send("POST", "/ingest", &[form], stripped).ok()["accepted"], 2);
    let hint = server.send("POST", "/ingest", &[form], b"message=hello&level=info").error(400);
    assert!(hint.contains("--data-binary"), "{hint}");
    for other in ["text/plain", "multipart/form-data; boundary=x", "application/octet-stream"] {
        let hint = server.send("POST", "/ingest", &[("Content-Type", other)], stripped).error(415);
        assert!(hint.contains("application/json"), "{hint}");
    }
    // Unsaid is JSON, and so are its relatives and parameters.
    for headers in
        [&[][..], &[("Content-Type", "application/x-ndjson")], &[("Content-Type", "application/json; charset=utf-8")]]
    {
        assert_eq!(server.send("POST", "/ingest", headers, stripped).ok()["accepted"], 2);
    }
    assert_eq!(count(&server, "default"), 8);
}

#[test]
fn compressed_bodies_are_read_and_bombs_are_not() {
    let server = start_with(|options| options.body_bytes_max = 1 << 20);
    let gzip = |bytes: &[u8]| {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    };
    let body = b"{\"message\":\"a\"}\n{\"message\":\"b\"}\n";
    let bomb = vec![b' '; 8 << 20];
    for (name, good, bad) in [
        ("gzip", gzip(body), gzip(&bomb)),
        ("zstd", zstd::encode_all(&body[..], 3).unwrap(), zstd::encode_all(&bomb[..], 3).unwrap()),
    ] {
        let headers = [JSON, ("Content-Encoding", name)];
        assert_eq!(server.send("POST", "/ingest", &headers, &good).ok()["accepted"], 2);
        let error = server.send("POST", "/ingest", &headers, &bad).error(413);
        assert!(error.contains("body_bytes_max") && error.contains(name), "{error}");
        server.send("POST", "/ingest", &headers, body).error(400);
        server.send("POST", "/ingest", &headers, &good[..good.len() - 3]).error(400);
    }
    server.send("POST", "/ingest", &[JSON, ("Content-Encoding", "br")], body).error(415);
    assert_eq!(count(&server, "default"), 4);
}

#[test]
fn an_oversized_body_is_refused_by_its_length_and_by_its_bytes() {
    let server = start_with(|options| options.body_bytes_max = 100_000);
    let error = server.post("/ingest", vec![b' '; 100_001]).error(413);
    assert!(error.contains("body_bytes_max"), "{error}");
    // Without a length it shows only as it comes.
    let mut raw =
        b"POST /ingest HTTP/1.1\r\nHost: x\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec();
    for _ in 0..20 {
        raw.extend_from_slice(b"2000\r\n");
        raw.extend_from_slice(&[b' '; 0x2000]);
        raw.extend_from_slice(b"\r\n");
    }
    raw.extend_from_slice(b"0\r\n\r\n");
    server.raw(&raw).error(413);
}

#[test]
fn a_tenant_sees_its_own_records_and_a_hostile_name_is_refused() {
    let server = start();
    for tenant in ["team-a", "team-b"] {
        let headers = [JSON, ("X-Scope-OrgID", tenant)];
        server.send("POST", "/ingest", &headers, br#"{"message":"x"}"#).ok();
        assert_eq!(count(&server, tenant), 1);
    }
    assert_eq!(count(&server, "default"), 0);
    for tenant in ["..", ".", "a/b", "../../etc", "a|b", "a b", &"x".repeat(151)] {
        let headers = [JSON, ("X-Scope-OrgID", tenant)];
        for (method, path) in [
            ("POST", "/ingest"),
            ("POST", "/write"),
            ("GET", "/logs"),
            ("POST", "/api/v1/query"),
            ("POST", "/simulate"),
        ] {
            let error = server.send(method, path, &headers, b"{}").error(400);
            assert!(error.contains("tenant"), "{path}: {error}");
        }
    }
    let twice = [JSON, ("X-Scope-OrgID", "a"), ("X-Scope-OrgID", "b")];
    server.send("POST", "/ingest", &twice, br#"{"message":"x"}"#).error(400);
}

#[test]
fn a_batch_that_a_producer_sends_again_is_stored_once() {
    let server = start();
    let send = |key: &str| {
        server.send("POST", "/ingest", &[JSON, ("Idempotency-Key", key)], br#"[{"message":"a"},{"message":"b"}]"#)
    };
    assert_eq!(send("agent-1/1").ok()["accepted"], 2);
    let again = send("agent-1/1").ok();
    assert_eq!((&again["accepted"], &again["duplicate"]), (&json!(2), &json!(true)));
    assert_eq!(send("agent-1/2").ok()["accepted"], 2);
    assert_eq!(send("agent-2/1").ok()["accepted"], 2);
    for key in ["agent-1", "/1", "agent-1/x", "agent-1/-1"] {
        send(key).error(400);
    }
    // Which of two it is cannot be known.
    let twice = [JSON, ("Idempotency-Key", "agent-3/1"), ("Idempotency-Key", "agent-3/2")];
    let error = server.send("POST", "/ingest", &twice, br#"{"message":"x"}"#).error(400);
    assert!(error.contains("more than once"), "{error}");
    assert_eq!(count(&server, "default"), 6);
}

#[test]
fn a_request_may_name_its_stream_labels() {
    let server = start();
    let headers = [JSON, ("X-TimberLog-Stream-Labels", "service,env")];
    server.send("POST", "/ingest", &headers, br#"{"message":"a","service":"web","env":"prod","host":"h1"}"#).ok();
    let answer = server.post("/api/v1/query", r#"{"matchers":[{"name":"env","value":"prod"}]}"#).ok();
    assert_eq!(answer["data"][0]["labels"], json!({"service": "web", "env": "prod"}));
    assert_eq!(answer["data"][0]["fields"]["host"], "h1");
    let many = "a,".repeat(1000);
    server.send("POST", "/ingest", &[JSON, ("X-TimberLog-Stream-Labels", &many)], br#"{"message":"a"}"#).error(400);
}

#[test]
fn wide_records_and_long_lines_get_their_documented_answers() {
    let server = start();
    let wide: Vec<String> = (0..10_000).map(|n| format!("\"f{n}\":{n}")).collect();
    server.post("/ingest", format!("{{{}}}", wide.join(","))).error(400);
    let long = "x".repeat(10 << 20);
    assert_eq!(server.post("/ingest", format!("{{\"message\":\"{long}\"}}")).ok()["accepted"], 1);
    let logs = server.get("/logs/recent").ok();
    assert_eq!(logs["logs"][0]["message"].as_str().unwrap().len(), 10 << 20);
    assert_eq!(server.post("/ingest", r#"{"message":"nul \u0000 byte","a":1,"a":2}"#).ok()["accepted"], 1);
    assert_eq!(server.get("/logs/recent").ok()["logs"][0]["message"], "nul \0 byte");
}

#[test]
fn unknown_parameters_are_refused() {
    let server = start();
    assert!(server.post("/ingest?stict=true", r#"{"message":"x"}"#).error(400).contains("stict"));
    server.post("/ingest?strict=maybe", r#"{"message":"x"}"#).error(400);
    server.get("/logs?levle=error").error(400);
    server.post("/simulate?count=0", "").error(400);
}

#[test]
fn the_original_write_answers_with_the_record() {
    let server = start();
    let record = json!({"Timestamp": 1_700_000_000_123_i64, "Level": "ERROR", "Service": "pay", "Host": "h1",
        "Message": "declined", "StackTrace": "at a\nat b", "Properties": {"amount": 12.50, "card": {"kind": "visa"}}});
    let answer = server.post("/write", record.to_string());
    assert_eq!(answer.header("x-timberlog-durability"), Some("fsync"));
    let answer = answer.ok();
    for key in ["Timestamp", "Level", "Service", "Host", "Message", "StackTrace"] {
        assert_eq!(answer[key], record[key], "{key}");
    }
    let found = server.post("/query", "{}").ok();
    assert_eq!(found, json!([answer]));
    assert_eq!(found[0]["Properties"]["amount"], 12.5);
    server.post("/write", "{").error(400);
    server.post("/write", "").error(400);
}

#[test]
fn made_up_records_are_stored() {
    let server = start();
    assert_eq!(server.send("POST", "/simulate?count=2500", &[], b"").ok(), json!({"status": "success", "logs": 2500}));
    let answer = server.post("/api/v1/query", r#"{"aggregate":{"by":["service"]}}"#).ok();
    assert_eq!(answer["data"].as_array().unwrap().len(), 5);
    assert_eq!(count(&server, "default"), 2500);
}

#[test]
fn a_duplicate_is_answered_as_the_first_was() {
    let server = start();
    let send =
        |key: &str, body: &str| server.send("POST", "/ingest", &[JSON, ("Idempotency-Key", key)], body.as_bytes());
    let late = "{\"message\":\"b\",\"timestamp\":\"9999-01-01T00:00:00Z\"}";
    let first = send("p/1", &format!("{{\"message\":\"a\"}}\n{{}}\n{late}")).ok();
    assert_eq!((&first["accepted"], first["refused"].as_array().unwrap().len()), (&json!(1), 2));
    // Whatever the body of the second one holds: none that is refused, others, more than there were.
    for other in ["{\"message\":\"x\"}".to_owned(), "{}\n{\"message\":\"y\"}\n{}\n{}".to_owned()] {
        let second = send("p/1", &other).ok();
        assert_eq!(second["duplicate"], true);
        assert_eq!((&second["accepted"], &second["refused"]), (&first["accepted"], &first["refused"]), "{second}");
    }
    // Nothing was refused then, and nothing is now.
    send("p/2", "{\"message\":\"a\"}").ok();
    assert_eq!(send("p/2", &format!("{{}}\n{late}\n{{\"message\":\"a\"}}")).ok()["refused"], json!([]));
    // Of a long list the first ones are kept, and how many there were.
    let first = send("p/3", &format!("{}{{\"message\":\"a\"}}", "{}\n".repeat(200))).ok();
    let again = send("p/3", "{\"message\":\"a\"}").ok();
    assert_eq!(again["refused_total"], 200);
    let (first, again) = (first["refused"].as_array().unwrap(), again["refused"].as_array().unwrap());
    assert!(!again.is_empty() && first.starts_with(again));
}
