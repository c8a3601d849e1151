//! `timberlog backup verify`.

use super::watch::Shown;
use super::{instant, say_json};
use crate::output::{Output, say};
use crate::store::StoreFlags;
use crate::{exit, units};
use anyhow::Result;
use clap::Args;
use std::process::ExitCode;
use timberlog_db::Env;
use timberlog_storage::backup::{self, Depth};

/// Flags of `backup verify`.
#[derive(Args)]
pub struct Arguments {
    /// The backup; `latest` is the newest one
    #[arg(value_name = "BACKUP", default_value = "latest")]
    backup: String,
    #[command(flatten)]
    store: StoreFlags,
    /// Look at names, sizes and the chain of the manifest only; everything is read otherwise
    #[arg(long)]
    quick: bool,
    /// Where segments are that the backup refers to; without it the store that its record names
    #[arg(long, value_name = "URL", env = "TIMBERLOG_TIER_STORE")]
    tier_store: Option<String>,
    /// The form of the output
    #[arg(short, long, value_enum, default_value_t = Output::Table)]
    output: Output,
}

impl Arguments {
    /// Where cold segments are, if anybody says.
    fn cold_store<'a>(&'a self, recorded: &'a str) -> Option<&'a str> {
        self.tier_store.as_deref().or(Some(recorded)).filter(|url| !url.is_empty())
    }
}

/// Checks and tells.
pub fn run(arguments: &Arguments) -> Result<ExitCode> {
    let env = Env::real();
    let store = arguments.store.open(&env)?;
    let record = backup::find(&*store, &arguments.backup)?;
    let depth = if arguments.quick { Depth::Quick } else { Depth::Full };
    let shown = Shown::start();
    let verified = backup::verify(&store, &record, depth, &|event| shown.event(event));
    shown.finish();
    let mut verified = verified?;
    let mut unseen = None;
    if let Some(referenced) = &record.referenced {
        match arguments.cold_store(&referenced.store) {
            Some(url) => {
                verified.damage.extend(backup::missing_cold(&*store, &*arguments.store.open_url(url, &env)?, &record)?)
            }
            None => unseen = Some(referenced.segments),
        }
    }
    match arguments.output {
        form @ (Output::Json | Output::Jsonl) => say_json(&verified, form)?,
        Output::Table => {
            let (whole, files) = (units::count(verified.files_whole), units::count(verified.files));
            let (bytes, records) = (units::bytes(verified.bytes), units::records(verified.records));
            say!("backup {}: {whole} of {files} files are whole, {bytes}, {records}", verified.id);
            if let Some(until) = verified.archive_until {
                let (objects, batches) =
                    (units::count(verified.archive_objects), units::count(verified.archive_batches));
                say!(
                    "archive behind it: {batches} batches in {objects} objects; every second up to {}",
                    instant(until)
                );
            }
            if let Some(segments) = unseen {
                say!(
                    "{} are in an object store alone, which is not known: --tier-store names it",
                    format_args!("{} segments", units::count(segments))
                );
            }
            verified.damage.iter().for_each(|damage| say!("damaged: {damage}"));
            say!(
                "{}",
                match (verified.damage.is_empty(), arguments.quick) {
                    (true, false) => "it can be restored",
                    (true, true) => "names, sizes and manifest are right; without --quick everything is read",
                    (false, _) => "it cannot be restored as it is",
                }
            );
        }
    }
    Ok(if verified.damage.is_empty() { ExitCode::SUCCESS } else { ExitCode::from(exit::DAMAGED) })
}
