//! LogQL beside the native query of the same meaning, in turn, so that both see the same machine.

use crate::Bench;
use crate::process::Process;
use crate::queries::found;
use crate::report::median;
use serde_json::{Value, json};
use std::time::Instant;

const DAY_NS: i64 = 86_400_000_000_000;
const STEP_NS: i64 = 600_000_000_000;

pub fn all(bench: &mut Bench<'_>) {
    let data = bench.stored();
    for _ in bench.rounds() {
        round(bench, &Process::start(&data, &["--compaction", "off"]));
    }
}

fn round(bench: &mut Bench<'_>, server: &Process) {
    let newest = bench.scale.facts.newest;
    let count = |filter: Value| json!({"filter": filter, "aggregate": {}});
    let instant = |query: &str| {
        let query = format!("sum(count_over_time({{service=~\".+\"}} {query} [2d]))");
        format!("/loki/api/v1/query?query={}&time={newest}", escape(&query))
    };
    let start = (newest - DAY_NS) / STEP_NS * STEP_NS;
    let by_level = r#"sum by (level) (count_over_time({service=~".+"}[10m]))"#;
    let histogram =
        format!("/loki/api/v1/query_range?query={}&start={start}&end={}&step=600", escape(by_level), newest + STEP_NS);
    for (what, native, logql) in [
        (
            "`sum by (level) (count_over_time({…}[10m]))` over the day",
            json!({"aggregate": {"by": ["level"], "step": "10m"}}),
            histogram,
        ),
        ("count of `|= \"error\"`", count(json!({"field": "message", "contains": "error"})), instant("|= \"error\"")),
        (
            "count of `|= \"authentication failure\"`",
            count(json!({"field": "message", "contains": "authentication failure"})),
            instant("|= \"authentication failure\""),
        ),
        (
            r"count of `|~ [0-9]{3} ?ms\|timed? ?out`",
            count(json!({"field": "message", "regex": "[0-9]{3} ?ms|timed? ?out"})),
            instant("|~ \"[0-9]{3} ?ms|timed? ?out\""),
        ),
    ] {
        compare(bench, server, what, &native, &logql);
    }
}

fn compare(bench: &mut Bench<'_>, server: &Process, what: &str, native: &Value, logql: &str) {
    let client = server.client();
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
    let [native, logql] = times.map(|times| median(&times));
    let part = "LogQL beside the native query of the same meaning";
    bench.scale.cost(part, what, "ms", logql);
    bench.scale.cost(part, &format!("{what}: beside the native query"), "×", logql / native);
    bench.scale.check(what, of_logql(&answers[1]), found(&answers[0]));
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
