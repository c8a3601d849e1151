//! Queries in each family's words.

use crate::harness::{Running, start, start_with};
use serde_json::{Value, json};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};

/// Ten records, one a second, the odd ones errors of `pay`.
fn filled() -> Running {
    let server = start();
    let lines: Vec<String> = (0..10)
        .map(|n| {
            let (level, service) = if n % 2 == 1 { ("ERROR", "pay") } else { ("info", "web") };
            json!({"timestamp": 1_700_000_000 + n, "level": level, "service": service, "message": format!("record {n}"),
                "n": n, "host": format!("h{}", n % 3)})
            .to_string()
        })
        .collect();
    assert_eq!(server.post("/ingest", lines.join("\n")).ok()["accepted"], 10);
    server
}

fn lines(answer: &Value) -> Vec<&str> {
    answer["data"].as_array().unwrap().iter().map(|record| record["line"].as_str().unwrap()).collect()
}

#[test]
fn loge_finds_by_matchers_line_and_selector() {
    let server = filled();
    let start_ns = 1_700_000_003_000_000_000_i64;
    let body = json!({"start": start_ns, "end": start_ns + 4_000_000_000_i64, "limit": 2,
        "matchers": [{"name": "service", "value": "pay", "type": "="}]});
    let answer = server.post("/api/v1/query", body.to_string()).ok();
    assert_eq!(answer["status"], "success");
    assert_eq!(lines(&answer), ["record 7", "record 5"]);
    assert_eq!(answer["data"][0]["timestamp"], start_ns + 4_000_000_000_i64);
    assert_eq!(answer["data"][0]["labels"], json!({"service": "pay"}));
    let answer =
        server.post("/api/v1/query", r#"{"matchers":[{"name":"host","value":"h[01]","type":"!~"}],"line":"2"}"#).ok();
    assert_eq!(lines(&answer), ["record 2"]);
    let answer = server.post("/api/v1/query", r#"{"query":"{service=~\"p.*\"} |= \"record 9\""}"#).ok();
    assert_eq!(lines(&answer), ["record 9"]);
}

#[test]
fn a_cursor_leads_through_all_pages() {
    let server = filled();
    for order in ["newest_first", "oldest_first"] {
        let mut seen = Vec::new();
        let mut cursor = Value::Null;
        loop {
            let body = json!({"order": order, "limit": 3, "cursor": cursor, "filter": {"field": "n", "ge": 1}});
            let answer = server.post("/api/v1/query", body.to_string()).ok();
            seen.extend(lines(&answer).into_iter().map(str::to_owned));
            cursor = answer["next"].clone();
            if cursor.is_null() {
                break;
            }
        }
        if order == "newest_first" {
            seen.reverse();
        }
        assert_eq!(seen, (1..10).map(|n| format!("record {n}")).collect::<Vec<_>>());
    }
    server.post("/api/v1/query", r#"{"cursor":"rubbish"}"#).error(400);
}

#[test]
fn counts_come_by_names_and_by_time() {
    let server = filled();
    let answer = server.post("/api/v1/query", r#"{"aggregate":{"by":["level"]}}"#).ok();
    let mut counts: Vec<(String, u64)> = answer["data"]
        .as_array()
        .unwrap()
        .iter()
        .map(|group| (group["labels"]["level"].as_str().unwrap().to_owned(), group["count"].as_u64().unwrap()))
        .collect();
    counts.sort();
    assert_eq!(counts, [("error".to_owned(), 5), ("info".to_owned(), 5)]);
    let answer =
        server.post("/api/v1/query", r#"{"aggregate":{"step":"5s"},"filter":{"field":"level","eq":"ERROR"}}"#).ok();
    assert_eq!(
        answer["data"],
        json!([{"timestamp": 1_700_000_000_000_000_000_i64, "labels": {}, "count": 2},
               {"timestamp": 1_700_000_005_000_000_000_i64, "labels": {}, "count": 3}])
    );
    server.post("/ingest", r#"{"message":"no service","timestamp":1700000000}"#).ok();
    for flushed in [false, true] {
        if flushed {
            server.database.as_ref().unwrap().flush().unwrap();
        }
        let answer = server.post("/api/v1/query", r#"{"aggregate":{"by":["service"]}}"#).ok();
        let last = answer["data"].as_array().unwrap().last().unwrap();
        assert_eq!(last, &json!({"labels": {"service": null}, "count": 1}), "flushed: {flushed}");
    }
    for wrong in [r#"{"aggregate":{"step":"5"}}"#, r#"{"aggregate":{"step":0}}"#, r#"{"aggregate":{"steps":1}}"#] {
        server.post("/api/v1/query", wrong).error(400);
    }
}

#[test]
fn explain_reads_nothing_and_says_why() {
    let server = filled();
    server.database.as_ref().unwrap().flush().unwrap();
    let answer = server.post("/api/v1/query", r#"{"explain":true,"start":"2030-01-01T00:00:00Z"}"#).ok();
    assert!(answer["data"]["steps"].as_array().is_some_and(|steps| !steps.is_empty()), "{answer}");
    let answer = server.post("/api/v1/query", r#"{"explain":true,"aggregate":{"by":["level"]}}"#).ok();
    assert!(answer["data"]["steps"].is_array(), "{answer}");
}

#[test]
fn an_export_has_every_record_in_order() {
    let server = filled();
    let export = |headers: &[(&str, &str)], body: &str| server.send("POST", "/api/v1/export", headers, body.as_bytes());
    let parse = |bytes: &[u8]| -> Vec<Value> {
        bytes
            .split(|&byte| byte == b'\n')
            .filter(|line| !line.is_empty())
            .map(|line| serde_json::from_slice(line).unwrap())
            .collect()
    };
    let plain = export(&[], r#"{"order":"oldest_first"}"#);
    assert_eq!(plain.header("content-type"), Some("application/x-ndjson"));
    let records = parse(&plain.body);
    assert_eq!(records.len(), 10);
    assert_eq!(records[0]["timestamp"], "2023-11-14T22:13:20.000000000Z");
    assert_eq!(records[1]["level_text"], "ERROR");
    assert_eq!(records[9]["fields"]["n"], 9);
    let zstd = export(&[("Accept-Encoding", "zstd")], r#"{"order":"oldest_first"}"#);
    assert_eq!(zstd.header("content-encoding"), Some("zstd"));
    assert_eq!(zstd::decode_all(&zstd.body[..]).unwrap(), plain.body);
    assert_eq!(parse(&export(&[], r#"{"limit":4}"#).body).len(), 4);
    assert_eq!(export(&[], r#"{"line":"nowhere"}"#).body, b"");
    export(&[], r#"{"explain":true}"#).error(400);
}

#[test]
fn a_time_or_step_of_another_kind_is_refused_with_what_is_expected() {
    let server = filled();
    for (body, expected) in [
        (r#"{"start":1.5}"#, "expected a time: a number of ns since 1970"),
        (r#"{"end":[]}"#, "expected a time: a number of ns since 1970"),
        (r#"{"aggregate":{"step":true}}"#, "expected a step: a number of ns"),
    ] {
        let refused = server.post("/api/v1/query", body).error(400);
        assert!(refused.contains(expected), "{body}: {refused}");
    }
}

#[test]
fn an_export_that_cannot_begin_is_refused() {
    let server = filled();
    let next = server.post("/api/v1/query", r#"{"limit":1}"#).ok()["next"].clone();
    let of_another_order = json!({"cursor": next, "order": "oldest_first"}).to_string();
    for (body, expected) in [
        (r#"{"filter":{"field":"n","regex":"("}}"#, "unclosed group"),
        (r#"{"matchers":[{"name":"n","value":"(","type":"=~"}]}"#, "unclosed group"),
        (r#"{"query":"n=~\"(\"","lang":"short"}"#, "unclosed group"),
        (of_another_order.as_str(), "another order"),
    ] {
        let refused = server.send("POST", "/api/v1/export", &[], body.as_bytes()).error(400);
        assert!(refused.contains(expected), "{body}: {refused}");
    }
}

#[test]
fn the_original_query_joins_filters_from_the_left() {
    let server = filled();
    let body = json!({"StartTime": 1_700_000_001_000_i64, "EndTime": 1_700_000_008_000_i64, "SortAsc": true, "Filters": [
        {"Field": "Service", "Value": "pay", "Operator": "AND"},
        {"Field": "MESSAGE", "Value": "record 2", "Operator": "OR"},
        {"Field": "host", "Value": "h2", "Operator": "AND"}]});
    let answer = server.post("/query", body.to_string()).ok();
    let found: Vec<&str> =
        answer.as_array().unwrap().iter().map(|record| record["Message"].as_str().unwrap()).collect();
    assert_eq!(found, ["record 2", "record 5"]);
    let answer = server.post("/query", r#"{"Limit":2}"#).ok();
    let found: Vec<&str> =
        answer.as_array().unwrap().iter().map(|record| record["Message"].as_str().unwrap()).collect();
    assert_eq!(found, ["record 9", "record 8"]);
    // Go's decoder took keys in any case, and null as unsaid.
    let body =
        r#"{"starttime":null,"endTime":1700000008000,"filters":[{"field":"message","value":"record 2"}],"LIMIT":1}"#;
    let answer = server.post("/query", body).ok();
    assert_eq!((answer.as_array().unwrap().len(), &answer[0]["Message"]), (1, &json!("record 2")));
    for operator in ["AND", "OR"] {
        let many = vec![json!({"Field": "Service", "Value": "pay", "Operator": operator}); 200];
        let answer = server.post("/query", json!({"Filters": many, "Limit": 1}).to_string()).ok();
        assert_eq!(answer[0]["Service"], "pay", "{operator}");
    }
    server.post("/query", r#"{"Filters":[{"Field":"a","Value":"b","Operator":"XOR"}]}"#).error(400);
}

#[test]
fn logs_are_found_by_level_service_and_time() {
    let server = filled();
    let messages = |path: &str| -> Vec<String> {
        let answer = server.get(path).ok();
        let logs = answer["logs"].as_array().unwrap();
        assert_eq!(answer["count"], logs.len());
        logs.iter().map(|log| log["message"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(messages("/logs?level=error&limit=2"), ["record 9", "record 7"]);
    assert_eq!(messages("/logs?service=web&since=1700000006"), ["record 8", "record 6"]);
    assert_eq!(messages("/logs?since=2023-11-14T22:13:20Z&until=1700000000").len(), 1);
    assert_eq!(messages("/logs?since=1700000000&contains=record%203"), ["record 3"]);
    // Nothing said: the last hour, and these are older.
    assert!(messages("/logs").is_empty());
    assert_eq!(messages("/logs/recent").len(), 10);
    server.get("/logs?since=yesterday").error(400);
}

#[test]
fn a_range_that_ends_before_it_starts_is_named() {
    let server = filled();
    for path in ["/api/v1/labels?start=6&end=5", "/api/v1/labels/service/values?start=15m&end=1h"] {
        assert_eq!(server.get(path).error(400), "`start` is after `end`", "{path}");
    }
    for path in ["/logs?since=1700000006&until=1700000005", "/logs?level=error&since=15m&until=1h"] {
        assert_eq!(server.get(path).error(400), "`since` is after `until`", "{path}");
    }
    for dry_run in [true, false] {
        let ask = json!({"query": r#"{service="web"}"#, "start": 6, "end": 5, "dry_run": dry_run});
        assert_eq!(server.post("/api/v1/delete", ask.to_string()).error(400), "`start` is after `end`");
    }
    // One instant is a range, and a bound alone is open.
    assert_eq!(server.get("/logs?since=1700000006&until=1700000006").ok()["count"], 1);
    assert_eq!(server.get("/logs?until=1700000006").ok()["count"], 7);
    // The original answered nothing, and said nothing.
    assert_eq!(server.post("/query", r#"{"StartTime":2,"EndTime":1}"#).ok(), json!([]));
}

#[test]
fn labels_have_both_families_keys() {
    let server = filled();
    let answer = server.get("/api/v1/labels").ok();
    assert_eq!(answer["status"], "success");
    assert!(answer["data"].as_array().unwrap().contains(&json!("service")));
    assert_eq!(answer["Services"], json!(["pay", "web"]));
    assert_eq!(answer["CustomLabels"]["service"], json!(["pay", "web"]));
    assert_eq!(server.get("/api/v1/labels/service/values").ok()["data"], json!(["pay", "web"]));
}

#[test]
fn a_malformed_question_is_refused() {
    let server = start();
    for body in [
        "",
        "[]",
        "{",
        r#"{"limt":1}"#,
        r#"{"start":5,"end":4}"#,
        r#"{"filter":{"field":"a"}}"#,
        r#"{"start":"soon"}"#,
        r#"{"matchers":[{"name":"a","value":"(","type":"=~"}]}"#,
        r#"{"query":"{app"}"#,
        r#"{"limit":-1}"#,
        r#"{"filter":{"xor":[]}}"#,
        r#"{"aggregate":{"by":["level","service","level"]}}"#,
        r#"{"aggregate":{},"cursor":"AQAA"}"#,
    ] {
        server.post("/api/v1/query", body).error(400);
    }
    let deep = format!("{{\"filter\":{}true{}}}", "{\"not\":".repeat(500), "}".repeat(500));
    server.post("/api/v1/query", deep).error(400);
    let hint = server
        .send("POST", "/api/v1/query", &[("Content-Type", "application/x-www-form-urlencoded")], b"a=b")
        .error(400);
    assert!(hint.contains("Content-Type"), "{hint}");
    // A question sent by `curl -d` is answered.
    let form = [("Content-Type", "application/x-www-form-urlencoded")];
    server.send("POST", "/api/v1/query", &form, br#"{"limit":1}"#).ok();
    let limit = server.post("/api/v1/query", vec![b' '; (1 << 20) + 1]).error(413);
    assert!(limit.contains("query_body_bytes_max"), "{limit}");
    server.get("/logs/recent?limit=5").error(400);
    // What belongs into the body is not passed over in the query string.
    for path in ["query", "export", "search/plan"] {
        let said = server.post(&format!("/api/v1/{path}?limit=5"), "{}").error(400);
        assert!(said.contains("`limit`"), "{said}");
    }
    server.get("/api/v1/delete?id=1").error(400);
}

#[test]
fn long_answers_are_compressed_as_the_client_accepts() {
    let server = filled();
    let plain = server.get("/logs/recent");
    assert_eq!(plain.header("content-encoding"), None);
    for coding in ["zstd", "gzip"] {
        let answer = server.send("GET", "/logs/recent", &[("Accept-Encoding", coding)], b"");
        assert_eq!(answer.header("content-encoding"), Some(coding));
        assert!(answer.body.len() < plain.body.len());
    }
}

#[test]
fn an_answer_has_no_more_records_than_the_server_allows() {
    let server = start_with(|options| options.page_records_max = 3);
    server.send("POST", "/simulate?count=10", &[], b"").ok();
    assert_eq!(server.post("/api/v1/query", r#"{"limit":100}"#).ok()["data"].as_array().unwrap().len(), 3);
    assert_eq!(server.get("/logs/recent").ok()["count"], 10);
    // Where there are no pages, more is refused, and nothing asked for is as much as there may be.
    for answer in [server.get("/logs?limit=4"), server.post("/query", r#"{"Limit":4}"#)] {
        let error = answer.error(400);
        assert!(error.contains("at most 3") && error.contains("page_records_max"), "{error}");
    }
    assert_eq!(server.get("/logs?limit=3").ok()["count"], 3);
    for body in ["{}", r#"{"Limit":3}"#, r#"{"Limit":-1}"#] {
        assert_eq!(server.post("/query", body).ok().as_array().unwrap().len(), 3);
    }
    assert_eq!(server.get("/logs").ok()["count"], 3);
}

/// The segment files below a directory.
fn segment_files(dir: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    let (dirs, files): (Vec<_>, Vec<_>) = entries.partition(|path| path.is_dir());
    let logs = files.into_iter().filter(|path| path.extension().is_some_and(|extension| extension == "log"));
    logs.chain(dirs.iter().flat_map(|dir| segment_files(dir))).collect()
}

#[test]
fn no_answer_hides_damage() {
    let server = filled();
    server.database.as_ref().unwrap().flush().unwrap();
    for path in segment_files(server.data_dir()) {
        let mut bytes = std::fs::read(&path).unwrap();
        let start = bytes.len() / 10;
        for byte in &mut bytes[start..] {
            *byte ^= 0x55;
        }
        std::fs::write(&path, bytes).unwrap();
    }
    server.post("/ingest", r#"{"message":"whole"}"#).ok();
    let named = server.post("/api/v1/query", "{}").ok();
    let parts = named["missing"].as_array().unwrap().len();
    assert!(parts > 0, "{named}");
    assert_eq!(server.get("/logs/recent").ok()["missing"], named["missing"]);
    let answer = server.post("/query", "{}");
    assert_eq!(answer.ok().as_array().unwrap().len(), 1);
    assert_eq!(answer.header("x-timberlog-missing"), Some(parts.to_string().as_str()));
    // The answer breaks off: no last chunk.
    let mut stream = TcpStream::connect(server.http).unwrap();
    stream.write_all(b"POST /api/v1/export HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{}").unwrap();
    let mut received = Vec::new();
    let _ = stream.read_to_end(&mut received);
    let received = String::from_utf8_lossy(&received);
    assert!(received.starts_with("HTTP/1.1 200") && !received.ends_with("\r\n0\r\n\r\n"), "{received}");
}
