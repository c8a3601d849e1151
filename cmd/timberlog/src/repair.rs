//! `timberlog repair`: gives up what is damaged, so that the rest is whole again. Without `--yes`
//! it only says what that would be.

use crate::output::{Output, say};
use crate::{exit, units, verify};
use anyhow::Result;
use clap::Args;
use serde_json::{Value, json};
use std::path::PathBuf;
use std::process::ExitCode;
use timberlog_db::{Env, Options, Storage};
use timberlog_storage::Repaired;
use timberlog_storage::verify::Report;

/// Flags of `repair`.
#[derive(Args)]
pub struct Arguments {
    /// A data directory that no server has open
    #[arg(long, value_name = "DIR", env = "TIMBERLOG_DATA_DIR")]
    data_dir: PathBuf,
    /// Do it: what is damaged is lost for good
    #[arg(long)]
    yes: bool,
    /// Fields with an index of their own in segments that are written anew, comma-separated; as for `serve`
    #[arg(long = "index", value_name = "FIELDS", env = "TIMBERLOG_INDEX", value_delimiter = ',')]
    index: Vec<String>,
    /// The form of the output
    #[arg(short, long, value_enum, default_value_t = Output::Table)]
    output: Output,
}

/// Looks, and repairs if it may.
pub fn run(arguments: &Arguments) -> Result<ExitCode> {
    let damage = match verify::check(&arguments.data_dir) {
        Ok(report) if !arguments.yes => return would(arguments, &report),
        Ok(report) => report.damage,
        // Not even the manifest can be read: repairing is worth a try, but nothing else is. What is
        // missing or in use stays as it is; repairing must not create a database.
        Err(error) if arguments.yes && exit::code(&error) == exit::DAMAGED => vec![format!("{error:#}")],
        Err(error) => return Err(error),
    };
    let repaired = if damage.is_empty() {
        Repaired::default()
    } else {
        let user_indexes = arguments.index.iter().filter(|name| !name.is_empty()).cloned().collect();
        let options = Options { user_indexes, ..Options::new(&arguments.data_dir) };
        Storage::repair(&options, &Env::real())?
    };
    let left = if damage.is_empty() { damage } else { verify::check(&arguments.data_dir)?.damage };
    match arguments.output {
        Output::Table if repaired.actions.is_empty() && left.is_empty() => {
            say!("everything is whole: nothing to repair")
        }
        Output::Table => {
            repaired.actions.iter().for_each(|action| say!("{action}"));
            say!("lost from segments: {}", units::records(repaired.records_lost));
            left.iter().for_each(|damage| say!("still damaged: {damage}"));
            say!("{}", if left.is_empty() { "everything that is left is whole" } else { "there is damage left" });
        }
        _ => document(
            arguments,
            &json!({ "records_lost": repaired.records_lost, "actions": repaired.actions, "damage_left": left }),
        )?,
    }
    Ok(if left.is_empty() { ExitCode::SUCCESS } else { ExitCode::from(exit::DAMAGED) })
}

/// What a repair would give up.
fn would(arguments: &Arguments, report: &Report) -> Result<ExitCode> {
    let lost = report.records.saturating_sub(report.records_whole);
    match arguments.output {
        Output::Table if report.damage.is_empty() => say!("everything is whole: nothing to repair"),
        Output::Table => {
            verify::print(report);
            say!("a repair would give up {} of segments, and what else is damaged", units::records(lost));
            say!("nothing was changed; --yes does it");
        }
        _ => document(arguments, &json!({ "records_to_lose": lost, "damage": report.damage }))?,
    }
    Ok(if report.damage.is_empty() { ExitCode::SUCCESS } else { ExitCode::from(exit::DAMAGED) })
}

fn document(arguments: &Arguments, value: &Value) -> Result<()> {
    match arguments.output {
        Output::Jsonl => say!("{value}"),
        _ => say!("{}", serde_json::to_string_pretty(value)?),
    }
    Ok(())
}
