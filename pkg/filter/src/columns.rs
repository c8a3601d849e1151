//! What a filter is evaluated over.

mod batch;
mod block;

pub use batch::BatchColumns;
pub use block::{BlockColumns, ColumnSource, SegmentFacts};

use crate::compile::CompiledTest;
use crate::verdict::Verdict;
use timberlog_types::{Result, RowSet};

/// The rows whose stream passes a test, and those whose fields have to be asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StreamSet {
    /// Rows whose stream passes.
    pub matched: RowSet,
    /// Rows whose stream has no such label.
    pub undecided: RowSet,
}

/// The rows of a batch or block, as columns. Every method answers with rows of `within` only, and
/// leaves the negation of the test to the caller.
pub trait Columns {
    /// How many rows there are.
    fn rows(&self) -> usize;
    /// What is known of a test without reading a column.
    fn judge(&self, _test: &CompiledTest) -> Verdict {
        Verdict::Maybe
    }
    /// The rows whose timestamp passes.
    fn times(&self, test: &CompiledTest, within: &RowSet) -> Result<RowSet>;
    /// The rows whose level passes; each spelling is tested once.
    fn levels(&self, test: &CompiledTest, within: &RowSet) -> Result<RowSet>;
    /// The rows whose stream decides the test; each stream is tested once.
    fn streams(&self, test: &CompiledTest, within: &RowSet) -> Result<StreamSet>;
    /// The rows whose message passes.
    fn message(&self, test: &CompiledTest, within: &RowSet) -> Result<RowSet>;
    /// The rows whose field of this name passes, or that have none if a missing one passes.
    fn field(&self, name: &str, test: &CompiledTest, within: &RowSet) -> Result<RowSet>;
}

/// The rows of `within` for which `test` holds.
fn filter_rows(within: &RowSet, mut test: impl FnMut(usize) -> bool) -> RowSet {
    let mut rows = RowSet::none(within.rows());
    for row in within.iter() {
        if test(row) {
            rows.insert(row);
        }
    }
    rows
}
