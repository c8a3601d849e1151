//! The short form, LogQL in loge's words, and the lists that go with them.

use crate::harness::{Running, start, start_with};
use serde_json::{Value, json};
use std::io::Write;
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

/// 2023-11-14T22:13:20Z, in seconds; 20 s past a minute.
const T: i64 = 1_700_000_000;

/// Twelve records, one every 10 s: each fourth an error of `pay`.
fn filled() -> Running {
    let server = start();
    let lines: Vec<String> = (0..12)
        .map(|n| {
            let (level, service, message) = if n % 4 == 3 {
                ("ERROR", "pay", "declined")
            } else {
                ("info", "web", r#"{"status":200,"path":"/a"}"#)
            };
            json!({"timestamp": T + n * 10, "level": level, "service": service, "message": message, "shard": n % 2,
                "none": null})
            .to_string()
        })
        .collect();
    assert_eq!(server.post("/ingest", lines.join("\n")).ok()["accepted"], 12);
    server
}

fn short(server: &Running, query: &str) -> Value {
    server.get(&format!("/api/v1/query?{query}")).ok()["data"].clone()
}

#[test]
fn the_short_form_counts_each_series_and_tells_its_newest_time() {
    let server = filled();
    let web = |shard: &str, count: u64, last: i64| {
        json!({"service": "web", "level": "info", "message": "{\"status\":200,\"path\":\"/a\"}",
            "labels": {"shard": shard}, "count": count, "last": last, "last_ns": last * 1_000_000_000})
    };
    let pay = |count: u64, last: i64| {
        json!({"service": "pay", "level": "ERROR", "message": "declined", "labels": {"shard": "1"},
            "count": count, "last": last, "last_ns": last * 1_000_000_000})
    };
    for flushed in [false, true] {
        if flushed {
            server.database.as_ref().unwrap().flush().unwrap();
        }
        let range = format!("start={T}&end={}", T + 110);
        let all = short(&server, &format!("expression=&{range}"));
        assert_eq!(all, json!([web("0", 6, T + 100), pay(3, T + 110), web("1", 3, T + 90)]), "flushed: {flushed}");
        let found = short(&server, &format!("expression=service=pay%26level=error&{range}"));
        assert_eq!(found, json!([pay(3, T + 110)]));
        let found = short(&server, &format!("expression=message%20CONTAINS%20declined%7Cshard=0&{range}"));
        assert_eq!(found, json!([web("0", 6, T + 100), pay(3, T + 110)]));
        // Both ends belong to the range, the last second as a whole.
        let found = short(&server, &format!("expression=service=pay&start={}&end={}", T + 30, T + 70));
        assert_eq!(found, json!([pay(2, T + 70)]));
    }
}

#[test]
fn a_resolution_gives_counts_by_steps_and_leaves_empty_ones_out() {
    let server = filled();
    let found = short(&server, &format!("expression=service=pay&start={T}&end={}&resolution=30s", T + 600));
    // Steps are aligned to 1970: the first error is at T + 30, which is 10 s into a step.
    assert_eq!(found[0]["counts"], json!([[T + 10, 1], [T + 70, 1], [T + 100, 1]]));
    assert_eq!(found[0]["count"], 3);
    let found = short(&server, &format!("expression=service=pay&start={T}&end={}&resolution=1d", T + 600));
    assert_eq!(found[0]["counts"], json!([[T - T % 86_400, 3]]));
}

#[test]
fn without_times_the_look_back_is_asked() {
    let server = start_with(|options| options.lookback = std::time::Duration::from_secs(60));
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs() as i64;
    for (age, message) in [(10, "new"), (100, "old")] {
        server.post("/ingest", json!({"timestamp": now - age, "message": message}).to_string()).ok();
    }
    let messages = |query: &str| -> Vec<Value> {
        short(&server, query).as_array().unwrap().iter().map(|series| series["message"].clone()).collect()
    };
    assert_eq!(messages("expression="), ["new"]);
    assert_eq!(messages(&format!("expression=&end={}", now - 50)), ["old"]);
    assert_eq!(messages(&format!("expression=&start={}", now - 200)).len(), 2);
}

#[test]
fn a_wrong_short_query_is_refused() {
    let server = filled();
    for (query, expected) in [
        ("", "expression"),
        ("expression=a&resolutoin=5m", "resolutoin"),
        ("expression=level=", "column"),
        ("expression=%28level=a", "column"),
        ("expression=&resolution=5", "resolution"),
        ("expression=&resolution=0s", "resolution"),
        ("expression=&resolution=5ms", "resolution"),
        ("expression=&start=5&end=4", "`start` is after `end`"),
        ("expression=&start=yesterday", "not a time"),
        ("expression=&start=1&end=1700000000&resolution=1s", "at most 11000"),
    ] {
        let error = server.get(&format!("/api/v1/query?{query}")).error(400);
        assert!(error.contains(expected), "{query}: {error}");
    }
}

#[test]
fn an_answer_of_too_many_series_is_refused_with_the_limit() {
    let server = start();
    let lines: String = (0..10_001).map(|n| format!("{{\"message\":\"m{n}\",\"timestamp\":{T}}}\n")).collect();
    server.post("/ingest", lines).ok();
    let error = server.get(&format!("/api/v1/query?expression=&start={T}&end={T}")).error(400);
    assert!(error.contains("series_max") && error.contains("10000"), "{error}");
}

fn ask(server: &Running, body: Value) -> Value {
    server.post("/api/v1/query", body.to_string()).ok()
}

fn found(answer: &Value) -> Vec<&str> {
    answer["data"].as_array().unwrap().iter().map(|line| line["line"].as_str().unwrap()).collect()
}

#[test]
fn any_log_query_of_logql_is_answered_in_loges_shape() {
    let server = filled();
    for flushed in [false, true] {
        if flushed {
            server.database.as_ref().unwrap().flush().unwrap();
        }
        let query = r#"{service="web"} | json | status = 200 | line_format "{{.path}} {{.shard}}""#;
        let answer = ask(&server, json!({"query": query, "limit": 2}));
        assert_eq!(answer["status"], "success");
        assert_eq!(found(&answer), ["/a 0", "/a 1"]);
        let first = &answer["data"][0];
        assert_eq!(first["timestamp"], (T + 100) * 1_000_000_000);
        assert_eq!(first["labels"], json!({"service": "web", "service_name": "web", "path": "/a", "status": "200"}));
        assert_eq!(first["fields"]["shard"], "0");
        let answer = ask(&server, json!({"query": query, "order": "oldest_first", "limit": 1}));
        assert_eq!(answer["data"][0]["timestamp"], T * 1_000_000_000);
        // What Loki derives is seen.
        assert_eq!(found(&ask(&server, json!({"query": r#"{service_name="pay"}"#}))).len(), 3);
        // Matchers and a line stand beside it.
        let more = json!({"query": "{service=~\".+\"} | shard=\"1\"", "line": "declined",
            "matchers": [{"name": "service", "value": "web", "type": "!="}]});
        assert_eq!(found(&ask(&server, more)).len(), 3);
        let now =
            ask(&server, json!({"query": r#"{service="web"} | line_format "{{ now | date `2006` }}""#, "limit": 1}));
        assert!(found(&now)[0] > "2023", "{now}");
        let plan = ask(&server, json!({"query": query, "explain": true}));
        assert!(plan["data"]["steps"].is_array(), "{plan}");
    }
    // In a plain selector a name is a field, too; Loki knows labels alone.
    let plain = json!({"query": "{service=~\".+\", shard=\"0\"}"});
    assert_eq!(found(&ask(&server, plain.clone())).len(), 6);
    assert_eq!(found(&ask(&server, json!({"query": plain["query"], "lang": "logql"}))).len(), 0);
    let short = json!({"query": "service=pay & shard=1", "lang": "short", "limit": 2});
    let answer = ask(&server, short);
    assert_eq!(found(&answer).len(), 2);
    assert!(answer["next"].is_string(), "the short form has pages");
}

#[test]
fn at_most_5000_lines_are_answered() {
    let server = start();
    let lines: String =
        (0..5_010).map(|n| format!("{{\"message\":\"m{n}\",\"service\":\"a\",\"timestamp\":{}}}\n", T + n)).collect();
    server.post("/ingest", lines).ok();
    let answer = ask(&server, json!({"query": "{service=\"a\"} | shard=\"\"", "limit": 9_000}));
    assert_eq!((found(&answer).len(), found(&answer)[0]), (5_000, "m5009"));
}

#[test]
fn logql_that_cannot_be_asked_here_is_refused_with_a_hint() {
    let server = filled();
    for (body, expected) in [
        (json!({"query": "sum(rate({service=\"web\"}[5m]))"}), "/loki/api/v1/query"),
        (json!({"query": "{service=\"web\"} | jsn"}), "`query`"),
        (json!({"query": "{service=\"web\"} | json", "cursor": "AQAA"}), "`cursor`"),
        (json!({"query": "{service=\"web\"} | json", "filter": true}), "`filter`"),
        (json!({"query": "{service=\"web\"} | json", "aggregate": {}}), "`aggregate`"),
        (json!({"query": "{service=\"web\"} | json", "matchers": [{"name": "a", "value": "b", "type": "~"}]}), "`~`"),
        (json!({"query": "a=(", "lang": "short"}), "column"),
        (json!({"query": "a", "lang": "sql"}), "sql"),
    ] {
        let error = server.post("/api/v1/query", body.to_string()).error(400);
        assert!(error.contains(expected), "{body}: {error}");
    }
    server.post("/api/v1/export", r#"{"query":"{a=\"b\"} | json"}"#).error(400);
}

#[test]
fn a_search_plan_has_what_is_here() {
    let server = filled();
    for query in [r#"{service="pay"}"#, r#"{service="pay"} | shard="1""#] {
        let answer = server.post("/api/v1/search/plan", json!({"query": query, "limit": 2}).to_string()).ok();
        assert_eq!(answer["status"], "success");
        let times: Vec<i64> =
            answer["hot"].as_array().unwrap().iter().map(|l| l["timestamp"].as_i64().unwrap()).collect();
        assert_eq!(times, [(T + 110) * 1_000_000_000, (T + 70) * 1_000_000_000], "{query}");
        assert_eq!(answer["segments"], json!([]));
        assert!(answer["expires_at"].as_str().unwrap().ends_with('Z'));
    }
    server.post("/api/v1/search/plan", r#"{"explain":true}"#).error(400);
    let delete = r#"{service="pay"} |= "declined""#;
    server.post("/api/v1/delete", json!({"query": delete, "start": T * 1_000_000_000}).to_string()).ok();
    let hidden = server.post("/api/v1/search/plan", "{}").ok()["hidden"]["deletes"][0].clone();
    assert_eq!((&hidden["query"], &hidden["start"]), (&json!(delete), &json!(T * 1_000_000_000)), "{hidden}");
}

#[test]
fn custom_labels_are_bounded_by_name() {
    let server = start();
    let streams: Vec<Value> = (0..1_002)
        .map(|n| json!({"stream": {"app": "a", "pod": format!("p{n:04}")}, "values": [[(T * 1_000_000_000).to_string(), "x"]]}))
        .collect();
    server.post("/api/v1/push", json!({ "streams": streams }).to_string()).ok();
    let answer = server.get("/api/v1/labels").ok();
    assert_eq!(answer["CustomLabels"]["app"], json!(["a"]));
    let pods = answer["CustomLabels"]["pod"].as_array().unwrap();
    assert_eq!((pods.len(), &pods[0], &pods[999]), (1_000, &json!("p0000"), &json!("p0999")));
    assert_eq!(answer["CustomLabelsCut"], json!(["pod"]));
}

#[test]
fn storage_statistics_have_loges_keys() {
    let server = filled();
    let empty = start().get("/api/v1/stats").ok();
    assert_eq!((&empty["rows_total"], &empty["segments_total"]), (&json!(0), &json!(0)));
    server.database.as_ref().unwrap().flush().unwrap();
    server.post("/ingest", json!({"timestamp": T - 5, "message": "in the buffer"}).to_string()).ok();
    let stats = server.get("/api/v1/stats").ok();
    assert_eq!(
        stats,
        json!({"status": "success", "segments_total": 1, "segments_local": 1, "segments_remote": 0, "rows_total": 13,
            "min_timestamp": (T - 5) * 1_000_000_000, "max_timestamp": (T + 110) * 1_000_000_000})
    );
}

#[test]
fn a_query_whose_client_goes_away_makes_room_for_the_next() {
    let server = start_with(|options| options.query_concurrency = 1);
    let lines: String = (0..150_000)
        .map(|n| format!("{{\"message\":\"m{}\",\"timestamp\":{},\"n\":{}}}\n", n % 50, T + n % 900, n % 7))
        .collect();
    server.post("/ingest", lines).ok();
    let long = format!("/api/v1/query?expression=&start={T}&end={}", T + 900);
    let started = Instant::now();
    server.get(&long).ok();
    let whole = started.elapsed();
    let mut leaving = TcpStream::connect(server.http).unwrap();
    leaving.write_all(format!("GET {long} HTTP/1.1\r\nHost: x\r\n\r\n").as_bytes()).unwrap();
    let is_gone = AtomicBool::new(false);
    std::thread::scope(|scope| {
        // It waits as soon as the long one runs; until then it may be answered before it.
        let next = scope.spawn(|| {
            loop {
                server.post("/api/v1/query", r#"{"limit":1}"#).ok();
                let ended = Instant::now();
                if is_gone.load(Ordering::SeqCst) {
                    return ended;
                }
            }
        });
        while !server.get("/metrics").text().contains("timberlog_queries_waiting 1") {}
        drop(leaving);
        let left = Instant::now();
        is_gone.store(true, Ordering::SeqCst);
        let waited = next.join().unwrap().saturating_duration_since(left);
        assert!(waited < whole / 2, "waited {waited:?} after a query of {whole:?}");
    });
}
