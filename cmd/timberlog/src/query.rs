//! `timberlog query`: records, counts or a plan, from a server or a data directory.

use crate::condition;
use crate::output::{Output, Printer, say, shape, unheard};
use crate::target::Target;
use crate::{table, units};
use anyhow::Result;
use clap::Args;
use serde_json::{Value, json};
use std::process::ExitCode;
use timberlog_db::Database;
use timberlog_db::query::{Aggregation, Order, Query};
use timberlog_types::{Error, TimeRange, time};

/// Flags of `query`.
#[derive(Args)]
pub struct Arguments {
    /// Conditions, all of which must hold: level=error, host!=a, message=~"time.?out", status>=500, or a text that the message contains
    #[arg(value_name = "CONDITION")]
    conditions: Vec<String>,
    #[command(flatten)]
    target: Target,
    /// How far back to look: 15m, 2h, 7d; everything by default
    #[arg(long, value_name = "TIME", conflicts_with = "start")]
    since: Option<humantime::Duration>,
    /// The first time, RFC 3339 or unix
    #[arg(long, value_name = "TIME")]
    start: Option<String>,
    /// The last time, RFC 3339 or unix
    #[arg(long, value_name = "TIME")]
    end: Option<String>,
    /// The most records; 0 is all, streamed
    #[arg(short = 'n', long, value_name = "N", default_value_t = 100)]
    limit: usize,
    /// Oldest first instead of newest first
    #[arg(long)]
    oldest_first: bool,
    /// Count instead of listing
    #[arg(long)]
    count: bool,
    /// Count by the values of these names, comma-separated
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    by: Vec<String>,
    /// Count by steps of time: 10m, 1h
    #[arg(long, value_name = "TIME")]
    step: Option<humantime::Duration>,
    /// Show what would be read and what would be left out, and why
    #[arg(long, conflicts_with_all = ["count", "by", "step"])]
    explain: bool,
    /// The form of the output
    #[arg(short, long, value_enum, default_value_t = Output::Table)]
    output: Output,
}

impl Arguments {
    fn range(&self) -> Result<TimeRange> {
        let parse = |text: &str| {
            time::parse(text.as_bytes()).map_err(|error| Error::invalid(format!("time `{text}`: {error}")))
        };
        let mut range = TimeRange::ALL;
        if let Some(since) = self.since {
            let now = timberlog_disk::Env::real().clock.now_ns();
            range.start = now.saturating_sub(i64::try_from(since.as_nanos()).unwrap_or(i64::MAX));
        }
        if let Some(start) = &self.start {
            range.start = parse(start)?;
        }
        if let Some(end) = &self.end {
            range.end = parse(end)?;
        }
        if range.is_empty() {
            return Err(Error::invalid("--start is after --end").into());
        }
        Ok(range)
    }

    fn counts(&self) -> bool {
        self.count || !self.by.is_empty() || self.step.is_some()
    }

    /// The body of `POST /api/v1/query` and `/api/v1/export`.
    fn body(&self) -> Result<Value> {
        let range = self.range()?;
        let mut body = json!({
            "filter": condition::parse(&self.conditions)?.to_json(),
            "order": if self.oldest_first { "oldest_first" } else { "newest_first" },
        });
        if range.start != i64::MIN {
            body["start"] = range.start.to_string().into();
        }
        if range.end != i64::MAX {
            body["end"] = range.end.to_string().into();
        }
        if self.explain {
            body["explain"] = true.into();
        }
        if self.counts() {
            body["aggregate"] = json!({ "by": self.by });
            if let Some(step) = self.step {
                body["aggregate"]["step"] = u64::try_from(step.as_nanos()).unwrap_or(u64::MAX).into();
            }
        } else {
            body["limit"] = self.limit.into();
        }
        Ok(body)
    }

    fn query(&self) -> Result<Query> {
        let mut query = Query::new(self.target.tenant()?);
        query.range = self.range()?;
        query.filter = condition::parse(&self.conditions)?;
        query.order = if self.oldest_first { Order::OldestFirst } else { Order::NewestFirst };
        Ok(query)
    }
}

/// Asks and prints.
pub fn run(arguments: &Arguments) -> Result<ExitCode> {
    let result = match arguments.target.database()? {
        Some(database) => local(arguments, &database),
        None => remote(arguments),
    };
    match result {
        Err(error) if !unheard(&error) => Err(error),
        _ => Ok(ExitCode::SUCCESS),
    }
}

fn remote(arguments: &Arguments) -> Result<()> {
    let (client, body) = (arguments.target.client()?, arguments.body()?);
    if arguments.counts() {
        return groups(arguments, &client.post("/api/v1/query", &body)?);
    }
    if arguments.explain {
        return document(&client.post("/api/v1/query", &body)?["data"]);
    }
    let mut printer = Printer::stdout(arguments.output);
    let mut unprinted = None;
    let asked = client.lines("/api/v1/export", &body, &mut |line| {
        let record = serde_json::from_str(line)
            .map_err(|error| Error::internal(format!("the answer is not JSON lines: {error}")))?;
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
    printer.finish()?;
    Ok(())
}

fn local(arguments: &Arguments, database: &Database) -> Result<()> {
    let query = arguments.query()?;
    if arguments.explain {
        return document(&serde_json::to_value(database.explain(&query)?)?);
    }
    if arguments.counts() {
        let mut aggregation = Aggregation::new(query.tenant);
        (aggregation.range, aggregation.filter) = (query.range, query.filter);
        aggregation.by.clone_from(&arguments.by);
        aggregation.step = arguments.step.and_then(|step| i64::try_from(step.as_nanos()).ok());
        let found = database.aggregate(&aggregation)?;
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
    let mut left = if arguments.limit == 0 { usize::MAX } else { arguments.limit };
    for records in database.export(query) {
        for record in records?.iter().take(left) {
            printer.record(&shape(record))?;
            left -= 1;
        }
        if left == 0 {
            break;
        }
    }
    printer.finish()?;
    Ok(())
}

fn groups(arguments: &Arguments, answer: &Value) -> Result<()> {
    for missing in answer["missing"].as_array().into_iter().flatten() {
        eprintln!("missing: {}", missing.as_str().unwrap_or_default());
    }
    let data = answer["data"].as_array().map(Vec::as_slice).unwrap_or_default();
    match arguments.output {
        Output::Json => say!("{}", serde_json::to_string_pretty(&data)?),
        Output::Jsonl => data.iter().for_each(|group| say!("{group}")),
        Output::Table => {
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

fn document(value: &Value) -> Result<()> {
    say!("{}", serde_json::to_string_pretty(value)?);
    Ok(())
}
