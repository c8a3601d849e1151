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
    if let Ok(text) = std::str::from_utf8(input) {
        read(text);
    }
}

/// What a text is of what it could be.
pub(crate) fn read(text: &str) -> [(&'static str, bool); 8] {
    let settings = file::settings(text).ok();
    let flags = settings.as_ref().and_then(|settings| file::flags(settings, &Serve::command()).ok());
    let serve = flags.as_ref().and_then(|flags| Serve::try_parse_from(flags).ok());
    let options = serve.as_ref().map(|serve| serve.retention.apply(timberlog_db::Options::new("data")));
    let conditions: Vec<String> = text.lines().map(str::to_owned).collect();
    let filter = condition::parse(&conditions).ok();
    [
        ("settings", settings.is_some()),
        ("settings of `serve`", flags.is_some()),
        ("values of its flags", serve.is_some()),
        ("retention", options.is_some_and(|options| options.is_ok())),
        ("a duration", humantime::parse_duration(text).is_ok()),
        ("a size", bytesize::ByteSize::from_str(text).is_ok()),
        ("a rule", retention::Rule::from_str(text).is_ok()),
        ("conditions", filter.is_some_and(|filter| timberlog_filter::Compiled::new(&filter).is_ok())),
    ]
}
