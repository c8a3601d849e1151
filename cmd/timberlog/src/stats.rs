//! `timberlog stats`: what the engine knows of itself.

use crate::output::{Output, say};
use crate::target::Target;
use crate::{table, units};
use anyhow::Result;
use clap::Args;
use serde_json::Value;
use std::process::ExitCode;
use std::time::Duration;
use timberlog_types::time;

/// Flags of `stats`.
#[derive(Args)]
pub struct Arguments {
    #[command(flatten)]
    target: Target,
    /// The form of the output
    #[arg(short, long, value_enum, default_value_t = Output::Table)]
    output: Output,
}

/// Asks and prints.
pub fn run(arguments: &Arguments) -> Result<ExitCode> {
    let stats = match arguments.target.database()? {
        Some(database) => serde_json::to_value(database.stats())?,
        None => arguments.target.client()?.get("/stats")?,
    };
    match arguments.output {
        Output::Json => say!("{}", serde_json::to_string_pretty(&stats)?),
        Output::Jsonl => say!("{stats}"),
        Output::Table => {
            let mut table = table::bare();
            let mut rows = Vec::new();
            flatten("", &stats, &mut rows);
            for (name, text) in rows {
                table.add_row([name, text]);
            }
            table::print(&table);
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// `engine.buffer_bytes` and `12.5 MiB`: a row for each value, a row for each item of a list.
fn flatten(name: &str, value: &Value, rows: &mut Vec<(String, String)>) {
    match value {
        Value::Object(members) => {
            for (member, value) in members {
                let name = if name.is_empty() { member.clone() } else { format!("{name}.{member}") };
                flatten(&name, value, rows);
            }
        }
        Value::Array(items) if items.is_empty() => rows.push((name.to_owned(), "none".to_owned())),
        Value::Array(items) => items.iter().for_each(|item| flatten(name, item, rows)),
        Value::Null => rows.push((name.to_owned(), "-".to_owned())),
        Value::String(text) => rows.push((name.to_owned(), text.clone())),
        value => rows.push((name.to_owned(), with_unit(name, value))),
    }
}

/// A number with the unit that its name says it has.
fn with_unit(name: &str, value: &Value) -> String {
    let last = name.rsplit('.').next().unwrap_or(name);
    if last.starts_with("timestamp_") {
        return value.as_i64().map_or_else(|| value.to_string(), time::format_rfc3339);
    }
    let seconds = if last.ends_with("_seconds") { value.as_f64() } else { None };
    if let Some(seconds) = seconds.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok()) {
        return units::duration(seconds);
    }
    match (value.as_u64(), value.as_f64()) {
        (Some(number), _) if last.ends_with("_ns") => units::duration(Duration::from_nanos(number)),
        (Some(number), _) if last.ends_with("_bytes") || last.starts_with("bytes_") => units::bytes(number),
        (Some(number), _) => units::count(number),
        (None, Some(number)) if value.is_f64() => format!("{number:.1}"),
        _ => value.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn nested_statistics_become_rows_with_units() {
        let stats = json!({
            "uptime_seconds": 75, "durability": "fsync",
            "engine": {
                "buffer_bytes": 2048, "bytes_appended": 1 << 20, "segments": 1234, "flush_ns": 2_000_000,
                "timestamp_min": 0, "timestamp_max": null, "damage": [], "flush_error": ["a", "b"],
            },
        });
        let mut rows = Vec::new();
        flatten("", &stats, &mut rows);
        let text: Vec<String> = rows.iter().map(|(name, value)| format!("{name} {value}")).collect();
        for expected in [
            "uptime_seconds 1m 15s",
            "durability fsync",
            "engine.buffer_bytes 2.0 KiB",
            "engine.bytes_appended 1.0 MiB",
            "engine.segments 1,234",
            "engine.flush_ns 2.0 ms",
            "engine.timestamp_max -",
            "engine.damage none",
            "engine.flush_error a",
            "engine.flush_error b",
        ] {
            assert!(text.contains(&expected.to_owned()), "{expected}: {text:#?}");
        }
        let oldest = text.iter().find(|row| row.starts_with("engine.timestamp_min ")).unwrap();
        assert!(oldest.contains("1970-01-01T00:00:00"), "{oldest}");
    }
}
