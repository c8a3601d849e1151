//! `timberlog backup restore`.

use super::say_json;
use super::watch::Shown;
use crate::output::{Output, say};
use crate::store::StoreFlags;
use crate::units;
use anyhow::Result;
use clap::Args;
use std::path::PathBuf;
use std::process::ExitCode;
use timberlog_db::Env;
use timberlog_storage::backup::{self, Selection};
use timberlog_types::{Day, Error, Tenant, time};

/// Flags of `backup restore`.
#[derive(Args)]
pub struct Arguments {
    /// The backup; `latest` is the newest one
    #[arg(value_name = "BACKUP", default_value = "latest")]
    backup: String,
    #[command(flatten)]
    store: StoreFlags,
    /// Where to: an empty directory, or one in which the same restore was interrupted
    #[arg(long, value_name = "DIR")]
    data_dir: PathBuf,
    /// The state of this second: 2026-11-21T10:15:00Z, or `latest` for all that is known. From the newest backup by
    /// then (or from BACKUP) and the archive
    #[arg(long, value_name = "TIME")]
    at: Option<String>,
    /// Only this tenant
    #[arg(long, value_name = "NAME")]
    tenant: Option<String>,
    /// Only records from this UTC day on: 2026-11-21
    #[arg(long, value_name = "DAY")]
    from: Option<String>,
    /// Only records up to this UTC day, included
    #[arg(long, value_name = "DAY")]
    to: Option<String>,
    /// The form of the output
    #[arg(short, long, value_enum, default_value_t = Output::Table)]
    output: Output,
}

fn day(flag: &str, text: Option<&String>) -> Result<Option<Day>> {
    let parse = |text: &String| {
        Day::parse(text).ok_or_else(|| Error::invalid(format!("{flag} `{text}`: expected a day as 2026-11-21")))
    };
    Ok(text.map(parse).transpose()?)
}

/// A time of `--at`, in ns since 1970 UTC.
fn instant(text: &str) -> Result<i64> {
    Ok(time::parse_rfc3339(text.as_bytes())
        .map_err(|error| Error::invalid(format!("--at `{text}`: {error}; expected a time as 2026-11-21T10:15:00Z")))?)
}

/// Restores.
pub fn run(arguments: &Arguments) -> Result<ExitCode> {
    let selection = Selection {
        tenant: arguments.tenant.as_deref().map(Tenant::new).transpose()?,
        from: day("--from", arguments.from.as_ref())?,
        to: day("--to", arguments.to.as_ref())?,
    };
    if let (Some(from), Some(to)) = (selection.from, selection.to)
        && from > to
    {
        return Err(Error::invalid("--from is after --to").into());
    }
    let env = Env::real();
    let store = arguments.store.open(&env)?;
    let found = match arguments.at.as_deref() {
        None => None,
        Some("latest") => Some(backup::find_latest(&*store, &arguments.backup)?),
        Some(text) => Some(backup::find_at(&*store, &arguments.backup, instant(text)?)?),
    };
    let dir = &arguments.data_dir;
    let shown = Shown::start();
    let watch = |event: backup::Event<'_>| shown.event(event);
    let restored = match found {
        None => backup::find(&*store, &arguments.backup)
            .and_then(|record| backup::restore(&env, &*store, &record, dir, &selection, &watch)),
        Some(found) => backup::restore_at(&env, &*store, &found, dir, &selection, &watch),
    };
    shown.finish();
    let restored = restored?;
    match arguments.output {
        form @ (Output::Json | Output::Jsonl) => say_json(&restored, form)?,
        Output::Table => {
            say!(
                "backup {} is restored: {} in {} segments, {}",
                restored.id,
                units::records(restored.records),
                units::count(restored.segments),
                units::bytes(restored.bytes)
            );
            if restored.wal_batches > 0 {
                say!("with {} batches of the WAL behind its segments", units::count(restored.wal_batches));
            }
            let dir = arguments.data_dir.display();
            say!("timberlog verify --data-dir {dir}   checks it");
            say!("timberlog serve --data-dir {dir}   serves it");
        }
    }
    Ok(ExitCode::SUCCESS)
}
