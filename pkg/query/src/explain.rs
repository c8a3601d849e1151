//! What a query would read, what it would leave out, and why.
use crate::request::Query;
use serde::Serialize;
use timberlog_storage::Snapshot;
use timberlog_types::{Error, Result};

/// One step of pruning.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ExplainStep {
    /// What decided: `time`, `level`, `service`, `index trace_id`, `streams`, `token filter`, …
    pub step: String,
    /// Why, for people.
    pub reason: String,
    /// What was left before.
    pub before: u64,
    /// What is left after.
    pub after: u64,
}

/// What happens to one segment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ExplainSegment {
    /// The segment.
    pub id: String,
    /// The day of its partition.
    pub partition: String,
    /// The records in it.
    pub rows: u64,
    /// Why it is not looked at; `None` if it is.
    pub pruned: Option<String>,
    /// How its blocks are narrowed down.
    pub steps: Vec<ExplainStep>,
    /// The numbers of the blocks that are left.
    pub blocks: Vec<u32>,
}

/// What a query would read, what it would leave out, and why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Explain {
    /// The filter as it is run: normalised, the cheapest test first.
    pub filter: serde_json::Value,
    /// Partitions, then segments, then blocks: what was left after each step.
    pub steps: Vec<ExplainStep>,
    /// Each segment.
    pub segments: Vec<ExplainSegment>,
    /// Batches of the memory buffer in the range.
    pub batches: u64,
    /// Blocks that would be read at most; with a limit it may be fewer.
    pub blocks: u64,
    /// Records in these blocks and batches.
    pub rows: u64,
    /// What cannot be read, for people.
    pub missing: Vec<String>,
}

/// Plans a query and tells the plan; reads indexes and token filters, but no column.
pub fn explain(_snapshot: &Snapshot, _query: &Query) -> Result<Explain> {
    Err(Error::internal("under construction"))
}
