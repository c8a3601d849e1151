//! Records of a filter, and their counts.

use super::{Arguments, plan, shared};
use crate::output::{Form, Printer, say};
use crate::progress::Progress;
use crate::shape::Shape;
use crate::{table, units};
use anyhow::Result;
use serde_json::{Value, json};
use timberlog_db::Database;
use timberlog_db::filter::Filter;
use timberlog_db::query::{Aggregation, Query};
use timberlog_types::{Error, time};

/// Asks and prints.
pub fn run(arguments: &Arguments, filter: &Filter) -> Result<()> {
    if arguments.local {
        return shared::run(arguments, filter, &query(arguments, filter)?);
    }
    match arguments.target.database()? {
        Some(database) => local(arguments, filter, &database),
        None => remote(arguments, filter),
    }
}

/// The body of `POST /api/v1/query` and `/api/v1/export`.
fn body(arguments: &Arguments, filter: &Filter) -> Result<Value> {
    let mut body = arguments.body()?;
    body["filter"] = filter.to_json();
    if arguments.explain {
        body["explain"] = true.into();
    }
    if arguments.counts() {
        body["aggregate"] = json!({ "by": arguments.by });
        if let Some(step) = arguments.step {
            body["aggregate"]["step"] = u64::try_from(step.as_nanos()).unwrap_or(u64::MAX).into();
        }
    } else {
        body["limit"] = arguments.limit.into();
    }
    Ok(body)
}

fn query(arguments: &Arguments, filter: &Filter) -> Result<Query> {
    let mut query = Query::new(arguments.target.tenant()?);
    query.range = arguments.range()?;
    query.filter = filter.clone();
    query.order = arguments.order();
    Ok(query)
}

fn remote(arguments: &Arguments, filter: &Filter) -> Result<()> {
    let (client, body) = (arguments.target.client()?, body(arguments, filter)?);
    let mut progress = Progress::start();
    if arguments.counts() {
        let answer = client.post("/api/v1/query", &body)?;
        progress.stop();
        return groups(arguments, &answer);
    }
    if arguments.explain {
        return plan::print(&client.post("/api/v1/query", &body)?["data"], None, arguments.output);
    }
    let mut printer = Printer::stdout(arguments.output);
    let mut unprinted = None;
    let asked = client.lines("/api/v1/export", &body, &mut |line| {
        let record: Shape = serde_json::from_str(line)
            .map_err(|error| Error::internal(format!("the answer is not JSON lines: {error}")))?;
        progress.saw_record();
        printer.record(&record).map_err(|error| {
            let message = error.to_string();
            unprinted = Some(error);
            Error::internal(message)
        })
    });
    if let Some(error) = unprinted {
        return Err(error);
    }
    asked?;
    progress.stop();
    printer.finish()?;
    Ok(())
}

fn local(arguments: &Arguments, filter: &Filter, database: &Database) -> Result<()> {
    let query = query(arguments, filter)?;
    if arguments.explain {
        return plan::print(&serde_json::to_value(database.explain(&query)?)?, None, arguments.output);
    }
    if arguments.counts() {
        let mut aggregation = Aggregation::new(query.tenant);
        (aggregation.range, aggregation.filter) = (query.range, query.filter);
        aggregation.by.clone_from(&arguments.by);
        aggregation.step = arguments.step.and_then(|step| i64::try_from(step.as_nanos()).ok());
        let mut progress = Progress::start();
        let found = database.aggregate(&aggregation)?;
        progress.stop();
        let data: Vec<Value> = found
            .groups
            .iter()
            .map(|group| {
                let labels: serde_json::Map<String, Value> =
                    arguments.by.iter().cloned().zip(group.key.iter().map(|value| value.clone().into())).collect();
                json!({ "timestamp": group.bucket, "labels": labels, "count": group.count })
            })
            .collect();
        return groups(arguments, &json!({ "data": data, "missing": found.missing }));
    }
    let mut printer = Printer::stdout(arguments.output);
    let mut progress = Progress::start();
    let mut left = if arguments.limit == 0 { usize::MAX } else { arguments.limit };
    for records in database.export(query) {
        for record in records?.iter().take(left) {
            progress.saw_record();
            printer.record(&Shape::of(record))?;
            left -= 1;
        }
        if left == 0 {
            break;
        }
    }
    progress.stop();
    printer.finish()?;
    Ok(())
}

fn groups(arguments: &Arguments, answer: &Value) -> Result<()> {
    for missing in answer["missing"].as_array().into_iter().flatten() {
        eprintln!("missing: {}", missing.as_str().unwrap_or_default());
    }
    let data = answer["data"].as_array().map(Vec::as_slice).unwrap_or_default();
    match arguments.output {
        Form::Json => say!("{}", serde_json::to_string_pretty(&data)?),
        Form::Jsonl => data.iter().for_each(|group| say!("{group}")),
        Form::Raw => data.iter().for_each(|group| say!("{}", group["count"])),
        Form::Text => {
            let time = arguments.step.map(|_| "time");
            let names = time.into_iter().chain(arguments.by.iter().map(String::as_str)).chain(["#count"]);
            let mut table = table::with_header(names);
            for group in data {
                let time = group["timestamp"].as_i64().map(time::format_rfc3339);
                let values = arguments.by.iter().map(|name| group["labels"][name].as_str().unwrap_or("-").to_owned());
                table.add_row(time.into_iter().chain(values).chain([count(&group["count"])]));
            }
            table::print(&table);
        }
    }
    Ok(())
}

fn count(value: &Value) -> String {
    value.as_u64().map_or_else(|| value.to_string(), units::count)
}
