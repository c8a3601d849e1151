//! Numbers of a LogQL metric query: at one time, or by steps over a range.

use super::Arguments;
use crate::output::{Form, say};
use crate::progress::Progress;
use crate::table;
use anyhow::Result;
use serde_json::{Map, Value, json};
use std::collections::BTreeSet;
use timberlog_client::Client;
use timberlog_db::Database;
use timberlog_db::language::Labels;
use timberlog_db::language::ast::MetricExpr;
use timberlog_db::language::evaluate::{self, EvaluateError, Steps};
use timberlog_types::time::{self, SECOND_NS};
use timberlog_types::{Error, TimeRange};

/// How long before its end a range begins when nothing is said.
const SINCE_NS: i64 = 3600 * SECOND_NS;

/// A number: when, of which labels, and its text.
struct Point {
    timestamp: i64,
    labels: Map<String, Value>,
    text: String,
}

/// Asks a server.
pub fn remote(arguments: &Arguments, client: &Client, text: &str) -> Result<()> {
    let steps = steps(arguments)?;
    let (start, end) = (super::loki_time(steps.start_ns), super::loki_time(steps.end_ns));
    let mut progress = Progress::start();
    let answer = if steps.step_ns == 0 {
        client.loki("/loki/api/v1/query", &[("query", text), ("time", &end)])?
    } else {
        // Go's durations end at hours, and a number is seconds.
        let step = format!("{}.{:09}", steps.step_ns / SECOND_NS, steps.step_ns % SECOND_NS);
        let form = [("query", text), ("start", &start), ("end", &end), ("step", &step)];
        client.loki("/loki/api/v1/query_range", &form)?
    };
    progress.stop();
    for missing in super::warnings(&answer) {
        eprintln!("missing: {missing}");
    }
    print(arguments, of_answer(&answer["data"])?)
}

/// Asks a database.
pub fn local(arguments: &Arguments, database: &Database, expr: &MetricExpr) -> Result<()> {
    let (tenant, steps) = (arguments.target.tenant()?, steps(arguments)?);
    let mut progress = Progress::start();
    let found = database.metric_query(&tenant, expr, steps, &super::options()).map_err(|error| match error {
        EvaluateError::Leaves(error) => Error::from(error),
        error => Error::invalid(error.to_string()),
    })?;
    progress.stop();
    for missing in &found.missing {
        eprintln!("missing: {missing}");
    }
    print(arguments, of_value(&found.value))
}

/// At the end of the range; with `--step` over it, the last hour unless it has a start.
fn steps(arguments: &Arguments) -> Result<Steps> {
    let TimeRange { start, end } = arguments.range()?;
    let end_ns = if end == i64::MAX { super::now_ns() } else { end };
    let Some(step) = arguments.step else { return Ok(Steps { start_ns: end_ns, end_ns, step_ns: 0 }) };
    let start_ns = if start == i64::MIN { end_ns.saturating_sub(SINCE_NS) } else { start };
    let step_ns = i64::try_from(step.as_nanos()).unwrap_or(i64::MAX);
    if step_ns == 0 {
        return Err(Error::invalid("--step is 0").into());
    }
    if (i128::from(end_ns) - i128::from(start_ns)) / i128::from(step_ns) > 11_000 {
        return Err(Error::invalid("--step cuts the range into more than 11,000 points; take a longer one").into());
    }
    Ok(Steps { start_ns, end_ns, step_ns })
}

fn of_answer(data: &Value) -> Result<Vec<Point>> {
    let wrong = || Error::internal("the server's answer is not one of a metric query");
    let point = |labels: &Value, pair: &Value, unit: f64| -> Result<Point> {
        let at = pair[0].as_f64().ok_or_else(wrong)?;
        let text = pair[1].as_str().ok_or_else(wrong)?.to_owned();
        // In ms, as precise as it came.
        let timestamp = (at * unit).round() as i64 * 1_000_000;
        Ok(Point { timestamp, labels: labels.as_object().cloned().unwrap_or_default(), text })
    };
    let result = &data["result"];
    if data["resultType"] == "scalar" {
        return Ok(vec![point(&Value::Null, result, 1.0)?]);
    }
    let mut points = Vec::new();
    for series in result.as_array().ok_or_else(wrong)? {
        let labels = &series["metric"];
        match &series["values"] {
            Value::Array(values) => {
                for value in values {
                    points.push(point(labels, value, 1e3)?);
                }
            }
            _ => points.push(point(labels, &series["value"], 1e3)?),
        }
    }
    Ok(points)
}

fn of_value(value: &evaluate::Value) -> Vec<Point> {
    let point = |labels: Option<&Labels>, timestamp: i64, value: f64| Point {
        timestamp,
        labels: labels
            .into_iter()
            .flat_map(|labels| labels.iter().map(|(name, value)| (name.to_owned(), value.into())))
            .collect(),
        text: match value {
            f64::INFINITY => "+Inf".to_owned(),
            f64::NEG_INFINITY => "-Inf".to_owned(),
            value => value.to_string(),
        },
    };
    match value {
        evaluate::Value::Scalar { timestamp_ns, value } => vec![point(None, *timestamp_ns, *value)],
        evaluate::Value::Vector(samples) => {
            samples.iter().map(|sample| point(Some(&sample.labels), sample.timestamp_ns, sample.value)).collect()
        }
        evaluate::Value::Matrix(series) => {
            let each =
                series.iter().flat_map(|one| one.points.iter().map(|&(at, value)| point(Some(&one.labels), at, value)));
            each.collect()
        }
    }
}

fn print(arguments: &Arguments, mut points: Vec<Point>) -> Result<()> {
    match arguments.output {
        Form::Json => say!("{}", serde_json::to_string_pretty(&points.iter().map(shape).collect::<Vec<_>>())?),
        Form::Jsonl => points.iter().for_each(|point| say!("{}", shape(point))),
        Form::Raw => points.iter().for_each(|point| say!("{}", point.text)),
        Form::Text => {
            let is_range = arguments.step.is_some();
            if is_range {
                // The series of one time stand together; an instant's order is its own.
                points.sort_by_key(|point| point.timestamp);
            }
            let names: BTreeSet<&str> =
                points.iter().flat_map(|point| point.labels.keys()).map(String::as_str).collect();
            let header = is_range.then_some("time").into_iter().chain(names.iter().copied()).chain(["#value"]);
            let mut table = table::with_header(header);
            for point in &points {
                let time = is_range.then(|| time::format_rfc3339(point.timestamp));
                let labels = names.iter().map(|name| point.labels.get(*name).and_then(Value::as_str).unwrap_or("-"));
                table.add_row(time.iter().map(String::as_str).chain(labels).chain([point.text.as_str()]));
            }
            table::print(&table);
        }
    }
    Ok(())
}

fn shape(point: &Point) -> Value {
    // JSON has no word for NaN and infinities.
    let value = serde_json::from_str(&point.text).unwrap_or_else(|_| Value::from(point.text.as_str()));
    json!({"timestamp": time::format_rfc3339(point.timestamp), "labels": point.labels, "value": value})
}
