//! The scenarios of `tests/scenarios/loki`: push these streams, ask this, expect what a Loki said.

use crate::harness::{Response, Running, start};
use serde_json::{Map, Value, json};
use std::path::{Path, PathBuf};

/// How far two floats may be apart, relative to the larger: sums may be made in another order.
const FLOAT_ERROR_MAX: f64 = 1e-12;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/scenarios/loki")
}

fn read(name: &str) -> String {
    std::fs::read_to_string(folder().join(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// Themes and their scenarios.
fn scenarios() -> Vec<(String, Vec<Value>)> {
    let mut themes: Vec<(String, Vec<Value>)> = std::fs::read_dir(folder())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.ends_with(".jsonl"))
        .map(|name| {
            let lines = read(&name).lines().map(|line| serde_json::from_str(line).expect(line)).collect();
            (name, lines)
        })
        .collect();
    themes.sort_by(|a, b| a.0.cmp(&b.0));
    themes
}

fn encoded(text: &str) -> String {
    text.bytes()
        .map(|byte| if byte.is_ascii_alphanumeric() { char::from(byte).to_string() } else { format!("%{byte:02X}") })
        .collect()
}

/// The parameters: the defaults of all paths, then those of the path, then those of the scenario.
fn parameters(defaults: &Value, path: &str, scenario: &Value) -> String {
    let mut merged = Map::new();
    for some in [&defaults["*"], &defaults[path], &scenario["params"]] {
        merged.extend(some.as_object().cloned().unwrap_or_default());
    }
    let mut pairs = Vec::new();
    for (name, value) in &merged {
        let values = value.as_array().cloned().unwrap_or_else(|| vec![value.clone()]);
        pairs.extend(values.iter().map(|value| format!("{}={}", encoded(name), encoded(value.as_str().unwrap()))));
    }
    pairs.join("&")
}

fn ask(server: &Running, defaults: &Value, scenario: &Value) -> Response {
    let path = scenario["path"].as_str().unwrap();
    let headers = scenario["headers"].as_object().cloned().unwrap_or_default();
    let headers: Vec<(&str, &str)> =
        headers.iter().map(|(name, value)| (name.as_str(), value.as_str().unwrap())).collect();
    let url = format!("/loki/api/v1/{path}?{}", parameters(defaults, path, scenario));
    server.send("GET", &url, &headers, b"")
}

/// What of an answer is compared, in the form in which the scenario has it.
fn kept(scenario: &Value, response: &Response) -> Value {
    if response.status != 200 {
        return json!(response.text().trim());
    }
    let answer = response.json();
    let data = &answer["data"];
    if scenario["path"] == "index/stats" {
        return json!({"streams": answer["streams"], "entries": answer["entries"]});
    }
    match data["resultType"].as_str() {
        Some(kind) => {
            if kind == "scalar" {
                return json!({ "scalar": data["result"] });
            }
            let (labels, values) = match kind {
                "streams" => ("stream", "values"),
                "matrix" => ("metric", "values"),
                _ => ("metric", "value"),
            };
            let found = data["result"].as_array().unwrap();
            let pairs: Vec<Value> = found.iter().map(|one| json!([one[labels], one[values]])).collect();
            json!({ kind: pairs })
        }
        None => data.clone(),
    }
}

/// Puts what has no order into one. The labels of a result are its first part.
fn ordered(mut answer: Value, scenario: &Value) -> Value {
    let list = match &mut answer {
        Value::Object(kinds) => kinds.iter_mut().next().filter(|(kind, _)| *kind != "scalar").map(|(_, list)| list),
        list => Some(list),
    };
    if let Some(Value::Array(list)) = list
        && scenario["ordered"] != true
    {
        list.sort_by_cached_key(Value::to_string);
    }
    answer
}

fn float(value: &Value) -> Option<f64> {
    value.as_f64().or_else(|| value.as_str()?.parse().ok())
}

/// Whether two numbers, or texts of numbers, say the same.
fn close(one: &Value, other: &Value) -> bool {
    one == other
        || float(one).zip(float(other)).is_some_and(|(a, b)| {
            a == b || (a.is_nan() && b.is_nan()) || (a - b).abs() <= FLOAT_ERROR_MAX * a.abs().max(b.abs())
        })
}

/// Whether two answers are equal. Floats are compared only where floats are: in `kind` vector, matrix, scalar.
fn equal(one: &Value, other: &Value, kind: &str) -> bool {
    match (one, other) {
        (Value::Array(a), Value::Array(b)) => {
            a.len() == b.len() && a.iter().zip(b).all(|(one, other)| equal(one, other, kind))
        }
        (Value::Object(a), Value::Object(b)) if a.len() == 1 && b.len() == 1 && kind.is_empty() => {
            a.iter().zip(b).all(|((kind, one), (other_kind, other))| kind == other_kind && equal(one, other, kind))
        }
        _ if matches!(kind, "vector" | "matrix" | "scalar") => close(one, other),
        _ => one == other,
    }
}

/// Asks everything once; what differs, as text.
fn differences(server: &Running, place: &str) -> (usize, Vec<String>) {
    let defaults: Value = serde_json::from_str(&read("defaults.json")).unwrap();
    let (mut asked, mut wrong) = (0, Vec::new());
    for (theme, scenarios) in scenarios() {
        for (number, scenario) in scenarios.iter().enumerate() {
            asked += 1;
            let response = ask(server, &defaults, scenario);
            let ours = ordered(kept(scenario, &response), scenario);
            let expected = ordered(scenario["answer"].clone(), scenario);
            if response.status != scenario["status"] || !equal(&ours, &expected, "") {
                wrong.push(format!(
                    "{theme}:{} {place}: {} {}\n  expected {} {expected}\n  found    {} {ours}",
                    number + 1,
                    scenario["path"].as_str().unwrap(),
                    scenario["params"],
                    scenario["status"],
                    response.status,
                ));
            }
        }
    }
    (asked, wrong)
}

#[test]
fn answers_are_those_of_loki_in_memory_and_on_disk() {
    let server = start();
    let pushed = server.post("/loki/api/v1/push", read("streams.json"));
    assert_eq!(pushed.status, 204, "{}", pushed.text());
    let (asked, mut wrong) = differences(&server, "in memory");
    assert!(asked >= 1000, "only {asked} scenarios were found");
    server.database.as_ref().unwrap().flush().unwrap();
    wrong.extend(differences(&server, "on disk").1);
    assert!(wrong.is_empty(), "{} of {} answers differ:\n{}", wrong.len(), 2 * asked, wrong.join("\n"));
}

#[test]
fn queries_of_the_documentation_are_answered() {
    let server = start();
    assert_eq!(server.post("/loki/api/v1/push", read("streams.json")).status, 204);
    let defaults: Value = serde_json::from_str(&read("defaults.json")).unwrap();
    let text = read("../../../docs/logql.md");
    let blocks = text.split("```logql\n").skip(1).map(|rest| rest.split("```").next().unwrap());
    let queries: Vec<&str> = blocks.flat_map(str::lines).collect();
    assert!(queries.len() > 10, "{queries:?}");
    for query in queries {
        let asked = json!({"path": "query_range", "params": {"query": query}});
        let response = ask(&server, &defaults, &asked);
        assert_eq!(response.status, 200, "{query}: {}", response.text());
        assert_ne!(response.json()["data"]["result"], json!([]), "{query}");
    }
}
