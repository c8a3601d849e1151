//! `timberlog delete`: deletes what a selector names, lists deletes, cancels them; from a server or a
//! data directory at rest.

use crate::output::{Output, say};
use crate::target::Target;
use crate::{table, units};
use anyhow::Result;
use clap::{Args, Subcommand};
use serde_json::{Value, json};
use std::process::ExitCode;
use timberlog_db::query::{Cancel, QueryLimits};
use timberlog_db::{DeleteState, DeleteStatus};
use timberlog_types::{Error, TimeRange, time};

/// Flags of `delete`.
#[derive(Args)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub struct Arguments {
    #[command(subcommand)]
    command: Option<Command>,
    /// A LogQL stream selector, which line filters and comparisons of structured metadata with texts may follow: {app="web"} |= "token" | user_id="77"
    #[arg(value_name = "SELECTOR", required = true)]
    selector: Option<String>,
    #[command(flatten)]
    target: Target,
    /// The first time, RFC 3339 or unix; from the beginning by default
    #[arg(long, value_name = "TIME")]
    start: Option<String>,
    /// The last time, RFC 3339 or unix; all that is there by default
    #[arg(long, value_name = "TIME")]
    end: Option<String>,
    /// Count the records and delete none
    #[arg(long)]
    dry_run: bool,
    /// The form of the output
    #[arg(short, long, value_enum, default_value_t = Output::Table)]
    output: Output,
}

#[derive(Subcommand)]
enum Command {
    /// List the deletes of a tenant; processed ones for seven days
    List(ListArguments),
    /// Cancel a delete of which no record was removed from a file
    Cancel(CancelArguments),
}

#[derive(Args)]
struct ListArguments {
    #[command(flatten)]
    target: Target,
    /// The form of the output
    #[arg(short, long, value_enum, default_value_t = Output::Table)]
    output: Output,
}

#[derive(Args)]
struct CancelArguments {
    /// Which one, as `timberlog delete list` tells it
    #[arg(value_name = "ID")]
    id: String,
    #[command(flatten)]
    target: Target,
}

const PATH: &str = "/api/v1/delete";

/// Does what was asked.
pub fn run(arguments: &Arguments) -> Result<ExitCode> {
    match (&arguments.command, &arguments.selector) {
        (Some(Command::List(arguments)), _) => list(arguments)?,
        (Some(Command::Cancel(arguments)), _) => cancel(arguments)?,
        (None, Some(selector)) if arguments.dry_run => count(arguments, selector)?,
        (None, Some(selector)) => delete(arguments, selector)?,
        (None, None) => return Err(Error::invalid("a selector is expected: what to delete").into()),
    }
    Ok(ExitCode::SUCCESS)
}

impl Arguments {
    fn range(&self) -> Result<TimeRange> {
        let parse = |text: &Option<String>, open: i64| match text {
            None => Ok(open),
            Some(text) => {
                time::parse(text.as_bytes()).map_err(|error| Error::invalid(format!("time `{text}`: {error}")))
            }
        };
        let range = TimeRange { start: parse(&self.start, i64::MIN)?, end: parse(&self.end, i64::MAX)? };
        if range.is_empty() {
            return Err(Error::invalid("the first time is after the last").into());
        }
        Ok(range)
    }

    fn body(&self, selector: &str) -> Result<Value> {
        let range = self.range()?;
        Ok(json!({
            "query": selector,
            "start": instant(range.start),
            "end": instant(range.end),
            "dry_run": self.dry_run,
        }))
    }
}

/// A time in the words of the API; null for an open end.
fn instant(ns: i64) -> Option<String> {
    if ns == i64::MIN || ns == i64::MAX { None } else { Some(time::format_rfc3339(ns)) }
}

fn count(arguments: &Arguments, selector: &str) -> Result<()> {
    let (records, missing) = match arguments.target.database()? {
        Some(database) => {
            let (tenant, limits) = (arguments.target.tenant()?, QueryLimits::default());
            let found = database.count_deleted(&tenant, selector, arguments.range()?, limits, &Cancel::default())?;
            (found.groups.iter().map(|group| group.count).sum(), found.missing)
        }
        None => {
            let answer = arguments.target.client()?.post(PATH, &arguments.body(selector)?)?;
            let missing = answer["missing"].as_array().into_iter().flatten();
            let missing = missing.filter_map(Value::as_str).map(str::to_owned).collect();
            (answer["data"]["records"].as_u64().unwrap_or_default(), missing)
        }
    };
    for part in missing {
        eprintln!("warning: not counted, it cannot be read: {part}");
    }
    match arguments.output {
        Output::Table => say!("{} would be deleted", units::records(records)),
        _ => say!("{}", json!({ "records": records })),
    }
    Ok(())
}

fn delete(arguments: &Arguments, selector: &str) -> Result<()> {
    let deleted = match arguments.target.database()? {
        Some(database) => {
            let tombstone = database.delete(&arguments.target.tenant()?, selector, arguments.range()?)?;
            database.close()?;
            let state = DeleteState::Received;
            told(&DeleteStatus { tombstone, state, rows_removed: 0, processed_ns: None })
        }
        None => arguments.target.client()?.post(PATH, &arguments.body(selector)?)?["data"].take(),
    };
    match arguments.output {
        Output::Table => {
            let text = |name: &str| deleted[name].as_str().unwrap_or_default();
            say!("deleted {}", text("query"));
            say!("id {}; `timberlog delete cancel` takes it back until compaction has removed records", text("id"));
        }
        _ => say!("{deleted}"),
    }
    Ok(())
}

fn list(arguments: &ListArguments) -> Result<()> {
    let deletes = match arguments.target.database()? {
        Some(database) => Value::Array(database.deletes(&arguments.target.tenant()?).iter().map(told).collect()),
        None => arguments.target.client()?.get(PATH)?["data"].take(),
    };
    let items = deletes.as_array().map(Vec::as_slice).unwrap_or_default();
    match arguments.output {
        Output::Json => say!("{}", serde_json::to_string_pretty(&deletes)?),
        Output::Jsonl => items.iter().for_each(|item| say!("{item}")),
        Output::Table if items.is_empty() => say!("there are no deletes"),
        Output::Table => {
            let mut table = table::with_header(["id", "asked for", "state", "#removed", "from", "to", "selector"]);
            for item in items {
                let text = |name: &str| item[name].as_str().unwrap_or("-").to_owned();
                // To the second.
                let time = |name: &str| item[name].as_str().and_then(|text| text.get(..19)).unwrap_or("-").to_owned();
                table.add_row([
                    text("id"),
                    time("created_at"),
                    text("state"),
                    units::count(item["records_removed"].as_u64().unwrap_or_default()),
                    time("start"),
                    time("end"),
                    text("query"),
                ]);
            }
            table::print(&table);
        }
    }
    Ok(())
}

fn cancel(arguments: &CancelArguments) -> Result<()> {
    match arguments.target.database()? {
        Some(database) => {
            database.cancel_delete(&arguments.target.tenant()?, &arguments.id)?;
            database.close()?;
        }
        None => {
            arguments.target.client()?.delete(PATH, &[("id", &arguments.id)])?;
        }
    }
    say!("cancelled {}: its records are back", arguments.id);
    Ok(())
}

/// A delete in the shape of `GET /api/v1/delete`.
fn told(delete: &DeleteStatus) -> Value {
    let tombstone = &delete.tombstone;
    json!({
        "id": tombstone.id,
        "query": tombstone.selector,
        "start": instant(tombstone.range.start),
        "end": instant(tombstone.range.end),
        "created_at": instant(tombstone.created_ns),
        "state": match delete.state {
            DeleteState::Received => "received",
            DeleteState::Processed => "processed",
        },
        "records_removed": delete.rows_removed,
        "processed_at": delete.processed_ns.and_then(instant),
    })
}
