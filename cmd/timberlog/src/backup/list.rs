//! `timberlog backup list` and `timberlog backup show`.

use super::create::summary;
use super::instant;
use crate::output::{Output, say};
use crate::store::StoreFlags;
use crate::{exit, table, units};
use anyhow::Result;
use clap::Args;
use serde_json::{Value, json};
use std::process::ExitCode;
use timberlog_db::Env;
use timberlog_storage::backup::{self, Listed, Reachable};

/// Flags of `backup list`.
#[derive(Args)]
pub struct Arguments {
    #[command(flatten)]
    store: StoreFlags,
    /// The form of the output
    #[arg(short, long, value_enum, default_value_t = Output::Table)]
    output: Output,
}

/// Flags of `backup show`.
#[derive(Args)]
pub struct ShowArguments {
    /// The backup; `latest` is the newest one
    #[arg(value_name = "BACKUP", default_value = "latest")]
    backup: String,
    #[command(flatten)]
    store: StoreFlags,
    /// Name every file
    #[arg(long)]
    files: bool,
    /// The form of the output
    #[arg(short, long, value_enum, default_value_t = Output::Table)]
    output: Output,
}

/// Lists.
pub fn run(arguments: &Arguments) -> Result<ExitCode> {
    let store = arguments.store.open(&Env::real())?;
    let listed = backup::list(&*store)?;
    let reachable = backup::reachable(&*store)?;
    let line = |listed| line(listed, &reachable);
    match arguments.output {
        Output::Json => say!("{}", serde_json::to_string_pretty(&listed.iter().map(line).collect::<Vec<_>>())?),
        Output::Jsonl => listed.iter().for_each(|listed| say!("{}", line(listed))),
        Output::Table if listed.is_empty() => say!("there are no backups in `{}`", store.describe()),
        Output::Table => {
            let mut table = table::with_header(["backup", "time", "#records", "#files", "#size", "#new", "database"]);
            for Listed { id, record } in &listed {
                match record {
                    Ok(record) => table.add_row([
                        id.clone(),
                        instant(record.pinned),
                        units::count(record.records),
                        units::count(record.files.len() as u64),
                        units::bytes(record.bytes()),
                        units::bytes(record.copied_bytes),
                        record.database_id.get(..8).unwrap_or_default().to_owned(),
                    ]),
                    Err(error) => table.add_row([id.clone(), format!("damaged: {error}")]),
                };
            }
            table::print(&table);
        }
    }
    if arguments.output == Output::Table {
        for range in reachable {
            let database = range.database_id.get(..8).unwrap_or_default();
            // The first whole second.
            let from = range.from.saturating_add(999_999_999);
            if from.div_euclid(1_000_000_000) <= range.to.div_euclid(1_000_000_000) {
                let (from, to) = (instant(from), instant(range.to));
                say!("database {database}: every second from {from} to {to} (restore --at)");
            }
            if let Some(gap) = range.gap {
                say!("  then {gap}");
            }
        }
    }
    let is_whole = listed.iter().all(|listed| listed.record.is_ok());
    Ok(if is_whole { ExitCode::SUCCESS } else { ExitCode::from(exit::DAMAGED) })
}

fn line(listed: &Listed, reachable: &[Reachable]) -> Value {
    match &listed.record {
        Ok(record) => {
            let mut line = summary(record);
            line["restorable"] = reachable.iter().find(|range| range.has(record)).map_or(Value::Null, span);
            let of_database = reachable.iter().filter(|range| range.database_id == record.database_id);
            line["restorable_spans"] = of_database.map(span).collect();
            line
        }
        Err(error) => json!({ "id": listed.id, "damage": error.to_string() }),
    }
}

fn span(range: &Reachable) -> Value {
    let text = timberlog_types::time::format_rfc3339;
    json!({ "from": text(range.from), "to": text(range.to), "gap": range.gap })
}

/// Shows.
pub fn show(arguments: &ShowArguments) -> Result<ExitCode> {
    let store = arguments.store.open(&Env::real())?;
    let record = backup::find(&*store, &arguments.backup)?;
    let mut value = summary(&record);
    if arguments.files {
        value["files"] = serde_json::to_value(&record.files)?;
    }
    match arguments.output {
        Output::Json => say!("{}", serde_json::to_string_pretty(&value)?),
        Output::Jsonl => say!("{value}"),
        Output::Table => {
            let mut table = table::bare();
            let rows = [
                ("backup", record.id.clone()),
                ("holds", format!("everything acknowledged before {}", instant(record.pinned))),
                ("finished", instant(record.finished)),
                ("database", record.database_id.clone()),
                ("written by", format!("timberlog {}", record.program)),
                ("manifest version", record.version.to_string()),
                ("up to batch", units::count(record.seq)),
                ("records in segments", units::count(record.records)),
                ("files", units::count(record.files.len() as u64)),
                ("size", units::bytes(record.bytes())),
                ("new in it", format!("{} files, {}", record.copied_files, units::bytes(record.copied_bytes))),
            ];
            for (name, text) in rows {
                table.add_row([name.to_owned(), text]);
            }
            if let Some(wal) = &record.wal {
                let text = format!("batches {} to {}, {}", wal.first_seq, wal.last_seq, units::bytes(wal.len));
                table.add_row(["end of the WAL".to_owned(), text]);
            }
            table::print(&table);
            if arguments.files {
                let mut table = table::with_header(["file", "#bytes", "#CRC32C"]);
                for file in &record.files {
                    table.add_row([file.path.clone(), units::count(file.len), format!("{:08x}", file.crc32c)]);
                }
                say!("");
                table::print(&table);
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}
