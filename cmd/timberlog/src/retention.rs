//! `timberlog retention`: what a server keeps for how long, and the word that its clock is right.

use crate::output::{Output, say};
use crate::target::Target;
use crate::{table, units};
use anyhow::Result;
use clap::{Args, Subcommand};
use serde_json::{Value, json};
use std::process::ExitCode;
use std::time::Duration;
use timberlog_client::Client;
use timberlog_types::Error;

/// What is asked of retention.
#[derive(Subcommand)]
pub enum Arguments {
    /// Show the rules, the clock, and whether something is put off
    Status(StatusArguments),
    /// Say that the clock is right: what retention has put off goes on
    Confirm(StatusArguments),
}

/// Flags of both.
#[derive(Args)]
pub struct StatusArguments {
    #[command(flatten)]
    target: Target,
    /// The form of the output
    #[arg(short, long, value_enum, default_value_t = Output::Table)]
    output: Output,
}

impl StatusArguments {
    fn client(&self) -> Result<Client> {
        if self.target.data_dir.is_some() {
            let message = "a data directory has no rules of its own: `serve` is told them with --retention";
            return Err(Error::invalid(message).into());
        }
        self.target.client()
    }
}

/// Does what was asked.
pub fn run(arguments: &Arguments) -> Result<ExitCode> {
    let (arguments, answer) = match arguments {
        Arguments::Status(arguments) => (arguments, arguments.client()?.get("/api/v1/admin/retention")?),
        Arguments::Confirm(arguments) => {
            (arguments, arguments.client()?.post("/api/v1/admin/retention/confirm", &json!({}))?)
        }
    };
    let status = &answer["data"];
    match arguments.output {
        Output::Json => say!("{}", serde_json::to_string_pretty(status)?),
        Output::Jsonl => say!("{status}"),
        Output::Table => show(status),
    }
    Ok(ExitCode::SUCCESS)
}

fn show(status: &Value) {
    let mut table = table::bare();
    let rules = status["rules"].as_array().map(Vec::as_slice).unwrap_or_default();
    if rules.is_empty() {
        table.add_row(["records are kept", "for ever"]);
    }
    for rule in rules {
        let age = units::duration(Duration::from_secs(rule["age_seconds"].as_u64().unwrap_or_default()));
        let tenant = rule["tenant"].as_str().map_or("every tenant".to_owned(), |tenant| format!("tenant {tenant}"));
        let selector = rule["selector"].as_str().map_or(String::new(), |selector| format!(", {selector}"));
        table.add_row([format!("{tenant}{selector}"), age]);
    }
    let bytes = status["bytes"].as_u64().unwrap_or_default();
    let most = status["bytes_max"].as_u64().map_or(String::new(), |max| format!(" of {}", units::bytes(max)));
    table.add_row(["segments".to_owned(), format!("{}{most}", units::bytes(bytes))]);
    table.add_row(["clock", status["clock"].as_str().unwrap_or("-")]);
    if let Some(reason) = status["paused"].as_str() {
        table.add_row(["paused", reason]);
    }
    table::print(&table);
}
