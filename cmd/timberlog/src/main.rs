//! The `timberlog` binary: reads flags, environment and the configuration file, and hands over to
//! one file per subcommand. No logic lives here.

mod condition;
mod config;
mod exit;
mod loadgen;
mod output;
mod query;
mod serve;
mod stats;
mod target;

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
    /// Find records, count them, or explain how they would be found
    Query(query::Arguments),
    /// Show what the engine knows of itself
    Stats(stats::Arguments),
    /// Put load on a server and measure it
    Loadgen(loadgen::Arguments),
}

fn main() -> ExitCode {
    let arguments = match config::arguments::<Arguments>() {
        Ok(arguments) => arguments,
        Err(error) => return exit::report(&error),
    };
    let result = match arguments.command {
        Command::Serve(arguments) => serve::run(*arguments),
        Command::Query(arguments) => query::run(&arguments),
        Command::Stats(arguments) => stats::run(&arguments),
        Command::Loadgen(arguments) => loadgen::run(&arguments),
    };
    match result {
        Ok(code) => code,
        Err(error) => exit::report(&error),
    }
}
