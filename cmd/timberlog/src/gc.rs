//! `timberlog gc`: removes from a tier's store what none of its roots names: what was dropped, and what crashed
//! uploads left. Without `--yes` it only says what that would be.

use crate::output::{Output, say};
use crate::store::S3Flags;
use crate::units;
use anyhow::Result;
use clap::Args;
use serde_json::json;
use std::process::ExitCode;
use timberlog_db::Env;
use timberlog_storage::tier::gc::{self, GcMode};

/// Flags of `gc`.
#[derive(Args)]
pub struct Arguments {
    /// Where a node's old segments are: s3://bucket/prefix or file:///folder
    #[arg(long, value_name = "URL", env = "TIMBERLOG_TIER_STORE")]
    store: String,
    #[command(flatten)]
    s3: S3Flags,
    /// How long an object stays after nothing names it any more; not less than the server's
    #[arg(long, value_name = "TIME", env = "TIMBERLOG_GC_GRACE", default_value = "1h")]
    gc_grace: humantime::Duration,
    /// Do it
    #[arg(long, visible_alias = "delete")]
    yes: bool,
    /// The form of the output
    #[arg(short, long, value_enum, default_value_t = Output::Table)]
    output: Output,
}

/// Looks, and deletes if it may.
pub fn run(arguments: &Arguments) -> Result<ExitCode> {
    let env = Env::real();
    let store = timberlog_objects::open(&arguments.store, &arguments.s3.options()?, &env)?;
    let mode = if arguments.yes { GcMode::Delete } else { GcMode::DryRun };
    let report = gc::collect(&env, &*store, *arguments.gc_grace, mode, None)?;
    let document = || {
        let keys: Vec<&str> = report.garbage.iter().map(|object| object.key.as_str()).collect();
        json!({
            "version": report.version,
            "roots_kept": report.roots_kept,
            "objects_named": report.named,
            "objects_young": report.young,
            "objects": keys,
            "bytes": report.bytes(),
            "uploads": report.uploads,
            "deleted": report.deleted,
        })
    };
    match arguments.output {
        Output::Json => say!("{}", serde_json::to_string_pretty(&document())?),
        Output::Jsonl => say!("{}", document()),
        Output::Table => {
            report.garbage.iter().for_each(|object| say!("{}  {}", units::bytes(object.size), object.key));
            let verb = if report.deleted { "deleted" } else { "would be deleted" };
            let (objects, bytes) = (units::count(report.garbage.len() as u64), units::bytes(report.bytes()));
            say!("{verb}: {objects} objects that no root names, {bytes}; {} unfinished uploads", report.uploads);
            say!("kept: {} that a root names, {} that are too young", units::count(report.named), report.young);
            if !report.deleted {
                say!("nothing was changed; --yes does it");
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}
