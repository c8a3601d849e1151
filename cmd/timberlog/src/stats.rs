//! `timberlog stats`: what the engine knows of itself.

use crate::output::Output;
use crate::target::Target;
use anyhow::Result;
use clap::Args;
use serde_json::Value;
use std::process::ExitCode;

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
        Output::Json => println!("{}", serde_json::to_string_pretty(&stats)?),
        Output::Jsonl => println!("{stats}"),
        Output::Table => {
            let mut table = comfy_table::Table::new();
            table.load_style(comfy_table::presets::UTF8_HORIZONTAL_ONLY);
            for (name, value) in stats.as_object().into_iter().flatten() {
                let text = match value {
                    Value::String(text) => text.clone(),
                    value => value.to_string(),
                };
                table.add_row([name.clone(), text]);
            }
            println!("{table}");
        }
    }
    Ok(ExitCode::SUCCESS)
}
