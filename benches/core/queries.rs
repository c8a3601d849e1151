//! The queries of the table, over HTTP.

use crate::corpus::Corpus;
use crate::process::Process;
use crate::{client, row};
use serde_json::{Value, json};
use std::time::Instant;

const HOUR_NS: i64 = 3_600_000_000_000;

pub fn all(server: &Process, corpus: &Corpus) {
    trace(server, corpus, "one trace id, no index of its own");
    let hour = json!({"start": (corpus.newest - HOUR_NS).to_string(), "end": corpus.newest.to_string()});
    let errors = json!({"and": [{"field": "level", "eq": "error"}, {"field": "service", "eq": corpus.service}]});
    let mut last_errors = json!({"filter": errors, "limit": 100});
    merge(&mut last_errors, &hour);
    let count = |filter: Value| json!({"filter": filter, "aggregate": {}});
    let contains = |text: &str| json!({"field": "message", "contains": text});
    for (what, body) in [
        ("last 100 errors of a service within an hour", last_errors),
        ("last 100 records of anything", json!({"limit": 100})),
        ("count by level", json!({"aggregate": {"by": ["level"]}})),
        ("count by host", json!({"aggregate": {"by": ["host"]}})),
        ("histogram by 10 minutes and level", json!({"aggregate": {"by": ["level"], "step": "10m"}})),
        ("count of `authentication failure`", count(contains("authentication failure"))),
        ("count of substring `error`", count(contains("error"))),
        ("count of a rare substring (`38101a0b`)", count(contains("38101a0b"))),
        (
            r"count by `[0-9]{3} ?ms\|timed? ?out`",
            count(json!({"field": "message", "regex": "[0-9]{3} ?ms|timed? ?out"})),
        ),
    ] {
        time(server, what, &body);
    }
}

pub fn trace(server: &Process, corpus: &Corpus, what: &str) {
    time(server, what, &json!({"filter": {"field": "trace_id", "eq": corpus.trace}, "limit": 1000}));
}

fn merge(into: &mut Value, from: &Value) {
    if let (Value::Object(into), Value::Object(from)) = (into, from) {
        into.extend(from.clone());
    }
}

/// The first time, and the median of 7 more.
fn time(server: &Process, what: &str, body: &Value) {
    let client = client(&server.http);
    let once = || {
        let started = Instant::now();
        let answer = client.post("/api/v1/query", body).expect("an answer");
        (started.elapsed().as_secs_f64() * 1e3, answer)
    };
    let (first, _) = once();
    let mut times: Vec<f64> = Vec::new();
    let mut found = 0;
    for _ in 0..7 {
        let (time, answer) = once();
        times.push(time);
        found = size(&answer);
    }
    times.sort_by(f64::total_cmp);
    row(what, format!("{:.2} ms (first {first:.1} ms, {found} found)", times[3]), None);
}

/// What was found: the sum of counts, or the number of records.
fn size(answer: &Value) -> u64 {
    let data = answer["data"].as_array().map(Vec::as_slice).unwrap_or_default();
    let counted: Option<u64> = data.iter().map(|group| group["count"].as_u64()).sum();
    counted.filter(|_| !data.is_empty()).unwrap_or(data.len() as u64)
}
