//! What Grafana's Logs Drilldown asks, over sockets: patterns, fields and volumes, with shapes and
//! times that were seen of a Loki 3.

use crate::harness::{Response, Running, start};
use serde_json::{Value, json};

/// A whole minute, in s.
const BEGIN: i64 = 1_767_225_600;

fn ask(server: &Running, path: &str, query: &str, more: &str) -> Response {
    let query: String = query.bytes().map(|byte| format!("%{byte:02X}")).collect();
    let range = if more.contains("start=") { String::new() } else { format!("&start={BEGIN}&end={}", BEGIN + 300) };
    server.get(&format!("/loki/api/v1/{path}?query={query}{range}{more}"))
}

#[track_caller]
fn refused(response: &Response, text: &str) {
    assert_eq!((response.status, response.text()), (400, text));
}

/// A line every second for five minutes, in each of three streams.
fn filled() -> Running {
    let server = start();
    let ns = |second: i64| ((BEGIN + second) * 1_000_000_000).to_string();
    let plain: Vec<Value> = (0..300)
        .map(|n| match n % 10 {
            0 => json!([ns(n), format!("worker{n} failed: ERROR {n}")]),
            _ => json!([ns(n), format!("GET /users/{n} took {} ms from 10.0.0.{}", n * 7, n % 200)]),
        })
        .collect();
    let objects = (0..300).map(|n| {
        json!([
            ns(n),
            json!({"level": "info", "msg": format!("row {n} of <t>"), "size": format!("{n}KB"), "a": {"b": n % 2}})
                .to_string()
        ])
    });
    let fields = (0..300).map(|n| json!([ns(n), format!("ok=true dur={n}ms ratio=0.{n} user=u{}", n % 3), {"trace": format!("t{n}"), "left": "5MB"}]));
    let body = json!({"streams": [
        {"stream": {"app": "web", "env": "prod"}, "values": plain},
        {"stream": {"app": "api", "env": "prod", "num": "12"}, "values": objects.collect::<Vec<_>>()},
        {"stream": {"app": "db"}, "values": fields.collect::<Vec<_>>()},
    ]});
    assert_eq!(server.post("/loki/api/v1/push", body.to_string()).status, 204);
    server
}

/// Pattern, level, first sample, lines.
fn patterns(response: &Response) -> Vec<(String, String, Value, u64)> {
    let answer = response.ok();
    assert_eq!(answer["status"], "success");
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let of = |pattern: &Value| {
        let samples = pattern["samples"].as_array().unwrap();
        let lines = samples.iter().map(|sample| sample[1].as_u64().unwrap()).sum();
        (text(&pattern["pattern"]), text(&pattern["level"]), samples[0].clone(), lines)
    };
    answer["data"].as_array().unwrap().iter().map(of).collect()
}

fn pattern(text: &str, level: &str, sample: Value, lines: u64) -> (String, String, Value, u64) {
    (text.to_owned(), level.to_owned(), sample, lines)
}

#[test]
fn patterns_are_the_forms_of_lines_and_how_many_have_each() {
    let server = filled();
    let web = r#"{app="web"}"#;
    let get = || pattern("GET /users/<_> took <_> ms from <_>", "unknown", json!([BEGIN, 54]), 270);
    let failed = || pattern("worker<_> failed: ERROR <_>", "error", json!([BEGIN, 6]), 30);
    assert_eq!(patterns(&ask(&server, "patterns", web, "&step=60s")), [get(), failed()]);
    let objects = patterns(&ask(&server, "patterns", r#"{app="api"}"#, "&step=1"));
    // No step is shorter than 10 s.
    assert_eq!(objects, [pattern("<_>row <_> of <_>", "info", json!([BEGIN, 10]), 300)]);
    let logfmt = patterns(&ask(&server, "patterns", r#"{app="db"}"#, "&step=60"));
    assert_eq!(logfmt[0].0, "ok=true dur=<_>ms ratio=<_> user=u<_>");
    let all = patterns(&ask(&server, "patterns", r#"{app=~".+"}"#, "&step=3600"));
    assert_eq!(all.iter().map(|pattern| pattern.3).sum::<u64>(), 900);
    // Filters of lines count, and a pattern is one.
    let filtered = patterns(&ask(&server, "patterns", r#"{app="web"} |> "worker<_> failed: ERROR <_>""#, "&step=60"));
    assert_eq!(filtered, [failed()]);
    // Steps without lines between others are told, except of the shortest.
    let few = ask(&server, "patterns", r#"{app="web"} |~ "failed" |~ "worker(0|90) ""#, "&step=30").ok();
    assert_eq!(few["data"][0]["samples"], json!([[BEGIN, 1], [BEGIN + 30, 0], [BEGIN + 60, 0], [BEGIN + 90, 1]]));
    assert_eq!(ask(&server, "patterns", r#"{app="none"}"#, "").ok(), json!({"status": "success", "data": []}));
    refused(&ask(&server, "patterns", r#"rate({app="web"}[1m])"#, ""), "only label matchers are supported");
    assert_eq!(ask(&server, "patterns", "{}", "").status, 400);
    assert_eq!(server.get("/loki/api/v1/drilldown-limits").ok()["pattern_ingester_enabled"], true);
}

#[test]
fn fields_have_the_types_and_parsers_that_loki_finds() {
    let server = filled();
    let fields = |query: &str, more: &str| {
        let answer = ask(&server, "detected_fields", query, more).ok();
        let fields = answer["fields"].as_array().cloned().unwrap_or_default();
        fields
            .into_iter()
            .map(|field| (field["label"].as_str().unwrap().to_owned(), field))
            .collect::<std::collections::BTreeMap<_, _>>()
    };
    let db = fields(r#"{app="db"}"#, "&line_limit=50");
    let field = |label: &str, kind: &str, cardinality: u32, parsers: Value| json!({"label": label, "type": kind, "cardinality": cardinality, "parsers": parsers});
    assert_eq!(db["dur"], field("dur", "duration", 50, json!(["logfmt"])));
    assert_eq!(db["ok"], field("ok", "boolean", 1, json!(["logfmt"])));
    assert_eq!(db["ratio"], field("ratio", "float", 50, json!(["logfmt"])));
    assert_eq!(db["user"], field("user", "string", 3, json!(["logfmt"])));
    assert_eq!(db["left"], field("left", "bytes", 1, Value::Null));
    assert_eq!(db["detected_level"], field("detected_level", "string", 1, Value::Null));
    let api = fields(r#"{app="api"}"#, "&line_limit=50");
    assert_eq!(
        api["a_b"],
        json!({"label": "a_b", "type": "int", "cardinality": 2, "parsers": ["json"], "jsonPath": ["a", "b"]})
    );
    assert_eq!(api["size"]["type"], "bytes");
    // The stages of the query have made it, and its parser is that of the line.
    let parsed = fields(r#"{app="api"} | json | a_b="1""#, "&line_limit=50");
    assert_eq!(
        parsed["a_b"],
        json!({"label": "a_b", "type": "int", "cardinality": 1, "parsers": ["json"], "jsonPath": ["a", "b"]})
    );
    let made = fields(r#"{app="web"} | pattern "<word> <_>""#, "");
    assert_eq!(made["word"]["parsers"], json!(["logfmt"]));
    let labels: Vec<String> = fields(r#"{app="web"}"#, "").into_keys().collect();
    assert_eq!(labels, ["detected_level"]);
    assert_eq!(fields(r#"{app="db"}"#, "&limit=2").len(), 2);
    assert_eq!(fields(r#"{app="db"}"#, "&field_limit=2").len(), 2);
    let values =
        |name: &str, query: &str, more: &str| ask(&server, &format!("detected_field/{name}/values"), query, more).ok();
    // Bytes that a parser has found are told in the form that a query takes.
    assert_eq!(values("size", r#"{app="api"}"#, "&line_limit=1"), json!({"values": ["299kB"], "limit": 1000}));
    assert_eq!(values("left", r#"{app="db"}"#, ""), json!({"values": ["5MB"], "limit": 1000}));
    assert_eq!(values("user", r#"{app="db"}"#, "&limit=2"), json!({"values": ["u0", "u1"], "limit": 2}));
    assert_eq!(values("none", r#"{app="db"}"#, ""), json!({}));
}

#[test]
fn labels_that_tell_streams_apart_are_detected() {
    let server = filled();
    let found = ask(&server, "detected_labels", r#"{env="prod"}"#, "").ok();
    assert_eq!(
        found["detectedLabels"],
        json!([{"label": "app", "cardinality": 2}, {"label": "env", "cardinality": 1}, {"label": "service_name", "cardinality": 2}])
    );
    assert_eq!(ask(&server, "detected_labels", r#"{app="none"}"#, "").ok(), json!({}));
    refused(&ask(&server, "detected_labels", r#"{app="web"} |= "x""#, ""), "only label matchers are supported");
    assert!(ask(&server, "detected_labels", "{}", "").text().starts_with("parse error : queries require at least one"));
}

#[test]
fn volumes_have_lokis_labels_and_times() {
    let server = filled();
    let found = |path: &str, query: &str, more: &str| {
        let answer = ask(&server, &format!("index/{path}"), query, more).ok();
        let result = answer["data"]["result"].as_array().unwrap().clone();
        assert_eq!(answer["data"]["stats"]["summary"]["totalEntriesReturned"], result.len());
        (answer["data"]["resultType"].as_str().unwrap().to_owned(), result)
    };
    let metrics = |found: &(String, Vec<Value>)| found.1.iter().map(|one| one["metric"].clone()).collect::<Vec<_>>();
    let prod = r#"{env="prod"}"#;
    let volume = |query: &str, more: &str| metrics(&found("volume", query, more));
    assert_eq!(volume(prod, ""), [json!({"env": "prod"})]);
    assert_eq!(
        volume(prod, "&targetLabels=app,env"),
        [json!({"app": "api", "env": "prod"}), json!({"app": "web", "env": "prod"})]
    );
    // A stream without such a label does not count.
    assert_eq!(volume(r#"{app=~".+"}"#, "&targetLabels=env"), [json!({"env": "prod"})]);
    assert_eq!(volume(prod, "&targetLabels=nope"), [Value::Null; 0]);
    let names = ["app", "env", "service_name"].map(|name| json!({name: ""}));
    let by_labels = volume(prod, "&aggregateBy=labels");
    assert_eq!(by_labels[..3], names, "{by_labels:?}");
    assert_eq!(volume(prod, "&aggregateBy=labels&targetLabels=num"), [json!({"num": ""})]);
    assert_eq!(volume("{}", "")[0], json!({"app": "api", "env": "prod", "num": "12", "service_name": "api"}));
    assert_eq!(volume(r#"{app=~".+"}"#, "&limit=1"), [json!({"app": "api"})]);
    let (kind, one) = found("volume", prod, "");
    assert_eq!((kind.as_str(), &one[0]["value"][0]), ("vector", &json!(BEGIN + 300)));
    // Steps are multiples of `step`; each is told 1 ms before the next, the last at the end.
    let (kind, steps) = found("volume_range", prod, &format!("&step=100&start={}.5&end={}.25", BEGIN, BEGIN + 250));
    let times: Vec<f64> =
        steps[0]["values"].as_array().unwrap().iter().map(|point| point[0].as_f64().unwrap()).collect();
    let first = (BEGIN / 100 + 1) * 100;
    assert_eq!(
        (kind.as_str(), times),
        ("matrix", vec![first as f64 - 0.001, (first + 100) as f64 - 0.001, (BEGIN + 250) as f64 + 0.25])
    );
    let (kind, whole) = found("volume_range", prod, "&step=86400");
    assert_eq!((kind.as_str(), &whole[0]["value"][0]), ("vector", &json!(BEGIN + 300)));
    assert_eq!(found("volume_range", r#"{app="none"}"#, "").0, "vector");
    let line = r#"{app="web"} |= "x""#;
    for path in ["index/volume", "index/volume_range", "index/stats"] {
        refused(&ask(&server, path, line, ""), "only label matchers are supported");
        refused(&ask(&server, path, "", ""), "parse error : syntax error: unexpected $end");
    }
    assert!(ask(&server, "index/stats", "{}", "").text().starts_with("parse error : queries require at least one"));
    let stats = ask(&server, "index/stats", prod, "").ok();
    assert_eq!((&stats["streams"], &stats["entries"]), (&json!(2), &json!(600)));
    let none = ask(&server, "index/stats", r#"{app="none"}"#, "").ok();
    assert_eq!(none, json!({"streams": 0, "chunks": 0, "bytes": 0, "entries": 0}));
}
