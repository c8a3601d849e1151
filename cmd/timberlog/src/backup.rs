//! `timberlog backup`: make, list, show, check, restore and delete backups in an object store.

mod create;
mod list;
mod prune;
mod remote;
mod restore;
mod verify;
mod watch;

use crate::output::{Output, say};
use anyhow::Result;
use clap::Subcommand;
use serde::Serialize;
use std::process::ExitCode;
use timberlog_types::time;

/// The subcommands.
#[derive(Subcommand)]
pub enum Arguments {
    /// Back up a running server, or a data directory that no server has open
    Create(create::Arguments),
    /// List the backups of a store
    List(list::Arguments),
    /// Show what is in a backup
    Show(list::ShowArguments),
    /// Check that a backup can be restored
    Verify(verify::Arguments),
    /// Restore a backup into an empty directory
    Restore(restore::Arguments),
    /// Delete old backups, and what no backup needs any more
    Prune(prune::Arguments),
}

/// Runs a subcommand.
pub fn run(arguments: &Arguments) -> Result<ExitCode> {
    match arguments {
        Arguments::Create(arguments) => create::run(arguments),
        Arguments::List(arguments) => list::run(arguments),
        Arguments::Show(arguments) => list::show(arguments),
        Arguments::Verify(arguments) => verify::run(arguments),
        Arguments::Restore(arguments) => restore::run(arguments),
        Arguments::Prune(arguments) => prune::run(arguments),
    }
}

/// What a command did, for programs.
#[derive(Serialize)]
struct Done<'a, T> {
    #[serde(flatten)]
    done: &'a T,
    /// Calls of fsync that it took: of the data directory, and of a store that is a folder.
    fsyncs: u64,
}

/// Prints what a command did as JSON, in as many lines as the form has.
fn say_json(done: &impl Serialize, form: Output) -> Result<()> {
    let done = Done { done, fsyncs: timberlog_db::fsyncs() };
    match form {
        Output::Jsonl => say!("{}", serde_json::to_string(&done)?),
        Output::Json | Output::Table => say!("{}", serde_json::to_string_pretty(&done)?),
    }
    Ok(())
}

/// `2026-11-21 10:15:00Z`
fn instant(ns: i64) -> String {
    let text = time::format_rfc3339(ns);
    format!("{}Z", text.get(..19).unwrap_or(&text).replace('T', " "))
}
