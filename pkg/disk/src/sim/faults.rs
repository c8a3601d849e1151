//! Faults: which operation fails, and how.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;

/// A kind of operation, to say where a fault strikes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Op {
    /// Opening or creating a file.
    Open,
    /// Reading from a file.
    Read,
    /// Writing to a file.
    Write,
    /// Setting or allocating a length.
    Resize,
    /// Syncing a file.
    Sync,
    /// Syncing a folder.
    SyncDir,
    /// Renaming a file; its new path counts.
    Rename,
    /// Removing a file or folder.
    Remove,
    /// Creating a folder.
    CreateDir,
    /// Listing a folder.
    List,
}

/// What goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// An I/O error. A sync confirms nothing then, for good; anything else does nothing.
    Io,
    /// The disk is full.
    NoSpace,
    /// The operation happens and reports an I/O error all the same (not for reads and syncs).
    DoneButError,
}

/// What went wrong so far, and how often: a fault that never strikes shows nothing.
#[derive(Clone, Debug, Default)]
pub(super) struct Happened(pub BTreeMap<&'static str, u64>);

impl Happened {
    pub fn count(&mut self, what: &'static str) {
        *self.0.entry(what).or_default() += 1;
    }

    pub fn fault(&mut self, op: Op, fault: Fault) {
        self.count(match op {
            Op::Open => "opens that failed",
            Op::Read => "reads that failed",
            Op::Write => "writes that failed",
            Op::Resize => "changes of length that failed",
            Op::Sync => "fsyncs that failed",
            Op::SyncDir => "fsyncs of folders that failed",
            Op::Rename => "renames that failed",
            Op::Remove => "removals that failed",
            Op::CreateDir => "new folders that failed",
            Op::List => "lists that failed",
        });
        self.count(match fault {
            Fault::Io => "EIO",
            Fault::NoSpace => "ENOSPC",
            Fault::DoneButError => "EIO of what was done",
        });
    }
}

/// Faults that wait for their operation.
#[derive(Clone, Debug, Default)]
pub(super) struct Rules(Vec<Rule>);

#[derive(Clone, Debug)]
struct Rule {
    op: Op,
    path_part: String,
    skip: u64,
    fault: Fault,
}

/// How an operation goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Go {
    /// As it should.
    On,
    /// It happens, and then the answer is an error (its operating-system number).
    ThenFail(Failure),
    /// It does not happen.
    Fail(Failure),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Failure {
    Crash,
    Io,
    NoSpace,
}

impl Failure {
    pub fn error(self) -> io::Error {
        const EIO: i32 = 5;
        const ENOSPC: i32 = 28;
        match self {
            Failure::Crash => io::Error::other("simulated crash"),
            Failure::Io => io::Error::from_raw_os_error(EIO),
            Failure::NoSpace => io::Error::from_raw_os_error(ENOSPC),
        }
    }
}

impl Go {
    /// Runs the operation as far as it is to happen.
    pub fn run<T>(self, operation: impl FnOnce() -> T) -> io::Result<T> {
        match self {
            Go::On => Ok(operation()),
            Go::ThenFail(failure) => {
                operation();
                Err(failure.error())
            }
            Go::Fail(failure) => Err(failure.error()),
        }
    }
}

impl Rules {
    /// Adds a fault: of the operations of this kind whose path contains `path_part`, the one after
    /// `skip` others fails.
    pub fn add(&mut self, op: Op, path_part: &str, skip: u64, fault: Fault) {
        self.0.push(Rule { op, path_part: path_part.to_owned(), skip, fault });
    }

    /// The fault that strikes an operation, if any; its rule is used up.
    pub fn strike(&mut self, op: Op, path: &Path) -> Option<Fault> {
        let path = path.to_string_lossy();
        let place = self.0.iter_mut().position(|rule| {
            let matches = rule.op == op && path.contains(rule.path_part.as_str());
            let strikes = matches && rule.skip == 0;
            if matches && !strikes {
                rule.skip -= 1;
            }
            strikes
        })?;
        Some(self.0.remove(place).fault)
    }
}
