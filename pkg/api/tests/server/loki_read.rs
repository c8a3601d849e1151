//! Loki's reading endpoints over sockets: shapes, parameters and errors as Loki has them.

use crate::harness::{Response, Running, start, start_with};
use serde_json::{Value, json};
use std::io::Write;
use std::net::TcpStream;
use std::time::Instant;

/// 2026-01-01, in s.
const DAY: i64 = 1_767_225_600;

fn ns(second: i64, more: i64) -> String {
    (((DAY + second) * 1_000_000_000) + more).to_string()
}

/// Two streams, the one with metadata.
fn filled() -> Running {
    let server = start();
    fill(&server);
    server
}

fn fill(server: &Running) {
    let body = json!({"streams": [
        {"stream": {"app": "web", "level": "info"}, "values": [
            [ns(1, 1), "a=1 x", {"trace": "t", "level": "WARN"}],
            [ns(2, 2), "b=2 \"q\""],
        ]},
        {"stream": {"app": "db"}, "values": [[ns(3, 3), "error c"]]},
    ]});
    assert_eq!(server.post("/loki/api/v1/push", body.to_string()).status, 204);
}

fn encoded(text: &str) -> String {
    text.bytes()
        .map(|byte| if byte.is_ascii_alphanumeric() { char::from(byte).to_string() } else { format!("%{byte:02X}") })
        .collect()
}

/// Asks with the day's first minute as range.
fn ask(server: &Running, path: &str, params: &[(&str, &str)]) -> Response {
    server.get(&url(path, params))
}

fn url(path: &str, params: &[(&str, &str)]) -> String {
    let range = [("start", DAY.to_string()), ("end", (DAY + 60).to_string())];
    let given = params.iter().map(|(name, value)| (*name, (*value).to_owned()));
    let all = range.into_iter().filter(|(name, _)| params.iter().all(|(other, _)| other != name)).chain(given);
    let pairs: Vec<String> = all.map(|(name, value)| format!("{}={}", encoded(name), encoded(&value))).collect();
    format!("/loki/api/v1/{path}?{}", pairs.join("&"))
}

fn data(response: &Response) -> Value {
    let answer = response.ok();
    assert_eq!(answer["status"], "success");
    assert_eq!(response.header("content-type"), Some("application/json; charset=UTF-8"));
    answer["data"].clone()
}

#[track_caller]
fn refused(response: &Response, status: u16, text: &str) {
    assert_eq!((response.status, response.text()), (status, text));
    assert_eq!(response.header("content-type"), Some("text/plain; charset=utf-8"));
    assert_eq!(response.header("x-content-type-options"), Some("nosniff"));
}

#[test]
fn lines_are_grouped_by_their_labels_newest_first() {
    let server = filled();
    let all = [("query", r#"{app=~".+"}"#)];
    let found = data(&ask(&server, "query_range", &all));
    assert_eq!(found["resultType"], "streams");
    let db = json!({"stream": {"app": "db", "detected_level": "error", "service_name": "db"}, "values": [[ns(3, 3), "error c"]]});
    let web = |more: Value, line: Value| {
        let mut stream = json!({"app": "web", "detected_level": "info", "level": "info", "service_name": "web"});
        stream.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        json!({"stream": stream, "values": [line]})
    };
    assert_eq!(
        found["result"],
        json!([
            db,
            web(json!({"level_extracted": "WARN", "trace": "t"}), json!([ns(1, 1), "a=1 x"])),
            web(json!({}), json!([ns(2, 2), "b=2 \"q\""])),
        ])
    );
    assert_eq!(found["stats"]["summary"]["totalEntriesReturned"], 3);
    assert!(found["stats"]["summary"]["totalLinesProcessed"].as_u64().unwrap() >= 3);
    let last = data(&ask(&server, "query_range", &[all[0], ("limit", "1")]));
    assert_eq!(last["result"], json!([db]));
    let first = data(&ask(&server, "query_range", &[all[0], ("limit", "1"), ("direction", "FORWARD")]));
    assert_eq!(first["result"][0]["values"][0][1], "a=1 x");
    // The end is not part of the range.
    let none = data(&ask(&server, "query_range", &[all[0], ("end", &ns(1, 1))]));
    assert_eq!(none["result"], json!([]));
}

#[test]
fn categories_of_labels_stand_apart_if_that_is_asked() {
    let server = filled();
    let path = url("query_range", &[("query", r#"{app="web"} | logfmt"#), ("direction", "forward")]);
    let found = data(&server.send("GET", &path, &[("X-Loki-Response-Encoding-Flags", "categorize-labels")], b""));
    assert_eq!(found["encodingFlags"], json!(["categorize-labels"]));
    let result = found["result"].as_array().unwrap();
    assert_eq!(result.len(), 1);
    assert_eq!(result[0]["stream"], json!({"app": "web", "level": "info", "service_name": "web"}));
    let metadata = json!({"detected_level": "info", "level_extracted": "WARN", "trace": "t"});
    assert_eq!(
        result[0]["values"][0],
        json!([ns(1, 1), "a=1 x", {"structuredMetadata": metadata, "parsed": {"a": "1"}}])
    );
    // Numbers have no categories, and do not claim any.
    let path = url("query", &[("query", "vector(1)")]);
    let vector = data(&server.send("GET", &path, &[("X-Loki-Response-Encoding-Flags", "categorize-labels")], b""));
    assert_eq!(vector.get("encodingFlags"), None);
}

#[test]
fn numbers_are_vectors_matrices_and_scalars() {
    let server = filled();
    let counted = r#"sum by (app) (count_over_time({app=~".+"}[1m])) / 4"#;
    let at = (DAY + 60).to_string();
    let vector = data(&server.get(&url("query", &[("query", counted), ("time", &at)])));
    assert_eq!(vector["resultType"], "vector");
    assert_eq!(
        vector["result"],
        json!([{"metric": {"app": "db"}, "value": [DAY + 60, "0.25"]}, {"metric": {"app": "web"}, "value": [DAY + 60, "0.5"]}])
    );
    let matrix = data(&ask(&server, "query_range", &[("query", counted), ("step", "30")]));
    assert_eq!(matrix["resultType"], "matrix");
    assert_eq!(matrix["result"][0]["values"], json!([[DAY + 30, "0.25"], [DAY + 60, "0.25"]]));
    let scalar = data(&server.get(&url("query", &[("query", "1/4"), ("time", "1.5")])));
    assert_eq!((&scalar["resultType"], &scalar["result"]), (&json!("scalar"), &json!([1500, "0.25"])));
}

#[test]
fn a_form_is_as_good_as_a_query_string() {
    let server = filled();
    let form = [("Content-Type", "application/x-www-form-urlencoded")];
    let body = format!("query={}&start={DAY}&end={}", encoded(r#"{app="db"}"#), DAY + 60);
    let found = server.send("POST", "/loki/api/v1/query_range", &form, body.as_bytes()).ok();
    assert_eq!(found["data"]["result"].as_array().unwrap().len(), 1);
    // What the form says comes first.
    let found =
        server.send("POST", "/loki/api/v1/query_range?query=x&limit=0", &form, format!("{body}&limit=5").as_bytes());
    assert_eq!(found.status, 200);
}

#[test]
fn labels_values_and_series_are_listed() {
    let server = filled();
    let listed = |path: &str, params: &[(&str, &str)]| ask(&server, path, params).ok();
    assert_eq!(listed("labels", &[])["data"], json!(["app", "level", "service_name"]));
    assert_eq!(listed("label", &[])["data"], json!(["app", "level", "service_name"]));
    let form = [("Content-Type", "application/x-www-form-urlencoded")];
    let body = url("", &[]).split_once('?').map(|(_, form)| form.to_owned()).unwrap();
    for path in ["labels", "label"] {
        let posted = server.send("POST", &format!("/loki/api/v1/{path}"), &form, body.as_bytes()).ok();
        assert_eq!(posted["data"], json!(["app", "level", "service_name"]), "{path}");
    }
    assert_eq!(listed("labels", &[("query", r#"{app="db"}"#)])["data"], json!(["app", "service_name"]));
    assert_eq!(listed("label/app/values", &[])["data"], json!(["db", "web"]));
    assert_eq!(listed("label/app/values", &[("query", r#"{level="info"}"#)])["data"], json!(["web"]));
    assert_eq!(listed("label/nope/values", &[]), json!({"status": "success"}));
    let web = json!({"app": "web", "level": "info", "service_name": "web"});
    let db = json!({"app": "db", "service_name": "db"});
    assert_eq!(listed("series", &[])["data"].as_array().unwrap().len(), 2);
    assert_eq!(listed("series", &[("match[]", r#"{app="web"}"#)])["data"], json!([web]));
    let both = listed("series", &[("match[]", r#"{app="web"}"#), ("match", r#"{app="db"}"#)]);
    assert_eq!(both["data"], json!([db, web]));
    assert_eq!(listed("series", &[("match[]", r#"{app="none"}"#)])["data"], json!([]));
}

#[test]
fn the_index_tells_sizes() {
    let server = filled();
    let stats = ask(&server, "index/stats", &[("query", r#"{app="web"}"#)]).ok();
    assert_eq!((&stats["streams"], &stats["entries"]), (&json!(1), &json!(2)));
    let volume = data(&ask(&server, "index/volume", &[("query", r#"{app=~".+"}"#)]));
    assert_eq!(volume["resultType"], "vector");
    let apps: Vec<&Value> = volume["result"].as_array().unwrap().iter().map(|one| &one["metric"]).collect();
    assert_eq!(apps, [&json!({"app": "web"}), &json!({"app": "db"})]);
    let one = data(&ask(&server, "index/volume", &[("query", r#"{app=~".+"}"#), ("limit", "1")]));
    assert_eq!(one["result"].as_array().unwrap().len(), 1);
    let params = [("query", r#"{app=~".+"}"#), ("targetLabels", "app"), ("aggregateBy", "labels")];
    assert_eq!(data(&ask(&server, "index/volume", &params))["result"][0]["metric"], json!({"app": ""}));
    let ranged = data(&ask(&server, "index/volume_range", &[("query", r#"{app=~".+"}"#), ("step", "2")]));
    assert_eq!(ranged["resultType"], "matrix");
}

#[test]
fn what_is_wrong_is_told_as_loki_does() {
    let server = filled();
    let web = ("query", r#"{app="web"}"#);
    let cut = ("query", r#"{app="web""#);
    let syntax = "parse error at line 1, col 11: syntax error: unexpected $end, expecting } or ,";
    let many = (0..100).map(|n| format!("{n}")).collect::<Vec<_>>().join("+");
    for (path, params, text) in [
        ("query_range", vec![cut], syntax),
        ("query", vec![cut], syntax),
        ("tail", vec![cut], syntax),
        ("series", vec![("match[]", r#"{app="web""#)], syntax),
        (
            "query",
            vec![web],
            "log queries are not supported as an instant query type, please change your query to a range query type",
        ),
        ("query", vec![], "parse error : syntax error: unexpected $end"),
        ("query", vec![("query", "1"), ("time", "x")], "strconv.ParseInt: parsing \"x\": invalid syntax"),
        ("query_range", vec![web, ("limit", "0")], "limit must be a positive value"),
        (
            "query_range",
            vec![web, ("limit", "6000")],
            "max entries limit per query exceeded, limit > max_entries_limit_per_query (6000 > 5000) (`--loki-entries-max`)",
        ),
        (
            "query_range",
            vec![web, ("start", "x")],
            "could not parse 'start' parameter: strconv.ParseInt: parsing \"x\": invalid syntax",
        ),
        (
            "query_range",
            vec![web, ("step", "0")],
            "zero or negative query resolution step widths are not accepted. Try a positive integer",
        ),
        (
            "query_range",
            vec![("query", r#"rate({app="web"}[1m])"#), ("start", "0"), ("step", "1")],
            "exceeded maximum resolution of 11,000 points per time series. Try increasing the value of the step parameter (`--query-points-max`)",
        ),
        ("query_range", vec![web, ("end", "1")], "end timestamp must not be before or equal to start time"),
        ("labels", vec![("query", r#"{app="db"} |= "x""#)], "only label matchers are supported"),
        ("index/volume", vec![web, ("aggregateBy", "x")], "invalid aggregation option"),
        ("tail", vec![web, ("delay_for", "6")], "delay_for can't be greater than 5"),
    ] {
        refused(&ask(&server, path, &params), 400, text);
    }
    let duplicate =
        r#"sum by (app) (count_over_time({app=~".+"}[1m])) / on() sum by (app) (count_over_time({app=~".+"}[1m]))"#;
    assert_eq!(ask(&server, "query", &[("query", duplicate), ("time", &(DAY + 60).to_string())]).status, 500);
    assert_eq!(ask(&server, "query", &[("query", &many), ("time", "1")]).status, 200);
    assert_eq!(server.send("GET", &url("labels", &[]), &[("X-Scope-OrgID", "a b")], b"").status, 400);
}

#[test]
fn nothing_is_derived_if_that_is_off() {
    let server = start_with(|options| options.loki_derive_labels = false);
    fill(&server);
    let found = data(&ask(&server, "query_range", &[("query", r#"{app="db"}"#)]));
    assert_eq!(found["result"][0]["stream"], json!({"app": "db"}));
    assert_eq!(ask(&server, "labels", &[]).ok()["data"], json!(["app", "level"]));
}

#[test]
fn tenants_see_their_own() {
    let server = filled();
    let other = server.send("GET", &url("labels", &[]), &[("X-Scope-OrgID", "other")], b"").ok();
    assert_eq!(other, json!({"status": "success"}));
}

#[test]
fn grafana_learns_whom_it_talks_to() {
    let server = start();
    let version = server.get("/loki/api/v1/status/buildinfo").ok()["version"].as_str().unwrap().to_owned();
    assert!(version.starts_with("3."), "{version}");
    assert!(server.get("/config").text().contains("max_entries_limit_per_query: 5000"));
    assert_eq!(server.get("/services").text(), "timberlog => Running\n");
    let asked = |query: &str| server.get(&format!("/loki/api/v1/format_query?query={}", encoded(query)));
    assert_eq!(asked(r#"sum(rate({a="b"}[1m]))"#).ok()["data"], r#"sum(rate({a="b"}[1m]))"#);
    let wrong = asked("sum(");
    assert_eq!((wrong.status, &wrong.json()["status"]), (400, &json!("invalid-query")));
}

#[test]
fn what_the_drilldown_asks_is_answered() {
    let server = filled();
    let labels = ask(&server, "detected_labels", &[]).ok();
    assert_eq!(
        labels["detectedLabels"],
        json!([{"label": "app", "cardinality": 2}, {"label": "level", "cardinality": 1}, {"label": "service_name", "cardinality": 2}])
    );
    let web = ("query", r#"{app="web"}"#);
    let fields = ask(&server, "detected_fields", &[web]).ok();
    assert_eq!(fields["limit"], 1000);
    assert_eq!(fields["fields"][0], json!({"label": "a", "type": "int", "cardinality": 1, "parsers": ["logfmt"]}));
    assert_eq!(ask(&server, "detected_field/a/values", &[web]).ok(), json!({"values": ["1"], "limit": 1000}));
    assert_eq!(ask(&server, "detected_field/zz/values", &[web]).ok(), json!({}));
    let metric = [("query", r#"rate({app="web"}[1m])"#)];
    refused(&ask(&server, "detected_fields", &metric), 400, "only log selector is supported");
    let limits = server.get("/loki/api/v1/drilldown-limits").ok();
    assert_eq!(limits["limits"]["max_entries_limit_per_query"], 5000);
}

#[test]
fn a_query_ends_when_its_client_goes_away() {
    let server = start_with(|options| options.query_concurrency = 1);
    let line = format!(r#"{{"a":"{}","b":1}}"#, "x".repeat(200));
    for round in 0..10 {
        let values: Vec<Value> = (0..2_000).map(|at| json!([ns(round, at), line])).collect();
        let body = json!({"streams": [{"stream": {"app": "web"}, "values": values}]});
        assert_eq!(server.post("/loki/api/v1/push", body.to_string()).status, 204);
    }
    let slow = r#"sum(count_over_time({app="web"} | json | line_format "{{ .a | replace \"x\" \"y\" | upper }}" |~ "(YY)+Z" [1m]))"#;
    let path = url("query_range", &[("query", slow), ("step", "5")]);
    let started = Instant::now();
    assert_eq!(server.get(&path).status, 200);
    let whole = started.elapsed();
    let mut client = TcpStream::connect(server.http).unwrap();
    client.write_all(format!("GET {path} HTTP/1.1\r\nHost: test\r\n\r\n").as_bytes()).unwrap();
    let waited = std::thread::scope(|scope| {
        let next = scope.spawn(|| {
            assert_eq!(server.get("/loki/api/v1/query?query=vector(1)&time=1").status, 200);
            Instant::now()
        });
        // The next one waits: the slow one has the only place.
        while !next.is_finished() && !server.get("/metrics").text().contains("timberlog_queries_waiting 1") {}
        let left = Instant::now();
        drop(client);
        next.join().unwrap().saturating_duration_since(left)
    });
    assert!(waited < whole / 2, "{waited:?} of {whole:?}");
}

#[test]
fn a_level_is_shown_as_it_was_sent_and_nowhere_else() {
    let server = start();
    let second = |at| ns(at, 0);
    let body = json!({"streams": [
        {"stream": {"severity": "WARN"}, "values": [[second(1), "x"]]},
        {"stream": {"app": "meta"}, "values": [[second(1), "x", {"level": "Err"}]]},
        {"stream": {"app": "alias"}, "values": [[second(1), "x", {"SeverityText": "dbg"}]]},
        {"stream": {"app": "both"}, "values": [[second(1), "x", {"severity": "info", "level": "info"}]]},
        {"stream": {"app": "line"}, "values": [[second(1), "a CRITICAL one"]]},
        {"stream": {"app": "none"}, "values": [[second(1), "x"]]},
        {"stream": {"app": "odd"}, "values": [[second(1), "x", {"level": "notice"}]]},
        {"stream": {"app": "told"}, "values": [[second(1), "x", {"detected_level": "WARNING"}]]},
    ]});
    assert_eq!(server.post("/loki/api/v1/push", body.to_string()).status, 204);
    for (query, labels) in [
        (
            r#"{severity="WARN"}"#,
            json!({"severity": "WARN", "detected_level": "warn", "service_name": "unknown_service"}),
        ),
        (r#"{app="meta"}"#, json!({"app": "meta", "level": "Err", "detected_level": "error", "service_name": "meta"})),
        (
            r#"{app="alias"}"#,
            json!({"app": "alias", "SeverityText": "dbg", "detected_level": "debug", "service_name": "alias"}),
        ),
        (
            r#"{app="both"}"#,
            json!({"app": "both", "severity": "info", "level": "info", "detected_level": "info", "service_name": "both"}),
        ),
        (r#"{app="line"}"#, json!({"app": "line", "detected_level": "critical", "service_name": "line"})),
        (r#"{app="none"}"#, json!({"app": "none", "detected_level": "unknown", "service_name": "none"})),
        (r#"{app="odd"}"#, json!({"app": "odd", "level": "notice", "detected_level": "notice", "service_name": "odd"})),
        (r#"{app="told"}"#, json!({"app": "told", "detected_level": "warn", "service_name": "told"})),
    ] {
        let found = data(&ask(&server, "query_range", &[("query", query)]));
        assert_eq!(found["result"][0]["stream"], labels, "{query}");
    }
}
