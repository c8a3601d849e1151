//! The `timberlog` binary: reads flags, environment and the configuration file, and hands over to
//! one file per subcommand. No logic lives here.

mod backup;
mod condition;
mod config;
mod delete;
mod exit;
mod gc;
mod ingest;
mod inspect;
mod language;
mod limits;
mod loadgen;
mod output;
mod progress;
mod query;
mod repair;
mod retention;
mod serve;
mod shape;
mod stats;
mod store;
mod table;
mod tail;
mod target;
mod units;
mod verify;

use clap::{Parser, Subcommand};
use mimalloc::MiMalloc;
use std::process::ExitCode;

/// Batches are large and short-lived; the system's allocator would map and unmap each of them.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

/// A log database: what it acknowledged is on disk, what it stored is found in milliseconds.
#[derive(Parser)]
#[command(name = "timberlog", version, about, after_help = exit::HELP)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run the server
    Serve(Box<serve::Arguments>),
    /// Send files or standard input to a server, or store them in a data directory
    Ingest(ingest::Arguments),
    /// Find records, count them, or explain how they would be found
    Query(query::Arguments),
    /// Follow new records of a server
    Tail(tail::Arguments),
    /// Delete what a selector names, list deletes, cancel them
    Delete(Box<delete::Arguments>),
    /// Show how long records are kept, and confirm the clock
    #[command(subcommand)]
    Retention(retention::Arguments),
    /// Show what the engine knows of itself
    Stats(stats::Arguments),
    /// Show what is in the files of a data directory
    #[command(subcommand)]
    Inspect(inspect::Arguments),
    /// Check every checksum and every index of a data directory
    Verify(verify::Arguments),
    /// Give up what is damaged in a data directory, so that the rest is whole
    Repair(repair::Arguments),
    /// Back up to a folder or to S3, and restore
    #[command(subcommand)]
    Backup(backup::Arguments),
    /// Remove from a tier's store what nothing names any more
    Gc(gc::Arguments),
    /// Put load on a server and measure it
    Loadgen(loadgen::Arguments),
}

fn main() -> ExitCode {
    limits::raise_open_files();
    let arguments = match config::arguments::<Arguments>() {
        Ok(arguments) => arguments,
        Err(error) => return exit::report(&error),
    };
    let result = match arguments.command {
        Command::Serve(arguments) => serve::run(*arguments),
        Command::Ingest(arguments) => ingest::run(&arguments),
        Command::Query(arguments) => query::run(&arguments),
        Command::Tail(arguments) => tail::run(&arguments),
        Command::Delete(arguments) => delete::run(&arguments),
        Command::Retention(arguments) => retention::run(&arguments),
        Command::Stats(arguments) => stats::run(&arguments),
        Command::Inspect(arguments) => inspect::run(&arguments),
        Command::Verify(arguments) => verify::run(&arguments),
        Command::Repair(arguments) => repair::run(&arguments),
        Command::Backup(arguments) => backup::run(&arguments),
        Command::Gc(arguments) => gc::run(&arguments),
        Command::Loadgen(arguments) => loadgen::run(&arguments),
    };
    match result {
        Ok(code) => code,
        Err(error) => exit::report(&error),
    }
}
