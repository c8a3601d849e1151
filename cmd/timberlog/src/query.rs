//! `timberlog query`: records, lines, counts, numbers or a plan, from a server or a data directory.

mod lines;
mod native;
mod numbers;
mod plan;
mod shared;

pub use lines::Line;

use crate::language::{Asked, Language};
use crate::output::{Form, unheard};
use crate::target::Target;
use anyhow::Result;
use clap::Args;
use serde_json::{Value, json};
use std::process::ExitCode;
use timberlog_db::language::ast::Expr;
use timberlog_db::query::Order;
use timberlog_db::query::logql::{LogQuery, Options};
use timberlog_types::{Error, TimeRange, time};

/// Flags of `query`.
#[derive(Args)]
pub struct Arguments {
    /// LogQL: {app="web"} |= "error" | json; or conditions, all of which must hold: level=error, host!=a, message=~"time.?out", status>=500, or a text that the message contains
    #[arg(value_name = "QUERY")]
    asked: Vec<String>,
    /// The language of the query; without it, what has a {selector} is LogQL, and everything else is conditions
    #[arg(long, value_enum, value_name = "LANGUAGE")]
    lang: Option<Language>,
    #[command(flatten)]
    target: Target,
    /// How far back to look: 15m, 2h, 7d; everything by default
    #[arg(long, value_name = "TIME", conflicts_with = "start")]
    since: Option<humantime::Duration>,
    /// How far back to stop looking: 5m; now by default
    #[arg(long, value_name = "TIME", conflicts_with = "end")]
    until: Option<humantime::Duration>,
    /// The first time, RFC 3339 or unix
    #[arg(long, value_name = "TIME")]
    start: Option<String>,
    /// The last time, RFC 3339 or unix
    #[arg(long, value_name = "TIME")]
    end: Option<String>,
    /// The most records; 0 is all
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
    /// Count by steps of time: 10m, 1h; of a metric query, the time between two points
    #[arg(long, value_name = "TIME")]
    step: Option<humantime::Duration>,
    /// Show what would be read and what would be left out, and why
    #[arg(long, conflicts_with_all = ["count", "by", "step"])]
    explain: bool,
    /// Read segments that are in the object store alone from there, not through the server: by signed URLs that it gives.
    /// For conditions
    #[arg(long, conflicts_with_all = ["count", "by", "step", "explain", "data_dir"])]
    local: bool,
    /// The form of the output
    #[arg(short, long, value_enum, default_value_t = Form::Text)]
    output: Form,
}

impl Arguments {
    fn range(&self) -> Result<TimeRange> {
        let parse = |text: &str| {
            time::parse(text.as_bytes()).map_err(|error| Error::invalid(format!("time `{text}`: {error}")))
        };
        let ago =
            |span: humantime::Duration| now_ns().saturating_sub(i64::try_from(span.as_nanos()).unwrap_or(i64::MAX));
        let mut range = TimeRange::ALL;
        if let Some(since) = self.since {
            range.start = ago(since);
        }
        if let Some(until) = self.until {
            range.end = ago(until);
        }
        if let Some(start) = &self.start {
            range.start = parse(start)?;
        }
        if let Some(end) = &self.end {
            range.end = parse(end)?;
        }
        if range.is_empty() {
            return Err(Error::invalid("the first time is after the last").into());
        }
        Ok(range)
    }

    fn order(&self) -> Order {
        if self.oldest_first { Order::OldestFirst } else { Order::NewestFirst }
    }

    fn counts(&self) -> bool {
        self.count || !self.by.is_empty() || self.step.is_some()
    }

    /// What every body has: the range and the order.
    fn body(&self) -> Result<Value> {
        let range = self.range()?;
        let mut body = json!({ "order": if self.oldest_first { "oldest_first" } else { "newest_first" } });
        if range.start != i64::MIN {
            body["start"] = time::format_rfc3339(range.start).into();
        }
        if range.end != i64::MAX {
            body["end"] = time::format_rfc3339(range.end).into();
        }
        Ok(body)
    }
}

/// Asks and prints.
pub fn run(arguments: &Arguments) -> Result<ExitCode> {
    let result = match Asked::of(&arguments.asked, arguments.lang)? {
        Asked::Filter(filter) => native::run(arguments, &filter),
        Asked::Logql(..) if arguments.local => {
            Err(Error::invalid("--local is of conditions (level=error, host!=a): a pipeline is run by the server")
                .into())
        }
        Asked::Logql(text, expr) => logql(arguments, &text, &expr),
    };
    match result {
        Err(error) if !unheard(&error) => Err(error),
        _ => Ok(ExitCode::SUCCESS),
    }
}

fn logql(arguments: &Arguments, text: &str, expr: &Expr) -> Result<()> {
    let database = arguments.target.database()?;
    let expr = match expr {
        Expr::Metric(_) if arguments.explain => {
            return Err(
                Error::invalid("--explain is of log queries: ask it for the part in the brackets' range").into()
            );
        }
        Expr::Metric(_) if arguments.count || !arguments.by.is_empty() => {
            return Err(Error::invalid("--count and --by are of conditions: a metric query counts by itself").into());
        }
        Expr::Metric(expr) => {
            return match &database {
                Some(database) => numbers::local(arguments, database, expr),
                None => numbers::remote(arguments, &arguments.target.client()?, text),
            };
        }
        Expr::Log(_) if arguments.counts() => {
            let hint = "--count, --by and --step are of conditions: ask for sum by (…) (count_over_time({…}[1h]))";
            return Err(Error::invalid(hint).into());
        }
        Expr::Log(expr) => expr,
    };
    if arguments.explain {
        let plan = match &database {
            Some(database) => {
                let query = LogQuery {
                    expr: expr.clone(),
                    range: arguments.range()?,
                    order: arguments.order(),
                    limit: arguments.limit,
                    interval_ns: 0,
                    options: options(),
                };
                serde_json::to_value(database.explain_log_query(&arguments.target.tenant()?, &query)?)?
            }
            None => {
                let mut body = arguments.body()?;
                (body["query"], body["lang"], body["explain"]) = (text.into(), "logql".into(), true.into());
                arguments.target.client()?.post("/api/v1/query", &body)?["data"].take()
            }
        };
        return plan::print(&plan, Some(expr.to_string()), arguments.output);
    }
    match &database {
        Some(database) => lines::print(arguments, &lines::Local { database, arguments, expr }),
        None => {
            let client = arguments.target.client()?;
            lines::print(arguments, &lines::Remote { client: &client, text, order: arguments.order() })
        }
    }
}

/// What an answer of Loki's API could not read.
fn warnings(answer: &Value) -> Vec<String> {
    answer["warnings"].as_array().into_iter().flatten().filter_map(|text| Some(text.as_str()?.to_owned())).collect()
}

/// A time as Loki's API reads it.
fn loki_time(ns: i64) -> String {
    // Up to ten digits would be seconds.
    Some(ns.to_string()).filter(|text| text.len() > 10).unwrap_or_else(|| time::format_rfc3339(ns))
}

/// How LogQL is run over a directory.
fn options() -> Options {
    Options { now_ns: now_ns(), ..Options::default() }
}

fn now_ns() -> i64 {
    timberlog_disk::Env::real().clock.now_ns()
}
