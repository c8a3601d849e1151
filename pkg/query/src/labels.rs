//! Which labels, values and streams there are.
use serde::Serialize;
use timberlog_storage::Snapshot;
use timberlog_types::{Error, Result, TimeRange};

/// A stream: a service and stream labels.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Stream {
    /// The derived service.
    pub service: String,
    /// The stream labels, sorted by name.
    pub labels: Vec<(String, String)>,
}

/// The names of stream labels and fields, sorted, with `level` and `service`: of the blocks and
/// batches that overlap the range.
pub fn label_names(_snapshot: &Snapshot, _range: TimeRange) -> Result<Vec<String>> {
    Err(Error::internal("under construction"))
}

/// The values of a stream label, of `service` or of `level`, sorted: of the blocks and batches
/// that overlap the range.
pub fn label_values(_snapshot: &Snapshot, _name: &str, _range: TimeRange) -> Result<Vec<String>> {
    Err(Error::internal("under construction"))
}

/// The streams of the blocks and batches that overlap the range, sorted.
pub fn streams(_snapshot: &Snapshot, _range: TimeRange) -> Result<Vec<Stream>> {
    Err(Error::internal("under construction"))
}
