//! Deletes: records that a selector names, hidden at once, removed from the files by compaction.
//!
//! A delete is a [`Tombstone`]: a frame of the WAL with a number of its own, then part of the
//! manifest until no segment is left whose rows it could hide. This module says what a tombstone is
//! and how it is written down; it never reads records, and knows no query language: what a selector
//! means is told by [`Selectors`].

pub mod list;
mod live;
mod logged;
mod selectors;

pub use list::{Deletes, DeletesEdit};
pub(crate) use live::Live;
pub use logged::{Logged, What};
pub use selectors::{SELECTOR_BYTES_MAX, Selectors};

use crate::manifest::SegmentEntry;
use timberlog_types::{Error, Result, Seq, Tenant, TimeRange};

/// A delete: records of a tenant within a range that a selector names and that arrived before it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tombstone {
    /// 26 characters, a ULID.
    pub id: String,
    /// Whose records.
    pub tenant: Tenant,
    /// Which records: a LogQL selector in its canonical form.
    pub selector: String,
    /// Of which times, both ends included.
    pub range: TimeRange,
    /// Its number in the WAL: what has a lower one is deleted.
    pub seq: Seq,
    /// When it was asked for, in ns since 1970 UTC.
    pub created_ns: i64,
}

impl Tombstone {
    /// Whether it may hide rows of a segment of its tenant: by arrival and time.
    pub fn touches(&self, entry: &SegmentEntry) -> bool {
        entry.seq_max <= self.seq && entry.purged_seq < self.seq && self.range.overlaps(entry.range)
    }
}

/// How far a delete has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeleteState {
    /// Its records are hidden; some may still be in files.
    Received,
    /// No file of the database has its records any more.
    Processed,
}

/// A delete and how far it has come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeleteStatus {
    /// The delete.
    pub tombstone: Tombstone,
    /// How far it has come.
    pub state: DeleteState,
    /// Records that were removed from files because of it. One that two deletes name is counted
    /// for both.
    pub rows_removed: u64,
    /// When it was processed, in ns since 1970 UTC.
    pub processed_ns: Option<i64>,
}

/// Checks the range of a delete.
///
/// # Errors
/// `Invalid` if no time is in it.
pub fn check_range(range: TimeRange) -> Result<()> {
    match range {
        TimeRange { start, end } if range.is_empty() => {
            Err(Error::invalid(format!("the range from {start} to {end} is empty")))
        }
        _ => Ok(()),
    }
}
