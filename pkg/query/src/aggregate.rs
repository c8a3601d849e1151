//! Counts.
use crate::request::Aggregation;
use crate::statistics::Statistics;
use serde::Serialize;
use timberlog_storage::Snapshot;
use timberlog_types::{Error, Result};

/// The number of records with one combination of values.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Group {
    /// The values of the names of `by`, in their order; `None` where a record has no such value.
    pub key: Vec<Option<String>>,
    /// Where the step of time begins, in ns; `None` if there are no steps.
    pub bucket: Option<i64>,
    /// The number of records.
    pub count: u64,
}

/// The answer of an aggregation: groups in order of bucket, then the largest first, then by key.
#[derive(Clone, Debug, Serialize)]
pub struct Groups {
    /// The groups that have records; without `by` and `step` one group, be it of 0 records.
    pub groups: Vec<Group>,
    /// What the query looked at.
    pub statistics: Statistics,
    /// What could not be read and so is not counted, for people.
    pub missing: Vec<String>,
}

/// Counts records.
pub fn aggregate(_snapshot: &Snapshot, _aggregation: &Aggregation) -> Result<Groups> {
    Err(Error::internal("under construction"))
}
