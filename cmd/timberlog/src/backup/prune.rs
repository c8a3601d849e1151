//! `timberlog backup prune`.

use super::say_json;
use super::watch::Shown;
use crate::output::{Output, say};
use crate::store::StoreFlags;
use crate::units;
use anyhow::Result;
use clap::Args;
use std::process::ExitCode;
use timberlog_db::Env;
use timberlog_storage::backup;

/// Flags of `backup prune`.
#[derive(Args)]
pub struct Arguments {
    #[command(flatten)]
    store: StoreFlags,
    /// How many backups of each database are kept: the newest
    #[arg(long, value_name = "N")]
    keep_last: usize,
    /// How long what an interrupted backup has copied is kept, for the next one to go on
    #[arg(long, value_name = "TIME", default_value = "24h")]
    grace: humantime::Duration,
    /// Only say what would be deleted
    #[arg(long)]
    dry_run: bool,
    /// The form of the output
    #[arg(short, long, value_enum, default_value_t = Output::Table)]
    output: Output,
}

/// Deletes.
pub fn run(arguments: &Arguments) -> Result<ExitCode> {
    let env = Env::real();
    let store = arguments.store.open(&env)?;
    let shown = Shown::start();
    let pruned = backup::prune(&env, &*store, arguments.keep_last, *arguments.grace, arguments.dry_run, &|event| {
        shown.event(event)
    });
    shown.finish();
    let pruned = pruned?;
    match arguments.output {
        form @ (Output::Json | Output::Jsonl) => say_json(&pruned, form)?,
        Output::Table => {
            let verb = if arguments.dry_run { "would be deleted" } else { "deleted" };
            pruned.backups.iter().for_each(|id| say!("{verb}: backup {id}"));
            let (objects, bytes) = (units::count(pruned.objects), units::bytes(pruned.bytes));
            say!("{verb}: {objects} files that no backup needs, {bytes}; {} backups are kept", pruned.kept.len());
            if pruned.archive_objects > 0 {
                let (objects, bytes) = (units::count(pruned.archive_objects), units::bytes(pruned.archive_bytes));
                say!("{verb}: {objects} objects of the archive that all kept backups hold already, {bytes}");
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}
