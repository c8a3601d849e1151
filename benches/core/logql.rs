//! LogQL beside the native query of the same meaning, in turn, so that both see the same machine.

use crate::corpus::Corpus;
use crate::process::Process;
use crate::{client, row};
use serde_json::{Value, json};
use std::time::Instant;

const DAY_NS: i64 = 86_400_000_000_000;
const STEP_NS: i64 = 600_000_000_000;

pub fn all(server: &Process, corpus: &Corpus) {
    let count = |filter: Value| json!({"filter": filter, "aggregate": {}});
    let instant = |query: &str| {
        let query = format!("sum(count_over_time({{service=~\".+\"}} {query} [2d]))");
        format!("/loki/api/v1/query?query={}&time={}", escape(&query), corpus.newest)
    };
    let start = (corpus.newest - DAY_NS) / STEP_NS * STEP_NS;
    let by_level = r#"sum by (level) (count_over_time({service=~".+"}[10m]))"#;
    let histogram = format!(
        "/loki/api/v1/query_range?query={}&start={start}&end={}&step=600",
        escape(by_level),
        corpus.newest + STEP_NS
    );
    for (what, native, logql) in [
        (
            "`sum by (level) (count_over_time({…}[10m]))` over the day / native histogram",
            json!({"aggregate": {"by": ["level"], "step": "10m"}}),
            histogram,
        ),
        (
            "count of `|= \"error\"` / native substring",
            count(json!({"field": "message", "contains": "error"})),
            instant("|= \"error\""),
        ),
        (
            "count of `|= \"authentication failure\"` / native substring",
            count(json!({"field": "message", "contains": "authentication failure"})),
            instant("|= \"authentication failure\""),
        ),
        (
            r"count of `|~ [0-9]{3} ?ms\|timed? ?out` / native regex",
            count(json!({"field": "message", "regex": "[0-9]{3} ?ms|timed? ?out"})),
            instant("|~ \"[0-9]{3} ?ms|timed? ?out\""),
        ),
    ] {
        compare(server, what, &native, &logql);
    }
}

fn compare(server: &Process, what: &str, native: &Value, logql: &str) {
    let client = client(&server.http);
    let mut times: [Vec<f64>; 2] = [Vec::new(), Vec::new()];
    let mut answers = [Value::Null, Value::Null];
    for round in 0..12 {
        for (side, times) in times.iter_mut().enumerate() {
            let started = Instant::now();
            answers[side] = match side {
                0 => client.post("/api/v1/query", native).expect("an answer"),
                _ => client.get(logql).expect("an answer"),
            };
            // The first rounds warm the cache.
            if round >= 3 {
                times.push(started.elapsed().as_secs_f64() * 1e3);
            }
        }
    }
    let [native, logql] = times.map(|mut times| {
        times.sort_by(f64::total_cmp);
        times[times.len() / 2]
    });
    let ratio = logql / native;
    row(
        what,
        format!(
            "{logql:.2} ms / {native:.2} ms = {ratio:.2}; {} of {} found",
            of_logql(&answers[1]),
            of_native(&answers[0])
        ),
        None,
    );
}

fn of_native(answer: &Value) -> u64 {
    answer["data"].as_array().map_or(0, |groups| groups.iter().filter_map(|group| group["count"].as_u64()).sum())
}

/// The sum of all numbers: of a vector's value, or of a matrix's values.
fn of_logql(answer: &Value) -> u64 {
    let number = |pair: &Value| pair[1].as_str().and_then(|text| text.parse::<f64>().ok()).unwrap_or_default();
    let of_series = |series: &Value| match series["values"].as_array() {
        Some(values) => values.iter().map(number).sum::<f64>(),
        None => number(&series["value"]),
    };
    answer["data"]["result"].as_array().map_or(0.0, |series| series.iter().map(of_series).sum()) as u64
}

/// Percent-encodes what may not stand in a query string.
fn escape(text: &str) -> String {
    let mut escaped = String::new();
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' => escaped.push(char::from(byte)),
            _ => escaped.push_str(&format!("%{byte:02X}")),
        }
    }
    escaped
}
