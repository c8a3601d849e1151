//! Retention: how old records may become, and how much room they may take.
//!
//! By age records are hidden the moment they expire; their files go with a manifest commit, or at
//! compaction where only some rows of a segment expire. This module decides from rules, times and a
//! state of the manifest; it never commits or removes anything.

mod clock;
mod expiry;
mod rules;
#[cfg(test)]
mod tests;

pub(crate) use clock::RetentionClock;
pub(crate) use expiry::{evicted, expired};
pub(crate) use rules::Rules;

use std::time::Duration;
use timberlog_types::Tenant;

/// How old some records may become.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RetentionRule {
    /// Whose records; `None`: those of every tenant that has no rule of its own without a selector.
    pub tenant: Option<Tenant>,
    /// Which of them, as a LogQL selector; `None`: all. A rule with a selector only shortens what
    /// the rules without one allow.
    pub selector: Option<String>,
    /// How old they may become.
    pub age: Duration,
}

/// What retention does now.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RetentionStatus {
    /// The rules.
    pub rules: Vec<RetentionRule>,
    /// Bytes beyond which the oldest days go.
    pub bytes_max: Option<u64>,
    /// Bytes of the files of all segments.
    pub bytes: u64,
    /// The time by which ages are measured, in ns since 1970 UTC: that of the newest commit, and
    /// what passed since by the monotonic clock.
    pub clock_ns: i64,
    /// Why nothing expires until [`crate::Storage::confirm_retention`]: the wall clock is far ahead
    /// of `clock_ns`.
    pub paused: Option<String>,
}
