//! Deletes and retention over sockets: Loki's endpoint with its parameters, statuses and words, the
//! native one, and what is left of records in every kind of answer.

use crate::harness::{Response, Running, start, start_options};
use serde_json::{Value, json};
use std::time::{Duration, Instant};
use timberlog_db::types::Tenant;
use timberlog_db::{Options, RetentionRule};

/// 2026-01-01, in s.
const DAY: i64 = 1_767_225_600;

fn encoded(text: &str) -> String {
    text.bytes()
        .map(|byte| if byte.is_ascii_alphanumeric() { char::from(byte).to_string() } else { format!("%{byte:02X}") })
        .collect()
}

fn url(path: &str, params: &[(&str, &str)]) -> String {
    let pairs: Vec<String> = params.iter().map(|(name, value)| format!("{name}={}", encoded(value))).collect();
    format!("{path}?{}", pairs.join("&"))
}

/// A minute of two services, a record a second each; every tenth of the one has a token.
fn fill(server: &Running) {
    let record = |n: i64, service: &str, message: String| json!({"timestamp": DAY + n, "service": service, "level": "info", "message": message, "user_id": n % 4});
    let mut records = Vec::new();
    for n in 0..60 {
        let message = if n % 10 == 0 { "token=s3cret here".to_owned() } else { format!("GET /{n}") };
        records.push(record(n, "web", message).to_string());
        records.push(record(n, "db", format!("SELECT {n}")).to_string());
    }
    server.post("/ingest", records.join("\n")).ok();
}

fn count(server: &Running, tenant: Option<&str>) -> u64 {
    let headers: Vec<(&str, &str)> = tenant.map(|tenant| ("X-Scope-OrgID", tenant)).into_iter().collect();
    let answer = server.send("POST", "/api/v1/query", &headers, br#"{"aggregate":{}}"#).ok();
    answer["data"][0]["count"].as_u64().unwrap()
}

fn ask(server: &Running, method: &str, params: &[(&str, &str)]) -> Response {
    server.send(method, &url("/loki/api/v1/delete", params), &[], b"")
}

#[track_caller]
fn refused(response: &Response, status: u16, text: &str) {
    assert_eq!(response.status, status, "{}", String::from_utf8_lossy(&response.body));
    assert_eq!(response.header("content-type"), Some("text/plain; charset=utf-8"));
    let body = String::from_utf8_lossy(&response.body).into_owned();
    assert!(body.starts_with(text), "{body}");
}

/// Asks again until an answer is as expected.
fn wait_for(what: &str, mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !is_so() {
        assert!(Instant::now() < deadline, "{what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn a_delete_takes_its_records_out_of_every_answer() {
    let server = start();
    fill(&server);
    let params =
        [("query", r#"{service="web"} |= "s3cret""#), ("start", &DAY.to_string()), ("end", &(DAY + 30).to_string())];
    let answer = ask(&server, "POST", &params);
    assert_eq!((answer.status, answer.body.len()), (204, 0));
    let id = answer.header("x-delete-request-id").unwrap().to_owned();
    assert_eq!(id.len(), 26);
    // Of 0, 10, 20 and 30 s: both ends belong to it.
    assert_eq!(count(&server, None), 116);
    let lines = url(
        "/loki/api/v1/query_range",
        &[("query", r#"{service="web"} |= "s3cret""#), ("start", &DAY.to_string()), ("end", &(DAY + 60).to_string())],
    );
    let found = server.get(&lines).ok();
    let values =
        found["data"]["result"].as_array().unwrap().iter().flat_map(|s| s["values"].as_array().unwrap().clone());
    let mut seconds: Vec<i64> =
        values.map(|value| value[0].as_str().unwrap().parse::<i64>().unwrap() / 1_000_000_000 - DAY).collect();
    seconds.sort_unstable();
    assert_eq!(seconds, [40, 50]);
    let of_metric = url(
        "/loki/api/v1/query",
        &[("query", r#"sum by (service) (count_over_time({service=~".+"}[1h]))"#), ("time", &(DAY + 60).to_string())],
    );
    let found = server.get(&of_metric).ok();
    let of = |service: &str| {
        let all = found["data"]["result"].as_array().unwrap();
        all.iter().find(|one| one["metric"]["service"] == service).unwrap()["value"][1].clone()
    };
    assert_eq!((of("web"), of("db")), (json!("56"), json!("60")));
    let exported = server.post("/api/v1/export", r#"{"query":"{service=\"web\"}"}"#);
    assert_eq!(String::from_utf8_lossy(&exported.body).lines().count(), 56);
    // What comes later stays, whatever it says.
    server.post("/ingest", json!({"timestamp": DAY + 5, "service": "web", "message": "s3cret"}).to_string()).ok();
    assert_eq!(count(&server, None), 117);
    // It outlives a flush.
    server.database.as_ref().unwrap().flush().unwrap();
    assert_eq!(count(&server, None), 117);

    let listed = server.get("/loki/api/v1/delete").ok();
    let entry = &listed[0];
    assert_eq!(listed.as_array().unwrap().len(), 1);
    assert_eq!(entry["request_id"], id);
    assert_eq!((&entry["start_time"], &entry["end_time"]), (&json!(DAY), &json!(DAY + 30)));
    assert_eq!(entry["query"], r#"{service="web"} |= "s3cret""#);
    assert!(entry["created_at"].is_number() && entry["user_id"] == "");
    wait_for("the delete was not processed", || server.get("/loki/api/v1/delete").ok()[0]["status"] == "processed");
    assert_eq!(count(&server, None), 117);
    let native = server.get("/api/v1/delete").ok();
    assert_eq!((&native["data"][0]["state"], &native["data"][0]["records_removed"]), (&json!("processed"), &json!(4)));
    refused(
        &ask(&server, "DELETE", &[("request_id", &id)]),
        400,
        "deletion of request which is in process or already processed is not allowed",
    );
    let metrics = String::from_utf8(server.get("/metrics").body).unwrap();
    assert!(metrics.contains("\ntimberlog_deletes_received_total 1\n"), "{metrics}");
}

#[test]
fn a_delete_is_of_its_tenant() {
    let server = start();
    fill(&server);
    let body = json!({"timestamp": DAY, "service": "web", "message": "of acme"}).to_string();
    server.send("POST", "/ingest", &[("X-Scope-OrgID", "acme")], body.as_bytes()).ok();
    let params = [("query", r#"{service="web"}"#), ("start", "1767225600")];
    let path = url("/loki/api/v1/delete", &params);
    assert_eq!(server.send("PUT", &path, &[("X-Scope-OrgID", "acme")], b"").status, 204);
    assert_eq!((count(&server, Some("acme")), count(&server, None)), (0, 120));
    assert_eq!(server.get("/loki/api/v1/delete").ok(), json!([]));
    let listed = server.send("GET", "/loki/api/v1/delete", &[("X-Scope-OrgID", "acme")], b"").ok();
    let id = listed[0]["request_id"].as_str().unwrap();
    refused(&ask(&server, "DELETE", &[("request_id", id)]), 404, "could not find delete request with given id");
}

#[test]
fn wrong_requests_are_refused_in_lokis_words() {
    let server = start();
    let (query, start) = (("query", r#"{app="web"}"#), ("start", "1767225600"));
    for (params, text) in [
        (vec![start], "query not set"),
        (vec![("query", "count_over_time({a=\"b\"}[1m])"), start], "invalid query expression: "),
        (vec![("query", "{"), start], "invalid query expression: "),
        (vec![("query", r#"{app="web"} | json"#), start], "a delete takes a stream selector"),
        (vec![query], "start time not set"),
        (vec![query, ("start", "yesterday")], "invalid start time: require unix seconds or RFC3339 format"),
        (vec![query, start, ("end", "1")], "invalid end time: require unix seconds or RFC3339 format"),
        (vec![query, start, ("end", "9767225600")], "deletes in the future are not allowed"),
        (vec![query, start, ("end", "1767225600")], "start time can't be greater than or equal to end time"),
        (
            vec![("query", r#"{app="web"} |= "x""#), start, ("max_interval", "1d")],
            "invalid max_interval: valid time units are 's', 'm', 'h'",
        ),
        (
            vec![("query", r#"{app="web"} |= "x""#), start, ("end", "1767225660"), ("max_interval", "2m")],
            "max_interval can't be greater than the interval to be deleted (1m0s)",
        ),
    ] {
        for method in ["POST", "PUT"] {
            refused(&ask(&server, method, &params), 400, text);
        }
    }
    refused(&ask(&server, "DELETE", &[("request_id", "nope")]), 404, "could not find delete request with given id");
    refused(&ask(&server, "GET", &[("start", "x"), ("end", "1767225600")]), 400, "invalid start time");
    assert_eq!(server.get("/loki/api/v1/delete").ok(), json!([]));
    assert_eq!(server.send("PATCH", "/loki/api/v1/delete", &[], b"").status, 405);
}

#[test]
fn a_dry_run_counts_and_a_cancelled_delete_brings_back() {
    let server =
        start_options(|options| Options { delete_cancel_period: Duration::from_secs(3_600), ..options }, |_| ());
    fill(&server);
    server.database.as_ref().unwrap().flush().unwrap();
    let ask = |more: Value| {
        let mut body = json!({"query": r#"{service=~".+"} | user_id="3""#});
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        server.post("/api/v1/delete", body.to_string())
    };
    assert_eq!(ask(json!({"dry_run": true})).ok()["data"], json!({"records": 30}));
    assert_eq!(ask(json!({"dry_run": true, "start": (DAY + 30).to_string()})).ok()["data"], json!({"records": 16}));
    // A key of the body that stands in the query string is no delete of what it would have spared.
    let said = server.post("/api/v1/delete?dry_run=true", r#"{"query":"{service=~\".+\"}"}"#).error(400);
    assert!(said.contains("`dry_run`"), "{said}");
    assert_eq!(count(&server, None), 120);
    let deleted = ask(json!({})).ok()["data"].clone();
    assert_eq!(
        (&deleted["start"], &deleted["end"], &deleted["state"]),
        (&json!(null), &json!(null), &json!("received"))
    );
    assert_eq!(count(&server, None), 90);
    assert_eq!(ask(json!({"dry_run": true})).ok()["data"], json!({"records": 0}));
    assert_eq!(server.get("/api/v1/delete").ok()["data"][0], deleted);
    let id = deleted["id"].as_str().unwrap();
    assert_eq!(server.send("DELETE", &format!("/api/v1/delete?id={id}"), &[], b"").ok(), json!({"status": "success"}));
    assert_eq!(count(&server, None), 120);
    server.send("DELETE", &format!("/api/v1/delete?id={id}"), &[], b"").error(404);
    server.send("DELETE", "/api/v1/delete", &[], b"").error(400);
    ask(json!({"nope": 1})).error(400);
    let refused = server.post("/api/v1/delete", r#"{"query":"{}"}"#).error(400);
    assert!(refused.contains("at least one"), "{refused}");
    let explained = server.post("/api/v1/query", r#"{"explain":true}"#).ok();
    assert!(explained["data"]["hidden_by"].is_null(), "{explained}");
    ask(json!({})).ok();
    let explained = server.post("/api/v1/query", r#"{"explain":true}"#).ok();
    assert!(explained["data"]["hidden_by"][0].as_str().unwrap().starts_with("delete "), "{explained}");
    let counted = server.post("/api/v1/query", r#"{"aggregate":{}}"#).ok();
    assert_eq!(counted["statistics"]["rows_hidden"], 30);
}

#[test]
fn what_is_older_than_retention_is_refused_and_not_answered() {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
    let server = start_options(
        |options| Options {
            retention: vec![
                RetentionRule { tenant: None, selector: None, age: Duration::from_secs(86_400) },
                RetentionRule {
                    tenant: Some(Tenant::new("archive").unwrap()),
                    selector: None,
                    age: Duration::from_secs(86_400 * 365),
                },
                RetentionRule {
                    tenant: None,
                    selector: Some(r#"{service="debug-tool"}"#.to_owned()),
                    age: Duration::from_secs(3_600),
                },
            ],
            ..options
        },
        |_| (),
    );
    let record =
        |age: u64, service: &str| json!({"timestamp": now - age, "service": service, "message": "m"}).to_string();
    let body = [record(90_000, "web"), record(7_200, "web"), record(7_200, "debug-tool"), record(60, "debug-tool")];
    let answer = server.post("/ingest", body.join("\n")).ok();
    assert_eq!((&answer["accepted"], &answer["refused"][0]["index"]), (&json!(3), &json!(0)));
    let reason = answer["refused"][0]["reason"].as_str().unwrap();
    assert!(reason.contains("has expired"), "{reason}");
    // The rule with a selector hides what it names.
    assert_eq!(count(&server, None), 2);
    let kept = server.send("POST", "/ingest", &[("X-Scope-OrgID", "archive")], record(90_000, "web").as_bytes());
    assert_eq!(kept.ok()["accepted"], 1);
    assert_eq!(count(&server, Some("archive")), 1);
    let old = (now - 90_000) * 1_000_000_000;
    let push = json!({"streams": [{"stream": {"app": "q"}, "values": [[old.to_string(), "line"]]}]});
    refused(&server.post("/loki/api/v1/push", push.to_string()), 400, "entry for stream '{app=\"q\", ");
    let status = server.get("/api/v1/admin/retention").ok()["data"].clone();
    assert_eq!(status["rules"].as_array().unwrap().len(), 3);
    assert_eq!(
        status["rules"][2],
        json!({"tenant": null, "selector": r#"{service="debug-tool"}"#, "age_seconds": 3600})
    );
    assert_eq!((&status["paused"], &status["bytes_max"]), (&json!(null), &json!(null)));
    assert_eq!(server.post("/api/v1/admin/retention/confirm", "").ok()["status"], "success");
    let metrics = String::from_utf8(server.get("/metrics").body).unwrap();
    assert!(metrics.contains("\ntimberlog_retention_paused 0\n"), "{metrics}");
}
