//! `timberlog verify`: every checksum of a data directory, every index against its blocks, the
//! manifest chain, the WAL. Changes nothing.

use crate::output::{Output, say};
use crate::{exit, table, units};
use anyhow::Result;
use clap::Args;
use indicatif::ProgressBar;
use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use timberlog_db::Env;
use timberlog_storage::manifest::{MANIFEST_DIR, POINTER_FILE};
use timberlog_storage::verify::{self, Report};
use timberlog_types::{Error, ErrorKind};

/// Flags of `verify`.
#[derive(Args)]
pub struct Arguments {
    /// A data directory that no server has open
    #[arg(long, value_name = "DIR", env = "TIMBERLOG_DATA_DIR")]
    data_dir: PathBuf,
    /// The form of the output
    #[arg(short, long, value_enum, default_value_t = Output::Table)]
    output: Output,
}

/// Checks and tells.
pub fn run(arguments: &Arguments) -> Result<ExitCode> {
    let report = check(&arguments.data_dir)?;
    match arguments.output {
        Output::Json => say!("{}", serde_json::to_string_pretty(&report)?),
        Output::Jsonl => say!("{}", serde_json::to_string(&report)?),
        Output::Table => print(&report),
    }
    Ok(if report.damage.is_empty() { ExitCode::SUCCESS } else { ExitCode::from(exit::DAMAGED) })
}

/// Verifies with a progress bar.
pub fn check(data_dir: &Path) -> Result<Report> {
    // Taking the lock would leave a file in any folder that is no data directory.
    if ![POINTER_FILE, MANIFEST_DIR].iter().any(|name| data_dir.join(name).exists()) {
        return Err(Error::new(ErrorKind::NotFound, format!("no database in `{}`", data_dir.display())).into());
    }
    let bar = if std::io::stderr().is_terminal() { ProgressBar::new(0) } else { ProgressBar::hidden() };
    let progress = |done, total| {
        bar.set_length(total);
        bar.set_position(done);
    };
    let report = verify::verify(&Env::real(), data_dir, &progress);
    bar.finish_and_clear();
    Ok(report?)
}

/// What is whole, and what is not.
pub fn print(report: &Report) {
    let mut table = table::with_header(["", "#whole", "#damaged", "#in all"]);
    for (name, whole, all) in [
        ("segments", report.segments_whole, report.segments),
        ("blocks", report.blocks_whole, report.blocks),
        ("records in segments", report.records_whole, report.records),
    ] {
        let damaged = all.saturating_sub(whole);
        table.add_row([name.to_owned(), units::count(whole), units::count(damaged), units::count(all)]);
    }
    table::print(&table);
    say!("manifest version {}; {} whole batches in the WAL", report.manifest_version, units::count(report.wal_batches));
    if report.segments_stored > 0 {
        say!("{} segments are in the object store alone, and were not looked at", units::count(report.segments_stored));
    }
    if let Some(tail) = &report.wal_torn_tail {
        say!("{tail}: a batch that was never acknowledged ends there; this is no damage");
    }
    for damage in &report.damage {
        say!("damaged: {damage}");
    }
    say!("{}", if report.damage.is_empty() { "everything is whole" } else { "there is damage; all else is whole" });
}
