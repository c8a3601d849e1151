//! A dashboard as Grafana shows it: five panels, asked anew every five seconds; half of the dashboards ask the native API, half
//! Loki's.

use crate::figures::Seen;
use crate::process::Process;
use crate::steady::Clock;
use crate::traffic::now_ns;
use serde_json::{Value, json};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use timberlog_client::Client;
use timberlog_types::{Error, time::SECOND_NS};

/// How often a dashboard is asked anew.
const REFRESH: Duration = Duration::from_secs(5);
/// The panels.
pub const PANELS: [&str; 5] = [
    "histogram by level, the last hour",
    "the last 100 of a service",
    "count by host of a service, the last minute",
    "the last 100 with a literal, of 15 minutes",
    "one trace id, of 15 minutes",
];
/// Services of the made-up traffic that are often.
const SERVICES: [&str; 4] = ["frontend-web", "api-gateway", "payments", "auth"];
const LITERAL: &str = "authentication failure";

/// Asks until the end of a phase; what was seen of each panel.
pub fn watch(server: &Process, number: usize, of: usize, trace: &Mutex<String>, clock: &Clock) -> [Seen; 5] {
    let client = server.client();
    let mut seen: [Seen; 5] = Default::default();
    // They do not all refresh at once.
    clock.sleep(REFRESH.mul_f64(number as f64 / of.max(1) as f64));
    while !clock.is_over() {
        let started = clock.elapsed();
        for (panel, seen) in seen.iter_mut().enumerate() {
            if clock.is_over() {
                break;
            }
            let trace = trace.lock().unwrap_or_else(PoisonError::into_inner).clone();
            let asked = clock.elapsed();
            match ask(&client, number, panel, &trace) {
                Ok(_) => {
                    let now = clock.elapsed();
                    seen.requests.push((now.as_secs_f32(), (now - asked).as_secs_f32() * 1e3));
                }
                // A dashboard shows what it had, and asks again when it is refreshed.
                Err(error) => drop(seen.refused(&error)),
            }
        }
        clock.sleep(REFRESH.saturating_sub(clock.elapsed() - started));
    }
    seen
}

fn ask(client: &Client, number: usize, panel: usize, trace: &str) -> Result<Value, Error> {
    let service = SERVICES[number / 2 % SERVICES.len()];
    let now = now_ns();
    if number.is_multiple_of(2) {
        native(client, panel, service, trace, now)
    } else {
        loki(client, panel, service, trace, now)
    }
}

fn native(client: &Client, panel: usize, service: &str, trace: &str, now: i64) -> Result<Value, Error> {
    let of_service = json!({"field": "service", "eq": service});
    let since = |seconds: i64| (now - seconds * SECOND_NS).to_string();
    let body = match panel {
        0 => json!({"aggregate": {"by": ["level"], "step": "1m"}, "start": since(3600), "end": now.to_string()}),
        1 => json!({"filter": of_service, "limit": 100}),
        2 => json!({"filter": of_service, "aggregate": {"by": ["host"]}, "start": since(60), "end": now.to_string()}),
        3 => json!({"filter": {"and": [of_service, {"field": "message", "contains": LITERAL}]}, "limit": 100,
            "start": since(900), "end": now.to_string()}),
        _ => json!({"filter": {"field": "trace_id", "eq": trace}, "limit": 100, "start": since(900),
            "end": now.to_string()}),
    };
    client.post("/api/v1/query", &body)
}

fn loki(client: &Client, panel: usize, service: &str, trace: &str, now: i64) -> Result<Value, Error> {
    let range = |query: &str, seconds: i64, more: &[(&str, &str)]| {
        let (start, end) = ((now - seconds * SECOND_NS).to_string(), now.to_string());
        let form = [&[("query", query), ("start", &start), ("end", &end), ("limit", "100")], more].concat();
        client.loki("/loki/api/v1/query_range", &form)
    };
    match panel {
        0 => range(r#"sum by (level) (count_over_time({service=~".+"}[1m]))"#, 3600, &[("step", "60")]),
        1 => range(&format!("{{service=\"{service}\"}}"), 3600, &[]),
        2 => {
            let query = format!("sum by (host) (count_over_time({{service=\"{service}\"}}[1m]))");
            client.loki("/loki/api/v1/query", &[("query", &query), ("time", &now.to_string())])
        }
        3 => range(&format!("{{service=\"{service}\"}} |= \"{LITERAL}\""), 900, &[]),
        _ => range(&format!("{{service=~\".+\"}} | trace_id=\"{trace}\""), 900, &[]),
    }
}
