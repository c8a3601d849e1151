//! Exit codes: one table from error kinds, the same for every subcommand.

use std::process::ExitCode;
use timberlog_types::{Error, ErrorKind};

/// The table, for `--help`.
pub const HELP: &str = "\
Exit codes:
  0  done
  1  an internal error, or one of the operating system
  2  wrong flags, configuration or input
  3  what was asked for does not exist
  4  not now: in use by another process, overloaded, unreachable, disk full
  5  damaged data was found";

/// Wrong flags, configuration or input.
pub const INVALID: u8 = 2;
/// Damaged data was found.
pub const DAMAGED: u8 = 5;

/// Prints an error with its causes and gives its exit code.
pub fn report(error: &anyhow::Error) -> ExitCode {
    if let Some(usage) = error.downcast_ref::<clap::Error>() {
        // Help and version are "errors" of clap, too, with exit code 0.
        let _ = usage.print();
        return ExitCode::from(u8::try_from(usage.exit_code()).unwrap_or(2));
    }
    eprintln!("error: {error:#}");
    ExitCode::from(code(error))
}

/// The exit code of an error.
pub fn code(error: &anyhow::Error) -> u8 {
    let Some(error) = error.downcast_ref::<Error>() else { return 1 };
    match error.kind {
        ErrorKind::Invalid => INVALID,
        ErrorKind::NotFound => 3,
        ErrorKind::Conflict | ErrorKind::Overloaded { .. } | ErrorKind::Unavailable | ErrorKind::Closed => 4,
        ErrorKind::Corrupt => DAMAGED,
        ErrorKind::Internal => 1,
    }
}
