//! `timberlog backup create`.

use super::remote::RemoteSource;
use super::say_json;
use super::watch::Shown;
use crate::output::{Output, say};
use crate::store::StoreFlags;
use crate::units;
use anyhow::Result;
use clap::Args;
use serde_json::json;
use std::path::PathBuf;
use std::process::ExitCode;
use timberlog_db::Env;
use timberlog_storage::backup::{self, BackupRecord, RestSource, Source};

/// Flags of `backup create`.
#[derive(Args)]
pub struct Arguments {
    #[command(flatten)]
    store: StoreFlags,
    /// The server; not asked with `--data-dir`
    #[arg(long, value_name = "URL", env = "TIMBERLOG_ADDR", default_value = "http://127.0.0.1:3100")]
    addr: String,
    /// A data directory that no server has open, instead of a server; it is not changed
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// Copy segments that are in the object store alone, too; without it the backup refers to them, and they must
    /// still be there when it is restored
    #[arg(long, conflicts_with = "data_dir")]
    include_cold: bool,
    /// The form of the output
    #[arg(short, long, value_enum, default_value_t = Output::Table)]
    output: Output,
}

/// Makes a backup.
pub fn run(arguments: &Arguments) -> Result<ExitCode> {
    let env = Env::real();
    let store = arguments.store.open(&env)?;
    let rest;
    let remote;
    let source: &dyn Source = match &arguments.data_dir {
        Some(dir) => {
            rest = RestSource::open(&env, dir)?;
            &rest
        }
        None => {
            remote = RemoteSource::pin(&arguments.addr, arguments.include_cold)?;
            &remote
        }
    };
    let shown = Shown::start();
    let created = backup::create(&env, &*store, source, &|event| shown.event(event));
    shown.finish();
    let record = created?.record;
    match arguments.output {
        form @ (Output::Json | Output::Jsonl) => say_json(&summary(&record), form)?,
        Output::Table => {
            say!(
                "backup {}: {} in {} files, {} ({} new)",
                record.id,
                units::records(record.records),
                units::count(record.files.len() as u64),
                units::bytes(record.bytes()),
                units::bytes(record.copied_bytes)
            );
            if let Some(referenced) = &record.referenced {
                say!(
                    "refers to {} segments ({}) in {}, which it does not hold (`--include-cold` copies them)",
                    units::count(referenced.segments),
                    units::bytes(referenced.bytes),
                    if referenced.store.is_empty() { "the object store" } else { &referenced.store }
                );
            }
            if let Some(wal) = &record.wal {
                say!("with batches {} to {} of the WAL, which are in no segment yet", wal.first_seq, wal.last_seq);
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// A record without its files.
pub fn summary(record: &BackupRecord) -> serde_json::Value {
    json!({
        "id": record.id,
        "database_id": record.database_id,
        "time": timberlog_types::time::format_rfc3339(record.pinned),
        "finished": timberlog_types::time::format_rfc3339(record.finished),
        "program": record.program,
        "version": record.version,
        "seq": record.seq,
        "flushed_seq": record.flushed_seq,
        "records": record.records,
        "referenced": record.referenced,
        "files": record.files.len(),
        "bytes": record.bytes(),
        "copied_files": record.copied_files,
        "copied_bytes": record.copied_bytes,
        "wal": record.wal,
    })
}
