//! Any text as a configuration file, and as what flags take: rules of retention, conditions, sizes,
//! durations. The parsers of the binary are compiled in here: it has no library.

#![allow(dead_code, missing_docs, reason = "of the binary's files only the parsers are run")]

#[path = "../../../cmd/timberlog/src/condition.rs"]
mod condition;
#[path = "../../../cmd/timberlog/src/config.rs"]
mod file;
#[path = "../../../cmd/timberlog/src/serve/retention.rs"]
mod retention;

use clap::{CommandFactory, Parser};
use std::str::FromStr;

/// A command with flags of each kind that `serve` has.
#[derive(Parser)]
#[command(no_binary_name = true)]
struct Serve {
    #[command(flatten)]
    retention: retention::Retention,
    #[arg(long)]
    buffer_bytes: Option<bytesize::ByteSize>,
    #[arg(long, value_delimiter = ',')]
    stream_labels: Vec<String>,
    #[arg(long)]
    streams_max: Option<u32>,
    #[arg(long)]
    demo: bool,
}

/// See the module.
pub fn config(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    if let Ok(settings) = file::settings(text)
        && let Ok(flags) = file::flags(&settings, &Serve::command())
        && let Ok(serve) = Serve::try_parse_from(flags)
    {
        let _ = serve.retention.apply(timberlog_db::Options::new("data"));
    }
    let _ = (humantime::parse_duration(text), bytesize::ByteSize::from_str(text));
    let _ = retention::Rule::from_str(text);
    let conditions: Vec<String> = text.lines().map(str::to_owned).collect();
    if let Ok(filter) = condition::parse(&conditions) {
        let _ = timberlog_filter::Compiled::new(&filter);
    }
}
